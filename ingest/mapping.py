"""Put a CSV with images, the way most research sets come, on the timelines of its subjects.

Each row of the CSV is a record of the CSV's file; each image is a record of its own file. What
several rows repeat (a laboratory value, a birth date, an admission) becomes one event.
"""

import math
import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb
from tqdm import tqdm

from ingest.cells import (
    as_utc,
    is_one_of,
    map_cell,
    read_cell,
    read_days,
    read_moment,
    read_number,
    read_table,
)
from ingest.errors import MappingError
from ingest.headers import ImageHeader
from ingest.imaging import ImageStore
from ingest.landing import LandedFile, discover, kind_of
from ingest.mapping_file import Coded, Mapping, Measurement, Note, Outcome, read_mapping
from ingest.rows import Rows

__all__ = ["check_mapping", "clean_note", "project_mapping"]

_DAYS_PER_YEAR = 365.25


def project_mapping(
    con: duckdb.DuckDBPyConnection,
    mapping: Path,
    files: list[LandedFile],
    store_images: Path,
    *,
    timezone: str,
    progress: bool,
) -> None:
    """Project a CSV's rows and images as a mapping file says.

    Of `files`, the mapping's CSV and the images are used; other CSVs and images that no row names
    are skipped with that reason, and files of other kinds are left alone.

    Raises:
        MappingError: the mapping is wrong, or the CSV is not there or lacks one of its columns.
    """
    plan = read_mapping(mapping)
    tables = {file.name: file for file in files if file.kind == "csv"}
    table = tables[_find_csv(plan, list(tables), mapping)]
    records = list(read_table(table.path))
    _check_columns(plan, table.name, records[:1])
    work = _Work(plan=plan, table=table, timezone=timezone)
    work.gather(records[1:])
    images = {file.name: file for file in files if file.kind in ("image", "dicom")}
    with ImageStore(store_images) as store:
        work.project(images, store, progress)
    for file in images.values():
        if file.id not in work.images_done:
            work.rows.outcome(file.id, 1, "skipped", "image that no row names")
    for file in files:
        if file.kind == "csv" and file is not table:
            for position, _ in enumerate(list(read_table(file.path))[1:], 1):
                work.rows.outcome(
                    file.id, position, "skipped", "CSV that the mapping does not name"
                )
    work.rows.write(con)


def check_mapping(mapping: Path, sources: list[Path]) -> None:
    """Hold a mapping against the sources that it is for, before anything lands.

    Raises:
        MappingError: the mapping is wrong, or a source's CSV is not there or lacks a column.
    """
    plan = read_mapping(mapping)
    for source in sources:
        tables = {name: path for path, name in discover(source) if kind_of(path) == "csv"}
        if tables:  # other sources go with it unmapped
            name = _find_csv(plan, list(tables), mapping)
            _check_columns(plan, name, list(islice(read_table(tables[name]), 1)))


def clean_note(text: str, note: Note) -> str:
    """Leave out what a note's mapping wants left out, sentence by sentence.

    >>> note = Note(column="c", code="NOTE//X", drop_sentences=("intubat",))
    >>> clean_note("Fever since May. She was intubated (Fig. 2) at night. Clear lungs.", note)
    'Fever since May. Clear lungs.'
    """
    for pattern in note.drop:
        text = re.sub(pattern, " ", text, flags=re.IGNORECASE | re.DOTALL)
    if note.drop_sentences:
        giveaway = re.compile("|".join(f"(?:{p})" for p in note.drop_sentences), re.IGNORECASE)
        # A full stop ends a sentence before a space, but not in "Fig. 2" or "Dr. Patel".
        sentences = re.split(r"(?<=[.!?;])(?<!\bFig\.)(?<!\bDr\.)\s+|\n+", text)
        text = " ".join(s for s in sentences if not giveaway.search(s))
    return " ".join(text.split()).strip(" .") and " ".join(text.split())


@dataclass(kw_only=True)
class _Row:
    position: int
    cells: dict[str, str]
    subject: str
    time: datetime
    vague: timedelta
    """How much earlier than `time` it may have been: a day, where a date has no hour."""


