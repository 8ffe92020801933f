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

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
from tqdm import tqdm

from ingest.errors import CohortError, StoreError, UsageError
from ingest.flow import Flow, count_splits, describe_flow, warn_of
from ingest.labelling import ROW, eligible_times, label_view, pick_rows
from ingest.labels import write_labels, write_splits
from ingest.schema import SPLITS
from ingest.splits import assign_splits
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
    _refuse_other(out)
    labels: dict[str, pd.DataFrame] = {}
    flow: dict[str, Any] = {"tasks": {}, "splits": {}, "warnings": {}}
    for task in read:
        labels[task.name], steps = label_subjects(store, task, rows=rows, progress=progress)
        flow["tasks"][task.name] = steps
        _refuse_useless(task, labels[task.name], steps)
    subjects = np.unique(np.concatenate([table["subject_id"] for table in labels.values()]))
    split = _splits_for(store, subjects, splits, seed)
    for task in read:
        by_split = count_splits(labels[task.name], split)
        flow["splits"][task.name] = by_split
        flow["warnings"][task.name] = warn_of(task, flow["tasks"][task.name], by_split)
    flow["settings"] = {
        "rows": {task.name: rows or task.settings.rows for task in read},
        "splits": splits if isinstance(splits, str) else "given",
        "seed": seed,
    }
    _write(out, read, labels, split, flow)
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

    Args:
        store: the record store: its directory, or an object with a `path`.
        task: the ACES task file.
        subject_ids: only these subjects.
        rows: overrides what the task says: all, first or last of a subject's times.
    """
    checked = read_task(task)
    windows = [w for w in checked.windows if not checked.looks_ahead(w)]
    windows = [w for w in windows if not checked.needs_label(w)]
    wanted = None if subject_ids is None else [int(subject) for subject in subject_ids]
    parts = []
    for shard in shards_of(Path(getattr(store, "path", store))):
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
    positives, n = int(labels["boolean_value"].sum()), len(labels)
    if positives in (0, n):
        raise CohortError(
            f"task {task.name} has one class only: {positives} positives and {n - positives} "
            f"negatives among {n} rows of {labels['subject_id'].nunique()} subjects; nothing can "
            "be learnt or judged without both"
        )


def _splits_for(
    store: Path, subjects: np.ndarray, splits: str | pd.DataFrame, seed: int
) -> pd.DataFrame:
    if isinstance(splits, pd.DataFrame):
        known = splits
    elif splits == "seed":
        return assign_splits(subjects, seed=seed)
    elif splits == "store":
        path = store / "metadata" / "subject_splits.parquet"
        if not path.is_file():
            raise StoreError(f"{path} is not there; split anew with --seed, or run ingest again")
        known = pq.read_table(path).to_pandas()
    else:
        raise ValueError(f"splits must be 'store', 'seed' or a table; got {splits!r}")
    kept = known[known["subject_id"].isin(subjects)][["subject_id", "split"]]
    if kept["subject_id"].nunique() != len(subjects) or len(kept) != len(subjects):
        raise CohortError(
            f"the splits must name each subject once; they name {kept['subject_id'].nunique()} of "
            f"{len(subjects)} in {len(kept)} rows"
        )
    unknown = sorted(set(kept["split"]) - set(SPLITS))
    if unknown:
        raise CohortError(f"splits must be of {', '.join(SPLITS)}; got {', '.join(unknown)}")
    return kept.sort_values("subject_id").reset_index(drop=True)


def _refuse_other(out: Path) -> None:
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or _is_cohort(out))):
        raise UsageError(f"{out} is there and is no cohort; give a new directory")


def _is_cohort(path: Path) -> bool:
    return (path / "flow.json").is_file() and (path / "labels").is_dir()


def _write(
    out: Path,
    tasks: list[Task],
    labels: dict[str, pd.DataFrame],
    splits: pd.DataFrame,
    flow: dict[str, Any],
) -> None:
    """Write beside `out`, then swap, so that a failure leaves the old cohort as it was."""
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        for task in tasks:
            write_labels(fresh / "labels" / f"{task.name}.parquet", labels[task.name])
            (fresh / "tasks").mkdir(exist_ok=True)
            shutil.copyfile(task.path, fresh / "tasks" / f"{task.name}.yaml")
        write_splits(fresh / "splits.parquet", splits)
        text = json.dumps(flow, indent=2, sort_keys=True, ensure_ascii=False)
        (fresh / "flow.json").write_text(text + "\n", "utf-8")
        fresh.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        fresh.rename(out)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
