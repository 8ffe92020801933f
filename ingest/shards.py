"""Add events to a store's shards and take some away, writing only the shards that this touches.

A subject stays in the shard that it is in. New subjects go into the smallest one while that is
small, else into a new one: so all shards but one hold FULL_ENOUGH events, and a store that grows by
little does not become a thousand files. What is not touched is linked, not written.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest.schema import EVENT_SCHEMA
from ingest.writer import EVENTS_A_SHARD, write_shard

__all__ = ["FULL_ENOUGH", "Rewritten", "place_subjects", "rewrite_shards"]

FULL_ENOUGH = EVENTS_A_SHARD // 10
"""New subjects no longer go into a shard of so many events."""

_AT_ONCE = 2  # each holds a shard in memory

_ORDERED = """
SELECT subject_id, time, code, numeric_value, text_value, occurred, time_from, occurred_from, unit,
       image, source
FROM (
    SELECT *, split_part(source, ':', 1) AS file, split_part(source, ':', 2)::BIGINT AS position
    FROM kept
    UNION ALL BY NAME
    SELECT i.subject_id, p.time, p.code, try_cast(p.numeric_value AS FLOAT) AS numeric_value,
           p.text_value, p.occurred, p.time_from, p.occurred_from, p.unit, p.image,
           p.file || ':' || p.position AS source, p.file, p.position
    FROM projected p JOIN touched i USING (subject_key)
    WHERE i.shard = $shard
)
ORDER BY subject_id, time NULLS FIRST, code, occurred NULLS FIRST, file, position,
         numeric_value NULLS FIRST, text_value NULLS FIRST, image NULLS FIRST
"""


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """Say what came of writing the touched shards."""

    linked: frozenset[str]
    """Names of the files that are the old store's."""

    before: tuple[int, int, int]
    """Events, notes and images that the touched subjects had."""

    after: tuple[int, int, int]
    """The same now."""

    gone: tuple[int, ...]
    """Touched subjects that have no event any more."""


def place_subjects(data: Path, events: dict[int, int]) -> dict[int, int]:
    """Say into which shard each new subject goes; `events` counts theirs, by subject id."""
    sizes = {int(file.stem): pq.ParquetFile(file).metadata.num_rows for file in data.glob("*")}
    shard = min(sizes, key=lambda number: (sizes[number], number))
    placed = {}
    for subject in sorted(events):
        if sizes[shard] >= FULL_ENOUGH:
            shard = max(sizes) + 1
            sizes[shard] = 0
        placed[subject] = shard
        sizes[shard] += events[subject]
    return placed


def rewrite_shards(
    con: duckdb.DuckDBPyConnection, old: Path, new: Path, removed: Sequence[str]
) -> Rewritten:
    """Write the shards of `touched` subjects to `new`, and link the others.

    Args:
        con: has `projected`, the events to add, and `touched` (subject_key, subject_id, shard).
        old: data/ of the store as it is.
        new: data/ of the next one; is made.
        removed: sources of the events to take away.
    """
    new.mkdir(parents=True)
    touched = con.execute("SELECT shard, subject_id FROM touched ORDER BY ALL").fetchnumpy()
    shards = sorted({int(shard) for shard in touched["shard"]})
    linked = set()
    for file in sorted(old.glob("*.parquet")):
        if int(file.stem) not in shards:
            os.link(file, new / file.name)
            linked.add(file.name)
    gone_sources = pa.array(removed, pa.string())

    def rewrite(shard: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
        ids = touched["subject_id"][touched["shard"] == shard].astype(np.int64)
        file = old / f"{shard}.parquet"
        whole = pq.read_table(file) if file.is_file() else EVENT_SCHEMA.empty_table()
        untouched, pieces = _cut(whole, ids)
        theirs = pa.concat_tables(pieces.values()) if pieces else whole.slice(0, 0)
        stays = pc.invert(pc.is_in(theirs.column("source"), value_set=gone_sources))
        with con.cursor() as cursor:
            cursor.register("kept", theirs.filter(stays))
            changed = cursor.sql(_ORDERED, params={"shard": shard}).to_arrow_table()
            changed = changed.cast(EVENT_SCHEMA)
            cursor.unregister("kept")
        _, changes = _cut(changed, ids)
        # Slices of the old file and of what changed, in order: nothing is copied but to be written.
        parts = [untouched[0]]
        for subject, rest in zip(ids.tolist(), untouched[1:], strict=True):
            parts += [changes[subject], rest] if subject in changes else [rest]
        table = pa.concat_tables(parts)
        if len(table):
            write_shard(table, new / f"{shard}.parquet")
        gone = np.setdiff1d(ids, changed.column("subject_id").to_numpy())
        return _count(theirs), _count(changed), gone.tolist()

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        done = list(pool.map(rewrite, shards))
    return Rewritten(
        linked=frozenset(linked),
        before=tuple(sum((was for was, _, _ in done), np.zeros(3, int)).tolist()),
        after=tuple(sum((now for _, now, _ in done), np.zeros(3, int)).tolist()),
        gone=tuple(subject for _, _, gone in done for subject in gone),
    )


def _cut(events: pa.Table, ids: np.ndarray) -> tuple[list[pa.Table], dict[int, pa.Table]]:
    """Cut events that are in order: what stands around these subjects' events, and theirs."""
    column = events.column("subject_id").to_numpy()
    begins, ends = np.searchsorted(column, ids, "left"), np.searchsorted(column, ids, "right")
    starts = [0, *ends.tolist()]
    stops = [*begins.tolist(), len(events)]
    others = [events.slice(i, j - i) for i, j in zip(starts, stops, strict=True)]
    theirs = {
        subject: events.slice(i, j - i)
        for subject, i, j in zip(ids.tolist(), begins.tolist(), ends.tolist(), strict=True)
        if i < j
    }
    return others, theirs


def _count(events: pa.Table) -> np.ndarray:
    codes = events.column("code")
    kinds = [pc.sum(pc.starts_with(codes, prefix)).as_py() or 0 for prefix in ("NOTE//", "IMAGE//")]
    return np.array([len(events), *kinds])
