"""Build a store from sources: land, project, write, swap in.

A store is a function of its raw zone: what comes out depends on all that has landed, and on nothing
else. A full build projects everything into a new directory; where the last build left an index
that still fits, only what is new is projected, with what it bears on, and added (additions.py), to
the same end. Either way the new directory is swapped in whole. A build that fails leaves the store
as it was; one that runs twice on the same sources gives the same store.
"""

import json
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ingest.accounting import account, write_quarantine
from ingest.additions import Added, add_records
from ingest.checksums import read_checksums, write_checksums
from ingest.conventions import Conventions, read_conventions, write_conventions
from ingest.database import MEMORY, open_database
from ingest.deidentify import deidentify_events
from ingest.deidentify_choice import Deidentification, choosing, with_neutral_names
from ingest.errors import StoreError, UsageError
from ingest.identity import load_or_create_key
from ingest.imaging import project_images
from ingest.indexing import index_whole_build
from ingest.landing import LandedFile, RawZone, require_timezone
from ingest.mapping import check_mapping, project_mapping
from ingest.projection import project_records
from ingest.record_index import RecordIndex, commit, fingerprint, open_index
from ingest.remote import (
    Remote,
    answered_until,
    is_url,
    land_images,
    land_records,
    not_fetched,
)
from ingest.scale import ray_hands
from ingest.surroundings import Unsuited, Zone
from ingest.writer import write_crosswalk, write_store

__all__ = ["ingest", "raw_zone_of"]

