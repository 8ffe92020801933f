"""An interval beside a risk: where the rate lies among those to whom a model gives that risk.

A calibrated risk of 0.2 says that of those who get it, 20 in 100 fall ill. How surely depends on
how many rows the calibrator was fitted on: it is fitted again on resamples of their patients, and
what 95 in 100 of the fits say of a risk is its interval (bootstrap, percentiles; Efron and
Tibshirani 1993).

It is no interval for the patient. Two who get the same risk may differ in what the model does not
see, and how much so cannot be found out from outcomes that happen once (Barber, "Is
distribution-free inference possible for binary regression?", 2020). In simulated hospitals, whose
true risks are known, `python -m tests.benchmarks.quality` prints how often either lies within.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Float64
from scipy.special import expit

from fusion.calibration import fit_calibrator
from fusion.metrics import draw_resamples
from fusion.prevalence import to_logit

__all__ = ["LEVEL", "Band", "fit_band", "fit_bands"]

LEVEL = 0.95
_RESAMPLES = 200
_POINTS = 81
_BEYOND = 4.0  # log odds, at either end of what was seen


@dataclass(frozen=True, kw_only=True)
class Band:
    """Hold the interval at some uncalibrated log odds; in between it is a straight line."""

    at: tuple[float, ...]
    """Rising; empty where there are too few of a class to calibrate by, and nothing is stated."""
    low: tuple[float, ...]
    """Calibrated log odds."""
    high: tuple[float, ...]

    def interval(
        self, risk: Float[np.ndarray, " b"], calibrated: Float[np.ndarray, " b"]
    ) -> Float64[np.ndarray, "b 2"]:
        """Give the interval around each calibrated risk; NaN where none is stated.

        Args:
            risk: as the model said it, uncalibrated.
            calibrated: the same, calibrated: always within.
        """
        if not self.at:
            return np.full((len(risk), 2), np.nan)
        said = to_logit(risk)
        low, high = (expit(np.interp(said, self.at, end)) for end in (self.low, self.high))
        return np.stack([np.minimum(low, calibrated), np.maximum(high, calibrated)], axis=1)

    def to_json(self) -> dict[str, Any]:
        """Give what `from_json` needs."""
        return {"at": list(self.at), "low": list(self.low), "high": list(self.high)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        return cls(**{name: tuple(map(float, content[name])) for name in ("at", "low", "high")})


def fit_band(
    risk: Float[np.ndarray, " b"],
    label: Float[np.ndarray, " b"],
    subjects: np.ndarray,
    *,
    method: str = "platt",
    seed: int = 0,
) -> Band:
    """Fit the calibrator again and again, on rows that the model has not seen.

    Args:
        risk: what the model said, uncalibrated.
        label: 0, 1 or NaN.
        subjects: whose rows they are: a patient's rows are drawn together.
        method: platt or isotonic, as the calibrator was fitted.
        seed: of the resamples.
    """
    known = np.isfinite(label)
    risk, label, subjects = risk[known], label[known], subjects[known]
    nothing = Band(at=(), low=(), high=())
    if fit_calibrator(risk, label, method=method).kind == "identity":
        return nothing
    said = to_logit(risk)
    at = np.linspace(said.min() - _BEYOND, said.max() + _BEYOND, _POINTS)
    resamples = draw_resamples(subjects, resamples=_RESAMPLES, seed=seed)
    drawn = resamples.weights[1:].astype(np.int64)  # the first are the rows themselves
    fits = []
    for weights in drawn:
        rows = np.repeat(np.arange(len(risk)), weights)
        fit = fit_calibrator(risk[rows], label[rows], method=method)
        if fit.kind != "identity":
            fits.append(to_logit(fit.apply(expit(at))))
    if len(fits) < _RESAMPLES / 2:
        return nothing
    beside = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(fits, [beside, 100 - beside], axis=0)
    return Band(at=tuple(at.tolist()), low=tuple(low.tolist()), high=tuple(high.tolist()))


def fit_bands(
    risks: Mapping[str, np.ndarray],
    labels: Float[np.ndarray, "b k"],
    subjects: np.ndarray,
    *,
    tasks: Sequence[str],
    method: str,
    seed: int,
) -> dict[str, dict[str, Band]]:
    """Fit each task's and model's band, on risks [b k]."""
    return {
        task: {
            name: fit_band(risk[:, i], labels[:, i], subjects, method=method, seed=seed)
            for name, risk in risks.items()
        }
        for i, task in enumerate(tasks)
    }
