"""Metrics with bootstrap intervals by patient, all resamples at once.

A resample is a weight a row (how often its patient was drawn), so that each metric is written once,
for weights, and a thousand resamples are a matrix. AUROC is the Mann-Whitney statistic with ties
counted half; AUPRC is average precision; ECE uses ten bins of equal size, placed on the whole set.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from fusion.prevalence import clip_risk

__all__ = [
    "METRICS",
    "Resamples",
    "calibration_line",
    "draw_resamples",
    "interval",
    "measure",
    "paired",
    "share",
]

METRICS = ("auroc", "auprc", "logloss", "brier", "ece", "sensitivity", "specificity", "f1")

_BINS = 10
_AT_ONCE = 4_000_000  # weights in memory at a time: 32 MB


@dataclass(frozen=True, kw_only=True)
class Resamples:
    """Hold how often each row was drawn; the first is the set itself."""

    weights: Float64[np.ndarray, "r b"]


def draw_resamples(subjects: np.ndarray, *, resamples: int, seed: int) -> Resamples:
    """Draw patients with replacement, all of a patient's rows together."""
    unique, inverse = np.unique(subjects, return_inverse=True)
    n = len(unique)
    if not n:
        return Resamples(weights=np.zeros((resamples + 1, 0)))
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    weights = np.concatenate([np.ones((1, n)), drawn]).astype(np.float64)
    return Resamples(weights=weights[:, inverse])


def measure(
    risk: Float[np.ndarray, " b"],
    label: Float[np.ndarray, " b"],
    resamples: Resamples,
    *,
    threshold: float | np.ndarray | None,
) -> dict[str, dict[str, float | None]]:
    """Give each metric's value and its 95 % percentile interval.

    A threshold may be one for all or one a row. None where a metric is not defined: one class in
    the set, or no threshold. An interval is None where more than one resample in ten has no value.
    """
    found = _all_metrics(risk, label, resamples.weights, threshold)
    return {name: interval(values) for name, values in found.items()}


def paired(
    metric: str,
    risk: Float[np.ndarray, " b"],
    other: Float[np.ndarray, " b"],
    label: Float[np.ndarray, " b"],
    resamples: Resamples,
) -> dict[str, float | None]:
    """Give `risk`'s metric minus `other`'s with its interval, on the same resamples."""
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}; got {metric!r}")
    mine, theirs = (_all_metrics(r, label, resamples.weights, None)[metric] for r in (risk, other))
    return interval(mine - theirs)


def share(
    hit: Bool[np.ndarray, " b"],
    resamples: Resamples,
    *,
    among: Bool[np.ndarray, " b"] | None = None,
) -> dict[str, float | None]:
    """Give the share of rows that are hit, of all or among some, with its interval.

    None where there is nobody; the interval is None where that is so of one resample in ten.
    """
    counted = np.ones(len(hit)) if among is None else among.astype(np.float64)
    hits, total = resamples.weights @ (counted * hit), resamples.weights @ counted
    with np.errstate(invalid="ignore", divide="ignore"):
        return interval(hits / total)


def calibration_line(
    risk: Float[np.ndarray, " b"], label: Float[np.ndarray, " b"]
) -> dict[str, float | None]:
    """Give calibration slope and intercept: of labels regressed on the risk's log odds.

    The intercept is that of calibration in the large: with the slope held at 1. None with one
    class, or where all risks are the same (slope).
    """
    from scipy.optimize import brentq, minimize
    from scipy.special import expit, logit

    said = logit(clip_risk(risk))
    if not 0 < label.sum() < len(label):
        return {"slope": None, "intercept": None}
    large = brentq(lambda a: float((expit(said + a) - label).sum()), -40, 40)
    if np.ptp(said) < 1e-9:
        return {"slope": None, "intercept": float(large)}

    def loss(p: np.ndarray) -> tuple[float, np.ndarray]:
        logits = p[0] * said + p[1]
        off = expit(logits) - label
        value = (np.logaddexp(0, logits) - label * logits).mean()
        return float(value), np.array([(off * said).mean(), off.mean()])

    bounds = [(-20, 20), (-40, 40)]  # perfectly separated labels have no finite slope
    fitted = minimize(loss, np.array([1.0, large]), jac=True, method="L-BFGS-B", bounds=bounds)
    return {"slope": float(fitted.x[0]), "intercept": float(large)}


