"""Join image files to subjects, decode them, and put them on the timeline.

A DICOM file is joined by the UIDs and the accession number of its header to an ImagingStudy (whose
identifiers FHIR may write with `urn:oid:`), else by PatientID to a patient; a PNG or JPEG by its
name or its folder's name against the same. Where those name two different patients, the image is
quarantined: a film in the wrong record is worse than none.
"""

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath

import duckdb
from tqdm import tqdm

from ingest.errors import LimitError
from ingest.headers import ImageHeader, acquired_at
from ingest.landing import LandedFile
from ingest.limits import Caps, LimitedChild
from ingest.rows import Rows

__all__ = ["ImageStore", "project_images"]


class ImageStore:
    """Decode files into a directory, each content once, in a limited child process."""

    def __init__(self, directory: Path, caps: Caps | None = None) -> None:
        self._directory = directory
        self._caps = caps or Caps()
        self._child = LimitedChild("ingest.pixels:describe_image", self._caps)

    def __enter__(self) -> "ImageStore":
        self._directory.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._child.close()

    def keep(self, file: LandedFile) -> ImageHeader | tuple[str, str]:
        """Decode the file if its content is new; give its header, or status and reason."""
        place = self._directory / f"{file.sha256}.png"
        try:
            self._caps.check_file(file.path)
            told, png = self._child.call(
                path=str(file.path), decode=not place.is_file(), caps=asdict(self._caps)
            )
        except LimitError as error:
            return "quarantined", f"over a limit: {error}"
        except OSError as error:
            return "quarantined", f"file that cannot be read ({type(error).__name__})"
        for status in ("skipped", "quarantined"):
            if status in told:
                return status, told[status]
        if png:
            _write_whole(place, png)
        header = told["header"]
        spacing = header.pop("spacing_mm")
        taken = tuple(header.pop("taken"))
        return ImageHeader(**header, taken=taken, spacing_mm=spacing and (spacing[0], spacing[1]))

    def drop(self, file: LandedFile) -> None:
        """Delete a picture that belongs to nobody."""
        (self._directory / f"{file.sha256}.png").unlink(missing_ok=True)


def project_images(
    con: duckdb.DuckDBPyConnection,
    files: list[LandedFile],
    store_images: Path,
    *,
    timezone: str,
    progress: bool,
) -> None:
    """Give each DICOM, PNG and JPEG file one outcome, and an event where it joins a subject.

    `time` is the later of the acquisition and the moment when the study was available; `occurred`
    is the acquisition. The code is `IMAGE//MODALITY//VIEW//LATERALITY`, without the parts that
    the header lacks; modality OT (DICOM: other) for PNG and JPEG.

    Args:
        con: has `projected`, `outcome`, `undated`, `imaging_study` and `patient_identifier`.
        files: those of another kind are left alone.
        store_images: where `SHA256.png` goes.
        timezone: zone of times that carry none.
        progress: whether to show a bar on stderr.
    """
    images = [file for file in files if file.kind in ("dicom", "image")]
    if not images:
        return
    owners = _read_owners(con)
    rows = Rows()
    seen: set[tuple[str, str]] = set()
    with ImageStore(store_images) as store:
        for file in tqdm(images, "images", unit="file", disable=not progress):
            header = store.keep(file)
            if not isinstance(header, ImageHeader):
                rows.outcome(file.id, 1, *header)
                continue
            found = owners.find(file, header)
            if isinstance(found, str):
                rows.outcome(file.id, 1, "quarantined", found)
                if not any(sha == file.sha256 for sha, _ in seen):
                    store.drop(file)
            elif (file.sha256, found.subject_key) in seen:
                rows.outcome(file.id, 1, "superseded", "the same image again")
            else:
                seen.add((file.sha256, found.subject_key))
                _add_image(rows, file, header, found, timezone)
    rows.write(con)


