"""The command `cohort`: its options, and what it does with tasks or with a table of labels."""

import argparse
from pathlib import Path

from ingest.errors import UsageError
from serve.numbers import whole

__all__ = ["add_cohort", "run_cohort"]

_OF_A_TABLE = ("subject", "image", "time", "label", "split", "exclude_codes", "raw", "timezone")


def add_cohort(sub: argparse.ArgumentParser) -> None:
    """Add the options of `cohort`."""
    sub.add_argument("--store", type=Path, required=True, help="record store")
    made = sub.add_mutually_exclusive_group(required=True)
    made.add_argument("--task", type=Path, action="append", help="ACES YAML; may be repeated")
    made.add_argument(
        "--labels", type=Path, metavar="TABLE", help="or a table of labels: .csv, .tsv or .parquet"
    )
    sub.add_argument("--out", type=Path, required=True, help="cohort directory to write")
    sub.add_argument("--rows", choices=("all", "first", "last"), help="rows a subject")
    sub.add_argument("--seed", type=whole, help="split subjects anew (default: the store's splits)")
    group = sub.add_argument_group(
        "the columns of a table of labels",
        "A row labels a subject at a time: the one that the table gives, else the film's, else the "
        "subject's last event. A label is 0 or 1, true or false, yes or no; empty is unknown.",
    )
    group.add_argument(
        "--subject",
        metavar="COLUMN",
        help="the store's subject_id, or the patient's id as the source has it (default "
        "subject_id, unless --image says whose)",
    )
    group.add_argument("--image", metavar="COLUMN", help="name of the film's file: the film's own")
    group.add_argument(
        "--time",
        metavar="COLUMN",
        help="prediction time, ISO 8601; a date is its day's end (default prediction_time, if "
        "there is one)",
    )
    group.add_argument(
        "--label",
        nargs="+",
        action="extend",
        metavar="COLUMN",
        help="each a task of its own (default label, or boolean_value)",
    )
    group.add_argument(
        "--split",
        metavar="COLUMN",
        help="train, tuning, calibration and held_out; or train, val and test",
    )
    group.add_argument(
        "--exclude-codes",
        nargs="+",
        action="extend",
        metavar="REGEX",
        help="codes that give the label away: no model sees them",
    )
    group.add_argument("--raw", type=Path, help="raw zone, which knows names (default STORE.raw)")
    group.add_argument(
        "--timezone", help="for times that carry no zone (default: the sources', if they agree)"
    )


def run_cohort(a: argparse.Namespace) -> None:
    """Make the cohort, and say who was left after each step.

    Raises:
        UsageError: an option of a table where there is none.
    """
    from ingest.damage import naming_damage
    from ingest.flow import describe_flow

    if a.labels is None:
        given = [name for name in _OF_A_TABLE if getattr(a, name) is not None]
        if given:
            option = given[0].replace("_", "-")
            raise UsageError(f"--{option} is of a table of labels; it goes with --labels")
        from ingest.cohort import build_cohort

        with naming_damage(store=a.store):
            flow = build_cohort(
                a.store,
                a.task,
                a.out,
                splits="store" if a.seed is None else "seed",
                rows=a.rows,
                seed=a.seed or 0,
                progress=not a.quiet,
            )
        print(describe_flow(flow))
        return
    from ingest.label_table import Columns
    from ingest.table_cohort import build_table_cohort, describe_table

    with naming_damage(store=a.store):
        flow = build_table_cohort(
            a.store,
            a.labels,
            a.out,
            columns=Columns(
                subject=a.subject,
                image=a.image,
                time=a.time,
                labels=tuple(a.label or ()),
                split=a.split,
            ),
            exclude_codes=a.exclude_codes or (),
            raw=a.raw,
            timezone=a.timezone,
            rows=a.rows or "all",
            seed=a.seed,
        )
    print(describe_table(flow))
    print(describe_flow(flow))
