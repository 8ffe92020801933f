"""Conformal label sets: which answers cannot be ruled out for a row, right as often as is promised.

A set holds 1, 0, both or neither. At level 0.9 the true label is in the set of at least nine in ten
of the positives, and of at least nine in ten of the negatives: each class has its own threshold
(label-conditional, also called Mondrian, split conformal prediction: Vovk, Gammerman and Shafer,
Algorithmic Learning in a Random World, 2005, section 4.5; the sets are the smallest on average that
promise it, Sadinle, Lei and Wasserman, JASA 114, 2019). Where a class is rare, that is the promise
to want: a set that leaves out every positive is right for nearly everybody, and of no use.

It holds for any model, right or wrong, with as few rows as there are, if rows to come are drawn as
the calibration rows were (not in another hospital, nor years later); on average over calibration
sets, not for each patient. A patient with several rows makes the rows alike, and the promise
approximate; so does cross-fitting, where the risks are those of models fitted on other folds (close
to cross-conformal prediction, Vovk, Annals of Mathematics and Artificial Intelligence 74, 2015).
That the champion was chosen with the calibration rows too is neglected: of nine models, by a mean.

A model that gives everybody one risk has another one in each fold, when it is cross-fitted, and
serves none of them: the order would be that of folds. Nothing is ruled out then.

Only the order of risks matters, so the risks are taken before calibration: a monotone calibrator,
fitted on the same rows, would move thresholds and risks alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float

from ingest.errors import RunError

__all__ = [
    "LEVELS",
    "SET_NAMES",
    "Cut",
    "LabelSets",
    "coverage_range",
    "fit_cut",
    "fit_label_sets",
    "name_sets",
]

LEVELS = (0.8, 0.9, 0.95)
"""Shares of each class whose label is to be in its set."""

SET_NAMES = ("neither", "negative", "positive", "either")
"""What is left: `either` says that the model cannot tell; `neither`, that such a risk is rare among
positives and negatives alike."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Say from which risk on, and up to which, a label cannot be ruled out."""

    positive_from: float | None
    """Uncalibrated risk, itself included; None keeps the label always: too few rows to rule out."""

    negative_to: float | None

    def sets(self, risk: Float[np.ndarray, " b"]) -> Bool[np.ndarray, "b 2"]:
        """Give each row's set: column 0 says whether 0 is in it, column 1 whether 1 is."""
        kept = np.ones((len(risk), 2), dtype=bool)
        if self.negative_to is not None:
            kept[:, 0] = risk <= self.negative_to
        if self.positive_from is not None:
            kept[:, 1] = risk >= self.positive_from
        return kept


