"""Where a patient is unlike those of training: whatever model serves, its risk rests on nothing.

For each modality that a row has, a distance to the rows of train (`unlike_events`, `unlike_tokens`)
becomes a p-value: the share of reference rows, which training did not see, that are at least as
unlike, the row itself counted among them (conformal anomaly detection: Laxhammar and Falkman 2010;
Bates, Candès, Lei, Romano and Sesia, Annals of Statistics 51, 2023). So of rows that are drawn as
the reference rows were, no more than a share of alpha have a p-value of alpha or less, whatever the
distance is worth. Over the m modalities of a row the smallest is taken m times (Bonferroni), which
keeps that promise for the row.

A p-value cannot be less than 1 / (reference rows + 1), so that at alpha 0.01 a row of three
modalities can be called unlike from 299 reference rows on; with fewer nothing is, and `evaluate`
says so. What training had of a modality in fewer than 20 items cannot be compared with, and has no
p-value.

Reference rows are those of tuning and calibration. A run that is cross-fitted measures each row
against the other folds', which makes the share approximate. A large hospital's rows are sampled: a
covariance of 2,000 rows is as good, and of images a sample is read in minutes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Bool, Float64
from safetensors.numpy import load_file, save_file

from fusion.candidates import Embedder
from fusion.folds import subject_folds
from fusion.run import read_json, write_json
from fusion.scoring import ALL_MODALITIES
from fusion.unlike_events import EventSpread
from fusion.unlike_tokens import ItemMeans, TokenSpread, read_items
from ingest.errors import RunError
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["ALPHA", "Familiar", "Unlikeness", "fit_familiar"]

ALPHA = 0.01
"""The share of false alarms that is borne."""

_TRAIN_ROWS, _REFERENCE_ROWS = 2000, 4000
_FEWEST_ITEMS = 20
_TOKENS = (Modality.NOTES, Modality.IMAGES)


@dataclass(frozen=True, kw_only=True)
class Unlikeness:
    """Say of b rows how unlike training they are; columns are in the order of Modality."""

    by_modality: Float64[np.ndarray, "b 3"]
    """p-values; NaN where the row lacks the modality, or there is nothing to compare it with."""

    least: Float64[np.ndarray, " 3"]
    """The least p-value that there can be: 1 / (reference rows + 1)."""

    @property
    def p(self) -> Float64[np.ndarray, " b"]:
        """Give each row's p-value: m times the smallest of its m, 1 at most and where m is 0."""
        has = np.isfinite(self.by_modality)
        smallest = np.where(has, self.by_modality, 1.0).min(axis=1)
        return np.minimum(1.0, smallest * np.maximum(has.sum(axis=1), 1))

    def unlike(self, alpha: float = ALPHA) -> Bool[np.ndarray, " b"]:
        """Say which rows are unlike training, at a share of false alarms of at most alpha."""
        return self.p <= alpha

    def can_be(self, alpha: float = ALPHA) -> Bool[np.ndarray, " b"]:
        """Say which rows could be called unlike at all: the reference rows are enough for alpha."""
        has = np.isfinite(self.by_modality)
        best = np.where(has, self.least, 1.0).min(axis=1)
        return best * np.maximum(has.sum(axis=1), 1) <= alpha

    def where(self) -> list[Modality | None]:
        """Name the modality of each row that is most unlike; None where none was compared."""
        smallest = np.where(np.isfinite(self.by_modality), self.by_modality, np.inf)
        names = list(Modality)
        return [
            names[place] if np.isfinite(smallest[row, place]) else None
            for row, place in enumerate(smallest.argmin(axis=1))
        ]


class _Spreads:
    """What was fitted on train: of each modality that train had enough of."""

    def __init__(self, *, events: EventSpread | None, tokens: Mapping[Modality, TokenSpread]):
        self.events, self.tokens = events, tokens

    @classmethod
    def fit(cls, timelines: Timelines, items: Mapping[Modality, ItemMeans]) -> Self:
        enough = int(timelines.has(Modality.EVENTS).sum()) >= _FEWEST_ITEMS
        return cls(
            events=EventSpread.fit(timelines) if enough else None,
            tokens={
                modality: TokenSpread.fit(found.mean)
                for modality, found in items.items()
                if len(found.row) >= _FEWEST_ITEMS
            },
        )

    def distances(
        self, timelines: Timelines, items: Mapping[Modality, ItemMeans]
    ) -> Float64[np.ndarray, "b 3"]:
        found = np.full((len(timelines), len(Modality)), np.nan)
        for place, modality in enumerate(Modality):
            if modality in self.tokens and modality in items:
                found[:, place] = self.tokens[modality].by_row(items[modality], len(timelines))
            elif modality is Modality.EVENTS and self.events is not None:
                found[:, place] = self.events.distance(timelines)
        return found


