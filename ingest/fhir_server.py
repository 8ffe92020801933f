"""Fetch from a FHIR server: the records of a cohort, or everything that it gives.

What is asked is in `ingest.questions`, how an answer is read in `ingest.pages`, how it lands and
how a killed fetch goes on in `ingest.page_landing`, and what is fetched besides (drugs, places,
attachments) in `ingest.following`. Questions are asked several at a time, each a chain of pages
that may not leave the server's origin.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from ingest.answers import Answer
from ingest.fetching import Auth, Fetcher
from ingest.following import follow
from ingest.origins import SourceError
from ingest.page_landing import Fetched, PageLanding
from ingest.pages import Page, decimal, line_of, read_page
from ingest.parallel import in_parallel
from ingest.patience import Patience
from ingest.questions import Asking, Offer, Question

__all__ = ["PAGE_CAP_BYTES", "fetch_fhir", "server_time"]

PAGE_CAP_BYTES = 128 << 20
"""A page, unpacked; `$everything` of one patient may come as a single page."""

_GONE = 410
_NO_PATIENT = (403, 404, _GONE)
_NO_PAGE = (400, 404, _GONE)  # how servers say that a next link has expired


def fetch_fhir(
    url: str,
    into: Path,
    *,
    patients: Sequence[str] | None = None,
    search: str | None = None,
    auth: Auth | None = None,
    include: Sequence[str] = (),
    since: datetime | None = None,
    types: Sequence[str] | None = None,
    allow_origins: frozenset[str] = frozenset(),
    page_size: int = 200,
    workers: int = 4,
    patience: Patience | None = None,
    progress: bool = False,
) -> Fetched:
    """Land in a directory what a FHIR server answers; what landed there is not fetched again.

    With `patients`, or a search of Patient, each patient's record; with a search of another type,
    what that finds; with neither, all of each type.

    Args:
        url: The server's base URL.
        into: A directory for this server alone, in the raw zone; it becomes its owner's only.
        patients: Ids (`123`, `Patient/123`) or identifiers (`system|value`).
        search: A search relative to the base, such as `Patient?birthdate=ge1950`.
        auth: Where tokens come from (`ingest.signing`).
        include: `Type:parameter` or `_include=…` for the searches of that type, and
            `_revinclude=Source:parameter:Type` for those of the last. With it, records are searched
            for type by type, since $everything has no includes. One whose type is not searched for
            is refused.
        since: Only what the server changed since then; all of a patient whom the search, or the
            identifier, did not find when it was asked before.
        types: What is searched for; None is every type that ingest supports.
        allow_origins: Other origins that attachments may come from, without a token.
        page_size: Matches on a page, if the server agrees.
        workers: Requests at a time.
        patience: How often and how long to ask again.
        progress: Show bars.

    Raises:
        UsageError: options that cannot be.
        SourceError: the server refuses, fails for too long, or makes no sense.
        LimitError: a page over the cap.
        StoreError: another fetch is at work on `into`.
    """
    if types is None:
        from ingest.projection import SUPPORTED  # brings duckdb and pandas with it

        types = SUPPORTED
    asking = Asking(
        patients=patients,
        search=search,
        include=include,
        since=since,
        types=types,
        page_size=page_size,
    )
    with (
        Fetcher(url, auth=auth, patience=patience, allow_origins=allow_origins) as fetcher,
        PageLanding(into, str(fetcher.base)) as landing,
    ):
        base = str(fetcher.base)
        offer, as_of = _begin(fetcher, landing, asking)

        def ask(some: Iterator[Question], label: str, total: int | None = None) -> None:
            in_parallel(
                some,
                lambda question: _ask(fetcher, landing, question),
                workers=workers,
                stop=fetcher.retrying.stop,
                bar={"desc": label, "total": total, "unit": "question", "disable": not progress},
            )

        first = asking.first(base, offer)
        ask(iter(first), "asking", len(first))
        if asking.by_patient:
            found = {name for q in first if q.cohort for name in landing.patients(q.first)}
            named = [name for name in asking.ids() if name not in found]
            # Nothing has landed of who joined the cohort since; it may be older than that.
            joined = {name for q in first if q.cohort for name in landing.joined(q.first)}
            whole = replace(asking, since=None)
            ask(
                (
                    question
                    for name in [*named, *sorted(found)]
                    for question in (whole if name in joined else asking).of_patient(
                        base, offer, name, landed=name in found
                    )
                ),
                "asking for patients",
            )
        follow(fetcher, landing, workers=workers, progress=progress)
        landing.finish()
        fetched = landing.account(
            requests=fetcher.requests, as_of=as_of, unasked=asking.unasked(offer)
        )
    refused = {name: n for name, n in fetched.missing.items() if name.startswith("patient: ")}
    if refused and not fetched.landed:
        raise SourceError(f"{fetcher.origin} gave no patient that was asked for: {refused}")
    return fetched


def server_time(answer: httpx.Headers) -> str:
    """Give the server's time as ISO 8601, ours where it does not say."""
    try:
        time = parsedate_to_datetime(answer["Date"])
    except (KeyError, ValueError, TypeError):
        time = datetime.now(UTC)
    return time.isoformat()


