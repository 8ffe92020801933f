"""What inside a modality made a risk what it is: each model's log odds, taken apart.

A model is asked for a row with some modalities shown, and for one of them. What it says then, less
what it says with that modality's content replaced by the average of train, is shared out among the
events, the notes' sentences (with slopes, from which `encoders.words` goes on to the words), the
words themselves where a model counts words, or the places of the images. The shares add up to that
difference; `fusion.explain` puts them together over all subsets of modalities.

Sums (regressions, averages) are taken apart exactly, those on fine-tuned encoders' tokens as well;
trees by their own Shapley values (Lundberg et al., "From local explanations to global understanding
with explainable AI for trees", 2020); the attention model by integrated gradients
(`fusion.gradients`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import numpy as np

from fusion.boosting import EventsBoostingCandidate
from fusion.candidates import Candidate
from fusion.late import PARTS, AverageCandidate, StackedCandidate
from fusion.linear import EventsLogisticCandidate
from fusion.prevalence import PrevalenceCandidate
from fusion.probes import (
    ImagesEmbeddingCandidate,
    NotesEmbeddingCandidate,
    NotesTfidfCandidate,
)
from fusion.scoring import ALL_MODALITIES
from fusion.words_counted import counted_words
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["Inside", "TakeApart", "code_of", "insides_of", "look_inside"]

_AGE = "MEDS_BIRTH"
_OF_AGE = ("age_years", "age missing", "AGE last", "AGE missing")


@dataclass(frozen=True, kw_only=True)
class Inside:
    """Hold shares in log odds; items are numbered as in `Timelines.part` of their modality."""

    events: dict[str, float] = field(default_factory=dict)
    """By code; a code that the row lacks can have a share: that it is not there says something."""

    sentences: dict[int, np.ndarray] = field(default_factory=dict)
    """Of each note, [n], in the order of the text encoder's tokens."""

    slopes: dict[int, np.ndarray] = field(default_factory=dict)
    """Of each note, [n d]: log odds per unit of a sentence's token, over the way to it; empty where
    the tokens are not the run's own text encoder's."""

    words: dict[int, dict[tuple[int, int], float]] = field(default_factory=dict)
    """Of each note, where characters start and end: only of models that count words."""

    images: dict[int, np.ndarray] = field(default_factory=dict)
    """Of each image, [n], in the order of the image encoder's tokens."""

    def plus(self, other: "Inside", times: float = 1.0) -> "Inside":
        """Add another's shares, multiplied."""
        arrays = {
            name: _added(getattr(self, name), getattr(other, name), times, _array_sum)
            for name in ("sentences", "slopes", "images")
        }
        return Inside(
            events=_added(self.events, other.events, times, _number_sum),
            words=_added(self.words, other.words, times, _words_sum),
            **arrays,
        )

    def total(self) -> float:
        """Add up all shares."""
        total = 0.0 + sum(self.events.values())
        total += sum(float(shares.sum()) for shares in self.sentences.values())
        total += sum(sum(words.values()) for words in self.words.values())
        return total + sum(float(shares.sum()) for shares in self.images.values())


TakeApart: TypeAlias = Callable[[Modality, frozenset[Modality]], Inside]
"""Takes one modality apart, given which are shown."""


def look_inside(
    model: Candidate,
    timelines: Timelines,
    modality: Modality,
    shown: frozenset[Modality] = ALL_MODALITIES,
    *,
    task_index: int = 0,
) -> Inside:
    """Share out what a model says of one row among what is inside one modality.

    Args:
        model: any of `fusion.candidates.EVERY_CANDIDATE`.
        timelines: one row.
        modality: which to take apart; where the row lacks it or it is not shown, nothing is there.
        shown: what the model sees besides.
        task_index: of which task.

    Raises:
        ValueError: several rows, or a model that nobody taught how to be taken apart.
    """
    return insides_of(model, timelines, task_index=task_index)(modality, shown)


