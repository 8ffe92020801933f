"""The wide part of the fusion model: a penalised regression that attention only has to improve on.

With a thousand patients, gradient descent on a quarter of a million weights loses to a regression
with a well-chosen penalty. So the model starts from one: curves of the events' features, directions
of whole notes and images, and the products of the foremost directions of both, which is the
simplest interaction between modalities. It is fitted first and then fixed; attention learns what
is left, starting from 0 (Cheng et al., "Wide & Deep Learning for Recommender Systems", 2016).

While attention is trained, each train row gets the wide log odds that a regression fitted without
that row's fold gives. With the fitted ones, which know the labels, nothing would seem to be left.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import sparse
from torch import Tensor, nn

from fusion.folds import subject_folds
from fusion.linear import Logistic, fit_logistic

__all__ = ["BLOCKS", "WideFit", "WideInputs", "WidePart", "fit_wide", "shown_blocks"]

BLOCKS = ("events", "notes", "images", "products", "intercept")
"""What the wide log odds are the sum of."""

_STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)
_START = {"events": 1.0, "notes": 1.0, "images": 1.0, "products": 0.0}
_SCALES = {
    "products": (0.3, 1.0),
    "events": (0.3, 2.0),
    "notes": (0.3, 2.0),
    "images": (0.3, 2.0),
}
"""Tried one block after the other: how much a modality can be trusted differs by hospital."""
_FOLDS = 5
_DENSE_AT_MOST = 2000  # columns; a sparse matrix is slower below and smaller above


class WidePart(nn.Module):
    """Hold the fitted weights and give each block's log odds."""

    def __init__(self, *, features: int, notes: int, images: int, products: int, tasks: int):
        super().__init__()
        self.products = (min(products, notes), min(products, images))
        self.register_buffer("event_weight", torch.zeros(features, 2, tasks))
        self.register_buffer("note_weight", torch.zeros(notes + 1, tasks))
        self.register_buffer("image_weight", torch.zeros(images + 1, tasks))
        self.register_buffer("product_weight", torch.zeros(*self.products, tasks))
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
        notes = note @ self.note_weight[:-1] + self.note_weight[-1]
        images = image @ self.image_weight[:-1] + self.image_weight[-1]
        first, second = self.products
        products = torch.einsum(
            "bi,bj,ijk->bk", note[:, :first], image[:, :second], self.product_weight
        )
        blocks = torch.stack([events, notes, images, products], dim=1)
        blocks = torch.where(shown_blocks(present)[..., None], blocks, 0.0)
        return torch.cat([blocks, self.intercept.expand(len(blocks), 1, -1)], dim=1)


def shown_blocks(shown: Bool[Tensor, "*b m"]) -> Bool[Tensor, "*b 4"]:
    """Say which blocks are there, given which modalities are; a product needs both."""
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
    scales: dict[str, float]
    """How freely each block may vary, chosen by cross-validation; 0 is not at all."""


def fit_wide(part: WidePart, inputs: WideInputs, *, seed: int) -> WideFit:
    """Set the weights of a wide part; the penalty and the products' scale are cross-validated."""
    best = _try(part, inputs, _START, seed)
    for block, scales in _SCALES.items():
        # The better of the scales for this block, given the choices for those before it.
        for scale in scales:
            tried = _try(part, inputs, {**best.scales, block: scale}, seed)
            if tried.loss < best.loss:
                best = tried
    _set(part, best.fitted.weights * best.columns, best.fitted.intercepts)
    return WideFit(outside=best.outside.astype(np.float32), scales=best.scales)


class _Tried(NamedTuple):
    loss: float
    scales: dict[str, float]
    outside: np.ndarray
    fitted: Logistic
    columns: np.ndarray


def _try(part: WidePart, inputs: WideInputs, scales: dict[str, float], seed: int) -> _Tried:
    design, columns = _design(inputs, part.event_weight.shape[0], part.products, scales)
    fitted = fit_logistic(
        design, inputs.labels, subjects=inputs.subjects, seed=seed, strengths=_STRENGTHS
    )
    outside = _outside(design, inputs, fitted, part, columns, seed)
    return _Tried(_loss(outside.sum(axis=1), inputs.labels), scales, outside, fitted, columns)


