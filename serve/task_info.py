"""What a run's task asks, for whoever shows its risks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64

from fusion.run import read_json
from fusion.served import ServedRun
from ingest.errors import InputError, RunError
from ingest.table_task import TableTask, open_task
from serve.prediction import TaskInfo

__all__ = ["describe_task", "tell_untimed"]


def describe_task(served: ServedRun, name: str) -> TaskInfo:
    """Say what a task of a run asks, who answers it, and how well it did on held_out."""
    task = open_task(served.run / "tasks" / f"{name}.yaml")
    length = task.label_length
    champion = served.champion(name)
    return TaskInfo(
        name=name,
        title=task.settings.title or name.replace("_", " "),
        description=" ".join(task.settings.description.split()),
        horizon_days=task.settings.horizon_days or (length.days if length else None),
        concurrent=task.settings.concurrent,
        base_rate=float(served.prevalence[name]),
        champion=champion,
        compared=served.compared(name),
        asked_for=read_json(served.run / "run.json", "champion")["champion"] is not None,
        evaluation=_evaluation(served.run, name, champion),
    )


def tell_untimed(
    task_file: Path, subjects: Int64[np.ndarray, " n"], asked: pd.DataFrame
) -> str | None:
    """Say of how many nobody knows when to ask, where a table of labels gave the times.

    Args:
        task_file: the task's.
        subjects: of the store.
        asked: subject_id of those of whom it is known.

    Raises:
        InputError: it is known of nobody.
    """
    task = open_task(task_file)
    if not isinstance(task, TableTask) or task.source.prediction_time != "given":
        return None
    untimed = len(subjects) - asked["subject_id"].nunique()
    if untimed and asked.empty:
        raise InputError(
            f"{task.name} was learnt from a table of labels that gave each prediction time, and it "
            "names none of this store's subjects; give a time with --at"
        )
    if not untimed:
        return None
    return (
        f"{task.name}: the table of labels gave the prediction times, and none of {untimed} of "
        f"{len(subjects)} subjects, who get no risk here; --at gives everybody one"
    )


def _evaluation(run: Path, task: str, champion: str) -> Mapping[str, Any] | None:
    file = run / "metrics.json"
    if not file.is_file():
        return None
    metrics = read_json(file, "split", "tasks")
    try:
        found = metrics["tasks"].get(task)
        if metrics["split"] != "held_out" or not found or champion not in found["models"]:
            return None
        return {
            "n": found["n"],
            "positives": found["positives"],
            "metrics": found["models"][champion],
        }
    except (AttributeError, KeyError, TypeError):
        raise RunError(f"{file} is not what `medweave evaluate` writes; evaluate again") from None
