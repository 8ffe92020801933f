"""De-identify a DICOM file after PS3.15, Basic Application Level Confidentiality Profile.

What Table E.1-1 says of each attribute (2026c) is taken from PyPI's `dicom-anonymizer` (BSD-3),
and done here, since that package leaves sequences alone, draws UIDs at random and writes one
date for all. Private attributes, group lengths and attributes that no dictionary knows go. Beyond
the table, PN that it does not list are emptied, UIDs that it does not list replaced, and texts that
stay are scrubbed of what the header itself says of the patient, and of what is known otherwise.

Two options: Retain Longitudinal Temporal Information with Modified Dates (113107), by the subject's
shift, or with Full Dates (113106) where the store keeps its dates. Pixels stay as they are: neither
burned-in annotation nor a face in a CT of the head is removed from them.
"""

import hmac
import io
import re
import uuid
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ingest.deidentify_dates import DateStyle, shift_dicom
from ingest.deidentify_people import add_film, add_said
from ingest.deidentify_terms import Terms
from ingest.deidentify_text import Scrubber

__all__ = ["Pseudonym", "burned_in", "deidentify_dataset", "read_identity", "write_deidentified"]

_TEXTS = ("AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT")
_NAMES = (
    *("PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName"),
    *("ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName"),
    *("PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "RequestingPhysician"),
    *("ResponsiblePerson", "ScheduledPerformingPhysicianName", "ConsultingPhysicianName"),
)
_IDS = (
    *("PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "AdmissionID"),
    *("MedicalRecordLocator", "ServiceEpisodeID", "PlacerOrderNumberImagingServiceRequest"),
    *("FillerOrderNumberImagingServiceRequest", "InsurancePlanIdentification"),
)
_CODES = {
    "113100": "Basic Application Confidentiality Profile",
    "113106": "Retain Longitudinal Temporal Information Full Dates Option",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
}
_USUALLY_BURNED_IN = frozenset(["ES", "GM", "IVUS", "OP", "OT", "SC", "US", "XC"])
"""Modalities whose makers write the patient's name into the picture, or where anything may be."""

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True, kw_only=True)
class Pseudonym:
    """Say who a patient is to be, and how far the dates go."""

    subject: str
    """For Patient ID and Patient's Name."""

    days: int
    """The subject's shift; 0 where dates stay."""

    uid_key: bytes
    """What new UIDs are made with: the same UID gives the same one, in any file."""

    def uid(self, uid: str) -> str:
        """Give the UID that stands for another: 2.25 and a UUID (PS3.5 B.2), keyed."""
        digest = bytearray(hmac.digest(self.uid_key, uid.strip("\0 ").encode(), "sha256")[:16])
        digest[6] = digest[6] & 0x0F | 0x80  # a UUID of version 8: made in a way of its own
        digest[8] = digest[8] & 0x3F | 0x80
        return f"2.25.{uuid.UUID(bytes=bytes(digest)).int}"


def burned_in(header: Dataset) -> str:
    """Say whether there is writing in the picture: `stated`, `suspected`, or nothing.

    Suspected is what the header is silent about, and what is of a kind that often has it:
    ultrasound, endoscopy, photographs, secondary captures.
    """
    said = str(header.get("BurnedInAnnotation", "") or "").strip().upper()
    if said in ("YES", "NO"):
        return "stated" if said == "YES" else ""
    modality = str(header.get("Modality", "") or "").strip().upper()
    captured = str(header.get("SOPClassUID", "") or "").startswith(_SECONDARY_CAPTURE)
    return "suspected" if captured or modality in _USUALLY_BURNED_IN else ""


def read_identity(path: str) -> tuple[dict[str, Any], bytes]:
    """Read who a file's patient is, and whether it is burned in; what the limited child runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = pydicom.dcmread(Path(path), stop_before_pixels=True, force=True)
        series = str(header.get("SeriesInstanceUID", "") or "")
        return {**_identity(header), "burned_in": burned_in(header), "series": series}, b""


def write_deidentified(
    path: str, subject: str, days: int, uid_key: str, known: Iterable[tuple[str, str]] = ()
) -> tuple[dict[str, Any], bytes]:
    """De-identify a file; what the limited child runs. Gives the new SOP UID, and the file.

    `known` are kinds and values of what is known of the patient beside what the header says.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        film = pydicom.dcmread(Path(path), force=True)
        who = Pseudonym(subject=subject, days=days, uid_key=bytes.fromhex(uid_key))
        terms = Terms()
        for kind, value in known:
            add_said(terms, kind, value)
        deidentify_dataset(film, who, terms)
        out = io.BytesIO()
        film.save_as(out, enforce_file_format=True)
    return {"uid": str(film.SOPInstanceUID)}, out.getvalue()


def deidentify_dataset(film: Dataset, who: Pseudonym, known: Terms | None = None) -> None:
    """De-identify a data set in place, its file meta information and preamble, too.

    To `known`, which texts that stay are scrubbed of, is added what the header says.
    """
    terms = known or Terms()
    add_film(terms, _identity(film))
    scrubber = Scrubber(terms=terms, style=DateStyle(days=who.days))
    meta = getattr(film, "file_meta", None)
    syntax = meta.get("TransferSyntaxUID") if meta is not None else None
    _clean(film, who, scrubber, blank=False)
    film.PatientID = film.PatientName = who.subject
    film.PatientIdentityRemoved = "YES"
    film.DeidentificationMethod = "Medweave; DICOM PS3.15 Table E.1-1"
    used = ("113100", "113107" if who.days else "113106")
    film.DeidentificationMethodCodeSequence = Sequence([_coded(code) for code in used])
    film.LongitudinalTemporalInformationModified = "MODIFIED" if who.days else "UNMODIFIED"
    if "SOPInstanceUID" not in film:
        film.SOPInstanceUID = who.uid("")
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = syntax or _syntax_of(film)
    film.file_meta.MediaStorageSOPClassUID = film.get("SOPClassUID", _SECONDARY_CAPTURE)
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID
    film.preamble = b"\0" * 128


def _clean(dataset: Dataset, who: Pseudonym, scrubber: Scrubber, *, blank: bool) -> None:
    for tag in list(dataset.keys()):
        action = _action(tag)
        if tag.is_private or tag.element == 0 or not _is_known(tag):
            del dataset[tag]
            continue
        try:
            element = dataset[tag]
            element.value  # noqa: B018 - reads the raw bytes, which may be anything
        except Exception:  # pydicom raises a dozen kinds on broken values
            del dataset[tag]
            continue
        if _stays(element, action, who, scrubber, blank=blank):
            dataset[tag] = element
        else:
            del dataset[tag]


def _stays(
    element: DataElement, action: str, who: Pseudonym, scrubber: Scrubber, *, blank: bool
) -> bool:
    """Do what the table says to an element, and say whether it is to stay."""
    vr = element.VR
    if vr in ("DA", "DT") and "Birth" not in element.keyword:
        moved = _each(element, lambda text: shift_dicom(text, who.days))
        return moved or action != "X"
    if vr == "TM" and "Birth" not in element.keyword:
        return _each(element, _time_of_day) or action != "X"  # shifts are whole days
    if action == "X":
        return False
    if vr == "SQ":
        if action in ("Z", "XZ"):
            element.value = Sequence([])
        for item in element.value or ():
            _clean(item, who, scrubber, blank=blank or action in ("D", "XD", "ZD", "XZD"))
        return True
    if vr == "UI":
        if "ClassUID" not in element.keyword and "SyntaxUID" not in element.keyword:
            _each(element, lambda uid: uid if uid.startswith("1.2.840.10008.") else who.uid(uid))
            return True
        return _each(element, lambda uid: uid if re.fullmatch(r"[\d.]*\0?", uid) else None)
    if vr == "PN" or action in ("Z", "XZ"):
        return _set(element, "")
    if action or (blank and vr in _TEXTS):
        return _set(element, "REMOVED" if vr in _TEXTS else "000Y" if vr == "AS" else "")
    if vr == "UN" or (isinstance(element.value, bytes) and not _is_bytes(element.tag)):
        return False
    if vr in _TEXTS:
        _each(element, lambda text: _scrubbed(text, vr, scrubber))
    return True


def _time_of_day(text: str) -> str | None:
    return text if re.fullmatch(r"[\d.: -]*", text) else None


def _scrubbed(text: str, vr: str, scrubber: Scrubber) -> str:
    new = scrubber.scrub(text) if vr not in ("AE", "CS", "UR") else scrubber.scrub_coded(text)
    # A code string takes no brackets, and a tag may be too long for a short one.
    return new if new == text or vr in ("LO", "LT", "ST", "UC", "UT") else ""


def _set(element: DataElement, text: str) -> bool:
    # Not `VR == "OB"` alone: bytes of any kind are emptied.
    element.value = b"" if isinstance(element.value, bytes) else text
    return True


def _each(element: DataElement, change: Any) -> bool:
    """Change each of an element's values; where one can't be, it is emptied, and False is given."""
    values = element.value if element.VM > 1 else [element.value] if element.VM else []
    changed = [change(str(value)) for value in values]
    whole = None not in changed
    element.value = (changed if len(changed) != 1 else changed[0]) if whole and changed else ""
    return whole


def _identity(header: Dataset) -> dict[str, list[str]]:
    names = [*_said(header, _NAMES)]
    ids = [*_said(header, _IDS)]
    for item in header.get("OtherPatientIDsSequence") or ():
        ids += _said(item, ("PatientID",))
    return {
        "names": names,
        "ids": ids,
        "places": [*_said(header, ("PatientAddress",))],
        "contacts": [*_said(header, ("PatientTelephoneNumbers",))],
    }


def _said(header: Dataset, keywords: tuple[str, ...]) -> Iterator[str]:
    for keyword in keywords:
        try:
            value = header.get(keyword)
            values = value if isinstance(value, list | pydicom.multival.MultiValue) else [value]
            # Alphabetic, ideographic and phonetic writing of one name are three names.
            yield from (part for v in values if v for part in str(v).split("=") if part.strip("^ "))
        except Exception:  # noqa: S112 - a broken value says nothing
            continue


def _coded(code: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", _CODES[code]
    return item


def _syntax_of(film: Dataset) -> str:
    implicit, little = film.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRBigEndian if little is False else ExplicitVRLittleEndian


def _is_bytes(tag: BaseTag) -> bool:
    return any(vr.startswith("O") for vr in dictionary_VR(tag).split(" or "))


def _is_known(tag: BaseTag) -> bool:
    return dictionary_has_tag(tag) or bool(keyword_for_tag(tag))


def _action(tag: BaseTag) -> str:
    listed = _ACTIONS.get((tag.group, tag.element))
    if listed is not None:
        return listed
    for (group, element, group_mask, element_mask), action in _MASKED:
        if tag.group & group_mask == group & group_mask and (
            tag.element & element_mask == element & element_mask
        ):
            return action
    return ""


_KINDS = {
    "X": table.X_TAGS,
    "Z": table.Z_TAGS,
    "D": table.D_TAGS,
    "U": table.U_TAGS,
    "XZ": table.X_Z_TAGS,
    "XD": table.X_D_TAGS,
    "ZD": table.Z_D_TAGS,
    "XZD": table.X_Z_D_TAGS,
    "XZU": table.X_Z_U_STAR_TAGS,
}
_ACTIONS: dict[tuple[int, int], str] = {
    (tag[0], tag[1]): kind for kind, tags in _KINDS.items() for tag in tags if len(tag) == 2
}
_MASKED = [
    ((tag[0], tag[1], tag[2], tag[3]), kind)
    for kind, tags in _KINDS.items()
    for tag in tags
    if len(tag) == 4
]
