"""What a run's task asks, for whoever shows its risks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion.run import read_json
from fusion.served import ServedRun
from ingest.errors import RunError
from ingest.table_task import open_task
from serve.prediction import TaskInfo

__all__ = ["describe_task"]


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
        why=served.why(name),
        evaluation=_evaluation(served.run, name, champion),
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
