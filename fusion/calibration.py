"""Calibration: from what a model says to how often it happens, fitted on the calibration split.

Platt's line on the log odds, held back towards leaving the score as it is, so that a handful of
rows cannot bend it; isotonic steps only where there are rows enough to place them. Either never
changes the order of two patients, and never says 0 or 1.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Float64
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from fusion.prevalence import clip_risk, to_logit

__all__ = ["ISOTONIC_ROWS", "Calibrator", "fit_calibrator"]

ISOTONIC_ROWS = 1000
"""Below this many rows isotonic regression overfits (Niculescu-Mizil and Caruana, ICML 2005)."""

_FEWEST = 5
"""Of either class; below it the scores are left as they are."""

_PULL_ROWS = 3.0
"""The pull towards slope 1 and intercept 0 is worth as much as this many rows."""

_TILT = 1e-3
"""Isotonic steps are flat; this much of the score's own slope keeps the order within a step."""


@dataclass(frozen=True, kw_only=True)
class Calibrator:
    """Map a risk to a calibrated risk, monotonically."""

    kind: str
    """identity, platt or isotonic."""

    slope: float = 1.0
    intercept: float = 0.0
    steps: tuple[tuple[float, float], ...] = ()
    """Isotonic: log odds said and rate found, both rising; in between a straight line."""

    def __post_init__(self) -> None:
        if self.kind not in ("identity", "platt", "isotonic"):
            raise ValueError(f"kind must be identity, platt or isotonic; got {self.kind!r}")
        if self.slope <= 0:
            raise ValueError(f"slope must be positive, else patients swap; got slope={self.slope}")

    def apply(self, risk: Float[np.ndarray, " b"]) -> Float64[np.ndarray, " b"]:
        """Calibrate; strictly between 0 and 1."""
        said = to_logit(risk)
        if self.kind == "platt":
            return clip_risk(expit(self.slope * said + self.intercept))
        if self.kind == "isotonic":
            at, rate = np.array(self.steps).T
            steps = to_logit(np.interp(said, at, rate))
            return clip_risk(expit(steps + _TILT * (said - at.mean())))
        return clip_risk(risk)

    def to_json(self) -> dict[str, Any]:
        """Give what `from_json` needs."""
        return {
            "kind": self.kind,
            "slope": self.slope,
            "intercept": self.intercept,
            "steps": [list(step) for step in self.steps],
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        steps = tuple((float(at), float(rate)) for at, rate in content["steps"])
        return cls(
            kind=content["kind"],
            slope=content["slope"],
            intercept=content["intercept"],
            steps=steps,
        )


def fit_calibrator(
    risk: Float[np.ndarray, " b"], label: Float[np.ndarray, " b"], *, method: str = "platt"
) -> Calibrator:
    """Fit on rows that the model has not seen; rows whose label is NaN are left out.

    Args:
        risk: what the model said.
        label: 0, 1 or NaN.
        method: platt, or isotonic, which is taken only from ISOTONIC_ROWS rows on.
    """
    if method not in ("platt", "isotonic"):
        raise ValueError(f"method must be platt or isotonic; got {method!r}")
    known = np.isfinite(label)
    said, y = to_logit(risk[known]), np.asarray(label[known], np.float64)
    if min((y == 1).sum(), (y == 0).sum()) < _FEWEST:
        return Calibrator(kind="identity")
    if method == "isotonic" and len(y) >= ISOTONIC_ROWS:
        return _isotonic(said, y)
    return _platt(said, y)


def _platt(said: np.ndarray, y: np.ndarray) -> Calibrator:
    # Platt's targets: half a row of doubt for each class.
    positive, negative = y.sum(), (1 - y).sum()
    target = np.where(y == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    # A model that says the same of everybody (prevalence) has nothing to tilt.
    varied = bool(np.ptp(said) > 1e-9)
    # A row at risk p tells p(1-p) of the intercept and p(1-p) (distance)^2 of the slope.
    told = _PULL_ROWS * y.mean() * (1 - y.mean())
    spread = float(said.var())

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope, intercept = parameters
        logits = slope * said + intercept
        risk = expit(logits)
        off = risk - target
        value = float((np.logaddexp(0, logits) - target * logits).sum())
        value += 0.5 * told * (spread * (slope - 1) ** 2 + intercept**2)
        gradient = [off @ said + told * spread * (slope - 1), off.sum() + told * intercept]
        return value, np.array(gradient)

    bounds = [(0.05, 20.0) if varied else (1.0, 1.0), (None, None)]
    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds)
    return Calibrator(kind="platt", slope=float(found.x[0]), intercept=float(found.x[1]))


def _isotonic(said: np.ndarray, y: np.ndarray) -> Calibrator:
    fitted = IsotonicRegression(out_of_bounds="clip").fit(said, y)
    at = np.asarray(fitted.X_thresholds_, np.float64)
    # A step at 0 or 1 claims certainty; half a row of doubt at either end.
    doubt = 0.5 / len(y)
    rate = np.clip(np.asarray(fitted.y_thresholds_, np.float64), doubt, 1 - doubt)
    steps = tuple(zip(at.tolist(), rate.tolist(), strict=True))
    return Calibrator(kind="isotonic", steps=steps)
