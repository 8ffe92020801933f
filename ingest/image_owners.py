"""Say whose an image is, by the identifiers of its header or its name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import PurePosixPath

import duckdb

from ingest.headers import ImageHeader
from ingest.landing import LandedFile

__all__ = ["Owner", "Owners", "read_owners"]


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Name a subject, and when the study that the image belongs to took place, if one does."""

    subject_key: str
    available: datetime | None = None
    occurred: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Owners:
    """Look up whose an image is: identifier → owners, by kind of identifier."""

    sop: Mapping[str, set[Owner]] = field(default_factory=dict)
    series: Mapping[str, set[Owner]] = field(default_factory=dict)
    study: Mapping[str, set[Owner]] = field(default_factory=dict)
    accession: Mapping[str, set[Owner]] = field(default_factory=dict)
    patient: Mapping[str, set[Owner]] = field(default_factory=dict)

    films_alone: bool = False
    """Whether there are no records to join: then a DICOM file is its own PatientID's."""

    def find(self, file: LandedFile, header: ImageHeader) -> Owner | str:
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
        if patients:
            return next(iter(patients))
        if self.films_alone and file.kind == "dicom" and header.patient_id:
            # As FHIR would name who has this id, so that records which come later find the same.
            return Owner(subject_key=f"Patient/{header.patient_id}")
        return "image joins no patient"


def read_owners(con: duckdb.DuckDBPyConnection, spoken: str, *, mapped: bool = False) -> Owners:
    """Look up the imaging studies and the patients of a build.

    Args:
        con: has `imaging_study` and `patient_identifier`.
        spoken: a query: the subjects whose records have events, whether they have a Patient or not.
        mapped: whether a CSV tells of patients, too; then films are not alone.
    """
    owners = Owners(sop={}, series={}, study={}, accession={}, patient={})
    studies = con.execute(
        "SELECT subject_key, study_uid, series_uids, sop_uids, accessions, available, occurred "
        "FROM imaging_study WHERE subject_key IS NOT NULL"
    ).fetchall()
    for key, study, series, sops, accessions, available, occurred in studies:
        owner = Owner(subject_key=key, available=available, occurred=occurred)
        _add_names(owners.study, [study], owner)
        _add_names(owners.series, series, owner)
        _add_names(owners.sop, sops, owner)
        _add_names(owners.accession, accessions, owner)
    identifiers = con.execute(
        "SELECT value, subject_key FROM patient_identifier WHERE subject_key IS NOT NULL"
    )
    for value, key in identifiers.fetchall():
        _add_names(owners.patient, [value], Owner(subject_key=key))
    for (key,) in con.execute(spoken).fetchall():
        _add_names(owners.patient, [key.removeprefix("Patient/")], Owner(subject_key=key))
    return replace(owners, films_alone=not (mapped or studies or owners.patient))


def _add_names(
    names: Mapping[str, set[Owner]], values: Iterable[str | None] | None, owner: Owner
) -> None:
    assert isinstance(names, dict)  # noqa: S101 - built by read_owners
    for value in values or ():
        if value and _bare(value):
            names.setdefault(_bare(value), set()).add(owner)


def _latest(owner: Owner) -> tuple[bool, str]:
    """Order a study's versions so that the one available last, the cautious one, is greatest."""
    return owner.available is not None, str(owner.available) + str(owner.occurred)


def _bare(identifier: str) -> str:
    return identifier.strip().removeprefix("urn:oid:")
