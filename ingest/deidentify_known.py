"""Gather what is known of each patient from the landed records and films themselves.

Into DuckDB, batch by batch, so that memory does not grow with the records: `known` (subject_key,
kind, value) has of each subject

    person    its Patient, RelatedPerson and contained persons as JSON, older versions too
    staff     the Practitioner and Person resources that its records refer to, as JSON
    shown     what references to persons show (`display`), and relatives' names
    id        identifiers, accession numbers, serial numbers and ids of its resources
    film      what the headers of its films say: a JSON of names, ids, places and contacts

`known_staff` (key, json) has everybody who works there. UUIDs are left out: any is found as such.
`known` is kept in the raw zone, too, so that an export of films can scrub them of it.
"""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ingest.deidentify_people import add_said, name_parts, names_of, read_json
from ingest.deidentify_terms import Terms
from ingest.landing import LandedFile
from ingest.records import read_records

__all__ = ["KNOWN", "gather_known", "keep_known", "read_kept", "read_staff", "read_terms"]

KNOWN = "known.parquet"
"""Where the raw zone of a de-identified store keeps what is known of its patients."""

_BATCH_BYTES = 32 << 20
_PERSONS = "('Patient', 'RelatedPerson', 'Person')"
_STAFF = "('Practitioner', 'Person')"
_WITHOUT_PICTURES = """json_merge_patch({}, '{{"photo": null, "text": null, "meta": null}}')"""

_LINES = """
CREATE OR REPLACE TEMP TABLE known_line AS
WITH line AS (
    SELECT file, position,
        CASE WHEN json_valid(text) THEN CASE WHEN wrapped THEN (text -> '$.resource')::VARCHAR
             ELSE text END END AS json,
        CASE WHEN wrapped AND json_valid(text)
             THEN regexp_extract(text ->> '$.fullUrl', '([^/:]+)$', 1) END AS url_id
    FROM known_batch
),
headed AS (
    SELECT *, CASE type WHEN 'Patient' THEN 'Patient/' || id
        WHEN 'Coverage'
        THEN regexp_extract(json ->> '$.beneficiary.reference', 'Patient/[^/|#?]+') END AS key
    FROM (
        SELECT *, json ->> '$.resourceType' AS type, coalesce(json ->> '$.id', url_id) AS id
        FROM line WHERE json IS NOT NULL
    )
)
SELECT h.json, h.type, h.id, coalesce(r.subject_key,
    CASE WHEN h.key <> '' THEN coalesce(m.subject_key, h.key) END
) AS subject_key
FROM headed h
LEFT JOIN landed l ON l.file = h.file
LEFT JOIN resolved r ON r.place = l.number * 1099511627776 + h.position
LEFT JOIN merged m ON m.key = h.key
"""

_ID_PATHS = (
    ('"identifier"', "$..identifier..value"),
    ('"masterIdentifier"', "$..masterIdentifier..value"),
    ('"accessionIdentifier"', "$..accessionIdentifier..value"),
    ('"groupIdentifier"', "$..groupIdentifier..value"),
    ('"requisition"', "$..requisition..value"),
    ('"subscriberId"', "$..subscriberId"),
    ('"serialNumber"', "$..serialNumber"),
    ('"deviceIdentifier"', "$..deviceIdentifier"),
    ('"distinctIdentifier"', "$..distinctIdentifier"),
    ('"carrierHRF"', "$..carrierHRF"),
)
_IDS = (
    "INSERT INTO known SELECT DISTINCT subject_key, 'id', v FROM ("
    + " UNION ALL ".join(
        f"SELECT subject_key, unnest(json_extract_string(json, '{path}')) AS v"
        f" FROM known_line WHERE contains(json, '{word}')"
        for word, path in _ID_PATHS
    )
    + " UNION ALL SELECT subject_key, id FROM known_line"
    ") WHERE subject_key IS NOT NULL AND length(v) BETWEEN 4 AND 128"
    " AND NOT regexp_full_match(lower(v),"
    " '(urn:uuid:)?[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}')"
)
_WITHIN = r"[^{}\[\]]*"
for _ in range(4):  # a reference's identifier has a type with codings
    _WITHIN = rf"(?:[^{{}}\[\]]|[{{\[]{_WITHIN}[}}\]])*"
