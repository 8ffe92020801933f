"""What goes wrong with records when a model is asked: the rows of the table of robustness.

Everything is drawn by a seed, and the same draws serve all sizes of a disturbance: one deviation of
noise is twice the half deviation, and who loses one event in two loses that one in four, too.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter
from scipy.special import expit, logit

from ingest.schema import Modality
from ingest.timeline import Timelines
from tests.benchmarks.spoilt import spoil_events, spoil_films, spoil_notes

__all__ = ["Disturbance", "Spreads", "disturbances", "move_odds", "with_prevalence"]

_FEWEST_VALUES = 20
_WORD = re.compile(r"\S+\s*")
_LONG_WORD = re.compile(r"[^\W\d_]{4,}")
_LETTERS = list("abcdefghijklmnopqrstuvwxyz")
_SHARE_OF_WORDS = 0.25
_FILM_NOISE = 0.1  # of full scale; a simulated film has 0.02 of its own


class Disturbance(NamedTuple):
    """One row of the table: which part it reaches, what it is called, and what it does."""

    part: str
    name: str
    apply: Callable[[Timelines], Timelines]


class Spreads:
    """Know how far each code's values scatter in train: the unit that noise is measured in."""

    def __init__(self, deviation: dict[str, float], logarithmic: frozenset[str]):
        self.deviation = deviation
        """Standard deviation, of the logarithm for the codes in `logarithmic`."""
        self.logarithmic = logarithmic
        """Codes whose values were all above 0: noise multiplies them, and none falls below 0."""

    @classmethod
    def fit(cls, train: Timelines) -> Self:
        """Measure the codes that have at least 20 values."""
        events = train.part(Modality.EVENTS)
        value = events["numeric_value"].to_numpy(np.float64, na_value=np.nan)
        known = np.isfinite(value)
        deviation, logarithmic = {}, set()
        for code, found in pd.Series(value[known]).groupby(
            events["code"].astype(str).to_numpy()[known]
        ):
            if len(found) < _FEWEST_VALUES:
                continue
            if (found > 0).all():
                logarithmic.add(str(code))
                found = np.log(found)
            deviation[str(code)] = float(found.std(ddof=0))
        return cls(deviation, frozenset(logarithmic))


