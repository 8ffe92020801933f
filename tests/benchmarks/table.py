"""The table that benchmarks of speed print: each figure beside its ceiling of the same run."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Row", "print_table"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    step: str
    measured: str
    ceiling: str
    ratio: float
    target: str


def print_table(rows: Iterable[Row]) -> None:
    """Print rows as Markdown."""
    print("| step | measured | against | ratio | must reach |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row.step} | {row.measured} | {row.ceiling} | {row.ratio:.3g} | {row.target} |")
