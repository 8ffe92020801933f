"""The wide part of the fusion model: a penalised regression that attention only has to improve on.

With a thousand patients, gradient descent on a quarter of a million weights loses to a regression
with a well-chosen penalty. So the model starts from one: curves of the events' features, directions
of whole notes and images, and a gate between both (`fusion.gate`), where cross-validation finds
that one modality changes what the other means. It is fitted first and then fixed; attention learns
what is left, starting from 0 (Cheng et al., "Wide & Deep Learning for Recommender Systems", 2016).

While attention is trained, each train row gets the wide log odds that a regression fitted without
that row's fold gives. With the fitted ones, which know the labels, nothing would seem to be left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import sparse
from torch import Tensor, nn

from encoders.threads import one_thread
from fusion.folds import subject_folds
from fusion.gate import Gated, fit_gated
from fusion.linear import fit_logistic

__all__ = [
    "BLOCKS",
    "GATES",
    "WideFit",
    "WideInputs",
    "WidePart",
    "fit_wide",
    "shown_blocks",
    "wide_features",
]

BLOCKS = ("events", "notes", "images", "gated", "intercept")
"""What the wide log odds are the sum of."""

_STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)
_START = {"events": 1.0, "notes": 1.0, "images": 1.0}
_SCALES = {"events": (0.3, 2.0), "notes": (0.3, 2.0), "images": (0.3, 2.0)}
"""Tried one block after the other: how much a modality can be trusted differs by hospital."""
GATES = (("notes", "images"), ("images", "notes"))
"""Which modality decides, and which it turns up or down; each is tried."""
_GATE_STRENGTHS = (0.3, 1.0, 3.0)
"""Tried for the gate's weights; the strength that is best for sums was too little for a gate."""
_REPEATING = ("change", "earlier")
"""Kinds of features that say again what last value, mean and slope say: attention alone sees them.
A regression on them all is worse (`python -m tests.benchmarks.quality choices`)."""
_FOLDS = 5
_DENSE_AT_MOST = 2000  # columns; a sparse matrix is slower below and smaller above


class WidePart(nn.Module):
    """Hold the fitted weights and give each block's log odds."""

    def __init__(self, *, features: int, notes: int, images: int, tasks: int):
        super().__init__()
        self.register_buffer("event_weight", torch.zeros(features, 2, tasks))
        self.register_buffer("note_weight", torch.zeros(notes + 1, tasks))
        self.register_buffer("image_weight", torch.zeros(images + 1, tasks))
        self.register_buffer("note_gate", torch.zeros(notes + 1, tasks))
        self.register_buffer("image_gate", torch.zeros(images + 1, tasks))
        self.register_buffer("notes_decide", torch.ones(tasks))  # 1 for yes, 0 for no
        self.register_buffer("intercept", torch.zeros(tasks))

    def forward(
        self,
        feature: Int[Tensor, "b e"],
        value: Float[Tensor, "b e"],
        seen: Bool[Tensor, "b e"],
        note: Float[Tensor, "b s"],
        image: Float[Tensor, "b z"],
        present: Bool[Tensor, "b m"],
    ) -> Float[Tensor, "b 5 k"]:
        """Give the log odds of each of BLOCKS; 0 for what a row lacks."""
        known = torch.isfinite(value) & seen
        centred = torch.where(known, value - 0.5, 0.0)
        weight = self.event_weight[feature]
        curves = weight[..., 0, :] + centred[..., None] * weight[..., 1, :]
        events = torch.where(seen[..., None], curves, 0.0).sum(dim=1)
        notes, note_gate = (_affine(note, w) for w in (self.note_weight, self.note_gate))
        images, image_gate = (_affine(image, w) for w in (self.image_weight, self.image_gate))
        gated = torch.where(
            self.notes_decide > 0.5, note_gate.tanh() * image_gate, image_gate.tanh() * note_gate
        )
        blocks = torch.stack([events, notes, images, gated], dim=1)
        blocks = torch.where(shown_blocks(present)[..., None], blocks, 0.0)
        return torch.cat([blocks, self.intercept.expand(blocks.shape[0], 1, -1)], dim=1)


