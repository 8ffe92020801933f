"""What each modality added to a risk: exact Shapley values, on the logit scale.

The game's value of a subset of modalities is the model's log odds when it sees that subset alone,
so the three values and the base (nothing known) add up to what the model says of all. A modality
that the patient lacks joins no subset: it is the same to a model as one that is masked, and its
value is exactly 0. So that a patient without an image is riskier than others shows in the base's
distance, not as a contribution of an image that isn't there.
"""

from dataclasses import dataclass
from math import factorial

import numpy as np
from jaxtyping import Float64

from fusion.prevalence import to_logit
from fusion.scoring import ALL_MODALITIES, Scorer
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["Contributions", "OnRiskScale", "Remembered", "shapley"]


@dataclass(frozen=True, kw_only=True)
class Contributions:
    """Hold log odds taken apart; `base + values.sum(axis=1)` is `total`."""

    values: Float64[np.ndarray, "b 3"]
    """In the order of Modality."""

    base: Float64[np.ndarray, " b"]
    """Log odds with no modality."""

    total: Float64[np.ndarray, " b"]
    """Log odds with all that the patient has."""


def shapley(scorer: Scorer, timelines: Timelines, task_index: int = 0) -> Contributions:
    """Take each row's log odds of one task apart into what each modality added.

    Exact: all eight subsets are scored (Shapley, 1953).
    """
    if not 0 <= task_index < len(scorer.tasks):
        raise ValueError(f"task_index must be from 0 to {len(scorer.tasks) - 1}; got {task_index}")
    players = list(Modality)
    n, b = len(players), len(timelines)
    has = np.stack([timelines.has(m) for m in players], axis=1)
    worth = np.empty((2**n, b))
    for mask in range(2**n):
        chosen = frozenset(m for i, m in enumerate(players) if mask >> i & 1)
        worth[mask] = to_logit(scorer.score(timelines, chosen)[:, task_index])
    bits = has @ (1 << np.arange(n))
    rows = np.arange(b)
    values = np.zeros((b, n))
    for i in range(n):
        for mask in range(2**n):
            if mask >> i & 1:
                continue
            size = mask.bit_count()
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            # Only what the patient has can be in a subset.
            gain = worth[(mask | 1 << i) & bits, rows] - worth[mask & bits, rows]
            values[:, i] += weight * gain
    return Contributions(values=values, base=worth[0], total=worth[bits, rows])


class Remembered:
    """Score each subset of modalities of the same timelines once; a Scorer.

    Eight subsets then serve the Shapley values of all tasks.
    """

    def __init__(self, scorer: Scorer, timelines: Timelines):
        self.tasks = scorer.tasks
        self._scorer = scorer
        self._timelines = timelines
        self._scores: dict[frozenset[Modality], Float64[np.ndarray, "b k"]] = {}

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES
    ) -> Float64[np.ndarray, "b k"]:
        """Give the risks; those of other timelines are not remembered."""
        if timelines is not self._timelines:
            return self._scorer.score(timelines, modalities)
        if modalities not in self._scores:
            self._scores[modalities] = self._scorer.score(timelines, modalities)
        return self._scores[modalities]


class OnRiskScale:
    """Make the logit of the score the risk itself: Shapley values then come in points of risk."""

    def __init__(self, scorer: Scorer):
        self.tasks = scorer.tasks
        self._scorer = scorer

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES
    ) -> Float64[np.ndarray, "b k"]:
        """Give what has the risk as its logit."""
        return 1 / (1 + np.exp(-self._scorer.score(timelines, modalities)))
