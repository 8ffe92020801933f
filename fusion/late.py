"""Late fusion: what the single-modality models said, averaged or weighed."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float, Float64
from scipy.special import expit
from tqdm import tqdm

from fusion.candidates import Candidate, Embedder, candidate_type
from fusion.folds import subject_folds
from fusion.linear import Logistic, fit_logistic
from fusion.prevalence import base_rates, clip_risk, to_logit
from fusion.run import read_json, write_json
from fusion.scoring import ALL_MODALITIES
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["PARTS", "AverageCandidate", "StackedCandidate"]

PARTS: dict[str, Modality] = {
    "events_logistic": Modality.EVENTS,
    "events_boosting": Modality.EVENTS,
    "notes_tfidf": Modality.NOTES,
    "notes_embedding": Modality.NOTES,
    "images_embedding": Modality.IMAGES,
}
"""The single-modality models and what each of them looks at."""

_FOLDS = 5
_STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)
_MASKED_WEIGHT = 0.05
"""What all masked copies of a row weigh together: enough to learn what a gap means where nobody
naturally has one, too little to dilute what it means where some do."""


class _Late:
    """What both kinds share: their own fitted single-modality models."""

    name: ClassVar[str]

    tasks: tuple[str, ...]
    parts: dict[str, Candidate]
    rates: np.ndarray

    def _save(self, folder: Path) -> None:
        content = {"tasks": self.tasks, "parts": list(self.parts), "rates": self.rates.tolist()}
        write_json(folder / "late.json", content)
        for name, part in self.parts.items():
            (folder / "parts" / name).mkdir(parents=True, exist_ok=True)
            part.save(folder / "parts" / name)

    @staticmethod
    def _load(
        folder: Path, encoders: Embedder
    ) -> tuple[tuple[str, ...], dict[str, Candidate], np.ndarray]:
        content = read_json(folder / "late.json")
        parts = {
            name: candidate_type(name).load(folder / "parts" / name, encoders)
            for name in content["parts"]
        }
        return tuple(content["tasks"]), parts, np.array(content["rates"])


class AverageCandidate(_Late):
    """Average log odds with equal weight: over a modality's models, then over modalities.

    A modality that a patient lacks is left out of that patient's average; who has nothing gets the
    base rate.
    """

    name: ClassVar[str] = "average"

    def __init__(self, *, tasks: tuple[str, ...], parts: dict[str, Candidate], rates: np.ndarray):
        self.tasks, self.parts, self.rates = tasks, parts, rates

    @classmethod
    def fit(
        cls,
        *,
        tasks: tuple[str, ...],
        train: Timelines,
        train_labels: np.ndarray,
        tuning: Timelines,
        tuning_labels: np.ndarray,
        encoders: Embedder,
        seed: int = 0,
        progress: bool = False,
        parts: dict[str, Candidate] | None = None,
    ) -> Self:
        """Fit the single-modality models, or take those that were fitted on the same rows."""
        if parts is None:
            parts = _fit_parts(tasks, train, train_labels, tuning, tuning_labels, encoders, seed)
        return cls(tasks=tasks, parts=parts, rates=base_rates(train_labels))

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES
    ) -> Float64[np.ndarray, "b k"]:
        """Give the risk that the average of log odds says."""
        timelines = timelines.only(modalities)
        logits, has = _part_logits(self.parts, timelines), _has(timelines)
        total = np.zeros((len(timelines), len(self.tasks)))
        number = np.zeros(len(timelines))
        for position, modality in enumerate(Modality):
            columns = [i for i, name in enumerate(self.parts) if PARTS[name] == modality]
            if columns:
                total += np.where(has[:, [position]], logits[:, columns].mean(axis=1), 0.0)
                number += has[:, position]
        average = total / np.maximum(number, 1)[:, None]
        return clip_risk(expit(np.where(number[:, None] > 0, average, to_logit(self.rates))))

    def save(self, folder: Path) -> None:
        """Write the parts."""
        self._save(folder)

    @classmethod
    def load(cls, folder: Path, encoders: Embedder) -> Self:
        """Read what `save` wrote."""
        tasks, parts, rates = cls._load(folder, encoders)
        return cls(tasks=tasks, parts=parts, rates=rates)


class StackedCandidate(_Late):
    """Weigh the single-modality log odds by a logistic regression.

    It is fitted on what models that had not seen the row said of it (5 folds of subjects within
    train), with an indicator for each modality that is not there, so that any subset can be asked.
    """

    name: ClassVar[str] = "stacked"

    def __init__(
        self,
        *,
        tasks: tuple[str, ...],
        parts: dict[str, Candidate],
        rates: np.ndarray,
        weights: list[Logistic],
    ):
        self.tasks, self.parts, self.rates = tasks, parts, rates
        self.weights = weights

    @classmethod
    def fit(
        cls,
        *,
        tasks: tuple[str, ...],
        train: Timelines,
        train_labels: np.ndarray,
        tuning: Timelines,
        tuning_labels: np.ndarray,
        encoders: Embedder,
        seed: int = 0,
        progress: bool = False,
        parts: dict[str, Candidate] | None = None,
    ) -> Self:
        """Fit the parts on train, once whole and once a fold, and the weights on the folds."""
        if parts is None:
            parts = _fit_parts(tasks, train, train_labels, tuning, tuning_labels, encoders, seed)
        subjects = train.index["subject_id"].to_numpy()
        folds = min(_FOLDS, len(np.unique(subjects)))
        fold = (
            subject_folds(subjects, train_labels, folds=folds, seed=seed)
            if folds > 1
            else np.zeros(len(train), np.int64)
        )
        logits = np.zeros((len(train), len(parts), len(tasks)))
        for held in tqdm(range(folds), "stacked: folds", disable=not progress, leave=False):
            inside, outside = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
            if not len(inside):
                continue
            fitted = _fit_parts(
                tasks,
                train.take(inside),
                train_labels[inside],
                tuning,
                tuning_labels,
                encoders,
                seed,
                names=list(parts),
            )
            logits[outside] = _part_logits(fitted, train.take(outside))
        rates = base_rates(train_labels)
        has = _has(train)
        weights = [
            _weigh(logits[:, :, task], has, list(parts), labels, rates[task], subjects, seed)
            for task, labels in enumerate(train_labels.T)
        ]
        return cls(tasks=tasks, parts=parts, rates=rates, weights=weights)

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES
    ) -> Float64[np.ndarray, "b k"]:
        """Give the risk that the weighed log odds say."""
        timelines = timelines.only(modalities)
        logits, has = _part_logits(self.parts, timelines), _has(timelines)
        columns = [
            weights.logits(_design(logits[:, :, task], has, list(self.parts), self.rates[task]))
            for task, weights in enumerate(self.weights)
        ]
        return clip_risk(expit(np.concatenate(columns, axis=1)))

    def save(self, folder: Path) -> None:
        """Write the parts and the weights."""
        self._save(folder)
        for task, weights in zip(self.tasks, self.weights, strict=True):
            weights.save(folder / "weights" / task)

    @classmethod
    def load(cls, folder: Path, encoders: Embedder) -> Self:
        """Read what `save` wrote."""
        tasks, parts, rates = cls._load(folder, encoders)
        weights = [Logistic.load(folder / "weights" / task) for task in tasks]
        return cls(tasks=tasks, parts=parts, rates=rates, weights=weights)


def _fit_parts(
    tasks: tuple[str, ...],
    train: Timelines,
    train_labels: np.ndarray,
    tuning: Timelines,
    tuning_labels: np.ndarray,
    encoders: Embedder,
    seed: int,
    names: Sequence[str] = tuple(PARTS),
) -> dict[str, Candidate]:
    return {
        name: candidate_type(name).fit(
            tasks=tasks,
            train=train,
            train_labels=train_labels,
            tuning=tuning,
            tuning_labels=tuning_labels,
            encoders=encoders,
            seed=seed,
        )
        for name in names
    }


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
