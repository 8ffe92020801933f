"""What if: a row as it would be with a value changed, a code added, or something not known.

The answer is what the model would say of such a record. It is no forecast of what a treatment would
do: who has such a record differs in more than that.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from ingest.errors import UsageError
from ingest.schema import Modality, modality_of
from ingest.timeline import Timelines

__all__ = ["Edit", "edit_timelines"]


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Change one thing of a row."""

    kind: str
    """set, add or without."""
    code: str
    """A code, as the store writes it; of `without` also events, notes or images."""
    value: float | None = None
    """Of set: in the unit that the store has the code in."""

    def __post_init__(self) -> None:
        if self.kind not in ("set", "add", "without"):
            raise ValueError(f"kind must be set, add or without; got {self.kind!r}")
        if (self.value is not None) != (self.kind == "set"):
            raise ValueError(f"a value belongs to set alone; got {self.kind} with {self.value}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `CODE=VALUE`, `+CODE` or `-CODE` (or `-notes`).

        >>> Edit.parse("LOINC//2951-2=140")
        Edit(kind='set', code='LOINC//2951-2', value=140.0)
        >>> Edit.parse("-notes")
        Edit(kind='without', code='notes', value=None)

        Raises:
            UsageError: it is none of these.
        """
        if text[:1] in "+-" and len(text) > 1:
            return cls(kind="add" if text[0] == "+" else "without", code=text[1:])
        code, _, value = text.rpartition("=")
        number = r"[-+]?\d+\.?\d*(e[-+]?\d{1,2})?"
        if code and re.fullmatch(number, value.strip(), re.IGNORECASE):
            return cls(kind="set", code=code, value=float(value))
        raise UsageError(f"a change must be CODE=VALUE, +CODE or -CODE; got {text!r}")

    def __str__(self) -> str:
        """Give it as `parse` reads it."""
        if self.kind == "set":
            return f"{self.code}={self.value:g}"
        return f"{'+' if self.kind == 'add' else '-'}{self.code}"


def edit_timelines(timelines: Timelines, edits: Sequence[Edit]) -> Timelines:
    """Give every row as it would be; the edits are made in order.

    A value that is set takes the place of the latest one; where there is none, it is known at the
    prediction time, as is a code that is added.

    Raises:
        UsageError: nothing of what is to be left out is there, or a note or an image is to be made
            up.
    """
    for edit in edits:
        timelines = _edited(timelines, edit)
    return timelines


def _edited(timelines: Timelines, edit: Edit) -> Timelines:
    events = timelines.events
    if edit.kind == "without":
        gone = (events["code"] == edit.code) | (events["modality"] == edit.code)
        if not gone.any():
            raise UsageError(f"{edit.code} is not in the record, so it cannot be left out")
        return _with(timelines, events[~gone])
    if modality_of(edit.code) != Modality.EVENTS:
        raise UsageError(f"a note or an image cannot be made up; got {edit.code}")
    if edit.kind == "add":
        return _with(timelines, _appended(timelines, edit, np.arange(len(timelines))))
    valued = events[(events["code"] == edit.code) & events["numeric_value"].notna()]
    latest = valued.groupby("row").tail(1).index  # sorted by time
    events = events.copy()
    events.loc[latest, "numeric_value"] = edit.value
    lacking = np.setdiff1d(np.arange(len(timelines)), events.loc[latest, "row"])
    return _with(_with(timelines, events), _appended(_with(timelines, events), edit, lacking))


def _appended(timelines: Timelines, edit: Edit, rows: np.ndarray) -> pd.DataFrame:
    """Add the code to these rows at their prediction times."""
    if not len(rows):
        return timelines.events
    new = pd.DataFrame({"row": rows}).reindex(columns=timelines.events.columns)
    new["time"] = timelines.index["prediction_time"].to_numpy()[rows]
    new["days_before"], new["code"], new["numeric_value"] = 0.0, edit.code, edit.value
    new["modality"] = str(Modality.EVENTS)
    new = new.astype(timelines.events.dtypes)
    return pd.concat([timelines.events, new])


def _with(timelines: Timelines, events: pd.DataFrame) -> Timelines:
    ordered = events.sort_values(["row", "time"], na_position="first", kind="stable")
    return Timelines(
        index=timelines.index, events=ordered.reset_index(drop=True), images=timelines.images
    )
