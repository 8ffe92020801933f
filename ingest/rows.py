"""Hand projected events and their accounting to DuckDB, from the projections written in Python."""

from typing import Any

import duckdb
import pyarrow as pa

from ingest.schema import PROJECTED_COLUMNS

__all__ = ["Rows"]

_ARROW = {
    "VARCHAR": pa.string(),
    "DOUBLE": pa.float64(),
    "BIGINT": pa.int64(),
    "TIMESTAMP": pa.timestamp("us"),
    "VARCHAR[]": pa.list_(pa.string()),
}


class Rows:
    """Gather events and outcomes, and write them to DuckDB in one go."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []
        self._outcomes: list[dict[str, Any]] = []
        self._undated: list[dict[str, Any]] = []

    def event(self, **columns: Any) -> None:
        """Add an event; columns as in PROJECTED_COLUMNS, those not given are null."""
        unknown = columns.keys() - PROJECTED_COLUMNS.keys()
        if unknown:
            raise ValueError(f"no such columns: {sorted(unknown)}")
        self._events.append(columns)

    def outcome(self, file: str, position: int, status: str, detail: str | None = None) -> None:
        """Say what became of a record; once for each record."""
        self._outcomes.append(
            {"file": file, "position": position, "status": status, "detail": detail}
        )

    def undated(self, file: str, position: int, kind: str) -> None:
        """Count a record that has no date."""
        self._undated.append({"file": file, "position": position, "type": kind})

    def write(self, con: duckdb.DuckDBPyConnection) -> None:
        """Append to `projected`, `outcome` and `undated`."""
        tables = {
            "projected": (self._events, PROJECTED_COLUMNS),
            "outcome": (
                self._outcomes,
                {"file": "VARCHAR", "position": "BIGINT", "status": "VARCHAR", "detail": "VARCHAR"},
            ),
            "undated": (
                self._undated,
                {"file": "VARCHAR", "position": "BIGINT", "type": "VARCHAR"},
            ),
        }
        for name, (rows, columns) in tables.items():
            if rows:
                schema = pa.schema([(column, _ARROW[kind]) for column, kind in columns.items()])
                con.register("rows_to_add", pa.Table.from_pylist(rows, schema=schema))
                con.execute(f"INSERT INTO {name} BY NAME SELECT * FROM rows_to_add")
                con.unregister("rows_to_add")
                rows.clear()
