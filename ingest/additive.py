"""Fit the best additive score f(events) + g(notes) + h(images) on the logit scale.

This is the ceiling of every late fusion that adds up single-modality scores. Each of f, g and h is
a smooth function of *all* sufficient statistics of its modality (h of heart and opacity jointly),
and of the modality's being missing. They are fitted by penalised Newton steps against the exact
risk, not against drawn labels, on a large sample that only the world decides: what comes out is the
additive model that is nearest to the truth in Kullback-Leibler divergence, at population level.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.special import expit
from sklearn.preprocessing import SplineTransformer

from ingest.oracle import SUBSETS, Evidence, draw, evidence, oracle
from ingest.world import World

__all__ = ["AdditiveScore", "fit_additive"]

_RIDGE = 1e-2  # against columns that hardly occur; next to nothing beside the sample's weight
_SAMPLE = 30_000
_SEED = 20_240_229


@dataclass(frozen=True, kw_only=True)
class AdditiveScore:
    """Hold a fitted additive score."""

    splines: dict[str, SplineTransformer]
    spread: tuple[float, float]
    """Mean and sd of the events' posterior variance in the sample."""
    weights: Float64[np.ndarray, " p"]

    def risk(self, known: Evidence) -> Float64[np.ndarray, " n"]:
        """Give the probability of each patient."""
        return expit(_columns(known, self.splines, self.spread) @ self.weights)


def fit_additive(world: World, sample: int = _SAMPLE) -> AdditiveScore:
    """Fit the best additive score of a world."""
    rng = np.random.default_rng(_SEED)
    known = evidence(world, draw(world, sample, rng).statistics)
    target = oracle(world, known, SUBSETS[-1:])[SUBSETS[-1]].to_numpy()  # all modalities
    splines = {
        "events": _spline(known.events_mean, 8),
        "notes": _spline(known.note_log_odds[known.has_note], 8),
        "heart": _spline(known.heart_mean[known.has_image], 7),
        "opacity": _spline(known.opacity_mean[known.has_image], 6),
    }
    spread = float(known.events_variance.mean()), float(known.events_variance.std()) or 1.0
    x = _columns(known, splines, spread)
    weights = np.zeros(x.shape[1])
    for _ in range(30):
        p = expit(x @ weights)
        slope = x.T @ (target - p) - _RIDGE * weights
        curve = (x * (p * (1 - p))[:, None]).T @ x + _RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curve, slope)
        weights = weights + step
        if np.abs(step).max() < 1e-6:
            break
    return AdditiveScore(splines=splines, spread=spread, weights=weights)


def _columns(
    known: Evidence, splines: dict[str, SplineTransformer], spread: tuple[float, float]
) -> Float64[np.ndarray, "n p"]:
    def basis(name: str, value: np.ndarray) -> np.ndarray:
        return splines[name].transform(value[:, None])

    no_note, no_image = ~known.has_note[:, None], ~known.has_image[:, None]
    events = basis("events", known.events_mean)
    uncertain = ((known.events_variance - spread[0]) / spread[1])[:, None]
    heart, opacity = basis("heart", known.heart_mean), basis("opacity", known.opacity_mean)
    images = (heart[:, :, None] * opacity[:, None, :]).reshape(len(heart), -1)
    parts = [
        # The record of an imaging study is an event: f may depend on whether there is one.
        np.concatenate([events, events * uncertain, events * no_image], axis=1),
        np.concatenate([basis("notes", known.note_log_odds) * ~no_note, no_note], axis=1),
        np.concatenate([images * ~no_image, no_image], axis=1),
    ]
    return np.concatenate(parts, axis=1)


def _spline(value: np.ndarray, knots: int) -> SplineTransformer:
    # Statements are few: on a discrete value, quantile knots can coincide, and fewer are left.
    places = np.unique(np.quantile(value, np.linspace(0, 1, knots)))
    if len(places) < 2:
        places = np.array([places[0] - 1.0, places[0] + 1.0])
    spline = SplineTransformer(degree=3, knots=places[:, None], extrapolation="linear")
    return spline.fit(value[:, None])