class Familiar:
    """Know the rows of train as a whole, and how unlike them rows that it had not seen were."""

    def __init__(
        self,
        spreads: _Spreads,
        reference: Mapping[Modality, np.ndarray],
        *,
        cross_fitted: bool,
        encoders: Embedder,
    ):
        self.cross_fitted = cross_fitted
        self.reference = reference
        """Rising distances of the reference rows that have a modality: [n] float64."""
        self._spreads, self._encoders = spreads, encoders

    def compare(self, timelines: Timelines) -> Unlikeness:
        """Say how unlike train each row is; the codes that models do not see are to be left out.

        Notes and images are read through the encoders, whose cache makes that cheap where a model
        has read them before.
        """
        items = {m: read_items(timelines, m, self._encoders) for m in self._spreads.tokens}
        distances = self._spreads.distances(timelines, items)
        found = np.full(distances.shape, np.nan)
        least = np.ones(len(Modality))
        for place, modality in enumerate(Modality):
            rising = self.reference.get(modality, np.zeros(0))
            if not len(rising):
                continue
            has = ~np.isnan(distances[:, place])
            beyond = len(rising) - np.searchsorted(rising, distances[has, place], "left")
            found[has, place] = (beyond + 1) / (len(rising) + 1)
            least[place] = 1 / (len(rising) + 1)
        return Unlikeness(by_modality=found, least=least)

    def save(self, folder: Path) -> None:
        """Write JSON and safetensors; the same rows, the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        events = self._spreads.events
        content = {
            "cross_fitted": self.cross_fitted,
            "events": events.to_json() if events else None,
            "tokens": [str(modality) for modality in self._spreads.tokens],
        }
        write_json(folder / "unlikeness.json", content)
        arrays = {f"{m} reference": found for m, found in self.reference.items()}
        for modality, spread in self._spreads.tokens.items():
            arrays[f"{modality} centre"] = spread.centre
            arrays[f"{modality} whiten"] = spread.whiten
        save_file(arrays, folder / "unlikeness.safetensors")

    @classmethod
    def load(cls, folder: Path, encoders: Embedder) -> Self:
        """Read what `save` wrote.

        Raises:
            RunError: it is something else.
        """
        content = read_json(folder / "unlikeness.json", "cross_fitted", "events", "tokens")
        arrays = load_file(folder / "unlikeness.safetensors")
        try:
            events = content["events"]
            spreads = _Spreads(
                events=EventSpread.from_json(events) if events else None,
                tokens={
                    Modality(name): TokenSpread(
                        centre=arrays[f"{name} centre"], whiten=arrays[f"{name} whiten"]
                    )
                    for name in content["tokens"]
                },
            )
            found = {m: arrays[name] for m in Modality if (name := f"{m} reference") in arrays}
            return cls(
                spreads, found, cross_fitted=bool(content["cross_fitted"]), encoders=encoders
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise RunError(f"{folder} is not what Medweave wrote; train again") from None


def fit_familiar(
    train: Timelines,
    reference: Sequence[Timelines],
    encoders: Embedder,
    *,
    modalities: frozenset[Modality] = ALL_MODALITIES,
    seed: int = 0,
    folds: int | None = None,
) -> Familiar:
    """Measure the rows of train, and how unlike them the reference rows are.

    Args:
        train: what models learn from; all rows, where `folds` are given.
        reference: rows that they do not learn from; not looked at where `folds` are given.
        encoders: the frozen encoders.
        modalities: of notes and images, which are compared; events always are.
        seed: of the samples and the folds.
        folds: measure each row of train against the other folds' instead.
    """
    train = _sample(train, _REFERENCE_ROWS if folds else _TRAIN_ROWS, seed)
    items = {m: read_items(train, m, encoders) for m in _TOKENS if m in modalities}
    spreads = _Spreads.fit(train, items)
    if folds:
        distances = [_out_of_fold(train, items, folds, seed)]
    else:
        most = _REFERENCE_ROWS // max(len(reference), 1)
        distances = []
        for rows in (_sample(rows, most, seed) for rows in reference if len(rows)):
            seen = {m: read_items(rows, m, encoders) for m in spreads.tokens}
            distances.append(spreads.distances(rows, seen))
    every = np.concatenate([np.zeros((0, len(Modality))), *distances])
    rising = {m: np.sort(every[~np.isnan(every[:, i]), i]) for i, m in enumerate(Modality)}
    known = {m: found for m, found in rising.items() if len(found)}
    return Familiar(spreads, known, cross_fitted=bool(folds), encoders=encoders)


def _sample(timelines: Timelines, most: int, seed: int) -> Timelines:
    if len(timelines) <= most:
        return timelines
    return timelines.take(np.sort(np.random.default_rng(seed).permutation(len(timelines))[:most]))


def _out_of_fold(
    timelines: Timelines, items: Mapping[Modality, ItemMeans], folds: int, seed: int
) -> Float64[np.ndarray, "b 3"]:
    subjects = timelines.index["subject_id"].to_numpy()
    folds = min(folds, len(np.unique(subjects)))
    found = np.full((len(timelines), len(Modality)), np.nan)
    if folds < 2:
        return found
    fold = subject_folds(subjects, np.zeros(len(subjects)), folds=folds, seed=seed)
    for held in range(folds):
        inside, outside = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        spreads = _Spreads.fit(timelines.take(inside), _items_of(items, inside))
        found[outside] = spreads.distances(timelines.take(outside), _items_of(items, outside))
    return found


def _items_of(items: Mapping[Modality, ItemMeans], rows: np.ndarray) -> dict[Modality, ItemMeans]:
    """Give the items of some rows, which are sorted, numbered anew."""
    found = {}
    for modality, those in items.items():
        mine = np.isin(those.row, rows)
        found[modality] = ItemMeans(np.searchsorted(rows, those.row[mine]), those.mean[mine])
    return found
