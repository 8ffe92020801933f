"""Settle labels where outcomes are dated by a month or a year, which may hold the prediction time.

ACES sees each event at one moment, the end of its period. That is right where the whole period lies
on one side of the window's borders. Where a coarse outcome may or may not be in the label's window:

- If one of the label's events surely falls within it (it is dated to the day, or its whole period
  lies within), the label is positive.
- Otherwise it cannot be known, and is missing.

A window that an event ends (`start -> discharge`) ends earlier if a coarse event came first. So its
label is positive only if, besides, each coarse event that may fall in it is one of the label's, and
counts where it ends the window: then it does not matter which one did.
"""

from datetime import datetime, timedelta

import polars as pl
from aces.config import DerivedPredicateConfig, WindowConfig
from aces.types import START_OF_RECORD_KEY

from ingest.task import Task

__all__ = ["COARSE", "settle", "suffice"]

COARSE = timedelta(hours=25)
"""A period longer than this is coarse: a day, which may have 25 hours, is not."""

_ROW = ["subject_id", "prediction_time"]
_ONE_SIDED = {"low": datetime.min, "high": datetime.max}  # noqa: DTZ901 - as the store's, no zone


def suffice(task: Task, name: str) -> set[str]:
    """Name the plain predicates each of which alone makes a predicate true: none of an `and`."""
    predicate = task.aces.predicates.get(name)
    if not isinstance(predicate, DerivedPredicateConfig):
        return {name}
    if predicate.is_and:
        return set()
    return {plain for part in predicate.input_predicates for plain in suffice(task, part)}


def settle(
    rows: pl.DataFrame, coarse: pl.DataFrame, sure: pl.DataFrame, task: Task
) -> pl.DataFrame:
    """Say of each row whose label hangs on a coarse outcome whether it is positive all the same.

    Args:
        rows: subject_id, prediction_time, and the label's window as ACES found it: `begins` and
            `ends`, null where there is none.
        coarse: subject_id, since, time, alone: the periods of the coarse outcomes, and whether one
            alone makes the label's predicate true.
        sure: ACES's table for these subjects with the coarse outcomes left out.
        task: the task.

    Returns:
        subject_id, prediction_time, `surely`: true is positive, false cannot be known. Rows that
        are not there are as ACES labels them.
    """
    window = task.windows[task.label_window]
    spans = pl.concat(
        [
            coarse.with_columns(coarse=True),
            sure.filter(pl.col(str(window.label)) > 0).select(
                "subject_id", since="timestamp", time="timestamp", alone=True, coarse=False
            ),
        ]
    )
    since, time, low, high = (pl.col(name) for name in ("since", "time", "low", "high"))
    within = since >= low if window.start_inclusive else since > low
    within &= time <= high if window.end_inclusive else time < high
    reaches = time >= low if window.start_inclusive else time > low
    reaches &= since <= high if window.end_inclusive else since < high
    surely = (pl.col("alone") & within).any() & pl.col("found").all()
    far, near = _sides(window)
    if _event(window, far) is not None:
        foreign = (pl.col("coarse") & reaches & ~pl.col("alone")).any()
        counts = window.end_inclusive if far == "end" else window.start_inclusive
        surely &= ~foreign & counts
    if _event(window, near) is not None:
        surely &= False  # nobody knows where such a window begins
    return (
        _bounds(rows.join(coarse, on="subject_id", how="semi"), sure, window)
        .join(spans, on="subject_id")
        .group_by(_ROW)
        .agg(hangs=(pl.col("coarse") & reaches).any(), surely=surely)
        .filter("hangs")
        .select(*_ROW, "surely")
    )


def _bounds(rows: pl.DataFrame, sure: pl.DataFrame, window: WindowConfig) -> pl.DataFrame:
    """Add `low` and `high`, beyond which nothing touches a row's window, and whether it is `found`.

    The side that an event bounds is where it is without the coarse outcomes: with them it can only
    be nearer.
    """
    far, near = _sides(window)
    side = {"start": "low", "end": "high"}
    rows = rows.with_columns(
        found=pl.col("begins").is_not_null() & pl.col("ends").is_not_null(),
        low="begins",
        high="ends",
    )
    event = _event(window, far)
    if event is not None:
        bound = pl.col(side[far])
        stands = sure.filter(pl.col(event) > 0).select("subject_id", at="timestamp")
        place = pl.col("at").filter(pl.col("at") >= bound).min()
        if far == "start":
            place = pl.col("at").filter(pl.col("at") <= bound).max()
        moved = rows.join(stands, on="subject_id").group_by(_ROW).agg(place.alias(side[far]))
        rows = rows.drop(side[far]).join(moved, on=_ROW, how="left")
    elif window._parsed_start["event_bound"] == f"-{START_OF_RECORD_KEY}":
        rows = rows.with_columns(low=pl.lit(None, pl.Datetime("us")))
    root = pl.col(side[near]).fill_null(pl.col("prediction_time"))
    rows = rows.with_columns(root.alias(side[near]))
    if _event(window, near) is not None:
        rows = rows.with_columns(
            low=pl.min_horizontal("low", "prediction_time"),
            high=pl.max_horizontal("high", "prediction_time"),
        )
    return rows.with_columns(pl.col(name).fill_null(end) for name, end in _ONE_SIDED.items())


def _sides(window: WindowConfig) -> tuple[str, str]:
    """Name the side that is reckoned from the other one, and that other one."""
    return ("end", "start") if window.root_node == "start" else ("start", "end")


def _event(window: WindowConfig, side: str) -> str | None:
    """Name the predicate that bounds a side of a window, if one does."""
    bound = getattr(window, f"_parsed_{side}")["event_bound"]
    bound = bound and bound.removeprefix("-")
    return None if bound == START_OF_RECORD_KEY else bound
