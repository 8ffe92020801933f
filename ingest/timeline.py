"""What was known of subjects at their prediction times: the one thing that models are given."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ingest.schema import Modality

__all__ = ["TIMELINE_COLUMNS", "Timelines"]

TIMELINE_COLUMNS = (
    "row",
    "time",
    "days_before",
    "code",
    "numeric_value",
    "text_value",
    "unit",
    "image",
    "modality",
)


@dataclass(frozen=True, kw_only=True)
class Timelines:
    """Hold the events of `b` pairs of subject and prediction time, up to and including that time.

    A model sees nothing but this, so nothing later than the prediction time can reach it.
    `occurred` is left out on purpose: when something happened is not what was known.
    """

    index: pd.DataFrame
    """[b] subject_id (int64) and prediction_time (datetime64[us], UTC); its index is 0..b-1."""

    events: pd.DataFrame
    """TIMELINE_COLUMNS, sorted by row and time: `row` (int64) points into `index`; `days_before`
    (float64) is prediction time minus time in days, at least 0, NaN for what is static;
    `modality` is one of Modality's values."""

    images: Path
    """The directory that `events.image` is relative to."""

    def __len__(self) -> int:
        return len(self.index)

    def __post_init__(self) -> None:
        missing = [name for name in TIMELINE_COLUMNS if name not in self.events.columns]
        if missing:
            raise ValueError(
                f"timelines lack the columns {missing}; have {list(self.events.columns)}"
            )
        if (self.events["days_before"] < 0).any():
            raise ValueError("timelines hold events from after the prediction time")

    def take(self, rows: np.ndarray) -> "Timelines":
        """Keep the given rows (positions in `index`), in that order; a row may come twice."""
        rows = np.asarray(rows, dtype=np.int64)
        first, last = self._bounds()
        picked = np.concatenate([np.arange(first[r], last[r]) for r in rows] or [np.empty(0, int)])
        events = self.events.iloc[picked].copy()
        events["row"] = np.repeat(np.arange(len(rows)), [last[r] - first[r] for r in rows])
        return Timelines(
            index=self.index.iloc[rows].reset_index(drop=True),
            events=events.reset_index(drop=True),
            images=self.images,
        )

    def only(self, modalities: frozenset[Modality]) -> "Timelines":
        """Keep the events of the given modalities; the others look as if they never were."""
        keep = self.events["modality"].isin([str(m) for m in modalities])
        return Timelines(
            index=self.index, events=self.events[keep].reset_index(drop=True), images=self.images
        )

    def part(self, modality: Modality) -> pd.DataFrame:
        """Give the events of one modality, sorted by row and time."""
        return self.events[self.events["modality"] == str(modality)].reset_index(drop=True)

    def has(self, modality: Modality) -> np.ndarray:
        """Say for each row whether it has anything of the modality: [b] bool."""
        found = np.zeros(len(self), dtype=bool)
        found[self.events.loc[self.events["modality"] == str(modality), "row"].unique()] = True
        return found

    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        rows = self.events["row"].to_numpy()
        wanted = np.arange(len(self))
        return np.searchsorted(rows, wanted, "left"), np.searchsorted(rows, wanted, "right")
