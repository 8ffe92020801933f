"""Assign subjects to folds for cross-validation, and each fold's subjects to splits.

For cohorts too small to hold a fifth of them out for good: every subject is held out once, and all
fitting and choosing for a fold is done on the other folds' subjects.
"""

from hashlib import sha256

import numpy as np
import pandas as pd

from ingest.schema import SPLITS
from ingest.splits import SHARES

__all__ = ["assign_folds", "fold_splits"]


def assign_folds(
    subject_ids: np.ndarray, labels: np.ndarray, folds: int = 5, seed: int = 0
) -> np.ndarray:
    """Give each row's fold, 0 to folds-1, so that classes are spread and no subject is split.

    A subject counts as positive if any of its rows is. Within each class subjects are put in an
    order drawn from the seed and their ids alone, and dealt out in turn; the second class goes on
    where the first one stopped, so that folds differ by one subject at most.

    Args:
        subject_ids: [b] the rows' subjects; a subject may have several rows.
        labels: [b] the rows' labels, 0 or 1; NaN (unknown) counts as 0.
        folds: how many.
        seed: another seed gives other folds.

    Returns:
        [b] int64.

    Raises:
        ValueError: fewer than two folds, or more folds than positive or than negative subjects.

    >>> assign_folds(np.array([1, 1, 2, 3, 4]), np.array([0, 1, 1, 0, 0]), folds=2)
    array([1, 1, 0, 1, 0])
    """
    subject_ids = np.asarray(subject_ids, dtype=np.int64)
    flags = pd.Series(np.nan_to_num(np.asarray(labels, dtype=np.float64)) > 0)
    if len(flags) != len(subject_ids):
        raise ValueError(
            f"labels and subject_ids must be as long; got {len(flags)} and {len(subject_ids)}"
        )
    positive = flags.groupby(subject_ids).any()
    fewest = int(min(positive.sum(), (~positive).sum()))
    if folds < 2 or folds > fewest:
        raise ValueError(
            f"folds must be from 2 to the subjects in the smaller class; got folds={folds} with "
            f"{int(positive.sum())} positive and {int((~positive).sum())} negative subjects"
        )
    return pd.Series(_deal(positive, folds, seed)).loc[subject_ids].to_numpy()


def fold_splits(
    subject_ids: np.ndarray, labels: np.ndarray, fold_of: np.ndarray, fold: int, seed: int = 0
) -> pd.DataFrame:
    """Give subject_id and split for one fold: it is held_out, the others are divided by class.

    Of the others each class goes to train, tuning and calibration in the proportion of SHARES; a
    class that has at least three subjects has one or more in each.

    Args:
        subject_ids: [b] as for `assign_folds`.
        labels: [b] as for `assign_folds`.
        fold_of: [b] what `assign_folds` gave.
        fold: which fold is held out.
        seed: another seed divides the others otherwise.

    Raises:
        ValueError: there is no such fold.
    """
    subject_ids = np.asarray(subject_ids, dtype=np.int64)
    held_out = pd.Series(np.asarray(fold_of) == fold).groupby(subject_ids).any()
    if not held_out.any():
        known = sorted(set(np.asarray(fold_of).tolist()))
        raise ValueError(f"fold must be one of {known}; got {fold}")
    flags = np.nan_to_num(np.asarray(labels, dtype=np.float64)) > 0
    positive = pd.Series(flags).groupby(subject_ids).any()
    split = pd.Series(SPLITS[-1], index=held_out.index)
    names = SPLITS[:-1]
    shares = np.array([SHARES[name] for name in names])
    for members in (positive.index[positive & ~held_out], positive.index[~positive & ~held_out]):
        ordered = sorted(members.tolist(), key=lambda subject: _draw(subject, seed, fold))
        sizes = _sizes(len(ordered), shares / shares.sum())
        for name, part in zip(
            names, np.split(np.array(ordered), np.cumsum(sizes)[:-1]), strict=True
        ):
            split.loc[part] = name
    return pd.DataFrame({"subject_id": split.index.to_numpy(), "split": split.to_numpy()})


def _deal(positive: pd.Series, folds: int, seed: int) -> dict[int, int]:
    """Deal positives, then negatives, to the folds in turn."""
    order = sorted(positive.index.tolist(), key=lambda s: (not positive[s], *_draw(s, seed)))
    return {subject: place % folds for place, subject in enumerate(order)}


def _draw(subject: int, *seeds: int) -> tuple[bytes, int]:
    words = "/".join(str(seed) for seed in ("folds", *seeds, subject))
    return sha256(words.encode()).digest(), subject


def _sizes(n: int, shares: np.ndarray) -> np.ndarray:
    """Divide n in proportion, by largest remainder, with none empty where n allows it."""
    exact = n * shares
    sizes = np.floor(exact).astype(int)
    for place in np.argsort(sizes - exact, kind="stable")[: n - sizes.sum()]:
        sizes[place] += 1
    if n >= len(shares):
        while (sizes == 0).any():
            sizes[np.argmax(sizes)] -= 1
            sizes[np.argmin(sizes)] += 1
    return sizes