def fit_cut(risk: Float[np.ndarray, " b"], label: Float[np.ndarray, " b"], *, level: float) -> Cut:
    """Place both classes' thresholds on rows that the model has not seen.

    Of n rows of a class, those are ruled out that lie beyond the ceil((n + 1) level)th least
    unusual one. Then a new row of that class is kept with a probability of at least `level`, and
    where risks have no ties of at most `level + 1 / (n + 1)`.

    Args:
        risk: what the model said, uncalibrated.
        label: 0, 1 or NaN; rows with NaN are left out.
        level: more than 0 and less than 1.

    Nine rows can rule one out in ten; eight cannot:

    >>> risk = np.arange(1, 10) / 10
    >>> fit_cut(risk, np.ones(9), level=0.9)
    Cut(positive_from=0.1, negative_to=None)
    >>> fit_cut(risk[:8], np.ones(8), level=0.9)
    Cut(positive_from=None, negative_to=None)
    >>> fit_cut(risk, np.ones(9), level=90.0)
    Traceback (most recent call last):
    ...
    ValueError: level must lie between 0 and 1; got 90.0
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1; got {level}")
    said = np.asarray(risk, np.float64)
    positives, negatives = np.sort(said[label == 1]), np.sort(said[label == 0])
    out = [_ruled_out(len(those), level) for those in (positives, negatives)]
    return Cut(
        positive_from=None if out[0] is None else float(positives[out[0]]),
        negative_to=None if out[1] is None else float(negatives[len(negatives) - 1 - out[1]]),
    )


def coverage_range(n: int, level: float) -> tuple[float, float]:
    """Say between what the coverage of a class lies in 95 of 100 calibration sets of n rows of it.

    The promise is one on average; with one calibration set, and rows to come without end, coverage
    is distributed as Beta(k, n + 1 - k), k = ceil((n + 1) level) (Vovk, ACML 2012, proposition 2a).

    >>> [round(share, 3) for share in coverage_range(100, 0.9)]
    [0.836, 0.951]
    >>> coverage_range(8, 0.9)
    (1.0, 1.0)
    """
    from scipy.stats import beta

    out = _ruled_out(n, level)
    if out is None:
        return 1.0, 1.0
    low, high = beta.ppf((0.025, 0.975), n - out, out + 1)
    return float(low), float(high)


def _ruled_out(n: int, level: float) -> int | None:
    """Say how many of n rows lie beyond the threshold; None where not even the last may."""
    kept = ceil((n + 1) * Fraction(str(level)))  # 0.95 as written, not the float beside it
    return n - kept if kept <= n else None


@dataclass(frozen=True, kw_only=True)
class LabelSets:
    """Hold the thresholds of each task, model and level; no patient's risk but the threshold's."""

    cross_fitted: bool
    """Whether the risks came from models of other folds; the promise is then approximate."""

    rows: Mapping[str, tuple[int, int]]
    """How many negatives and positives each task's thresholds rest on."""

    cuts: Mapping[str, Mapping[str, Mapping[float, Cut]]]
    """By task, model and level."""

    def cut(self, task: str, model: str, level: float) -> Cut:
        """Give the thresholds of a task's model.

        Raises:
            ValueError: no threshold was fitted at that level.
        """
        found = self.cuts[task][model]
        if level not in found:
            told = ", ".join(str(known) for known in found)
            raise ValueError(f"level must be one of {told}; got {level}")
        return found[level]

    def to_json(self) -> dict[str, Any]:
        """Give what `from_json` needs."""
        return {
            "cross_fitted": self.cross_fitted,
            "tasks": {
                task: {
                    "negatives": self.rows[task][0],
                    "positives": self.rows[task][1],
                    "models": {
                        name: {
                            str(level): {
                                "positive_from": cut.positive_from,
                                "negative_to": cut.negative_to,
                            }
                            for level, cut in by_level.items()
                        }
                        for name, by_level in models.items()
                    },
                }
                for task, models in self.cuts.items()
            },
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Rebuild from `to_json`.

        Raises:
            RunError: it is something else.
        """
        try:
            tasks = content["tasks"]
            return cls(
                cross_fitted=bool(content["cross_fitted"]),
                rows={task: (it["negatives"], it["positives"]) for task, it in tasks.items()},
                cuts={
                    task: {
                        name: {float(level): Cut(**cut) for level, cut in by_level.items()}
                        for name, by_level in it["models"].items()
                    }
                    for task, it in tasks.items()
                },
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise RunError("conformal.json is not what Medweave wrote; train again") from None


def fit_label_sets(
    risks: Mapping[str, Float[np.ndarray, "b k"]],
    labels: Float[np.ndarray, "b k"],
    *,
    tasks: Sequence[str],
    folds: int | None,
) -> LabelSets:
    """Place the thresholds of every model, task and level.

    Args:
        risks: what each model said, uncalibrated, of rows that it was not fitted on.
        labels: 0, 1 or NaN.
        tasks: the k tasks.
        folds: of the cross-fitting, where each row was scored by models that other folds were
            fitted on.
    """

    def place(said: Float[np.ndarray, " b"], label: Float[np.ndarray, " b"], level: float) -> Cut:
        if folds and len(np.unique(said)) <= folds:
            return Cut(positive_from=None, negative_to=None)
        return fit_cut(said, label, level=level)

    return LabelSets(
        cross_fitted=bool(folds),
        rows={
            task: (int((labels[:, i] == 0).sum()), int((labels[:, i] == 1).sum()))
            for i, task in enumerate(tasks)
        },
        cuts={
            task: {
                name: {level: place(said[:, i], labels[:, i], level) for level in LEVELS}
                for name, said in risks.items()
            }
            for i, task in enumerate(tasks)
        },
    )


def name_sets(sets: Bool[np.ndarray, "b 2"]) -> list[str]:
    """Name each set by what is left in it.

    >>> name_sets(np.array([[False, True], [True, True], [False, False]]))
    ['positive', 'either', 'neither']
    """
    return [SET_NAMES[place] for place in sets @ np.array([1, 2])]
