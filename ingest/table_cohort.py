"""Build a cohort from a table of labels, for those who have labels and no task to make them with.

Each row of the table labels a subject, or a film's subject, at a prediction time: the one that the
table gives; else that of the film, when what the label tells of was before the reader; else that of
the subject's last event, since a table without times labels whole records. What was known by then
may be used, and nothing later, as everywhere.

- A label that is empty is a gap, and so is one that can't be read, which is counted.
- Rows of one subject at one time are one row, counted as repeats (a table of findings has a row for
  each). Where such rows contradict each other, the table is refused: either label would be a guess,
  and to leave both out would hide that the table is about something else than subjects at times.
- A row that can't be used is left out and counted under its reason; no row is dropped in silence.
- What gives a label away is for the table's owner to say (`exclude_codes`): no window tells it.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ingest.build import raw_zone_of
from ingest.cohort_directory import refuse_one_class, refuse_other, splits_for, write_cohort
from ingest.deidentify_choice import read_choice
from ingest.errors import CohortError, UsageError
from ingest.flow import count_splits, warn_of_bare, warn_of_few
from ingest.given_splits import NAMES, complete_splits, read_splits_column
from ingest.label_rows import KEYS, WHEN, RowsOfTable
from ingest.label_table import Columns, read_label_table, task_names
from ingest.landing import RawZone, require_timezone
from ingest.schema import Modality, modality_of
from ingest.store import RecordStore
from ingest.table_task import LabelSource, write_table_task, write_times
from ingest.task import Rows

__all__ = ["build_table_cohort", "describe_table"]

_OWNER = (
    "The labels came with the data and were not worked out from it: what a positive means, and "
    "whether it tells of the prediction time or of what came later, is for whoever made the table "
    "to say."
)


def build_table_cohort(
    store: Path,
    table: Path,
    out: Path,
    *,
    columns: Columns | None = None,
    exclude_codes: Sequence[str] = (),
    raw: Path | None = None,
    timezone: str | None = None,
    rows: Rows = "all",
    seed: int | None = None,
) -> dict[str, Any]:
    """Write a cohort of the labels that a table holds; give its flow.

    An earlier cohort at `out` is replaced as a whole, once everything has worked.

    Args:
        store: the record store.
        table: CSV or Parquet with a row a label, or with a column a task.
        out: the cohort directory to write.
        columns: what the table's columns hold; see `ingest.label_table`.
        exclude_codes: regular expressions of codes that no model may see.
        raw: the store's raw zone, where it does not lie beside it.
        timezone: for times that carry none; that of the sources by default, if they agree.
        rows: all, first or last of a subject's times.
        seed: splits subjects anew; without it, and without a split column, the store's splits hold.

    Raises:
        InputError: the table is not there, or lacks a column.
        UsageError: options that don't go together, or times that don't fit a store's shifted dates.
        CohortError: no row is left, a task has one class only, labels contradict each other, or a
            subject is in two splits.
        StoreError: the store is missing or damaged, or names no film where films are asked for.
    """
    asked = columns or Columns()
    if asked.split is not None and seed is not None:
        raise UsageError("--split takes the table's splits and --seed draws others; give one")
    if timezone is not None:
        require_timezone(timezone)
    refuse_other(out)
    records = RecordStore(store)
    zone = raw or raw_zone_of(store.resolve())
    read = read_label_table(table, asked)
    names = task_names(read.columns.labels)
    work = RowsOfTable(table=read, zone=timezone or _site(zone), hidden=_compile(exclude_codes))
    work.find(records, zone, shifted=_shifted(store))
    work.time(records, exclude_codes)
    _say_codes(work, records, exclude_codes)
    made = work.join()
    if rows != "all":
        made = made.sort_values(KEYS).drop_duplicates("subject_id", keep=rows)
        work.step(f"one row a subject: the {rows}", made)
    labels, flow = _label(work, made, names)
    splits = _splits(work, store, made, seed)
    for task, known in labels.items():
        counts = count_splits(known, splits)
        flow["splits"][task] = counts
        positives, n = int(known["boolean_value"].sum()), len(known)
        said = warn_of_few(positives, n - positives) + _gaps(len(made), n)
        flow["warnings"][task] = said + work.minded + warn_of_bare(counts)
    flow["settings"] = {
        "rows": rows,
        "splits": "given" if asked.split else "store" if seed is None else "seed",
        "seed": seed or 0,
    }
    flow["table"] = {
        "name": read.name,
        "sha256": read.sha256,
        "rows": len(read.rows) + read.broken,
        "repeats": work.repeats,
        "left_out": dict(sorted(work.left.items())),
        "said": work.said,
    }

    def write_tasks(folder: Path) -> None:
        for column, task in names.items():
            _write_task(folder / "tasks" / f"{task}.yaml", work, column, rows, exclude_codes)
            if work.asked == "given":
                write_times(folder / "times" / f"{task}.parquet", made[KEYS])

    write_cohort(out, labels, splits, flow, write_tasks=write_tasks)
    return flow


def describe_table(flow: dict[str, Any]) -> str:
    """Say what became of the table's rows: the sentences that hold for all of its tasks."""
    table = flow["table"]
    lines = [f"{table['name']}: {table['rows']:,} rows"]
    lines += [f"  left out, {reason}: {n:,}" for reason, n in table["left_out"].items()]
    lines += [f"  {sentence}" for sentence in table["said"]]
    return "\n".join(lines)


