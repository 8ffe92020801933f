"""What stands beside the risks of one row: intervals, label sets, and whether the row is unlike."""

from dataclasses import dataclass

import numpy as np

from fusion.conformal import name_sets
from fusion.served import ServedRun
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["Beside", "state_beside"]


_LEVEL = 0.9


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Hold what is stated, one a task; None throughout for a run that states nothing."""

    intervals: tuple[tuple[float, float] | None, ...]
    label_sets: tuple[str | None, ...]
    unlike: Modality | None


def state_beside(served: ServedRun, timeline: Timelines) -> Beside:
    """State it for one row, from what training kept for it."""
    if not served.states_beside:
        nothing = (None,) * len(served.tasks)
        return Beside(intervals=nothing, label_sets=nothing, unlike=None)
    ends = served.intervals(timeline)[0]
    names = name_sets(served.label_sets(timeline, level=_LEVEL)[0])
    cuts = [served.sets.cut(task, served.champion(task), _LEVEL) for task in served.tasks]
    # Where too few rows place a threshold, a label is kept whatever the risk: that says nothing.
    blind = [None in (cut.positive_from, cut.negative_to) for cut in cuts]
    unlikeness = served.unlikeness(timeline)
    return Beside(
        intervals=tuple((float(a), float(b)) if np.isfinite(a) else None for a, b in ends),
        label_sets=tuple(
            None if few and name == "either" else name
            for name, few in zip(names, blind, strict=True)
        ),
        unlike=unlikeness.where()[0] if unlikeness.unlike()[0] else None,
    )