def _begin(fetcher: Fetcher, landing: PageLanding, asking: Asking) -> tuple[Offer, str]:
    """Recall or read what the server offers, and when these questions were first asked."""
    kept, as_of = landing.note("offer"), landing.note(f"as_of {asking.name}")
    if kept is not None and as_of is not None:
        return Offer(**json.loads(kept)), as_of
    what = "its CapabilityStatement"
    statement, answer = fetcher.get_json(
        fetcher.link("metadata"), what=what, cap_bytes=PAGE_CAP_BYTES
    )
    kind = statement.get("resourceType") if isinstance(statement, dict) else None
    if kind != "CapabilityStatement":
        raise SourceError(
            f"{fetcher.origin} answered without one when asked for {what}; give a FHIR server's "
            "base URL"
        )
    offer, as_of = Offer.of(statement), server_time(answer.headers)
    if kept is not None:
        offer = Offer(**json.loads(kept))  # or a fetch that goes on would ask other questions
    landing.remember("offer", offer.kept())
    landing.remember(f"as_of {asking.name}", as_of)
    return offer, as_of


def _ask(fetcher: Fetcher, landing: PageLanding, question: Question) -> None:
    """Follow a question's pages from where it stopped."""
    url = landing.go_on(question.first)
    restarted = False
    while url is not None:
        try:
            document, answer = fetcher.get_json(
                httpx.URL(url),
                what=question.what,
                cap_bytes=PAGE_CAP_BYTES,
                parse_float=decimal,
            )
        except SourceError as error:
            begun = url != question.first
            if begun and error.status in _NO_PAGE and not restarted:
                # A next link does not live for ever; what landed is known and comes only once.
                url, restarted = landing.restart(question.first), True
                continue
            if begun or not question.patient or error.status not in _NO_PATIENT:
                raise
            page = _without_patient(question.patient, error.status)
        else:
            page = _page(fetcher, question, document, answer)
        url = landing.land(question.first, url, page)


def _page(fetcher: Fetcher, question: Question, document: object, answer: Answer) -> Page:
    page = read_page(document, str(fetcher.base), question.what)
    if not question.cohort:
        page.patients.clear()
    if question.expected and not page.lines:
        page.counts["missing", "patient: not found"] += 1
    if page.next is not None:
        page.next = str(fetcher.link(page.next, seen_at=answer.url))
        fetcher.check_origin(httpx.URL(page.next), question.what)
    return page


def _without_patient(patient: str, status: int | None) -> Page:
    """Count a patient who is unknown or not ours to see; land the deletion of one who is gone."""
    page = Page()
    if status == _GONE:
        # Without a time: it is newer than all that landed of the patient before.
        entry = {"request": {"method": "DELETE", "url": f"Patient/{patient}"}}
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
        page.lines.append(("deleted", line_of(bundle)))
    else:
        page.counts["missing", f"patient: answered {status}"] += 1
    return page
