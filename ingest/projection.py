"""Project landed FHIR records to events: SQL in DuckDB, one file a resource type.

`project_records` reads the records twice, batch by batch, and holds no more of them than a batch:
first for what must be known of all (`record`: id, version, subject; and what others refer to), from
which the newest of each resource is picked and references are resolved (references.py); then
`projections/TYPE.sql` runs over each batch. It leaves

    projected   events, with the columns of PROJECTED_COLUMNS
    outcome     file, position, status, detail: what became of each record, one row each
    undated     file, position, type: records of which something was left out for want of a date
    imaging_study, patient_identifier   what images are joined by

A projection is a SELECT over `resource` that gives columns of PROJECTED_COLUMNS by name, and `skip`
with a reason where the record must not become an event.
"""

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa
from tqdm import tqdm

from ingest.accounting import MOST_VALIDATED, refuse_invalid
from ingest.conventions import Conventions
from ingest.landing import LandedFile
from ingest.lines import Lines, read_lines
from ingest.notes import read_note
from ingest.records import read_records
from ingest.references import SQL, resolve, run_script
from ingest.schema import PROJECTED_COLUMNS

__all__ = [
    "SUPPORTED",
    "Batches",
    "Hands",
    "Part",
    "Piece",
    "Threads",
    "choose_newest",
    "create_tables",
    "project_batches",
    "project_records",
    "read_heads",
]

_WITH_SQL = sorted(p.stem for p in SQL.glob("[A-Z]*.sql"))
_FOR_OTHERS = ("Binary", "Location", "Medication")  # used by resolving; no event of their own
SUPPORTED = (*_WITH_SQL, *_FOR_OTHERS)

_BATCH_BYTES = 32 << 20
_HELD_BYTES = 128 << 20
"""What is smaller in sum is read from disk once, and kept for the second time."""

_QUANTITY = """{"value": "DOUBLE", "comparator": "VARCHAR", "unit": "VARCHAR", "system": "VARCHAR",
    "code": "VARCHAR"}"""
_VALUE = f"""{{"code": "JSON", "dataAbsentReason": "JSON", "valueCodeableConcept": "JSON",
    "valueQuantity": {_QUANTITY}, "valueString": "VARCHAR", "valueBoolean": "BOOLEAN",
    "valueInteger": "DOUBLE", "valueTime": "VARCHAR", "valueDateTime": "VARCHAR",
    "valueRange": "JSON", "valueRatio": "JSON", "valueSampledData": "JSON",
    "valuePeriod": "JSON"}}"""

_ATTACHMENT = '[{"contentType": "VARCHAR", "data": "VARCHAR", "url": "VARCHAR"}]'

_SHAPES = {"quantity": _QUANTITY, "value": _VALUE}
"""What projections take as parameters: the shape of a Quantity, and of an Observation's value."""

_STUDY = """{"identifier": [{"value": "VARCHAR"}], "started": "VARCHAR",
    "series": [{"uid": "VARCHAR", "instance": [{"uid": "VARCHAR"}]}]}"""


def create_tables(con: duckdb.DuckDBPyConnection, conventions: Conventions | None = None) -> None:
    """Create the tables that every projection (FHIR, images, mapping) fills, and our functions."""
    columns = ", ".join(f"{name} {kind}" for name, kind in PROJECTED_COLUMNS.items())
    con.execute(f"CREATE TABLE projected ({columns})")
    run_script(con, "tables")
    (conventions or Conventions()).register(con)
    con.create_function(
        "read_note",
        _notes,
        ["VARCHAR", "VARCHAR"],
        "STRUCT(text VARCHAR, reason VARCHAR)",
        type="arrow",
        null_handling="special",
    )
    run_script(con, "macros")


def project_records(
    con: duckdb.DuckDBPyConnection,
    files: list[tuple[LandedFile, Path]],
    *,
    traced: bool = False,
    hands: "Hands | None" = None,
    progress: bool = False,
) -> dict[str, int]:
    """Project the records of FHIR files; `files` pairs each with its NDJSON, in landing order.

    Gives the number of records that were read from each file, by id: counted as they are read, and
    not as they are accounted for, so that the two can be held against each other. With `traced` the
    tables of trace.sql are filled, too, from which the index is made. `hands` do the work on
    batches: this process's threads, unless told otherwise.
    """
    hands = hands or Threads()
    parts = [Part(file=file, path=path, order=order) for order, (file, path) in enumerate(files)]
    counts = {file.id: 0 for file, _ in files}
    batches = Batches(parts)
    read_heads(con, batches.read("reading", progress=progress), counts, traced=traced, hands=hands)
    choose_newest(con)
    project_batches(con, batches.read("projecting", progress=progress), hands=hands)
    return counts


