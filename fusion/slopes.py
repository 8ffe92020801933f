"""Intervals of calibration slope and intercept, all resamples of patients at once.

The line is that of `fusion.metrics.calibration_line`: the label regressed on the risk's log odds,
and the intercept with the slope held at 1. Both are found by Newton's steps, a few matrix products
for a thousand resamples.
"""

import numpy as np
from jaxtyping import Float
from scipy.special import expit, logit

from fusion.metrics import Resamples, interval
from fusion.prevalence import clip_risk

__all__ = ["calibration_intervals"]

_STEPS = 40
_FARTHEST = 20.0
"""A slope or an intercept beyond it is no number: the labels are separated."""
_AT_ONCE = 4_000_000  # weights in memory at a time: 32 MB


def calibration_intervals(
    risk: Float[np.ndarray, " b"], label: Float[np.ndarray, " b"], resamples: Resamples
) -> dict[str, dict[str, float | None]]:
    """Give `slope` and `intercept` with their 95 % intervals; None as `calibration_line` has it."""
    said = logit(clip_risk(risk))
    weights = resamples.weights
    nothing = {"value": None, "low": None, "high": None}
    if not 0 < label.sum() < len(label):
        return {"slope": dict(nothing), "intercept": dict(nothing)}
    step = max(1, _AT_ONCE // max(1, len(label)))
    chunks = [weights[start : start + step] for start in range(0, len(weights), step)]
    found = {"intercept": interval(np.concatenate([_intercept(said, label, w) for w in chunks]))}
    found["slope"] = dict(nothing)
    if np.ptp(said) >= 1e-9:
        found["slope"] = interval(np.concatenate([_slope(said, label, w) for w in chunks]))
    return found


def _intercept(said: np.ndarray, label: np.ndarray, weights: np.ndarray) -> np.ndarray:
    a = np.zeros(len(weights))
    for _ in range(_STEPS):
        p = expit(said + a[:, None])
        with np.errstate(invalid="ignore", divide="ignore"):
            move = (weights * (label - p)).sum(axis=1) / (weights * p * (1 - p)).sum(axis=1)
        a = np.where(np.abs(a) < _FARTHEST, a + np.clip(move, -2, 2), np.nan)
        if not np.nanmax(np.abs(move), initial=0) > 1e-9:
            break
    return _settled(a, weights, label)


def _slope(said: np.ndarray, label: np.ndarray, weights: np.ndarray) -> np.ndarray:
    slope, a = np.ones(len(weights)), np.zeros(len(weights))
    for _ in range(_STEPS):
        p = expit(slope[:, None] * said + a[:, None])
        off, curve = weights * (label - p), weights * p * (1 - p)
        # Newton's step of two parameters: the inverse of a two by two matrix, written out.
        g, h = off @ said, off.sum(axis=1)
        ss, s, one = curve @ said**2, curve @ said, curve.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            area = ss * one - s * s
            move_slope, move_a = (one * g - s * h) / area, (ss * h - s * g) / area
        near = (np.abs(slope) < _FARTHEST) & (np.abs(a) < 2 * _FARTHEST)
        slope = np.where(near, slope + np.clip(move_slope, -2, 2), np.nan)
        a = np.where(near, a + np.clip(move_a, -2, 2), np.nan)
        if not np.nanmax(np.abs([move_slope, move_a]), initial=0) > 1e-9:
            break
    return _settled(slope, weights, label)


def _settled(found: np.ndarray, weights: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Leave out the resamples of one class: they have no line."""
    positives = weights @ label
    both = (positives > 0) & (positives < weights.sum(axis=1))
    return np.where(both & (np.abs(found) < _FARTHEST), found, np.nan)