def insides_of(model: Candidate, timelines: Timelines, *, task_index: int = 0) -> TakeApart:
    """Give what answers as `look_inside` does for one row, which is then read only once.

    Raises:
        ValueError: as `look_inside` does.
    """
    if len(timelines) != 1:
        raise ValueError(f"one row can be taken apart at a time; got {len(timelines)}")
    if model.name == "attention":
        from fusion.gradients import AttentionInside  # torch is imported here, not before

        return AttentionInside(model, timelines, task_index)
    if isinstance(model, (AverageCandidate, StackedCandidate)):
        return partial(_late, model, timelines, task_index)
    if isinstance(model, PrevalenceCandidate):
        return lambda modality, shown: Inside()
    for kind, (own, take_apart) in _SIMPLE.items():
        if isinstance(model, kind):
            return partial(_alone, take_apart, own, model, timelines, task_index)
    raise ValueError(f"it is not known how to take a model called {model.name!r} apart")


def _alone(
    take_apart: Callable[..., Inside],
    own: Modality,
    model: Candidate,
    timelines: Timelines,
    task: int,
    modality: Modality,
    shown: frozenset[Modality],
) -> Inside:
    """Ask a model that looks at one modality alone."""
    there = own == modality and own in shown and timelines.has(own)[0]
    return take_apart(model, timelines, task) if there else Inside()


def _logistic(model: EventsLogisticCandidate, timelines: Timelines, task: int) -> Inside:
    scaled = model.scaling.apply(model.features.table(timelines))[0]
    return _by_code(model.features.names, scaled * model.logistic.weights[task])


def _boosting(model: EventsBoostingCandidate, timelines: Timelines, task: int) -> Inside:
    booster = model.boosters[task]
    if booster is None:
        return Inside()
    table = model.features.table(timelines)
    shares = np.asarray(booster.predict(table, num_threads=1, pred_contrib=True))[0]
    return _by_code(model.features.names, shares[:-1])  # the last is what trees say on average


def _tfidf(model: NotesTfidfCandidate, timelines: Timelines, task: int) -> Inside:
    weights = model.logistic.weights[task]
    if not len(weights):
        return Inside()
    texts = timelines.part(Modality.NOTES)["text_value"].fillna("").astype(str).tolist()
    return Inside(words=counted_words(texts, model.vocabulary, model.idf, weights))


def _notes(model: NotesEmbeddingCandidate, timelines: Timelines, task: int) -> Inside:
    weights = model.logistic.weights[task]
    if not len(weights):
        return Inside()
    texts = timelines.part(Modality.NOTES)["text_value"].fillna("").astype(str).tolist()
    if not any(re.search(r"\w", text) for text in texts):
        return Inside()  # the model does not read them either
    read = model.encoders.notes(texts)
    tokens = {i: np.asarray(t, np.float64) for i, t in enumerate(read) if len(t)}
    if not tokens:
        return Inside()
    mean = np.mean([t.mean(axis=0) for t in tokens.values()], axis=0)
    slope = _slope(model, mean, weights) / len(tokens)
    slopes = {i: np.tile(slope / len(t), (len(t), 1)) for i, t in tokens.items()}
    centre = model.scaling.centre
    sentences = {i: ((t - centre) * slopes[i]).sum(axis=1) for i, t in tokens.items()}
    # The way from a sentence to its words leads through the run's own encoder, which did not read
    # these tokens if the model was fine-tuned: then sentences are as far as it goes.
    own = model.name == NotesEmbeddingCandidate.name
    return Inside(sentences=sentences, slopes=slopes if own else {})


