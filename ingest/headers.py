"""Read what a DICOM header says of an image: whose it is, when it was taken, how it was taken.

Tags and their meaning: DICOM PS3.3 (https://dicom.nema.org/medical/dicom/current/output/html/).
"""

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cache, lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from ingest.planes import Plane
from ingest.positioning import find_laterality, find_view

__all__ = [
    "ImageHeader",
    "acquired_at",
    "header_from_json",
    "header_to_json",
    "object_kind",
    "read_header",
    "read_text",
    "read_whole",
]

_NO_PICTURE_MODALITIES = re.compile(
    "AU|DOC|ECG|EPS|FID|HD|IO|KO|M3D|OAM|PLAN|PR|REG|RESP|RT[A-Z]+|RWV|SEG|SMR|SR|STAIN|TEXTUREMAP"
)
"""Defined terms of Modality (PS3.3 C.7.3.1.1.1) whose objects are no picture of a patient."""

_NO_PICTURE_CLASSES = (
    ("SR", r"\bSR\b|Structured Report|Key Object|Chest CAD|Mammography CAD|Colon CAD"),
    ("SEG", r"Segmentation"),
    ("RT", r"\bRT\b"),
    ("PR", r"Presentation State"),
    ("REG", r"Registration|Fiducials"),
    ("DOC", r"Encapsulated"),
    ("WAVEFORM", r"Waveform|ECG"),
    ("PALETTE", r"Color Palette"),
    ("RAW", r"Raw Data|Real World Value|Surface|Tractography|Stereometric|Measurements"),
)


_DIRECTORY = Tag("DirectoryRecordSequence")  # a DICOMDIR lists other files


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """Hold what joins an image to a subject and a time, and how it was taken.

    Texts are empty where the header says nothing. It holds identifiers: keep it out of logs.
    """

    modality: str = ""
    """DICOM Modality: CR, DX, CT, …; empty for PNG and JPEG."""

    view: str = ""
    """View Position: PA, AP, LL, …"""

    laterality: str = ""
    """R, L or B."""

    rows: int = 0
    columns: int = 0

    spacing_mm: tuple[float, float] | None = None
    """Distance between rows, between columns, in the source's pixels. For projection X-rays it is
    measured at the detector (Imager Pixel Spacing) unless the header is calibrated."""

    study_uid: str = ""
    series_uid: str = ""
    sop_uid: str = ""
    accession: str = ""
    patient_id: str = ""

    taken: tuple[str, ...] = ()
    """DICOM date-times, best first: Acquisition, Content, Series, Study."""

    utc_offset: str = ""
    """Timezone Offset From UTC, such as +0100."""

    planes: tuple[Plane, ...] = ()
    """Where each frame lies, of an object that may be part of a volume; else empty."""


def object_kind(header: Dataset) -> str | None:
    """Say of what kind an object is that is no picture (`SR`, `SEG`, `RTDOSE`); None for pictures.

    Segmentations and dose grids have pixels, but those are labels and grays, not brightness.
    """
    if header.get_item(_DIRECTORY) is not None:
        return "DIRECTORY"
    return _kind_of(read_text(header, "Modality").upper(), read_text(header, "SOPClassUID"))


@lru_cache(maxsize=1024)
def _kind_of(modality: str, sop_class: str) -> str | None:
    if _NO_PICTURE_MODALITIES.fullmatch(modality):
        return modality
    name = UID(sop_class).name
    return next((kind for kind, words in _NO_PICTURE_CLASSES if re.search(words, name)), None)


def read_header(header: Dataset) -> ImageHeader:
    """Take the fields that we use; a field that cannot be read counts as not there."""
    return ImageHeader(
        modality=_code_string(read_text(header, "Modality")),
        view=find_view(header, _code_string(read_text(header, "ViewPosition"))),
        laterality=find_laterality(
            header, read_text(header, "ImageLaterality"), read_text(header, "Laterality")
        ),
        rows=read_whole(header, "Rows"),
        columns=read_whole(header, "Columns"),
        spacing_mm=_spacing(header),
        study_uid=read_text(header, "StudyInstanceUID"),
        series_uid=read_text(header, "SeriesInstanceUID"),
        sop_uid=read_text(header, "SOPInstanceUID"),
        accession=read_text(header, "AccessionNumber"),
        patient_id=read_text(header, "PatientID"),
        taken=tuple(_taken(header)),
        utc_offset=read_text(header, "TimezoneOffsetFromUTC"),
    )


def header_to_json(header: ImageHeader) -> dict[str, Any]:
    """Give what JSON can carry; `header_from_json` makes a header of it again."""
    told = {**vars(header)}
    if header.planes:
        names = Plane.__slots__
        told["planes"] = [{name: getattr(p, name) for name in names} for p in header.planes]
    return told


