"""Probes: a logistic regression on one modality's representation, TF-IDF or frozen embeddings.

Who has no note (or no image) gets the rate of train's patients without one, shrunk to the base
rate: that something was not done can say as much as what it showed.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float, Float64
from safetensors.numpy import load_file, save_file
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfVectorizer

from fusion.candidates import Embedder, Lesson
from fusion.features import Scaling
from fusion.linear import Logistic, fit_logistic
from fusion.prevalence import base_rates, clip_risk, to_logit
from fusion.run import read_json, write_json
from fusion.scoring import ALL_MODALITIES
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = [
    "EmbeddingProbe",
    "ImagesEmbeddingCandidate",
    "NotesEmbeddingCandidate",
    "NotesTfidfCandidate",
    "has_content",
    "rates_without",
]

_PSEUDO_ROWS = 20.0
"""How many patients at the base rate the rate of those without is mixed with."""

_TFIDF_STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""TF-IDF rows have length 1, so their penalty is weaker than that of scaled features."""


def rates_without(labels: Float[np.ndarray, "b k"], has: np.ndarray) -> Float64[np.ndarray, " k"]:
    """Give each task's rate among the rows that lack the modality, shrunk to the base rate.

    >>> labels = np.array([[1], [1], [0], [0]], np.float32)
    >>> rates_without(labels, np.array([True, True, False, False])).round(3)
    array([0.455])
    """
    lacking = labels[~has]
    known = np.isfinite(lacking)
    positive = np.where(known, lacking, 0).sum(axis=0, dtype=np.float64)
    return (positive + _PSEUDO_ROWS * base_rates(labels)) / (known.sum(axis=0) + _PSEUDO_ROWS)


class _Probe(ABC):
    """What the probes share: the rows that lack the modality, fitting, scoring, saving."""

    name: ClassVar[str]
    modality: ClassVar[Modality]

    def __init__(self, *, tasks: tuple[str, ...], without: np.ndarray, logistic: Logistic):
        self.tasks, self.without, self.logistic = tasks, without, logistic

    @classmethod
    def fit(cls, lesson: Lesson) -> Self:
        """Fit the representation and the regression on train's patients who have the modality."""
        has = has_content(lesson.train.timelines, cls.modality)
        labels, those = lesson.train.labels, lesson.train.take(np.flatnonzero(has))
        learnt = cls._learn(replace(lesson, train=those))
        if learnt is None:
            logistic = _nothing_to_regress(those.labels if len(those) else labels)
            learnt = {**cls._blank(lesson), "logistic": logistic}
        return cls(tasks=lesson.tasks, without=rates_without(labels, has), **learnt)

    @classmethod
    @abstractmethod
    def _learn(cls, lesson: Lesson) -> dict[str, Any] | None:
        """Give the representation and the regression; None where there is nothing to learn from.

        All rows of the lesson's train have the modality.
        """

    @classmethod
    @abstractmethod
    def _blank(cls, lesson: Lesson) -> dict[str, Any]:
        """Give a representation that says nothing."""

    @abstractmethod
    def _features(self, timelines: Timelines) -> Any | None:
        """Give the features of rows that all have the modality; None if all would be the same."""

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES
    ) -> Float64[np.ndarray, "b k"]:
        """Give the risk; the other modalities are not looked at."""
        risks = np.tile(self.without, (len(timelines), 1))
        if self.modality in modalities:
            rows = np.flatnonzero(has_content(timelines, self.modality))
            if len(rows):
                features = self._features(timelines.take(rows))
                logits = (
                    self.logistic.intercepts if features is None else self.logistic.logits(features)
                )
                risks[rows] = expit(logits)
        return clip_risk(risks)

    def save(self, folder: Path) -> None:
        """Write JSON and safetensors; frozen encoders travel apart, by their preprocessing."""
        content = {"tasks": self.tasks, "without": self.without.tolist()}
        write_json(folder / "probe.json", content)
        self.logistic.save(folder)

    @classmethod
    def _load_shared(cls, folder: Path) -> dict[str, Any]:
        content = read_json(folder / "probe.json")
        return {
            "tasks": tuple(content["tasks"]),
            "without": np.array(content["without"]),
            "logistic": Logistic.load(folder),
        }


