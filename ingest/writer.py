"""Write projected events as a MEDS dataset: shards, codes, splits and dataset.json.

A subject's events are in one shard, sorted by subject and time, what has no time first. The order
of what stands at the same moment is fixed too, so that the same records give the same bytes.
"""

import json
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from meds import CodeMetadataSchema, DataSchema
from tqdm import tqdm

from ingest.identity import subject_ids
from ingest.labels import write_splits
from ingest.schema import DATASET_COLUMNS, EVENT_SCHEMA
from ingest.splits import assign_splits

__all__ = [
    "CALLED",
    "EVENTS_A_SHARD",
    "NAME",
    "keep_crosswalk",
    "write_crosswalk",
    "write_metadata",
    "write_shard",
    "write_store",
]

EVENTS_A_SHARD = 1_000_000
_MEDS_VERSION = "0.4"

_SHARD = """
SELECT i.subject_id, p.time, p.code, try_cast(p.numeric_value AS FLOAT) AS numeric_value,
       p.text_value, p.occurred, p.time_from, p.occurred_from, p.unit, p.image,
       p.file || ':' || p.position AS source
FROM projected p JOIN subject_id i USING (subject_key)
WHERE i.subject_id % $shards = $shard
ORDER BY i.subject_id, p.time NULLS FIRST, p.code, p.occurred NULLS FIRST, p.file, p.position,
         p.numeric_value NULLS FIRST, p.text_value NULLS FIRST, p.image NULLS FIRST
"""

NAME = "hash(code, display, parents, unit, numeric_value IS NOT NULL)"
"""Of an event: what it is called, in which unit, and whether it has a number."""

CALLED = f"""
SELECT {NAME} AS name, code, display, parents, unit, numeric_value IS NOT NULL AS measured,
       count(*) AS n
FROM projected GROUP BY ALL
"""

_CODES = """
WITH said AS (
    SELECT code, nullif(trim(display), '') AS display, sum(n) AS n FROM name GROUP BY ALL
),
best AS (
    SELECT code, arg_max(display, (n, display)) FILTER (display IS NOT NULL) AS description
    FROM said GROUP BY code
),
above AS (
    SELECT code, list(DISTINCT parent ORDER BY parent) AS parent_codes
    FROM (SELECT DISTINCT code, unnest(parents) AS parent FROM name)
    WHERE parent IS NOT NULL AND parent <> code GROUP BY code
)
SELECT code, description, parent_codes FROM best LEFT JOIN above USING (code) ORDER BY code
"""


def write_crosswalk(con: duckdb.DuckDBPyConnection, secret: bytes, raw: Path) -> None:
    """Fill `subject_id` (subject_key, subject_id) and keep it as raw/crosswalk.parquet."""
    keys = [
        key
        for (key,) in con.execute(
            "SELECT DISTINCT subject_key FROM projected ORDER BY subject_key"
        ).fetchall()
    ]
    ids = subject_ids(keys, secret)
    crosswalk = pa.table(
        {
            "subject_id": pa.array(ids.values(), pa.int64()),
            "subject_key": pa.array(ids.keys(), pa.string()),
        }
    )
    con.register("crosswalk", crosswalk)
    con.execute("CREATE TABLE subject_id AS SELECT * FROM crosswalk")
    con.unregister("crosswalk")
    keep_crosswalk(crosswalk, raw)


def keep_crosswalk(crosswalk: pa.Table, raw: Path) -> None:
    """Write raw/crosswalk.parquet, for the owner alone."""
    target = raw / "crosswalk.parquet"
    partial = target.with_suffix(".partial")
    pq.write_table(crosswalk, partial)
    partial.chmod(0o600)
    partial.replace(target)


def write_store(
    con: duckdb.DuckDBPyConnection, store: Path, *, created: datetime, progress: bool = False
) -> int:
    """Write data/ and metadata/ of a store from `projected` and `subject_id`; fill `name`.

    Gives the number of shards; a subject is in the one that its id leaves as a remainder.
    """
    (store / "data").mkdir(parents=True, exist_ok=True)
    [(events,)] = con.execute("SELECT count(*) FROM projected").fetchall()
    shards = max(1, -(-events // EVENTS_A_SHARD))
    for shard in tqdm(range(shards), "writing", unit="shard", disable=not progress):
        table = con.sql(_SHARD, params={"shards": shards, "shard": shard}).to_arrow_table()
        write_shard(table, store / "data" / f"{shard}.parquet")
    con.execute(f"CREATE TABLE name AS {CALLED}")
    ids = con.execute("SELECT subject_id FROM subject_id ORDER BY subject_id").fetchnumpy()
    write_metadata(con, store / "metadata", assign_splits(ids["subject_id"]), created)
    return shards


def write_shard(table: pa.Table, file: Path) -> None:
    """Write events that are in order as one file of a store."""
    table = table.cast(EVENT_SCHEMA)
    DataSchema.validate(table)
    pq.write_table(table, file, compression="zstd")


def write_metadata(
    con: duckdb.DuckDBPyConnection, target: Path, splits: pd.DataFrame, created: datetime
) -> None:
    """Write codes.parquet (from `name`), the splits and dataset.json."""
    target.mkdir(parents=True, exist_ok=True)
    codes = CodeMetadataSchema.align(con.sql(_CODES).to_arrow_table())
    pq.write_table(codes, target / "codes.parquet")
    write_splits(target / "subject_splits.parquet", splits)
    dataset = {
        "dataset_name": "medweave",
        "dataset_version": created.strftime("%Y%m%dT%H%M%SZ"),
        "etl_name": "medweave",
        "etl_version": version("medweave"),
        "meds_version": _MEDS_VERSION,
        "created_at": created.isoformat(),
        **DATASET_COLUMNS,
    }
    (target / "dataset.json").write_text(json.dumps(dataset, indent=2) + "\n", "utf-8")
