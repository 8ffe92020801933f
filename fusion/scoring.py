"""Contract 3, scoring: all that evaluation, Shapley values and serving know of a model."""

from itertools import combinations
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["ALL_MODALITIES", "Scorer", "subset_name", "subsets"]

ALL_MODALITIES: frozenset[Modality] = frozenset(Modality)


@runtime_checkable
class Scorer(Protocol):
    """Any model, simple or not."""

    tasks: tuple[str, ...]
    """The k tasks, in the order of the columns that `score` gives."""

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES
    ) -> Float64[np.ndarray, "b k"]:
        """Give each row's risk of each task, strictly between 0 and 1.

        What is outside `modalities` must not change a bit of the answer; with no modality left the
        answer is what the model says of a patient of whom nothing is known. A row's risk does not
        depend on the other rows (to 1e-5 in fp32).
        """
        ...


def subset_name(modalities: frozenset[Modality]) -> str:
    """Name a subset of modalities, in the order of Modality.

    >>> subset_name(frozenset({Modality.NOTES, Modality.EVENTS})), subset_name(frozenset())
    ('events+notes', 'none')
    """
    return "+".join(str(m) for m in Modality if m in modalities) or "none"


def subsets() -> list[frozenset[Modality]]:
    """List the non-empty subsets of modalities, small ones first."""
    return [
        frozenset(chosen)
        for size in range(1, len(Modality) + 1)
        for chosen in combinations(Modality, size)
    ]
