"""Land what a server answers, page by page, so that a killed fetch goes on where it stopped.

    DIRECTORY/                      owner-only
      Observation-0001.ndjson       whole: nothing is ever added to it
      .fetch/                       hidden, so that it is no source
        state.sqlite                which questions were asked, how far, what has landed
        Observation-0002.ndjson     being written, up to the length that the state knows
        lock

A page's lines are on disk before the state knows of them, and the state learns of them, and of the
next link, in one transaction. What lies beyond the known length was written by a run that was
killed before that, and is written over. Files come out of `.fetch` when the whole fetch is done.

When a question has been answered, the state knows up to when its topic is: the server's time when
the chain was begun. What the server withholds of a patient (403, 404) is not answered.

A line that landed before, byte by byte, is not landed again: servers repeat pages, and included
resources stand on many of them. A newer version of a resource is another line. Of a patient it is
the line before that counts, for one who was deleted may come back, and go again.
"""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ingest.errors import InputError
from ingest.fetch_state import FetchState, create_private
from ingest.origins import SourceError
from ingest.pages import Page, Wanted
from ingest.questions import Question, instant

__all__ = ["Fetched", "PageLanding"]

_ROLL_BYTES = 256 << 20  # several files, so that several cores have something to share
_MOST_REPEATS = 100  # in a row: a server without an end, none of whose links is like another
_NOT_FOUND = "not found"
_TYPE = re.compile("[A-Z][A-Za-z]{2,40}|deleted")


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Say what a fetch brought; but for `fresh` and `requests`, of all runs into its directory."""

    files: tuple[Path, ...]
    """NDJSON, whole; packed where the name ends in .gz."""

    landed: dict[str, int]
    """Lines by resource type; `deleted` are Bundles of deletions."""

    fresh: int
    """Lines that this run added: none where all had landed before."""

    requests: int
    """Requests that this run sent."""

    repeated: int
    """Lines that came again, byte by byte, and were left out."""

    outcomes: dict[str, int]
    """Issues that the server reported beside what it gave, by severity."""

    missing: dict[str, int]
    """What was asked for or referred to and is not here, by kind and reason."""

    unasked: tuple[str, ...]
    """Types that the server lets nobody search."""

    as_of: datetime | None
    """The server's time up to which all that was asked is answered, the earliest of its parts: the
    next fetch's `since`."""


