"""Verify a store: that its bytes are those that were written, and that what they say holds.

Each check gives sentences about what is wrong, with file names, numbers and codes, and never with
a value of a patient's.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from meds import CodeMetadataSchema, DataSchema, DatasetMetadataSchema, SubjectSplitSchema

from ingest.checksums import CHECKSUMS, read_checksums, sha256_of
from ingest.errors import StoreError
from ingest.nifti import SUFFIX, read_volume
from ingest.schema import DATASET_COLUMNS, EVENT_SCHEMA, SPLITS

__all__ = ["verify_store"]

_STATES = ("projected", "skipped", "quarantined", "superseded", "deleted")

_DISORDER = """
SELECT count(*) FROM (
    SELECT subject_id < lag(subject_id) OVER w
        OR (subject_id = lag(subject_id) OVER w AND (
            (time IS NULL AND lag(time) OVER w IS NOT NULL) OR time < lag(time) OVER w)) AS wrong
    FROM (
        SELECT subject_id, time, file_row_number AS n
        FROM read_parquet($file, file_row_number=true)
    )
    WINDOW w AS (ORDER BY n)
) WHERE wrong
"""


def verify_store(store: Path) -> list[str]:
    """Give a sentence for each fault: checksums, MEDS validity, order, images, accounting.

    Raises:
        StoreError: it is no store, or has no checksums.
    """
    if not (store / "ingest_report.json").is_file():
        raise StoreError(
            f"{store} is not a record store: it lacks ingest_report.json; "
            "`medweave ingest` makes one"
        )
    faults = list(_check_bytes(store))
    if faults:  # what is damaged would only be found again, in other words
        return faults
    return [
        *_check_meds(store),
        *_check_order(store),
        *_check_images(store),
        *_check_account(store),
    ]


def _check_bytes(store: Path) -> Iterator[str]:
    stated = read_checksums(store)
    present = {
        path.relative_to(store).as_posix()
        for path in store.rglob("*")
        if path.is_file() and path.name != CHECKSUMS
    }
    yield from (f"{name} is gone" for name in sorted(stated.keys() - present))
    yield from (f"{name} is not the store's own" for name in sorted(present - stated.keys()))
    for name in sorted(stated.keys() & present):
        if sha256_of(store / name) != stated[name]:
            yield f"{name} was changed or damaged"


def _check_meds(store: Path) -> Iterator[str]:
    schemas = [
        (DataSchema, sorted((store / "data").glob("*.parquet"))),
        (CodeMetadataSchema, [store / "metadata" / "codes.parquet"]),
        (SubjectSplitSchema, [store / "metadata" / "subject_splits.parquet"]),
    ]
    for schema, files in schemas:
        for file in files:
            try:
                table = pq.read_table(file)
                schema.validate(table)
            except (OSError, pa.ArrowException, ValueError) as error:
                yield f"{file.name} is not valid MEDS ({type(error).__name__})"
                continue
            if schema is DataSchema and not table.schema.equals(EVENT_SCHEMA):
                yield f"{file.name} has other columns than this version of Medweave writes"
    try:
        dataset = json.loads((store / "metadata" / "dataset.json").read_text("utf-8"))
        DatasetMetadataSchema.validate(dataset)
    except (OSError, ValueError) as error:
        yield f"dataset.json is not valid MEDS ({type(error).__name__})"
    else:
        lost = sorted(k for k, columns in DATASET_COLUMNS.items() if dataset.get(k) != columns)
        if lost:
            yield f"dataset.json does not declare {', '.join(lost)}"


def _check_order(store: Path) -> Iterator[str]:
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        data = str(store / "data" / "*.parquet")
        for file in sorted((store / "data").glob("*.parquet")):
            [(wrong,)] = con.execute(_DISORDER, {"file": str(file)}).fetchall()
            if wrong:
                yield f"{file.name} is not sorted by subject and time: {wrong:,} rows"
        [(shared,)] = con.execute(
            "SELECT count(*) FROM (SELECT subject_id FROM read_parquet($data, filename=true)"
            " GROUP BY 1 HAVING count(DISTINCT filename) > 1)",
            {"data": data},
        ).fetchall()
        if shared:
            yield f"{shared:,} subjects are in more than one shard"
        for words, sql in (
            (
                "codes are not in codes.parquet",
                "SELECT DISTINCT code FROM read_parquet($data)"
                " EXCEPT SELECT code FROM read_parquet($codes)",
            ),
            (
                "subjects have no split",
                "SELECT DISTINCT subject_id FROM read_parquet($data)"
                " EXCEPT SELECT subject_id FROM read_parquet($splits)"
                f" WHERE split IN {SPLITS}",
            ),
            (
                "events occurred after they were known",
                "SELECT 1 FROM read_parquet($data) WHERE occurred > time OR time_from > time"
                " OR occurred_from > occurred",
            ),
        ):
            files = {
                "data": data,
                "codes": str(store / "metadata" / "codes.parquet"),
                "splits": str(store / "metadata" / "subject_splits.parquet"),
            }
            used = {name: path for name, path in files.items() if f"${name}" in sql}
            [(n,)] = con.execute(f"SELECT count(*) FROM ({sql})", used).fetchall()
            if n:
                yield f"{n:,} {words}"


def _check_images(store: Path) -> Iterator[str]:
    with duckdb.connect() as con:
        rows = con.execute(
            "SELECT DISTINCT image FROM read_parquet($data) WHERE image IS NOT NULL",
            {"data": str(store / "data" / "*.parquet")},
        ).fetchall()
    stated = {image for (image,) in rows}
    images = store / "images"
    present = {f"images/{path.name}" for path in images.glob("*")} if images.is_dir() else set()
    if stated - present:
        yield f"{len(stated - present):,} images of events are not there"
    volumes = {f"{name.removesuffix('.png')}{SUFFIX}" for name in stated}
    if present - stated - volumes:
        yield f"{len(present - stated - volumes):,} images belong to no event"
    for name in sorted(present & volumes):
        try:
            read_volume(store / name)
        except StoreError as error:
            yield str(error)


def _check_account(store: Path) -> Iterator[str]:
    report = json.loads((store / "ingest_report.json").read_text("utf-8"))
    for name, file in report["files"].items():
        parts = [file[state] for state in _STATES]
        total = sum(sum(p.values()) if isinstance(p, dict) else p for p in parts)
        if total != file["records"]:
            yield f"{name}: {file['records']:,} records, and {total:,} accounted for"
    with duckdb.connect() as con:
        [found] = con.execute(
            "SELECT count(DISTINCT subject_id), count(*),"
            " count(*) FILTER (starts_with(code, 'NOTE//')),"
            " count(*) FILTER (starts_with(code, 'IMAGE//')) FROM read_parquet($data)",
            {"data": str(store / "data" / "*.parquet")},
        ).fetchall()
    for name, n in zip(("subjects", "events", "notes", "images"), found, strict=True):
        if report[name] != n:
            yield f"the report counts {report[name]:,} {name}, the shards {n:,}"
