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
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
from tqdm import tqdm

from ingest.accounting import refuse_invalid
from ingest.codes import name_concept
from ingest.landing import LandedFile
from ingest.notes import read_note
from ingest.records import read_records
from ingest.references import SQL, resolve, run_script
from ingest.schema import PROJECTED_COLUMNS

__all__ = ["SUPPORTED", "create_tables", "project_records"]

_WITH_SQL = sorted(p.stem for p in SQL.glob("[A-Z]*.sql"))
_MOST_VALIDATED = 200  # of a batch: fhir.resources is slow; past these the reason stays general
_FOR_OTHERS = ("Binary", "Location", "Medication")  # used by resolving; no event of their own
SUPPORTED = (*_WITH_SQL, *_FOR_OTHERS)

_BATCH_BYTES = 32 << 20
_HELD_BYTES = 128 << 20
"""What is smaller in sum is read from disk once, and kept for the second time."""

_QUANTITY = '{"value": "DOUBLE", "comparator": "VARCHAR", "unit": "VARCHAR", "code": "VARCHAR"}'
_VALUE = f"""{{"code": "JSON", "dataAbsentReason": "JSON", "valueCodeableConcept": "JSON",
    "valueQuantity": {_QUANTITY}, "valueString": "VARCHAR", "valueBoolean": "BOOLEAN",
    "valueInteger": "DOUBLE", "valueTime": "VARCHAR", "valueDateTime": "VARCHAR",
    "valueRange": "JSON", "valueRatio": "JSON", "valueSampledData": "JSON", "valuePeriod": "JSON"}}"""

_ATTACHMENT = '[{"contentType": "VARCHAR", "data": "VARCHAR", "url": "VARCHAR"}]'

_SHAPES = {"quantity": _QUANTITY, "value": _VALUE}
"""What projections take as parameters: the shape of a Quantity, and of an Observation's value."""

_STUDY = """{"identifier": [{"value": "VARCHAR"}], "started": "VARCHAR",
    "series": [{"uid": "VARCHAR", "instance": [{"uid": "VARCHAR"}]}]}"""


def create_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Create the tables that every projection (FHIR, images, mapping) fills, and our functions."""
    columns = ", ".join(f"{name} {kind}" for name, kind in PROJECTED_COLUMNS.items())
    con.execute(f"CREATE TABLE projected ({columns})")
    run_script(con, "tables")
    con.create_function(
        "concept",
        _concepts,
        ["VARCHAR"],
        "STRUCT(code VARCHAR, display VARCHAR, parents VARCHAR[])",
        type="arrow",
        null_handling="special",
    )
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
    con: duckdb.DuckDBPyConnection, files: list[tuple[LandedFile, Path]], *, progress: bool = False
) -> dict[str, int]:
    """Project the records of FHIR files; `files` pairs each with its NDJSON, in landing order.

    Gives the number of records that were read from each file, by id: counted as they are read, and
    not as they are accounted for, so that the two can be held against each other.
    """
    counts = {file.id: 0 for file, _ in files}
    batches = _Batches(files)
    for batch in _side_by_side(con, _read, batches.read("reading", progress=progress)):
        for told in batch.column("file").combine_chunks().value_counts().to_pylist():
            counts[told["values"]] += told["counts"]
    run_script(con, "choose")
    resolve(con)
    with con.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE read_resource AS SELECT * FROM kept_resource WHERE type = 'Patient'"
        )
        _project(cursor, ["Patient"])
    for _ in _side_by_side(con, _project_batch, batches.read("projecting", progress=progress)):
        pass
    return counts


def _side_by_side(
    con: duckdb.DuckDBPyConnection,
    work: Callable[[duckdb.DuckDBPyConnection, int, pa.Table], None],
    batches: Iterable[tuple[int, pa.Table]],
) -> Iterator[pa.Table]:
    """Do the work on each batch, as many at once as there are cores; give those that are done.

    DuckDB alone would not: a batch is too small for it to be worth two threads. Each thread has a
    cursor of its own, with temporary tables of its own. What comes out does not depend on order.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    local, cursors = threading.local(), []

    def run(number: int, batch: pa.Table) -> pa.Table:
        if not hasattr(local, "cursor"):
            local.cursor = con.cursor()
            cursors.append(local.cursor)
        work(local.cursor, number, batch)
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


def _read(con: duckdb.DuckDBPyConnection, number: int, batch: pa.Table) -> None:
    con.register("batch", batch)
    run_script(con, "read", batch=number)
    con.unregister("batch")


def _project_batch(con: duckdb.DuckDBPyConnection, number: int, batch: pa.Table) -> None:
    con.register("batch", batch)
    run_script(con, "batch", batch=number)
    con.unregister("batch")
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
    always = ["Patient", *_FOR_OTHERS]
    run_script(
        con, "account", present=names, always=always, supported=list(SUPPORTED), study=_STUDY
    )
    refuse_invalid(con, most=_MOST_VALIDATED)
    con.execute("INSERT INTO outcome SELECT * FROM judged")


class _Batches:
    """Read the records of files in numbered batches, any number of times, always the same ones."""

    def __init__(self, files: list[tuple[LandedFile, Path]]) -> None:
        self._files = files
        self._held: list[tuple[int, pa.Table]] | None = []

    def read(self, words: str, *, progress: bool) -> Iterator[tuple[int, pa.Table]]:
        """Give each batch with its number: many small files, or a part of a large one."""
        if self._held:
            yield from tqdm(self._held, words, unit="batch", disable=not progress)
            return
        size = 0
        for number, batch in enumerate(self._cut(words, progress=progress)):
            size += batch.nbytes
            if self._held is not None:
                self._held.append((number, batch))
                if size > _HELD_BYTES:
                    self._held = None
            yield number, batch

    def _cut(self, words: str, *, progress: bool) -> Iterator[pa.Table]:
        gathered: list[pa.Table] = []
        size = 0
        files = tqdm(self._files, words, unit="file", disable=not progress)
        for order, (file, path) in enumerate(files):
            for batch in read_records(path, wrapped=file.kind != "ndjson"):
                gathered.append(_with_file(batch, file, order))
                size += batch.nbytes
                if size > _BATCH_BYTES:
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


_CONCEPT = pa.struct(
    [
        pa.field("code", pa.string()),
        pa.field("display", pa.string()),
        pa.field("parents", pa.list_(pa.string())),
    ]
)


def _concepts(texts: pa.ChunkedArray) -> pa.Array:
    """Name a chunk of concepts: records repeat few concepts, so each distinct one is named once."""
    coded = texts.combine_chunks().dictionary_encode()
    named = [name_concept(text) for text in coded.dictionary.to_pylist()]
    rows = [{"code": c.code, "display": c.display, "parents": c.parents} for c in named]
    nothing = {"code": None, "display": None, "parents": []}
    table = pa.array([*rows, nothing], _CONCEPT)
    return table.take(coded.indices.fill_null(len(rows)))


_NOTE = pa.struct([pa.field("text", pa.string()), pa.field("reason", pa.string())])


def _notes(kinds: pa.ChunkedArray, contents: pa.ChunkedArray) -> pa.Array:
    pairs = zip(kinds.to_pylist(), contents.to_pylist(), strict=True)
    notes = [read_note(kind, data) for kind, data in pairs]
    return pa.array([{"text": note.text, "reason": note.reason} for note in notes], _NOTE)
