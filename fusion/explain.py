"""Explain one risk: what each modality added, and what inside it did.

A modality's Shapley value averages what it adds over all subsets of the others
(`fusion.shapley`). Each of these additions is taken apart in two: that the modality is there at
all (an average note instead of none), and what is in it (`fusion.inside`). So what is said of
events, sentences, words and places adds up, with `being_there`, to the modality's Shapley value,
and these with the base to the calibrated log odds: nothing is left over.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import factorial
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Float, Float64
from scipy.ndimage import map_coordinates
from scipy.special import expit

from fusion.calibration import Calibrator
from fusion.inside import Inside, insides_of
from fusion.prevalence import to_logit
from fusion.scoring import subset_name
from fusion.served import ServedRun
from fusion.shapley import Remembered, shapley
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["ExplainedImage", "ExplainedNote", "Explanation", "Span", "WordReader", "explain"]


_NEAR = 0.5  # log odds
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Scripts without spaces between words: kana and Han."""


class WordReader(Protocol):
    """Goes on from a note's sentences to its words (`encoders.words.Words`)."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Say where each of the text encoder's tokens starts and ends, in characters."""
        ...

    def words(self, text: str, slopes: Float[np.ndarray, "n d"]) -> list[tuple[int, int, float]]:
        """Share out what tokens say, by the log odds' slopes, among words: start, end, share."""
        ...


@dataclass(frozen=True, kw_only=True)
class Span:
    """Hold what a stretch of a note adds."""

    start: int
    """In characters."""
    end: int
    log_odds: float


@dataclass(frozen=True, kw_only=True)
class ExplainedNote:
    """Hold what is in one note."""

    number: int
    """As `Timelines.part` numbers the notes."""
    sentences: tuple[Span, ...]
    """What the text encoder read as one, with the words in it that a model counted; none without a
    WordReader or a model that reads sentences."""
    words: tuple[Span, ...]
    """Within these, the words; empty without a WordReader or a model that counts words, and where
    the text encoder was fine-tuned."""
    log_odds: float
    """All that the note adds."""


@dataclass(frozen=True, kw_only=True)
class ExplainedImage:
    """Hold what is in one image."""

    number: int
    """As `Timelines.part` numbers the images."""
    path: Path
    grid: Float64[np.ndarray, "g g"]
    """Log odds of the cells of the square that the encoder saw, the longer side of the image wide,
    with the image in its middle."""

    @property
    def log_odds(self) -> float:
        """All that the image adds."""
        return float(self.grid.sum())

    def heat(self, width: int, height: int) -> Float64[np.ndarray, "h w"]:
        """Give the log odds at each pixel of the image in such a size, smoothed between cells.

        The mean over the square is that of the grid; the margins that the encoder saw beside the
        image are cut off.
        """
        side, cells = max(width, height), len(self.grid)
        at = (np.arange(side) + 0.5) * cells / side - 0.5
        ways = np.meshgrid(at, at, indexing="ij")
        square = map_coordinates(self.grid, ways, order=1, mode="nearest")
        top, left = (side - height) // 2, (side - width) // 2
        return square[top : top + height, left : left + width]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Hold one row's risk of one task, taken apart; everything is in calibrated log odds."""

    task: str
    model: str
    risk: float
    base: float
    """What the model says of somebody of whom nothing is known."""
    modalities: Mapping[Modality, float]
    """Shapley values; with the base they add up to the risk's log odds."""
    being_there: Mapping[Modality, float]
    """The part of each that an average note, image or history would have added as well."""
    events: Mapping[str, float]
    """By code, largest first; one that is not among the row's says by not being there."""
    notes: tuple[ExplainedNote, ...]
    images: tuple[ExplainedImage, ...]


def explain(
    served: ServedRun,
    timelines: Timelines,
    task: str,
    *,
    model: str | None = None,
    words: WordReader | None = None,
) -> Explanation:
    """Take a model's risk of one row and one task apart.

    Args:
        served: the run.
        timelines: one row.
        task: one of the run's.
        model: any of the run's; the task's champion by default.
        words: goes on from sentences to words; without it, sentences are as far as it goes.

    Raises:
        ValueError: several rows, or a task or a model that there isn't.
    """
    name = model or served.champion(task)
    number = served.tasks.index(task)
    timelines = served.seen(timelines)
    scorer = Remembered(served.scorer(name), timelines)
    modalities = shapley(scorer, timelines, number)
    fitted, calibrator = served.fitted(name), served.calibrator(task, name)
    raw = Remembered(fitted, timelines)
    there = [m for m in Modality if timelines.has(m)[0]]
    take_apart = insides_of(fitted, timelines, task_index=number)
    inside = Inside()
    being_there: dict[Modality, float] = dict.fromkeys(Modality, 0.0)
    for place, modality in enumerate(Modality):
        if modality not in there:
            continue
        mine = Inside()
        for shown, weight in _coalitions(modality, there):
            ends = [raw.score(timelines, s)[0, number] for s in (shown - {modality}, shown)]
            stretch = _stretch(calibrator, *to_logit(np.array(ends)).tolist())
            mine = mine.plus(take_apart(modality, shown), weight * stretch)
        being_there[modality] = float(modalities.values[0, place]) - mine.total()
        inside = inside.plus(mine)
    return Explanation(
        task=task,
        model=name,
        risk=float(scorer.score(timelines)[0, number]),
        base=float(modalities.base[0]),
        modalities={m: float(modalities.values[0, i]) for i, m in enumerate(Modality)},
        being_there=being_there,
        events=dict(sorted(inside.events.items(), key=lambda one: -abs(one[1]))),
        notes=_notes(inside, timelines, words),
        images=_images(inside, timelines),
    )


