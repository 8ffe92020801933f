"""Turn the stored values of one frame into what they stand for, and into brightness.

The standard's pipeline (PS3.3 C.11, PS3.4 N.2): stored values, modality LUT or rescale, VOI LUT or
window, Photometric Interpretation; so that bone is bright in every film, whatever the maker. Where
no window is given, the 0.5th to 99.5th percentile is the window, because one dead pixel or a lead
marker would take the whole range otherwise.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float32, Num, UInt8
from pydicom import Dataset
from pydicom.pixels import (
    apply_color_lut,
    apply_modality_lut,
    apply_voi,
    iter_pixels,
    pixel_array,
)
from pydicom.pixels.utils import get_expected_length

from ingest.frames import find_group, read_number
from ingest.headers import read_whole
from ingest.jpeg_extended import add_decoder
from ingest.objects import PictureError

__all__ = ["frames_of", "grey_of_dicom", "read_values", "stretch", "to_bytes"]

_PERCENTILES = (0.5, 99.5)

add_decoder()


def grey_of_dicom(source: Dataset, frame: int | None = None) -> UInt8[np.ndarray, "h w"]:
    """Give the brightness of one frame, the middle one unless another is named."""
    frame = frames_of(source) // 2 if frame is None else frame
    _prepare(source)
    values = pixel_array(source, index=frame)
    photometric = str(source.get("PhotometricInterpretation", "MONOCHROME2")).strip()
    if photometric == "PALETTE COLOR":
        colours = apply_color_lut(values, source)
        return _luminance(colours, 8 * colours.itemsize)
    if values.ndim == 3:
        return _luminance(values, int(source.get("BitsStored", 8)))
    return _grey(values, source, frame)


def read_values(source: Dataset, frames: Sequence[int]) -> Iterator[Num[np.ndarray, "h w"]]:
    """Give each of the frames in modality units (HU in CT), not windowed."""
    _prepare(source)
    # One by one would look for each frame's place from the beginning.
    for frame, values in zip(frames, iter_pixels(source, indices=list(frames)), strict=True):
        yield _apply_modality(values, source, frame)


def _prepare(source: Dataset) -> None:
    """Name the transfer syntax where the file does not; refuse pixels that are cut short."""
    syntax = source.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        implicit, little = source.original_encoding
        plain = {(True, True): "1.2.840.10008.1.2", (False, True): "1.2.840.10008.1.2.1"}
        source.file_meta.TransferSyntaxUID = plain.get(
            (bool(implicit), bool(little)), "1.2.840.10008.1.2.2"
        )
    elif not syntax.is_compressed and "PixelData" in source:
        present, expected = len(source.PixelData), get_expected_length(source)
        if present < expected:
            raise PictureError(f"pixel data cut short ({present} of {expected} bytes)")


def _grey(values: np.ndarray, source: Dataset, frame: int) -> UInt8[np.ndarray, "h w"]:
    seen = _not_padding(values, source)
    grey = _apply_voi(_apply_modality(values, source, frame), source, frame, seen)
    if str(source.get("PhotometricInterpretation", "")).strip() == "MONOCHROME1":
        grey = 1 - grey
    return to_bytes(np.where(seen, grey, np.float32(0)))


def _luminance(colours: np.ndarray, bits: int) -> UInt8[np.ndarray, "h w"]:
    """Weigh red, green and blue as ITU-R BT.601 does (what Y in YBR_FULL is)."""
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    return to_bytes(colours[..., :3].astype(np.float32) @ weights / np.float32(2**bits - 1))


def _apply_modality(values: np.ndarray, source: Dataset, frame: int) -> Float32[np.ndarray, "h w"]:
    if source.get("ModalityLUTSequence"):
        return apply_modality_lut(values, source).astype(np.float32)
    group = find_group(source, frame, "PixelValueTransformationSequence") or source
    slope, intercept = read_number(group, "RescaleSlope"), read_number(group, "RescaleIntercept")
    # A slope of 0 would erase the image; what is written there is no slope.
    return values.astype(np.float32) * np.float32(slope or 1) + np.float32(intercept or 0)


def _apply_voi(
    values: Float32[np.ndarray, "h w"], source: Dataset, frame: int, seen: Bool[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w"]:
    """Window to 0..1; a window that leaves nothing to see is replaced by the percentiles."""
    if source.get("VOILUTSequence"):
        looked_up = apply_voi(np.rint(values).astype(np.int32), source).astype(np.float32)
        bits = int(source.VOILUTSequence[0].LUTDescriptor[2]) or 8
        shown = np.clip(looked_up / np.float32(2**bits - 1), 0, 1)
    else:
        group = find_group(source, frame, "FrameVOILUTSequence") or source
        center, width = read_number(group, "WindowCenter"), read_number(group, "WindowWidth")
        if center is None or width is None or width <= 0:
            return stretch(values, seen)
        function = str(group.get("VOILUTFunction") or "LINEAR").strip()
        shown = _window(values, center, width, function)
    lost = np.ptp(to_bytes(shown)) == 0 and np.ptp(values) > 0
    return stretch(values, seen) if lost else shown


def _window(
    values: Float32[np.ndarray, "h w"], center: float, width: float, function: str
) -> Float32[np.ndarray, "h w"]:
    """Apply a window as PS3.3 C.11.2.1.2.1 and C.11.2.1.3 write it, with output 0..1."""
    if function == "SIGMOID":
        power = np.clip(-4 * (values - np.float32(center)) / np.float32(width), -60, 60)
        return 1 / (1 + np.exp(power))
    if function == "LINEAR_EXACT" or width < 1:
        return np.clip((values - np.float32(center)) / np.float32(width) + np.float32(0.5), 0, 1)
    if width == 1:
        return (values > center - 0.5).astype(np.float32)
    shifted = (values - np.float32(center - 0.5)) / np.float32(width - 1) + np.float32(0.5)
    return np.clip(shifted, 0, 1)


def stretch(
    values: Float32[np.ndarray, "h w"], seen: Bool[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w"]:
    """Take the range of most of what is seen as 0..1."""
    picked = values[seen & np.isfinite(values)]
    if not picked.size:
        return np.zeros(values.shape, np.float32)
    low, high = np.percentile(picked, _PERCENTILES)
    if high <= low:  # nearly all alike (a mask, a phantom): the whole range instead
        low, high = picked.min(), picked.max()
    if high <= low:
        return np.zeros(values.shape, np.float32)
    return np.clip(np.nan_to_num((values - np.float32(low)) / np.float32(high - low)), 0, 1)


def _not_padding(values: np.ndarray, source: Dataset) -> Bool[np.ndarray, "h w"]:
    """Say which pixels show something (PS3.3 C.7.5.1.1.2)."""
    padding = source.get("PixelPaddingValue")
    if padding is None:
        return np.ones(values.shape, bool)
    limit = source.get("PixelPaddingRangeLimit", padding)
    low, high = sorted((int(padding), int(limit)))
    seen = (values < low) | (values > high)
    return seen if seen.any() else np.ones(values.shape, bool)


def frames_of(source: Dataset) -> int:
    """Give the number of frames, at least one."""
    return read_whole(source, "NumberOfFrames") or 1


def to_bytes(brightness: np.ndarray) -> UInt8[np.ndarray, "h w"]:
    """Make brightness from 0 to 1 eight bits."""
    return np.rint(np.clip(brightness, 0, 1) * 255).astype(np.uint8)
