"""Read where each frame of an image object lies, if it may be part of a volume.

A CT, MR or PET slice says so in its own attributes (PS3.3 C.7.6.2), an enhanced object frame by
frame in its functional groups (C.7.6.16). What has colours, or no place in space, has none.
"""

import math
from typing import Any

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from ingest.headers import ImageHeader, read_text, read_whole
from ingest.planes import Plane

__all__ = ["find_group", "read_number", "read_planes"]

_ORIENTATION = Tag("ImageOrientationPatient")
_PER_FRAME = Tag("PerFrameFunctionalGroupsSequence")
_FARTHEST_MM = 100_000.0
_MOST_FRAMES = 20_000  # of an object whose functional groups are read

_PARTS = (
    *("FrameOfReferenceUID", "EchoTime", "EchoNumbers", "TemporalPositionIdentifier"),
    *("DiffusionBValue", "ConvolutionKernel"),
)
_PHASES = (
    *("AcquisitionNumber", "SequenceName", "TriggerTime", "AcquisitionDateTime"),
    *("AcquisitionTime", "ContentTime"),
)
_FRAME_PARTS = (
    ("FrameContentSequence", "StackID"),
    ("FrameContentSequence", "TemporalPositionIndex"),
    ("MREchoSequence", "EffectiveEchoTime"),
    ("MRDiffusionSequence", "DiffusionBValue"),
    ("MRImageFrameTypeSequence", "FrameType"),
    ("CTImageFrameTypeSequence", "FrameType"),
    ("PETFrameTypeSequence", "FrameType"),
    ("CTReconstructionSequence", "ConvolutionKernel"),
)
_FRAME_PHASES = (
    ("FrameContentSequence", "FrameAcquisitionNumber"),
    ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    ("FrameContentSequence", "FrameAcquisitionDateTime"),
)


def read_planes(source: Dataset, header: ImageHeader, frames: int) -> tuple[Plane, ...]:
    """Give a plane for each frame, or nothing where one of them has no place in space."""
    enhanced = source.get_item(_PER_FRAME) is not None
    if not enhanced and source.get_item(_ORIENTATION) is None:
        return ()
    grey = read_text(source, "PhotometricInterpretation").startswith("MONOCHROME")
    if not grey or read_whole(source, "SamplesPerPixel") > 1:
        return ()
    if enhanced:
        groups = source.get("PerFrameFunctionalGroupsSequence") or []
        if len(groups) != frames or frames > _MOST_FRAMES:
            return ()
        found = [_plane_of_frame(source, header, frame) for frame in range(frames)]
        return () if None in found else tuple(filter(None, found))
    plane = _plane_of_slice(source, header) if frames == 1 else None
    return (plane,) if plane else ()


def find_group(source: Dataset, frame: int, name: str) -> Dataset | None:
    """Find an enhanced object's functional group for a frame: the frame's own, else the shared."""
    per_frame = source.get("PerFrameFunctionalGroupsSequence") or []
    shared = source.get("SharedFunctionalGroupsSequence") or []
    for group in (*per_frame[frame : frame + 1], *shared[:1]):
        if group.get(name):
            return group[name].value[0]
    return None


def read_number(group: Dataset, keyword: str) -> float | None:
    """Read a number; of several the first, which the maker put first."""
    value: Any = group.get(keyword)
    if not isinstance(value, int | float | str) and hasattr(value, "__getitem__"):
        value = value[0] if len(value) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _plane_of_slice(source: Dataset, header: ImageHeader) -> Plane | None:
    return _plane(
        header,
        orientation=_numbers(source, "ImageOrientationPatient", 6),
        position=_numbers(source, "ImagePositionPatient", 3),
        spacing=_numbers(source, "PixelSpacing", 2),
        parts=(_whole_text(source, "ImageType"), *(read_text(source, name) for name in _PARTS)),
        phases=tuple(read_text(source, name) for name in _PHASES),
        number=_signed(source, "InstanceNumber"),
        whole=_is_whole(source, source),
    )


def _plane_of_frame(source: Dataset, header: ImageHeader, frame: int) -> Plane | None:
    def group(name: str) -> Dataset:
        return find_group(source, frame, name) or Dataset()

    return _plane(
        header,
        orientation=_numbers(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        position=_numbers(group("PlanePositionSequence"), "ImagePositionPatient", 3),
        spacing=_numbers(group("PixelMeasuresSequence"), "PixelSpacing", 2),
        parts=(
            _whole_text(source, "ImageType"),
            read_text(source, "FrameOfReferenceUID"),
            *(_whole_text(group(name), keyword) for name, keyword in _FRAME_PARTS),
        ),
        phases=tuple(_whole_text(group(name), keyword) for name, keyword in _FRAME_PHASES),
        number=frame,
        whole=_is_whole(source, group("PixelValueTransformationSequence")),
    )


def _plane(
    header: ImageHeader,
    *,
    orientation: tuple[float, ...] | None,
    position: tuple[float, ...] | None,
    spacing: tuple[float, ...] | None,
    parts: tuple[str, ...],
    phases: tuple[str, ...],
    number: int,
    whole: bool,
) -> Plane | None:
    if orientation is None or position is None or spacing is None:
        return None
    across, down = orientation[:3], orientation[3:]
    straight = abs(math.hypot(*across) - 1) < 0.01 and abs(math.hypot(*down) - 1) < 0.01
    square = abs(sum(a * b for a, b in zip(across, down, strict=True))) < 0.01
    near = max(map(abs, position)) < _FARTHEST_MM
    if not (straight and square and near and all(0 < distance < 1000 for distance in spacing)):
        return None
    return Plane(
        orientation=orientation,
        position=position,
        spacing_mm=(spacing[0], spacing[1]),
        rows=header.rows,
        columns=header.columns,
        parts=parts,
        phases=phases,
        number=number,
        whole=whole,
    )


def _is_whole(source: Dataset, rescale: Dataset) -> bool:
    """Say whether values in modality units are whole numbers."""
    if not read_whole(source, "BitsStored"):
        return False  # float pixels state no bits
    slope, intercept = (
        read_number(rescale, "RescaleSlope"),
        read_number(rescale, "RescaleIntercept"),
    )
    return (slope or 1.0).is_integer() and (intercept or 0.0).is_integer()


def _numbers(source: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Read decimal strings; straight from the raw element, as `read_text` does."""
    raw = source.get_item(keyword)
    value: Any = None if raw is None else raw.value
    try:
        if isinstance(raw, RawDataElement) and isinstance(value, bytes):
            value = value.decode("ascii").strip("\0 ").split("\\")
        elif raw is not None:
            value = source.get(keyword)
        numbers = tuple(float(part) for part in value)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _whole_text(source: Dataset, keyword: str) -> str:
    """Read a text with all its values."""
    raw = source.get_item(keyword)
    value: Any = None if raw is None else raw.value
    if isinstance(raw, RawDataElement) and raw.VR == "CS" and isinstance(value, bytes):
        return value.decode("ascii", "replace").strip()
    value = None if raw is None else source.get(keyword)
    if value is None:
        return ""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return str(value).strip()
    return "\\".join(str(part).strip() for part in value)


def _signed(source: Dataset, keyword: str) -> int:
    try:
        return int(read_text(source, keyword) or 0)
    except ValueError:
        return 0
