"""What acting by a risk would mean at stated thresholds: whom it calls, and how often rightly.

TRIPOD+AI (Collins et al., BMJ 2024;385:e078378) asks how thresholds were found. One is for whoever
would act to choose, by what a missed patient and a false alarm cost; so several are stated, none of
them taken from the rows that are judged.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from fusion.metrics import Resamples, interval

__all__ = ["AT_THRESHOLDS", "STATED", "measure_thresholds"]

STATED = (0.05, 0.10, 0.20, 0.30)
"""Thresholds that every report has."""

AT_THRESHOLDS = ("sensitivity", "specificity", "ppv", "npv")
"""What is said of each."""


def measure_thresholds(
    risk: Float[np.ndarray, " b"],
    label: Float[np.ndarray, " b"],
    resamples: Resamples,
    *,
    own: float | np.ndarray,
) -> list[dict[str, Any]]:
    """Give `threshold`, share `called`, and AT_THRESHOLDS with 95 % intervals, by rising threshold.

    Args:
        risk: of each row.
        label: 1 or 0.
        resamples: of patients.
        own: the model's own threshold, marked `own`; one a row where folds set their own.
    """
    cuts: list[tuple[float | np.ndarray, bool]] = [(cut, False) for cut in STATED]
    cuts.append((own, True))
    return [
        {
            "threshold": float(np.mean(cut)),
            "own": mine,
            "called": float((risk >= cut).mean()),
            **_at(risk >= cut, label == 1, resamples.weights),
        }
        for cut, mine in sorted(cuts, key=lambda pair: float(np.mean(pair[0])))
    ]


def _at(
    called: np.ndarray, came: np.ndarray, weights: np.ndarray
) -> Mapping[str, dict[str, float | None]]:
    hit, missed = weights @ (called & came), weights @ (~called & came)
    alarm, left = weights @ (called & ~came), weights @ (~called & ~came)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {
            "sensitivity": hit / (hit + missed),
            "specificity": left / (left + alarm),
            "ppv": hit / (hit + alarm),
            "npv": left / (left + missed),
        }
    return {name: interval(values) for name, values in found.items()}
