"""Fetch a Bulk Data export: kick-off, polling, manifest, downloads, deletions, DELETE.

https://hl7.org/fhir/uv/bulkdata/export.html. The job is remembered from the moment that the server
accepts it: a fetch that was killed polls the same job, or goes on with the files that it lacks. All
files come out together when the last of them is there. Deletions land as Bundles that carry the
export's transaction time, so that what is created anew later is newer than they are.
"""

import contextlib
import hashlib
import json
import os
import re
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from ingest.answers import parse_json
from ingest.bulk_download import download, read_lines
from ingest.errors import UsageError
from ingest.fetch_state import create_private
from ingest.fetching import Auth, Fetcher
from ingest.following import follow, want_references
from ingest.origins import SourceError, origin_of
from ingest.page_landing import Fetched, PageLanding
from ingest.pages import line_of, severities
from ingest.parallel import in_parallel
from ingest.patience import Passing, Patience, may_pass, retry_after_s
from ingest.questions import LATE

__all__ = ["export_bulk"]

_LEVEL = re.compile(r"system|patient|group/([A-Za-z0-9\-.]{1,64})")
_TYPE = re.compile(r"[A-Z][A-Za-z]{2,40}")
_KINDS = ("output", "deleted", "error")
_WHAT = "the export's status"
_MANIFEST_CAP_BYTES = 64 << 20
_NO_TOKEN = 401
_FAILED = 500  # how the standard lets a server say that the job itself failed
_SLOWEST_POLL_S = 60.0  # where the server does not say


@dataclass(kw_only=True)
class _File:
    url: str
    kind: str
    """`output`, `deleted` or `error`."""

    type: str
    lines: int | None = None
    """As the manifest says."""

    done: bool = False


