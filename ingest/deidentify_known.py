"""Gather what is known of each patient from the landed records and films themselves.

Into DuckDB, batch by batch, so that memory does not grow with the records: `known` (subject_key,
kind, value) has of each subject

    person    its Patient, RelatedPerson and contained persons as JSON, older versions too
    staff     the Practitioner and Person resources that its records refer to, as JSON
    shown     what references to persons show (`display`), and relatives' names
    id        identifiers, accession numbers, serial numbers and ids of its resources
    film      what the headers of its films say: a JSON of names, ids, places and contacts

`known_staff` (key, json) has everybody who works there. UUIDs are left out: any is found as such.
"""

import json
import re
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from tqdm import tqdm

from ingest.deidentify_fold import tokens_of
from ingest.deidentify_terms import Terms, name_parts
from ingest.landing import LandedFile
from ingest.records import read_records

__all__ = ["add_person", "add_shown", "gather_known", "read_staff", "read_terms"]

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

_HOUSES = frozenset(
    ["hospital", "clinic", "department", "laboratory", "laboratories", "university", "institute"]
)
"""Words that are no person's, though a reference to a Practitioner may show them."""

_NO_PERSON = _HOUSES | frozenset(
    """
    hospital hospitals clinic clinics health healthcare center centre medical medicine group
    department dept institute laboratory lab labs laboratories inc llc ltd gmbh klinik klinikum
    krankenhaus praxis university universitat pharmacy apotheke practice care system systems service
    services ward unit emergency station abteilung team nurse nursing physician doctor staff surgery
    therapy internal family general primary radiology cardiology oncology neurology pathology
    anesthesiology dermatology urology nephrology psychiatry pediatrics gynecology obstetrics
    orthopedics ophthalmology bank blood registry office company corporation foundation association
    """.split()  # noqa: SIM905 - one a line would be a page
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
            for name in _names_of(_read(text)):
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
            _add(terms, kind, value)
        yield key, terms


def add_person(terms: Terms, person: Any, *, own: bool) -> None:
    """Add a Patient, RelatedPerson, Practitioner or a part of one (`contact`)."""
    if not isinstance(person, dict):
        return
    for name in _names_of(person):
        terms.add_name(*name_parts(name))
        if isinstance(name.get("text"), str):
            terms.add_words_of_name(name["text"])
    for telecom in _listed(person.get("telecom")):
        if isinstance(telecom.get("value"), str):
            terms.add_contact(telecom["value"])
    for address in _listed(person.get("address")) if own else ():
        _add_address(terms, address)
    for identifier in _listed(person.get("identifier")):
        if isinstance(identifier.get("value"), str):
            terms.add_id(identifier["value"], own=own)
    if own and isinstance(person.get("id"), str):
        terms.add_id(person["id"], own=True)
    if own and isinstance(person.get("birthDate"), str):
        terms.add_birth(person["birthDate"])
    for part in (*_listed(person.get("contact")), *_listed(person.get("contained"))):
        add_person(terms, part, own=own)
    for extension in _listed(person.get("extension")) if own else ():
        if "maidenname" in str(extension.get("url")).lower().replace("-", ""):
            terms.add_words_of_name(str(extension.get("valueString") or ""))
        for kind in ("valueHumanName", "valueAddress", "valueContactPoint", "valueIdentifier"):
            if isinstance(extension.get(kind), dict):
                field = {"valueHumanName": "name", "valueAddress": "address"}.get(kind)
                field = field or ("telecom" if kind == "valueContactPoint" else "identifier")
                add_person(terms, {field: extension[kind]}, own=True)


def add_shown(terms: Terms, words: str, *, person: bool) -> None:
    """Add what a reference shows; whom it refers to may be a department.

    >>> terms = Terms()
    >>> for words in ("Dr. Adam Careful", "Mercy Hospital", "Radiology"):
    ...     add_shown(terms, words, person=False)
    >>> "careful" in terms.phrases, "mercy" in terms.phrases, "radiology" in terms.phrases
    (True, False, False)
    """
    tokens = tokens_of(words)
    if person:
        somebody = not _HOUSES & set(tokens)
    else:
        somebody = 2 <= len(tokens) <= 5 and not _NO_PERSON & set(tokens)
    if somebody:
        terms.add_words_of_name(words.partition("(")[0])


def _add(terms: Terms, kind: str, value: str) -> None:
    if kind in ("person", "staff"):
        add_person(terms, _read(value), own=kind == "person")
    elif kind in ("shown", "role"):
        words = _read(value)
        if isinstance(words, str):
            add_shown(terms, words, person=kind == "shown")
    elif kind in ("id", "own"):
        terms.add_id(value, own=kind == "own")
    elif kind == "film":
        said = _read(value)
        for name in said["names"]:
            family, *given = [part.strip() for part in name.split("^")][:3]
            terms.add_name([part for part in given if part], family)
        for place in said["places"]:
            terms.add_place([place])
        for contact in said["contacts"]:
            terms.add_contact(contact)
        for identifier in said["ids"]:
            terms.add_id(identifier, own=True)


def _add_address(terms: Terms, address: dict[str, Any]) -> None:
    lines = address.get("line")
    text = address.get("text")
    written = [line for line in lines if isinstance(line, str)] if isinstance(lines, list) else []
    for line in _listed(address.get("_line")):  # parts of a street's name (iso21090-ADXP)
        parts = [str(part.get("valueString") or "") for part in _listed(line.get("extension"))]
        written += [*parts, " ".join(parts)]
    if isinstance(text, str):
        wide = {address.get("state"), address.get("country")}
        for part in filter(None, map(str.strip, re.split(r"[,;\n]", text))):
            if any(letter.isdigit() for letter in part):
                written.append(part)
            elif part not in wide:
                terms.add_place(city=part)
    terms.add_place(written, str(address.get("city") or ""), str(address.get("postalCode") or ""))
    terms.add_place(city=str(address.get("district") or ""))


def _names_of(person: Any) -> list[dict[str, Any]]:
    return _listed(person.get("name")) if isinstance(person, dict) else []


def _listed(value: Any) -> list[dict[str, Any]]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


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
