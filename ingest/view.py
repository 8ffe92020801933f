"""Show a store to ACES: outcomes where they happened, everything else where it was known.

ACES knows one clock, a MEDS event's `time`. A label is a fact about the world, so the events that
the label's window asks for, and death, are put at `occurred`; what must have been known when one
predicts (triggers, exclusions) stays at `time`. Only what a task's predicates name is kept, with
the ends of each subject's record; a view is temporary and small.

A moment that is known to the month or year only is a period, of which ACES sees the end; what that
makes unsure is kept beside its table, for labels (see `ingest.coarse`). A patient was followed up
to the beginning of the last such period, no further.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from aces.config import PlainPredicateConfig
from aces.predicates import get_predicates_df
from aces.types import ANY_EVENT_COLUMN
from omegaconf import DictConfig

from ingest.coarse import COARSE, suffice
from ingest.errors import StoreError
from ingest.task import DEATH, Task, quiet_aces

__all__ = ["View", "read_view", "shards_of"]

_NO_CODE = ""  # stands at the ends of a record; matches no predicate
_BEGINNINGS = ("time_from", "occurred_from")


@dataclass(frozen=True, kw_only=True)
class View:
    """Hold what one shard has for one task."""

    predicates: pl.DataFrame
    """ACES's table: subject_id, timestamp, a count for each predicate; empty if nobody triggers."""

    follow_up: pl.DataFrame
    """subject_id, last: the latest moment, by either clock, at which something is surely recorded.
    Of a period it is the beginning, since nothing says that it was later."""

    deaths: pl.DataFrame
    """subject_id, died, died_from: when a subject died (`occurred`); `died_from` is earlier where
    that is a coarse period."""

    coarse: pl.DataFrame
    """subject_id, since, time, alone: the periods of the label's coarse outcomes, and whether one
    alone makes the label's predicate true."""

    sure: pl.DataFrame
    """ACES's table of the subjects in `coarse`, with what is coarse left out."""


def shards_of(store: Path) -> list[Path]:
    """List a store's shards.

    Raises:
        StoreError: there is none.
    """
    shards = sorted((store / "data").rglob("*.parquet"))
    if not shards:
        raise StoreError(f"{store} is no record store: it has no data/*.parquet; run ingest first")
    return shards


