"""Directions of frozen tokens that are worth a weight, measured on train alone, without labels.

A thousand patients cannot teach a model which of seven thousand numbers of an image matter; most
of what matters is in the few dozen directions in which the images differ (principal components,
each brought to variance 1).

Of notes as wholes other directions matter: those in which the sentences of one note agree. Most of
the ways in which sentences differ is what they are about, and says nothing of whose note it is;
what several sentences say alike is the state of the patient, or the hand that wrote. The directions
are those in which a note's mean varies most by what two of its sentences share (as the reliability
of a scale is measured by its split halves; Spearman 1910, Brown 1910).

Of images as wholes those matter in which two views of one film agree (`encoders.views`): anatomy
stays, exposure, noise and position go.

What both are worth is printed by `python -m tests.benchmarks.quality choices`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.linalg import eigh

from fusion.layers import ItemTokens

__all__ = ["agreed_directions", "agreed_views", "fit_whitening", "principal_directions"]

_TOKENS_AT_MOST = 20_000
_ITEMS_AT_MOST = 2_000
_NOTES_AT_MOST = 6_000
_FEWEST_NOTES, _FEWEST_IMAGES = 50, 30
"""With fewer, what they share is measured too badly; notes of two sentences or more count."""


def principal_directions(
    rows: np.ndarray,
    count: int,
    *,
    power: float = 1.0,
    seed: int = 0,
    at_most: int = _TOKENS_AT_MOST,
) -> tuple[np.ndarray, np.ndarray]:
    """Give the mean and `count` directions of [m d] rows: centre [d], directions [d count].

    Args:
        rows: what to measure.
        count: how many directions; those beyond what the rows span are 0.
        power: 1 brings each direction to variance 1; 0 keeps the ratios of their spreads, so that a
            penalty trusts the foremost more; their mean variance is 1 in any case.
        seed: of the sample.
        at_most: rows that are looked at; of more, a sample.
    """
    width = rows.shape[1]
    whiten = np.zeros((width, count), dtype=np.float32)
    if not len(rows):
        return np.zeros(width, dtype=np.float32), whiten
    if len(rows) > at_most:
        chosen = np.random.default_rng(seed).choice(len(rows), at_most, replace=False)
        rows = rows[np.sort(chosen)]
    rows = rows.astype(np.float64)
    centre = rows.mean(axis=0)
    rows = rows - centre
    if len(rows) < width:  # the smaller of the two squares has the same spectrum
        values, left = np.linalg.eigh(rows @ rows.T)
        with np.errstate(divide="ignore", invalid="ignore"):
            directions = rows.T @ (left / np.sqrt(np.maximum(values, 0)))
    else:
        values, directions = np.linalg.eigh(rows.T @ rows)
    spread = np.sqrt(np.maximum(values, 0) / max(len(rows) - 1, 1))
    order = np.argsort(-spread)[:count]
    order = order[spread[order] > 1e-5 * max(spread.max(initial=0.0), 1e-12)]
    order = order[spread[order] > 0]
    kept = directions[:, order]
    signs = np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    scale = spread[order] ** -power
    scale /= np.sqrt(np.mean((scale * spread[order]) ** 2)) if len(order) else 1.0
    whiten[:, : len(order)] = kept * signs * scale
    return centre.astype(np.float32), whiten


def agreed_directions(
    items: Sequence[np.ndarray],
    count: int,
    *,
    ridge: float = 1.0,
    power: float = 2.0,
    seed: int = 0,
    at_most: int = _NOTES_AT_MOST,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Give the centre [d] and directions [d count] in which the tokens of one item agree.

    Args:
        items: each [n d], the tokens of one note.
        count: how many directions; those in which nothing is shared are 0.
        ridge: times the mean variance, added to all: what hardly varies is not blown up.
        power: how much more the foremost are trusted: each has the spread of its agreement (from 0
            to 1) to this power. Their mean variance is 1, as that of `principal_directions`.
        seed: of the sample.
        at_most: items that are looked at; of more, a sample.

    Returns:
        None where too few items have two tokens.
    """
    several = [item for item in items if len(item) > 1]
    if len(several) < _FEWEST_NOTES:
        return None
    if len(several) > at_most:
        chosen = np.random.default_rng(seed).choice(len(several), at_most, replace=False)
        several = [several[place] for place in np.sort(chosen)]
    number = np.array([len(item) for item in several], dtype=np.float64)
    sums = np.stack([item.sum(axis=0, dtype=np.float64) for item in several])
    centre = (sums / number[:, None]).mean(axis=0)
    sums -= number[:, None] * centre
    pairs = number * (number - 1)
    width = sums.shape[1]
    within = np.zeros((width, width))
    for start in range(0, len(several), _ITEMS_AT_MOST):
        some = several[start : start + _ITEMS_AT_MOST]
        weight = np.repeat(pairs[start : start + len(some)] ** -0.5, [len(item) for item in some])
        tokens = (np.concatenate(some) - centre) * weight[:, None]
        within += tokens.T @ tokens
    # Products of two different tokens of an item, over all pairs: all products less the squares.
    shared = ((sums / pairs[:, None]).T @ sums - within) / len(several)
    means = sums / number[:, None]
    total = means.T @ means / len(several)
    return centre.astype(np.float32), _most_shared(shared, total, count, ridge, power)