@dataclass(kw_only=True)
class _Job:
    """A job as it is remembered."""

    status_url: str
    time: str = ""
    with_token: bool = True
    files: list[_File] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    done: bool = False

    def kept(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def recalled(cls, text: str) -> "_Job":
        told = json.loads(text)
        return cls(**{**told, "files": [_File(**file) for file in told["files"]]})


def export_bulk(
    url: str,
    into: Path,
    *,
    level: str = "system",
    since: datetime | None = None,
    types: Sequence[str] = (),
    auth: Auth | None = None,
    allow_origins: frozenset[str] = frozenset(),
    following: bool = True,
    workers: int = 4,
    patience: Patience | None = None,
    progress: bool = False,
) -> Fetched:
    """Land an export in a directory; one that landed there whole is not asked for again.

    Args:
        url: The server's base URL.
        into: A directory for this server alone, in the raw zone; it becomes its owner's only.
        level: `system`, `patient` or `group/ID`.
        since: Only what the server changed since then, deletions among it: the `as_of` of the
            export before. An export of the same `since` is recalled only if it is of a later time.
        types: Resource types; none means all.
        auth: Where tokens come from (`ingest.signing`).
        allow_origins: Other origins that files and attachments may come from, without a token.
        following: Fetch what the export refers to and does not hold: drugs, places, attachments.
        workers: Downloads at a time.
        patience: How often and how long to ask again, and how long to poll.
        progress: Show bars.

    Raises:
        UsageError: options that cannot be.
        SourceError: the server refuses, fails for too long, or makes no sense; or the export has
            expired, and the next run begins a new one.
        StoreError: another fetch is at work on `into`.
    """
    path, query = _kick_off_path(level), _query(since, types)
    name = "job " + hashlib.sha256(json.dumps([path, query]).encode()).hexdigest()
    with (
        Fetcher(url, auth=auth, patience=patience, allow_origins=allow_origins) as fetcher,
        PageLanding(into, str(fetcher.base)) as landing,
    ):
        kept = landing.note(name)
        job = _Job.recalled(kept) if kept else _kick_off(fetcher, path, query)
        if not job.done:
            landing.remember(name, job.kept())
            _Export(fetcher, landing, name, job).run(workers=workers, progress=progress)
        if following:
            want_references(landing, str(fetcher.base))
            follow(fetcher, landing, workers=workers, progress=progress)
        landing.finish()
        fetched = landing.account(requests=fetcher.requests, as_of=job.time)
        # Recalled the next time, it would hide what there is by then.
        if not fetched.landed:
            landing.forget(name)
            return replace(fetched, as_of=None)
        if since is not None and fetched.as_of is not None and fetched.as_of <= since + LATE:
            landing.forget(name)
        return fetched


class _ExpiredError(SourceError):
    """The job or a file of it is no longer there."""


class _Export:
    """Bring a job to its end."""

    def __init__(self, fetcher: Fetcher, landing: PageLanding, name: str, job: _Job) -> None:
        self._fetcher, self._landing, self._name, self._job = fetcher, landing, name, job
        self._guard = threading.Lock()

    def run(self, *, workers: int, progress: bool) -> None:
        """Poll, download, and let the server clean up."""
        job, fetcher = self._job, self._fetcher
        status_url = fetcher.link(job.status_url)
        try:
            if not job.files:
                self._take(self._poll(status_url))
                self._landing.remember(self._name, job.kept())
            left = [number for number, file in enumerate(job.files) if not file.done]
            bar = {"desc": "downloading", "unit": "file", "disable": not progress}
            in_parallel(
                left,
                self._download,
                workers=workers,
                stop=fetcher.retrying.stop,
                bar={"total": len(left), **bar},
            )
        except _ExpiredError as error:
            self._landing.drop(self._name)
            for part in self._landing.hidden.glob(f"{self._stem}-*"):
                part.unlink()
            raise SourceError(
                f"{error}: the export has expired or failed; run the same again to begin a new one",
                status=error.status,
            ) from None
        self._clean_up(status_url)
        job.done = True
        with self._landing.transaction():
            for severity, n in job.outcomes.items():
                self._landing.count("outcome", severity, n)
            self._landing.remember(self._name, job.kept())

    @property
    def _stem(self) -> str:
        return self._name.rpartition(" ")[2][:8]

    def _poll(self, url: httpx.URL) -> Any:
        """Ask until the export is there, and give its manifest."""
        fetcher, waited_s, polls = self._fetcher, 0.0, 0
        while waited_s <= fetcher.patience.longest_export_s:
            try:
                answer = fetcher.get(
                    url, what=_WHAT, cap_bytes=_MANIFEST_CAP_BYTES, accept="application/json"
                )
            except SourceError as error:
                # Troubles with the line or the token; all else means that the job is no more.
                status = error.status
                line = status is None or (may_pass(status) and status != _FAILED)
                if line or status == _NO_TOKEN:
                    raise
                raise _ExpiredError(str(error), status=error.status) from None
            if answer.status != 202:
                return self._parse(answer.content)
            asked_s = retry_after_s(answer.headers)
            # Servers ask for hours at times, and small exports are done in seconds.
            wait_s = min(2.0**polls, _SLOWEST_POLL_S) if asked_s is None else asked_s
            wait_s = min(wait_s, fetcher.patience.longest_wait_s)
            fetcher.retrying.pause(wait_s)
            waited_s, polls = waited_s + wait_s, min(polls + 1, 10)
        raise SourceError(
            f"{fetcher.origin} has not finished its export after {waited_s:.0f} s; run the same "
            "again to wait on"
        )

    def _parse(self, content: bytes) -> Any:
        try:
            return parse_json(content, _WHAT)
        except Passing:
            raise SourceError(f"{self._fetcher.origin} gave {_WHAT} that is not JSON") from None

    def _take(self, manifest: Any) -> None:
        """Note what the manifest lists; every file's origin is checked before any is fetched."""
        job, fetcher = self._job, self._fetcher
        try:
            job.time = manifest["transactionTime"]
            if datetime.fromisoformat(job.time).tzinfo is None:
                raise ValueError("an instant has a time zone")
            job.with_token = manifest.get("requiresAccessToken") is not False
            listed = [(k, file) for k in _KINDS for file in manifest.get(k) or ()]
            for kind, file in listed:
                url, count = fetcher.link(file["url"]), file.get("count")
                fetcher.check_origin(url, "a file of the export", foreign=True)
                name = file["type"] if _TYPE.fullmatch(file["type"]) else "Other"
                lines = count if isinstance(count, int) else None
                job.files.append(_File(url=str(url), kind=kind, type=name, lines=lines))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise SourceError(f"{fetcher.origin} gave {_WHAT} that breaks the standard") from None

    def _download(self, number: int) -> None:
        file, landing, job = self._job.files[number], self._landing, self._job
        part = landing.hidden / f"{self._stem}-{number:05d}.part"
        url, what = httpx.URL(file.url), f"a file of the export ({file.kind})"
        try:
            lines, ending = download(
                self._fetcher,
                url,
                part,
                what=what,
                anonymous=not job.with_token,
                lines=file.lines,
            )
        except SourceError as error:
            # Where files lie elsewhere their URLs are signed for a time, and 403 is how that ends.
            away = origin_of(url) != self._fetcher.origin
            if error.status in (404, 410) or (away and error.status == 403):
                raise _ExpiredError(str(error), status=error.status) from None
            raise
        kind = file.type
        outcomes = _outcomes(part) if file.kind == "error" else {}
        if file.kind == "deleted":
            kind, ending = "deleted", "ndjson"
            _date_deletions(part, job.time)
        with self._guard:
            file.done = True
            for severity, n in outcomes.items():
                job.outcomes[severity] = job.outcomes.get(severity, 0) + n
            if file.kind == "error" or not lines:
                landing.remember(self._name, job.kept())
                part.unlink()
            else:
                use = {"job": self._name, "lines": lines, "state": job.kept()}
                landing.adopt(part, kind, ending, **use)
            part.with_suffix(".head").unlink(missing_ok=True)

    def _clean_up(self, url: httpx.URL) -> None:
        """Tell the server that it may delete the job; if that fails, it is done all the same."""
        with contextlib.suppress(SourceError, Passing):  # noqa: SIM117
            with self._fetcher.open(url, what=_WHAT, method="DELETE"):
                pass


def _kick_off_path(level: str) -> str:
    if not _LEVEL.fullmatch(level):
        raise UsageError(f"level is system, patient or group/ID; got {level!r}")
    head, _, group = level.partition("/")
    return {"system": "$export", "patient": "Patient/$export"}.get(head, f"Group/{group}/$export")


def _query(since: datetime | None, types: Sequence[str]) -> str:
    if since is not None and since.tzinfo is None:
        raise UsageError("since needs a time zone; got a time without one")
    wrong = [kind for kind in types if not _TYPE.fullmatch(kind)]
    if wrong:
        raise UsageError(f"{wrong[0]!r} is no resource type")
    query: dict[str, str] = {}
    if types:
        # One parameter with commas: not every server takes several, though all should.
        query["_type"] = ",".join(sorted(types))
    if since is not None:
        query["_since"] = since.astimezone(UTC).isoformat()
    return urlencode(query, safe=",")


def _kick_off(fetcher: Fetcher, path: str, query: str) -> _Job:
    url = fetcher.link(f"{path}?{query}" if query else path)
    what, headers = "an export", {"Prefer": "respond-async"}
    answer = fetcher.get(url, what=what, cap_bytes=1 << 20, headers=headers)
    status_url = answer.headers.get("Content-Location", "")
    if answer.status != 202 or not status_url:
        raise SourceError(
            f"{fetcher.origin} answered {answer.status} when asked for {what}, and not 202 with a "
            "place to ask for its status"
        )
    where = fetcher.link(status_url, seen_at=answer.url)
    fetcher.check_origin(where, "the export's status")
    return _Job(status_url=str(where))


def _outcomes(part: Path) -> dict[str, int]:
    """Count the issues that the server met, by severity."""
    counts: Counter[str] = Counter()
    for line in read_lines(part):
        with contextlib.suppress(ValueError, RecursionError, AttributeError):
            counts.update(severities(json.loads(line)))
    return dict(counts)


def _date_deletions(part: Path, time: str) -> None:
    """Write the export's time into each deletion, which carries none of its own."""
    dated = part.with_suffix(".dated")
    handle = create_private(dated)
    os.ftruncate(handle, 0)
    with os.fdopen(handle, "wb") as out:
        for line in read_lines(part):
            out.write(_dated(line, time) + b"\n")
        out.flush()
        os.fsync(out.fileno())
    dated.replace(part)


def _dated(line: bytes, time: str) -> bytes:
    try:
        bundle = json.loads(line)
        for entry in bundle["entry"]:
            entry["response"] = {"lastModified": time, **entry.get("response", {})}
        return line_of(bundle)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return line.strip()  # as it came: ingest says what is wrong with it
