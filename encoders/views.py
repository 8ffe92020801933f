"""See a film another way: what a second exposure of the same patient might have changed.

Exposure and contrast, noise, a small turn and a small shift. Nothing is mirrored (a heart on the
right is a finding, and the side markers would lie) and nothing is stretched (a wide heart is one
too).
"""

import hashlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image

__all__ = ["VIEWS_VERSION", "another_view", "draw_view"]

VIEWS_VERSION = 1
"""Part of the key under which tokens of views are kept: raised when views change."""

_GAMMA, _GAIN, _OFFSET, _NOISE = 0.2, 0.12, 0.03, 0.03
"""Standard deviations: of two logarithms, and of shares of full scale."""
_TURN_DEGREES, _SHIFT = 2.5, 0.025


def another_view(square: UInt8[np.ndarray, "h h"]) -> UInt8[np.ndarray, "h h"]:
    """Draw another view of a square grey image; the same image gives the same view.

    >>> film = np.full((64, 64), 90, np.uint8)
    >>> bool((another_view(film) == another_view(film)).all()), another_view(film).shape
    (True, (64, 64))
    """
    digest = hashlib.sha256(np.ascontiguousarray(square)).digest()
    return draw_view(square, np.random.default_rng(int.from_bytes(digest[:8], "big")))


def draw_view(
    square: UInt8[np.ndarray, "h h"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h h"]:
    """Draw a view of a square grey image; what differs is up to the generator."""
    side = square.shape[0]
    gamma, gain = np.exp([_GAMMA, _GAIN] * rng.standard_normal(2))
    film = np.maximum(square / 255.0, 1e-4) ** gamma * gain + _OFFSET * rng.standard_normal()
    film = np.clip(film + _NOISE * rng.standard_normal(square.shape), 0, 1)
    angle = _TURN_DEGREES * float(rng.standard_normal())
    right, down = np.round(_SHIFT * side * rng.standard_normal(2)).astype(int).tolist()
    image = Image.fromarray(np.round(film * 255).astype(np.uint8))
    moved = image.rotate(angle, resample=Image.Resampling.BILINEAR, translate=(right, down))
    return np.asarray(moved)
