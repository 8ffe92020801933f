"""Four patients of a ward, whose films, notes and values came through a mapping."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from ingest.build import ingest
from ingest.label_table import Columns
from ingest.labels import read_cohort
from ingest.table_cohort import build_table_cohort

MAPPING = """
file: data.csv
subject: who
subject_prefix: w/
time: {column: when}
age_years: age
codes: [{column: outcome, code: "OUTCOME//{value}"}]
measurements: [{column: crp, code: LOINC//1988-5, unit: mg/L}]
notes: [{column: note, code: NOTE//TEXT//note}]
image: {column: file, directory: films, code: IMAGE//CR}
"""
WARD = [
    ("who", "when", "age", "outcome", "crp", "note", "file"),
    ("ann", "2024-01-01", "40", "", "5", "well", "ann/1.png"),
    ("ann", "2024-02-01T08:00:00Z", "40", "", "6", "", "ann/2.png"),
    ("bob", "2024-01-10T08:00:00Z", "50", "", "7", "", "bob/1.png"),
    ("bob", "2024-03-10T08:00:00Z", "50", "died", "", "", ""),
    ("cyd", "2024-01-05T09:00:00Z", "60", "", "", "", "cyd.png"),
    ("dan", "2024-01-06T10:00:00Z", "70", "", "3", "", "dan.png"),
]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def write_csv(path: Path, rows: Iterable[Sequence[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows(rows)
    return path


@dataclass(frozen=True, kw_only=True)
class Ward:
    store: Path
    ids: dict[str, int]

    def cohort(self, place: Path, cells: Sequence[Sequence[str]], **asked: Any) -> dict[str, Any]:
        names = {"subject", "image", "time", "labels", "split"}
        columns = Columns(**{name: asked.pop(name) for name in names & asked.keys()})
        table = write_csv(place / "labels.csv", cells)
        return build_table_cohort(self.store, table, place / "cohort", columns=columns, **asked)


def make_ward(place: Path) -> Ward:
    """Ingest four patients' films, notes and values; the films of cyd and dan are alike."""
    (place / "in").mkdir()
    write_csv(place / "in" / "data.csv", WARD)
    for number, name in enumerate(["ann/1", "ann/2", "bob/1", "cyd", "dan"]):
        path = place / "in" / "films" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 10 * min(number, 3), np.uint8)).save(path)
    (place / "plan.yaml").write_text(MAPPING, "utf-8")
    ingest([place / "in"], place / "store", mapping=place / "plan.yaml", public=True)
    crosswalk = pq.read_table(place / "store.raw" / "crosswalk.parquet").to_pylist()
    ids = {row["subject_key"].removeprefix("w/"): row["subject_id"] for row in crosswalk}
    return Ward(store=place / "store", ids=ids)


def rows_of(place: Path) -> list[tuple[int, datetime, list[float]]]:
    cohort = read_cohort(place / "cohort")
    keys = zip(cohort.index["subject_id"], cohort.index["prediction_time"], strict=True)
    return [(s, t.to_pydatetime(), list(y)) for (s, t), y in zip(keys, cohort.labels, strict=True)]


def labels_of(ward: Ward, place: Path) -> dict[str, float]:
    names = {subject: name for name, subject in ward.ids.items()}
    return {names[subject]: labels[0] for subject, _, labels in rows_of(place)}
