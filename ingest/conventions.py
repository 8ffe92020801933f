"""Keep a site's conventions: its code map, its default prefix, and whether units are converted.

They stand in the raw zone as `conventions.json`, so that a later ingest into the same store reads
the same way; in the store, so that training takes them into the run; and in the run's `run.json`,
so that an upload at serving time is read as the records were that the model was trained on.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ingest.code_map import CodeMap, Rule, make_code_map, read_code_map, require_prefix
from ingest.codes import PLAIN, Naming, name_concept
from ingest.errors import MappingError, StoreError
from ingest.units import CHANGE, CHANGE_TYPE, UNIT_ROWS, count_units, make_changes

__all__ = ["CONVENTIONS", "Conventions", "read_conventions", "write_conventions"]

CONVENTIONS = "conventions.json"
_UNITS = (Path(__file__).resolve().parent / "projections" / "unit.sql").read_text("utf-8")


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """Say how a site's codes and units are read."""

    rules: tuple[Rule, ...] = ()
    """The code map's, as written."""

    default_prefix: str = PLAIN.default_prefix
    """What codes without a system are put under."""

    keep_units: bool = False
    """Leave values in the units that they came in."""

    code_map: CodeMap = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_prefix(self.default_prefix)
        made = make_code_map(list(self.rules), default_prefix=self.default_prefix)
        object.__setattr__(self, "code_map", made)

    def revised(
        self,
        *,
        code_map: Path | None = None,
        default_prefix: str | None = None,
        keep_units: bool | None = None,
    ) -> "Conventions":
        """Give these with what is stated in place of what was.

        Raises:
            MappingError: the code map or the prefix can't be.
        """
        stated: dict[str, Any] = {"default_prefix": default_prefix, "keep_units": keep_units}
        if code_map is not None:
            stated["rules"] = tuple(read_code_map(code_map))
        return replace(self, **{name: v for name, v in stated.items() if v is not None})

    def to_json(self) -> dict[str, Any]:
        """Give what `of_json` reads."""
        return {
            "code_map": list(self.rules),
            "default_prefix": self.default_prefix,
            "keep_units": self.keep_units,
        }

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> "Conventions":
        """Read what `to_json` gave.

        Raises:
            MappingError: it was changed into what can't be.
        """
        try:
            return cls(
                rules=tuple(content["code_map"]),
                default_prefix=content["default_prefix"],
                keep_units=bool(content["keep_units"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise MappingError(f"the conventions are damaged: {type(error).__name__}") from None

    def register(self, con: duckdb.DuckDBPyConnection) -> None:
        """Create the SQL functions `unit_change` and `concept`."""
        con.create_function(
            "unit_change",
            self._change,
            ["VARCHAR", "VARCHAR"],
            CHANGE_TYPE,
            type="arrow",
            null_handling="special",
        )
        naming = self.code_map.naming
        con.create_function(
            "concept",
            # By its signature DuckDB counts columns; it takes no dictionary back.
            lambda texts: _concepts(texts, naming).dictionary_decode(),
            ["VARCHAR"],
            "STRUCT(code VARCHAR, display VARCHAR, parents VARCHAR[])",
            type="arrow",
            null_handling="special",
        )

    def name_concepts(self, texts: pa.ChunkedArray) -> pa.Array:
        """Name a column of concepts, as the SQL function `concept` does; null stays null."""
        return _concepts(texts, self.code_map.naming)

    def convert_units(self, con: duckdb.DuckDBPyConnection, table: str) -> None:
        """Convert the values of `candidate` or `projected` to their codes' units."""
        con.execute(_UNITS.replace("candidate", table))

    def account_units(
        self,
        con: duckdb.DuckDBPyConnection,
        *,
        table: str = "projected",
        measured: str = "numeric_value IS NOT NULL",
        n: str = "count(*)",
    ) -> dict[str, Any]:
        """Say for the report what units the events have (`count_units`).

        Args:
            con: a connection.
            table: where the events are, or counts of them.
            measured: SQL for whether a number is there.
            n: SQL for how many events a group of rows stands for.
        """
        rows = con.execute(UNIT_ROWS.format(table=table, measured=measured, n=n)).fetchall()
        return count_units(rows, self.code_map.units, converted=not self.keep_units)

    def _change(self, codes: pa.ChunkedArray, units: pa.ChunkedArray) -> pa.Array:
        if self.keep_units:
            return pa.nulls(len(codes), CHANGE)
        return make_changes(codes.combine_chunks(), units.combine_chunks(), self.code_map.units)


def read_conventions(place: Path) -> Conventions | None:
    """Read the conventions of a raw zone or a store, or None where it has none.

    Raises:
        StoreError: the file is damaged.
    """
    file = place / CONVENTIONS
    if not file.is_file():
        return None
    try:
        return Conventions.of_json(json.loads(file.read_text("utf-8")))
    except (ValueError, TypeError, MappingError) as error:
        raise StoreError(f"{file} is damaged: {type(error).__name__}") from None


def write_conventions(place: Path, conventions: Conventions) -> None:
    """Write the conventions of a raw zone or a store."""
    partial_file = place / f".{CONVENTIONS}"
    partial_file.write_text(json.dumps(conventions.to_json(), indent=1) + "\n", "utf-8")
    partial_file.replace(place / CONVENTIONS)


_CONCEPT = pa.struct(
    [
        pa.field("code", pa.string()),
        pa.field("display", pa.string()),
        pa.field("parents", pa.list_(pa.string())),
    ]
)


def _concepts(texts: pa.ChunkedArray, naming: Naming) -> pa.DictionaryArray:
    """Name a column of concepts; records repeat few, so each distinct one is named once."""
    coded = texts.combine_chunks().dictionary_encode()
    named = [name_concept(text, naming) for text in coded.dictionary.to_pylist()]
    rows = pa.StructArray.from_arrays(
        [
            pa.array([c.code for c in named], pa.string()),
            pa.array([c.display for c in named], pa.string()),
            pa.array([c.parents for c in named], pa.list_(pa.string())),
        ],
        fields=list(_CONCEPT),
    )
    return pa.DictionaryArray.from_arrays(coded.indices, rows)
