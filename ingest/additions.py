"""Add what is new to a store, in time proportional to what is new.

The store that comes of it is the one that a full build of the same raw zone gives: the same events
under a total sort, the same codes, splits, report, quarantine and crosswalk; only which shard a
subject is in may differ. For that

1. the heads of the new records are read (trace.sql);
2. the index says which old records bear on them (ripples.pull); those are read again, from where
   they lie, and everything that was read is chosen and resolved by the same SQL as ever;
3. what others take from a resource (an encounter's end, a drug's name, whom a patient became) is
   held against what it was: old records that refer to something that changed are projected again,
   too (ripples.find_dependents), which may take more reading, and is then done anew;
4. the new and the changed records are projected; the events of those that changed or were replaced
   leave their shards, the others enter, and the sums of the index are carried on;
5. images are joined anew, by the headers that the index holds (film_index.py), where what they are
   joined by is different, or files of them are new.

What this cannot do soundly or cheaply is `Unsuited`: then the caller builds in full.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.accounting import (
    MOST_VALIDATED,
    TALLY,
    make_report,
    require_one_outcome,
    write_quarantine,
)
from ingest.conventions import Conventions
from ingest.film_index import drop_unused_images, rejoin_films
from ingest.identity import subject_ids
from ingest.indexing import SEGMENT, beside_of, numbers_of, told_of_build
from ingest.record_index import (
    RecordIndex,
    begin_segments,
    gather_segments,
    hash_of_files,
    new_segment,
    write_tables,
)
from ingest.ripples import PROVIDERS
from ingest.shards import Rewritten, place_subjects, rewrite_shards
from ingest.splits import assign_splits
from ingest.surroundings import Surroundings, Unsuited, Zone
from ingest.writer import CALLED, keep_crosswalk, write_metadata

__all__ = ["Added", "add_records"]


@dataclass(frozen=True, kw_only=True)
class Added:
    """What an addition gives the caller to finish the store with."""

    report: dict[str, Any]
    index: RecordIndex
    linked: frozenset[str]
    """Files of the new store that are the old one's, by their path in it."""


def add_records(
    index: RecordIndex,
    zone: Zone,
    *,
    store: Path,
    fresh: Path,
    secret: bytes,
    conventions: Conventions,
    settings: Mapping[str, Any],
    progress: bool = False,
) -> Added:
    """Build data/, metadata/ and a new segment of the index from the old store and what is new.

    Args:
        index: of the store as it is.
        zone: what landed.
        store: the store as it is.
        fresh: the directory of the next one.
        secret: the key of the pseudonyms.
        conventions: how codes and units are read; those of the index.
        settings: DuckDB's.
        progress: whether to show bars on stderr.

    Raises:
        Unsuited: a full build is due.
    """
    ids = {file.id for file, _ in zone.fhir}
    new = [file for file in zone.files[index.files :] if file.id not in ids]
    if any(file.mapping for file in new):
        raise Unsuited("mapped files are new")
    world = Surroundings(index, zone, conventions, settings, progress=progress)
    try:
        world.settle()
        world.project()
        rejoin_films(world.con, zone.files, fresh / "images", progress=progress)
        require_one_outcome(world.con)
        return _finish(world, store, fresh, secret)
    finally:
        world.close()


_TOUCHED = """
SELECT subject_key FROM old.state SEMI JOIN renewed USING (place)
WHERE status = 'projected' AND subject_key IS NOT NULL
UNION SELECT subject_key FROM old.film_event SEMI JOIN renewed_film USING (file)
UNION SELECT subject_key FROM projected
"""

_NAMES = f"""
CREATE TABLE name AS
WITH less AS (
    SELECT name, count(*) AS n FROM (
        SELECT name FROM old.event SEMI JOIN renewed USING (place)
        UNION ALL SELECT name FROM old.film_event SEMI JOIN renewed_film USING (file)
    ) GROUP BY name
)
SELECT name, any_value(code) AS code, any_value(display) AS display,
       any_value(parents) AS parents, any_value(unit) AS unit, any_value(measured) AS measured,
       sum(n)::BIGINT AS n
FROM (
    SELECT name, code, display, parents, unit, measured, n FROM old.name
    UNION ALL BY NAME SELECT name, -n AS n FROM less
    UNION ALL BY NAME
    {CALLED}
) GROUP BY name HAVING sum(n) <> 0
"""

