"""Write a cohort directory, whichever way its labels were made, and say who is in which split."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from ingest.errors import CohortError, StoreError, UsageError
from ingest.labels import write_labels, write_splits
from ingest.schema import SPLITS
from ingest.splits import assign_splits

__all__ = ["refuse_one_class", "refuse_other", "splits_for", "write_cohort"]


def splits_for(
    store: Path, subjects: np.ndarray, splits: str | pd.DataFrame, seed: int
) -> pd.DataFrame:
    """Give subject_id and split of each subject, sorted.

    Args:
        store: the record store.
        subjects: [n] their ids, each once.
        splits: "store" takes the store's own; "seed" draws them anew; or a table of both columns.
        seed: for "seed".

    Raises:
        StoreError: the store has none.
        CohortError: not each subject is named, and named once, or a split is none.
    """
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


def refuse_one_class(task: str, labels: pd.DataFrame) -> None:
    """Refuse labels of which all are alike.

    Raises:
        CohortError: they are.
    """
    positives, n = int(labels["boolean_value"].sum()), len(labels)
    if positives in (0, n):
        raise CohortError(
            f"task {task} has one class only: {positives} positives and {n - positives} "
            f"negatives among {n} rows of {labels['subject_id'].nunique()} subjects; nothing can "
            "be learnt or judged without both"
        )


def refuse_other(out: Path) -> None:
    """Refuse to write a cohort over what is none.

    Raises:
        UsageError: `out` is a directory of something else, or a file.
    """
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or _is_cohort(out))):
        raise UsageError(f"{out} is there and is no cohort; give a new directory")


def write_cohort(
    out: Path,
    labels: Mapping[str, pd.DataFrame],
    splits: pd.DataFrame,
    flow: dict[str, Any],
    *,
    write_tasks: Callable[[Path], None],
) -> None:
    """Write beside `out`, then swap, so that a failure leaves the old cohort as it was.

    `write_tasks` gets the new directory, and writes tasks/TASK.yaml for each task there.
    """
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        for task, table in labels.items():
            write_labels(fresh / "labels" / f"{task}.parquet", table)
        (fresh / "tasks").mkdir()
        write_tasks(fresh)
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


def _is_cohort(path: Path) -> bool:
    return (path / "flow.json").is_file() and (path / "labels").is_dir()
