"""Draw patients from a world and compute their true risks: no file, no fitting.

The oracle of a patient and a subset of modalities is P(label = 1 | the statistics of those
modalities, and which of them are missing). It is exact up to Gauss-Hermite quadrature:

- Given C, all other latents are Gaussian, so the log-odds is Gaussian with a mean and a variance
  in closed form (Bayesian linear regression of the measurements on L and T, each measurement's
  person effect integrated out; shrinkage of the drawn heart and opacity towards 0).
- C is enumerated, weighted by what the note states and, where missingness is informative, by what
  is missing. The record of an imaging study is an event, so `events` too knows of the image.
- Where events are hidden, the comorbidities are enumerated.

Rounding of written values is ignored: it is a small part of their stated noise.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int8
from scipy.optimize import brentq
from scipy.special import expit

from ingest.world import FINDINGS, Measurement, World

__all__ = [
    "SUBSETS",
    "Draw",
    "Evidence",
    "Statistics",
    "draw",
    "evidence",
    "oracle",
    "solve_intercept",
    "standardise",
]

SUBSETS = (
    "events",
    "notes",
    "images",
    "events+notes",
    "events+images",
    "notes+images",
    "events+notes+images",
)
"""The oracle's columns, besides `additive`."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(48)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_ROWS = 4096  # at once: bounds the memory of the enumeration


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Hold what the files say of n patients: all that the oracle may know."""

    years: Float64[np.ndarray, "n v"]
    """Time of each visit before the index visit (negative); the last is the index visit (0)."""
    visited: Bool[np.ndarray, "n v"]
    values: dict[str, Float64[np.ndarray, "n v"]]
    """Each measurement as it is written."""
    seen: dict[str, Bool[np.ndarray, "n v"]]
    age: Float64[np.ndarray, " n"]
    """In sd from the world's mean."""
    comorbid: Bool[np.ndarray, "n m"]
    has_note: Bool[np.ndarray, " n"]
    stated: Int8[np.ndarray, "n f"]
    """1 affirmed, -1 denied, 0 neither."""
    hedged: Bool[np.ndarray, "n f"]
    """Mentioned without being affirmed or denied; as likely whatever is true."""
    has_image: Bool[np.ndarray, " n"]
    heart: Float64[np.ndarray, " n"]
    """As drawn, the view's magnification taken out."""
    opacity: Float64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.age)


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Hold n patients: what is hidden, what is seen, and what came of it."""

    latents: dict[str, Float64[np.ndarray, " n"]]
    """level, trend, congestion (+1 or -1), heart, opacity, risk (the true probability)."""
    statistics: Statistics
    label: Bool[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Hold sufficient statistics: all that the oracle needs of each modality."""

    events_mean: Float64[np.ndarray, " n"]
    """Of the events' part of the log-odds, given the events."""
    events_variance: Float64[np.ndarray, " n"]
    note_log_odds: Float64[np.ndarray, " n"]
    """What the note's statements add to the log-odds of C = +1; 0 without a note."""
    heart_mean: Float64[np.ndarray, " n"]
    heart_variance: Float64[np.ndarray, " n"]
    opacity_mean: Float64[np.ndarray, " n"]
    opacity_variance: Float64[np.ndarray, " n"]
    has_note: Bool[np.ndarray, " n"]
    has_image: Bool[np.ndarray, " n"]


