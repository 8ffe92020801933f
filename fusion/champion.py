"""The honest champion: per task, the simplest model within one standard error of the best."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from fusion.prevalence import clip_risk

__all__ = ["FEWEST_TO_CHOOSE", "Choice", "choose_champion", "row_losses", "youden_threshold"]

FEWEST_TO_CHOOSE = 2
"""Rows of either class without which a log-loss says nothing of a model."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Say which model serves a task, and why."""

    model: str
    why: str
    losses: dict[str, float]
    """Mean log-loss of each model on the rows that chose."""

    behind: dict[str, tuple[float, float]]
    """Each model's mean paired difference to the best, and that difference's standard error."""


def row_losses(
    risk: Float[np.ndarray, " b"], label: Float[np.ndarray, " b"]
) -> Float64[np.ndarray, " b"]:
    """Give each row's log-loss in nats."""
    risk = clip_risk(risk)
    return -np.where(label == 1, np.log(risk), np.log1p(-risk))


def choose_champion(
    task: str,
    risks: dict[str, np.ndarray],
    label: Float[np.ndarray, " b"],
    *,
    subjects: np.ndarray | None = None,
    rows_name: str = "tuning",
    forced: str | None = None,
) -> Choice:
    """Choose among `risks` (name to calibrated risk [b], simplest first).

    The best has the lowest mean log-loss; the champion is the first in order whose loss is above
    the best's by no more than one standard error of the paired difference (of subjects' sums where
    subjects come more than once). Rows whose label is NaN are left out.
    """
    if not risks:
        raise ValueError("there is no model to choose from")
    if forced is not None and forced not in risks:
        raise ValueError(f"champion must be one of {', '.join(risks)}; got {forced!r}")
    known = np.isfinite(label)
    y = label[known]
    groups = np.arange(len(y)) if subjects is None else np.asarray(subjects)[known]
    positives, negatives = int((y == 1).sum()), int((y == 0).sum())
    simplest = next(iter(risks))
    if min(positives, negatives) < FEWEST_TO_CHOOSE:
        name = forced or simplest
        why = (
            f"{task}: {name} serves "
            + ("(asked for; " if forced else "(the simplest; ")
            + f"{positives} positives and {negatives} negatives in {rows_name} are too few to "
            f"choose by, {FEWEST_TO_CHOOSE} of each are needed)"
        )
        return Choice(model=name, why=why, losses={}, behind={})
    losses = {name: row_losses(risk[known], y) for name, risk in risks.items()}
    means = {name: float(loss.mean()) for name, loss in losses.items()}
    best = min(means, key=lambda name: means[name])
    behind = {name: _paired(loss - losses[best], groups) for name, loss in losses.items()}
    name = forced or next(n for n in risks if behind[n][0] <= behind[n][1])
    error = _paired(losses[name], groups)[1]
    said = f"{task}: {name} serves ({rows_name} log-loss {means[name]:.3f} ± {error:.3f}"
    others = [n for n in risks if n != name]
    if forced is not None:
        why = f"{said}; asked for"
        why += "" if name == best else f"; best is {best}, {means[best]:.3f}"
    elif name != best:
        why = (
            f"{said}; {best} {means[best]:.3f} is better by {behind[name][0]:.3f}, not more than "
            f"one standard error of {behind[name][1]:.3f}, and {name} is simpler"
        )
    elif others:
        second = min(others, key=lambda n: means[n])
        why = f"{said}; best, before {second} {means[second]:.3f}, and no simpler model is within "
        why += "one standard error"
    else:
        why = f"{said}; the only model"
    return Choice(model=name, why=why + ")", losses=means, behind=behind)


def youden_threshold(risk: Float[np.ndarray, " b"], label: Float[np.ndarray, " b"]) -> float:
    """Give the threshold that makes sensitivity plus specificity largest (risk >= threshold).

    It lies midway between two neighbouring risks. Where there is one class only it is the rate.

    >>> youden_threshold(np.array([0.1, 0.2, 0.6, 0.8]), np.array([0, 0, 1, 1.0]))
    0.4
    """
    known = np.isfinite(label)
    risk, y = clip_risk(risk[known]), label[known]
    positives = int((y == 1).sum())
    if positives in (0, len(y)):
        return float(np.clip(positives / len(y) if len(y) else 0.5, 1e-6, 1 - 1e-6))
    values = np.unique(risk)
    cuts = np.concatenate([[values[0]], (values[:-1] + values[1:]) / 2])
    caught, alarmed = (
        1 - np.searchsorted(np.sort(risk[y == value]), cuts, "left") / (y == value).sum()
        for value in (1, 0)
    )
    return float(np.round(cuts[int(np.argmax(caught - alarmed))], 10))


def _paired(difference: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Give the mean over rows and its standard error, clustered by subject."""
    _, inverse = np.unique(groups, return_inverse=True)
    mean = float(difference.mean())
    sums = np.bincount(inverse, difference - mean)
    clusters = len(sums)
    if clusters < 2:
        return mean, float("inf")
    spread = float(np.sqrt((sums**2).sum() * clusters / (clusters - 1))) / len(difference)
    return mean, spread