def _images(model: ImagesEmbeddingCandidate, timelines: Timelines, task: int) -> Inside:
    weights = model.logistic.weights[task]
    part = timelines.part(Modality.IMAGES).dropna(subset="image")
    if not len(weights) or part.empty:
        return Inside()
    paths = [timelines.images / str(path) for path in part["image"]]
    tokens = [np.asarray(t, np.float64) for t in model.encoders.images(paths)]
    pooled = [np.concatenate([t.mean(axis=0), t.max(axis=0)]) for t in tokens]
    slope = _slope(model, np.mean(pooled, axis=0), weights) / len(tokens)
    width = len(slope) // 2
    found = {}
    for place, t in zip(part.index, tokens, strict=True):
        away = t - model.scaling.centre[:width]
        shares = (away * slope[:width]).sum(axis=1) / len(t)
        # The maximum of a feature stands at one place.
        largest = t.max(axis=0) - model.scaling.centre[width:]
        np.add.at(shares, t.argmax(axis=0), largest * slope[width:])
        found[int(place)] = shares
    return Inside(images=found)


def _slope(
    model: NotesEmbeddingCandidate | ImagesEmbeddingCandidate, x: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Give the log odds per unit of each feature, over the way from the median to x.

    A scaled feature is cut at Scaling.LIMIT, so that beyond it a unit says less.
    """
    scaling = model.scaling
    away = (x - scaling.centre) / scaling.scale
    cut = np.minimum(1.0, scaling.LIMIT / np.maximum(np.abs(away), 1e-12))
    return weights * cut / scaling.scale


_SIMPLE: Mapping[type, tuple[Modality, Callable[..., Inside]]] = {
    EventsLogisticCandidate: (Modality.EVENTS, _logistic),
    EventsBoostingCandidate: (Modality.EVENTS, _boosting),
    NotesTfidfCandidate: (Modality.NOTES, _tfidf),
    NotesEmbeddingCandidate: (Modality.NOTES, _notes),
    ImagesEmbeddingCandidate: (Modality.IMAGES, _images),
}


def _late(
    model: AverageCandidate | StackedCandidate,
    timelines: Timelines,
    task: int,
    modality: Modality,
    shown: frozenset[Modality],
) -> Inside:
    those = [name for name in model.parts if PARTS[name] == modality]
    if isinstance(model, StackedCandidate):
        weights = dict(zip(model.parts, model.weights[task].weights[0], strict=False))
    else:  # equal weight for the modality's models, then for the modalities that are there
        spoken_for = {PARTS[name] for name in model.parts} & shown
        there = sum(bool(timelines.has(m)[0]) for m in spoken_for)
        weights = dict.fromkeys(those, 1 / max(len(those) * there, 1))
    found = Inside()
    for name in those:
        inside = look_inside(model.parts[name], timelines, modality, shown, task_index=task)
        found = found.plus(inside, float(weights[name]))
    return found


def _by_code(names: list[str], shares: np.ndarray) -> Inside:
    events: dict[str, float] = {}
    for name, share in zip(names, shares.tolist(), strict=True):
        if share:
            code = code_of(name)
            events[code] = events.get(code, 0.0) + share
    return Inside(events=events)


def code_of(feature: str) -> str:
    """Give the code that a feature of any model's events is about.

    >>> code_of("LOINC//2951-2 last"), code_of("age_years"), code_of("AGE missing")
    ('LOINC//2951-2', 'MEDS_BIRTH', 'MEDS_BIRTH')
    """
    if feature in _OF_AGE:
        return _AGE
    return feature.rpartition(" ")[0]


def _added(mine: dict, theirs: dict, times: float, add: Callable) -> dict:
    keys = [*mine, *(key for key in theirs if key not in mine)]
    return {key: add(mine.get(key), theirs.get(key), times) for key in keys}


def _number_sum(mine: float | None, theirs: float | None, times: float) -> float:
    return (mine or 0.0) + times * (theirs or 0.0)


def _array_sum(mine: np.ndarray | None, theirs: np.ndarray | None, times: float) -> np.ndarray:
    if mine is None or theirs is None:
        return times * theirs if mine is None else mine
    return mine + times * theirs


def _words_sum(mine: dict | None, theirs: dict | None, times: float) -> dict:
    return _added(mine or {}, theirs or {}, times, _number_sum)
