"""Logistic regression, saved as numbers: on the events, and under every probe."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, no_type_check

import numpy as np
from jaxtyping import Float, Float64
from safetensors.numpy import load_file, save_file
from scipy.optimize import minimize
from scipy.special import expit

from encoders.threads import one_thread
from fusion.candidates import Embedder, Lesson
from fusion.features import EventFeatures, Scaling
from fusion.folds import subject_folds
from fusion.prevalence import base_rates, clip_risk, to_logit
from fusion.run import read_json, write_json
from fusion.tabular import TableCandidate

__all__ = ["STRENGTHS", "EventsLogisticCandidate", "Logistic", "fit_logistic"]

STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""C as scikit-learn has it, strongest penalty first; inner cross-validation chooses."""


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """Hold the weights of k logistic regressions on the same f features."""

    weights: Float64[np.ndarray, "k f"]
    intercepts: Float64[np.ndarray, " k"]
    strengths: tuple[float, ...]
    """The penalty that was chosen for each task; 0 where there was nothing to fit."""

    def logits(self, features: Any) -> Float64[np.ndarray, "b k"]:
        """Give log odds of rows of features (an array or a SciPy sparse matrix)."""
        return np.asarray(features @ self.weights.T) + self.intercepts

    def save(self, folder: Path) -> None:
        """Write weights.safetensors and strengths.json."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"weights": self.weights, "intercepts": self.intercepts}
        save_file(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()},
            folder / "weights.safetensors",
        )
        write_json(folder / "strengths.json", list(self.strengths))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        arrays = load_file(folder / "weights.safetensors")
        return cls(
            weights=arrays["weights"],
            intercepts=arrays["intercepts"],
            strengths=tuple(read_json(folder / "strengths.json")),
        )


def fit_logistic(
    features: Any,
    labels: Float[np.ndarray, "b k"],
    *,
    subjects: np.ndarray,
    seed: int,
    strengths: tuple[float, ...] = STRENGTHS,
    row_weights: np.ndarray | None = None,
    folds: int = 5,
) -> Logistic:
    """Fit one penalised regression a task, its strength chosen by cross-validation over subjects.

    A task with one class gets its base rate and no weights.
    """
    k, f = labels.shape[1], features.shape[1]
    weights, intercepts, chosen = np.zeros((k, f)), to_logit(base_rates(labels)), [0.0] * k
    everything = np.ones(len(labels)) if row_weights is None else row_weights
    for task in range(k):
        rows = np.flatnonzero(np.isfinite(labels[:, task]))
        y = labels[rows, task].astype(np.int64)
        if len(np.unique(y)) < 2:
            continue
        x, w = features[rows], everything[rows]
        # With BLAS on two cores its threads wait for each other at our sizes: seven times slower.
        with one_thread():
            strength = _choose_strength(x, y, w, subjects[rows], strengths, folds, seed)
            beta = _solve(x, y, w, strength)
        weights[task], intercepts[task] = beta[:-1], beta[-1]
        chosen[task] = strength
    return Logistic(weights=weights, intercepts=intercepts, strengths=tuple(chosen))


def _choose_strength(
    x: Any,
    y: np.ndarray,
    w: np.ndarray,
    subjects: np.ndarray,
    strengths: tuple[float, ...],
    folds: int,
    seed: int,
) -> float:
    rarer = min(len(np.unique(subjects[y == value])) for value in (0, 1))
    folds = min(folds, rarer)
    if folds < 2 or len(strengths) == 1:
        return strengths[0]
    fold = subject_folds(subjects, y, folds=folds, seed=seed)
    losses = np.zeros(len(strengths))
    for held in range(folds):
        inside, outside = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        start = None
        for i, strength in enumerate(strengths):
            start = _solve(x[inside], y[inside], w[inside], strength, start=start, tolerance=1e-4)
            risk = clip_risk(expit(x[outside] @ start[:-1] + start[-1]))
            each = -np.where(y[outside] == 1, np.log(risk), np.log1p(-risk))
            losses[i] += float((w[outside] * each).sum())
    return strengths[int(np.argmin(losses))]


def _solve(
    x: Any,
    y: np.ndarray,
    w: np.ndarray,
    strength: float,
    *,
    start: np.ndarray | None = None,
    tolerance: float = 1e-7,
) -> Float64[np.ndarray, " p"]:
    """Minimise the penalised log-loss; p is f + 1, the last is the intercept, not penalised.

    The same optimum as scikit-learn's LogisticRegression, whose checks cost more than the sums at
    our sizes: it is solved a thousand times for one stacked model.
    """
    total = w.sum()
    penalty = 1.0 / (strength * total)

    @no_type_check  # asked a hundred thousand times: tests would take longer to check than to run
    def loss(beta: np.ndarray) -> tuple[float, np.ndarray]:
        logits = x @ beta[:-1] + beta[-1]
        value = (w * (np.logaddexp(0.0, logits) - y * logits)).sum() / total
        value += 0.5 * penalty * (beta[:-1] @ beta[:-1])
        off = w * (expit(logits) - y) / total
        return float(value), np.append(x.T @ off + penalty * beta[:-1], off.sum())

    if start is None:
        start = np.append(np.zeros(x.shape[1]), to_logit(np.average(y, weights=w)))
    options = {"maxiter": 3000, "gtol": tolerance, "ftol": tolerance * 1e-4, "maxcor": 20}
    return minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x


class EventsLogisticCandidate(TableCandidate):
    """Regress the risk on age, sex, codes and measurements."""

    name: ClassVar[str] = "events_logistic"

    def __init__(
        self,
        *,
        tasks: tuple[str, ...],
        features: EventFeatures,
        scaling: Scaling,
        logistic: Logistic,
    ):
        super().__init__(tasks=tasks, features=features)
        self.scaling = scaling
        self.logistic = logistic

    @classmethod
    def fit(cls, lesson: Lesson) -> Self:
        """Choose the vocabulary, the scaling and the penalty on train alone."""
        train = lesson.train
        features = EventFeatures.fit(train.timelines)
        table = features.table(train.timelines)
        scaling = Scaling.fit(table)
        logistic = fit_logistic(
            scaling.apply(table), train.labels, subjects=train.subjects, seed=lesson.seed
        )
        return cls(tasks=lesson.tasks, features=features, scaling=scaling, logistic=logistic)

    def _risks(self, table: Float[np.ndarray, "b f"]) -> Float64[np.ndarray, "b k"]:
        return expit(self.logistic.logits(self.scaling.apply(table)))

    def save(self, folder: Path) -> None:
        """Write features.json, scaling.safetensors and the weights."""
        self._save_features(folder)
        self.scaling.save(folder / "scaling.safetensors")
        self.logistic.save(folder)

    @classmethod
    def load(cls, folder: Path, encoders: Embedder) -> Self:
        """Read what `save` wrote."""
        shared, _ = cls._load_features(folder)
        return cls(
            **shared,
            scaling=Scaling.load(folder / "scaling.safetensors"),
            logistic=Logistic.load(folder),
        )
