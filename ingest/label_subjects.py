"""Find the subjects and the films that a table of labels names, as a store and its raw zone do.

A subject is named by the store's `subject_id`, or as the source had it: by its FHIR id, its
PatientID or a CSV's value (the crosswalk), or by another identifier of the patient's (the index of
the last ingest, where one is kept). A film is named by its file. The store itself knows neither, so
that it can be given away; the raw zone beside it does.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.errors import StoreError
from ingest.landing import LandedFile, RawZone
from ingest.mapping_file import read_mapping
from ingest.store import RecordStore

__all__ = ["Film", "Films", "Subjects"]

_KINDS = ("image", "dicom")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm")  # not `.99` of a UID


@dataclass(frozen=True, kw_only=True)
class Film:
    """Say whose a film is and from when on it was known."""

    subject_id: int
    time: pd.Timestamp


class Subjects:
    """Find subjects by what a table calls them.

    Raises:
        StoreError: the crosswalk is damaged.
    """

    def __init__(self, records: RecordStore, raw: Path) -> None:
        self._own = {str(subject): int(subject) for subject in records.subjects()}
        self._source: dict[str, set[int]] = defaultdict(set)
        keys = _crosswalk(raw / "crosswalk.parquet")
        known = set(self._own.values())
        prefixes = [""] + (_prefixes(raw) if keys else [])
        for key, subject in keys.items():
            if subject not in known:
                continue
            for name in {key, key.removeprefix("Patient/")}:
                for prefix in prefixes:
                    if name.startswith(prefix):
                        self._source[name.removeprefix(prefix)].add(subject)
        for value, key in _identifiers(raw):
            if keys.get(key) in known:
                self._source[value].add(keys[key])

    def find(self, name: str) -> int | str:
        """Give a subject's id, or the reason why there is none."""
        own = {self._own[name]} if name in self._own else set()
        found = own | self._source.get(name, set())
        if len(found) > 1:
            return "subject that more than one patient is called"
        return found.pop() if found else "subject that the store does not have"

    def is_own(self, name: str) -> bool:
        """Say whether a name is the store's own id."""
        return name in self._own


class Films:
    """Find films by the names of their files.

    Raises:
        StoreError: the raw zone is not there, or damaged.
    """

    def __init__(self, records: RecordStore, raw: Path) -> None:
        files = [file for file in RawZone(raw).files() if file.kind in _KINDS]
        if not files:
            raise StoreError(
                f"{raw} names no image file, so films can't be found by their names; give the "
                "store's raw zone with --raw, or name subjects with --subject"
            )
        self._whole = {file.name: file for file in files}
        self._ends: dict[str, list[LandedFile]] = defaultdict(list)
        for file in files:
            for end in _ends_of(file.name):
                self._ends[end].append(file)
        self._by_file: dict[str, set[Film]] = defaultdict(set)
        self._by_image: dict[str, set[Film]] = defaultdict(set)
        rows = records.images().project("subject_id, time, image, source").fetchall()
        for subject, time, image, source in rows:
            if image is None or time is None:
                continue
            film = Film(subject_id=int(subject), time=pd.Timestamp(time))
            self._by_file[source.partition(":")[0]].add(film)
            self._by_image[PurePosixPath(image).stem].add(film)

    def find(self, name: str, subject: int | None = None) -> Film | str:
        """Give the film of a file, of a subject where one is named; or why there is none.

        The file's path may be shorter than the source's (`a.png`, `a`), or longer.
        """
        path = name.replace("\\", "/").removeprefix("./").lstrip("/")
        files = self._ends.get(path) or self._longer(path)
        if not files:
            return "image file that had not landed"
        if len({file.sha256 for file in files}) > 1:
            return "image file of whose name there are several"
        found = {film for file in files for film in self._by_file.get(file.id, ())}
        found = found or self._by_image.get(files[0].sha256, set())
        if not found:
            return "image file that became no film (see the report of the ingest)"
        if subject is not None:
            found = {film for film in found if film.subject_id == subject}
            if not found:
                return "image file of another subject"
        if len(found) > 1:
            return "image whose bytes came as several films; name the subject, too"
        return next(iter(found))

    def _longer(self, path: str) -> list[LandedFile]:
        """Find a file whose whole name is the end of a longer path."""
        parts = PurePosixPath(path).parts
        ends = ["/".join(parts[n:]) for n in range(1, len(parts))]
        return next(([self._whole[end]] for end in ends if end in self._whole), [])


def _ends_of(name: str) -> set[str]:
    """Give each end of a file's path, with the suffix and without."""
    parts = PurePosixPath(name).parts
    ends = {"/".join(parts[n:]) for n in range(len(parts))}
    suffix = PurePosixPath(name).suffix
    return ends | {end.removesuffix(suffix) for end in ends if suffix.lower() in _SUFFIXES}


def _crosswalk(file: Path) -> dict[str, int]:
    if not file.is_file():
        return {}
    try:
        table = pq.read_table(file, columns=["subject_key", "subject_id"]).to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{file} is damaged ({type(error).__name__}); run ingest again") from None
    return dict(zip(table["subject_key"], table["subject_id"], strict=True))


def _prefixes(raw: Path) -> list[str]:
    """List what mappings put before the subjects of their CSVs."""
    zone = RawZone(raw)
    labels = {file.mapping for file in zone.files() if file.mapping}
    found = {read_mapping(zone.mapping(label)).subject_prefix for label in labels}
    return sorted(found - {""})


def _identifiers(raw: Path) -> list[tuple[str, str]]:
    """List patients' other identifiers; none where the last ingest kept no index."""
    index = raw / "index"
    try:
        whole = json.loads((index / "index.json").read_text("utf-8"))["whole"]["name"]
        table = pq.read_table(index / whole / "patient_identifier.parquet").to_pydict()
        return list(zip(table["value"], table["subject_key"], strict=True))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return []
