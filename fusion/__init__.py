"""Fusion: tokens and tables come in, calibrated risks go out.

In: a store, a cohort, and frozen encoders. Out: a sealed run directory, and from it the risk of any
timeline with any subset of modalities. The stages carry their modules' names, so they are imported
from there: `fusion.train.train` fits every candidate and chooses the champion,
`fusion.evaluate.evaluate` judges it, `fusion.crossfit.cross_validate` judges the whole procedure,
`fusion.shapley.shapley` says what each modality added.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fusion.scoring import ALL_MODALITIES, Scorer, subset_name, subsets

if TYPE_CHECKING:
    from fusion.candidates import CANDIDATES, Candidate, candidate_type
    from fusion.served import ServedRun

__all__ = [
    "ALL_MODALITIES",
    "CANDIDATES",
    "Candidate",
    "Scorer",
    "ServedRun",
    "candidate_type",
    "subset_name",
    "subsets",
]

_HOMES = {
    "CANDIDATES": "fusion.candidates",
    "Candidate": "fusion.candidates",
    "ServedRun": "fusion.served",
    "candidate_type": "fusion.candidates",
}


def __getattr__(name: str) -> Any:
    """Import what is heavy when it is first asked for."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fusion' has no attribute {name!r}")
