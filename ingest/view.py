"""Show a store to ACES: outcomes where they happened, everything else where it was known.

ACES knows one clock, a MEDS event's `time`. A label is a fact about the world, so the events that
the label's window asks for, and death, are put at `occurred`; what must have been known when one
predicts (triggers, exclusions) stays at `time`. Only what a task's predicates name is kept, with
the ends of each subject's record; a view is temporary and small.
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

from ingest.errors import StoreError
from ingest.task import DEATH, Task, quiet_aces

__all__ = ["View", "read_view", "shards_of"]

_NO_CODE = ""  # stands at the ends of a record; matches no predicate


@dataclass(frozen=True, kw_only=True)
class View:
    """Hold what one shard has for one task."""

    predicates: pl.DataFrame
    """ACES's table: subject_id, timestamp, a count for each predicate; empty if nobody triggers."""

    follow_up: pl.DataFrame
    """subject_id, last: the latest time of either clock at which anything is recorded."""

    deaths: pl.DataFrame
    """subject_id, died: when each subject who died did so (`occurred`)."""


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
    columns += sorted({col for p in plain.values() for col in p.other_cols} - set(columns))
    events = pl.scan_parquet(shard)
    missing = sorted(set(columns) - set(events.collect_schema().names()))
    if missing:
        raise StoreError(f"{shard.name} lacks the columns {', '.join(missing)} that the task needs")
    events = events.select(columns).with_columns(pl.col("code").cast(pl.String))
    if subject_ids is not None:
        wanted = pl.Series(list(subject_ids), dtype=pl.Int64)
        events = events.filter(pl.col("subject_id").is_in(wanted.implode()))

    codes = _matching_codes(events, plain.values())
    named = events.filter(pl.col("code").is_in(codes.implode())).collect()
    died = pl.col("code") == DEATH
    if outcomes:
        moved = pl.any_horizontal(
            died, *[plain[name].MEDS_eval_expr().fill_null(False) for name in task.outcomes()]
        )
        happened = pl.coalesce("occurred", "time")
        named = named.with_columns(time=pl.when(moved).then(happened).otherwise("time"))
    deaths = (
        named.filter(died)
        .group_by("subject_id")
        .agg(died=pl.col("time").min())
        .drop_nulls()
        .sort("subject_id")
    )
    rest = events.filter(~pl.col("code").is_in(codes.implode()))
    ends = _ends(rest)
    follow_up = (
        pl.concat([_ends(named.lazy()), ends])
        .group_by("subject_id")
        .agg(last=pl.max_horizontal("last", "occurred").max())
        .drop_nulls()
        .sort("subject_id")
    )
    if any(ANY_EVENT_COLUMN in w.referenced_predicates for w in task.windows.values()):
        others = rest.collect()
    else:
        times = pl.concat([ends.select("subject_id", time=end) for end in ("first", "last")])
        others = times.drop_nulls().with_columns(code=pl.lit(_NO_CODE))
    view = pl.concat([named, others], how="diagonal").sort("subject_id", "time", "code")
    return View(predicates=_count(view, task), follow_up=follow_up, deaths=deaths)


def _matching_codes(events: pl.LazyFrame, predicates: Iterable[PlainPredicateConfig]) -> pl.Series:
    """List the codes that a predicate names, whatever it asks of values besides; and death's."""
    codes = events.select(pl.col("code").unique()).collect()
    named = [PlainPredicateConfig(predicate.code).MEDS_eval_expr() for predicate in predicates]
    return codes.filter(pl.any_horizontal(pl.col("code") == DEATH, *named))["code"]


def _ends(events: pl.LazyFrame) -> pl.DataFrame:
    return (
        events.group_by("subject_id")
        .agg(
            first=pl.col("time").min(),
            last=pl.col("time").max(),
            occurred=pl.col("occurred").max(),
        )
        .sort("subject_id")
        .collect()
    )


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
