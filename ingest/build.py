"""Build a store from sources: land, project, write, swap in.

A store is a function of its raw zone: each build projects all that has landed into a new
directory, and swaps it in whole. A build that fails leaves the store as it was; one that runs twice
on the same sources gives the same store.
"""

import json
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from ingest.accounting import account, write_quarantine
from ingest.checksums import read_checksums, write_checksums
from ingest.errors import StoreError, UsageError
from ingest.identity import load_or_create_key
from ingest.imaging import project_images
from ingest.landing import LandedFile, RawZone, require_timezone
from ingest.mapping import check_mapping, project_mapping
from ingest.projection import create_tables, project_records
from ingest.remote import Remote, is_url, land_images, land_records, not_fetched
from ingest.writer import write_crosswalk, write_store

__all__ = ["ingest", "raw_zone_of"]

_FHIR = ("ndjson", "bundle", "resource", "archive")
_IMAGES = ("dicom", "image")
_MEMORY = "1GiB"
"""What DuckDB may hold; a batch of records and Python's own come on top."""


def raw_zone_of(store: Path) -> Path:
    """Say where a store's raw zone is, unless it was put elsewhere: `STORE.raw` beside it."""
    return store.with_name(store.name + ".raw")


def ingest(
    sources: Sequence[Path | str],
    store: Path,
    *,
    raw: Path | None = None,
    mapping: Path | None = None,
    timezone: str = "UTC",
    key: Path | None = None,
    public: bool = False,
    remote: Remote | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Land the sources, build the store from all that has landed, and give the report.

    A source is a file, a directory, or the base URL of a FHIR server; `remote` says how servers
    are asked.

    Raises:
        UsageError: no source, an unknown time zone, or a key that the raw zone did not begin with.
        InputError: a source is missing, or a file that had landed has gone or changed.
        MappingError: the mapping does not fit its CSV.
        SourceError: a server is out of reach, refuses or makes no sense.
        StoreError: `store` is a directory of something else, or another ingest is at work.
    """
    if not sources:
        raise UsageError("nothing to ingest; name a file or a directory")
    require_timezone(timezone)
    store = store.resolve()
    zone = RawZone((raw or raw_zone_of(store)).resolve())
    old = store.with_name(f".{store.name}.old")
    if old.is_dir() and not store.exists():
        old.rename(store)  # a swap that was killed between its two steps
    if store.exists() and any(store.iterdir()) and not (store / "ingest_report.json").is_file():
        raise StoreError(f"{store} holds something that is no store; name another directory")
    urls = [str(source) for source in sources if is_url(source)]
    if mapping is not None and urls:
        raise UsageError("--mapping is of a CSV; a FHIR server needs none")
    places = [Path(source) for source in sources if not is_url(source)]
    if mapping is not None:
        # Before anything is registered: a mapping that does not fit must leave no trace behind.
        check_mapping(mapping, places)
    with zone.locked():
        secret = load_or_create_key(zone.path, key=key, public=public)
        how = remote or Remote()
        places += [land_records(zone, url, how, progress=progress) for url in urls]
        use: dict[str, Any] = {"timezone": timezone, "leave_out": (store,), "progress": progress}
        zone.register(places, mapping=mapping, **use)
        if how.images:
            records = [zone.ndjson(file) for file in zone.files() if file.kind in _FHIR]
            films = land_images(zone, how, records, progress=progress)
            if films is not None:
                zone.register([films], mapping=None, **use)
        store.parent.mkdir(parents=True, exist_ok=True)
        for left in store.parent.glob(f".{store.name}.*"):  # by a build that was killed
            shutil.rmtree(left, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{store.name}.", dir=store.parent))
        fresh.chmod(0o755)
        try:
            report = _build(zone, store, fresh, secret, progress=progress)
            _swap(fresh, store, old)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return report


def _build(
    zone: RawZone, store: Path, fresh: Path, secret: bytes, *, progress: bool
) -> dict[str, Any]:
    files = zone.files()
    images = fresh / "images"
    _link_images(store / "images", images)
    work = fresh / ".work"
    work.mkdir()
    # In memory, and on disk what is over the limit: a file would be compressed and synced first.
    con = duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": str(work)})
    try:
        con.execute("SET TimeZone = 'UTC'")
        con.execute("SET preserve_insertion_order = false")
        create_tables(con)
        fhir = [(file, zone.ndjson(file)) for file in files if file.kind in _FHIR]
        counts = project_records(con, fhir, progress=progress)
        for (label, site, _), group in _grouped(files).items():
            use: dict[str, Any] = {"timezone": site, "progress": progress}
            if label:
                project_mapping(con, zone.mapping(label), group, images, **use)
            else:
                project_images(con, group, images, **use)
        write_crosswalk(con, secret, zone.path)
        report = account(con, files, counts)
        report["not_fetched"] = not_fetched(zone)
        write_quarantine(con, files, zone.path / "quarantine.parquet")
        created = datetime.fromisoformat(max(file.landed for file in files))
        write_store(con, fresh, created=created, progress=progress)
        _drop_unused_images(con, images)
    finally:
        con.close()
        shutil.rmtree(work, ignore_errors=True)
    text = json.dumps(report, indent=2) + "\n"
    (fresh / "ingest_report.json").write_text(text, "utf-8")
    write_checksums(fresh, known=_known_checksums(store))
    return report


def _known_checksums(store: Path) -> dict[str, str]:
    """Give those of the old store's images, which are linked and not written anew."""
    try:
        stated = read_checksums(store)
    except StoreError:  # the first build, or an older version's
        return {}
    return {name: digest for name, digest in stated.items() if name.startswith("images/")}


def _grouped(files: list[LandedFile]) -> dict[tuple[str, str, str], list[LandedFile]]:
    """Gather images by time zone; mapped sources each for themselves, named as their CSV does."""
    groups: dict[tuple[str, str, str], list[LandedFile]] = defaultdict(list)
    for file in files:
        if file.mapping and file.kind not in _FHIR:
            root = Path(file.source)
            if file.path.is_relative_to(root) and file.path != root:
                file = replace(file, name=file.path.relative_to(root).as_posix())
            groups[file.mapping, file.timezone, file.source].append(file)
        elif file.kind in _IMAGES:
            groups["", file.timezone, ""].append(file)
    return dict(sorted(groups.items()))


def _link_images(old: Path, new: Path) -> None:
    """Bring decoded images over by hard link: they are named by content and are not made again."""
    new.mkdir()
    for path in sorted(old.glob("*")) if old.is_dir() else ():
        os.link(path, new / path.name)


def _drop_unused_images(con: duckdb.DuckDBPyConnection, images: Path) -> None:
    rows = con.execute("SELECT DISTINCT image FROM projected WHERE image IS NOT NULL").fetchall()
    used = {Path(image).name for (image,) in rows}
    for path in images.glob("*"):
        if path.name not in used:
            path.unlink()


def _swap(fresh: Path, store: Path, old: Path) -> None:
    """Put the new store in the old one's place; at no moment are both gone."""
    shutil.rmtree(old, ignore_errors=True)
    if store.exists():
        store.rename(old)
    fresh.rename(store)
    shutil.rmtree(old, ignore_errors=True)
