"""Say what changed in a store since a moment, from the index and the times at which files landed.

A resource is new when none of its versions had landed before, updated when another version counts
now than the newest that had landed, deleted when a deletion that landed since took it away. What
counts is what landed: a version that was made long ago and came yesterday is yesterday's.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from ingest.errors import StoreError
from ingest.landing import RawZone
from ingest.record_index import FILE_STEP, read_index

__all__ = ["Changes", "changes_since", "describe_changes"]

_FHIR = ("ndjson", "bundle", "resource", "archive")

_RESOURCES = """
WITH version AS (
    SELECT t.key, t.type, t.deletion, s.status, f.new
    FROM old.trace t JOIN old.state s USING (place) JOIN landed f ON f.number = t.place // $step
    WHERE t.key IS NOT NULL
),
resource AS (
    SELECT
        any_value(type) AS type,
        bool_or(NOT new AND NOT deletion) AS known,
        bool_or(new) AS touched,
        bool_or(new AND deletion) AS deletion,
        bool_or(status NOT IN ('superseded', 'deleted')) AS current,
        bool_or(new AND status NOT IN ('superseded', 'deleted')) AS newest
    FROM version GROUP BY key
)
SELECT type,
    count(*) FILTER (current AND NOT known) AS new,
    count(*) FILTER (newest AND known) AS updated,
    count(*) FILTER (NOT current AND known AND deletion) AS deleted
FROM resource WHERE touched GROUP BY type HAVING new + updated + deleted > 0 ORDER BY type
"""

_RECORDS = """
SELECT s.status, coalesce(s.detail, 'no reason') AS reason, count(*) AS n
FROM old.state s JOIN landed f ON f.number = s.place // $step
WHERE f.new AND s.status IN ('skipped', 'quarantined') GROUP BY ALL ORDER BY ALL
"""

_SUBJECTS = """
WITH each AS (
    SELECT s.subject_key, bool_or(NOT f.new) AS known, bool_or(f.new) AS touched
    FROM old.state s JOIN landed f ON f.number = s.place // $step
    SEMI JOIN old.subject USING (subject_key)
    GROUP BY ALL
)
SELECT count(*) FILTER (touched AND NOT known), count(*) FILTER (touched AND known) FROM each
"""

# A merger is as new as the newest patient's record that states it.
_MERGED = """
WITH stating AS (
    SELECT t.key, d.token, f.new
    FROM old.depend d JOIN old.trace t USING (place) JOIN old.state s USING (place)
    JOIN landed f ON f.number = d.place // $step
    WHERE d.link AND s.status NOT IN ('superseded', 'deleted')
)
SELECT count(*) FROM old.merged m WHERE (
    SELECT bool_and(s.new) FROM stating s WHERE s.key = hash(m.key) OR s.token = hash(m.key)
)
"""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Hold what changed since a moment."""

    since: str
    """ISO 8601, UTC."""

    ingests: list[dict[str, Any]]
    """Each since then: `at`, `files` and `records` that were new, `whole` if all was built anew."""

    files: int
    """Files with FHIR records that landed since."""

    resources: dict[str, dict[str, int]]
    """By type: how many resources are `new`, `updated`, `deleted`."""

    merged: int
    """Patients whom another replaced."""

    skipped: dict[str, int]
    """Records that landed since and were left out, by reason."""

    quarantined: dict[str, int]
    """Records that landed since and can't be used, by reason."""

    subjects_new: int
    """Subjects of whom nothing had landed before."""

    subjects_touched: int
    """Subjects who were known, and of whom something landed."""


def changes_since(store: Path, raw: Path, since: datetime) -> Changes:
    """Say what changed in a store since a moment; one without a zone is UTC.

    Raises:
        StoreError: the store has no raw zone, or no index that is its own.
    """
    since = since.replace(tzinfo=UTC) if since.tzinfo is None else since.astimezone(UTC)
    if not (raw / "manifest.json").is_file():
        raise StoreError(f"{raw} is no raw zone; --since needs it, beside the store or with --raw")
    index = read_index(raw / "index", store)
    if index is None:
        raise StoreError(f"{raw} has no index of {store}; ingest into the store again")
    files = [file for file in RawZone(raw).files() if file.kind in _FHIR][: index.fhir_files]
    new = [datetime.fromisoformat(file.landed) >= since for file in files]
    with duckdb.connect() as con:
        index.attach(con)
        _register(con, new)
        step = {"step": FILE_STEP}
        resources = con.execute(_RESOURCES, step).fetchall()
        records = con.execute(_RECORDS, step).fetchall()
        [(subjects, touched)] = con.execute(_SUBJECTS, step).fetchall()
        [(merged,)] = con.execute(_MERGED, step).fetchall()
    return Changes(
        since=since.isoformat(),
        ingests=[b for b in index.builds if datetime.fromisoformat(b["at"]) >= since],
        files=sum(new),
        resources={
            kind: {"new": come, "updated": updated, "deleted": deleted}
            for kind, come, updated, deleted in resources
        },
        merged=merged,
        skipped={reason: n for status, reason, n in records if status == "skipped"},
        quarantined={reason: n for status, reason, n in records if status == "quarantined"},
        subjects_new=subjects,
        subjects_touched=touched,
    )


def describe_changes(changes: Changes) -> str:
    """Give the changes as a page of text."""
    lines = [f"since {changes.since}: {changes.files:,} files of records landed"]
    for build in changes.ingests:
        how = "everything projected anew" if build["whole"] else "added to what was there"
        lines.append(
            f"  ingest of {build['at']}: {build['files']:,} files,"
            f" {build['records']:,} records; {how}"
        )
    lines.append(
        f"subjects: {changes.subjects_new:,} new, {changes.subjects_touched:,} with something new,"
        f" {changes.merged:,} merged into another"
    )
    if changes.resources:
        width = max(map(len, changes.resources))
        lines.append(f"{'':{width}}  {'new':>9}  {'updated':>9}  {'deleted':>9}")
        lines += [
            f"{kind:{width}}  {n['new']:>9,}  {n['updated']:>9,}  {n['deleted']:>9,}"
            for kind, n in changes.resources.items()
        ]
    for words, reasons in (
        ("left out", changes.skipped),
        ("can't be used", changes.quarantined),
    ):
        if reasons:
            told = ", ".join(f"{reason} {n:,}" for reason, n in reasons.items())
            lines.append(f"records {words}: {told}")
    return "\n".join(lines)


def _register(con: duckdb.DuckDBPyConnection, new: list[bool]) -> None:
    frame = pd.DataFrame({"number": range(len(new)), "new": new})
    con.register("told", frame)
    con.execute(
        "CREATE TABLE landed AS SELECT number::BIGINT AS number, new::BOOLEAN AS new FROM told"
    )
    con.unregister("told")
