"""The database that a build projects in: in memory, and on disk what is over the limit.

To open one and to make its tables and functions takes some 50 ms, whatever is projected: a sixth of
what one patient's upload takes. A process that waits for one can do it beforehand.
"""

from pathlib import Path

import duckdb

from ingest.conventions import Conventions
from ingest.projection import create_tables

__all__ = ["MEMORY", "open_database", "prepare_database"]

MEMORY = "832MiB"
"""What DuckDB may hold; a batch of records and Python's own come on top."""

_ready: list[tuple[str, duckdb.DuckDBPyConnection]] = []
"""At most one, with the conventions that its functions follow."""


def prepare_database(conventions: Conventions) -> None:
    """Make a database that the next `open_database` with these conventions takes."""
    if not _ready:
        _ready.append((str(conventions.to_json()), _make(conventions)))


def open_database(conventions: Conventions, spill: Path) -> duckdb.DuckDBPyConnection:
    """Give a database that nobody has used, with its tables and functions.

    Args:
        conventions: how codes and units are read.
        spill: a directory for what is over the limit of memory.
    """
    con = None
    while _ready:
        made_for, waiting = _ready.pop()
        if con is None and made_for == str(conventions.to_json()):
            con = waiting
        else:
            waiting.close()
    con = con or _make(conventions)
    con.execute("SET temp_directory = $place", {"place": str(spill)})
    return con


def _make(conventions: Conventions) -> duckdb.DuckDBPyConnection:
    # A file would be compressed and synced first.
    con = duckdb.connect(config={"memory_limit": MEMORY})
    create_tables(con, conventions)
    return con
