"""Say how much is missing: rows without a modality, and whether those fare differently.

TRIPOD+AI (Collins et al., BMJ 2024;385:e078378) asks how much is missing: who lacks a note or an
image was seldom chosen by chance, and a model may read that they lack it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from fusion.disclosure import withheld
from fusion.metrics import Resamples, interval
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["lacking", "measure_missing"]

_STATIC = ("GENDER//", "MEDS_BIRTH")


def lacking(timelines: Timelines) -> dict[str, np.ndarray]:
    """Say which rows, [b] bool, have no event besides sex and birth, no note, no image, nothing."""
    code = timelines.events["code"].astype(str)
    known = ~code.str.startswith(_STATIC) & (timelines.events["modality"] == str(Modality.EVENTS))
    events = np.zeros(len(timelines), bool)
    events[timelines.events.loc[known, "row"].unique()] = True
    notes, images = (timelines.has(modality) for modality in (Modality.NOTES, Modality.IMAGES))
    return {
        "events besides sex and birth": ~events,
        "notes": ~notes,
        "images": ~images,
        "any of them": ~(events | notes | images),
    }


def measure_missing(
    lacks: Mapping[str, np.ndarray],
    label: Float[np.ndarray, " b"],
    subjects: np.ndarray,
    resamples: Resamples,
) -> dict[str, dict[str, Any]]:
    """Give, for each kind of thing, the rows without it and with it, and how many fell ill.

    Each side has `n`, `share` of all rows, and `rate`, the share that came true, with its interval.
    Where a side has fewer than 20 patients, both have `n` alone, in words.
    """
    found = {}
    for name, rows in lacks.items():
        sides = {"without": rows, "with": ~rows}
        words = withheld(sides, subjects)  # each side is asked as one whose complement is the other
        found[name] = {
            side: {"n": words[side]} if side in words else _side(here, label, resamples)
            for side, here in sides.items()
        }
    return found


def _side(rows: np.ndarray, label: Float[np.ndarray, " b"], resamples: Resamples) -> dict[str, Any]:
    drawn = resamples.weights[:, rows]
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = drawn @ label[rows] / drawn.sum(axis=1)
    n = int(rows.sum())
    return {"n": n, "share": n / len(rows), "rate": interval(rate)}