def disturbances(spreads: Spreads, place: Path, seed: int) -> Iterator[Disturbance]:
    """Give each disturbance, mild ones first, then what is missing; films go under `place`."""
    films = {
        "noise of 10 % of full scale": _grainy,
        "blurred (a 64th of the width)": _blurred,
        "half the contrast": _flat,
        "half as bright": lambda film, rng: film.point(lambda grey: grey // 2),
    }
    noisy = {
        size: partial(spoil_events, how=partial(_noisy, spreads=spreads, size=size), seed=seed)
        for size in (0.5, 1.0)
    }
    mistyped = partial(spoil_notes, how=_mistyped, seed=seed)
    for size, apply in noisy.items():
        yield Disturbance("events", f"values with noise of {size:g} SD", apply)
    for share in (0.25, 0.5):
        lost = partial(spoil_events, how=partial(_lost, share=share), seed=seed)
        yield Disturbance("events", f"1 in {1 / share:g} lost", lost)
    fewer = partial(spoil_notes, how=_fewer_words, seed=seed)
    yield Disturbance("notes", "1 in 4 words lost", fewer)
    yield Disturbance("notes", "1 in 4 long words mistyped", mistyped)
    for number, (name, how) in enumerate(films.items()):
        apply = partial(spoil_films, how=how, place=place / f"{number}", seed=seed)
        yield Disturbance("images", name, apply)

    def all_three(timelines: Timelines) -> Timelines:
        spoilt = mistyped(noisy[0.5](timelines))
        return spoil_films(spoilt, how=_blurred, place=place / "all", seed=seed)

    yield Disturbance("all", "noise of 0.5 SD, mistyped, blurred", all_three)
    every = list(Modality)
    for gone in [{m} for m in every] + [set(every) - {m} for m in reversed(every)]:
        left = frozenset(every) - gone
        names = " and ".join(str(m) for m in every if m in gone)
        yield Disturbance("missing", f"no {names}", partial(Timelines.only, modalities=left))


def with_prevalence(label: np.ndarray, wanted: float, rng: np.random.Generator) -> np.ndarray:
    """Give the rows, rising, that make up a wanted prevalence: all of one class, some of the other.

    Raises:
        ValueError: it is not between 0 and 1, or there is one class only.
    """
    if not 0 < wanted < 1:
        raise ValueError(f"a prevalence must be between 0 and 1; got {wanted}")
    ill, well = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    if not len(ill) or not len(well):
        raise ValueError("rows of one class only have no other prevalence")
    if wanted > label.mean():
        well = rng.permutation(well)[: round(len(ill) * (1 - wanted) / wanted)]
    else:
        ill = rng.permutation(ill)[: round(len(well) * wanted / (1 - wanted))]
    return np.sort(np.concatenate([ill, well]))


def move_odds(risk: np.ndarray, *, learnt: float, here: float) -> np.ndarray:
    """Move risks from the prevalence they were learnt at to another, as Bayes' rule says.

    It is right where the ill look alike in both places, and the well do (Saerens, Latinne and
    Decaestecker, Neural Computation 14, 2002).
    """
    return expit(logit(risk) + logit(here) - logit(learnt))


def _noisy(
    events: pd.DataFrame, rng: np.random.Generator, *, spreads: Spreads, size: float
) -> pd.DataFrame:
    code = events["code"].astype(str)
    value = events["numeric_value"].to_numpy(np.float64, na_value=np.nan)
    off = size * code.map(spreads.deviation).fillna(0.0).to_numpy(np.float64)
    off *= rng.standard_normal(len(events))
    times = code.isin(spreads.logarithmic).to_numpy() & (value > 0)
    found = np.where(times, value * np.exp(off), value + off)
    return events.assign(numeric_value=found.astype(events["numeric_value"].dtype))


def _lost(events: pd.DataFrame, rng: np.random.Generator, *, share: float) -> pd.DataFrame:
    """Lose events that have a time; sex and birth stand in a record's head."""
    head = (events["time"].isna() | (events["code"] == "MEDS_BIRTH")).to_numpy()
    return events[head | (rng.random(len(events)) >= share)]


def _fewer_words(text: str, rng: np.random.Generator) -> str:
    words = _WORD.findall(text)
    return "".join(
        w for w, kept in zip(words, rng.random(len(words)), strict=True) if kept >= _SHARE_OF_WORDS
    )


def _mistyped(text: str, rng: np.random.Generator) -> str:
    """Swap two neighbours, leave a letter out or type another one; the first letter stands."""

    def typed(found: re.Match[str]) -> str:
        word = found[0]
        if rng.random() >= _SHARE_OF_WORDS:
            return word
        at, kind = int(rng.integers(1, len(word) - 1)), rng.integers(3)
        if kind == 0 and word[at] != word[at + 1]:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        others = [letter for letter in _LETTERS if letter != word[at].lower()]
        put = str(rng.choice(others)) if kind == 1 else ""
        return word[:at] + put + word[at + 1 :]

    return _LONG_WORD.sub(typed, text)


def _grainy(film: Image.Image, rng: np.random.Generator) -> Image.Image:
    grey = np.asarray(film, np.float64)
    grey = grey + 255 * _FILM_NOISE * rng.standard_normal(grey.shape)
    return Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))


def _blurred(film: Image.Image, rng: np.random.Generator) -> Image.Image:
    return film.filter(ImageFilter.GaussianBlur(film.width / 64))


def _flat(film: Image.Image, rng: np.random.Generator) -> Image.Image:
    grey = np.asarray(film, np.float64)
    return Image.fromarray(np.rint(grey.mean() + 0.5 * (grey - grey.mean())).astype(np.uint8))
