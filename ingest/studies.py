"""Find in FHIR records the imaging studies that an archive can be asked for.

`ImagingStudy.identifier` holds the Study Instance UID, with or without `urn:oid:`
(https://hl7.org/fhir/R4/imagingstudy.html); an identifier of another form, such as an accession
number, is none. `ImagingStudy.endpoint` is left aside: it may name any host, and the user says
which archive is asked. The same studies count as for joining images (`projections/account.sql`).
"""

from collections.abc import Iterable
from pathlib import Path

import duckdb

from ingest.records import read_records

__all__ = ["study_uids"]

_SQL = """
WITH resource AS (
    SELECT coalesce(text -> '$.resource', text::JSON) AS json FROM batch
    WHERE contains(text, '"ImagingStudy"') AND json_valid(text)
),
study AS (
    SELECT json, unnest(from_json(json -> '$.identifier', '[{"value": "VARCHAR"}]')) AS i
    FROM resource
    WHERE json ->> '$.resourceType' = 'ImagingStudy' AND coalesce(json ->> '$.status', '')
        NOT IN ('registered', 'cancelled', 'entered-in-error')
)
SELECT DISTINCT regexp_replace(trim(i.value), '^urn:oid:', '') AS uid FROM study
WHERE regexp_full_match(uid, '[0-9]+([.][0-9]+){3,}') AND length(uid) <= 64
"""


def study_uids(files: Iterable[Path]) -> list[str]:
    """List the Study Instance UIDs of the ImagingStudy records in NDJSON files, each once, sorted.

    Bundles on a line are looked into; so are the files that ingest made of Bundles.
    """
    found: set[str] = set()
    with duckdb.connect() as con:
        for path in files:
            for batch in read_records(path, wrapped=False):
                con.register("batch", batch)
                found.update(uid for (uid,) in con.execute(_SQL).fetchall())
                con.unregister("batch")
    return sorted(found)
