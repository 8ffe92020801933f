"""Project landed FHIR records to events: SQL in DuckDB, one file a resource type.

`project_records` reads the records once, batch by batch, and takes out of each line what must be
known of all (`record`: id, version, subject; and what others refer to) and the fields that its
type's projection asks for (extraction.py). When all are read, the newest of each resource is
picked and references are resolved (references.py); then `projections/TYPE.sql` runs over the
fields of each batch. It leaves

    projected   events, with the columns of PROJECTED_COLUMNS
    outcome     file, position, status, detail: what became of each record, one row each
    undated     file, position, type: records of which something was left out for want of a date
    imaging_study, patient_identifier   what images are joined by

A projection is a SELECT over `resource`, which has the fields that its head names (fields.py)
beside `place`, `status`, `updated`, `zone`, `subject_key`, `encounter_end` and what else `placed`
has (resolved.sql). It gives `place`, columns of PROJECTED_COLUMNS by name, and `skip` with a reason
where the record must not become an event. Over 400 lines, so that the way from a line to an
outcome is read in one place.
"""

import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from ingest.accounting import refuse_invalid
from ingest.conventions import Conventions
from ingest.extraction import HEAD, SAID, UPDATED, guess_type, take_fields
from ingest.extracts import Extract, Extracts
from ingest.fields import INSTANT, SQL, fields_of, script_of
from ingest.landing import LandedFile
from ingest.lines import FILE_STEP, Part, read_lines
from ingest.notes import read_note
from ingest.parallel import cores
from ingest.records import read_records
from ingest.references import resolve, run_script
from ingest.schema import PROJECTED_COLUMNS

__all__ = [
    "SUPPORTED",
    "Batches",
    "Hands",
    "Piece",
    "Threads",
    "choose_newest",
    "create_tables",
    "name_files",
    "project_batches",
    "project_records",
    "read_heads",
]

_WITH_SQL = sorted(p.stem for p in SQL.glob("[A-Z]*.sql"))
_FOR_OTHERS = ("Binary", "Location", "Medication")  # used by resolving; no event of their own
SUPPORTED = (*_WITH_SQL, *_FOR_OTHERS)

_BATCH_BYTES = 32 << 20
_TYPE_NAME = re.compile("[A-Z][A-Za-z]{2,40}")  # as in read.sql

_QUANTITY = """{"value": "DOUBLE", "comparator": "VARCHAR", "unit": "VARCHAR", "system": "VARCHAR",
    "code": "VARCHAR"}"""
_SAID = _QUANTITY.replace('"DOUBLE"', '"VARCHAR"')
_VALUE = f"""{{"code": "JSON", "dataAbsentReason": "JSON", "valueCodeableConcept": "JSON",
    "valueQuantity": {_SAID}, "valueString": "VARCHAR", "valueBoolean": "VARCHAR",
    "valueInteger": "VARCHAR", "valueTime": "VARCHAR", "valueDateTime": "VARCHAR",
    "valueRange": "JSON", "valueRatio": "JSON", "valueSampledData": "JSON",
    "valuePeriod": "JSON", "valueAttachment": "JSON", "valueReference": "JSON",
    "interpretation": "JSON"}}"""

_ATTACHMENT = """{"contentType": "VARCHAR", "data": "VARCHAR", "url": "VARCHAR",
    "creation": "VARCHAR"}"""

_SHAPES = {"quantity": _QUANTITY, "value": _VALUE}
"""What projections take as parameters: the shape of a Quantity, and of an Observation's value."""

_ASKED = """place, type, key, scope, zone, status, updated, subject_key, modified, encounter_end,
    encounter_end_from, encounter_goes_on, drug"""
"""What resolving says of a record; all but its type is there for its projection."""

_PATIENTS = -1
"""The number of the extract of all patients."""

_FORMS = {"DocumentReference": "content", "DiagnosticReport": "presentedForm"}
"""Where the text of what is written lies, in one form or several."""