def _affine(x: Float[Tensor, "b s"], weight: Float[Tensor, "s1 k"]) -> Float[Tensor, "b k"]:
    return x @ weight[:-1] + weight[-1]


def wide_features(names: Sequence[str]) -> Bool[np.ndarray, " f"]:
    """Say which of a vocabulary's features the wide part reads.

    >>> wide_features(["LOINC//2951-2 last", "LOINC//2951-2 earlier"]).tolist()
    [True, False]
    """
    return np.array([name.rpartition(" ")[2] not in _REPEATING for name in names])


def shown_blocks(shown: Bool[Tensor, "*b m"]) -> Bool[Tensor, "*b 4"]:
    """Say which blocks are there, given which modalities are; a gate needs both."""
    return torch.cat([shown, shown[..., 1:2] & shown[..., 2:3]], dim=-1)


@dataclass(frozen=True, kw_only=True)
class WideInputs:
    """Hold what the wide part is fitted on, for n train rows."""

    row: np.ndarray
    """[t] row of each event feature."""
    feature: np.ndarray
    """[t] its position in the vocabulary."""
    value: np.ndarray
    """[t] its quantile, NaN where it has no value."""
    note: np.ndarray
    """[n s] directions of the notes, 0 where there is none."""
    image: np.ndarray
    """[n z] directions of the images, 0 where there is none."""
    present: np.ndarray
    """[n 3] which modalities are there."""
    labels: np.ndarray
    """[n k], NaN where a label cannot be known."""
    subjects: np.ndarray
    """[n], so that a subject's rows are in one fold."""


@dataclass(frozen=True, kw_only=True)
class WideFit:
    """Say what came of the fit."""

    outside: np.ndarray
    """[n 5 k] float32: each row's log odds by block, fitted without its fold."""
    gates: tuple[tuple[str, str] | None, ...]
    """For each task which modality decides and which it turns, where that is worth its while."""


def fit_wide(
    part: WidePart,
    inputs: WideInputs,
    *,
    seed: int,
    gates: Sequence[tuple[str, str]] = GATES,
) -> WideFit:
    """Set the weights of a wide part; penalties, scales and gates are cross-validated."""
    best = _try(part, inputs, _START, seed)
    for block, scales in _SCALES.items():
        # The better of the scales for this block, given the choices for those before it.
        for scale in scales:
            tried = _try(part, inputs, {**best.scales, block: scale}, seed)
            if tried.loss < best.loss:
                best = tried
    outside, kept = best.outside.copy(), []
    for task, plain in enumerate(best.fitted):
        gate, told = _best_gate(best, inputs, task, gates, seed)
        fitted, outside[:, :, task] = plain, told
        if gate is not None:
            rows = np.flatnonzero(np.isfinite(inputs.labels[:, task]))
            y = inputs.labels[rows, task].astype(np.float64)
            fitted = _with_gate(best.design, rows, y, plain, gate)
        kept.append(gate.pair if gate else None)
        _set(part, task, fitted, gate, best.design)
    return WideFit(outside=outside.astype(np.float32), gates=tuple(kept))


def _best_gate(
    plain: "_Tried", inputs: WideInputs, task: int, gates: Sequence[tuple[str, str]], seed: int
) -> tuple["_How | None", np.ndarray]:
    """Give the gate that is clearly better than none, and each row's log odds by block, [n 5]."""
    without, fitted = plain.outside[:, :, task], plain.fitted[task]
    labels = inputs.labels[:, task]
    if not fitted.strength:
        return None, without
    tried = []
    for pair in gates:
        for strength in _GATE_STRENGTHS:
            how = _How(pair, strength)
            outside = _outside(plain.design, inputs, fitted, task, how, seed)
            tried.append((float(np.nanmean(_each(outside, labels))), how, outside))
    if not tried:
        return None, without
    _, how, outside = min(tried, key=lambda t: t[0])
    gains = _clearly_less(_each(outside, labels), _each(without, labels), inputs.subjects)
    return (how, outside) if gains else (None, without)