def draw(world: World, n: int, rng: np.random.Generator) -> Draw:
    """Draw n patients and their labels."""
    events, notes, images, risk = world.events, world.notes, world.images, world.risk
    level, trend, age, heart, opacity = rng.standard_normal((5, n))
    # A birth date is a whole day: the age that is written is the age that counts.
    age = np.round((events.age_mean + events.age_sd * age) * 365.25) / 365.25
    age = (age - events.age_mean) / events.age_sd
    congestion = np.where(rng.random(n) < notes.congested, 1.0, -1.0)
    shares = np.array([c.share for c in events.comorbidities.values()])
    comorbid = rng.random((n, len(shares))) < shares

    days = np.sort(rng.integers(30, events.first_visit_days, (n, events.most_visits)), axis=1)
    years = np.concatenate([-days[:, ::-1], np.zeros((n, 1))], axis=1) / 365.25
    count = rng.integers(1, events.most_visits + 1, n)
    order = rng.random((n, events.most_visits)).argsort(axis=1)
    visited = np.concatenate([order < count[:, None], np.ones((n, 1), bool)], axis=1)
    values, seen = {}, {}
    for name, m in events.measurements.items():
        raw = m.level * level[:, None] + m.trend * trend[:, None] * years
        raw += m.person * rng.standard_normal((n, 1)) + m.noise * rng.standard_normal(years.shape)
        raw = m.mean + m.sd * raw
        values[name] = np.maximum(np.round(np.exp(raw) if m.log else raw, m.digits), 10**-m.digits)
        seen[name] = visited & (rng.random(years.shape) < m.seen)

    up = congestion > 0
    present = rng.random((n, len(FINDINGS))) < _given(world, up)
    told = rng.random(present.shape) < np.where(present, notes.affirmed, notes.denied)
    stated = np.where(told, np.where(present, 1, -1), 0).astype(np.int8)
    hedged = (stated == 0) & (rng.random(stated.shape) < notes.hedged)
    note_missing, image_missing = _missing(world)
    has_note = rng.random(n) >= note_missing[up.astype(int)]
    has_image = rng.random(n) >= image_missing[up.astype(int)]
    drawn_heart = heart + images.heart_noise * rng.standard_normal(n)
    drawn_opacity = opacity + images.opacity_noise * rng.standard_normal(n)

    log_odds = solve_intercept(world) + risk.level * level + risk.trend * trend + risk.age * age
    log_odds += comorbid @ np.array([c.log_odds for c in events.comorbidities.values()])
    log_odds += risk.congestion * congestion + risk.opacity * opacity
    log_odds += (risk.heart + risk.interaction * congestion) * heart
    probability = expit(log_odds)
    return Draw(
        latents={
            "level": level,
            "trend": trend,
            "congestion": congestion,
            "heart": heart,
            "opacity": opacity,
            "risk": probability,
        },
        statistics=Statistics(
            years=years,
            visited=visited,
            values=values,
            seen=seen,
            age=age,
            comorbid=comorbid,
            has_note=has_note,
            stated=stated * has_note[:, None],
            hedged=hedged & has_note[:, None],
            has_image=has_image,
            heart=drawn_heart,
            opacity=drawn_opacity,
        ),
        label=rng.random(n) < probability,
    )


