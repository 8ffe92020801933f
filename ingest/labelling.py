"""Find a task's rows in a view and label them; ACES does the windows."""

from typing import Any

import polars as pl
from aces.query import query

from ingest.coarse import settle
from ingest.flow import Flow
from ingest.task import Rows, Task, quiet_aces
from ingest.view import View

__all__ = ["ROW", "eligible_times", "label_view", "pick_rows"]

ROW = ["subject_id", "prediction_time"]


def label_view(view: View, task: Task, rows: Rows, flow: Flow) -> pl.DataFrame:
    """Give subject_id, prediction_time and boolean_value of one shard's rows; count the steps."""
    before = [w for w in task.windows if not task.needs_label(w)]
    trigger = task.aces.trigger.predicate
    flow.add(0, task.settings.steps.get("trigger", f"trigger: {trigger}"), _triggers(view, task))
    found, place = eligible_times(view, task, before), 1
    for last, window in enumerate(before, start=1):
        if not task.windows[window].referenced_predicates:
            continue  # a window that asks for nothing loses nobody
        left = eligible_times(view, task, before[:last])
        flow.add(place, task.words(window), left)
        place += 1
    limited = [w for w in task.windows if task.needs_label(w)]
    if len(limited) > 1 or task.windows[task.label_window].has:
        kept = _query(view, task, task.config(task.windows)).select("subject_id", "trigger")
        found = found.join(kept, on=["subject_id", "trigger"], how="semi")
        flow.add(place, "; ".join(task.words(window) for window in limited), found)
        place += 1
    found = pick_rows(found, rows)
    if rows != "all":
        flow.add(place, f"one row a subject: the {rows}", found)
        place += 1
    labelled = _label(view, task, found, before)
    flow.add(place, "label known", labelled)
    return labelled


def _triggers(view: View, task: Task) -> pl.DataFrame:
    empty = pl.DataFrame(schema={"subject_id": pl.Int64, "trigger": pl.Datetime("us")})
    if view.predicates.is_empty():
        return empty
    at = view.predicates.filter(pl.col(task.aces.trigger.predicate) > 0)
    return at.drop_nulls("timestamp").select("subject_id", trigger="timestamp")


def eligible_times(view: View, task: Task, windows: list[str]) -> pl.DataFrame:
    """Give subject_id, trigger and prediction_time, where the windows include the index's."""
    found = _query(view, task, task.config(windows))
    if "index_timestamp" in found.columns:
        found = found.rename({"index_timestamp": "prediction_time"})
        found = found.drop_nulls("prediction_time").unique(ROW, keep="first", maintain_order=True)
    kept = [c for c in ("subject_id", "trigger", "prediction_time") if c in found.columns]
    return found.select(kept)


def _query(view: View, task: Task, config: Any) -> pl.DataFrame:
    """Run ACES, and give a table with the right columns even if it finds nothing.

    A window whose event never comes leaves ACES a row without trigger: it is none.
    """
    if not _triggers(view, task).is_empty():
        with quiet_aces():
            found = query(config, view.predicates)
        if not found.is_empty():
            return found.drop_nulls(["subject_id", "trigger"]).sort("subject_id", "trigger")
    schema = {"subject_id": pl.Int64, "trigger": pl.Datetime("us")}
    if config.index_timestamp_window:
        schema["index_timestamp"] = pl.Datetime("us")
    if config.label_window:
        schema["label"] = pl.Int64
    return pl.DataFrame(schema=schema)


def pick_rows(found: pl.DataFrame, rows: Rows) -> pl.DataFrame:
    """Keep each subject's first or last time, or all of them."""
    found = found.sort(ROW)
    if rows == "all":
        return found
    return found.unique("subject_id", keep=rows, maintain_order=True)


def _label(view: View, task: Task, rows: pl.DataFrame, before: list[str]) -> pl.DataFrame:
    """Join each row's label; leave out those whose label cannot be known."""
    name = task.label_window
    config = task.config([*before, name], unlimited=name)
    counted = _query(view, task, config)
    side = "end" if task.windows[name].root_node == "start" else "start"
    summary = f"{name}.{side}_summary"
    if summary in counted.columns:
        # ACES gives the bounds of a window that runs backwards the wrong way round.
        bounds = [pl.col(summary).struct.field(f"timestamp_at_{end}") for end in ("start", "end")]
        found = pl.all_horizontal([bound.is_not_null() for bound in bounds])
        counted = counted.select(
            "subject_id",
            "trigger",
            "label",
            begins=pl.when(found).then(pl.min_horizontal(bounds)),
            ends=pl.when(found).then(pl.max_horizontal(bounds)),
        )
    else:
        empty = pl.lit(None, pl.Datetime("us"))
        counted = counted.select("subject_id", "trigger", "label", begins=empty, ends=empty)
    table = rows.join(counted, on=["subject_id", "trigger"], how="left").join(
        view.follow_up, on="subject_id", how="left"
    )
    if not view.coarse.is_empty():
        settled = settle(table, view.coarse, view.sure, task)
        table = table.join(settled, on=ROW, how="left")
    else:
        table = table.with_columns(surely=pl.lit(None, pl.Boolean))
    window = task.windows[name]
    begins, ends = pl.col("begins"), pl.col("ends")
    if task.label_length is not None:
        died, since = pl.col("died"), pl.col("died_from")
        after = since >= begins if window.start_inclusive else since > begins
        until = died <= ends if window.end_inclusive else died < ends
        dead = table.join(view.deaths, on="subject_id").filter(after & until)
        dead = dead.select(*ROW, dead=pl.lit(True)).unique()
        table = table.join(dead, on=ROW, how="left")
        negative = (pl.col("last") >= ends) | pl.col("dead")
    elif task.settings.never_ends == "missing":
        negative = begins.is_not_null() & ends.is_not_null()
    else:
        negative = pl.lit(True)
    positive = (pl.col("label") > 0).fill_null(False)
    known = positive | negative.fill_null(False)
    return (
        table.with_columns(boolean_value=pl.coalesce("surely", positive))
        .filter(pl.coalesce("surely", known))
        .select(*ROW, "boolean_value")
    )