def _design(
    inputs: WideInputs, features: int, products: tuple[int, int], scales: dict[str, float]
) -> tuple[np.ndarray | sparse.csr_matrix, np.ndarray]:
    """Give the columns, each block brought to its scale, and what they were multiplied by."""
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
    if scales["products"]:
        first, second = products
        both = inputs.note[:, :first, None] * inputs.image[:, None, :second]
        dense.append(both.reshape(n, first * second))
        columns.append(np.full(first * second, scales["products"] * (first * second) ** -0.5))
    scaling = np.concatenate(columns)
    if len(scaling) <= _DENSE_AT_MOST:
        return np.concatenate([events.toarray(), *dense], axis=1) * scaling, scaling
    return sparse.hstack([events, *dense], format="csr") @ sparse.diags(scaling), scaling


def _outside(
    design: np.ndarray | sparse.csr_matrix,
    inputs: WideInputs,
    fitted: Logistic,
    part: WidePart,
    columns: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Give each row's log odds by block, fitted without the row's fold."""
    n, k = inputs.labels.shape
    outside = np.zeros((n, len(BLOCKS), k))
    sizes = [part.event_weight.shape[0] * 2, len(part.note_weight), len(part.image_weight)]
    edges = [0, *np.cumsum(sizes), len(columns)]
    for task in range(k):
        labels = inputs.labels[:, task : task + 1]
        outside[:, -1, task] = fitted.intercepts[task]
        rows = np.flatnonzero(np.isfinite(labels[:, 0]))
        classes = [np.unique(inputs.subjects[rows][labels[rows, 0] == c]) for c in (0, 1)]
        folds = min(_FOLDS, *(len(c) for c in classes))
        if folds < 2:
            continue
        fold = np.full(n, -1)
        known = labels[rows, 0].astype(np.int64)
        fold[rows] = subject_folds(inputs.subjects[rows], known, folds=folds, seed=seed)
        fold[fold < 0] = 0  # without a label no fold has fitted on it
        for held in range(folds):
            inside = rows[fold[rows] != held]
            there = np.flatnonzero(fold == held)
            inner = fit_logistic(
                design[inside],
                labels[inside],
                subjects=inputs.subjects[inside],
                seed=seed,
                strengths=(fitted.strengths[task],),
            )
            for block in range(len(BLOCKS) - 1):
                here = slice(edges[block], edges[block + 1])
                outside[there, block, task] = design[there][:, here] @ inner.weights[0, here]
            outside[there, -1, task] = inner.intercepts[0]
    return outside


def _loss(logits: np.ndarray, labels: np.ndarray) -> float:
    known = np.isfinite(labels)
    signed = np.where(labels > 0, logits, -logits)
    return float(np.logaddexp(0.0, -signed)[known].mean()) if known.any() else 0.0


def _set(part: WidePart, weights: np.ndarray, intercepts: np.ndarray) -> None:
    """Copy the weights, [k columns] in the units of the inputs, to the part's tensors."""
    features, notes, images = (
        part.event_weight.shape[0],
        len(part.note_weight),
        len(part.image_weight),
    )
    edges = np.cumsum([2 * features, notes, images])
    blocks = np.split(np.ascontiguousarray(weights.T, dtype=np.float32), edges)
    with torch.no_grad():
        part.event_weight.copy_(torch.from_numpy(blocks[0]).view(features, 2, -1))
        part.note_weight.copy_(torch.from_numpy(blocks[1]))
        part.image_weight.copy_(torch.from_numpy(blocks[2]))
        if len(blocks[3]):
            part.product_weight.copy_(torch.from_numpy(blocks[3]).view(part.product_weight.shape))
        part.intercept.copy_(torch.from_numpy(intercepts.astype(np.float32)))
