"""Bring a table's rows of labels to a subject and a prediction time, and count what is lost."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ingest.cells import read_moment
from ingest.errors import CohortError, UsageError
from ingest.label_subjects import Films, Subjects
from ingest.label_table import LabelRow, LabelTable
from ingest.store import RecordStore
from ingest.table_task import Asked, last_known

__all__ = ["KEYS", "WHEN", "RowsOfTable"]

KEYS = ["subject_id", "prediction_time"]
"""What makes a row of a cohort."""

WHEN: Mapping[Asked, str] = {
    "given": "at the times that the table gives",
    "film": "at the time of each film",
    "last_event": "at the last event on record",
}
"""How a task says when a risk is asked for."""


@dataclass(kw_only=True)
class RowsOfTable:
    """Hold one table's rows on their way to a cohort."""

    table: LabelTable
    zone: str
    hidden: list[re.Pattern[str]]
    found: pd.DataFrame = field(default_factory=pd.DataFrame)
    """row (LabelRow's place in the table), subject_id, film (its time), prediction_time."""

    left: Counter[str] = field(default_factory=Counter)
    steps: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    minded: list[str] = field(default_factory=list)
    """Warnings, of each task."""

    repeats: int = 0

    @property
    def asked(self) -> Asked:
        """Say how prediction times come about."""
        if self.table.columns.time is not None:
            return "given"
        return "film" if self.table.columns.image is not None else "last_event"

    def step(self, words: str, kept: pd.DataFrame, less: Counter[str] | None = None) -> None:
        """Add a step of the flow, with the reasons of those that it loses."""
        if less:
            words += f" (left out: {', '.join(f'{why}, {n}' for why, n in sorted(less.items()))})"
            self.left += less
        subjects = int(kept["subject_id"].nunique())
        self.steps.append({"step": words, "rows": len(kept), "subjects": subjects})

    def find(self, records: RecordStore, raw: Path, *, shifted: bool) -> None:
        """Find each row's subject, and its film where the table names films."""
        columns, rows = self.table.columns, self.table.rows
        subjects = Subjects(records, raw) if columns.subject else None
        films = Films(records, raw) if columns.image else None
        named = {row.subject or row.image for row in rows} - {None}
        first = {"step": f"rows of {self.table.name}", "rows": len(rows) + self.table.broken}
        self.steps.append(first | {"subjects": len(named)})
        less = Counter(
            {"row that could not be read": self.table.broken} if self.table.broken else {}
        )
        found, foreign = [], columns.image is not None
        for place, row in enumerate(rows):
            told = self._find(row, subjects, films)
            if isinstance(told, str):
                less[told] += 1
                continue
            found.append((place, *told))
            foreign |= subjects is not None and not subjects.is_own(row.subject or "")
        if shifted and columns.time is not None and foreign:
            raise UsageError(
                "the store's dates are shifted, each subject's by other days, so the table's times "
                "do not fit them: name subjects by the store's subject_id with times as the store "
                "has them, or leave --time out"
            )
        self.found = pd.DataFrame(found, columns=["row", "subject_id", "film"])
        what = "film" if columns.image else "subject"
        self.step(f"{what} found in the store", self.found, less)

    def _find(
        self, row: LabelRow, subjects: Subjects | None, films: Films | None
    ) -> tuple[int, pd.Timestamp | None] | str:
        subject = None
        if subjects is not None:
            if row.subject is None:
                return "row that names no subject"
            told = subjects.find(row.subject)
            if isinstance(told, str):
                return told
            subject = told
        if films is not None:
            if row.image is None:
                return "row that names no image"
            film = films.find(row.image, subject)
            return film if isinstance(film, str) else (film.subject_id, film.time)
        return "row that names no subject" if subject is None else (subject, None)

    def time(self, records: RecordStore, exclude_codes: Sequence[str]) -> None:
        """Give each row its prediction time, by which something must have been known."""
        less: Counter[str] = Counter()
        if self.asked == "given":
            times = [self._read_time(self.table.rows[place], less) for place in self.found["row"]]
            words = "prediction time can be read"
        elif self.asked == "film":
            times, words = list(self.found["film"]), "the film's time"
        else:
            last = last_known(records, exclude_codes).set_index("subject_id")["prediction_time"]
            times, words = list(self.found["subject_id"].map(last)), "the subject's last event"
            lost = sum(pd.isna(time) for time in times)
            less += Counter({"subject of whom nothing is dated": lost} if lost else {})
        self.found["prediction_time"] = pd.Series(times, dtype="datetime64[us]")
        self.found = self.found.dropna(subset=["prediction_time"])
        self.step(words, self.found, less)
        if self.asked == "given":
            self._require_known(records)
            self.said.append(f"Times without a zone are {self.zone}'s; a date is its day's end.")
        self.said.append(f"A risk is asked for {WHEN[self.asked]}.")

    def _read_time(self, row: LabelRow, less: Counter[str]) -> datetime | None:
        read = read_moment(row.time, self.zone)
        if read is None:
            less["row without a time" if row.time is None else "time that is not ISO 8601"] += 1
            return None
        return read[0]

    def _require_known(self, records: RecordStore) -> None:
        """Leave out the rows at whose time nothing was known but birth and sex, or no film."""
        starts = records.query(
            "SELECT subject_id, code, min(time) AS time FROM events "
            "WHERE time IS NOT NULL AND code <> 'MEDS_BIRTH' GROUP BY ALL"
        )
        unseen = [c for c in starts["code"].unique() if any(p.search(c) for p in self.hidden)]
        starts = starts[~starts["code"].isin(unseen)].groupby("subject_id")["time"].min()
        first = self.found["subject_id"].map(starts)
        early = ~(first <= self.found["prediction_time"])
        film = pd.to_datetime(self.found["film"])
        absent = (film > self.found["prediction_time"]) & ~early
        less = Counter(
            {
                "time before anything was known of the subject": int(early.sum()),
                "time at which the film was not there yet": int(absent.sum()),
            }
        )
        self.found = self.found[~(early | absent)]
        self.step("something was known by then", self.found, +less)

    def join(self) -> pd.DataFrame:
        """Make one row of a subject's rows at one time: its keys and a column a label.

        Raises:
            CohortError: no row is left, or rows contradict each other.
        """
        if self.found.empty:
            counts = "; ".join(f"{why}: {n}" for why, n in sorted(self.left.items()))
            raise CohortError(f"no row of {self.table.name} makes a row of the cohort; {counts}")
        columns = self.table.columns.labels
        told = np.array([self.table.rows[place].labels for place in self.found["row"]], float)
        frame = self.found.assign(**{f"label {n}": told[:, n] for n in range(len(columns))})
        grouped = frame.groupby(KEYS, sort=True)
        for n, column in enumerate(columns):
            self._refuse_contradictions(frame, column, grouped[f"label {n}"].transform("nunique"))
        made = grouped.agg(
            row=("row", "first"),
            **{column: (f"label {n}", "max") for n, column in enumerate(columns)},
        ).reset_index()
        self.repeats = len(frame) - len(made)
        self.step("one row a subject and time", made)
        if self.repeats:
            self.said.append(
                f"{self.repeats:,} rows repeat a subject and time that another row has, and say "
                "nothing else."
            )
        for column, n in self.table.unread.items():
            if n:
                self.said.append(
                    f"{n:,} labels in {column} are none of 0, 1, true, false, yes and no, and were "
                    "taken for unknown."
                )
        return made

    def _refuse_contradictions(self, frame: pd.DataFrame, column: str, kinds: pd.Series) -> None:
        both = frame[kinds > 1]
        if both.empty:
            return
        n = len(both[KEYS].drop_duplicates())
        first = both[(both[KEYS] == both[KEYS].iloc[0]).all(axis=1)]["row"]
        rows = ", ".join(str(self.table.rows[place].position) for place in first[:5])
        wanted = (
            "a time (--time)" if self.asked == "film" else "a film (--image) or a time (--time)"
        )
        raise CohortError(
            f"{self.table.name} labels {n} subjects at one time both 0 and 1 in {column} (first in "
            f"rows {rows}); a row is one subject at one time: name {wanted}, or correct the table"
        )