def interval(values: np.ndarray) -> dict[str, float | None]:
    """Give the first value, which is the set's own, and the 95 % interval of those resampled."""
    value, drawn = values[0], values[1:]
    known = drawn[np.isfinite(drawn)]
    low = high = None
    if np.isfinite(value) and len(drawn) and len(known) >= 0.9 * len(drawn):
        low, high = (float(x) for x in np.percentile(known, [2.5, 97.5]))
    return {"value": float(value) if np.isfinite(value) else None, "low": low, "high": high}


def _all_metrics(
    risk: np.ndarray, label: np.ndarray, weights: np.ndarray, threshold: float | np.ndarray | None
) -> dict[str, np.ndarray]:
    """Give each metric for each row of weights, in chunks that fit in memory."""
    if len(risk) != len(label) or weights.shape[1] != len(label):
        raise ValueError(
            "risk, label and weights must have a value a row; got "
            f"risk={len(risk)}, label={len(label)}, weights={weights.shape[1]}"
        )
    if not len(label):
        return {name: np.full(len(weights), np.nan) for name in METRICS}
    if not np.isfinite(label).all():
        raise ValueError("labels that are not known must be left out before measuring")
    step = max(1, _AT_ONCE // max(1, len(label)))
    prepared = _Prepared.of(np.asarray(risk, np.float64), np.asarray(label, np.float64))
    chunks = [
        _metrics(prepared, weights[start : start + step], threshold)
        for start in range(0, len(weights), step)
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in METRICS}


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """Rows sorted by falling risk, with where each run of equal risks starts."""

    order: np.ndarray
    risk: np.ndarray
    label: np.ndarray
    starts: np.ndarray
    bin_starts: np.ndarray

    @classmethod
    def of(cls, risk: np.ndarray, label: np.ndarray) -> "_Prepared":
        order = np.argsort(-risk, kind="stable")
        sorted_risk = risk[order]
        starts = np.flatnonzero(np.r_[True, np.diff(sorted_risk) != 0])
        # Bins begin at a run's start, so that equal risks share one.
        wanted = np.linspace(0, len(risk), min(_BINS, len(risk)) + 1)[:-1].astype(int)
        bins = np.unique(starts[np.searchsorted(starts, wanted, "right") - 1])
        return cls(
            order=order, risk=sorted_risk, label=label[order], starts=starts, bin_starts=bins
        )


def _metrics(
    p: _Prepared, weights: np.ndarray, threshold: float | np.ndarray | None
) -> dict[str, np.ndarray]:
    w = weights[:, p.order]
    total = w.sum(axis=1)
    hits, misses = w * p.label, w * (1 - p.label)
    positives, negatives = hits.sum(axis=1), misses.sum(axis=1)
    tp = np.add.reduceat(hits, p.starts, axis=1)
    fp = np.add.reduceat(misses, p.starts, axis=1)
    ctp, cfp = tp.cumsum(axis=1), fp.cumsum(axis=1)
    clipped = clip_risk(p.risk)
    each_loss = -np.where(p.label == 1, np.log(clipped), np.log1p(-clipped))
    gap = np.add.reduceat(w * (p.risk - p.label), p.bin_starts, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # A negative is beaten by the positives above it, and by half of those level with it.
        auroc = (fp * (ctp - tp / 2)).sum(axis=1) / (positives * negatives)
        precision = np.where(ctp + cfp > 0, ctp / (ctp + cfp), 0.0)
        auprc = (tp * precision).sum(axis=1) / positives
        found = {
            "auroc": auroc,
            # Average precision of a set of positives only is 1 by definition and says nothing.
            "auprc": np.where(negatives > 0, auprc, np.nan),
            "logloss": w @ each_loss / total,
            "brier": w @ (p.risk - p.label) ** 2 / total,
            "ece": np.abs(gap).sum(axis=1) / total,
        }
        if threshold is None:
            nothing = np.full(len(w), np.nan)
            return found | dict.fromkeys(("sensitivity", "specificity", "f1"), nothing)
        called = p.risk >= (threshold[p.order] if isinstance(threshold, np.ndarray) else threshold)
        caught, alarms = hits @ called, misses @ called
        found["sensitivity"] = caught / positives
        found["specificity"] = 1 - alarms / negatives
        found["f1"] = 2 * caught / (positives + caught + alarms)
    return found
