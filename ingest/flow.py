"""Keep the flow of a cohort: who was left after each step, and what that lets one conclude."""

import math
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import polars as pl

from ingest.schema import SPLITS
from ingest.task import Task

__all__ = [
    "FEW",
    "Flow",
    "count_splits",
    "describe_flow",
    "warn_of",
    "warn_of_bare",
    "warn_of_few",
]

FEW = 20
"""With fewer of either class the flow warns of what can't be concluded."""

_MUCH_MISSING = 0.2


@dataclass(kw_only=True)
class Flow:
    """Add up the steps of each shard; a subject is in one shard alone."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    """step, rows, subjects; the last one has positives too."""

    def add(self, place: int, words: str, found: pl.DataFrame) -> None:
        """Add what one shard has left after a step; the first shard names the step."""
        if place == len(self.steps):
            self.steps.append({"step": words, "rows": 0, "subjects": 0})
        step = self.steps[place]
        step["rows"] += len(found)
        step["subjects"] += found["subject_id"].n_unique()
        if "boolean_value" in found.columns:
            step["positives"] = step.get("positives", 0) + int(found["boolean_value"].sum())


def count_splits(labels: pd.DataFrame, splits: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Count rows and positives of each split."""
    joined = labels.merge(splits, on="subject_id")
    counts = {}
    for split in SPLITS:
        part = joined[joined["split"] == split]
        counts[split] = {"rows": len(part), "positives": int(part["boolean_value"].sum())}
    return counts


def warn_of(
    task: Task, steps: list[dict[str, Any]], by_split: dict[str, dict[str, int]]
) -> list[str]:
    """Say what can't be concluded from these counts, and why."""
    last, eligible = steps[-1], steps[-2]
    positives, n = last["positives"], last["rows"]
    said = warn_of_few(positives, n - positives)
    if n < (1 - _MUCH_MISSING) * eligible["rows"]:
        lost = f"{eligible['rows'] - n} of {eligible['rows']} rows have no known label"
        if task.label_length is None:
            said.append(f"{lost}: what ends the label's window never came; are they like the rest?")
        else:
            said.append(
                f"{lost}: follow-up is too short, or the outcome is dated by month or year only; a "
                f"positive is known at once and a negative only at the end, so the base rate of "
                f"{positives / n:.3f} among labelled rows may overstate the true one (if all "
                f"others are negative: {positives / eligible['rows']:.3f})"
            )
    ahead = [w for w in task.windows if task.looks_ahead(w) and w != task.label_window]
    if ahead:
        said.append(
            f"the window {', '.join(ahead)} reaches beyond the prediction time: rows are chosen by "
            "what came later, and a risk for a new patient, of whom it is not known, means less"
        )
    return said + warn_of_bare(by_split)


def warn_of_few(positives: int, negatives: int) -> list[str]:
    """Say what can't be concluded from few of a class."""
    if min(positives, negatives) >= FEW:
        return []
    half = _auroc_half_width(positives, negatives)
    return [
        f"only {positives} positives and {negatives} negatives: fewer than {FEW} of either "
        "do not tell one model from another and say nothing of calibration; even if all rows "
        f"could judge, an AUROC of 0.75 would have a 95 % interval of about ±{half:.2f}"
    ]


def warn_of_bare(by_split: dict[str, dict[str, int]]) -> list[str]:
    """Say which splits have one class only."""
    bare = [s for s, counts in by_split.items() if counts["positives"] in (0, counts["rows"])]
    if not bare:
        return []
    shown = ", ".join(f"{s} {by_split[s]['positives']}/{by_split[s]['rows']}" for s in bare)
    return [
        f"one class only (positives/rows) in {shown}: cross-validate, or take another seed or "
        "more subjects"
    ]


def _auroc_half_width(positives: int, negatives: int, auroc: float = 0.75) -> float:
    """Half the 95 % interval after Hanley and McNeil 1982 (Radiology 143:29), at most 0.5."""
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    spread = auroc * (1 - auroc) + (positives - 1) * (q1 - auroc**2)
    spread += (negatives - 1) * (q2 - auroc**2)
    return min(0.5, 1.96 * math.sqrt(spread / (positives * negatives)))


def describe_flow(flow: dict[str, Any]) -> str:
    """Lay a flow out as text: each task's steps with their counts, its splits and its warnings."""
    lines: list[str] = []
    for task, steps in flow["tasks"].items():
        width = max(len(step["step"]) for step in steps)
        lines += [task, f"  {'':<{width}}  {'rows':>9}  {'subjects':>9}"]
        for step in steps:
            counts = f"{step['rows']:>9,}  {step['subjects']:>9,}"
            lines.append(f"  {step['step']:<{width}}  {counts}")
        positives, n = steps[-1]["positives"], steps[-1]["rows"]
        lines.append(f"  positives: {positives:,} of {n:,} ({positives / n:.1%})")
        by_split = flow["splits"][task].items()
        shown = ", ".join(f"{s} {c['positives']:,}/{c['rows']:,}" for s, c in by_split)
        lines.append(f"  positives/rows by split: {shown}")
        lines += [f"  Mind: {warning}" for warning in flow["warnings"][task]]
    return "\n".join(lines)