_TALLIED = f"""
CREATE TABLE tally AS
SELECT file, status, detail, sum(n)::BIGINT AS n FROM (
    FROM old.tally
    UNION ALL
    SELECT r.file, s.status, s.detail, -count(*)
    FROM renewed r JOIN old.state s USING (place) GROUP BY ALL
    UNION ALL SELECT file, status, detail, -1 FROM renewed_film
    UNION ALL FROM ({TALLY})
) GROUP BY ALL HAVING sum(n) <> 0 ORDER BY file, status, detail
"""

_UNDATED = """
SELECT type, sum(n)::BIGINT AS n FROM (
    SELECT type, count(*) AS n FROM undated GROUP BY type
    UNION ALL SELECT type, -count(*) FROM old.undated SEMI JOIN renewed USING (place) GROUP BY type
    UNION ALL SELECT 'image', -undated FROM renewed_film WHERE undated > 0
) GROUP BY type
"""


def _finish(world: Surroundings, store: Path, fresh: Path, secret: bytes) -> Added:
    con, index, zone = world.con, world.index, world.zone
    [(near,)] = con.execute("SELECT coalesce(sum(n), 0) FROM refusable").fetchall()
    near = int(near) + index.numbers["refusable"]
    if near > MOST_VALIDATED - 1:
        raise Unsuited("too many records without a code: which are validated depends on the batch")
    added, subjects = _place_touched(con, store, secret)
    if not subjects:
        raise Unsuited("nobody is left")
    removed = con.execute(
        "SELECT file || ':' || position FROM renewed"
        " UNION ALL SELECT file || ':1' FROM renewed_film"
    ).fetchall()
    data = fresh / "data"
    written = rewrite_shards(con, store / "data", data, [source for (source,) in removed])
    if set(written.gone) & set(added):
        raise Unsuited("a new subject has no event")
    if not any(data.iterdir()):
        raise Unsuited("no event is left")
    drop_unused_images(con, data, fresh / "images")
    con.execute(_NAMES)
    con.execute(_TALLIED)
    report = _report(world, written, subjects - len(written.gone))
    created = datetime.fromisoformat(max(file.landed for file in zone.files))
    splits = pq.read_table(store / "metadata" / "subject_splits.parquet").to_pandas()
    splits = splits[~splits["subject_id"].isin(written.gone)]
    splits = pd.concat([splits, assign_splits(np.array(added, np.int64))])
    write_metadata(con, fresh / "metadata", splits, created)
    # From here on the raw zone is the next store's: the old index no longer fits, should this fail.
    gone = ", ".join(map(str, written.gone)) or "NULL"
    con.execute(
        "CREATE TABLE subject AS FROM subject_next"
        f" WHERE coalesce(subject_id NOT IN ({gone}), true)"
    )
    crosswalk = con.sql("SELECT subject_id, subject_key FROM subject ORDER BY subject_key")
    keep_crosswalk(crosswalk.to_arrow_table(), zone.path)
    before = str(zone.path / "quarantine.parquet").replace("'", "''")
    con.execute(f"CREATE TABLE quarantined AS FROM '{before}'")
    stay = (
        "SELECT file, name, position, reason FROM quarantined"
        " ANTI JOIN renewed USING (file, position) ANTI JOIN renewed_film USING (file)"
    )
    write_quarantine(con, zone.files, zone.path / "quarantine.parquet", stay=stay)
    linked = frozenset(f"data/{name}" for name in written.linked)
    return Added(report=report, index=_next_index(world, report, near), linked=linked)


