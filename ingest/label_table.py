"""Read a table of labels, CSV or Parquet: its rows, and what stands in their cells.

A label is 0 or 1, true or false, yes or no; an empty cell is a label that nobody knows. Whatever
else stands there is counted and taken for unknown: a guess would be worse than a gap.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.cells import read_cell, read_number, read_table
from ingest.errors import InputError, UsageError

__all__ = ["Columns", "LabelRow", "LabelTable", "read_label", "read_label_table", "task_names"]

_TRUE, _FALSE = frozenset({"true", "yes"}), frozenset({"false", "no"})
_SUBJECT, _TIME, _LABELS = "subject_id", "prediction_time", ("label", "boolean_value")
_NAME_LENGTH = 60


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Name the columns of a table of labels; without a name, MEDS's own are looked for."""

    subject: str | None = None
    image: str | None = None
    time: str | None = None
    labels: tuple[str, ...] = ()
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """Hold one row's cells; None is an empty one."""

    position: int
    """From 1, without the header."""

    subject: str | None
    image: str | None
    time: str | None
    split: str | None
    labels: tuple[bool | None, ...]


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """Hold a whole table."""

    name: str
    sha256: str
    columns: Columns
    """Those that are used: with what was looked for, and was there."""

    rows: list[LabelRow]

    broken: int
    """Rows that could not be read."""

    unread: dict[str, int] = field(default_factory=dict)
    """Label column: how many of its cells are no label."""


def read_label_table(path: Path, columns: Columns) -> LabelTable:
    """Read a table of labels.

    Without `subject` and `image` its column `subject_id` names subjects; without `time`, its
    column `prediction_time`, if there is one, holds times; without `labels`, `label` or MEDS's
    `boolean_value` does.

    Raises:
        InputError: it is not there, cannot be read, or lacks a column.
        UsageError: it is neither CSV nor Parquet.
    """
    if not path.is_file():
        raise InputError(f"{path} is not there; --labels takes a table of labels, CSV or Parquet")
    records = _records(path)
    header: list[str] = next(records)
    used = _settle(path, columns, header)
    wanted = [c for c in (used.subject, used.image, used.time, used.split) if c] + [*used.labels]
    for column in wanted:
        if header.count(column) != 1:
            lack = "lacks the column" if column not in header else "has more than one column"
            raise InputError(f"{path} {lack} {column!r}; it has: {', '.join(header) or 'none'}")
    rows, broken, unread = [], 0, dict.fromkeys(used.labels, 0)
    for position, cells in enumerate(records, 1):
        if isinstance(cells, str):
            broken += 1
            continue
        labels = []
        for column in used.labels:
            text = read_cell(cells, column)
            label = read_label(text)
            unread[column] += text is not None and label is None
            labels.append(label)
        rows.append(
            LabelRow(
                position=position,
                subject=read_cell(cells, used.subject) if used.subject else None,
                image=read_cell(cells, used.image) if used.image else None,
                time=read_cell(cells, used.time) if used.time else None,
                split=read_cell(cells, used.split) if used.split else None,
                labels=tuple(labels),
            )
        )
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return LabelTable(
        name=path.name, sha256=digest, columns=used, rows=rows, broken=broken, unread=unread
    )


def read_label(text: str | None) -> bool | None:
    """Read a label; None where it says nothing, or nothing that is a label.

    >>> [read_label(text) for text in ("1", "0.0", "Yes", "FALSE", "-1", None)]
    [True, False, True, False, None, None]
    """
    if text is None:
        return None
    word, number = text.lower(), read_number(text)
    if word in _TRUE or number == 1:
        return True
    return False if word in _FALSE or number == 0 else None


def task_names(columns: Sequence[str]) -> dict[str, str]:
    """Give each label column the name of its task: its own, as a file may be called.

    >>> task_names(["Pleural Effusion", "No finding/normal"])
    {'Pleural Effusion': 'Pleural_Effusion', 'No finding/normal': 'No_finding_normal'}

    Raises:
        UsageError: two columns come to one name, or one has nothing to be called by.
    """
    names = {c: re.sub(r"[^\w-]+", "_", c).strip("_")[:_NAME_LENGTH] for c in columns}
    for column, name in names.items():
        if not name or list(names.values()).count(name) > 1:
            raise UsageError(
                f"the label column {column!r} gives no task name of its own ({name!r}); rename it"
            )
    return names


def _settle(path: Path, asked: Columns, header: Sequence[str]) -> Columns:
    labels = asked.labels or tuple(name for name in _LABELS if name in header)[:1]
    if not labels:
        raise UsageError(
            f"name the column of labels with --label: {path} has none called label; it has: "
            f"{', '.join(header) or 'none'}"
        )
    if len(set(labels)) < len(labels):
        raise UsageError("--label names a column twice; give each once")
    subject = asked.subject or (None if asked.image else _SUBJECT)
    if subject is not None and asked.subject is None and subject not in header:
        raise UsageError(
            f"say whose the labels are with --subject or --image: {path} has no column subject_id; "
            f"it has: {', '.join(header) or 'none'}"
        )
    time = asked.time or (_TIME if _TIME in header else None)
    return Columns(subject=subject, image=asked.image, time=time, labels=labels, split=asked.split)


def _records(path: Path) -> Iterator[Any]:
    """Give the header, then each row as a dict of texts, or as the reason why it is none."""
    name = path.name.lower()
    if name.removesuffix(".gz").endswith((".csv", ".tsv")):
        yield from read_table(path)
    elif name.endswith(".parquet"):
        try:
            with pq.ParquetFile(path) as file:
                yield [str(column) for column in file.schema_arrow.names]
                for batch in file.iter_batches():
                    for row in batch.to_pylist():
                        yield {str(column): _as_text(value) for column, value in row.items()}
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path} is no Parquet ({type(error).__name__})") from None
    else:
        raise UsageError(f"--labels takes .csv, .tsv or .parquet; got {path.name}")


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, datetime) else str(value)
