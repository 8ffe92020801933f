"""Keep small groups of patients from being read out of a report, directly or by difference.

A count of a few patients, with how many of them fell ill, says much about each of them to whoever
knows that they were treated there. So a group of fewer than 20 patients is shown by name only. That
is not enough: who reads 200 rows in all and 190 women reads 10 men. So where a group is small, the
largest other group of its family, the small one's complement, is told in a coarse way as well:
"over 180", and of the rest only an AUROC to two decimals (an exact one is a fraction whose
denominator is positives times negatives). Rows of no listed group (sex not recorded) count as one.
Hundepool et al., "Statistical Disclosure Control", 2012, sections 4.2 and 4.4.2.
"""

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["FEWEST_SHOWN", "UNDER", "WHY_WITHHELD", "withheld"]

FEWEST_SHOWN = 20
"""Patients; a smaller group shows no figure."""

UNDER = f"under {FEWEST_SHOWN}"
"""What stands for the rows of a small group."""

WHY_WITHHELD = (
    f"A group of fewer than {FEWEST_SHOWN} patients shows no figure, and the largest group beside "
    "it only a bound and an AUROC to two decimals: else the small one could be had by subtraction."
)


def withheld(groups: Mapping[str, np.ndarray], subjects: np.ndarray) -> dict[str, str]:
    """Say what stands in place of the rows of each group whose figures cannot be shown.

    Args:
        groups: which rows belong, [b] bool each.
        subjects: of the rows.

    >>> women, everybody = np.arange(200) < 190, np.arange(200)
    >>> withheld({"female": women, "male": ~women}, everybody)
    {'male': 'under 20', 'female': 'over 180'}
    >>> withheld({"female": everybody < 100, "male": everybody >= 100}, everybody)
    {}
    """
    families: dict[str, list[str]] = {}
    for name in groups:
        families.setdefault(_family(name), []).append(name)
    told: dict[str, str] = {}
    for names in families.values():
        told |= _of_family(names, groups, subjects)
    return told


def _family(name: str) -> str:
    """Name what a group is one part of; most are a part and its complement."""
    if name in ("female", "male"):
        return "sex"
    return "age" if name.startswith("age ") else name


def _of_family(
    names: Sequence[str], groups: Mapping[str, np.ndarray], subjects: np.ndarray
) -> dict[str, str]:
    parts = {name: np.asarray(groups[name], bool) for name in names}
    parts[""] = ~np.any(list(parts.values()), axis=0)  # who is in none of them
    rows = {name: int(part.sum()) for name, part in parts.items() if part.any()}
    small = [n for n in rows if len(np.unique(subjects[parts[n]])) < FEWEST_SHOWN]
    told = dict.fromkeys([name for name in small if name], UNDER)
    others = [name for name in rows if name not in small]
    if small and others:
        largest = max(others, key=lambda name: rows[name])
        hidden = sum(rows[name] for name in small)
        # What the total leaves for the small ones is known; the bound is this, less what each of
        # them may have at most, so that it adds nothing to it.
        spread = FEWEST_SHOWN * max(len(small), hidden // FEWEST_SHOWN + 1)
        if largest:
            bound = max(FEWEST_SHOWN - 1, rows[largest] + hidden - spread)
            told[largest] = f"over {bound}"
    return told