_FHIR = ("ndjson", "bundle", "resource", "archive")
_IMAGES = ("dicom", "image")


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
    conventions: Conventions | None = None,
    deidentify: bool | None = None,
    keep_dates: bool = False,
    rebuild: bool = False,
    keep_index: bool = True,
    workers: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Land the sources, build the store from all that has landed, and give the report.

    A source is a file, a directory, or the base URL of a FHIR server; `remote` says how servers
    are asked. `conventions` say how codes and units are read; without them, as they were last time.
    `deidentify` says whether what could tell who a patient is is to leave the store, and
    `keep_dates` that dates are to stay as they are; None takes what the store began with. With
    `rebuild` everything is projected anew, though it would be enough to add what is new; without
    `keep_index` nothing is written down that the next ingest could add to. `workers`
    project on Ray (scale.py), so many at once; None is the threads of this process.

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
    asked: dict[str, Any] = {"deidentify": deidentify, "keep_dates": keep_dates, "public": public}
    with zone.locked(), choosing(zone, store, **asked) as choice:
        secret = load_or_create_key(zone.path, key=key, public=public)
        how = remote or Remote()
        places += [land_records(zone, url, how, progress=progress) for url in urls]
        use: dict[str, Any] = {"timezone": timezone, "leave_out": (store,), "progress": progress}
        zone.register(places, mapping=mapping, **use)
        settled = conventions or read_conventions(zone.path) or Conventions()
        write_conventions(zone.path, settled)
        if how.images:
            records = [zone.ndjson(file) for file in zone.files() if file.kind in _FHIR]
            films = land_images(zone, how, records, servers=urls, progress=progress)
            if films is not None:
                zone.register([films], mapping=None, **use)
        store.parent.mkdir(parents=True, exist_ok=True)
        for left in store.parent.glob(f".{store.name}.*"):  # by a build that was killed
            shutil.rmtree(left, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{store.name}.", dir=store.parent))
        fresh.chmod(0o755)
        try:
            use = {"rebuild": rebuild, "keep_index": keep_index, "workers": workers}
            use["progress"] = progress
            report, index = _build(zone, store, fresh, secret, settled, choice, **use)
            _swap(fresh, store, old)
            if index is not None:  # until here the old one is seen to be of another store
                commit(index, store)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return report


def _build(
    zone: RawZone,
    store: Path,
    fresh: Path,
    secret: bytes,
    conventions: Conventions,
    choice: Deidentification | None,
    *,
    rebuild: bool,
    keep_index: bool,
    workers: int | None,
    progress: bool,
) -> tuple[dict[str, Any], RecordIndex | None]:
    """Build the new store in `fresh`: from the old one and what is new, or else from everything."""
    images = fresh / "images"
    _link_images(store / "images", images)
    work = fresh / ".work"
    work.mkdir(mode=0o700)  # what is over the limit of memory is not de-identified
    made_of = fingerprint(
        {"conventions": conventions.to_json(), "deidentify": repr(choice) if choice else None}
    )
    use: dict[str, Any] = {"made_of": made_of, "progress": progress}
    try:
        added = None
        if keep_index and not rebuild and choice is None:
            added = _add(zone, store, fresh, secret, conventions, **use)
        if added is None:
            use |= {"keep_index": keep_index, "workers": workers}
            report, index = _build_whole(zone, fresh, secret, conventions, choice, **use)
            known = _known_checksums(store, lambda name: name.startswith("images/"))
        else:
            report, index, linked = added.report, added.index, added.linked
            known = _known_checksums(
                store, lambda name: name.startswith("images/") or name in linked
            )
    finally:
        shutil.rmtree(work, ignore_errors=True)
    write_conventions(fresh, conventions)
    text = json.dumps(report, indent=2) + "\n"
    (fresh / "ingest_report.json").write_text(text, "utf-8")
    write_checksums(fresh, known=known)
    return report, index


def _add(
    zone: RawZone,
    store: Path,
    fresh: Path,
    secret: bytes,
    conventions: Conventions,
    *,
    made_of: dict[str, Any],
    progress: bool,
) -> Added | None:
    """Add what is new to the store as it is; None where everything must be projected anew."""
    files = zone.files()
    index = open_index(zone.path / "index", store, files, made_of)
    if index is None:
        return None
    fhir = [(file, zone.ndjson(file)) for file in files if file.kind in _FHIR]
    try:
        added = add_records(
            index,
            Zone(files=files, fhir=fhir, path=zone.path),
            store=store,
            fresh=fresh,
            secret=secret,
            conventions=conventions,
            settings={"memory_limit": MEMORY, "temp_directory": str(fresh / ".work")},
            progress=progress,
        )
        added.report.update(_of_servers(zone))
        before = json.loads((store / "ingest_report.json").read_text("utf-8"))
        if list(added.report) == list(before):  # else the full build knows more than the addition
            return added
    except (Unsuited, OSError, ValueError, RuntimeError, duckdb.Error, pa.ArrowException):
        pass  # a damaged shard or index, too: the raw zone says everything again
    for name in ("data", "metadata"):
        shutil.rmtree(fresh / name, ignore_errors=True)
    return None


def _build_whole(
    zone: RawZone,
    fresh: Path,
    secret: bytes,
    conventions: Conventions,
    choice: Deidentification | None,
    *,
    made_of: dict[str, Any],
    keep_index: bool,
    workers: int | None,
    progress: bool,
) -> tuple[dict[str, Any], RecordIndex | None]:
    """Project everything that ever landed."""
    files = zone.files()
    images, work = fresh / "images", fresh / ".work"
    con = open_database(conventions, work)
    try:
        fhir = [(file, zone.ndjson(file)) for file in files if file.kind in _FHIR]
        with ray_hands(workers, conventions) if workers is not None else nullcontext() as hands:
            use = {"hands": hands, "progress": progress}
            counts = project_records(con, fhir, conventions, traced=keep_index, **use)
        for (label, site, _), group in _grouped(files).items():
            if label:
                shown = progress and choice is None  # its bar has a file's name
                use = {"timezone": site, "progress": shown}
                project_mapping(con, zone.mapping(label), group, images, **use)
                conventions.convert_units(con, "projected")
            else:
                mapped = any(file.mapping for file in files)
                project_images(con, group, images, mapped=mapped, progress=progress)
        told: dict[str, Any] = {}
        named = files
        if choice is not None:
            use = {"raw": zone.path, "progress": progress}
            told["deidentified"] = deidentify_events(con, fhir, files, fresh, secret, choice, **use)
            named = with_neutral_names(files)
        write_crosswalk(con, secret, zone.path)
        report = told | account(con, named, counts)
        report["units"] = conventions.account_units(con)
        report |= _of_servers(zone)
        write_quarantine(con, files, zone.path / "quarantine.parquet")
        created = datetime.fromisoformat(max(file.landed for file in files))
        shards = write_store(con, fresh, created=created, progress=progress)
        _drop_unused_images(con, images)
        index = None
        if keep_index:
            told = {"made_of": made_of, "report": report, "shards": shards}
            index = index_whole_build(
                con, zone.path / "index", files=files, fhir=[file for file, _ in fhir], **told
            )
    finally:
        con.close()
    return report, index


def _of_servers(zone: RawZone) -> dict[str, Any]:
    return {"not_fetched": not_fetched(zone), "answered_until": answered_until(zone)}


def _known_checksums(store: Path, linked: Callable[[str], bool]) -> dict[str, str]:
    """Give those of the old store's files that are linked and not written anew."""
    try:
        stated = read_checksums(store)
    except StoreError:  # the first build, or an older version's
        return {}
    return {name: digest for name, digest in stated.items() if linked(name)}


def _grouped(files: list[LandedFile]) -> dict[tuple[str, str, str], list[LandedFile]]:
    """Gather images, and mapped sources each for themselves, named as their CSV does."""
    groups: dict[tuple[str, str, str], list[LandedFile]] = defaultdict(list)
    for file in files:
        if file.mapping and file.kind not in _FHIR:
            root = Path(file.source)
            if file.path.is_relative_to(root) and file.path != root:
                file = replace(file, name=file.path.relative_to(root).as_posix())
            groups[file.mapping, file.timezone, file.source].append(file)
        elif file.kind in _IMAGES:
            groups["", "", ""].append(file)  # of all zones: one series can come in two deliveries
    return dict(sorted(groups.items()))


def _link_images(old: Path, new: Path) -> None:
    """Bring decoded images over by hard link: they are named by content and are not made again."""
    new.mkdir()
    for path in sorted(old.glob("*")) if old.is_dir() else ():
        os.link(path, new / path.name)


def _drop_unused_images(con: duckdb.DuckDBPyConnection, images: Path) -> None:
    rows = con.execute("SELECT DISTINCT image FROM projected WHERE image IS NOT NULL").fetchall()
    used = {Path(image).stem for (image,) in rows}  # a volume has its picture's name
    for path in images.glob("*"):
        if path.stem not in used:
            path.unlink()


def _swap(fresh: Path, store: Path, old: Path) -> None:
    """Put the new store in the old one's place; at no moment are both gone."""
    shutil.rmtree(old, ignore_errors=True)
    if store.exists():
        store.rename(old)
    fresh.rename(store)
    shutil.rmtree(old, ignore_errors=True)
