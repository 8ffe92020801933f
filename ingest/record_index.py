"""Keep beside the raw zone what a build found out, so that the next one need not find it out again.

    store.raw/index/            for its owner alone
      index.json                what the index is of, and the size and CRC-32 of each of its files
      N/TABLE.parquet           a segment: what one build added (or what several did, put together)

A segment's tables; `place` is a FHIR file's number among those that landed, times 2**40, plus the
position of the record in it:

    trace      place, type, key, deletion, subject, encounter, bytes: each record (trace.sql)
    depend     place, token, link: what else a record refers to; `link` from a Patient to another
    provide    place, token, whole: its fullUrl (`whole` null), and its identifiers
    state      place, status, detail, subject_key: what became of it; a later segment's row counts
    event      place, name: the names (see below) of the events that came of it
    undated    place, type: records of which something was left out for want of a date
    provider   key, value: a hash of what others take from it (projections/provider.sql)

Whole tables, written anew by each build, small beside the rest:

    name       name, code, display, parents, unit, measured, n: how many events are called so;
               `measured` where they have a number
    merged     key, subject_key, place: patients that another replaced, and which record says so
    subject    subject_key, subject_id, shard
    tally      file, status, detail, n: the accounting
    film, film_event, imaging_study, patient_identifier: see film_index.py

An index counts only while everything that it was made of is as it was: the files that had landed,
the store and what stands beside it, the options, and this program. Else there is none, and a full
build makes a new one. It is written whole before the store is swapped in, and named last, so that a
build that is killed leaves an index that fits its store, or one that is seen not to.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from ingest.checksums import CHECKSUMS, crc_of, sha256_of
from ingest.landing import LandedFile
from ingest.lines import FILE_STEP

__all__ = [
    "SEGMENT_TABLES",
    "WHOLE_TABLES",
    "RecordIndex",
    "begin_segments",
    "fingerprint",
    "open_index",
]

SEGMENT_TABLES = ("trace", "depend", "provide", "state", "event", "undated", "provider")
WHOLE_TABLES = (
    *("name", "merged", "subject", "tally"),
    *("film", "film_event", "imaging_study", "patient_identifier"),
)
BESIDE = ("crosswalk.parquet", "quarantine.parquet")
"""Files of the raw zone that a build writes, and the next one starts from."""

_FORMAT = 3
_NAME = "index.json"


@dataclass(frozen=True, kw_only=True)
class RecordIndex:
    """Hold what index.json says; the tables are read from their files when they are asked for."""

    place: Path
    """The directory."""

    made_of: dict[str, Any]
    """`fingerprint` of what it was made of."""

    files: int
    """How many files had landed, of all kinds."""

    fhir_files: int
    """How many of them hold FHIR records."""

    landed: str
    """Hash of what the manifest says of them."""

    store: str
    """SHA-256 of the store's checksums.json."""

    beside: dict[str, str]
    """`crc_of` each of BESIDE."""

    segments: list[dict[str, Any]]
    """Oldest first: `name`, `rows` (records that were new), `weight` (and those told anew), `first`
    (its first new file's number), and `crc_of` each of its `files`."""

    whole: dict[str, Any]
    """The segment that holds the whole tables, and `crc_of` each of its `files`."""

    numbers: dict[str, Any]
    """What else the next build adds to: counts of the report that are not in `tally`."""

    builds: list[dict[str, Any]] = field(default_factory=list)
    """When each build was, what it added, and whether it projected everything."""

    def path(self, segment: str, table: str) -> Path:
        """Say where a table of a segment is."""
        return self.place / segment / f"{table}.parquet"

    def attach(self, con: duckdb.DuckDBPyConnection) -> None:
        """Create a schema `old` with a view of each table; of `state`, each record's last row.

        `old.state`, `old.event` and `old.undated` have the number of the `segment` that counts.
        """
        con.execute("CREATE SCHEMA old")
        for table in ("trace", "depend", "provide"):
            paths = ", ".join(_quoted(self.path(s["name"], table)) for s in self.segments)
            con.execute(f"CREATE VIEW old.{table} AS SELECT * FROM read_parquet([{paths}])")
        for table in ("state", "event", "undated", "provider"):
            con.execute(f"CREATE VIEW old.every_{table} AS {self._numbered(table)}")
        again = [
            f"SELECT place, {n} AS segment FROM {_quoted(self.path(s['name'], 'state'))}"
            f" WHERE place < {s['first'] * FILE_STEP}"
            for n, s in enumerate(self.segments)
            if n
        ]
        nothing = "SELECT 0::BIGINT AS place, 0 AS segment WHERE false"
        con.execute(
            "CREATE TABLE old.again AS SELECT place, max(segment) AS segment FROM"
            f" ({' UNION ALL '.join(again) or nothing})"
            " GROUP BY place"
        )
        for table in ("state", "event", "undated"):
            con.execute(
                f"CREATE VIEW old.{table} AS SELECT t.* FROM old.every_{table} t"
                " LEFT JOIN old.again a USING (place)"
                " WHERE a.segment IS NULL OR t.segment >= a.segment"
            )
        for table in WHOLE_TABLES:
            path = _quoted(self.path(self.whole["name"], table))
            con.execute(f"CREATE VIEW old.{table} AS SELECT * FROM {path}")

    def _numbered(self, table: str) -> str:
        return " UNION ALL ".join(
            f"SELECT *, {n} AS segment FROM {_quoted(self.path(s['name'], table))}"
            for n, s in enumerate(self.segments)
        )