class PageLanding(FetchState):
    """Write pages into a directory; for many threads.

    Raises:
        InputError: the state is damaged, or what had landed is.
        UsageError, StoreError: see `FetchState`.
    """

    def __init__(self, into: Path, server: str) -> None:
        self._handles: dict[str, int] = {}
        self.fresh = 0
        """Lines that this run landed."""
        super().__init__(into, server)
        for name, size in self.rows("SELECT name, bytes FROM file WHERE NOT whole"):
            here = [p.stat().st_size for p in self._places(name) if p.is_file()]
            if size > max(here, default=0):
                self.close()
                raise InputError(f"{into} lost bytes that had landed; remove it and fetch again")

    def close(self) -> None:
        """Close all files; what is not finished stays hidden until a later run finishes it."""
        with self._guard:
            for handle in self._handles.values():
                os.close(handle)
            self._handles.clear()
            super().close()

    def go_on(self, first: str) -> str | None:
        """Give the URL that a question stopped before; None where it has been answered."""
        found = self.rows("SELECT next FROM question WHERE first = ?", first)
        return found[0][0] if found else first

    def restart(self, first: str) -> str:
        """Begin a question anew, whose next link is gone; what landed stays, once."""
        with self.transaction():
            self._unask(first)
        return first

    def ask_again(self, first: str) -> None:
        """Begin a question anew if it has been answered, and not where it stopped in between."""
        if self.rows("SELECT 1 FROM question WHERE first = ? AND next IS NULL", first):
            with self.transaction():
                self._unask(first)
                self.rows("DELETE FROM patient WHERE first = ?", first)

    def was_withheld(self, patient: str) -> bool:
        """Say whether the server withheld something of a patient, to ask for it again."""
        with self.transaction():
            gone = "DELETE FROM refused WHERE patient = ? RETURNING reason"
            found = self.rows(gone, patient)
            if found == [(_NOT_FOUND,)]:  # then it had records of nobody, whatever it answered
                topics = "DELETE FROM answered WHERE patient = ? RETURNING topic"
                for (topic,) in self.rows(topics, patient):
                    self._unask(topic)
        return bool(found)

    def withhold(self, patient: str, status: int | None = None) -> None:
        """Note that the server withheld something of a patient, or with no status found nobody."""
        if status is None:
            self.rows("INSERT OR REPLACE INTO refused VALUES (?, ?)", patient, _NOT_FOUND)
        else:
            reason = f"answered {status}"
            self.rows("INSERT OR IGNORE INTO refused VALUES (?, ?)", patient, reason)

    def until(self, topic: str, *, begins: str = "") -> datetime | None:
        """Say up to when a topic is answered: all of it, or since `begins` if that is given."""
        asked = "SELECT until FROM answered WHERE topic = ? AND (begins = '' OR begins <= ?)"
        found = self.rows(asked, topic, begins)
        return datetime.fromisoformat(found[0][0]) if found else None

    def forget_answers(self) -> None:
        """Forget every question; what landed stays."""
        with self.transaction():
            for table in ("question", "asked", "answered", "visited", "patient"):
                self.rows(f"DELETE FROM {table}")
            self.rows("DELETE FROM note WHERE name LIKE 'offer %' OR name LIKE 'begins %'")

    def land(self, question: Question, url: str, page: Page, *, as_of: str) -> str | None:
        """Land the page that a question got from `url`, and give the URL of the next one.

        Args:
            question: Which.
            url: Of this page.
            page: What it holds.
            as_of: The server's time (as `instant` writes it) no later than that of the request.

        Raises:
            SourceError: the next links go round, or bring the same page for ever.
        """
        server, first = self.note("server"), question.first
        digests = [_digest(line) for _, line in page.lines]
        whole = _digest(b"page", *digests)
        with self.transaction():
            if self.rows("INSERT OR IGNORE INTO question (first) VALUES (?) RETURNING 1", first):
                self.rows("INSERT OR REPLACE INTO asked VALUES (?, ?)", first, as_of)
            self._visit(first, _digest(url.encode()))
            if page.next and self._visited(first, _digest(page.next.encode())):
                raise SourceError(f"the next links of {server} go round in a ring")
            repeated = self._visited(first, whole)
            self._visit(first, whole)
            for name in page.patients:
                self.rows("INSERT OR IGNORE INTO patient VALUES (?, ?)", first, name)
            self.rows(
                "UPDATE question SET next = ?, total = coalesce(total, ?), matches = matches + ?,"
                " repeats = CASE WHEN ? THEN repeats + 1 ELSE 0 END WHERE first = ?",
                *(page.next, page.total, 0 if repeated else page.matches, repeated, first),
            )
            asked = "SELECT coalesce(total - matches, 0), repeats FROM question WHERE first = ?"
            short, repeats = self.rows(asked, first)[0]
            if repeats >= _MOST_REPEATS:
                raise SourceError(f"{server} sends the same page again and again")
            if page.next is None:
                self.rows("DELETE FROM visited WHERE first = ?", first)
                self._answer(question)
                if short > 0:
                    self.count("missing", "match: counted by the server and not given", short)
            fresh = self._write(page, digests)
        self.fresh += fresh
        return page.next

    def add(self, page: Page, *, settles: Wanted) -> None:
        """Land what no question asked for, and with it what it settles."""
        with self.transaction():
            fresh = self._write(page, [_digest(line) for _, line in page.lines])
            self._settle(settles.url, "landed", lasting=True)
        self.fresh += fresh

    def adopt(
        self, part: Path, kind: str, ending: str, *, job: str, lines: int, state: str
    ) -> None:
        """Land a job's file, which lies whole in `hidden`, and with it keep the job's `state`."""
        size = part.stat().st_size
        with self.transaction():
            name = self._new_file(kind, ending, job)
            self.rows("UPDATE file SET bytes = ?, lines = ? WHERE name = ?", size, lines, name)
            self.count("landed", kind, lines)
            self.remember(job, state)
            part.replace(self.hidden / name)
        self.fresh += lines

    def drop(self, job: str) -> None:
        """Forget a job, and drop its files, none of which has come out."""
        files = "SELECT name, type, lines FROM file WHERE job = ? AND NOT whole"
        with self.transaction():
            for name, kind, lines in self.rows(files, job):
                self.count("landed", kind, -lines)
                self.rows("DELETE FROM file WHERE name = ?", name)
                (self.hidden / name).unlink(missing_ok=True)
            self.forget(job)

    def miss(self, want: Wanted, reason: str, *, lasting: bool) -> None:
        """Say why something wanted is not here, and whether asking again is of no use."""
        self._settle(want.url, reason, lasting=lasting)

    def patients(self, first: str) -> list[str]:
        """List the ids of the Patients that a question found."""
        return [name for (name,) in self.rows("SELECT id FROM patient WHERE first = ?", first)]

    def asked_before(self, question: Question) -> bool:
        """Say whether a cohort was looked up at another time, too."""
        search = question.topic
        other = "first <> ? AND (first = ? OR (first >= ? AND first < ?))"
        values = (question.first, search, f"{search}#", f"{search}$")  # `$` comes after `#`
        return bool(self.rows(f"SELECT 1 FROM question WHERE {other} LIMIT 1", *values))

    def unread(self) -> list[tuple[str, Path]]:
        """List types and places of the jobs' files that were not read for what they refer to."""
        rows = self.rows("SELECT type, name, whole FROM file WHERE job <> '' AND NOT read")
        return [(kind, self._places(name)[whole]) for kind, name, whole in rows]

    def mark_read(self, name: str, wanted: Iterable[Wanted], held: Iterable[Wanted]) -> None:
        """Note what a file refers to, and what it holds."""
        with self.transaction():
            self._want(wanted, held)
            self.rows("UPDATE file SET read = 1 WHERE name = ?", name)

    def wanted(self) -> list[Wanted]:
        """List what is referred to, has not landed, and may yet."""
        rows = self.rows("SELECT url, kind, mime FROM wanted WHERE again ORDER BY url")
        return [Wanted(url=url, kind=kind, mime=mime or "") for url, kind, mime in rows]

    def finish(self) -> None:
        """Bring every file out of hiding, whole."""
        with self._guard:
            for name, size in self.rows("SELECT name, bytes FROM file WHERE NOT whole"):
                handle = self._handles.pop(name, None)
                if handle is not None:
                    os.close(handle)
                hidden, whole = self._places(name)
                if size and hidden.is_file():
                    os.truncate(hidden, size)
                    hidden.replace(whole)
            place = os.open(self.into, os.O_RDONLY)
            os.fsync(place)
            os.close(place)
            self.rows("UPDATE file SET whole = 1 WHERE bytes > 0")

    def account(
        self, *, requests: int, as_of: str | None, unasked: tuple[str, ...] = ()
    ) -> Fetched:
        """Say what has landed."""
        missing = self.counts("missing")
        withheld = "SELECT 'patient: ' || reason, count(*) FROM refused GROUP BY 1 ORDER BY 1"
        missing |= dict(self.rows(withheld))
        missing |= dict(
            self.rows(
                "SELECT kind || ': ' || outcome, count(*) FROM wanted"
                " WHERE outcome <> 'landed' GROUP BY 1 ORDER BY 1"
            )
        )
        names = self.rows("SELECT name FROM file WHERE whole ORDER BY name")
        return Fetched(
            files=tuple(self.into / name for (name,) in names),
            landed=self.counts("landed"),
            fresh=self.fresh,
            requests=requests,
            repeated=sum(self.counts("repeated").values()),
            outcomes=self.counts("outcome"),
            missing=missing,
            unasked=unasked,
            as_of=datetime.fromisoformat(as_of) if as_of else None,
        )

    def _answer(self, question: Question) -> None:
        """Note up to when a topic is answered; within a transaction."""
        begun = self.rows("SELECT time FROM asked WHERE first = ?", question.first)
        if not begun:  # by an older version, which did not note when
            return
        since = "" if question.since is None or question.cohort else instant(question.since)
        until, begins = begun[0][0], since
        self.rows("DELETE FROM asked WHERE first = ?", question.first)
        before = "SELECT until, begins FROM answered WHERE topic = ?"
        for last, first in self.rows(before, question.topic):
            if since > last:  # what changed in between was not asked for
                return
            if first <= until:
                until, begins = max(until, last), min(first, since)
        self.rows(
            "INSERT OR REPLACE INTO answered VALUES (?, ?, ?, ?)",
            *(question.topic, until, begins, question.patient),
        )

    def _unask(self, first: str) -> None:
        for table in ("visited", "question", "asked"):
            self.rows(f"DELETE FROM {table} WHERE first = ?", first)

    def _write(self, page: Page, digests: list[bytes]) -> int:
        """Put a page's new lines on disk, then into the state; within a transaction."""
        fresh: dict[str, list[bytes]] = defaultdict(list)
        for (kind, line), digest in zip(page.lines, digests, strict=True):
            if self.is_new(kind, line, digest):
                fresh[kind if _TYPE.fullmatch(kind) else "Other"].append(line + b"\n")
            else:
                self.count("repeated", kind, 1)
        for kind, lines in sorted(fresh.items()):
            self._append(kind, b"".join(lines), len(lines))
            self.count("landed", kind, len(lines))
        self._want(page.wanted, page.held)
        for (kind, name), n in sorted(page.counts.items()):
            self.count(kind, name, n)
        return sum(len(lines) for lines in fresh.values())

    def _want(self, wanted: Iterable[Wanted], held: Iterable[Wanted]) -> None:
        added = "INSERT OR IGNORE INTO wanted (url, kind, mime) VALUES (?, ?, ?)"
        for want in wanted:
            self.rows(added, want.url, want.kind, want.mime)
        for here in held:
            self.rows(added, here.url, here.kind, here.mime)
            self._settle(here.url, "landed", lasting=True)

    def _settle(self, url: str, outcome: str, *, lasting: bool) -> None:
        settled = "UPDATE wanted SET outcome = ?, again = ? WHERE url = ?"
        self.rows(settled, outcome, not lasting, url)

    def _append(self, kind: str, content: bytes, lines: int) -> None:
        found = self.rows(
            "SELECT name, bytes FROM file WHERE type = ? AND NOT whole AND job = '' AND bytes < ?"
            " ORDER BY number DESC LIMIT 1",
            *(kind, _ROLL_BYTES),
        )
        name, size = found[0] if found else (self._new_file(kind), 0)
        if name not in self._handles:
            self._handles[name] = create_private(self.hidden / name)
        handle, done = self._handles[name], 0
        while done < len(content):
            done += os.pwrite(handle, memoryview(content)[done:], size + done)
        os.fsync(handle)
        grown = "UPDATE file SET bytes = ?, lines = lines + ? WHERE name = ?"
        self.rows(grown, size + done, lines, name)

    def _new_file(self, kind: str, ending: str = "ndjson", job: str = "") -> str:
        [(last,)] = self.rows("SELECT coalesce(max(number), 0) FROM file WHERE type = ?", kind)
        name = f"{kind}-{last + 1:04d}.{ending}"
        added = "INSERT INTO file (name, type, number, job) VALUES (?, ?, ?, ?)"
        self.rows(added, name, kind, last + 1, job)
        return name

    def _places(self, name: str) -> tuple[Path, Path]:
        return self.hidden / name, self.into / name

    def _visited(self, first: str, mark: bytes) -> bool:
        asked = "SELECT 1 FROM visited WHERE first = ? AND mark = ?"
        return bool(self.rows(asked, first, mark))

    def _visit(self, first: str, mark: bytes) -> None:
        self.rows("INSERT OR IGNORE INTO visited VALUES (?, ?)", first, mark)


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()[:16]
