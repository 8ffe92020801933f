"""Assign each subject to a split, for ever: by a digest of the seed and the subject's id.

A subject's split depends on nothing else. New subjects can be added to a store, and a store can be
made anew from its sources, without anybody changing sides.
"""

from hashlib import sha256

import numpy as np
import pandas as pd

from ingest.schema import SPLITS

__all__ = ["SHARES", "assign_splits", "draw_of", "split_of"]

SHARES = {"train": 0.6, "tuning": 0.1, "calibration": 0.1, "held_out": 0.2}
"""The share of subjects that falls to each split, in the order of SPLITS."""

_BITS = 64
_BOUNDS = [round(sum(SHARES[s] for s in SPLITS[: i + 1]) * 2**_BITS) for i in range(len(SPLITS))]


def split_of(subject_id: int, seed: int = 0) -> str:
    """Say which split a subject belongs to: one of SPLITS, by SHA-256 of `SEED/SUBJECT_ID`.

    >>> [split_of(subject) for subject in (1, 2, 3, 4, 5, 6)]
    ['tuning', 'tuning', 'held_out', 'train', 'calibration', 'train']
    >>> split_of(1, seed=1)
    'train'
    """
    draw = draw_of(subject_id, seed)
    for split, bound in zip(SPLITS, _BOUNDS, strict=True):
        if draw < bound:
            return split
    return SPLITS[-1]


def draw_of(subject_id: int, seed: int = 0) -> int:
    """Draw a subject's number of 64 bits: the head of SHA-256 of `SEED/SUBJECT_ID`."""
    return int.from_bytes(sha256(b"%d/%d" % (seed, subject_id)).digest()[: _BITS // 8], "big")


def assign_splits(subject_ids: np.ndarray, *, seed: int = 0) -> pd.DataFrame:
    """Give subject_id and split, one row a subject, sorted by subject; repeats count once."""
    subjects = np.unique(np.asarray(subject_ids, dtype=np.int64))
    splits = [split_of(subject, seed) for subject in subjects.tolist()]
    return pd.DataFrame({"subject_id": subjects, "split": pd.Series(splits, dtype="str")})
