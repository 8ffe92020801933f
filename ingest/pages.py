"""Read a server's answer as a page: lines to land, the next link, and what they refer to.

A resource lands as one line of NDJSON. Its `fullUrl` is kept, by wrapping the line as a Bundle of
one, where `Type/id` does not say the same: `urn:uuid:`, another server's URL, a resource without an
id. OperationOutcomes are counted by severity and do not land. Decimals keep their digits, since
1.50 is a measurement to two places and a float is not.
"""

import json
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ingest.origins import SourceError

__all__ = [
    "Page",
    "Wanted",
    "decimal",
    "line_of",
    "read_page",
    "severities",
    "wanted_by",
    "wanted_reference",
]

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_SEVERITIES = ("fatal", "error", "warning", "information")
# What a patient's record refers to and that no search by patient finds.
_FOLLOWED = ("Binary", "Location", "Medication")
_REFERENCE = re.compile(rf"(.+/)?(({'|'.join(_FOLLOWED)})/{_ID.pattern})(/_history/{_ID.pattern})?")

# Decimals travel through Python as strings that carry this mark, which no server can guess.
_MARK = secrets.token_hex(8)
_MARKED = re.compile(rf'"{_MARK}([-+.0-9eE]+)"')


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Name something that a resource refers to and that may have to be fetched for itself."""

    url: str
    """`Type/id`, or for an attachment what the resource says."""

    kind: str
    """`Medication`, `Location`, `Binary` or `attachment`."""

    mime: str = ""
    """What an attachment is said to be."""


@dataclass(kw_only=True)
class Page:
    """Hold what one answer brings."""

    lines: list[tuple[str, bytes]] = field(default_factory=list)
    """Resource type and line of NDJSON, without its end."""

    next: str | None = None
    """The link to the page after it, as it is written."""

    total: int | None = None
    """How many matches the server says there are."""

    matches: int = 0
    """How many of the entries are matches, rather than included."""

    patients: list[str] = field(default_factory=list)
    """Ids of the Patients among the matches."""

    wanted: list[Wanted] = field(default_factory=list)

    held: list[Wanted] = field(default_factory=list)
    """What is here, and so need not be fetched for itself."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What did not land, by kind (`outcome`, `missing`) and name."""


def read_page(document: Any, base: str, what: str) -> Page:
    """Read a Bundle, or a resource that came by itself; `base` is the server's URL.

    Raises:
        SourceError: it is neither.
    """
    kind = document.get("resourceType") if isinstance(document, dict) else None
    if not isinstance(kind, str) or kind == "OperationOutcome":
        said = kind or "what is not FHIR"
        raise SourceError(f"the server answered with {said} when asked for {what}")
    page = Page()
    if kind != "Bundle":
        _take(page, document, None, base)
        return page
    for link in _objects(document.get("link")):
        if link.get("relation") == "next" and isinstance(link.get("url"), str):
            page.next = link["url"]
    total = document.get("total")
    page.total = total if isinstance(total, int) else None
    for entry in _objects(document.get("entry")):
        resource, search = entry.get("resource"), entry.get("search")
        mode = search.get("mode") if isinstance(search, dict) else None
        if not isinstance(resource, dict):
            page.counts["missing", "entry without a resource"] += 1
        elif mode == "outcome" or resource.get("resourceType") == "OperationOutcome":
            page.counts.update(("outcome", severity) for severity in severities(resource))
        else:
            _take(page, resource, entry.get("fullUrl"), base)
            if mode in (None, "match"):
                page.matches += 1
                if resource.get("resourceType") == "Patient" and _is_id(resource.get("id")):
                    page.patients.append(resource["id"])
    return page


def decimal(digits: str) -> str:
    """Keep a decimal's digits: the `parse_float` of what `line_of` writes.

    >>> line_of(json.loads('{"value": 1.50}', parse_float=decimal))
    b'{"value":1.50}'
    """
    return _MARK + digits


def line_of(resource: dict[str, Any]) -> bytes:
    """Write a resource as a line of NDJSON, without its end."""
    text = json.dumps(resource, ensure_ascii=False, separators=(",", ":"))
    text = _MARKED.sub(r"\1", text)
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which only an escape can write
        return _MARKED.sub(r"\1", json.dumps(resource, separators=(",", ":"))).encode()


def severities(outcome: dict[str, Any]) -> Iterator[str]:
    """Give each issue's severity; one that is unknown, or none, is an error."""
    issues = list(_objects(outcome.get("issue"))) or [{}]
    for issue in issues:
        severity = issue.get("severity")
        yield severity if severity in _SEVERITIES else "error"


def wanted_by(resource: dict[str, Any], base: str) -> Iterator[Wanted]:
    """List the drugs, places and Binaries that a resource refers to, and its attachments."""
    for reference in _references(resource):
        want = wanted_reference(reference, base)
        if want is not None:
            yield want
    for attachment in _attachments(resource):
        url, mime = attachment.get("url"), attachment.get("contentType")
        if isinstance(url, str) and url and not attachment.get("data"):
            want = wanted_reference(url, base)
            ours = want is not None and want.kind == "Binary" and want.url.startswith("Binary/")
            yield Wanted(
                url=want.url if want and ours else url,
                kind="Binary" if ours else "attachment",
                mime=mime if isinstance(mime, str) else "",
            )


def wanted_reference(reference: str, base: str) -> Wanted | None:
    """Say what a reference wants, if it is of a kind that is followed.

    >>> wanted_reference("https://a.org/fhir/Medication/5/_history/2", "https://a.org/fhir/").url
    'Medication/5'
    """
    named = _REFERENCE.fullmatch(reference)
    if named is None:
        return None
    return Wanted(url=named[2] if named[1] in (None, base) else reference, kind=named[3])


def _take(page: Page, resource: dict[str, Any], full_url: Any, base: str) -> None:
    kind, name = resource.get("resourceType"), resource.get("id")
    kind = kind if isinstance(kind, str) else ""
    key = f"{kind}/{name}" if _is_id(name) else None
    telling = isinstance(full_url, str) and full_url and not f"/{full_url}".endswith(f"/{key}")
    try:
        line = line_of(resource)
        if telling:
            entry = {"fullUrl": full_url, "resource": resource}
            line = line_of({"resourceType": "Bundle", "type": "collection", "entry": [entry]})
    except RecursionError:
        raise SourceError("the server gave a resource that is nested beyond any limit") from None
    page.lines.append((kind, line))
    page.wanted.extend(wanted_by(resource, base))
    if key and kind in _FOLLOWED:
        page.held.append(Wanted(url=key, kind=kind))


def _references(resource: dict[str, Any]) -> Iterator[str]:
    left: list[Any] = [resource]
    while left:
        here = left.pop()
        if isinstance(here, dict):
            if isinstance(here.get("reference"), str):
                yield here["reference"]
            left.extend(here.values())
        elif isinstance(here, list):
            left.extend(here)


def _attachments(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    match resource.get("resourceType"):
        case "DocumentReference":
            contents = _objects(resource.get("content"))
            yield from _objects([content.get("attachment") for content in contents])
        case "DiagnosticReport":
            yield from _objects(resource.get("presentedForm"))
        case "Media":
            yield from _objects([resource.get("content")])
        case _:
            return


def _objects(value: Any) -> list[dict[str, Any]]:
    """Give a list's objects; a server that breaks the specification has none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and bool(_ID.fullmatch(value))