def read_heads(
    con: duckdb.DuckDBPyConnection,
    batches: Iterable[tuple[int, pa.Table]],
    counts: dict[str, int],
    *,
    traced: bool,
    hands: "Hands | None" = None,
) -> None:
    """Read what must be known of all records, and what others refer to; count them by file."""
    piece = Piece.TRACE if traced else Piece.READ
    for batch in (hands or Threads()).do(con, piece, batches):
        for told in batch.column("file").combine_chunks().value_counts().to_pylist():
            counts[told["values"]] = counts.get(told["values"], 0) + told["counts"]


def choose_newest(con: duckdb.DuckDBPyConnection) -> None:
    """Pick the newest of each resource that was read, and resolve references."""
    run_script(con, "choose")
    resolve(con)


def project_batches(
    con: duckdb.DuckDBPyConnection,
    batches: Iterable[tuple[int, pa.Table]],
    *,
    hands: "Hands | None" = None,
) -> None:
    """Project all patients that were read, and the lines of these batches that are current."""
    with con.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE read_resource AS SELECT * FROM kept_resource WHERE type = 'Patient'"
        )
        _project(cursor, ["Patient"])
    for _ in (hands or Threads()).do(con, Piece.PROJECT, batches):
        pass


class Piece(StrEnum):
    """What is to be done with a batch of lines."""

    READ = "read"
    """Read the heads of its records, and what others refer to."""

    TRACE = "trace"
    """The same, and what the index keeps of them."""

    PROJECT = "project"
    """Project those that are current."""

    def work(self, con: duckdb.DuckDBPyConnection, number: int, batch: pa.Table) -> None:
        """Do it, in this process."""
        con.register("batch", batch)
        if self is Piece.PROJECT:
            run_script(con, "batch", batch=number)
        else:
            run_script(con, "read", batch=number)
            if self is Piece.TRACE:
                run_script(con, "trace")
        con.unregister("batch")
        if self is Piece.PROJECT:
            _project_read(con)


class Hands(Protocol):
    """Do a piece of work on each batch, several at once; what comes of it depends on no order."""

    def do(
        self, con: duckdb.DuckDBPyConnection, piece: Piece, batches: Iterable[tuple[int, pa.Table]]
    ) -> Iterator[pa.Table]:
        """Give the batches that are done; what came of them is then in the tables of `con`."""
        ...


class Threads:
    """Work on as many batches at once as this process has cores.

    DuckDB alone would not: a batch is too small for it to be worth two threads. Each thread has a
    cursor of its own, with temporary tables of its own.
    """

    def do(
        self, con: duckdb.DuckDBPyConnection, piece: Piece, batches: Iterable[tuple[int, pa.Table]]
    ) -> Iterator[pa.Table]:
        """Give the batches that are done; what came of them is then in the tables of `con`."""
        known = hasattr(os, "sched_getaffinity")
        cores = len(os.sched_getaffinity(0)) if known else os.cpu_count()
        local, cursors = threading.local(), []

        def run(number: int, batch: pa.Table) -> pa.Table:
            if not hasattr(local, "cursor"):
                local.cursor = con.cursor()
                cursors.append(local.cursor)
            piece.work(local.cursor, number, batch)
            return batch

        at_work: deque[Future[pa.Table]] = deque()
        with ThreadPoolExecutor(cores) as pool:
            for number, batch in batches:
                at_work.append(pool.submit(run, number, batch))
                while len(at_work) > (cores or 1):  # no more in memory than that, and one to come
                    yield at_work.popleft().result()
            while at_work:
                yield at_work.popleft().result()
        for cursor in cursors:
            cursor.close()