def create_tables(con: duckdb.DuckDBPyConnection, conventions: Conventions | None = None) -> None:
    """Create the tables that every projection (FHIR, images, mapping) fills, and our functions."""
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET preserve_insertion_order = false")
    # A database in memory has nothing to gain from a checkpoint, which takes a tenth of the time.
    con.execute("SET checkpoint_threshold = '1TB'")
    columns = ", ".join(f"{name} {kind}" for name, kind in PROJECTED_COLUMNS.items())
    con.execute(f"CREATE TABLE projected ({columns})")
    con.execute((SQL / "tables.sql").read_text("utf-8"))
    (conventions or Conventions()).register(con)
    con.create_function(
        "read_note",
        _notes,
        ["VARCHAR", "VARCHAR"],
        "STRUCT(text VARCHAR, reason VARCHAR)",
        type="arrow",
        null_handling="special",
    )
    con.execute((SQL / "macros.sql").read_text("utf-8"))


def name_files(con: duckdb.DuckDBPyConnection, files: Sequence[LandedFile]) -> None:
    """Fill `landed`: the FHIR files that landed, by number."""
    # Copies of a file have ids of their own, but one content, which is what a Bundle is known by.
    named = pa.table(
        {
            "number": pa.array(range(len(files)), pa.int64()),
            "file": pa.array([file.id for file in files], pa.string()),
            "scope": pa.array([file.sha256[:16] for file in files], pa.string()),
            "zone": pa.array([file.timezone for file in files], pa.string()),
        }
    )
    con.register("named_file", named)
    con.execute("INSERT INTO landed SELECT * FROM named_file")
    con.unregister("named_file")


