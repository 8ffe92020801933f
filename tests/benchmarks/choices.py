"""What each choice of the wide part is worth, on a hospital that judges nothing else.

Hospitals of this benchmark have seeds of their own, so that what is chosen here is not chosen on
those of the table of known truth. Each row changes one thing of the row before it. Regressions
alone are fitted, not attention, so that a row takes a minute once the tokens are there.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score

from encoders.frozen import FrozenEncoders
from encoders.image import ImageConfig
from encoders.vocabulary import EventVocabulary
from fusion.linear import fit_logistic
from fusion.prevalence import clip_risk
from fusion.rows import Rows, read_rows
from fusion.train import excluded_codes
from fusion.whitening import agreed_directions, agreed_views, principal_directions
from fusion.wide import GATES, WideInputs, WidePart, fit_wide, wide_features
from ingest.labels import read_cohort
from ingest.schema import Modality
from tests.benchmarks.known_truth import Hospital

__all__ = ["SEED", "judge_choices"]

SEED = 50
"""Of the hospital; the table of known truth has 0 to 2."""

_COUNT = 64
_PRODUCTS = 24
_VIEWED = 1200
_COARSE, _FINE = ImageConfig(maps=(-1, -2), grid=4), ImageConfig()


class _Choice(NamedTuple):
    name: str
    images: ImageConfig = _COARSE
    agreed_notes: bool = False
    agreed_images: bool = False
    interaction: str = "products"
    every_feature: bool = True


_CHOICES = (
    _Choice("sums of principal directions", interaction="none"),
    _Choice("… and products of 24 x 24 of them (as it was)"),
    _Choice("a gate in place of the products", interaction="gate"),
    _Choice("notes by what their sentences agree on", interaction="gate", agreed_notes=True),
    _Choice("images by the map before the last, 7 x 7", _FINE, True, False, "gate"),
    _Choice("images by what two views agree on", _FINE, True, True, "gate"),
    _Choice("events without what repeats itself (as it is)", _FINE, True, True, "gate", False),
    _Choice("… with products in place of the gate", _FINE, True, True, "products", False),
    _Choice("… with neither", _FINE, True, True, "none", False),
)


def judge_choices(hospital: Hospital, training: int, held_out: int) -> Iterator[dict[str, Any]]:
    """Give, for each choice, how far held-out risks are from the best possible ones."""
    cohort = hospital.cohort(training, held_out)
    table, patterns = read_cohort(cohort), excluded_codes(cohort)
    train, judged = (
        read_rows(hospital.store, table, keys, exclude_codes=patterns)
        for keys in (
            np.concatenate([table.rows(s) for s in ("train", "tuning", "calibration")]),
            table.rows("held_out"),
        )
    )
    best = hospital.risks(judged.subjects)["events+notes+images"]
    label = judged.labels[:, 0]
    vocabulary = EventVocabulary.fit(train.timelines)
    read: dict[ImageConfig, tuple[_Items, _Items]] = {}
    for choice in _CHOICES:
        if choice.images not in read:
            encoders = FrozenEncoders(hospital.tokens)
            encoders.image_config = choice.images
            read[choice.images] = (_items(train, encoders, views=True), _items(judged, encoders))
        mine, theirs = read[choice.images]
        note, image = _directions(mine, choice)
        inputs = [
            _inputs(rows, items, vocabulary, note, image, every_feature=choice.every_feature)
            for rows, items in ((train, mine), (judged, theirs))
        ]
        risk = _risks(*inputs, len(vocabulary), choice.interaction)
        yield {
            "choice": choice.name,
            "auroc": roc_auc_score(label, risk),
            "logloss": log_loss(label, risk),
            "behind": roc_auc_score(label, best) - roc_auc_score(label, risk),
        }


class _Items(NamedTuple):
    """The notes and images of rows, as wholes."""

    notes: list[np.ndarray]
    note_row: np.ndarray
    images: np.ndarray
    image_row: np.ndarray
    views: tuple[np.ndarray, np.ndarray] | None


_Directions = tuple[np.ndarray, np.ndarray]


def _items(rows: Rows, encoders: FrozenEncoders, *, views: bool = False) -> _Items:
    timelines = rows.timelines
    note = timelines.part(Modality.NOTES).dropna(subset="text_value")
    image = timelines.part(Modality.IMAGES).dropna(subset="image")
    paths = [timelines.images / str(path) for path in image["image"]]
    tokens = encoders.notes(note["text_value"].astype(str).tolist(), progress=True)
    full = np.array([len(each) > 0 for each in tokens])
    films = np.stack([t.ravel() for t in encoders.images(paths, progress=True)])
    seen = None
    if views:
        chosen = np.random.default_rng(0).permutation(len(paths))[:_VIEWED]
        again = encoders.image_views([paths[place] for place in chosen], progress=True)
        seen = films[chosen], np.stack([t.ravel() for t in again])
    return _Items(
        [each for each in tokens if len(each)],
        note["row"].to_numpy()[full],
        films,
        image["row"].to_numpy(),
        seen,
    )


def _directions(train: _Items, choice: _Choice) -> tuple[_Directions, _Directions]:
    whole = np.stack([note.mean(axis=0) for note in train.notes])
    note = principal_directions(whole, _COUNT, power=0.5, at_most=2000)
    image = principal_directions(train.images, _COUNT, power=0.5, at_most=2000)
    if choice.agreed_notes:
        note = agreed_directions(train.notes, _COUNT) or note
    if choice.agreed_images and train.views:
        image = agreed_views(*train.views, _COUNT) or image
    return note, image


def _inputs(
    rows: Rows,
    items: _Items,
    vocabulary: EventVocabulary,
    note: _Directions,
    image: _Directions,
    *,
    every_feature: bool,
) -> WideInputs:
    events = vocabulary.rows(rows.timelines)
    read = wide_features(vocabulary.features)[events.feature] | every_feature
    whole = np.stack([tokens.mean(axis=0) for tokens in items.notes])
    note_of, has_note = _by_row((whole - note[0]) @ note[1], items.note_row, len(rows))
    image_of, has_image = _by_row((items.images - image[0]) @ image[1], items.image_row, len(rows))
    counts = np.diff(events.start)
    return WideInputs(
        row=np.repeat(np.arange(len(rows)), counts)[read],
        feature=events.feature[read],
        value=events.value[read],
        note=note_of,
        image=image_of,
        present=np.stack([counts > 0, has_note, has_image], axis=1),
        labels=rows.labels,
        subjects=rows.subjects,
    )


def _by_row(each: np.ndarray, row: np.ndarray, b: int) -> tuple[np.ndarray, np.ndarray]:
    total, number = np.zeros((b, each.shape[1])), np.zeros(b)
    np.add.at(total, row, each)
    np.add.at(number, row, 1)
    return (total / np.maximum(number, 1)[:, None]).astype(np.float32), number > 0


def _risks(train: WideInputs, judged: WideInputs, features: int, interaction: str) -> np.ndarray:
    if interaction == "products":
        both = [_with_products(inputs, features) for inputs in (train, judged)]
        fitted = fit_logistic(
            both[0], train.labels, subjects=train.subjects, seed=0, strengths=(0.1, 0.3, 1.0)
        )
        return clip_risk(expit(fitted.logits(both[1])[:, 0]))
    part = WidePart(features=features, notes=_COUNT, images=_COUNT, tasks=1)
    fit_wide(part, train, seed=0, gates=GATES if interaction == "gate" else ())
    return clip_risk(expit(_ask(part, judged)))


def _ask(part: WidePart, rows: WideInputs) -> np.ndarray:
    """Give the fitted part's log odds, [n]."""
    n = len(rows.labels)
    counts = np.bincount(rows.row, minlength=n)
    place = np.arange(len(rows.row)) - np.repeat(np.cumsum(counts) - counts, counts)
    feature = torch.zeros((n, max(counts.max(), 1)), dtype=torch.long)
    value, seen = torch.full(feature.shape, torch.nan), torch.zeros(feature.shape, dtype=torch.bool)
    feature[rows.row, place] = torch.from_numpy(rows.feature)
    value[rows.row, place] = torch.from_numpy(rows.value)
    seen[rows.row, place] = True
    with torch.inference_mode():
        dense = map(torch.from_numpy, (rows.note, rows.image, rows.present))
        return part(feature, value, seen, *dense).sum(dim=1)[:, 0].double().numpy()


def _with_products(rows: WideInputs, features: int) -> np.ndarray:
    """Give the columns that the wide part had before it had a gate."""
    n, known = len(rows.labels), np.isfinite(rows.value)
    events = np.zeros((n, 2 * features))
    np.add.at(events, (rows.row, 2 * rows.feature), 1.0)
    np.add.at(
        events,
        (rows.row[known], 2 * rows.feature[known] + 1),
        (rows.value[known] - 0.5) * 12**0.5,
    )
    tokens = max(len(rows.row) / n, 1.0)
    both = rows.note[:, :_PRODUCTS, None] * rows.image[:, None, :_PRODUCTS]
    columns = [events * (2.0 / tokens) ** 0.5, both.reshape(n, -1) / _PRODUCTS]
    for place, x in ((1, rows.note), (2, rows.image)):
        columns.append(np.concatenate([x, rows.present[:, [place]]], axis=1) * _COUNT**-0.5)
    return np.concatenate(columns, axis=1)