def _project_read(con: duckdb.DuckDBPyConnection) -> None:
    here = {t for (t,) in con.execute("SELECT DISTINCT type FROM read_resource").fetchall()}
    if any(kind.startswith("Medication") for kind in here):
        run_script(con, "drug")
    if here & {"DocumentReference", "DiagnosticReport"}:
        run_script(con, "note", attachment=_ATTACHMENT)
    _project(con, [name for name in _WITH_SQL if name in here])


def _project(con: duckdb.DuckDBPyConnection, names: list[str]) -> None:
    """Project what is in `read_resource`, and account for it."""
    columns = ", ".join(f"{name} {kind}" for name, kind in PROJECTED_COLUMNS.items())
    con.execute(f"CREATE OR REPLACE TEMP TABLE candidate ({columns}, skip VARCHAR)")
    # What has a modifier extension is left out: it may turn round what the rest says.
    con.execute(
        "CREATE OR REPLACE TEMP VIEW resource AS SELECT * FROM read_resource WHERE NOT modified"
    )
    for name in names:
        sql = _script(name)
        used = {name: text for name, text in _SHAPES.items() if f"${name}" in sql}
        con.execute(f"INSERT INTO candidate BY NAME {sql}", used)
    run_script(con, "unit")
    always = ["Patient", *_FOR_OTHERS]
    run_script(
        con, "account", present=names, always=always, supported=list(SUPPORTED), study=_STUDY
    )
    refuse_invalid(con, most=MOST_VALIDATED)
    con.execute("INSERT INTO outcome BY NAME SELECT * FROM judged")


@dataclass(frozen=True, kw_only=True)
class Part:
    """Name a file's records that are to be read: all, or some lines."""

    file: LandedFile

    path: Path
    """Its NDJSON."""

    order: int
    """Its number among the FHIR files that ever landed."""

    lines: Lines | None = None
    """Which; None is all."""


class Batches:
    """Read the records of files in numbered batches, any number of times, always the same ones."""

    def __init__(
        self, parts: Sequence[Part], *, first: int = 0, most_bytes: int | None = None
    ) -> None:
        self._parts = parts
        self._first = first
        self._most_bytes = most_bytes or _BATCH_BYTES
        self._held: list[tuple[int, pa.Table]] | None = []

    def read(self, words: str, *, progress: bool) -> Iterator[tuple[int, pa.Table]]:
        """Give each batch with its number: many small files, or a part of a large one."""
        if self._held:
            yield from tqdm(self._held, words, unit="batch", disable=not progress)
            return
        size = 0
        for number, batch in enumerate(self._cut(words, progress=progress), self._first):
            size += batch.nbytes
            if self._held is not None:
                self._held.append((number, batch))
                if size > _HELD_BYTES:
                    self._held = None
            yield number, batch

    def _cut(self, words: str, *, progress: bool) -> Iterator[pa.Table]:
        gathered: list[pa.Table] = []
        size = 0
        for part in tqdm(self._parts, words, unit="file", disable=not progress):
            wrapped = part.file.kind != "ndjson"
            if part.lines is None:
                read = read_records(part.path, wrapped=wrapped)
            else:
                read = read_lines(part.path, part.lines, wrapped=wrapped)
            for batch in read:
                gathered.append(_with_file(batch, part.file, part.order))
                size += batch.nbytes
                if size > self._most_bytes:
                    yield pa.concat_tables(gathered)
                    gathered, size = [], 0
        if gathered:
            yield pa.concat_tables(gathered)


def _script(name: str) -> str:
    return (SQL / f"{name}.sql").read_text("utf-8")


def _with_file(batch: pa.RecordBatch, file: LandedFile, order: int) -> pa.Table:
    table = pa.Table.from_batches([batch])
    # Copies of a file have ids of their own, but one content, which is what a Bundle is known by.
    said = {"file": file.id, "scope": file.sha256[:16], "zone": file.timezone, "file_order": order}
    for name, value in said.items():
        table = table.append_column(name, pa.repeat(value, batch.num_rows))
    return table


_NOTE = pa.struct([pa.field("text", pa.string()), pa.field("reason", pa.string())])


def _notes(kinds: pa.ChunkedArray, contents: pa.ChunkedArray) -> pa.Array:
    pairs = zip(kinds.to_pylist(), contents.to_pylist(), strict=True)
    notes = [read_note(kind, data) for kind, data in pairs]
    return pa.array([{"text": note.text, "reason": note.reason} for note in notes], _NOTE)
