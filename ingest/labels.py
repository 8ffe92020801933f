"""Contract 2, the labels: one MEDS label file a task, and the split of each subject.

    cohort/
      labels/TASK.parquet     MEDS labels: subject_id, prediction_time, boolean_value
      tasks/TASK.yaml         the ACES task that made them, or the table that they came from
      times/TASK.parquet      of a table that gave prediction times: subject_id, prediction_time
      splits.parquet          MEDS splits: subject_id, split
      flow.json               {"tasks": {TASK: [{"step": words, "rows": n, "subjects": n}, …]}}

MEDS allows a label no null, so a label that cannot be known (follow-up too short) is a row that is
not there; tasks are joined on subject_id and prediction_time, and a gap is a missing label.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from meds import LabelSchema, SubjectSplitSchema

from ingest.errors import CohortError
from ingest.schema import SPLITS

__all__ = ["Cohort", "read_cohort", "write_labels", "write_splits"]


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Hold the rows to learn from or to judge on, for k tasks."""

    tasks: tuple[str, ...]
    """Task names, sorted."""

    index: pd.DataFrame
    """[b] subject_id, prediction_time, split; sorted by subject and time, index 0..b-1."""

    labels: np.ndarray
    """[b k] float32: 1, 0, or NaN where the label cannot be known."""

    def rows(self, split: str) -> np.ndarray:
        """Give the positions of a split's rows."""
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
        return np.flatnonzero(self.index["split"].to_numpy() == split)


def write_labels(path: Path, labels: pd.DataFrame) -> None:
    """Write one task's labels as a valid MEDS label file, sorted by subject and prediction time."""
    table = pa.table(
        {
            "subject_id": pa.array(labels["subject_id"], pa.int64()),
            "prediction_time": pa.array(labels["prediction_time"], pa.timestamp("us")),
            "boolean_value": pa.array(labels["boolean_value"].astype(bool), pa.bool_()),
        }
    ).sort_by([("subject_id", "ascending"), ("prediction_time", "ascending")])
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(LabelSchema.align(table), path)


def write_splits(path: Path, splits: pd.DataFrame) -> None:
    """Write subject_id and split as a valid MEDS split file, sorted by subject."""
    table = pa.table(
        {
            "subject_id": pa.array(splits["subject_id"], pa.int64()),
            "split": pa.array(splits["split"], pa.string()),
        }
    ).sort_by("subject_id")
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(SubjectSplitSchema.align(table), path)


def read_cohort(path: Path) -> Cohort:
    """Join a cohort directory's label files and splits into one table.

    Raises:
        CohortError: no label file, no row, or a subject without a split.
    """
    files = sorted((path / "labels").glob("*.parquet"))
    if not files or not (path / "splits.parquet").is_file():
        raise CohortError(
            f"{path} is not a cohort: it needs labels/TASK.parquet and splits.parquet"
        )
    keys = ["subject_id", "prediction_time"]
    joined: pd.DataFrame | None = None
    for file in files:
        labels = pq.read_table(file).to_pandas()
        labels = labels[[*keys, "boolean_value"]].rename(columns={"boolean_value": file.stem})
        labels[file.stem] = labels[file.stem].astype(np.float32)
        joined = labels if joined is None else joined.merge(labels, on=keys, how="outer")
    assert joined is not None  # noqa: S101 - files is not empty
    if joined.empty:
        raise CohortError(f"{path} has no row: no subject fits the task")
    splits = pq.read_table(path / "splits.parquet").to_pandas()
    joined = (
        joined.merge(splits, on="subject_id", how="left").sort_values(keys).reset_index(drop=True)
    )
    if joined["split"].isna().any():
        raise CohortError(
            f"{path}/splits.parquet lacks {int(joined['split'].isna().sum())} of the rows"
        )
    tasks = tuple(file.stem for file in files)
    return Cohort(
        tasks=tasks,
        index=joined[[*keys, "split"]],
        labels=joined[list(tasks)].to_numpy(np.float32),
    )
