"""Resolve references: which patient, encounter, drug, place and Binary a resource speaks of.

From `current` (the newest of each resource) come the tables that the projections read:

    reference     what each reference that is not a plain `Type/id` stands for
    merged        the key of each patient that another replaced, and of the one that stays
    resolved      each current record with its subject
    placed        the same with its file's time zone and its encounter's end
    encounter     each encounter's start, end, and whether it ended in death
    location, medication, attached_bytes    what encounters, medication resources and documents
                  refer to

A reference may be `Type/id`, an absolute URL (matched to `fullUrl`, else by its last two parts),
any of these with `/_history/n`, `urn:uuid:` or `urn:oid:` (through `fullUrl`: of the same Bundle
first, and of it alone where its UUIDs are counted from 1: see read.sql), a contained `#id`, a
conditional `Type?identifier=system|value`, or a logical one (`identifier` in place of `reference`).
"""

import re
from collections.abc import Collection

import duckdb
import pyarrow as pa

from ingest.codes import DIED
from ingest.fields import SQL, only_with
from ingest.lines import FILE_STEP

__all__ = ["resolve", "run_script"]

_NEEDS = re.compile(r"^-- needs: (.*)$", re.MULTILINE)


def resolve(con: duckdb.DuckDBPyConnection) -> None:
    """Build the tables that the projections read, from `current` (the newest of each resource)."""
    rows = con.execute(
        "SELECT DISTINCT type FROM current UNION ALL SELECT 'contained' WHERE EXISTS (FROM holder)"
        " UNION ALL SELECT 'cited' WHERE EXISTS (FROM cited WHERE scope IS NOT NULL)"
        " OR EXISTS (FROM cited_reference)"
    ).fetchall()
    present = {kind for (kind,) in rows}
    run_script(con, "references", present=present)
    if con.execute("SELECT any_value(token) FROM spoken_of WHERE mistaken").fetchone() != (None,):
        raise RuntimeError("two references have one hash; give the hash more bits")
    _merge_patients(con)
    run_script(con, "resolved", present=present, died=sorted(DIED))


def run_script(
    con: duckdb.DuckDBPyConnection,
    name: str,
    *,
    present: Collection[str] | None = None,
    **values: object,
) -> None:
    """Run a script's statements one by one, each with the parameters that it names.

    A statement that says `-- needs: TYPE …` is left out where none of these types is `present`,
    and so is what stands between `-- if` and `-- end if`: of one patient's few records, planning
    what finds nothing would take most of the time.
    """
    text = (SQL / f"{name}.sql").read_text("utf-8")
    if present is not None:
        text = only_with(text, present)
    for statement in text.split(";\n"):
        needs = _NEEDS.search(statement)
        if present is None or needs is None or not set(needs[1].split()).isdisjoint(present):
            con.execute(statement, {k: v for k, v in values.items() if f"${k}" in statement})


def _merge_patients(con: duckdb.DuckDBPyConnection) -> None:
    """Give each patient that another replaced the key of the one that stays.

    Follows `link` of type replaced-by and replaces; chains are followed to their end, and a ring
    (an error in the data) comes together at its first key.
    """
    con.execute("CREATE TABLE merged (key VARCHAR, subject_key VARCHAR)")
    patients = "FROM kept SEMI JOIN current ON current.place = kept.place AND type = 'Patient'"
    if not con.execute(f"{patients} LIMIT 1").fetchall():
        return
    rows = con.execute(
        f"""
        WITH linked AS (
            SELECT coalesce(c.scope, l.scope) AS scope, c.key AS key, unnest(from_json(
                k.json -> '$.link', '[{{"type": "VARCHAR", "other": {{"reference": "VARCHAR"}}}}]'
            )) AS link
            FROM current c JOIN kept k USING (place)
            JOIN landed l ON l.number = c.place // {FILE_STEP}
            WHERE c.type = 'Patient'
        )
        SELECT DISTINCT key, link.type, ref_key(scope, key, link.other.reference) AS other
        FROM linked
        WHERE link.type IN ('replaced-by', 'replaces') AND other LIKE 'Patient/%' AND other <> key
        ORDER BY ALL
        """
    ).fetchall()
    replaced_by: dict[str, str] = {}
    for key, kind, other in rows:
        old, new = (key, other) if kind == "replaced-by" else (other, key)
        replaced_by.setdefault(old, new)
    merged: list[tuple[str, str]] = []
    for key in replaced_by:
        seen, last = [key], key
        while last in replaced_by:
            last = replaced_by[last]
            if last in seen:
                last = min(seen[seen.index(last) :])
                break
            seen.append(last)
        if last != key:
            merged.append((key, last))
    table = pa.table(
        {
            "key": pa.array([key for key, _ in merged], pa.string()),
            "subject_key": pa.array([last for _, last in merged], pa.string()),
        }
    )
    con.register("chains", table)
    con.execute("INSERT INTO merged SELECT * FROM chains")
    con.unregister("chains")