def fingerprint(options: Mapping[str, Any]) -> dict[str, Any]:
    """Say what decides how records become events, beside the records: program and options."""
    return {
        "format": _FORMAT,
        "medweave": version("medweave"),
        "duckdb": duckdb.__version__,  # whose hashes the tokens are
        "code": _hash_of_code(),
        "options": json.loads(json.dumps(options)),
    }


def open_index(
    place: Path, store: Path, files: list[LandedFile], made_of: dict[str, Any]
) -> RecordIndex | None:
    """Give the index if one can go on from it: it is whole, of this store, and of nothing else.

    Args:
        place: the index's directory.
        store: the store as it is.
        files: all that landed; the index may know the first of them alone.
        made_of: `fingerprint`.
    """
    index = read_index(place, store)
    if index is None or index.made_of != made_of:
        return None
    known = files[: index.files]
    return index if len(known) == index.files and index.landed == hash_of_files(known) else None


def read_index(place: Path, store: Path) -> RecordIndex | None:
    """Give the index if it is whole and of this store, and None otherwise."""
    try:
        said = json.loads((place / _NAME).read_text("utf-8"))
        index = RecordIndex(place=place, **said)
        if index.store != sha256_of(store / CHECKSUMS):
            return None
        stated = {place.parent / name: index.beside[name] for name in BESIDE}
        for segment in [*index.segments, index.whole]:
            for table, stands in segment["files"].items():
                stated[index.path(segment["name"], table)] = stands
        whole = all(crc_of(path) == stands for path, stands in stated.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return index if whole else None


def past_builds(place: Path) -> list[dict[str, Any]]:
    """Give the builds that an index tells of, whether it counts or not."""
    try:
        builds = json.loads((place / _NAME).read_text("utf-8"))["builds"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return builds if isinstance(builds, list) else []


def begin_segments(place: Path) -> None:
    """Make the index's directory where there is none; sweep away what no index names."""
    place.mkdir(mode=0o700, exist_ok=True)
    place.chmod(0o700)
    try:
        said = json.loads((place / _NAME).read_text("utf-8"))
        named = {segment["name"] for segment in [*said["segments"], said["whole"]]}
    except (OSError, ValueError, KeyError, TypeError):
        named = set()
    _sweep(place, named)


def new_segment(place: Path) -> Path:
    """Make the directory of the next segment."""
    taken = [int(made.name) for made in place.iterdir() if made.is_dir() and made.name.isdigit()]
    made = place / f"{max(taken, default=0) + 1:06d}"
    made.mkdir(mode=0o700)
    return made


def _sweep(place: Path, named: Collection[str]) -> None:
    for left in place.iterdir():
        if left.is_dir() and left.name not in named:
            shutil.rmtree(left, ignore_errors=True)


def write_tables(
    con: duckdb.DuckDBPyConnection, segment: Path, queries: Mapping[str, str]
) -> dict[str, str]:
    """Write what each query gives as a table of the segment; give `crc_of` the files."""
    sums = {}
    for table, query in queries.items():
        path = segment / f"{table}.parquet"
        con.execute(f"COPY ({query}) TO {_quoted(path)} (FORMAT parquet, COMPRESSION lz4_raw)")
        path.chmod(0o600)
        sums[table] = crc_of(path)
    return sums


def gather_segments(
    con: duckdb.DuckDBPyConnection, place: Path, segments: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Put the last segments together while they are of a size, so that there are never many.

    A segment is at least twice as large as the next, so each record is written a few times in all,
    however many builds there are.
    """
    segments = list(segments)
    while len(segments) > 1 and segments[-2]["weight"] < 2 * segments[-1]["weight"]:
        older, newer = segments[-2:]
        made = new_segment(place)

        def read(segment: dict[str, Any], table: str) -> str:
            return f"read_parquet({_quoted(place / segment['name'] / f'{table}.parquet')})"

        queries = {}
        for table in SEGMENT_TABLES:
            left = ""
            if table in ("state", "event", "undated"):
                left = f" ANTI JOIN {read(newer, 'state')} n USING (place)"
            elif table == "provider":
                left = f" ANTI JOIN {read(newer, 'provider')} n USING (key)"
            queries[table] = (
                f"SELECT o.* FROM {read(older, table)} o{left} UNION ALL FROM {read(newer, table)}"
            )
        files = write_tables(con, made, queries)
        sums = {name: older[name] + newer[name] for name in ("rows", "weight")}
        told = {"name": made.name, "first": older["first"], "files": files}
        segments[-2:] = [told | sums]
    return segments


def commit(index: RecordIndex, store: Path) -> None:
    """Let the index count from now on, for this store; sweep away what it no longer names."""
    said = vars(index) | {"store": sha256_of(store / CHECKSUMS)}
    del said["place"]
    partial = index.place / "index.partial"
    with partial.open("w", encoding="utf-8") as out:
        out.write(json.dumps(said, indent=1) + "\n")
        out.flush()
        os.fsync(out.fileno())
    partial.chmod(0o600)
    partial.replace(index.place / _NAME)
    _sweep(index.place, {segment["name"] for segment in [*index.segments, index.whole]})


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def hash_of_files(files: Iterable[LandedFile]) -> str:
    """Hash what decides what a file's records become: its content, kind, place in order, site."""
    total = hashlib.sha256()
    for file in files:
        said = (file.id, file.name, file.kind, file.sha256, file.timezone, file.mapping)
        total.update(json.dumps([*said, file.source if file.mapping else ""]).encode())
    return total.hexdigest()


@lru_cache(maxsize=1)
def _hash_of_code() -> str:
    total = hashlib.sha256()
    room = Path(__file__).parent
    for path in sorted([*room.rglob("*.py"), *room.rglob("*.sql"), *room.rglob("*.csv")]):
        total.update(path.relative_to(room).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()