def _place_touched(
    con: duckdb.DuckDBPyConnection, store: Path, secret: bytes
) -> tuple[list[int], int]:
    """Fill `touched` and `subject_next`, all subjects; give new ones' ids, and the number of all.

    Raises:
        Unsuited: two subjects would have one id; the full build says so.
    """
    con.execute("CREATE TABLE known AS FROM old.subject")
    con.execute(f"CREATE TABLE key AS {_TOUCHED}")
    unknown = con.execute(
        "SELECT p.subject_key, count(*) FROM projected p ANTI JOIN known USING (subject_key)"
        " GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    ids = subject_ids([key for key, _ in unknown], secret)
    shards = place_subjects(store / "data", {ids[key]: n for key, n in unknown})
    rows = pa.table(
        {
            "subject_key": pa.array(ids.keys(), pa.string()),
            "subject_id": pa.array(ids.values(), pa.int64()),
            "shard": pa.array([shards[i] for i in ids.values()], pa.int64()),
        }
    )
    con.register("come", rows)
    con.execute(
        "CREATE TABLE subject_next AS"
        " SELECT subject_key, subject_id, shard FROM known UNION ALL SELECT * FROM come"
    )
    con.unregister("come")
    [(subjects, different)] = con.execute(
        "SELECT count(*), count(DISTINCT subject_id) FROM subject_next"
    ).fetchall()
    if subjects != different:
        raise Unsuited("two subjects fall on one id")
    con.execute("CREATE TABLE touched AS FROM subject_next SEMI JOIN key USING (subject_key)")
    return list(ids.values()), subjects


def _report(world: Surroundings, written: Rewritten, subjects: int) -> dict[str, Any]:
    con, numbers = world.con, world.index.numbers
    counts = {file.id: 0 for file, _ in world.zone.fhir}
    for file, n in con.execute(
        "SELECT file, sum(n)::BIGINT FROM old.tally GROUP BY file"
    ).fetchall():
        if file in counts:
            counts[file] = n
    counts |= world.counts
    events = [
        numbers[name] - before + after
        for name, before, after in zip(
            ("events", "notes", "images"), written.before, written.after, strict=True
        )
    ]
    undated = dict(numbers["undated"])
    for kind, n in con.execute(_UNDATED).fetchall():
        undated[kind] = undated.get(kind, 0) + n
    undated = {kind: n for kind, n in sorted(undated.items()) if n}
    tally = con.execute("FROM tally ORDER BY file, status, detail").fetchall()
    report = make_report(world.zone.files, counts, tally, (subjects, *events), undated)
    counted = {"table": "name", "measured": "measured", "n": "sum(n)"}
    report["units"] = world.conventions.account_units(con, **counted)
    return report


def _next_index(world: Surroundings, report: dict[str, Any], refusable: int) -> RecordIndex:
    con, index, zone = world.con, world.index, world.zone
    begin_segments(index.place)
    segment = new_segment(index.place)
    provider = (
        "SELECT DISTINCT h.key, coalesce(p.value, 0) AS value FROM ("
        " SELECT key, type FROM trace UNION ALL"
        " SELECT key, type FROM old.trace SEMI JOIN pulled USING (place)"
        f") h LEFT JOIN provider p USING (key) WHERE h.type IN {PROVIDERS}"
    )
    files = write_tables(con, segment, SEGMENT | {"provider": provider})
    merged = (
        "SELECT key, subject_key FROM old.merged ANTI JOIN moved USING (key)"
        " UNION ALL SELECT key, now FROM moved WHERE now <> key"
    )
    whole = {
        "name": "FROM name",
        "merged": merged,
        "subject": "FROM subject ORDER BY subject_key",
        "tally": "FROM tally",
        "film": "FROM film_next",
        "film_event": "FROM film_event_next",
        "imaging_study": "FROM imaging_study",
        "patient_identifier": "FROM patient_identifier",
    }
    [(rows, weight)] = con.execute(
        "SELECT (SELECT count(*) FROM trace),"
        " (SELECT count(*) FROM outcome SEMI JOIN landed USING (file))"
    ).fetchall()
    told = told_of_build(zone.files[index.files :], rows, whole=False)
    made = {"name": segment.name, "rows": rows, "weight": weight, "first": index.fhir_files}
    segments = [*index.segments, made | {"files": files}] if weight else index.segments
    return replace(
        index,
        files=len(zone.files),
        fhir_files=len(zone.fhir),
        landed=hash_of_files(zone.files),
        beside=beside_of(index.place),
        whole={"name": segment.name, "files": write_tables(con, segment, whole)},
        segments=gather_segments(con, index.place, segments),
        numbers={"refusable": refusable, **numbers_of(report)},
        builds=[*index.builds, told],
    )
