"""A spec: one small patient as literal FHIR, and the timeline that must come out of it.

Each file beside this one holds one topic. Read together they are the manual of what `ingest` does
with FHIR: what a reader wants to know of a rule stands in `says`, the evidence in `timeline`.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ingest.build import ingest
from ingest.store import RecordStore
from tests.ingest.films import write_film

__all__ = ["Label", "Row", "Spec", "build", "read_timeline", "timeline_of"]

Row = tuple[str, ...]
"""time, occurred, code, value, and the beginnings that the table shows; empty for nothing."""

_BEGINNINGS = {"from": "time", "occurred from": "occurred"}


@dataclass(frozen=True, kw_only=True)
class Label:
    """What a task must say of the patient: the prediction time and the answer."""

    prediction_time: str
    value: bool | None
    """None where it cannot be known, so that there must be no row."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One patient, and all that must come of him or her."""

    title: str
    says: str
    resources: list[dict[str, Any]] = field(default_factory=list)
    """Written as one NDJSON file, `records.ndjson`."""

    files: dict[str, Any] = field(default_factory=dict)
    """Further files: a dict is written as JSON, a list as NDJSON."""

    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    """DICOM files: name and header."""

    timezone: str = "UTC"

    timeline: str
    """A table: time | occurred (where it differs) | code | value (number and unit, or words). It
    may say where those periods begin, too (`from`, `occurred from`), if that is elsewhere."""

    accounts: dict[str, Any] = field(default_factory=dict)
    """What the report must say of all files together, where it is more than `projected`."""

    sees: dict[str, set[str]] = field(default_factory=dict)
    """For a prediction time, the modalities that a model is given."""

    task: str | None = None
    """The ACES task's name under tests/specs/tasks/ that `labels` is of."""

    labels: tuple[Label, ...] | None = None


def build(spec: Spec, place: Path) -> tuple[RecordStore, dict[str, Any]]:
    """Write the spec's files, ingest them, and give the store and the report."""
    source = place / "source"
    source.mkdir()
    contents = {"records.ndjson": spec.resources} if spec.resources else {}
    for name, content in {**contents, **spec.files}.items():
        lines = content if isinstance(content, list) else [content]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (source / name).write_text(text, "utf-8")
    for name, tags in spec.images.items():
        write_film(source / name, **tags)
    report = ingest([source], place / "store", timezone=spec.timezone, public=True)
    return RecordStore(place / "store"), report


def read_timeline(table: str) -> list[Row]:
    """Read a spec's table into rows; the first line names the columns."""
    lines = [line.split("|") for line in table.strip().splitlines()]
    head = [cell.strip() for cell in lines[0]]
    rows = [dict(zip(head, map(str.strip, line), strict=True)) for line in lines[1:]]
    return sorted(
        (
            _moment(row["time"]),
            _moment(row.get("occurred") or row["time"]),
            row["code"],
            row.get("value", ""),
            *(
                _moment(row[name] or row.get(clock) or row["time"])
                for name, clock in _BEGINNINGS.items()
                if name in head
            ),
        )
        for row in rows
    )


def timeline_of(store: RecordStore, table: str) -> list[Row]:
    """Give a store's only subject's events as the rows of a spec's table, with its columns."""
    head = [cell.strip() for cell in table.strip().splitlines()[0].split("|")]
    shown = [clock for name, clock in _BEGINNINGS.items() if name in head]
    events = store.events().fetchall()
    names = store.events().columns
    rows = [dict(zip(names, event, strict=True)) for event in events]
    if len({row["subject_id"] for row in rows}) != 1:
        raise ValueError("a spec is about one subject; give its resources the same Patient")
    return sorted(
        (
            _moment(row["time"]),
            _moment(row["occurred"]),
            row["code"],
            _value(row),
            *(_moment(row[f"{clock}_from"] or row[clock]) for clock in shown),
        )
        for row in rows
    )


def _value(row: dict[str, Any]) -> str:
    number = "" if row["numeric_value"] is None else f"{row['numeric_value']:g}"
    words = "" if row["text_value"] is None else json.dumps(row["text_value"])
    image = "an image" if row["image"] else ""
    return " ".join(part for part in (words, number, row["unit"], image) if part)


def _moment(value: str | datetime | None) -> str:
    if not value:
        return ""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.isoformat(sep=" ", timespec="auto")
