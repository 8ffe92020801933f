"""Follow what landed refers to and no search found: drugs, places, Binaries and attachments.

They are fetched from the server's own origin, and attachments from an origin that the user allowed
by name, without a token. What is refused, gone, too large or elsewhere is counted with its reason
and left; the event then says that there was a note which could not be read. An attachment lands as
a Binary whose `fullUrl` is the attachment's URL as the document writes it, which is how
`ingest.references` finds it.
"""

import base64
import contextlib
import hashlib
import json
import re

from ingest.answers import Answer, parse_json
from ingest.bulk_download import read_lines
from ingest.errors import LimitError
from ingest.fetching import FHIR_JSON, Fetcher
from ingest.origins import ForeignOriginError, OutOfReachError, SourceError
from ingest.page_landing import PageLanding
from ingest.pages import Page, Wanted, decimal, line_of, read_page, wanted_reference
from ingest.parallel import in_parallel
from ingest.patience import Passing

__all__ = ["ATTACHMENT_CAP_BYTES", "follow", "want_references"]

ATTACHMENT_CAP_BYTES = 64 << 20
"""A scanned letter has tens of megabytes; a film or a video is not a note."""

_PARSED = ("Binary", "DiagnosticReport", "DocumentReference", "Location", "Media", "Medication")
_REFERRING = (
    "Encounter",
    "MedicationAdministration",
    "MedicationDispense",
    "MedicationRequest",
    "MedicationStatement",
)
# By their bytes: these types have most of an export's lines, and parsing them all would take longer
# than their download.
_REFERENCE = re.compile(rb'"reference"\s*:\s*"((?:[^"]+/)?(?:Location|Medication)/[^"]+)"')
_MIME = re.compile(r"[\w.+\-]+/[\w.+\-]+")


def follow(fetcher: Fetcher, landing: PageLanding, *, workers: int, progress: bool = False) -> None:
    """Fetch what is wanted, and what that wants in turn, until nothing is left."""
    tried: set[str] = set()
    while left := [want for want in landing.wanted() if want.url not in tried]:
        tried.update(want.url for want in left)
        in_parallel(
            left,
            lambda want: _settle(fetcher, landing, want),
            workers=workers,
            stop=fetcher.retrying.stop,
            bar={"desc": "following", "total": len(left), "unit": "file", "disable": not progress},
        )


def want_references(landing: PageLanding, base: str) -> None:
    """Note what a bulk export's files refer to; of a page, that was done when it landed."""
    for kind, path in landing.unread():
        wanted: dict[str, Wanted] = {}
        held: dict[str, Wanted] = {}
        for line in read_lines(path) if kind in (*_REFERRING, *_PARSED) else ():
            for reference in _REFERENCE.findall(line):
                want = wanted_reference(reference.decode("utf-8", "replace"), base)
                if want is not None:
                    wanted[want.url] = want
            if kind in _PARSED:
                # What is no resource is for ingest to quarantine.
                with contextlib.suppress(SourceError, ValueError, RecursionError):
                    page = read_page(json.loads(line), base, "a line")
                    wanted |= {want.url: want for want in page.wanted}
                    held |= {here.url: here for here in page.held}
        landing.mark_read(path.name, wanted.values(), held.values())


def _settle(fetcher: Fetcher, landing: PageLanding, want: Wanted) -> None:
    try:
        page = _attachment(fetcher, want) if want.kind == "attachment" else _read(fetcher, want)
    except ForeignOriginError:
        # Not for good: the user may allow it the next time.
        landing.miss(want, "at another origin", lasting=False)
    except LimitError:
        landing.miss(want, f"over {ATTACHMENT_CAP_BYTES >> 20} MiB", lasting=True)
    except OutOfReachError as error:
        if error.status in (None, 429):  # nothing else will come from there now
            raise
        landing.miss(want, f"answered {error.status}", lasting=False)
    except SourceError as error:
        if error.status == 401:
            raise
        reason = f"answered {error.status}" if error.status else "cannot be asked for"
        landing.miss(want, reason, lasting=True)
    else:
        landing.add(page, settles=want)


def _read(fetcher: Fetcher, want: Wanted) -> Page:
    """Read a resource; of a Binary, some servers give the content whatever one asks for."""
    url, what = fetcher.link(want.url), f"a {want.kind}"
    mime = _mime(want.mime)
    accept = f"{FHIR_JSON}, {mime};q=0.8" if want.kind == "Binary" else FHIR_JSON
    answer = fetcher.get(url, what=what, cap_bytes=ATTACHMENT_CAP_BYTES * 4 // 3, accept=accept)
    if want.kind == "Binary" and not _is_binary(answer):
        return _landed({**_binary(answer, mime), "id": want.url.rpartition("/")[2]}, "")
    try:
        document = parse_json(answer.content, what, decimal)
    except Passing:
        raise SourceError(f"{fetcher.origin} answered without JSON for {what}") from None
    return read_page(document, str(fetcher.base), what)


def _attachment(fetcher: Fetcher, want: Wanted) -> Page:
    url, mime = fetcher.link(want.url), _mime(want.mime)
    use = {"what": "an attachment", "foreign": True, "accept": f"{mime}, */*;q=0.5"}
    answer = fetcher.get(url, cap_bytes=ATTACHMENT_CAP_BYTES, **use)
    content = _binary(answer, mime)
    if _is_binary(answer):  # the URL is that of a Binary elsewhere
        document = parse_json(answer.content, "an attachment")
        content = {key: document[key] for key in ("contentType", "data") if key in document}
    # Under a name of our own: an id from elsewhere may be one that is taken here.
    name = hashlib.sha256(want.url.encode()).hexdigest()[:32]
    return _landed({"resourceType": "Binary", **content, "id": name}, want.url)


def _is_binary(answer: Answer) -> bool:
    if "json" not in answer.headers.get("Content-Type", ""):
        return False
    try:
        document = parse_json(answer.content, "a Binary")
    except (Passing, SourceError):
        return False
    return isinstance(document, dict) and document.get("resourceType") == "Binary"


def _binary(answer: Answer, mime: str) -> dict[str, str]:
    said = answer.headers.get("Content-Type", "")
    kind = said if _MIME.match(said) and not said.startswith("application/octet-stream") else mime
    data = base64.b64encode(answer.content).decode("ascii")
    return {"resourceType": "Binary", "contentType": kind, "data": data}


def _landed(binary: dict[str, str], full_url: str) -> Page:
    line = line_of(binary)
    if full_url:
        entry = {"fullUrl": full_url, "resource": binary}
        line = line_of({"resourceType": "Bundle", "type": "collection", "entry": [entry]})
    return Page(lines=[("Binary", line)])


def _mime(said: str) -> str:
    found = _MIME.match(said)
    return found[0] if found else "*/*"
