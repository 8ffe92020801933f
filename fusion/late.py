"""Late fusion: what the single-modality models said, averaged or weighed."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.special import expit
from tqdm import tqdm

from fusion.candidates import Candidate, Embedder, Lesson, candidate_type
from fusion.folds import subject_folds
from fusion.linear import Logistic, fit_logistic
from fusion.prevalence import base_rates, clip_risk, to_logit
from fusion.run import read_json, write_json
from fusion.scoring import ALL_MODALITIES
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["ALONE", "PARTS", "AverageCandidate", "StackedCandidate"]

PARTS: dict[str, Modality] = {
    "events_logistic": Modality.EVENTS,
    "events_boosting": Modality.EVENTS,
    "notes_tfidf": Modality.NOTES,
    "notes_embedding": Modality.NOTES,
    "images_embedding": Modality.IMAGES,
}
"""The single-modality models that are joined, and what each of them looks at."""

ALONE: dict[str, Modality] = {
    **PARTS,
    "notes_finetuned": Modality.NOTES,
    "images_finetuned": Modality.IMAGES,
}
"""All single-modality models; what is fitted on request is no part of what is fitted always."""

_FOLDS = 5
_STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)
_MASKED_WEIGHT = 0.05
"""What all masked copies of a row weigh together: enough to learn what a gap means where nobody
naturally has one, too little to dilute what it means where some do."""


class _Late(ABC):
    """What both kinds share: their own fitted single-modality models, and who has nothing."""

    name: ClassVar[str]

    def __init__(self, *, tasks: tuple[str, ...], parts: dict[str, Candidate], rates: np.ndarray):
        self.tasks, self.parts, self.rates = tasks, parts, rates

    @abstractmethod
    def _join(
        self, logits: Float64[np.ndarray, "b parts k"], has: Bool[np.ndarray, "b m"]
    ) -> Float64[np.ndarray, "b k"]:
        """Make one log odds of what the parts said, given which modalities each row has."""

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES
    ) -> Float64[np.ndarray, "b k"]:
        """Give the risk that the joined log odds say."""
        timelines = timelines.only(modalities)
        joined = self._join(_part_logits(self.parts, timelines), _has(timelines))
        return clip_risk(expit(joined))

    def save(self, folder: Path) -> None:
        """Write the parts, each as it writes itself."""
        content = {"tasks": self.tasks, "parts": list(self.parts), "rates": self.rates.tolist()}
        write_json(folder / "late.json", content)
        for name, part in self.parts.items():
            (folder / "parts" / name).mkdir(parents=True, exist_ok=True)
            part.save(folder / "parts" / name)

    @staticmethod
    def _load_shared(folder: Path, encoders: Embedder) -> dict[str, Any]:
        content = read_json(folder / "late.json")
        parts = {
            name: candidate_type(name).load(folder / "parts" / name, encoders)
            for name in content["parts"]
        }
        return {
            "tasks": tuple(content["tasks"]),
            "parts": parts,
            "rates": np.array(content["rates"]),
        }


class AverageCandidate(_Late):
    """Average log odds with equal weight: over a modality's models, then over modalities.

    A modality that a patient lacks is left out of that patient's average; who has nothing gets the
    base rate.
    """

    name: ClassVar[str] = "average"

    @classmethod
    def fit(cls, lesson: Lesson, *, parts: dict[str, Candidate] | None = None) -> Self:
        """Fit the single-modality models, or take those that were fitted on the same rows."""
        parts = parts or _fit_parts(lesson)
        return cls(tasks=lesson.tasks, parts=parts, rates=base_rates(lesson.train.labels))

    def _join(
        self, logits: Float64[np.ndarray, "b parts k"], has: Bool[np.ndarray, "b m"]
    ) -> Float64[np.ndarray, "b k"]:
        total = np.zeros((len(has), len(self.tasks)))
        number = np.zeros(len(has))
        for position, modality in enumerate(Modality):
            columns = [i for i, name in enumerate(self.parts) if PARTS[name] == modality]
            if columns:
                total += np.where(has[:, [position]], logits[:, columns].mean(axis=1), 0.0)
                number += has[:, position]
        average = total / np.maximum(number, 1)[:, None]
        return np.where(number[:, None] > 0, average, to_logit(self.rates))

    @classmethod
    def load(cls, folder: Path, encoders: Embedder) -> Self:
        """Read what `save` wrote."""
        return cls(**cls._load_shared(folder, encoders))


class StackedCandidate(_Late):
    """Weigh the single-modality log odds by a logistic regression.

    It is fitted on what models that had not seen the row said of it (5 folds of subjects within
    train), with an indicator for each modality that is not there, so that any subset can be asked.
    """

    name: ClassVar[str] = "stacked"

    def __init__(self, *, weights: list[Logistic], **shared: Any):
        super().__init__(**shared)
        self.weights = weights

    @classmethod
    def fit(cls, lesson: Lesson, *, parts: dict[str, Candidate] | None = None) -> Self:
        """Fit the parts on train, once whole and once a fold, and the weights on the folds."""
        parts = parts or _fit_parts(lesson)
        train, seed = lesson.train, lesson.seed
        folds = min(_FOLDS, len(np.unique(train.subjects)))
        fold = (
            subject_folds(train.subjects, train.labels, folds=folds, seed=seed)
            if folds > 1
            else np.zeros(len(train), np.int64)
        )
        logits = np.zeros((len(train), len(parts), len(lesson.tasks)))
        for held in tqdm(range(folds), "stacked: folds", disable=not lesson.progress, leave=False):
            outside = np.flatnonzero(fold == held)
            inside = lesson.without(outside)
            if len(inside.train):
                fitted = _fit_parts(inside, list(parts))
                logits[outside] = _part_logits(fitted, train.timelines.take(outside))
        rates = base_rates(train.labels)
        has = _has(train.timelines)
        weights = [
            _weigh(logits[:, :, task], has, list(parts), labels, rates[task], train.subjects, seed)
            for task, labels in enumerate(train.labels.T)
        ]
        return cls(tasks=lesson.tasks, parts=parts, rates=rates, weights=weights)

    def _join(
        self, logits: Float64[np.ndarray, "b parts k"], has: Bool[np.ndarray, "b m"]
    ) -> Float64[np.ndarray, "b k"]:
        columns = [
            weights.logits(_design(logits[:, :, task], has, list(self.parts), self.rates[task]))
            for task, weights in enumerate(self.weights)
        ]
        return np.concatenate(columns, axis=1)

    def save(self, folder: Path) -> None:
        """Write the parts and the weights."""
        super().save(folder)
        for task, weights in zip(self.tasks, self.weights, strict=True):
            weights.save(folder / "weights" / task)

    @classmethod
    def load(cls, folder: Path, encoders: Embedder) -> Self:
        """Read what `save` wrote."""
        shared = cls._load_shared(folder, encoders)
        weights = [Logistic.load(folder / "weights" / task) for task in shared["tasks"]]
        return cls(**shared, weights=weights)


def _fit_parts(lesson: Lesson, names: Sequence[str] = tuple(PARTS)) -> dict[str, Candidate]:
    quiet = replace(lesson, progress=False)
    return {name: candidate_type(name).fit(quiet) for name in names}


def _part_logits(
    parts: dict[str, Candidate], timelines: Timelines
) -> Float64[np.ndarray, "b parts k"]:
    return np.stack([to_logit(part.score(timelines)) for part in parts.values()], axis=1)


def _has(timelines: Timelines) -> np.ndarray:
    return np.stack([timelines.has(modality) for modality in Modality], axis=1)


def _design(
    logits: Float[np.ndarray, "b parts"], has: np.ndarray, names: list[str], rate: float
) -> Float64[np.ndarray, "b f"]:
    """Put each part's distance from the base rate beside what is missing."""
    order = list(Modality)
    there = np.stack([has[:, order.index(PARTS[name])] for name in names], axis=1)
    away = np.where(there, logits - to_logit(np.array(rate)), 0.0)
    return np.concatenate([away, ~has], axis=1, dtype=np.float64)


def _weigh(
    logits: np.ndarray,
    has: np.ndarray,
    names: list[str],
    labels: np.ndarray,
    rate: float,
    subjects: np.ndarray,
    seed: int,
) -> Logistic:
    designs, weights = [_design(logits, has, names, rate)], [np.ones(len(has))]
    rows = [np.arange(len(has))]
    masks = [
        np.isin(np.arange(len(Modality)), hidden)
        for size in range(1, len(Modality) + 1)
        for hidden in combinations(range(len(Modality)), size)
    ]
    for mask in masks:
        changed = np.flatnonzero((has & mask).any(axis=1))
        designs.append(_design(logits[changed], has[changed] & ~mask, names, rate))
        weights.append(np.full(len(changed), _MASKED_WEIGHT / len(masks)))
        rows.append(changed)
    row = np.concatenate(rows)
    return fit_logistic(
        np.concatenate(designs),
        labels[row][:, None],
        subjects=subjects[row],
        seed=seed,
        strengths=_STRENGTHS,
        row_weights=np.concatenate(weights),
    )