class NotesTfidfCandidate(_Probe):
    """Regress the risk on the words and pairs of words of all notes."""

    name: ClassVar[str] = "notes_tfidf"
    modality: ClassVar[Modality] = Modality.NOTES

    def __init__(self, *, vocabulary: list[str], idf: np.ndarray, **shared: Any):
        super().__init__(**shared)
        self.vocabulary, self.idf = vocabulary, idf

    @classmethod
    def _learn(cls, lesson: Lesson) -> dict[str, Any] | None:
        """Choose words, their weights and the penalty."""
        train, vectorizer = lesson.train, _vectorizer(min_df=2)
        try:
            matrix = vectorizer.fit_transform(_documents(train.timelines))
        except ValueError:  # no note, or no word that comes twice
            return None
        return {
            "vocabulary": vectorizer.get_feature_names_out().tolist(),
            "idf": np.asarray(vectorizer.idf_, np.float64),
            "logistic": fit_logistic(
                matrix,
                train.labels,
                subjects=train.subjects,
                seed=lesson.seed,
                strengths=_TFIDF_STRENGTHS,
            ),
        }

    @classmethod
    def _blank(cls, lesson: Lesson) -> dict[str, Any]:
        return {"vocabulary": [], "idf": np.zeros(0)}

    def _features(self, timelines: Timelines) -> Any | None:
        if not self.vocabulary:
            return None
        vectorizer = _vectorizer(vocabulary=self.vocabulary)
        vectorizer.idf_ = self.idf
        return vectorizer.transform(_documents(timelines))

    def save(self, folder: Path) -> None:
        """Write the words as JSON and the numbers as safetensors."""
        super().save(folder)
        write_json(folder / "vocabulary.json", self.vocabulary)
        save_file({"idf": np.ascontiguousarray(self.idf)}, folder / "idf.safetensors")

    @classmethod
    def load(cls, folder: Path, encoders: Embedder) -> Self:
        """Read what `save` wrote."""
        return cls(
            **cls._load_shared(folder),
            vocabulary=read_json(folder / "vocabulary.json"),
            idf=load_file(folder / "idf.safetensors")["idf"],
        )


class EmbeddingProbe(_Probe):
    """A regression on what an encoder makes of notes or images."""

    def __init__(self, *, scaling: Scaling, encoders: Embedder, **shared: Any):
        super().__init__(**shared)
        self.scaling, self.encoders = scaling, encoders

    @classmethod
    def _learn(cls, lesson: Lesson) -> dict[str, Any] | None:
        """Fit the scaling and the regression."""
        train = lesson.train
        if not len(train):
            return None
        table = cls._embed(train.timelines, lesson.encoders, lesson.progress)
        scaling = Scaling.fit(table)
        logistic = fit_logistic(
            scaling.apply(table), train.labels, subjects=train.subjects, seed=lesson.seed
        )
        return {"scaling": scaling, "logistic": logistic, "encoders": lesson.encoders}

    @classmethod
    def _blank(cls, lesson: Lesson) -> dict[str, Any]:
        scaling = Scaling(centre=np.zeros(0), scale=np.ones(0))
        return {"scaling": scaling, "encoders": lesson.encoders}

    @classmethod
    @abstractmethod
    def _embed(
        cls, timelines: Timelines, encoders: Embedder, progress: bool
    ) -> Float64[np.ndarray, "b f"]:
        """Give one row of numbers a patient, all of whom have the modality."""

    def _features(self, timelines: Timelines) -> Any | None:
        if not len(self.scaling.centre):  # train had nobody with the modality
            return None
        return self.scaling.apply(self._embed(timelines, self.encoders, progress=False))

    def save(self, folder: Path) -> None:
        """Write the numbers as safetensors; the encoders travel apart, by their preprocessing."""
        super().save(folder)
        self.scaling.save(folder / "scaling.safetensors")

    @classmethod
    def load(cls, folder: Path, encoders: Embedder) -> Self:
        """Read what `save` wrote."""
        return cls(
            **cls._load_shared(folder),
            scaling=Scaling.load(folder / "scaling.safetensors"),
            encoders=encoders,
        )


