"""Make the index of a build out of the tables that its projection left behind.

Tables that must be there: those of projections/tables.sql, `name` (as
write_store fills it), `merged`, and what resolving made.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from ingest.accounting import TALLY
from ingest.checksums import crc_of
from ingest.film_index import FILMS, begin_films
from ingest.landing import LandedFile
from ingest.lines import FILE_STEP
from ingest.record_index import (
    BESIDE,
    RecordIndex,
    begin_segments,
    hash_of_files,
    new_segment,
    past_builds,
    write_tables,
)
from ingest.references import run_script
from ingest.writer import NAME

__all__ = [
    "SEGMENT",
    "STATE",
    "beside_of",
    "index_whole_build",
    "numbers_of",
    "told_of_build",
]

PLACED = f"o.number * {FILE_STEP}::BIGINT + t.position AS place"
"""Of a table `t` joined with `landed` as `o`."""

STATE = f"SELECT {PLACED}, status, detail, subject_key FROM outcome t JOIN landed o USING (file)"
EVENT = f"SELECT {PLACED}, {NAME} AS name FROM projected t JOIN landed o USING (file)"
UNDATED = f"SELECT {PLACED}, t.type FROM undated t JOIN landed o USING (file)"
SEGMENT = {
    "trace": "FROM trace",
    "depend": "FROM depend",
    "provide": "FROM provide",
    "state": STATE,
    "event": EVENT,
    "undated": UNDATED,
    "provider": "FROM provider",
}
"""What each table of a segment is made of."""


def index_whole_build(
    con: duckdb.DuckDBPyConnection,
    place: Path,
    *,
    files: list[LandedFile],
    fhir: Sequence[LandedFile],
    shards: int,
    report: dict[str, Any],
    made_of: dict[str, Any],
) -> RecordIndex:
    """Write the index of a build that projected everything; `commit` lets it count.

    Args:
        con: what the build leaves behind.
        place: the index's directory.
        files: all that landed.
        fhir: those of them that hold FHIR records, in the same order.
        shards: of `write_store`.
        report: the build's.
        made_of: `fingerprint`.
    """
    run_script(con, "provider")
    begin_segments(place)
    segment = new_segment(place)
    written = write_tables(con, segment, SEGMENT)
    whole = {
        "name": "FROM name",
        "merged": "FROM merged",
        "subject": f"SELECT subject_key, subject_id, subject_id % {shards} AS shard"
        " FROM subject_id ORDER BY subject_key",
        "tally": TALLY,
        **FILMS,
    }
    begin_films(con)
    [(records,)] = con.execute("SELECT count(*) FROM trace").fetchall()
    told = {"name": segment.name, "rows": records, "weight": records, "first": 0, "files": written}
    [(refusable,)] = con.execute("SELECT coalesce(max(n), 0) FROM refusable").fetchall()
    return RecordIndex(
        place=place,
        made_of=made_of,
        files=len(files),
        fhir_files=len(fhir),
        landed=hash_of_files(files),
        store="",
        beside=beside_of(place),
        segments=[told],
        whole={"name": segment.name, "files": write_tables(con, segment, whole)},
        numbers={"refusable": refusable, **numbers_of(report)},
        builds=[*past_builds(place), told_of_build(files, records, whole=True)],
    )


def numbers_of(report: dict[str, Any]) -> dict[str, Any]:
    """Take from a report what the next one adds to and the accounting does not say."""
    return {name: report[name] for name in ("events", "notes", "images", "undated")}


def beside_of(place: Path) -> dict[str, str]:
    """Give `crc_of` the files of the raw zone that belong to a build."""
    return {name: crc_of(place.parent / name) for name in BESIDE}


def told_of_build(files: Sequence[LandedFile], records: int, *, whole: bool) -> dict[str, Any]:
    """Say of a build when it was and what it took in."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"at": now, "files": len(files), "records": records, "whole": whole}