def evidence(world: World, statistics: Statistics) -> Evidence:
    """Reduce statistics to what the oracle needs of them."""
    s, images = statistics, world.images
    mean, variance = _events_part(world, s)
    up, down = _given(world, np.array([True])), _given(world, np.array([False]))
    affirm, deny = world.notes.affirmed, world.notes.denied
    spoken = [
        # P(affirmed), P(denied), P(neither), for C = +1 and C = -1
        (p * affirm, (1 - p) * deny, p * (1 - affirm) + (1 - p) * (1 - deny))
        for p in (up[0], down[0])
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = [np.log(a / b) for a, b in zip(*spoken, strict=True)]
    chosen = np.select([s.stated > 0, s.stated < 0], ratios[:2], ratios[2])
    heart_gain = 1 / (1 + images.heart_noise**2)
    opacity_gain = 1 / (1 + images.opacity_noise**2)
    return Evidence(
        events_mean=mean,
        events_variance=variance,
        note_log_odds=np.where(s.has_note, chosen.sum(1), 0.0),
        heart_mean=np.where(s.has_image, s.heart * heart_gain, 0.0),
        heart_variance=np.where(s.has_image, 1 - heart_gain, 1.0),
        opacity_mean=np.where(s.has_image, s.opacity * opacity_gain, 0.0),
        opacity_variance=np.where(s.has_image, 1 - opacity_gain, 1.0),
        has_note=s.has_note,
        has_image=s.has_image,
    )


def oracle(world: World, known: Evidence, subsets: tuple[str, ...] = SUBSETS) -> pd.DataFrame:
    """Give P(label = 1) of each patient for each subset of modalities, a column each."""
    intercept = solve_intercept(world)
    return pd.DataFrame({name: _risk(world, intercept, known, name.split("+")) for name in subsets})


def solve_intercept(world: World) -> float:
    """Find the intercept at which the world's prevalence comes out."""

    def excess(intercept: float) -> float:
        total = 0.0
        for sign, weight in ((1.0, world.notes.congested), (-1.0, 1 - world.notes.congested)):
            mean, variance = _congested_part(world, sign)
            total += weight * _hidden_events(
                world, np.array([intercept + mean]), np.array([variance])
            )
        return float(np.sum(total)) - world.risk.prevalence

    return float(brentq(excess, -60.0, 60.0, xtol=1e-10))


def standardise(m: Measurement, value: Float64[np.ndarray, "*any"]) -> Float64[np.ndarray, "*any"]:
    """Give a written value in sd from its mean, on the logarithmic scale where it has one."""
    return ((np.log(value) if m.log else value) - m.mean) / m.sd


def _risk(
    world: World, intercept: float, known: Evidence, subset: list[str]
) -> Float64[np.ndarray, " n"]:
    # Log-odds of C = +1 before anything is known, then by what is missing and what is stated.
    odds = np.full(len(known.has_note), np.log(world.notes.congested / (1 - world.notes.congested)))
    note_missing, image_missing = _missing(world)
    with np.errstate(divide="ignore"):
        if "notes" in subset:
            odds += _presence(known.has_note, note_missing) + known.note_log_odds
        if "images" in subset or "events" in subset:
            odds += _presence(known.has_image, image_missing)
    risk = np.zeros(len(odds))
    for sign in (1.0, -1.0):
        mean, variance = _congested_part(world, sign)
        mean, variance = np.full(len(odds), intercept + mean), np.full(len(odds), variance)
        if "images" in subset:
            slope = world.risk.heart + sign * world.risk.interaction
            mean += slope * known.heart_mean + world.risk.opacity * known.opacity_mean
            variance -= slope**2 * (1 - known.heart_variance)
            variance -= world.risk.opacity**2 * (1 - known.opacity_variance)
        if "events" in subset:
            given = _logistic_normal(
                mean + known.events_mean, np.maximum(variance, 0) + known.events_variance
            )
        else:
            given = _hidden_events(world, mean, np.maximum(variance, 0))
        risk += expit(sign * odds) * given
    return risk


def _congested_part(world: World, sign: float) -> tuple[float, float]:
    """Mean and variance of C's, H's and O's part of the log-odds, given C = sign alone."""
    slope = world.risk.heart + sign * world.risk.interaction
    return sign * world.risk.congestion, slope**2 + world.risk.opacity**2


def _events_part(world: World, s: Statistics) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean and variance of the events' part of the log-odds."""
    n, risk = len(s), world.risk
    precision = np.tile(np.eye(2), (n, 1, 1))
    score = np.zeros((n, 2))
    for name, m in world.events.measurements.items():
        if not (m.level or m.trend):
            continue
        seen, value = s.seen[name], standardise(m, s.values[name])
        x = np.stack([np.full_like(s.years, m.level), m.trend * s.years], axis=2) * seen[..., None]
        y = value * seen
        # Inverse of noise^2 I + person^2 11' by Sherman-Morrison.
        shrink = m.person**2 / (m.noise**2 + seen.sum(1) * m.person**2)
        sums, total = x.sum(1), y.sum(1)
        inner = np.einsum("nvi,nvj->nij", x, x)
        inner -= shrink[:, None, None] * sums[:, :, None] * sums[:, None, :]
        precision += inner / m.noise**2
        cross = np.einsum("nvi,nv->ni", x, y) - shrink[:, None] * sums * total[:, None]
        score += cross / m.noise**2
    covariance = np.linalg.inv(precision)
    weight = np.array([risk.level, risk.trend])
    mean = np.einsum("i,nij,nj->n", weight, covariance, score)
    mean += risk.age * s.age
    mean += s.comorbid @ np.array([c.log_odds for c in world.events.comorbidities.values()])
    return mean, np.einsum("i,nij,j->n", weight, covariance, weight)


def _hidden_events(world: World, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """P(label = 1) where nothing is known of the events: enumerates the comorbidities."""
    conditions = list(world.events.comorbidities.values())
    spread = world.risk.level**2 + world.risk.trend**2 + world.risk.age**2
    total = np.zeros(len(mean))
    for combination in product((False, True), repeat=len(conditions)):
        pairs = list(zip(conditions, combination, strict=True))
        weight = float(np.prod([c.share if has else 1 - c.share for c, has in pairs]))
        shift = sum(c.log_odds for c, has in pairs if has)
        total += weight * _logistic_normal(mean + shift, variance + spread)
    return total


def _logistic_normal(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """E[1 / (1 + exp(-x))] for x normal, by Gauss-Hermite quadrature."""
    result = np.empty(len(mean))
    sd = np.sqrt(variance)
    for start in range(0, len(mean), _ROWS):
        rows = slice(start, start + _ROWS)
        result[rows] = expit(mean[rows, None] + sd[rows, None] * _NODES) @ _WEIGHTS
    return result


def _given(world: World, up: Bool[np.ndarray, " n"]) -> Float64[np.ndarray, "n f"]:
    found = [world.notes.findings[name] for name in FINDINGS]
    yes, no = np.array([f.congested for f in found]), np.array([f.otherwise for f in found])
    return np.where(up[:, None], yes, no)


def _missing(world: World) -> tuple[np.ndarray, np.ndarray]:
    """P(missing) of the note and of the image, for C = -1 and C = +1."""
    m = world.missing
    ratios = (m.note_ratio, m.image_ratio) if m.informative else (1.0, 1.0)
    return np.array([m.note, m.note * ratios[0]]), np.array([m.image, m.image * ratios[1]])


def _presence(has: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """What being there, or not, adds to the log-odds of C = +1."""
    there = np.log((1 - missing[1]) / (1 - missing[0]))
    absent = np.log(missing[1] / missing[0]) if missing[0] > 0 else 0.0
    return np.where(has, there, absent)
