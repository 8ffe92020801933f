"""Read a CSV: its rows, broken or not, and what stands in their cells."""

import csv
import io
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ingest.mapping_file import Coded
from ingest.opening import TORN, open_bytes

__all__ = [
    "as_utc",
    "is_one_of",
    "map_cell",
    "read_cell",
    "read_days",
    "read_moment",
    "read_number",
    "read_table",
]

_FIELD_LIMIT = 2**24  # characters: a whole report in one field, but not a whole file
_TOO_FAR_DAYS = 365.25 * 300  # an offset beyond this is a typing error, and datetime overflows
_CODE_LENGTH = 60
_YEARS = range(1700, 2400)  # with offsets added, still within what datetime can hold
_MISSING = frozenset({"", "na", "n/a", "nan", "none", "null", "?", "."})


def read_table(path: Path) -> Iterator[Any]:
    """Give the header (a list), then each row as a dict, or as the reason why it is none."""
    csv.field_size_limit(_FIELD_LIMIT)
    delimiter = "\t" if ".tsv" in path.name.lower() else ","
    try:
        with open_bytes(path) as handle:
            # What is not UTF-8 in a note is no reason to lose the row.
            text = io.TextIOWrapper(handle, "utf-8-sig", errors="replace", newline="")
            reader = csv.reader(text, delimiter=delimiter)
            header = [name.strip() for name in next(reader, [])]
            yield header
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    yield f"row with {len(cells)} fields where the header has {len(header)}"
                else:
                    yield dict(zip(header, cells, strict=True))
    except (csv.Error, *TORN):
        yield "row that is not CSV; what follows it in the file was not read"


def read_cell(cells: dict[str, str], column: str) -> str | None:
    """Give a cell's text, or None where it says that there is nothing."""
    value = cells[column].strip()
    return None if value.lower() in _MISSING else value


def read_number(text: str | None) -> float | None:
    """Read a number, infinite ones too; None where it is none."""
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return None if value is None or math.isnan(value) else value


def read_days(cells: dict[str, str], column: str) -> float | None:
    """Read a number of days; None where there is none or it is beyond any life."""
    days = read_number(read_cell(cells, column))
    return days if days is not None and abs(days) <= _TOO_FAR_DAYS else None


def is_one_of(value: str | None, wanted: tuple[str, ...]) -> bool:
    """Say whether a cell is among values; 1 and 1.0 are the same."""
    if value is None:
        return False
    number = read_number(value)
    return value in wanted or (number is not None and number in [read_number(w) for w in wanted])


def map_cell(coded: Coded, cells: dict[str, str]) -> str | None:
    """Give what a cell's value is mapped to, or without a map the value, cut to a code's length."""
    value = read_cell(cells, coded.column)
    if value is None:
        return None
    if coded.map:
        return coded.map.get(value)
    return " ".join(value.split()).replace("//", "/")[:_CODE_LENGTH]


def read_moment(text: str | None, site: str) -> tuple[datetime, timedelta] | None:
    """Read ISO 8601: the last moment that it can mean, and how much earlier it may have been.

    A date without hour is its day's end at the site.

    >>> read_moment("2024-03-01", "Europe/Berlin")
    (datetime.datetime(2024, 3, 1, 22, 59, 59, 999999), datetime.timedelta(seconds=86399, ...))
    """
    if text is None:
        return None
    try:
        start = end = datetime.fromisoformat(text)
        if re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", text):
            end = datetime.combine(start, time.max)
        start, end = (
            as_utc(moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(site)))
            for moment in (start, end)
        )
        return (end, end - start) if end.year in _YEARS else None
    except (ValueError, OverflowError):
        return None


def as_utc(moment: datetime) -> datetime:
    """Drop the zone; a moment without one is in UTC already."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
