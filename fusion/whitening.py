"""Directions in which frozen tokens differ most, measured on train alone.

A thousand patients cannot teach a model which of seven thousand numbers of an image matter; most
of what matters is in the few dozen directions in which the images differ (principal components,
each brought to variance 1).
"""

from collections.abc import Sequence

import numpy as np
import torch

from fusion.layers import ItemTokens

__all__ = ["fit_whitening", "principal_directions"]

_TOKENS_AT_MOST = 20_000
_ITEMS_AT_MOST = 2_000


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


def fit_whitening(layer: ItemTokens, items: Sequence[np.ndarray], *, seed: int = 0) -> None:
    """Set a layer's whitening from train's items, each [n d]."""
    if not items:
        return
    tokens = np.concatenate(items)
    centre, whiten = principal_directions(tokens, layer.whiten.shape[1], seed=seed)
    if layer.positions:
        whole = np.zeros((len(items), layer.positions, tokens.shape[1]), dtype=np.float32)
        for place, item in enumerate(items):
            kept = item[: layer.positions]
            whole[place, : len(kept)] = kept
        whole = whole.reshape(len(items), -1)
    else:
        whole = np.stack([item.mean(axis=0) for item in items])
    whole_centre, whole_whiten = principal_directions(
        whole, layer.whole_whiten.shape[1], power=0.5, seed=seed, at_most=_ITEMS_AT_MOST
    )
    with torch.no_grad():
        layer.centre.copy_(torch.from_numpy(centre))
        layer.whiten.copy_(torch.from_numpy(whiten))
        layer.whole_centre.copy_(torch.from_numpy(whole_centre))
        layer.whole_whiten.copy_(torch.from_numpy(whole_whiten))