class _Design(NamedTuple):
    x: np.ndarray | sparse.csr_matrix
    """[n p], each block brought to its scale."""
    columns: np.ndarray
    """[p] what they were multiplied by."""
    place: dict[str, slice]
    """Where each modality's columns are."""


class _Task(NamedTuple):
    weights: np.ndarray
    intercept: float
    strength: float
    """0 where there was nothing to fit."""
    gated: Gated | None = None


class _How(NamedTuple):
    pair: tuple[str, str]
    strength: float


class _Tried(NamedTuple):
    loss: float
    scales: dict[str, float]
    outside: np.ndarray
    fitted: list[_Task]
    design: _Design


def _try(part: WidePart, inputs: WideInputs, scales: dict[str, float], seed: int) -> _Tried:
    design = _design(inputs, part.event_weight.shape[0], scales)
    found = fit_logistic(
        design.x, inputs.labels, subjects=inputs.subjects, seed=seed, strengths=_STRENGTHS
    )
    fitted = [
        _Task(weights, float(intercept), strength)
        for weights, intercept, strength in zip(
            found.weights, found.intercepts, found.strengths, strict=True
        )
    ]
    told = [_outside(design, inputs, task, k, None, seed) for k, task in enumerate(fitted)]
    outside = np.stack(told, axis=2)
    losses = [_each(outside[:, :, k], inputs.labels[:, k]) for k in range(len(fitted))]
    known = np.concatenate(losses)
    known = known[np.isfinite(known)]
    loss = float(known.mean()) if len(known) else 0.0
    return _Tried(loss, scales, outside, fitted, design)


def _design(inputs: WideInputs, features: int, scales: dict[str, float]) -> _Design:
    n = len(inputs.labels)
    known = np.isfinite(inputs.value)
    rows = np.concatenate([inputs.row, inputs.row[known]])
    places = np.concatenate([2 * inputs.feature, 2 * inputs.feature[known] + 1])
    values = np.concatenate([np.ones(len(inputs.row)), inputs.value[known] - 0.5])
    events = sparse.csr_matrix((values, (rows, places)), shape=(n, 2 * features))
    tokens = max(len(inputs.row) / max(n, 1), 1.0)
    # A quantile less 0.5 has a variance of 1/12; then each block's variances add up to about 1.
    columns = [np.tile([1.0, 12.0**0.5], features) * (2.0 / tokens) ** 0.5 * scales["events"]]
    dense = []
    for name, x, has in (
        ("notes", inputs.note, inputs.present[:, 1]),
        ("images", inputs.image, inputs.present[:, 2]),
    ):
        dense.append(np.concatenate([x, has[:, None]], axis=1))
        columns.append(np.full(x.shape[1] + 1, scales[name] * x.shape[1] ** -0.5))
    edges = np.cumsum([0, *map(len, columns)])
    place = {name: slice(*edges[i : i + 2]) for i, name in enumerate(BLOCKS[:3])}
    scaling = np.concatenate(columns)
    if len(scaling) <= _DENSE_AT_MOST:
        x = np.concatenate([events.toarray(), *dense], axis=1) * scaling
    else:
        x = sparse.hstack([events, *dense], format="csr") @ sparse.diags(scaling)
    return _Design(x, scaling, place)