@dataclass(frozen=True, kw_only=True)
class _Owner:
    subject_key: str
    available: datetime | None = None
    occurred: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class _Owners:
    """Look up whose an image is: identifier → owners, by kind of identifier."""

    sop: Mapping[str, set[_Owner]] = field(default_factory=dict)
    series: Mapping[str, set[_Owner]] = field(default_factory=dict)
    study: Mapping[str, set[_Owner]] = field(default_factory=dict)
    accession: Mapping[str, set[_Owner]] = field(default_factory=dict)
    patient: Mapping[str, set[_Owner]] = field(default_factory=dict)

    def find(self, file: LandedFile, header: ImageHeader) -> _Owner | str:
        """Give the owner, or the reason why there is none."""
        if file.kind == "dicom":
            names = [header.patient_id]
            wanted = [
                (self.sop, header.sop_uid),
                (self.series, header.series_uid),
                (self.study, header.study_uid),
                (self.accession, header.accession),
            ]
        else:
            path = PurePosixPath(file.name)
            names = [path.stem, path.parent.name]
            kinds = (self.sop, self.series, self.study, self.accession)
            wanted = [(kind, name) for name in names for kind in kinds]
        patients = {owner for name in names if name for owner in self.patient.get(name, ())}
        keys = {owner.subject_key for owner in patients}
        ambiguous = len(keys) > 1
        for kind, name in wanted:
            found = kind.get(_bare(name), set()) if name else set()
            if len({owner.subject_key for owner in found}) > 1:
                ambiguous = True
                found = {owner for owner in found if owner.subject_key in keys}
            if len({owner.subject_key for owner in found}) != 1:
                continue
            owner = max(found, key=_latest)
            if keys and owner.subject_key not in keys:
                return "image and its study name different patients"
            return owner
        if ambiguous:
            return "image joins more than one patient"
        return next(iter(patients)) if patients else "image joins no patient"


def _read_owners(con: duckdb.DuckDBPyConnection) -> _Owners:
    owners = _Owners(sop={}, series={}, study={}, accession={}, patient={})
    studies = con.execute(
        "SELECT subject_key, study_uid, series_uids, sop_uids, accessions, available, occurred "
        "FROM imaging_study WHERE subject_key IS NOT NULL"
    ).fetchall()
    for key, study, series, sops, accessions, available, occurred in studies:
        owner = _Owner(subject_key=key, available=available, occurred=occurred)
        _add_names(owners.study, [study], owner)
        _add_names(owners.series, series, owner)
        _add_names(owners.sop, sops, owner)
        _add_names(owners.accession, accessions, owner)
    identifiers = con.execute(
        "SELECT value, subject_key FROM patient_identifier WHERE subject_key IS NOT NULL"
    )
    for value, key in identifiers.fetchall():
        _add_names(owners.patient, [value], _Owner(subject_key=key))
    keys = con.execute("SELECT DISTINCT subject_key FROM projected WHERE subject_key IS NOT NULL")
    for (key,) in keys.fetchall():
        _add_names(owners.patient, [key.removeprefix("Patient/")], _Owner(subject_key=key))
    return owners


def _add_names(
    names: Mapping[str, set[_Owner]], values: Iterable[str | None] | None, owner: _Owner
) -> None:
    assert isinstance(names, dict)  # noqa: S101 - built by _read_owners
    for value in values or ():
        if value and _bare(value):
            names.setdefault(_bare(value), set()).add(owner)


def _latest(owner: _Owner) -> tuple[bool, str]:
    """Order a study's versions so that the one available last, the cautious one, is greatest."""
    return owner.available is not None, str(owner.available) + str(owner.occurred)


def _bare(identifier: str) -> str:
    return identifier.strip().removeprefix("urn:oid:")


def _add_image(
    rows: Rows, file: LandedFile, header: ImageHeader, owner: _Owner, timezone: str
) -> None:
    acquired = acquired_at(header, timezone)
    begun = acquired_at(replace(header, taken=tuple(map(_fill_up, header.taken))), timezone)
    ends = [moment for moment in (acquired, owner.available) if moment is not None]
    starts = [moment for moment in (begun, owner.occurred) if moment is not None]
    if not ends:
        rows.undated(file.id, 1, "image")
        rows.outcome(file.id, 1, "skipped", "image: undated")
        return
    time, time_from = max(ends), max(starts, default=None)
    occurred, occurred_from = acquired or owner.available, begun or owner.occurred
    parts = ["IMAGE", header.modality or "OT", header.view, header.laterality]
    rows.event(
        subject_key=owner.subject_key,
        time=time,
        occurred=occurred,
        time_from=time_from if time_from != time else None,
        occurred_from=occurred_from if occurred_from != occurred else None,
        code="//".join(part for part in parts if part),
        image=f"images/{file.sha256}.png",
        file=file.id,
        position=1,
    )
    rows.outcome(file.id, 1, "projected")


def _fill_up(text: str) -> str:
    """Complete a DICOM date-time with its period's beginning.

    >>> _fill_up("20240301"), _fill_up("202403+0100"), _fill_up("20240301101500.5")
    ('20240301000000', '20240301000000+0100', '20240301101500.5')
    """
    stated = re.match(r"(\d\d){2,7}(?!\d)", text)
    if stated is None:
        return text  # odd; acquired_at does not read it either
    return stated[0] + "00000101000000"[stated.end() :] + text[stated.end() :]


def _write_whole(place: Path, content: bytes) -> None:
    """Write so that a kill leaves either nothing or the whole file."""
    with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as out:
        out.write(content)
    Path(out.name).chmod(0o644)
    os.replace(out.name, place)  # noqa: PTH105 - replaces atomically