class NotesEmbeddingCandidate(EmbeddingProbe):
    """Regress the risk on the mean of the notes' frozen sentence embeddings."""

    name: ClassVar[str] = "notes_embedding"
    modality: ClassVar[Modality] = Modality.NOTES

    @classmethod
    def _embed(
        cls, timelines: Timelines, encoders: Embedder, progress: bool
    ) -> Float64[np.ndarray, "b f"]:
        part = timelines.part(Modality.NOTES)
        texts = part["text_value"].fillna("").astype(str).tolist()
        tokens = encoders.notes(texts, progress=progress)
        kept = np.array([i for i, note in enumerate(tokens) if len(note)], np.int64)
        each = np.stack([np.asarray(tokens[i], np.float64).mean(axis=0) for i in kept])
        return _mean_by_row(each, part["row"].to_numpy()[kept], len(timelines))


class ImagesEmbeddingCandidate(EmbeddingProbe):
    """Regress the risk on the mean and the maximum of the images' frozen feature maps."""

    name: ClassVar[str] = "images_embedding"
    modality: ClassVar[Modality] = Modality.IMAGES

    @classmethod
    def _embed(
        cls, timelines: Timelines, encoders: Embedder, progress: bool
    ) -> Float64[np.ndarray, "b f"]:
        part = timelines.part(Modality.IMAGES).dropna(subset="image")
        paths = [timelines.images / str(image) for image in part["image"]]
        tokens = [np.asarray(t, np.float64) for t in encoders.images(paths, progress=progress)]
        each = np.stack([np.concatenate([t.mean(axis=0), t.max(axis=0)]) for t in tokens])
        return _mean_by_row(each, part["row"].to_numpy(), len(timelines))


def has_content(timelines: Timelines, modality: Modality) -> np.ndarray:
    """Say which rows have a note with a word in it, or an image with a file."""
    part = timelines.part(modality)
    content = part["text_value" if modality == Modality.NOTES else "image"]
    there = content.notna() & content.fillna("").astype(str).str.contains(r"\w")
    found = np.zeros(len(timelines), dtype=bool)
    found[part.loc[there, "row"].unique()] = True
    return found


def _mean_by_row(each: np.ndarray, row: np.ndarray, b: int) -> Float64[np.ndarray, "b f"]:
    total, number = np.zeros((b, each.shape[1])), np.zeros(b)
    np.add.at(total, row, each)
    np.add.at(number, row, 1)
    return total / np.maximum(number, 1)[:, None]


def _documents(timelines: Timelines) -> list[str]:
    texts = timelines.part(Modality.NOTES)
    joined: list[list[str]] = [[] for _ in range(len(timelines))]
    for row, text in zip(texts["row"], texts["text_value"].fillna(""), strict=True):
        joined[int(row)].append(str(text))
    return ["\n".join(parts) for parts in joined]


def _vectorizer(*, min_df: int = 1, vocabulary: Sequence[str] | None = None) -> TfidfVectorizer:
    return TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        min_df=min_df,
        max_features=None if vocabulary else 20000,
        vocabulary=vocabulary,
        strip_accents="unicode",
    )


def _nothing_to_regress(labels: Float[np.ndarray, "b k"]) -> Logistic:
    k = labels.shape[1]
    return Logistic(
        weights=np.zeros((k, 0)), intercepts=to_logit(base_rates(labels)), strengths=(0.0,) * k
    )