def agreed_views(
    first: np.ndarray,
    second: np.ndarray,
    count: int,
    *,
    ridge: float = 0.1,
    power: float = 6.0,
    foremost: int = 256,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Give the centre [d] and directions [d count] in which two views of one image agree.

    Args:
        first: [m d] images as wholes.
        second: [m d] the same images in another view.
        count: how many directions; those in which the views do not agree are 0.
        ridge: as in `agreed_directions`.
        power: as in `agreed_directions`.
        foremost: principal directions in which they are looked for, at most half as many as images.

    Returns:
        None where there are too few images.
    """
    if len(first) < _FEWEST_IMAGES:
        return None
    centre = first.mean(axis=0, dtype=np.float64)
    a, b = first - centre, second - second.mean(axis=0, dtype=np.float64)
    looked = min(foremost, len(first) // 2)
    _, kept = principal_directions(
        np.concatenate([a, b]).astype(np.float32), looked, power=0.0, at_most=2 * len(first)
    )
    a, b = a @ kept, b @ kept
    shared = (a.T @ b + b.T @ a) / (2 * len(a))
    total = (a.T @ a + b.T @ b) / (2 * len(a))
    found = kept @ _most_shared(shared, total, count, ridge, power)
    return centre.astype(np.float32), found.astype(np.float32)


def _most_shared(
    shared: np.ndarray, total: np.ndarray, count: int, ridge: float, power: float
) -> np.ndarray:
    """Give the directions [d count] of most agreement, the share of `total` that is `shared`."""
    width = len(total)
    whiten = np.zeros((width, count), dtype=np.float32)
    spread = float(np.trace(total)) / width
    if spread <= 1e-12:
        return whiten
    values, directions = eigh(shared, total + ridge * spread * np.eye(width))
    order = np.argsort(-values)[:count]
    order = order[values[order] > 0]
    kept = directions[:, order]
    kept = kept * np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    deviation = np.sqrt(np.einsum("ji,jk,ki->i", kept, total, kept))
    scale = values[order] ** power
    scale /= np.sqrt(np.mean(scale**2)) if len(order) else 1.0
    whiten[:, : len(order)] = kept * (scale / deviation)
    return whiten


def fit_whitening(
    layer: ItemTokens,
    items: Sequence[np.ndarray],
    *,
    views: tuple[Sequence[np.ndarray], Sequence[np.ndarray]] | None = None,
    seed: int = 0,
) -> None:
    """Set a layer's whitening from train's items, each [n d].

    `views` are some of the items, and the same ones in another view.
    """
    if not items:
        return
    tokens = np.concatenate(items)
    centre, whiten = principal_directions(tokens, layer.whiten.shape[1], seed=seed)
    count = layer.whole_whiten.shape[1]
    if layer.positions:
        found = None
        if views is not None:
            first, second = (_side_by_side(some, layer.positions) for some in views)
            found = agreed_views(first, second, count)
        whole = _side_by_side(items, layer.positions)
    else:
        found = agreed_directions(items, count, seed=seed)
        whole = np.stack([item.mean(axis=0) for item in items])
    whole_centre, whole_whiten = found or principal_directions(
        whole, count, power=0.5, seed=seed, at_most=_ITEMS_AT_MOST
    )
    with torch.no_grad():
        layer.centre.copy_(torch.from_numpy(centre))
        layer.whiten.copy_(torch.from_numpy(whiten))
        layer.whole_centre.copy_(torch.from_numpy(whole_centre))
        layer.whole_whiten.copy_(torch.from_numpy(whole_whiten))


def _side_by_side(items: Sequence[np.ndarray], positions: int) -> np.ndarray:
    """Give each item's tokens in one row, [m positions*d]; what it lacks is 0."""
    whole = np.zeros((len(items), positions, items[0].shape[1]), dtype=np.float32)
    for place, item in enumerate(items):
        kept = item[:positions]
        whole[place, : len(kept)] = kept
    return whole.reshape(len(items), -1)
