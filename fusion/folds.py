"""Folds of subjects: a subject's rows stay together, and positives are spread evenly."""

import numpy as np
from jaxtyping import Int

__all__ = ["subject_folds"]


def subject_folds(
    subjects: np.ndarray, labels: np.ndarray, *, folds: int, seed: int
) -> Int[np.ndarray, " b"]:
    """Give each row a fold, 0..folds-1.

    Subjects with a positive label are dealt out first, so that no fold is without one where there
    are enough of them. Labels are [b] or [b k]; of several tasks, the rarest deals first.

    >>> subject_folds(np.array([7, 7, 8, 9]), np.array([0, 1, 0, 1.0]), folds=2, seed=0)
    array([1, 1, 0, 0])
    >>> subject_folds(np.array([7, 8]), np.array([0, 1.0]), folds=3, seed=0)
    Traceback (most recent call last):
    ...
    ValueError: folds must be from 2 to the number of subjects; got folds=3, subjects=2
    """
    unique, inverse = np.unique(subjects, return_inverse=True)
    if not 2 <= folds <= len(unique):
        raise ValueError(
            "folds must be from 2 to the number of subjects; "
            f"got folds={folds}, subjects={len(unique)}"
        )
    labels = np.nan_to_num(np.asarray(labels, np.float64).reshape(len(inverse), -1))
    positive = np.zeros((len(unique), labels.shape[1]), bool)
    np.logical_or.at(positive, inverse, labels > 0)
    rarest = np.argsort(positive.sum(axis=0), kind="stable")
    stratum = positive[:, rarest] @ (2.0 ** np.arange(labels.shape[1])[::-1])
    shuffled = np.random.default_rng(seed).permutation(len(unique))
    dealt = shuffled[np.argsort(-stratum[shuffled], kind="stable")]
    fold = np.empty(len(unique), np.int64)
    fold[dealt] = np.arange(len(unique)) % folds
    return fold[inverse]
