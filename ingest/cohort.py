"""Build cohorts: who is judged, at what time, and what came of it.

A task file (see `ingest.task`) is run by ACES over views of the store (see `ingest.view`), one
shard at a time. What we add to ACES:

- A label that cannot be known is missing: its row is left out and counted. It is known
  if the label's event came inside the window; or if the window ran its length under observation
  (something is recorded of the subject at its end or later); or if the subject died inside it; or,
  for a window that an event ends, if that event came. Otherwise it is missing, never negative.
  Each of these must be sure: a date counts as observation from its beginning, and what is dated by
  a month or a year, which may lie before a border of the window or after it, leaves the label
  missing (see `ingest.coarse`).
- An event at the very prediction time is not the future: `time <= prediction_time` is what a model
  may see, and a label's window that would count it is refused (unless `concurrent: true`).
- `metadata.rows` keeps a subject's first or last eligible time, chosen before labels are looked at.
- `metadata.exclude_codes` is not ours to act on: whoever trains reads it from the cohort's
  `tasks/TASK.yaml` and drops events in whose code `re.search` finds one of the expressions.

What comes out is described in `ingest.labels`; `flow.json` holds, besides `tasks`, the `splits`
(rows and positives of each), `warnings` (sentences, a list for each task), and `settings`.
"""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from tqdm import tqdm

from ingest.cohort_directory import refuse_one_class, refuse_other, splits_for, write_cohort
from ingest.errors import CohortError, UsageError
from ingest.flow import Flow, count_splits, describe_flow, warn_of
from ingest.labelling import ROW, eligible_times, label_view, pick_rows
from ingest.table_task import TableTask, open_task, times_of_table_task
from ingest.task import Rows, Task, read_task
from ingest.view import read_view, shards_of

__all__ = ["build_cohort", "describe_flow", "label_subjects", "prediction_times"]


def build_cohort(
    store: Path,
    tasks: Sequence[Path],
    out: Path,
    *,
    splits: str | pd.DataFrame = "store",
    rows: Rows | None = None,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Label a store's subjects for each task and write a cohort directory; give its flow.

    An earlier cohort at `out` is replaced as a whole, once all tasks have worked.

    Args:
        store: the record store.
        tasks: ACES task files.
        out: the cohort directory to write.
        splits: "store" takes the store's own; "seed" draws them anew by `seed`; or a table of
            subject_id and split.
        rows: overrides what each task says: all, first or last of a subject's eligible times.
        seed: for splits="seed".
        progress: show a bar.

    Raises:
        CohortError: a task fits nobody, or its labels have one class only.
        StoreError: the store is missing or lacks its splits.
        UsageError: two tasks of one name, or `out` holds something else.
    """
    read = [read_task(path) for path in tasks]
    names = [task.name for task in read]
    if not read or len(set(names)) < len(names):
        raise UsageError(f"give each task once, at least one; got {', '.join(names) or 'none'}")
    refuse_other(out)
    labels: dict[str, pd.DataFrame] = {}
    flow: dict[str, Any] = {"tasks": {}, "splits": {}, "warnings": {}}
    for task in read:
        labels[task.name], steps = label_subjects(store, task, rows=rows, progress=progress)
        flow["tasks"][task.name] = steps
        _refuse_useless(task, labels[task.name], steps)
    subjects = np.unique(np.concatenate([table["subject_id"] for table in labels.values()]))
    split = splits_for(store, subjects, splits, seed)
    for task in read:
        by_split = count_splits(labels[task.name], split)
        flow["splits"][task.name] = by_split
        flow["warnings"][task.name] = warn_of(task, flow["tasks"][task.name], by_split)
    flow["settings"] = {
        "rows": {task.name: rows or task.settings.rows for task in read},
        "splits": splits if isinstance(splits, str) else "given",
        "seed": seed,
    }

    def write_tasks(folder: Path) -> None:
        for task in read:
            shutil.copyfile(task.path, folder / "tasks" / f"{task.name}.yaml")

    write_cohort(out, labels, split, flow, write_tasks=write_tasks)
    return flow


def label_subjects(
    store: Path, task: Task, *, rows: Rows | None = None, progress: bool = False
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Label a store for one task: subject_id, prediction_time, boolean_value; and the flow."""
    flow = Flow()
    parts = []
    for shard in tqdm(shards_of(store), desc=f"cohort {task.name}", disable=not progress):
        view = read_view(shard, task, outcomes=True)
        parts.append(label_view(view, task, rows or task.settings.rows, flow))
    labels = pl.concat(parts).sort(ROW).to_pandas()
    return labels, flow.steps


def prediction_times(
    store: Path | Any,
    task: Path,
    subject_ids: Iterable[int] | None = None,
    *,
    rows: Rows | None = None,
) -> pd.DataFrame:
    """Give subject_id and prediction_time of those to whom a task applies, with no look ahead.

    The task's trigger and windows as far as they are over at the prediction time, judged by what
    was known then; no follow-up is asked for. A time can lie after the last thing that is recorded.
    Where the labels came from a table, its task file says when (see `ingest.table_task`).

    Args:
        store: the record store: its directory, or an object with a `path`.
        task: the task file, ACES's or a table's.
        subject_ids: only these subjects.
        rows: overrides what the task says: all, first or last of a subject's times.
    """
    checked, place = open_task(task), Path(getattr(store, "path", store))
    if isinstance(checked, TableTask):
        return times_of_table_task(place, checked, subject_ids, rows=rows)
    windows = [w for w in checked.windows if not checked.looks_ahead(w)]
    windows = [w for w in windows if not checked.needs_label(w)]
    wanted = None if subject_ids is None else [int(subject) for subject in subject_ids]
    parts = []
    for shard in shards_of(place):
        view = read_view(shard, checked, outcomes=False, subject_ids=wanted)
        found = eligible_times(view, checked, windows)
        parts.append(pick_rows(found, rows or checked.settings.rows).select(ROW))
    return pl.concat(parts).sort(ROW).to_pandas()


def _refuse_useless(task: Task, labels: pd.DataFrame, steps: list[dict[str, Any]]) -> None:
    if labels.empty:
        counts = "; ".join(f"{step['step']}: {step['rows']}" for step in steps)
        raise CohortError(
            f"task {task.name} fits nobody; rows left after each step: {counts}. Do the task's "
            "codes occur in the store's metadata/codes.parquet?"
        )
    refuse_one_class(task.name, labels)
