"""Project landed FHIR records to events: SQL in DuckDB, one file a resource type.

`project_records` reads the records into `record`, picks the newest of each resource, resolves
references (references.py), runs `projections/TYPE.sql`, and leaves

    projected   events, with the columns of PROJECTED_COLUMNS
    outcome     file, position, status, detail: what became of each record, one row each
    undated     file, position, type: records of which something was left out for want of a date
    imaging_study, patient_identifier   what images are joined by

A projection is a SELECT over `resource` that gives columns of PROJECTED_COLUMNS by name, and `skip`
with a reason where the record must not become an event.
"""

from pathlib import Path

import duckdb
import pyarrow as pa
from tqdm import tqdm

from ingest.accounting import refuse_invalid
from ingest.codes import name_concept
from ingest.landing import LandedFile
from ingest.notes import note_text
from ingest.records import read_records
from ingest.references import SQL, resolve, run_script
from ingest.schema import PROJECTED_COLUMNS

__all__ = ["SUPPORTED", "create_tables", "project_records"]

_WITH_SQL = sorted(p.stem for p in SQL.glob("[A-Z]*.sql"))
_FOR_OTHERS = ("Binary", "Location", "Medication")  # used by resolving; no event of their own
SUPPORTED = (*_WITH_SQL, *_FOR_OTHERS)

_BATCH_BYTES = 16 << 20

_QUANTITY = '{"value": "DOUBLE", "comparator": "VARCHAR", "unit": "VARCHAR", "code": "VARCHAR"}'
_VALUE = f"""{{"code": "JSON", "dataAbsentReason": "JSON", "valueCodeableConcept": "JSON",
    "valueQuantity": {_QUANTITY}, "valueString": "VARCHAR", "valueBoolean": "BOOLEAN",
    "valueInteger": "DOUBLE", "valueTime": "VARCHAR", "valueDateTime": "VARCHAR",
    "valueRange": {{"low": {_QUANTITY}, "high": {_QUANTITY}}},
    "valueRatio": {{"numerator": {_QUANTITY}, "denominator": {_QUANTITY}}},
    "valueSampledData": {{"origin": {_QUANTITY}, "factor": "DOUBLE", "data": "VARCHAR"}},
    "valuePeriod": {{"start": "VARCHAR", "end": "VARCHAR"}}}}"""

_STUDY = """{"identifier": [{"value": "VARCHAR"}], "started": "VARCHAR",
    "series": [{"uid": "VARCHAR", "instance": [{"uid": "VARCHAR"}]}]}"""


def create_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Create the tables that every projection (FHIR, images, mapping) fills, and our functions."""
    columns = ", ".join(f"{name} {kind}" for name, kind in PROJECTED_COLUMNS.items())
    con.execute(f"CREATE TABLE projected ({columns})")
    con.execute(f"CREATE TABLE candidate ({columns}, skip VARCHAR)")
    con.execute(
        "CREATE TABLE outcome (file VARCHAR, position BIGINT, status VARCHAR, detail VARCHAR)"
    )
    con.execute("CREATE TABLE undated (file VARCHAR, position BIGINT, type VARCHAR)")
    con.execute(
        "CREATE TABLE imaging_study (subject_key VARCHAR, study_uid VARCHAR, series_uids VARCHAR[],"
        " sop_uids VARCHAR[], accessions VARCHAR[], available TIMESTAMP, occurred TIMESTAMP)"
    )
    con.execute("CREATE TABLE patient_identifier (subject_key VARCHAR, value VARCHAR)")
    con.execute(
        "CREATE TABLE record (file VARCHAR, position BIGINT, scope VARCHAR, seq BIGINT,"
        " type VARCHAR, id VARCHAR, full_url VARCHAR, deletion BOOLEAN, updated TIMESTAMP,"
        " version BIGINT, status VARCHAR, subject_ref VARCHAR, encounter_ref VARCHAR,"
        " modified BOOLEAN, zone VARCHAR, json VARCHAR, problem VARCHAR, skip VARCHAR)"
    )
    con.create_function(
        "concept",
        _concepts,
        ["VARCHAR"],
        "STRUCT(code VARCHAR, display VARCHAR, parents VARCHAR[])",
        type="arrow",
        null_handling="special",
    )
    con.create_function(
        "note_text",
        _texts,
        ["VARCHAR", "VARCHAR"],
        "VARCHAR",
        type="arrow",
        null_handling="special",
    )
    # The table that `ref_key` looks into must be there before the macro is.
    con.execute("CREATE TABLE reference (scope VARCHAR, ref VARCHAR, key VARCHAR)")
    con.execute(_script("macros"))
    con.execute("DROP TABLE reference")


def project_records(
    con: duckdb.DuckDBPyConnection, files: list[tuple[LandedFile, Path]], *, progress: bool = False
) -> dict[str, int]:
    """Project the records of FHIR files; `files` pairs each with its NDJSON, in landing order.

    Gives the number of records that were read from each file, by id: counted as they are read, and
    not as they are accounted for, so that the two can be held against each other.
    """
    counts = {file.id: 0 for file, _ in files}
    held: list[pa.Table] = []
    for order, (file, path) in enumerate(tqdm(files, "reading", unit="file", disable=not progress)):
        for batch in read_records(path, wrapped=file.kind != "ndjson"):
            counts[file.id] += batch.num_rows
            held.append(_with_file(batch, file, order))
            if sum(table.nbytes for table in held) > _BATCH_BYTES:
                _insert(con, held)
    _insert(con, held)
    run_script(con, "choose")
    resolve(con)
    landed = {kind for (kind,) in con.execute("SELECT DISTINCT type FROM resolved").fetchall()}
    here = [name for name in _WITH_SQL if name in landed]
    for name in tqdm(here, "projecting", unit="type", disable=not progress):
        sql = _script(name)
        used = {"value": _VALUE} if "$value" in sql else {}
        con.execute(f"INSERT INTO candidate BY NAME {sql}", used)
    always = ["Patient", *_FOR_OTHERS]
    run_script(con, "account", always=always, supported=list(SUPPORTED), study=_STUDY)
    refuse_invalid(con)
    for table in ("candidate", "dated_event", "current"):
        con.execute(f"DROP TABLE {table}")
    return counts


def _script(name: str) -> str:
    return (SQL / f"{name}.sql").read_text("utf-8")


def _with_file(batch: pa.RecordBatch, file: LandedFile, order: int) -> pa.Table:
    table = pa.Table.from_batches([batch])
    # Copies of a file have ids of their own, but one content, which is what a Bundle is known by.
    said = {"file": file.id, "scope": file.sha256[:16], "zone": file.timezone, "file_order": order}
    for name, value in said.items():
        table = table.append_column(name, pa.repeat(value, batch.num_rows))
    return table


def _insert(con: duckdb.DuckDBPyConnection, held: list[pa.Table]) -> None:
    """Read a batch of many small files, or a part of a large one, in one statement."""
    if held:
        con.register("batch", pa.concat_tables(held))
        con.execute(_script("read"))
        con.unregister("batch")
        held.clear()


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


def _texts(kinds: pa.ChunkedArray, contents: pa.ChunkedArray) -> pa.Array:
    pairs = zip(kinds.to_pylist(), contents.to_pylist(), strict=True)
    return pa.array([note_text(kind, data) for kind, data in pairs], pa.string())