def project_records(
    con: duckdb.DuckDBPyConnection,
    files: list[tuple[LandedFile, Path]],
    conventions: Conventions,
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
    hands = hands or Threads(conventions)
    parts = [Part(file=file, path=path, order=order) for order, (file, path) in enumerate(files)]
    name_files(con, [file for file, _ in files])
    counts = {file.id: 0 for file, _ in files}
    with Extracts(_room_of(con)) as extracts:
        batches = Batches(parts).read("reading", progress=progress)
        read_heads(con, batches, counts, extracts, hands, traced=traced)
        choose_newest(con)
        shown = tqdm(extracts, "projecting", total=len(extracts), disable=not progress)
        project_batches(con, shown, {part.order: part for part in parts}, hands, conventions)
    return counts


def read_heads(
    con: duckdb.DuckDBPyConnection,
    batches: Iterable[tuple[int, pa.Table]],
    counts: dict[str, int],
    extracts: Extracts,
    hands: "Hands",
    *,
    traced: bool,
) -> None:
    """Read what must be known of all records and what others refer to; count them by file.

    Keeps in `extracts` the fields that are to be projected. Needs `landed`.
    """
    files = dict(con.execute("SELECT number, file FROM landed").fetchall())
    piece = Piece.TRACE if traced else Piece.READ
    for number, (by_file, fields) in hands.do(con, piece, batches):
        for order, n in by_file.items():
            counts[files[order]] = counts.get(files[order], 0) + n
        extracts.add(Extract(number=number, fields=fields))
    pa.default_memory_pool().release_unused()


def choose_newest(con: duckdb.DuckDBPyConnection) -> None:
    """Pick the newest of each resource that was read, and resolve references."""
    run_script(con, "rivals")
    met = con.execute("FROM rival LIMIT 1").fetchall()
    run_script(con, "choose", present={"rivals"} if met else set())
    resolve(con)


def project_batches(
    con: duckdb.DuckDBPyConnection,
    extracts: Iterable[Extract],
    parts: Mapping[int, Part],
    hands: "Hands",
    conventions: Conventions,
) -> None:
    """Project the records of these extracts that are current; `parts` are their files by number.

    Patients are projected together: of those who were merged, one speaks for the others.
    """
    patients: list[pa.Table] = []

    def others(extracts: Iterable[Extract]) -> Iterator[tuple[int, Extract]]:
        for extract in extracts:
            fields = dict(extract.fields)
            if "Patient" in fields:
                patients.append(fields.pop("Patient"))
            yield extract.number, replace(extract, fields=fields)

    waiting = iter(extracts)
    some = list(islice(waiting, 2))
    alone = len(some) == 1 and some[0].places is None
    if alone:  # one patient's upload is: it need not wait for a second round
        pieces = iter([(some[0].number, replace(some[0], alone=True))])
    else:
        pieces = others(chain(some, waiting))
    for _ in hands.do(con, Piece.PROJECT, pieces):
        pass
    if not alone:
        fields = {}
        if patients:
            fields["Patient"] = pa.concat_tables(patients, promote_options="default")
        with con.cursor() as cursor:
            _project(cursor, Extract(number=_PATIENTS, fields=fields), conventions)
    refuse_invalid(con, parts)


class Piece(StrEnum):
    """What is to be done with a batch."""

    READ = "read"
    """Of lines: read the heads of the records, what others refer to, and the fields to project."""

    TRACE = "trace"
    """The same, and what the index keeps of them."""

    PROJECT = "project"
    """Of an extract: project what is current."""

    def work(
        self, con: duckdb.DuckDBPyConnection, number: int, batch: Any, conventions: Conventions
    ) -> Any:
        """Do it, in this process; of lines, give how many each file has, and the fields by type."""
        if self is Piece.PROJECT:
            return _project(con, batch, conventions)
        return _read(con, number, batch, traced=self is Piece.TRACE)


class Hands(Protocol):
    """Do a piece of work on each batch, several at once; what comes of it depends on no order."""

    def do(
        self, con: duckdb.DuckDBPyConnection, piece: Piece, batches: Iterable[tuple[int, Any]]
    ) -> Iterator[tuple[int, Any]]:
        """Give what `work` gave of each batch; what came of it is then in the tables of `con`."""
        ...


class Threads:
    """Work on as many batches at once as this process has cores.

    DuckDB alone would not: a batch is too small for it to be worth two threads. Each thread has a
    cursor of its own, with temporary tables of its own.
    """

    def __init__(self, conventions: Conventions) -> None:
        self._conventions = conventions

    def do(
        self, con: duckdb.DuckDBPyConnection, piece: Piece, batches: Iterable[tuple[int, Any]]
    ) -> Iterator[tuple[int, Any]]:
        """Give what `work` gave of each batch; what came of it is then in the tables of `con`."""
        local, cursors, workers = threading.local(), [], cores()

        def run(number: int, batch: Any) -> tuple[int, Any]:
            if not hasattr(local, "cursor"):
                local.cursor = con.cursor()
                cursors.append(local.cursor)
            return number, piece.work(local.cursor, number, batch, self._conventions)

        at_work: deque[Future[tuple[int, Any]]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            for number, batch in batches:
                at_work.append(pool.submit(run, number, batch))
                while len(at_work) > workers:  # no more in memory than that, and one to come
                    yield at_work.popleft().result()
            while at_work:
                yield at_work.popleft().result()
        for cursor in cursors:
            cursor.close()


def _read(
    con: duckdb.DuckDBPyConnection, number: int, lines: pa.Table, *, traced: bool
) -> tuple[dict[int, int], dict[str, pa.Table]]:
    """Read a batch of lines into the tables of read.sql, and give the fields to project."""
    taken = take_fields(con, lines)
    head = taken.head
    here = set(head.column_names)
    kinds = dict.fromkeys((*HEAD, *(f"said.{name}" for name in SAID)), "VARCHAR")
    kinds[f"{UPDATED}{INSTANT}"] = "TIMESTAMP"
    columns = [
        f'"{name}"' if name in here else f'NULL::{kind} AS "{name}"' for name, kind in kinds.items()
    ]
    con.register("line", lines)
    con.register("taken_head", head)
    con.execute(
        "CREATE OR REPLACE TEMP VIEW head AS SELECT place, bytes, wrapped, broken,"
        f" {', '.join(columns)} FROM taken_head"
    )
    names = _names_in(head)
    present = {name for name in names if name} | here
    present |= set() if all(name and _TYPE_NAME.fullmatch(name) for name in names) else {"misnamed"}
    present |= {"wrapped"} if "said.fullUrl" in here else set()
    present |= {"deletion"} if "said.method" in here else set()
    if "id" not in here or head.column("id").null_count:
        present.add("nameless")
    forms = _attach_forms(con, taken.fields)
    run_script(con, "read", present=present, batch=number)
    if traced:
        run_script(con, "trace", present=present)
    for name in ("line", "taken_head", *forms):
        con.unregister(name)
    orders, counts = np.unique(lines.column("place").to_numpy() // FILE_STEP, return_counts=True)
    by_file = dict(zip(orders.tolist(), counts.tolist(), strict=True))
    return by_file, taken.fields


def _names_in(head: pa.Table) -> list[str | None]:
    there = "resourceType" in head.column_names
    return head.column("resourceType").unique().to_pylist() if there else [None]


def _attach_forms(
    con: duckdb.DuckDBPyConnection, fields: Mapping[str, pa.Table]
) -> tuple[str, ...]:
    """Make the view `attached` (place, type, forms) of what documents and reports have to read."""
    selects, names = [], []
    for kind, column in _FORMS.items():
        if kind in fields and column in fields[kind].column_names:
            names.append(f"forms_{kind}")
            con.register(names[-1], fields[kind].select(["place", column]))
            selects.append(
                f"SELECT place, '{kind}' AS type, CASE WHEN json_valid(\"{column}\")"
                f' THEN "{column}" END AS forms FROM forms_{kind}'
            )
    nothing = "SELECT NULL::BIGINT AS place, NULL::VARCHAR AS type, NULL::VARCHAR AS forms LIMIT 0"
    made = " UNION ALL ".join(selects) or nothing
    con.execute(f"CREATE OR REPLACE TEMP VIEW attached AS {made}")
    return tuple(names)


def _project(con: duckdb.DuckDBPyConnection, extract: Extract, conventions: Conventions) -> None:
    """Project what is current of an extract, and account for all records of its batch.

    Patients are accounted for with the extract that holds all of them.
    """
    columns = ", ".join(f"{name} {kind}" for name, kind in PROJECTED_COLUMNS.items())
    con.execute(f"CREATE OR REPLACE TEMP TABLE candidate (place BIGINT, {columns}, skip VARCHAR)")
    con.execute("ALTER TABLE candidate DROP COLUMN file")
    con.execute("ALTER TABLE candidate DROP COLUMN position")
    which = f"batch = {extract.number} AND type <> 'Patient'"
    which = "type = 'Patient'" if extract.number == _PATIENTS else which
    which = "true" if extract.alone else which
    if extract.places is not None:
        con.register("these", pa.table({"place": extract.places}))
        which += " AND place IN (SELECT place FROM these)"
    asked = con.sql(f"SELECT {_ASKED} FROM placed WHERE {which}").to_arrow_table().combine_chunks()
    asked = asked.take(pc.sort_indices(asked.column("place")))
    con.register("asked", asked)
    forms = _attach_forms(con, extract.fields)
    if _FORMS.keys() & extract.fields.keys():
        run_script(con, "note", batch=extract.number, attachment=_ATTACHMENT)
    for kind, table in extract.fields.items():
        _project_type(con, kind, _joined(table, asked), conventions)
    for name in forms:
        con.unregister(name)
    run_script(con, "unit")
    always = ["Patient", *_FOR_OTHERS]
    run_script(con, "account", always=always, supported=list(SUPPORTED), batch=extract.number)
    con.unregister("asked")
    if extract.places is not None:
        con.unregister("these")


def _joined(fields: pa.Table, asked: pa.Table) -> pa.Table:
    """Put beside the fields of records what resolving said of them; `asked` is sorted by place.

    A join in SQL would build its table of the wider side, of whose size it knows nothing.
    """
    places, known = fields.column("place").to_numpy(), asked.column("place").to_numpy()
    at = np.searchsorted(known, places)
    met = at < len(known)
    met[met] = known[at[met]] == places[met]
    met &= ~np.isin(at, np.flatnonzero(asked.column("modified").to_numpy()))
    if not met.all():
        fields, at = fields.filter(pa.array(met)), at[met]
    about = asked.drop_columns(["place", "type", "modified"])
    whole = len(at) == len(known) and (np.diff(at) == 1).all()
    about = about if whole else about.take(pa.array(at))
    for name in about.column_names:
        fields = fields.append_column(name, about.column(name))
    return fields


def _project_type(
    con: duckdb.DuckDBPyConnection, kind: str, table: pa.Table, conventions: Conventions
) -> None:
    """Project the fields of one type: make `resource` of them, and run the type's SQL."""
    fields = fields_of(kind)
    if fields is None:
        return
    for path in fields.concepts:
        if path in table.column_names:
            at = table.schema.get_field_index(path)
            table = table.set_column(at, path, conventions.name_concepts(table.column(path)))
    con.register("taken", table)
    made = fields.select(set(table.column_names), source="taken")
    con.execute(f"CREATE OR REPLACE TEMP VIEW resource AS {made}")
    sql = script_of(kind, {name.removesuffix(INSTANT) for name in table.column_names})
    if "FROM medicated" in sql:
        run_script(con, "medicated")
    used = {name: text for name, text in _SHAPES.items() if f"${name}" in sql}
    con.execute(f"INSERT INTO candidate BY NAME {sql}", used)
    if kind == "ImagingStudy":
        run_script(con, "study")
    con.unregister("taken")


class Batches:
    """Read the records of files in numbered batches: many small files, or a part of a large one."""

    def __init__(
        self, parts: Sequence[Part], *, first: int = 0, most_bytes: int | None = None
    ) -> None:
        self._parts = parts
        self._first = first
        self._most_bytes = most_bytes or _BATCH_BYTES

    def read(self, words: str, *, progress: bool) -> Iterator[tuple[int, pa.Table]]:
        """Give each batch of lines (`place`, `text`, `wrapped`, `guess`) with its number."""
        yield from enumerate(self._cut(words, progress=progress), self._first)

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
                if not batch.num_rows:
                    continue
                gathered.append(_in_place(batch, part.order))
                size += batch.nbytes
                if size > self._most_bytes:
                    yield pa.concat_tables(gathered)
                    gathered, size = [], 0
        if gathered:
            yield pa.concat_tables(gathered)


def _in_place(batch: pa.RecordBatch, order: int) -> pa.Table:
    places = batch.column("position").to_numpy() + order * FILE_STEP
    guess = pa.scalar(guess_type(batch.column("text")[0].as_buffer()), pa.string())
    return pa.table(
        {
            "place": pa.array(places, pa.int64()),
            "text": batch.column("text"),
            "wrapped": batch.column("wrapped"),
            "guess": pa.repeat(guess, batch.num_rows),
        }
    )


def _room_of(con: duckdb.DuckDBPyConnection) -> Path:
    """Say where this connection puts what is over its limit of memory."""
    [(place,)] = con.execute("SELECT current_setting('temp_directory')").fetchall()
    return Path(place)


_NOTE = pa.struct([pa.field("text", pa.string()), pa.field("reason", pa.string())])


def _notes(kinds: pa.ChunkedArray, contents: pa.ChunkedArray) -> pa.Array:
    pairs = zip(kinds.to_pylist(), contents.to_pylist(), strict=True)
    notes = [read_note(kind, data) for kind, data in pairs]
    return pa.array([{"text": note.text, "reason": note.reason} for note in notes], _NOTE)