@dataclass(kw_only=True)
class _Work:
    """Hold one CSV's projection while it goes on."""

    plan: Mapping
    table: LandedFile
    timezone: str
    rows: Rows = field(default_factory=Rows)
    kept: list[_Row] = field(default_factory=list)
    first: dict[str, tuple[datetime, timedelta]] = field(default_factory=dict)
    emitted: set[tuple[Any, ...]] = field(default_factory=set)
    images_done: dict[str, ImageHeader | None] = field(default_factory=dict)

    def gather(self, records: list[dict[str, str] | str]) -> None:
        """Find each row's subject and time; rows without get their outcome here."""
        lacking = dict.fromkeys(self.plan.optional, "")
        for position, row in enumerate(records, 1):
            cells = row if isinstance(row, str) else lacking | row
            fate = cells if isinstance(cells, str) else self._read_row(position, cells)
            if isinstance(fate, _Row):
                self.kept.append(fate)
            elif isinstance(fate, tuple):
                self.rows.outcome(self.table.id, position, *fate)
            else:
                self.rows.outcome(self.table.id, position, "quarantined", fate)
        self._spread()
        for row in self.kept:
            stands = (row.time, row.vague)
            self.first[row.subject] = min(stands, self.first.get(row.subject, stands))

    def project(self, images: dict[str, LandedFile], store: ImageStore, progress: bool) -> None:
        """Write the events of each row that has a subject and a time."""
        for row in tqdm(self.kept, self.table.name, unit="row", disable=not progress):
            problems: list[str] = []
            self._add_person(row)
            for coded in self.plan.codes:
                value = map_cell(coded, row.cells)
                if value is not None:
                    self._add(row, row.time, coded.code.replace("{value}", value), coded.name)
            for measurement in self.plan.measurements:
                self._add_measurement(row, measurement, problems)
            for note in self.plan.notes:
                text = clean_note(read_cell(row.cells, note.column) or "", note)
                if text:
                    self._add(row, row.time, note.code, text_value=text)
            for outcome in self.plan.outcomes:
                self._add_outcome(row, outcome)
            if self.plan.image is not None:
                self._add_image(row, images, store, problems)
            detail = "; ".join(problems) or None
            self.rows.outcome(self.table.id, row.position, "projected", detail)

    def _read_row(self, position: int, cells: dict[str, str]) -> "_Row | str | tuple[str, str]":
        for column, values in self.plan.where.items():
            if not is_one_of(read_cell(cells, column), values):
                return "skipped", f"row outside `where: {column}`"
        subject = read_cell(cells, self.plan.subject)
        if subject is None:
            return "row without subject"
        read = self._row_time(cells)
        if read is None:
            self.rows.undated(self.table.id, position, "row")
            return "skipped", "row: undated"
        key = self.plan.subject_prefix + subject
        return _Row(position=position, cells=cells, subject=key, time=read[0], vague=read[1])

    def _row_time(self, cells: dict[str, str]) -> tuple[datetime, timedelta] | None:
        when = self.plan.time
        if when.column is not None:
            return read_moment(read_cell(cells, when.column), self.timezone)
        if when.offset is None:
            return as_utc(when.epoch), timedelta(0)
        days = read_days(cells, str(when.offset))
        days = when.missing if days is None else -days if when.negate else days
        return None if days is None else (as_utc(when.epoch) + timedelta(days=days), timedelta(0))

    def _spread(self) -> None:
        """Put rows of a subject that have one time apart, in the file's order.

        Rows that name one film (a table of findings has one for each) stay together.
        """
        step = timedelta(seconds=self.plan.time.spread_seconds)
        column = self.plan.image.column if self.plan.image is not None else None
        taken: dict[tuple[str, datetime], int] = defaultdict(int)
        films: dict[tuple[str, datetime, str], int] = {}
        for row in self.kept:
            key = row.subject, row.time
            film = read_cell(row.cells, column) if column is not None else None
            if film is not None and (*key, film) in films:
                place = films[*key, film]
            else:
                place = taken[key]
                taken[key] += 1
            if film is not None:
                films[*key, film] = place
            row.time += place * step

    def _add(
        self,
        row: _Row,
        moment: datetime | None,
        code: str,
        name: str | None = None,
        vague: timedelta | None = None,
        **more: Any,
    ) -> None:
        """Add an event unless an earlier row gave the same; it is as vague as its row."""
        vague = row.vague if vague is None else vague
        start = moment - vague if moment is not None and vague else None
        event = {"subject_key": row.subject, "time": moment, "code": code, **more}
        same = tuple(sorted((key, repr(value)) for key, value in event.items()))
        if same not in self.emitted:
            self.emitted.add(same)
            self.rows.event(
                **event,
                occurred=moment,
                time_from=start,
                occurred_from=start,
                display=name,
                file=self.table.id,
                position=row.position,
            )

    def _add_once(self, row: _Row, moment: datetime | None, code: str) -> None:
        """Add what a subject has once; the first row that says it counts."""
        once = (row.subject, code.partition("//")[0])
        if once not in self.emitted:
            self.emitted.add(once)
            self._add(row, moment, code, vague=timedelta(0))

    def _add_person(self, row: _Row) -> None:
        if self.plan.sex is not None:
            sex = map_cell(self.plan.sex, row.cells)
            if sex is not None:
                self._add_once(row, None, f"GENDER//{sex}")
        if self.plan.age_years is not None:
            age = read_number(read_cell(row.cells, self.plan.age_years))
            if age is not None and 0 <= age <= 130:
                start, _ = self.first[row.subject]
                if self.plan.time.column is None:
                    start = as_utc(self.plan.time.epoch)
                self._add_once(row, start - timedelta(days=age * _DAYS_PER_YEAR), "MEDS_BIRTH")

    def _add_measurement(self, row: _Row, what: Measurement, problems: list[str]) -> None:
        written = read_cell(row.cells, what.column)
        if written is None:
            return
        moment = row.time
        if what.offset is not None:
            days = read_days(row.cells, what.offset)
            if days is None:  # a value of which nobody knows the day could come from after the film
                problems.append(f"{what.column} without its day")
                return
            moment += timedelta(days=days)
        value = read_number(written)
        if value is not None and math.isinf(value):
            value = what.above if value > 0 else what.below
        if value is None:
            problems.append(f"{what.column} is no number")
        elif what.range is not None and not what.range[0] <= value <= what.range[1]:
            problems.append(f"{what.column} outside its range")
        else:
            self._add(row, moment, what.code, what.name, numeric_value=value, unit=what.unit)

    def _add_outcome(self, row: _Row, outcome: Outcome) -> None:
        if not all(
            is_one_of(read_cell(row.cells, c), values) for c, values in outcome.when.items()
        ):
            return
        if outcome.offset is None:
            days, (start, vague) = outcome.days_after_first or 0.0, self.first[row.subject]
        else:
            found = read_days(row.cells, outcome.offset)
            if found is None:
                return
            days, start, vague = found, row.time, row.vague
        moment = start + timedelta(days=days)
        if outcome.at == "day_start":
            moment, vague = datetime.combine(moment, time.min), timedelta(0)
        elif outcome.at == "day_end":
            begins = datetime.combine(moment - vague, time.min)
            moment = datetime.combine(moment, time.max)
            vague = moment - begins
        self._add(row, moment, outcome.code, vague=vague)

    def _add_image(
        self, row: _Row, images: dict[str, LandedFile], store: ImageStore, problems: list[str]
    ) -> None:
        plan = self.plan.image
        named = read_cell(row.cells, plan.column) if plan else None
        if plan is None or named is None:
            return
        folder = PurePosixPath(self.table.name).parent / plan.directory
        file = images.get(str(folder / named))
        if file is None:
            problems.append("image file is not there")
            return
        if file.id not in self.images_done:
            kept = store.keep(file)
            self.images_done[file.id] = kept if isinstance(kept, ImageHeader) else None
            fate = ("projected",) if isinstance(kept, ImageHeader) else kept
            self.rows.outcome(file.id, 1, *fate)
        if self.images_done[file.id] is None:
            problems.append("image cannot be read")
            return
        code = plan.code
        if plan.value is not None:
            coded = Coded(column=plan.value, map=plan.map)
            code = code.replace("{value}", map_cell(coded, row.cells) or "OT")
        self._add(row, row.time, code, image=f"images/{file.sha256}.png")


def _find_csv(plan: Mapping, tables: list[str], mapping: Path) -> str:
    wanted = PurePosixPath(plan.file).parts
    found = [name for name in tables if PurePosixPath(name).parts[-len(wanted) :] == wanted]
    if len(found) != 1:
        raise MappingError(
            f"{mapping} is for one file {plan.file}; the source has {len(found)} of them "
            f"(CSV files there: {', '.join(tables[:10]) or 'none'})"
        )
    return found[0]


def _check_columns(plan: Mapping, name: str, records: list[Any]) -> None:
    header: list[str] = records[0] if records and isinstance(records[0], list) else []
    for column, key in plan.columns().items():
        if column not in header and column not in plan.optional:
            have = ", ".join(header) or "no header"
            raise MappingError(
                f"{name} lacks the column {column!r} that the mapping names at {key}; "
                f"it has: {have}"
            )
    twice = sorted({c for c in header if header.count(c) > 1} & plan.columns().keys())
    if twice:
        raise MappingError(f"{name} has the column {twice[0]!r} more than once")