def header_from_json(told: dict[str, Any]) -> ImageHeader:
    """Make a header of what `header_to_json` gave and JSON carried."""
    spacing = told["spacing_mm"]
    planes = tuple(
        Plane(**{name: tuple(v) if isinstance(v, list) else v for name, v in plane.items()})
        for plane in told["planes"]
    )
    fixed = {"spacing_mm": spacing and tuple(spacing), "taken": tuple(told["taken"])}
    return ImageHeader(**{**told, **fixed, "planes": planes})


def acquired_at(header: ImageHeader, site: str) -> datetime | None:
    """Say when the image was taken, in UTC without zone; None where no date can be read.

    A date-time that is not complete stands at the end of its period, since a model must not see an
    image before it was there: a date without hour at the last microsecond of that day. What
    carries no zone of its own is in the zone of the site.

    >>> acquired_at(ImageHeader(taken=("20240301",)), "Europe/Berlin")
    datetime.datetime(2024, 3, 1, 22, 59, 59, 999999)
    >>> acquired_at(ImageHeader(taken=("20240301101500.5",), utc_offset="-0500"), "UTC")
    datetime.datetime(2024, 3, 1, 15, 15, 0, 500000)
    """
    for text in header.taken:
        moment = _end_of_period(text, header.utc_offset, site)
        if moment is not None:
            return moment
    return None


def _taken(header: Dataset) -> list[str]:
    found = [read_text(header, "AcquisitionDateTime")]
    for event in ("Acquisition", "Content", "Series", "Study"):
        date = read_text(header, f"{event}Date").replace(".", "")  # ACR-NEMA wrote 1997.04.24
        time = read_text(header, f"{event}Time").replace(":", "")
        if date:
            found.append(date + time if len(date) == 8 else date)
    return [text for text in found if text]


_DATE_TIME = re.compile(
    r"(\d{4})(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\d{2})?(?:\.(\d{1,6}))?([+-]\d{4})?"
)


def _end_of_period(text: str, utc_offset: str, site: str) -> datetime | None:
    match = _DATE_TIME.fullmatch(text.strip())
    if match is None:
        return None
    *fields, fraction, own_zone = match.groups()
    year, month, day, hour, minute, second = (None if f is None else int(f) for f in fields)
    try:
        assert year is not None  # noqa: S101 - the pattern asks for it
        month = 12 if month is None else month
        day = calendar.monthrange(year, month)[1] if day is None else day
        moment = datetime(  # noqa: DTZ001 - the zone follows
            year,
            month,
            day,
            23 if hour is None else hour,
            59 if minute is None else minute,
            # 60 is a leap second, which datetime does not know.
            59 if second is None else min(second, 59),
            999_999 if second is None else int((fraction or "0").ljust(6, "0")),
        )
        zone = _zone(own_zone or utc_offset) or ZoneInfo(site)
        return moment.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):  # month 13, year 0, hour 25
        return None


def _zone(offset: str) -> timezone | None:
    match = re.fullmatch(r"([+-])(\d{2})(\d{2})", offset)
    if match is None:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))


def _spacing(header: Dataset) -> tuple[float, float] | None:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if header.get_item(_tag(keyword)) is None:
            continue
        try:
            row, column = (float(part) for part in header.get(keyword) or ())
        except (TypeError, ValueError):
            continue
        if 0 < row < 1000 and 0 < column < 1000:
            return row, column
    return None


def read_text(header: Dataset, keyword: str) -> str:
    """Read a text; of several, the first.

    Plain ASCII is taken from the raw element: pydicom's conversion checks and wraps each value,
    and takes twice as long as reading the file.
    """
    raw = header.get_item(_tag(keyword))
    value: Any = None if raw is None else raw.value
    if isinstance(raw, RawDataElement) and isinstance(value, bytes) and value.isascii():
        return value.decode("ascii").partition("\\")[0].strip().strip("\0")
    value = None if raw is None else header.get(keyword)
    if isinstance(value, MultiValue):
        value = value[0] if value else None
    return "" if value is None else str(value).strip().strip("\0")


def _code_string(text: str) -> str:
    """Keep a code string (PS3.5 6.2: at most 16 capitals, digits, spaces, underscores) or nothing.

    What a stranger wrote there becomes part of a code, so it must not be free text.
    """
    text = text.upper()
    return text.replace(" ", "_") if re.fullmatch(r"[A-Z0-9 _]{1,16}", text) else ""


@cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


def read_whole(header: Dataset, keyword: str) -> int:
    """Read a whole number; 0 where there is none."""
    raw = header.get_item(_tag(keyword))
    if isinstance(raw, RawDataElement) and raw.VR == "US" and len(raw.value or b"") == 2:
        return int.from_bytes(raw.value, "little" if raw.is_little_endian else "big")
    if raw is None:
        return 0
    try:
        return max(0, int(header.get(keyword) or 0))
    except (TypeError, ValueError):
        return 0
