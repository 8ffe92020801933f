"""The rows that a model is fitted or judged on: timelines with labels, less the excluded codes."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from ingest.errors import UsageError
from ingest.labels import Cohort
from ingest.store import RecordStore
from ingest.timeline import TIMELINE_COLUMNS, Timelines

__all__ = ["Rows", "digest_rows", "drop_codes", "read_rows"]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Hold b timelines and their labels for k tasks."""

    timelines: Timelines
    labels: Float[np.ndarray, "b k"]
    """1, 0, or NaN where the label cannot be known."""

    def __post_init__(self) -> None:
        if len(self.timelines) != len(self.labels):
            raise ValueError(
                "timelines and labels must have as many rows as each other; got "
                f"timelines={len(self.timelines)}, labels={len(self.labels)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def subjects(self) -> np.ndarray:
        """Give each row's subject_id."""
        return self.timelines.index["subject_id"].to_numpy()

    def take(self, rows: np.ndarray) -> "Rows":
        """Keep the given rows, in that order."""
        return Rows(timelines=self.timelines.take(rows), labels=self.labels[rows])


def read_rows(
    store: Path,
    cohort: Cohort,
    rows: np.ndarray,
    *,
    exclude_codes: Sequence[str] = (),
) -> Rows:
    """Read what was known of some of a cohort's rows, without the codes that are no features."""
    index = cohort.index.iloc[rows][["subject_id", "prediction_time"]].reset_index(drop=True)
    timelines = RecordStore(store).timelines(index)
    return Rows(timelines=drop_codes(timelines, exclude_codes), labels=cohort.labels[rows])


def drop_codes(timelines: Timelines, patterns: Sequence[str]) -> Timelines:
    """Leave out the events in whose code any of the regular expressions is found (`re.search`).

    Raises:
        UsageError: a pattern is no regular expression.
    """
    if not patterns:
        return timelines
    compiled = []
    for pattern in patterns:
        try:
            compiled.append(re.compile(pattern))
        except re.error as error:
            raise UsageError(f"{pattern!r} is no regular expression: {error}") from None
    codes = timelines.events["code"]
    hidden = [code for code in codes.unique() if any(p.search(str(code)) for p in compiled)]
    events = timelines.events[~codes.isin(hidden)].reset_index(drop=True)
    return Timelines(index=timelines.index, events=events, images=timelines.images)


def digest_rows(rows: Rows) -> str:
    """Give a SHA-256 of all that a model could learn from the rows; not of where images lie."""
    digest = hashlib.sha256()
    events = rows.timelines.events
    for name in TIMELINE_COLUMNS:
        column = events[name]
        if not pd.api.types.is_numeric_dtype(column) and name != "time":
            column = column.astype(object).where(column.notna(), None)
        digest.update(name.encode())
        digest.update(pd.util.hash_pandas_object(column, index=False).to_numpy().tobytes())
    index = rows.timelines.index[["subject_id", "prediction_time"]]
    digest.update(pd.util.hash_pandas_object(index, index=False).to_numpy().tobytes())
    digest.update(np.ascontiguousarray(rows.labels, np.float32).tobytes())
    return digest.hexdigest()
