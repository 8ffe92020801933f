"""Count what a store holds: the facts behind the page of text, the plots and the JSON."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ingest.store import RecordStore

__all__ = ["StoreFacts", "read_facts"]

_SYSTEMS = """
SELECT split_part(code, '//', 1) AS system, count(DISTINCT code) AS codes, count(*) AS events,
       count(DISTINCT subject_id) AS subjects
FROM events GROUP BY 1 ORDER BY events DESC, system
"""
_HELD = """
SELECT count(*) AS subjects, count(*) FILTER (notes AND images) AS both,
       count(*) FILTER (notes AND NOT images) AS notes,
       count(*) FILTER (images AND NOT notes) AS images,
       count(*) FILTER (NOT notes AND NOT images) AS neither
FROM (SELECT bool_or(starts_with(code, 'NOTE//')) AS notes,
             bool_or(starts_with(code, 'IMAGE//')) AS images FROM events GROUP BY subject_id)
"""
_DATES = """
SELECT count(*) AS events, min(time) AS first, max(time) AS last,
       count(*) FILTER (time > occurred + INTERVAL '1 day') AS late
FROM events WHERE time IS NOT NULL AND code <> 'MEDS_BIRTH'
"""
_NOTES = """
SELECT count(*) AS notes, count(DISTINCT subject_id) AS subjects,
       coalesce(floor(median(length(text_value))), 0)::BIGINT AS median_characters
FROM events WHERE starts_with(code, 'NOTE//')
"""
_IMAGES = """
SELECT code, count(*) AS images, count(DISTINCT subject_id) AS subjects
FROM events WHERE starts_with(code, 'IMAGE//') GROUP BY 1 ORDER BY images DESC, code
"""
_MEASURED = """
SELECT code, any_value(description) AS name, count(*) AS values,
       count(DISTINCT subject_id) AS subjects, count(DISTINCT unit) AS units
FROM events JOIN codes USING (code) WHERE numeric_value IS NOT NULL
GROUP BY code ORDER BY subjects DESC, values DESC, code LIMIT 15
"""
_YEARS = """
SELECT year(time) AS year, count(*) AS events, count(DISTINCT subject_id) AS subjects
FROM events WHERE time IS NOT NULL AND code <> 'MEDS_BIRTH' GROUP BY 1 ORDER BY 1
"""
_A_SUBJECT = "SELECT count(*) AS events FROM events GROUP BY subject_id"
_BINS = 40


@dataclass(frozen=True, kw_only=True)
class StoreFacts:
    """Hold what a store holds, in values that JSON has: dates are ISO 8601, UTC."""

    subjects: int

    dated: dict[str, Any]
    """Events with a time, births apart: `events`, `first` and `last` (null where there is none),
    and `late`, how many were known over a day after they occurred."""

    notes: dict[str, int]
    """`notes`, `subjects` with one, and `median_characters` of a note."""

    held: dict[str, int]
    """Subjects with `both` notes and images, `notes` alone, `images` alone, `neither`."""

    systems: list[dict[str, Any]]
    """Each code system, the one with the most events first: `system`, `codes`, `events`,
    `subjects`."""

    images: list[dict[str, Any]]
    """Each kind of image: `code`, `images`, `subjects`."""

    measured: list[dict[str, Any]]
    """What is measured of the most subjects, 15 at most: `code`, `name` (null where it has none),
    `values`, `subjects`, `units`."""

    years: list[dict[str, int]]
    """Each year in which dated events were known: `year`, `events`, `subjects`."""

    events_of_a_subject: dict[str, list[float]]
    """A histogram: `edges` in events, and the `subjects` between each edge and the next."""

    undated: dict[str, int]
    """Records left out, since they have no date, by type."""

    several_units: dict[str, dict[str, int]]
    """Numbers by code and unit, of codes with more than one."""

    without_unit: dict[str, int]
    """Numbers without a unit by code, of codes that have one elsewhere."""

    deidentified: dict[str, Any] | None
    """As `ingest_report.json` has it: among others `dates`, shifted or kept, and
    `burned_in_annotation`, how many pictures say what of writing in them. Null where it is not."""


def read_facts(store: RecordStore) -> StoreFacts:
    """Ask a store for all of them."""
    held = _rows(store.query(_HELD))[0]
    dated = _rows(store.query(_DATES))[0]
    for end in ("first", "last"):
        dated[end] = None if pd.isna(dated[end]) else dated[end].tz_localize("UTC").isoformat()
    counts = store.query(_A_SUBJECT)["events"].to_numpy()
    subjects, edges = np.histogram(counts, _BINS)
    report = store.report()
    return StoreFacts(
        subjects=held.pop("subjects"),
        dated=dated,
        notes=_rows(store.query(_NOTES))[0],
        held=held,
        systems=_rows(store.query(_SYSTEMS)),
        images=_rows(store.query(_IMAGES)),
        measured=[
            row | {"name": None if pd.isna(row["name"]) else row["name"]}
            for row in _rows(store.query(_MEASURED))
        ],
        years=_rows(store.query(_YEARS)),
        events_of_a_subject={"edges": edges.tolist(), "subjects": subjects.tolist()},
        undated=dict(sorted(report["undated"].items())),
        several_units=report["units"].get("several_units", {}),  # a store of before has none
        without_unit=report["units"].get("without_unit", {}),
        deidentified=report.get("deidentified"),
    )


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.to_dict("records")
