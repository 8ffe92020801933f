"""Name the damaged file of a store or a cohort, once something has gone wrong with it.

Libraries that read Parquet, JSON and YAML raise errors of their own, each in its own words, and a
file with other columns fails anywhere. To check every file before every command would read a store
twice; so files are looked at when reading has failed. What is no file's fault is raised as it was.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from ingest.errors import CohortError, MedweaveError, StoreError
from ingest.schema import EVENT_SCHEMA

__all__ = ["damage_of_table", "naming_damage"]

# Stores of an earlier version lack where a partial date begins; who needs that says so.
_EVENT = {f.name: f.type for f in EVENT_SCHEMA if not f.name.endswith("_from")}
_SPLITS = {"subject_id": pa.int64(), "split": pa.string()}
_CODES = {"code": pa.string(), "description": pa.string()}
_LABELS = {
    "subject_id": pa.int64(),
    "prediction_time": pa.timestamp("us"),
    "boolean_value": pa.bool_(),
}
_TIMES = {"subject_id": pa.int64(), "prediction_time": pa.timestamp("us")}


@contextmanager
def naming_damage(*, store: Path | None = None, cohort: Path | None = None) -> Iterator[None]:
    """Turn an error within this context into one that names the damaged file, if there is one.

    Raises:
        StoreError: a file of the store cannot be read, or is another than it should be.
        CohortError: the same of the cohort.
    """
    try:
        yield
    except MedweaveError:
        raise
    except Exception as error:
        if cohort and (told := _first(_cohort_files(cohort))):
            raise CohortError(f"{told}; make the cohort again") from error
        if store and (told := _first(_store_files(store))):
            raise StoreError(f"{told}; run ingest again") from error
        raise


def damage_of_table(file: Path, columns: dict[str, pa.DataType]) -> str | None:
    """Say what is wrong with a Parquet file that must have certain columns; None is nothing.

    All of it is read, a piece at a time: damage may lie anywhere.
    """
    try:
        with pq.ParquetFile(file) as table:
            found = {field.name: field.type for field in table.schema_arrow}
            for _ in table.iter_batches():
                pass
    except (OSError, ValueError) as error:  # of which pyarrow's own are subclasses
        return f"{file} cannot be read as Parquet ({type(error).__name__})"
    missing = [name for name in columns if name not in found]
    if missing:
        return f"{file} lacks the columns {', '.join(missing)}"
    for name, wanted in columns.items():
        if not _alike(found[name], wanted):
            return f"{file} has {found[name]} in its column {name}, which must be {wanted}"
    return None


def _first(checks: Iterator[str | None]) -> str | None:
    return next((told for told in checks if told), None)


def _store_files(store: Path) -> Iterator[str | None]:
    for file in sorted((store / "data").rglob("*.parquet")):
        yield damage_of_table(file, _EVENT)
    yield damage_of_table(store / "metadata" / "codes.parquet", _CODES)
    yield damage_of_table(store / "metadata" / "subject_splits.parquet", _SPLITS)
    for name in ("ingest_report.json", "metadata/dataset.json"):
        yield _no_mapping(store / name, "JSON", json.loads)


def _cohort_files(cohort: Path) -> Iterator[str | None]:
    for file in sorted((cohort / "labels").glob("*.parquet")):
        yield damage_of_table(file, _LABELS)
    yield damage_of_table(cohort / "splits.parquet", _SPLITS)
    for file in sorted((cohort / "times").glob("*.parquet")):
        yield damage_of_table(file, _TIMES)
    for file in sorted((cohort / "tasks").glob("*.yaml")):
        yield _no_mapping(file, "YAML", yaml.safe_load)
    if (cohort / "flow.json").exists():
        yield _no_mapping(cohort / "flow.json", "JSON", json.loads)


def _no_mapping(file: Path, language: str, parse: Callable[[str], Any]) -> str | None:
    try:
        content = parse(file.read_text("utf-8"))
    except OSError as error:
        return f"{file} cannot be read ({error.strerror})"
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        return f"{file} is not {language} ({type(error).__name__})"
    return None if isinstance(content, dict) else f"{file} is {language} of another kind"


def _alike(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Say whether a column can be taken for another type: any numbers, any text, any times."""
    kinds = (
        lambda t: pa.types.is_integer(t) or pa.types.is_floating(t),
        lambda t: pa.types.is_string(t) or pa.types.is_large_string(t),
        pa.types.is_temporal,
        pa.types.is_boolean,
    )
    if pa.types.is_dictionary(found):
        found = found.value_type
    return pa.types.is_null(found) or any(kind(found) and kind(wanted) for kind in kinds)