_SHOWN_PERSON = (
    rf'"[^"]*(?:Practitioner|Patient|RelatedPerson|Person)[/?][^"]*"{_WITHIN}"display"\s*:\s*'
    r'("(?:[^"\\]|\\.)*")'
)
_SHOWN_ROLE = (
    r'"(?:subject|patient|author|performer|actor|individual|requester|recorder|asserter|party|agent'
    r'|authenticator|resultsInterpreter|interpreter|informationSource|enterer|generalPractitioner)"'
    rf'\s*:\s*\[?\s*\{{{_WITHIN}"display"\s*:\s*("(?:[^"\\]|\\.)*")'
)
_GATHER = (
    f"""
    INSERT INTO known SELECT subject_key, 'person', {_WITHOUT_PICTURES.format("json")}
    FROM known_line WHERE subject_key IS NOT NULL AND type IN {_PERSONS}
    """,
    f"""
    INSERT INTO known
    SELECT subject_key,
        CASE WHEN held ->> '$.resourceType' IN {_PERSONS} THEN 'person' ELSE 'staff' END,
        {_WITHOUT_PICTURES.format("held")}
    FROM (
        SELECT subject_key, unnest(json_extract(json, '$.contained[*]')) AS held FROM known_line
        WHERE subject_key IS NOT NULL AND contains(json, '"contained"')
    ) WHERE held ->> '$.resourceType' IN {_PERSONS} OR held ->> '$.resourceType' IN {_STAFF}
    """,
    f"""
    INSERT INTO known
    SELECT coalesce(m.subject_key, p.key), 'person', p.json FROM (
        SELECT regexp_extract(
            unnest(json_extract_string(json, '$.link[*].target.reference')),
            'Patient/[^/|#?]+') AS key, {_WITHOUT_PICTURES.format("json")} AS json
        FROM known_line WHERE type = 'Person'
    ) p LEFT JOIN merged m ON m.key = p.key WHERE p.key <> ''
    """,
    f"""
    INSERT INTO known_staff SELECT type || '/' || id, {_WITHOUT_PICTURES.format("json")}
    FROM known_line WHERE type IN {_STAFF}
    """,
    """
    INSERT INTO known_reference
    SELECT DISTINCT subject_key, unnest(regexp_extract_all(
        json, '((?:Practitioner|Person)/[^"/|#?]+)(?:/_history/[^"]*)?"', 1))
    FROM known_line WHERE subject_key IS NOT NULL
        AND (contains(json, 'Practitioner/') OR contains(json, 'Person/'))
    """,
    f"""
    INSERT INTO known
    SELECT DISTINCT subject_key, kind, v FROM (
        SELECT subject_key, 'shown' AS kind,
            unnest(regexp_extract_all(json, '{_SHOWN_PERSON}', 1)) AS v
        FROM known_line WHERE contains(json, '"display"')
        UNION ALL
        SELECT subject_key, 'role', unnest(regexp_extract_all(json, '{_SHOWN_ROLE}', 1))
        FROM known_line WHERE contains(json, '"display"')
        UNION ALL
        SELECT subject_key, 'shown', (json -> '$.name')::VARCHAR
        FROM known_line WHERE type = 'FamilyMemberHistory'
    ) WHERE subject_key IS NOT NULL AND length(v) BETWEEN 4 AND 200
    """,
    _IDS,
)


