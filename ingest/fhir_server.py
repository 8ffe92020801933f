"""Fetch from a FHIR server: the records of a cohort, or everything that it gives.

What is asked is in `ingest.questions`, how an answer is read in `ingest.pages`, how it lands and
how a killed fetch goes on in `ingest.page_landing`, and what is fetched besides (drugs, places,
attachments) in `ingest.following`. Questions are asked several at a time, each a chain of pages
that may not leave the server's origin.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal

import httpx

from ingest.answers import Answer
from ingest.fetching import Auth, Fetcher
from ingest.following import follow
from ingest.origins import SourceError
from ingest.page_landing import Fetched, PageLanding
from ingest.pages import Page, decimal, line_of, read_page
from ingest.parallel import in_parallel
from ingest.patience import Patience
from ingest.questions import LATE, Asking, Offer, Question, instant

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
    since: datetime | Literal["last"] | None = None,
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
        since: Only what the server changed since then; all that is not here yet of a patient whom
            the search, or the identifier, did not find when it was asked before. With `last`, for
            each patient and type what changed since they were last answered, by whichever fetch;
            all where they never were.
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
        times = _Times(landing, asking, as_of)

        def answer(question: Question) -> None:
            _ask(fetcher, landing, question, as_of=as_of)
            times.rely_on(question)

        def ask(some: Iterator[Question], label: str, total: int | None = None) -> None:
            in_parallel(
                some,
                answer,
                workers=workers,
                stop=fetcher.retrying.stop,
                bar={"desc": label, "total": total, "unit": "question", "disable": not progress},
            )

        first = [times.of(question) for question in asking.first(base, offer)]
        ask(iter(first), "asking", len(first))
        if asking.by_patient:
            found = {name for q in first if q.cohort for name in landing.patients(q.first)}
            named = [name for name in asking.ids() if name not in found]
            # Not all may have landed of who joined the cohort since, or came back to it.
            again = {n for q in first if landing.asked_before(q) for n in landing.patients(q.first)}

            def about(name: str) -> Iterator[Question]:
                withheld, here = landing.was_withheld(name), name in found
                for question in asking.of_patient(base, offer, name, landed=here):
                    whole = withheld and landing.until(question.topic) is None
                    yield question if whole else times.of(question, member=name in again)

            names = [*named, *sorted(found)]
            ask((question for name in names for question in about(name)), "asking for patients")
        follow(fetcher, landing, workers=workers, progress=progress)
        landing.finish()
        times.keep()
        fetched = landing.account(
            requests=fetcher.requests, as_of=times.until, unasked=asking.unasked(offer)
        )
        if not fetched.landed:  # or nobody would be asked for what there is the next time
            landing.forget_answers()
            fetched = replace(fetched, as_of=None)
    refused = {name: n for name, n in fetched.missing.items() if name.startswith("patient: ")}
    if refused and not fetched.landed:
        raise SourceError(f"{fetcher.origin} gave no patient that was asked for: {refused}")
    return fetched


def server_time(answer: httpx.Headers) -> str:
    """Give the server's time as ISO 8601, ours where it does not say."""
    try:
        time = parsedate_to_datetime(answer["Date"])
        # HTTP knows GMT alone; a time without a zone is not one of this machine's.
        return instant(time if time.tzinfo else time.replace(tzinfo=UTC))
    except (KeyError, ValueError, TypeError, OverflowError):
        return instant(datetime.now(UTC))


class _Times:
    """Choose since when each question is asked, and say up to when they are all answered."""

    def __init__(self, landing: PageLanding, asking: Asking, as_of: str) -> None:
        self._landing, self._asking = landing, asking
        self._note = f"begins {replace(asking, since=None).name}"
        self._begins = landing.note(self._note) or ""
        # Where the server's clock stands still, an answer that is recalled would be so for ever.
        self._anew = asking.since == "last" or _is_now(asking, as_of)
        self._guard = threading.Lock()
        self.until: str | None = None
        """The earliest time up to which a question that was relied on is answered."""

    def of(self, question: Question, *, member: bool = False) -> Question:
        """Give a question the time that it is to be asked since.

        Args:
            question: One that asks for all.
            member: Whether it is about one of a cohort that was looked up before.
        """
        since = self._asking.since
        if since is None:
            return question
        last = self._landing.until(question.topic, begins=self._begins)
        if since == "last" or member:
            begin = None if last is None else last - LATE
            if begin is not None and since != "last":
                begin = min(begin, since)
        else:
            begin = since
        timed = question if begin is None else question.changed(begin)
        if self._anew or begin is None:
            # What an older version answered is recalled, but nobody knows up to when it holds.
            self._landing.ask_again(timed.first)
        return timed

    def rely_on(self, question: Question) -> None:
        """Note that a question has been answered, now or before."""
        begins = self._begins
        if isinstance(self._asking.since, datetime):
            begins = max(begins, instant(self._asking.since))
        until = self._landing.until(question.topic, begins=begins)
        if until is not None:
            with self._guard:
                self.until = min(self.until or instant(until), instant(until))

    def keep(self) -> None:
        """Remember since when all is here that was asked for, if it was not known."""
        since = self._asking.since
        if since is None:
            self._landing.remember(self._note, "")
        elif since != "last" and self._landing.note(self._note) is None:
            self._landing.remember(self._note, instant(since))


def _is_now(asking: Asking, as_of: str) -> bool:
    """Say whether the time that it asks since is no earlier than the server's."""
    return isinstance(asking.since, datetime) and as_of <= instant(asking.since)


def _begin(fetcher: Fetcher, landing: PageLanding, asking: Asking) -> tuple[Offer, str]:
    """Read what the server offers, and its time; recall both where the same was asked before."""
    name = f"offer {asking.name}"
    kept = landing.note(name) if asking.since != "last" else None
    if kept is not None:
        as_of, offer = json.loads(kept)
        if not _is_now(asking, as_of):
            return Offer(**offer), as_of
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
    if asking.since != "last":
        landing.remember(name, json.dumps([as_of, asdict(offer)]))
    return offer, as_of


def _ask(fetcher: Fetcher, landing: PageLanding, question: Question, *, as_of: str) -> None:
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
            if error.status != _GONE:
                landing.withhold(question.patient, error.status)
                return
            page = _deletion(question.patient)
        else:
            page = _page(fetcher, question, document, answer)
        if question.expected and url == question.first and not page.lines:
            landing.withhold(question.patient)
        url = landing.land(question, url, page, as_of=as_of)


def _page(fetcher: Fetcher, question: Question, document: object, answer: Answer) -> Page:
    page = read_page(document, str(fetcher.base), question.what)
    if not question.cohort:
        page.patients.clear()
    if page.next is not None:
        page.next = str(fetcher.link(page.next, seen_at=answer.url))
        fetcher.check_origin(httpx.URL(page.next), question.what)
    return page


def _deletion(patient: str) -> Page:
    """Give the deletion of a patient who is gone."""
    # Without a time: it is newer than all that landed of the patient before.
    entry = {"request": {"method": "DELETE", "url": f"Patient/{patient}"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    return Page(lines=[("deleted", line_of(bundle))])