def _coalitions(
    modality: Modality, there: list[Modality]
) -> list[tuple[frozenset[Modality], float]]:
    """Give each subset that the modality can join, with it, and its weight in a Shapley value."""
    others = [m for m in there if m != modality]
    n = len(there)
    found = []
    for mask in range(2 ** len(others)):
        chosen = frozenset(m for i, m in enumerate(others) if mask >> i & 1)
        weight = factorial(len(chosen)) * factorial(n - len(chosen) - 1) / factorial(n)
        found.append((chosen | {modality}, weight))
    return sorted(found, key=lambda one: subset_name(one[0]))


def _stretch(calibrator: Calibrator, before: float, after: float) -> float:
    """Say how much calibration stretches the way between two log odds.

    Platt's slope; of isotonic steps, what they do between the two, or around them if they are near.
    """
    if calibrator.kind == "identity":
        return 1.0
    if calibrator.kind == "platt":
        return calibrator.slope
    if abs(after - before) < _NEAR:
        middle = (before + after) / 2
        before, after = middle - _NEAR / 2, middle + _NEAR / 2
    low, high = to_logit(calibrator.apply(expit(np.array([before, after]))))
    return float(high - low) / (after - before)


def _notes(
    inside: Inside, timelines: Timelines, words: WordReader | None
) -> tuple[ExplainedNote, ...]:
    texts = timelines.part(Modality.NOTES)["text_value"].fillna("").astype(str).tolist()
    found = []
    for number in sorted(inside.sentences.keys() | inside.words.keys()):
        text = texts[number]
        shares = inside.sentences.get(number, np.zeros(0))
        counted = inside.words.get(number, {})
        said = [Span(start=a, end=b, log_odds=v) for (a, b), v in sorted(counted.items())]
        sentences: tuple[Span, ...] = ()
        if words is not None and len(shares):
            where = words.spans(text)[: len(shares)]
            sentences = tuple(
                Span(start=a, end=b, log_odds=float(v))
                for (a, b), v in zip(where, shares, strict=True)
            )
            if number in inside.slopes:
                said += _words_of(sentences, words.words(text, inside.slopes[number]))
            sentences = tuple(
                replace(s, log_odds=s.log_odds + _counted_in(s, counted)) for s in sentences
            )
        found.append(
            ExplainedNote(
                number=number,
                sentences=sentences,
                words=_by_word(text, said),
                log_odds=float(shares.sum()) + sum(counted.values()),
            )
        )
    return tuple(found)


def _counted_in(sentence: Span, counted: Mapping[tuple[int, int], float]) -> float:
    inside = [v for (a, _), v in counted.items() if sentence.start <= a < sentence.end]
    return float(sum(inside))


def _words_of(sentences: tuple[Span, ...], read: list[tuple[int, int, float]]) -> Iterator[Span]:
    """Make the words of a sentence add up to it.

    A word's way starts at padding, the sentence's at the average sentence; what lies between the
    two belongs to no word, and goes to all of them alike.
    """
    for sentence in sentences:
        mine = [word for word in read if sentence.start <= word[0] < sentence.end]
        rest = sentence.log_odds - sum(share for *_, share in mine)
        for start, end, share in mine:
            yield Span(start=start, end=end, log_odds=share + rest / len(mine))


def _by_word(text: str, spans: list[Span]) -> tuple[Span, ...]:
    """Add up what falls on the same word: encoders and counters cut words differently.

    Words end at spaces; where a script has none, what overlaps is a word.
    """
    found: list[Span] = []
    for match in re.finditer(r"\S+", text):
        inner = sorted(
            (s for s in spans if match.start() <= s.start < match.end()), key=lambda s: s.start
        )
        if inner and not _UNSPACED.search(match.group()):
            total = sum(s.log_odds for s in inner)
            found.append(Span(start=match.start(), end=match.end(), log_odds=total))
            continue
        groups: list[Span] = []
        for span in inner:
            if groups and span.start < groups[-1].end:
                last = groups.pop()
                total = last.log_odds + span.log_odds
                span = Span(start=last.start, end=max(last.end, span.end), log_odds=total)
            groups.append(span)
        found += groups
    return tuple(found)


def _images(inside: Inside, timelines: Timelines) -> tuple[ExplainedImage, ...]:
    paths = timelines.part(Modality.IMAGES)["image"]
    found = []
    for number, shares in sorted(inside.images.items()):
        side = round(len(shares) ** 0.5)
        if side * side != len(shares):
            raise ValueError(f"an image's tokens must fill a square grid; got {len(shares)}")
        grid = np.asarray(shares, np.float64).reshape(side, side)
        path = timelines.images / str(paths[number])
        found.append(ExplainedImage(number=number, path=path, grid=grid))
    return tuple(found)