def gather_known(
    con: duckdb.DuckDBPyConnection, files: list[tuple[LandedFile, Path]], *, progress: bool = False
) -> None:
    """Fill `known` and `known_staff` from the records of FHIR files.

    Args:
        con: has `resolved` and `merged`, which project_records leaves.
        files: each file with its NDJSON.
        progress: whether to show a bar on stderr.
    """
    con.execute("CREATE TABLE known (subject_key VARCHAR, kind VARCHAR, value VARCHAR)")
    con.execute("CREATE TABLE known_staff (key VARCHAR, json VARCHAR)")
    con.execute("CREATE TABLE known_reference (subject_key VARCHAR, key VARCHAR)")
    for batch in _batches(files, progress=progress):
        con.register("known_batch", batch)
        con.execute(_LINES)
        con.unregister("known_batch")
        for statement in _GATHER:
            con.execute(statement)
    con.execute("DROP TABLE IF EXISTS known_line")
    con.execute(
        "INSERT INTO known SELECT DISTINCT r.subject_key, 'staff', s.json"
        " FROM known_reference r JOIN known_staff s USING (key)"
    )
    con.execute("DROP TABLE known_reference")
    con.execute(
        "INSERT INTO known SELECT DISTINCT subject_key, 'own',"
        " regexp_extract(subject_key, '([^/]*)$', 1) FROM projected"
    )


def read_staff(con: duckdb.DuckDBPyConnection) -> Terms:
    """Give the whole names of everybody who works there: found in anybody's notes.

    Their parts are not looked for: among thousands of surnames are most ordinary words.
    """
    staff = Terms()
    reader = con.execute("SELECT json FROM known_staff")
    while rows := reader.fetchmany(10_000):
        for (text,) in rows:
            for name in names_of(read_json(text)):
                staff.add_whole_name(*name_parts(name))
    return staff


def read_terms(con: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, Terms]]:
    """Give what is known of each subject, in the order of their keys; one at a time in memory."""
    reader = con.execute(
        "SELECT subject_key, kind, value FROM known WHERE value IS NOT NULL ORDER BY subject_key"
    )
    rows = (row for part in iter(lambda: reader.fetchmany(10_000), []) for row in part)
    for key, group in groupby(rows, itemgetter(0)):
        terms = Terms()
        for _, kind, value in group:
            add_said(terms, kind, value)
        yield key, terms


def keep_known(con: duckdb.DuckDBPyConnection, raw: Path) -> None:
    """Write `known` to the raw zone, for the owner alone."""
    partial = raw / f".{KNOWN}"
    partial.touch(mode=0o600)
    rows = con.sql(
        "SELECT DISTINCT subject_key, kind, value FROM known WHERE value IS NOT NULL ORDER BY ALL"
    ).to_arrow_reader(10_000)
    with rows, pq.ParquetWriter(partial, rows.schema) as writer:
        for batch in rows:
            writer.write_batch(batch)
    partial.replace(raw / KNOWN)


def read_kept(raw: Path, subject_id: int) -> list[tuple[str, str]]:
    """Read what a raw zone keeps of a subject: kinds and values."""
    with duckdb.connect() as con:
        return con.execute(
            "SELECT kind, value FROM read_parquet(?) SEMI JOIN"
            " (SELECT subject_key FROM read_parquet(?) WHERE subject_id = ?) USING (subject_key)"
            " ORDER BY ALL",
            [str(raw / KNOWN), str(raw / "crosswalk.parquet"), subject_id],
        ).fetchall()


def _batches(files: list[tuple[LandedFile, Path]], *, progress: bool) -> Iterator[pa.Table]:
    gathered: list[pa.Table] = []
    size = 0
    for file, path in tqdm(files, "looking for names", unit="file", disable=not progress):
        for batch in read_records(path, wrapped=file.kind != "ndjson"):
            table = pa.Table.from_batches([batch])
            gathered.append(table.append_column("file", pa.repeat(file.id, len(table))))
            size += batch.nbytes
            if size > _BATCH_BYTES:
                yield pa.concat_tables(gathered)
                gathered, size = [], 0
    if gathered:
        yield pa.concat_tables(gathered)
