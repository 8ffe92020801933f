"""The options of `medweave ingest` that say how a site's records are read: times, codes, units."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # duckdb and pyarrow are not needed for `--help`
    from ingest.conventions import Conventions

__all__ = ["add_reading", "conventions_of"]


def add_reading(sub: argparse.ArgumentParser) -> None:
    """Add the options to a subcommand."""
    sub.add_argument("--mapping", type=Path, help="mapping YAML, for a CSV with images")
    sub.add_argument(
        "--timezone",
        default="UTC",
        help="for times that carry no zone (default UTC); with --deidentify, also whether a note's"
        " 3/4/2024 is in March (of the United States) or in April (all others)",
    )
    sub.add_argument(
        "--code-map", type=Path, help="CSV or YAML: prefixes, standard codes and units of your own"
    )
    sub.add_argument(
        "--default-prefix", metavar="NAME", help="for codes without a system (default LOCAL)"
    )
    sub.add_argument(
        "--keep-units",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="leave values in the units that they came in (default: one UCUM unit a code)",
    )


def conventions_of(a: argparse.Namespace) -> "Conventions | None":
    """Put the options together with what the store recorded; None where nothing is asked for."""
    stated = {
        "code_map": a.code_map,
        "default_prefix": a.default_prefix,
        "keep_units": a.keep_units,
    }
    if all(value is None for value in stated.values()):
        return None
    from ingest.build import raw_zone_of
    from ingest.conventions import Conventions, read_conventions

    raw = a.raw or raw_zone_of(a.store.resolve())
    return (read_conventions(raw) or Conventions()).revised(**stated)