def read_view(
    shard: Path, task: Task, *, outcomes: bool, subject_ids: Iterable[int] | None = None
) -> View:
    """Read one shard for a task.

    Args:
        shard: a parquet file of the store.
        task: the task.
        outcomes: true puts outcome events and deaths at `occurred`; false leaves all at `time`, as
            one who predicts has it.
        subject_ids: only these subjects.
    """
    plain = {name: task.aces.predicates[name] for name in task.plain(task.aces.predicates)}
    columns = ["subject_id", "time", "occurred", "code", "numeric_value"]
    columns += _BEGINNINGS if outcomes else ()
    columns += sorted({col for p in plain.values() for col in p.other_cols} - set(columns))
    events = pl.scan_parquet(shard)
    missing = sorted(set(columns) - set(events.collect_schema().names()))
    if missing:
        raise StoreError(
            f"{shard.name} lacks the columns {', '.join(missing)} that the task needs; if "
            "an earlier version made the store, run ingest again"
        )
    events = events.select(columns).with_columns(pl.col("code").cast(pl.String))
    if not outcomes:  # where nothing is to be sure of, older stores will do
        unknown = pl.lit(None, pl.Datetime("us"))
        events = events.with_columns(unknown.alias(name) for name in _BEGINNINGS)
    if subject_ids is not None:
        wanted = pl.Series(list(subject_ids), dtype=pl.Int64)
        events = events.filter(pl.col("subject_id").is_in(wanted.implode()))

    codes = _matching_codes(events, plain.values())
    named = events.filter(pl.col("code").is_in(codes.implode())).collect()
    died = pl.col("code") == DEATH
    asks = {name: p.MEDS_eval_expr().fill_null(False) for name, p in plain.items()}
    asked = pl.any_horizontal([asks[name] for name in task.outcomes()])
    moved = (died | asked) if outcomes else pl.lit(False)
    stands, begins = _happened()
    named = named.with_columns(
        time=pl.when(moved).then(stands).otherwise("time"),
        since=pl.when(moved & (stands - begins > COARSE)).then(begins),
    )
    deaths = (
        named.filter(died)
        .select("subject_id", died="time", died_from=pl.coalesce("since", "time"))
        .drop_nulls()
    )
    rest = events.filter(~pl.col("code").is_in(codes.implode()))
    if any(ANY_EVENT_COLUMN in w.referenced_predicates for w in task.windows.values()):
        others = rest.collect()
    else:
        ends = rest.group_by("subject_id").agg(first=pl.min("time"), last=pl.max("time")).collect()
        times = pl.concat([ends.select("subject_id", time=end) for end in ("first", "last")])
        others = times.drop_nulls().with_columns(code=pl.lit(_NO_CODE))
    view = pl.concat([named, others], how="diagonal").sort("subject_id", "time", "code")
    unsure = asked & pl.col("since").is_not_null()
    label = str(task.windows[task.label_window].label)
    alone = [asks[name] for name in suffice(task, label) if name in asks]
    coarse = named.filter(unsure).select(
        "subject_id", "since", "time", alone=pl.any_horizontal(pl.lit(False), *alone)
    )
    predicates = _count(view, task)
    sure = view.filter(~unsure).join(coarse, on="subject_id", how="semi")
    return View(
        predicates=predicates,
        follow_up=_follow_up(events),
        deaths=deaths,
        coarse=coarse,
        sure=predicates.clear() if sure.is_empty() else _count(sure, task),
    )


def _happened() -> tuple[pl.Expr, pl.Expr]:
    """Give the last and the first moment at which an event may have occurred."""
    told = pl.col("occurred").is_not_null()
    begins = pl.when(told).then(pl.coalesce("occurred_from", "occurred"))
    return pl.coalesce("occurred", "time"), begins.otherwise(pl.coalesce("time_from", "time"))


def _follow_up(events: pl.LazyFrame) -> pl.DataFrame:
    known, occurred = pl.coalesce("time_from", "time"), pl.coalesce("occurred_from", "occurred")
    return (
        events.group_by("subject_id")
        .agg(last=pl.max_horizontal(known, occurred).max())
        .drop_nulls()
        .sort("subject_id")
        .collect()
    )


def _matching_codes(events: pl.LazyFrame, predicates: Iterable[PlainPredicateConfig]) -> pl.Series:
    """List the codes that a predicate names, whatever it asks of values besides; and death's."""
    codes = events.select(pl.col("code").unique()).collect()
    named = [PlainPredicateConfig(predicate.code).MEDS_eval_expr() for predicate in predicates]
    return codes.filter(pl.any_horizontal(pl.col("code") == DEATH, *named))["code"]


def _count(view: pl.DataFrame, task: Task) -> pl.DataFrame:
    """Let ACES count its predicates; it reads from a file."""
    with TemporaryDirectory(prefix="medweave-view-") as folder, quiet_aces():
        path = Path(folder) / "0.parquet"
        view.write_parquet(path)
        config = task.config(task.windows)
        counts = get_predicates_df(config, DictConfig({"path": str(path), "standard": "meds"}))
    if len(counts) == 1:
        # ACES 0.7.3 counts backward windows wrongly in a table of one row
        # (aces.aggregate._aggregate_singleton_temporal), so nobody is put beside it.
        zeros = [pl.lit(0, counts.schema[name]).alias(name) for name in counts.columns[2:]]
        nobody = counts.with_columns(pl.lit(-1, pl.Int64).alias("subject_id"), *zeros)
        counts = pl.concat([nobody, counts])
    return counts
