"""Write small stores by hand, so that cohorts can be tested without ingest."""

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.cohort import label_subjects
from ingest.labels import write_splits
from ingest.schema import EVENT_SCHEMA
from ingest.splits import assign_splits
from ingest.task import read_task


def at(value) -> datetime | None:
    """Read a time as a YAML file or a test has it."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def write_store(folder: Path, events: list[tuple], shards: int = 1) -> Path:
    """Write a store's shards and splits from tuples.

    Each is (subject, time, code[, occurred[, numeric_value[, time_from[, occurred_from]]]]).
    """
    rows = [
        {
            "subject_id": subject,
            "time": at(time),
            "code": code,
            "occurred": at(rest[0]) if rest else at(time),
            "numeric_value": rest[1] if len(rest) > 1 else None,
            "time_from": at(rest[2]) if len(rest) > 2 else None,
            "occurred_from": at(rest[3]) if len(rest) > 3 else None,
        }
        for subject, time, code, *rest in events
    ]
    rows.sort(key=lambda row: (row["subject_id"], str(row["time"] or "")))
    store = folder / "store"
    for shard in range(shards):
        part = [row for row in rows if row["subject_id"] % shards == shard]
        table = pa.Table.from_pylist(part, schema=EVENT_SCHEMA)
        (store / "data").mkdir(parents=True, exist_ok=True)
        pq.write_table(table, store / "data" / f"{shard}.parquet")
    subjects = sorted({row["subject_id"] for row in rows})
    write_splits(store / "metadata" / "subject_splits.parquet", assign_splits(subjects))
    return store


def label(store: Path, task: Path) -> list[tuple]:
    """Label a store: (subject, prediction time, label), sorted."""
    labels, _ = label_subjects(store, read_task(task))
    return [
        (int(subject), time.to_pydatetime(), bool(value))
        for subject, time, value in labels.itertuples(index=False)
    ]