def _label(
    work: RowsOfTable, made: pd.DataFrame, names: Mapping[str, str]
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    labels: dict[str, pd.DataFrame] = {}
    flow: dict[str, Any] = {"tasks": {}, "splits": {}, "warnings": {}}
    for column, task in names.items():
        known = made.dropna(subset=[column])
        table = known[KEYS].assign(boolean_value=known[column] == 1).reset_index(drop=True)
        if table.empty:
            raise CohortError(
                f"the column {column} of {work.table.name} has no label on any row that is left; "
                "labels are 0 and 1, true and false, or yes and no"
            )
        refuse_one_class(task, table)
        last = {"step": "label known", "rows": len(table)}
        last |= {"subjects": int(table["subject_id"].nunique())}
        last |= {"positives": int(table["boolean_value"].sum())}
        labels[task] = table
        flow["tasks"][task] = [*work.steps, last]
    return labels, flow


def _splits(work: RowsOfTable, store: Path, made: pd.DataFrame, seed: int | None) -> pd.DataFrame:
    column, subjects = work.table.columns.split, np.unique(made["subject_id"])
    if column is None:
        return splits_for(store, subjects, "store" if seed is None else "seed", seed or 0)
    words = [work.table.rows[place].split for place in work.found["row"]]
    given = read_splits_column(work.found["subject_id"], words, work.table.name)
    renamed = sorted({w.lower() for w in words if w} - set(NAMES.values()))
    given = given[given["subject_id"].isin(subjects)]
    splits, said = complete_splits(given)
    if renamed:
        taken = ", ".join(f"{word} for {NAMES[word]}" for word in renamed)
        work.said.append(f"The table's splits were taken: {taken}.")
    work.said += [sentence[0].upper() + sentence[1:] + "." for sentence in said]
    return splits_for(store, subjects, splits, 0)


def _say_codes(work: RowsOfTable, records: RecordStore, exclude_codes: Sequence[str]) -> None:
    """Say which codes may give a label away, and what leaving out did."""
    codes = [str(code) for code in records.codes()["code"]]
    telling = [
        code
        for code in codes
        if modality_of(code) == Modality.EVENTS
        and code != "MEDS_BIRTH"
        and not code.startswith("GENDER//")
    ]
    for pattern, compiled in zip(exclude_codes, work.hidden, strict=True):
        if not any(compiled.search(code) for code in codes):
            work.said.append(f"No code of the store fits --exclude-codes {pattern!r}.")
    left = [code for code in telling if not any(p.search(code) for p in work.hidden)]
    if telling and not exclude_codes:
        work.said.append(
            f"A table says nothing of which codes give its labels away: all {len(left):,} codes "
            "that were recorded by the prediction time are features. Leave out those that tell the "
            "label (a diagnosis, a treatment that follows it) with --exclude-codes."
        )
    elif exclude_codes:
        gone = sum(any(p.search(code) for p in work.hidden) for code in codes)
        work.said.append(f"{gone:,} of {len(codes):,} codes are left out of what models see.")
    notes = any(modality_of(code) == Modality.NOTES for code in codes)
    if work.asked == "last_event" and (left or notes):
        work.minded.append(
            "the table gives no times, so a risk is asked for at the last event on record: what "
            "was recorded of the outcome, or because of it, is seen; a forecast needs --time"
        )


def _gaps(eligible: int, known: int) -> list[str]:
    if known == eligible:
        return []
    return [
        f"{eligible - known} of {eligible} rows have no known label in the table: are they like "
        "the rest?"
    ]


def _write_task(
    path: Path, work: RowsOfTable, column: str, rows: Rows, exclude_codes: Sequence[str]
) -> None:
    table = work.table
    settings: dict[str, Any] = {
        "title": column,
        "description": f"What the column {column} of {table.name} says. A risk is asked for "
        f"{WHEN[work.asked]}.",
        "notes": _OWNER,
        "rows": rows,
    }
    if exclude_codes:
        settings["exclude_codes"] = list(exclude_codes)
    used = table.columns
    source = LabelSource(
        table=table.name,
        sha256=table.sha256,
        label=column,
        subject=used.subject,
        image=used.image,
        time=used.time,
        split=used.split,
        prediction_time=work.asked,
    )
    write_table_task(path, settings, source)


def _compile(patterns: Sequence[str]) -> list[re.Pattern[str]]:
    compiled = []
    for pattern in patterns:
        try:
            compiled.append(re.compile(pattern))
        except re.error as error:
            raise UsageError(f"{pattern!r} is no regular expression: {error}") from None
    return compiled


def _shifted(store: Path) -> bool:
    choice = read_choice(store)
    return choice is not None and choice.shifts_dates


def _site(raw: Path) -> str:
    """Give the zone that the sources' times were read in, if they agree; else UTC."""
    zones = {file.timezone for file in RawZone(raw).files()}
    return zones.pop() if len(zones) == 1 else "UTC"
