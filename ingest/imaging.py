"""Join image files to subjects, decode them, and put them on the timeline.

A DICOM file is joined by the UIDs and the accession number of its header to an ImagingStudy (whose
identifiers FHIR may write with `urn:oid:`), else by PatientID to a patient; a PNG or JPEG by its
name or its folder's name against the same. Where those name two different patients, the image is
quarantined: a film in the wrong record is worse than none. Where no records are there at all, nor a
mapped CSV, films are alone: each DICOM file is then its own PatientID's, and PNG and JPEG are
nobody's (a CSV and `--mapping` say whose).
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
from tqdm import tqdm

from ingest.headers import ImageHeader, acquired_at
from ingest.image_owners import Owner, read_owners
from ingest.image_store import Fate, ImageStore, Slice, told_of
from ingest.landing import LandedFile
from ingest.planes import find_stacks
from ingest.rows import Rows

__all__ = ["ImageStore", "project_images"]

_TOLD_AT_ONCE = 10_000


def project_images(
    con: duckdb.DuckDBPyConnection,
    files: list[LandedFile],
    store_images: Path,
    *,
    known: Mapping[str, str] | None = None,
    spoken: str = "SELECT DISTINCT subject_key FROM projected WHERE subject_key IS NOT NULL",
    mapped: bool = False,
    progress: bool,
) -> None:
    """Give each DICOM, PNG and JPEG file one outcome, and an event where it joins a subject.

    `time` is the later of the acquisition and the moment when the study was available; `occurred`
    is the acquisition. The code is `IMAGE//MODALITY//VIEW//LATERALITY`, without the parts that
    the header lacks; modality OT (DICOM: other) for PNG and JPEG.

    `film_told` (file, told) is filled with each file's header, or why it has none, as JSON.

    Slices that make a volume are one event, of the moment when the last of them was there; what
    makes a volume stands in `ingest/planes.py`.

    Args:
        con: has `projected`, `outcome`, `undated`, `imaging_study` and `patient_identifier`.
        files: those of another kind are left alone; a time that carries no zone is in the file's.
        store_images: where `HASH.png` and `HASH.nii` go.
        known: what `film_told` said of files before, by id: they are not read again.
        spoken: query for the subjects who may be joined by their id alone.
        mapped: whether a mapped CSV is among what landed; then films are not alone.
        progress: whether to show a bar on stderr.
    """
    images = [file for file in files if file.kind in ("dicom", "image")]
    if not images:
        return
    owners = read_owners(con, spoken, mapped=mapped)
    rows = Rows()
    told: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    shown: set[str] = set()
    series: dict[tuple[str, str], dict[str, Film]] = defaultdict(dict)
    with ImageStore(store_images, known=known) as store:
        described = store.describe(images)
        for file, header in tqdm(
            described, "images", len(images), unit="file", disable=not progress
        ):
            told[file.id] = told_of(header)
            if len(told) >= _TOLD_AT_ONCE:
                _write_told(con, told)
            if not isinstance(header, ImageHeader):
                rows.outcome(file.id, 1, *header)
                continue
            found = owners.find(file, header)
            if isinstance(found, str):
                rows.outcome(file.id, 1, "quarantined", found)
                if file.sha256 not in shown:
                    store.drop(file)
                continue
            if (file.sha256, found.subject_key) in seen:
                rows.outcome(file.id, 1, "superseded", "the same image again")
                continue
            seen.add((file.sha256, found.subject_key))
            shown.add(file.sha256)
            film = Film(file=file, header=header, owner=found)
            if header.planes:
                group = series[found.subject_key, header.series_uid or file.id]
                older = group.get(header.sop_uid or file.id)
                if older is not None:
                    rows.outcome(older.file.id, 1, "superseded", "another version of the image")
                group[header.sop_uid or file.id] = film
            else:
                _keep_film(rows, store, film)
        for _, group in tqdm(
            sorted(series.items()), "series", unit="series", disable=not (progress and series)
        ):
            _add_series(rows, store, list(group.values()))
    rows.write(con)
    _write_told(con, told)


def _write_told(con: duckdb.DuckDBPyConnection, told: dict[str, str]) -> None:
    con.execute("CREATE TABLE IF NOT EXISTS film_told (file VARCHAR, told VARCHAR)")
    written = pa.table({"file": list(told), "told": list(told.values())})
    con.register("written", written)
    con.execute("INSERT INTO film_told FROM written")
    con.unregister("written")
    told.clear()


@dataclass(frozen=True, kw_only=True)
class Film:
    """Hold one file that joins a subject."""

    file: LandedFile
    header: ImageHeader
    owner: Owner


def _add_series(rows: Rows, store: ImageStore, films: list[Film]) -> None:
    """Give each file of a series its outcome, and an event to each volume and left-over picture."""
    by_id = {film.file.id: film for film in films}
    fates: dict[str, Fate] = {}
    while True:
        good = [film for film in films if film.file.id not in fates]
        slices = [
            Slice(file=film.file, frame=frame, plane=plane)
            for film in good
            for frame, plane in enumerate(film.header.planes)
        ]
        # So that ties between equal planes are settled alike, whichever landed first.
        slices.sort(key=lambda one: (one.file.sha256, one.frame))
        stacks, single = find_stacks([one.plane for one in slices])
        volumes = [[slices[place] for place in stack] for stack in stacks]
        in_volume = {one.file.id for volume in volumes for one in volume}
        loose = [slices[place] for place in single]
        volumes += [[one] for one in loose if one.file.id in in_volume]
        kept: list[tuple[str, list[Slice]]] = []
        found: dict[str, Fate] = {}
        for volume in volumes:
            name, refused = store.keep_stack(volume)
            kept.append((name, volume))
            found |= refused
        if not found:
            break
        fates |= found  # what is left may be other volumes
    dated: set[str] = set()
    for name, volume in kept:
        parts = [by_id[file] for file in {one.file.id for one in volume}]
        shown = by_id[volume[len(volume) // 2].file.id]
        if _add_event(rows, shown, parts, name):
            dated |= {part.file.id for part in parts}
    for file in sorted(in_volume - dated):
        rows.undated(file, 1, "image")
    for film in good:
        if film.file.id in in_volume:
            fate = ("projected",) if film.file.id in dated else ("skipped", "image: undated")
            rows.outcome(film.file.id, 1, *fate)
            continue
        _keep_film(rows, store, film)  # of a file with several frames the middle one
    for file, fate in fates.items():
        rows.outcome(file, 1, *fate)


def _keep_film(rows: Rows, store: ImageStore, film: Film) -> None:
    header = film.header if store.holds(film.file) else store.keep(film.file)
    if not isinstance(header, ImageHeader):
        rows.outcome(film.file.id, 1, *header)
    elif _add_event(rows, film, [film], f"{film.file.sha256}.png"):
        rows.outcome(film.file.id, 1, "projected")
    else:
        rows.undated(film.file.id, 1, "image")
        rows.outcome(film.file.id, 1, "skipped", "image: undated")


def _add_event(rows: Rows, shown: Film, parts: list[Film], name: str) -> bool:
    """Add an event at the moment when the last part was there; say whether any part is dated."""
    moments = [moment for part in parts if (moment := _moments(part)) is not None]
    if not moments:
        return False
    time, time_from, occurred, occurred_from = max(moments, key=lambda m: (m[0], m[2], str(m)))
    header = shown.header
    words = ["IMAGE", header.modality or "OT", header.view, header.laterality]
    rows.event(
        subject_key=shown.owner.subject_key,
        time=time,
        occurred=occurred,
        time_from=time_from if time_from != time else None,
        occurred_from=occurred_from if occurred_from != occurred else None,
        code="//".join(word for word in words if word),
        image=f"images/{name}",
        file=shown.file.id,
        position=1,
    )
    return True


def _moments(film: Film) -> tuple[datetime, datetime | None, datetime, datetime | None] | None:
    """Give time, its period's beginning, occurred and its period's beginning."""
    header, owner = film.header, film.owner
    acquired = acquired_at(header, film.file.timezone)
    early = replace(header, taken=tuple(map(_fill_up, header.taken)))
    begun = acquired_at(early, film.file.timezone)
    ends = [moment for moment in (acquired, owner.available) if moment is not None]
    starts = [moment for moment in (begun, owner.occurred) if moment is not None]
    if not ends:
        return None
    occurred = acquired or owner.available or max(ends)
    return max(ends), max(starts, default=None), occurred, begun or owner.occurred


def _fill_up(text: str) -> str:
    """Complete a DICOM date-time with its period's beginning.

    >>> _fill_up("20240301"), _fill_up("202403+0100"), _fill_up("20240301101500.5")
    ('20240301000000', '20240301000000+0100', '20240301101500.5')
    """
    stated = re.match(r"(\d\d){2,7}(?!\d)", text)
    if stated is None:
        return text  # odd; acquired_at does not read it either
    return stated[0] + "00000101000000"[stated.end() :] + text[stated.end() :]
