"""Remember how far a fetch got: a small SQLite database beside what it lands, for many threads.

What is remembered and what has landed change in one transaction, so that a fetch which is killed at
any moment knows exactly what it has. The database and its directory are their owner's alone: next
links and searches may name patients.
"""

import errno
import fcntl
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from ingest.errors import InputError, StoreError, UsageError
from ingest.origins import OutOfReachError

__all__ = ["FetchState", "create_private"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS question (
    first TEXT PRIMARY KEY, next TEXT, total INT, matches INT DEFAULT 0, repeats INT DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asked (first TEXT PRIMARY KEY, time TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answered (
    topic TEXT PRIMARY KEY, until TEXT, begins TEXT DEFAULT '', patient TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answered_of ON answered (patient);
CREATE TABLE IF NOT EXISTS refused (patient TEXT PRIMARY KEY, reason TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS visited (first TEXT, mark BLOB, PRIMARY KEY (first, mark)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS patient (first TEXT, id TEXT, PRIMARY KEY (first, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS landed (digest BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS last_of_patient (id TEXT PRIMARY KEY, digest BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS wanted (
    url TEXT PRIMARY KEY, kind TEXT, mime TEXT, outcome TEXT, again INT DEFAULT 1
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS file (
    name TEXT PRIMARY KEY, type TEXT, number INT, job TEXT, bytes INT DEFAULT 0,
    lines INT DEFAULT 0, read INT DEFAULT 0, whole INT DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tally (
    kind TEXT, name TEXT, n INT, PRIMARY KEY (kind, name)
) WITHOUT ROWID;
"""


_ROOM = 256 << 10
"""With less than that left, in bytes, SQLite finds no room for its log."""


class FetchState:
    """Hold the state of the fetches into one directory from one server.

    Raises:
        UsageError: the directory began with another server.
        StoreError: another fetch is at work on it.
        InputError: the state is damaged.
    """

    def __init__(self, into: Path, server: str) -> None:
        self.into, self.hidden = into, into / ".fetch"
        self._db: sqlite3.Connection | None = None
        self._guard = threading.RLock()
        self.hidden.mkdir(parents=True, exist_ok=True)
        into.chmod(0o700)
        self.hidden.chmod(0o700)
        self._lock = create_private(self.hidden / "lock")
        try:
            self._open(server)
        except BaseException:
            self.close()
            raise

    def _open(self, server: str) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"another fetch is at work on {self.into}; wait for it") from None
        state = self.hidden / "state.sqlite"
        os.close(create_private(state))
        self._db = sqlite3.connect(state, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            # The state may lose its last moments with the power: it then knows less than landed.
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_SCHEMA)
            began = self.note("server") or server
        except sqlite3.DatabaseError as error:
            self._refuse_full_disk(error)
            raise InputError(f"{state} is damaged; remove {self.into} and fetch again") from None
        if began != server:
            raise UsageError(f"{self.into} holds what another server gave; name another directory")
        self.remember("server", server)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database and let go of the directory; safe to call twice."""
        with self._guard:
            if self._db is not None:
                self._db.close()
                self._db = None
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    def note(self, name: str) -> str | None:
        """Recall what was remembered under a name."""
        found = self.rows("SELECT value FROM note WHERE name = ?", name)
        return found[0][0] if found else None

    def remember(self, name: str, value: str) -> None:
        """Keep a value under a name."""
        if self.note(name) != value:
            self.rows("INSERT OR REPLACE INTO note VALUES (?, ?)", name, value)

    def forget(self, name: str) -> None:
        """Keep nothing under a name."""
        self.rows("DELETE FROM note WHERE name = ?", name)

    def count(self, kind: str, name: str, n: int) -> None:
        """Add to a tally."""
        self.rows(
            "INSERT INTO tally VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
            *(kind, name, n),
        )

    def counts(self, kind: str) -> dict[str, int]:
        """Give the tallies of a kind, by name."""
        asked = "SELECT name, n FROM tally WHERE kind = ? AND n > 0 ORDER BY name"
        return dict(self.rows(asked, kind))

    def is_new(self, kind: str, line: bytes, digest: bytes) -> bool:
        """Note that a line lands, and say whether it must: it did not before, byte by byte.

        Patients go and come back, and servers say the same each time: what was last said counts.
        """
        added = "INSERT OR IGNORE INTO landed VALUES (?) RETURNING 1"
        new = bool(self.rows(added, digest))
        if kind not in ("Patient", "deleted"):
            return new
        name = _whose(kind, line)
        before = self.rows("SELECT digest FROM last_of_patient WHERE id = ?", name)
        self.rows("INSERT OR REPLACE INTO last_of_patient VALUES (?, ?)", name, digest)
        return new or (before != [] and before[0][0] != digest)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement and give its rows."""
        with self._guard:
            if self._db is None:
                raise OutOfReachError("stopped")  # another thread's failure ended the fetch
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.OperationalError as error:
                self._refuse_full_disk(error)
                raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep all of what the block does to the state, or nothing of it."""
        with self._guard:
            self.rows("BEGIN IMMEDIATE")
            try:
                yield
                self.rows("COMMIT")
            except BaseException:
                if self._db is not None and self._db.in_transaction:  # a full disk has ended it
                    self.rows("ROLLBACK")
                raise

    def _refuse_full_disk(self, error: sqlite3.DatabaseError) -> None:
        """Say so where that is why SQLite failed; it may call it an I/O error."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        full = code == sqlite3.SQLITE_IOERR and shutil.disk_usage(self.into).free < _ROOM
        if full or code == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.into)) from None


def _whose(kind: str, line: bytes) -> str:
    document = json.loads(line)
    if kind == "Patient":
        return str(document.get("id"))
    return str(document["entry"][0]["request"]["url"]).removeprefix("Patient/")


def create_private(path: Path) -> int:
    """Open a file for reading and writing, for its owner alone."""
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
