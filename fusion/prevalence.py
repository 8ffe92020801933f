"""The base rate: what is said of a patient of whom nothing is known."""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float, Float64
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from fusion.candidates import Embedder, Lesson
from fusion.run import read_json, write_json
from fusion.scoring import ALL_MODALITIES
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["PrevalenceCandidate", "base_rates", "clip_risk", "to_logit"]

SMALLEST_RISK = 1e-6
"""No model says 0 or 1: one wrong certainty would make the log-loss infinite."""


def clip_risk(risk: ArrayLike) -> Float64[np.ndarray, "..."]:
    """Keep risks strictly between 0 and 1."""
    return np.asarray(np.clip(np.asarray(risk, np.float64), SMALLEST_RISK, 1 - SMALLEST_RISK))


def to_logit(risk: ArrayLike) -> Float64[np.ndarray, "..."]:
    """Give log odds, finite for any risk."""
    return np.asarray(logit(clip_risk(risk)))


def base_rates(labels: Float[np.ndarray, "b k"]) -> Float64[np.ndarray, " k"]:
    """Give each task's rate, with half an event added to either class (Jeffreys' prior).

    >>> base_rates(np.array([[1, np.nan], [0, np.nan], [0, np.nan]], np.float32)).round(3)
    array([0.375, 0.5  ])
    """
    known = np.isfinite(labels)
    positive = np.where(known, labels, 0).sum(axis=0, dtype=np.float64)
    return (positive + 0.5) / (known.sum(axis=0) + 1.0)


class PrevalenceCandidate:
    """Say the train base rate of everybody."""

    name: ClassVar[str] = "prevalence"

    def __init__(self, *, tasks: tuple[str, ...], rates: np.ndarray):
        self.tasks = tasks
        self.rates = np.asarray(rates, np.float64)

    @classmethod
    def fit(cls, lesson: Lesson) -> Self:
        """Count train's labels."""
        return cls(tasks=lesson.tasks, rates=base_rates(lesson.train.labels))

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES
    ) -> Float64[np.ndarray, "b k"]:
        """Give the base rate, whoever asks."""
        return np.tile(expit(to_logit(self.rates)), (len(timelines), 1))

    def save(self, folder: Path) -> None:
        """Write rates.json."""
        write_json(folder / "rates.json", dict(zip(self.tasks, self.rates.tolist(), strict=True)))

    @classmethod
    def load(cls, folder: Path, encoders: Embedder) -> Self:
        """Read rates.json."""
        rates = read_json(folder / "rates.json")
        return cls(tasks=tuple(sorted(rates)), rates=np.array([rates[t] for t in sorted(rates)]))