def _outside(
    design: _Design, inputs: WideInputs, fitted: _Task, task: int, how: _How | None, seed: int
) -> np.ndarray:
    """Give each row's log odds by block, [n 5], fitted without the row's fold."""
    n = len(inputs.labels)
    outside = np.zeros((n, len(BLOCKS)))
    labels = inputs.labels[:, task : task + 1]
    outside[:, -1] = fitted.intercept
    rows = np.flatnonzero(np.isfinite(labels[:, 0]))
    classes = [np.unique(inputs.subjects[rows][labels[rows, 0] == c]) for c in (0, 1)]
    folds = min(_FOLDS, *(len(c) for c in classes))
    if folds < 2:
        return outside
    fold = np.full(n, -1)
    known = labels[rows, 0].astype(np.int64)
    fold[rows] = subject_folds(inputs.subjects[rows], known, folds=folds, seed=seed)
    fold[fold < 0] = 0  # without a label no fold has fitted on it
    for held in range(folds):
        inside = rows[fold[rows] != held]
        there = np.flatnonzero(fold == held)
        found = fit_logistic(
            design.x[inside],
            labels[inside],
            subjects=inputs.subjects[inside],
            seed=seed,
            strengths=(fitted.strength,),
        )
        inner = _Task(found.weights[0], float(found.intercepts[0]), fitted.strength)
        if how is not None:
            y = labels[inside, 0].astype(np.float64)
            inner = _with_gate(design, inside, y, inner, how)
        outside[there] = _blocks(design, there, inner, how)
    return outside


def _with_gate(design: _Design, rows: np.ndarray, y: np.ndarray, plain: _Task, how: _How) -> _Task:
    with one_thread():
        gated = fit_gated(
            design.x[rows],
            y,
            asked=design.place[how.pair[0]],
            offered=design.place[how.pair[1]],
            strength=plain.strength,
            gate_strength=how.strength,
            weights=plain.weights,
            intercept=plain.intercept,
        )
    return _Task(gated.weights, gated.intercept, plain.strength, gated)


def _blocks(design: _Design, rows: np.ndarray, fitted: _Task, how: _How | None) -> np.ndarray:
    x = design.x[rows]
    told = [x[:, here] @ fitted.weights[here] for here in design.place.values()]
    gated = np.zeros(len(rows))
    if fitted.gated is not None and how is not None:
        asked, offered = (x[:, design.place[name]] for name in how.pair)
        gated = np.tanh(asked @ fitted.gated.asked) * (offered @ fitted.gated.offered)
    return np.stack([*told, gated, np.full(len(rows), fitted.intercept)], axis=1)


def _each(outside: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Give each row's log-loss; NaN where the label cannot be known."""
    logits = outside.sum(axis=1)
    told = np.logaddexp(0.0, np.where(labels > 0, -logits, logits))
    return np.where(np.isfinite(labels), told, np.nan)


def _clearly_less(mine: np.ndarray, told: np.ndarray, subjects: np.ndarray) -> bool:
    """Say whether a loss is less by more than twice its standard error over subjects."""
    known = np.isfinite(mine)
    less = (told - mine)[known]
    _, subject = np.unique(subjects[known], return_inverse=True)
    by_subject = np.bincount(subject, less)
    error = np.sqrt(len(by_subject)) * np.std(by_subject) / max(len(less), 1)
    return bool(less.mean() > 2 * error) if len(less) else False


def _set(part: WidePart, task: int, fitted: _Task, how: _How | None, design: _Design) -> None:
    """Copy a task's weights, in the units of the inputs, to the part's tensors."""
    given = {name: fitted.weights[p] * design.columns[p] for name, p in design.place.items()}
    tensors = {
        part.event_weight: given["events"].reshape(-1, 2),
        part.note_weight: given["notes"],
        part.image_weight: given["images"],
    }
    if fitted.gated is not None and how is not None:
        sides = {"notes": part.note_gate, "images": part.image_gate}
        for name, weights in zip(how.pair, (fitted.gated.asked, fitted.gated.offered), strict=True):
            tensors[sides[name]] = weights * design.columns[design.place[name]]
        part.notes_decide[task] = float(how.pair[0] == "notes")
    with torch.no_grad():
        for tensor, weights in tensors.items():
            tensor[..., task] = torch.from_numpy(weights.astype(np.float32))
        part.intercept[task] = fitted.intercept
