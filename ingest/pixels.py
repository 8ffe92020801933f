"""Turn a DICOM, PNG or JPEG file into one 8-bit grey picture, or say why it is none.

Brightness follows the standard's pipeline (PS3.3 C.11, PS3.4 N.2): stored values, modality LUT or
rescale, VOI LUT or window, Photometric Interpretation; so that bone is bright in every film,
whatever the maker. Where no window is given, the 0.5th to 99.5th percentile is the window, because
one dead pixel or a lead marker would take the whole range otherwise.

A picture's long side is at most 512 pixels: image encoders take 224 to 380, a heat map wants some
more, and a store of a million films then takes 100 GB, not 20 TB. Pixel spacing goes into the PNG
(pHYs), for the picture's own pixels.
"""

import io
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Bool, Float32, UInt8
from PIL import Image, ImageOps
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, pixel_array
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, UID_dictionary

from ingest.errors import LimitError
from ingest.headers import ImageHeader, object_kind, read_header
from ingest.limits import Caps

__all__ = ["LONG_SIDE", "Picture", "PictureError", "describe_image", "read_picture"]

LONG_SIDE = 512
"""Pixels of a picture's longer side, at most; smaller ones are never enlarged."""

_PERCENTILES = (0.5, 99.5)
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


class PictureError(ValueError):
    """A file that gives no picture; `skipped` where that is as it should be (a report, a plan)."""

    def __init__(self, reason: str, *, skipped: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.skipped = skipped


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """Hold one decoded image."""

    pixels: UInt8[np.ndarray, "h w"]
    """Brightness: 0 is black; air is dark and bone bright. Of several frames, the middle one."""

    header: ImageHeader


def read_picture(path: Path, caps: Caps | None = None) -> Picture:
    """Decode a file in this process; for files that can be trusted, else see LimitedChild.

    Raises:
        PictureError: it is no image, has no pixels, or cannot be decoded.
        LimitError: it claims more than the caps allow.
    """
    caps = caps or Caps()
    with warnings.catch_warnings():
        # pydicom and Pillow warn about each odd header, now and then quoting it.
        warnings.simplefilter("ignore")
        header, source = _open(path, caps)
        return Picture(pixels=_shrink(_grey(source, header)), header=header)


def describe_image(path: str, decode: bool, caps: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Read a file's header and, if wanted, decode it to PNG; what the limited child runs.

    Gives `{"header": …}`, or `{"skipped": reason}` or `{"quarantined": reason}`, and the PNG.
    """
    try:
        if decode:
            picture = read_picture(Path(path), Caps(**caps))
            return {"header": vars(picture.header)}, _to_png(picture)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header, _ = _open(Path(path), Caps(**caps))
        return {"header": vars(header)}, b""
    except PictureError as problem:
        return {"skipped" if problem.skipped else "quarantined": problem.reason}, b""


def _open(path: Path, caps: Caps) -> tuple[ImageHeader, Dataset | Image.Image]:
    """Check the caps, then read the header; pixels are still encoded."""
    caps.check_file(path)
    content = path.read_bytes()
    if not content:
        raise PictureError("empty file")
    if content.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        return _open_photo(content, caps)
    return _open_dicom(content, caps)


def _open_photo(content: bytes, caps: Caps) -> tuple[ImageHeader, Image.Image]:
    try:
        photo = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
    except Image.DecompressionBombError:
        raise LimitError(f"an image is over the cap of {caps.pixels} pixels") from None
    except Exception as error:  # Pillow's plugins raise what they like
        raise PictureError(f"not an image that can be read ({type(error).__name__})") from None
    columns, rows = photo.size
    _check_size(rows, columns, 1, 8 * len(photo.getbands()), caps)
    return ImageHeader(rows=rows, columns=columns), photo


def _open_dicom(content: bytes, caps: Caps) -> tuple[ImageHeader, Dataset]:
    marked = content[128:132] == b"DICM"
    try:
        _check_deflated(content, caps)
        source = pydicom.dcmread(io.BytesIO(content), force=True)
        kind = object_kind(source)
        known = "SOPClassUID" in source or "Rows" in source
    except (LimitError, MemoryError):
        raise
    except InvalidDicomError:
        raise PictureError("not an image") from None
    except Exception as error:  # pydicom raises a dozen kinds on broken bytes
        reason = "DICOM that cannot be read" if marked else "not an image"
        raise PictureError(f"{reason} ({type(error).__name__})") from None
    if not marked and not known:  # any bytes pass for a DICOM file without preamble
        raise PictureError("not an image")
    if kind is not None:
        raise PictureError(f"DICOM {kind}", skipped=True)
    if not any(keyword in source for keyword in _PIXELS):
        raise PictureError("no pixel data")
    try:
        header = read_header(source)
        samples, bits = int(source.get("SamplesPerPixel", 1)), int(source.get("BitsAllocated", 16))
        frames = _frames(source)
    except Exception as error:  # values are converted when first read
        raise PictureError(f"DICOM header that cannot be read ({type(error).__name__})") from None
    if not header.rows or not header.columns:
        raise PictureError("pixel data without rows and columns")
    _check_size(header.rows, header.columns, frames, samples * bits, caps)
    return header, source


def _check_deflated(content: bytes, caps: Caps) -> None:
    """Inflate no further than the cap, before pydicom inflates all of it."""
    if content[128:132] != b"DICM" or DeflatedExplicitVRLittleEndian.encode() not in content:
        return
    stream = io.BytesIO(content)
    read_preamble(stream, force=False)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    packed, size = stream.read(), 0
    while packed and not inflate.eof:
        size += len(inflate.decompress(packed, 2**22))
        packed = inflate.unconsumed_tail
        if size > min(caps.decoded_bytes, 4 * caps.file_bytes):
            raise LimitError("a deflated DICOM file inflates to more than the cap")


def _check_size(rows: int, columns: int, frames: int, bits: int, caps: Caps) -> None:
    if rows * columns > caps.pixels:
        raise LimitError(
            f"an image of {columns} x {rows} pixels is over the cap of {caps.pixels} pixels"
        )
    size = rows * columns * frames * bits // 8
    if size > caps.decoded_bytes:
        raise LimitError(f"an image of {size} bytes decoded is over {caps.decoded_bytes} bytes")


def _grey(source: Dataset | Image.Image, header: ImageHeader) -> UInt8[np.ndarray, "h w"]:
    try:
        return _grey_photo(source) if isinstance(source, Image.Image) else _grey_dicom(source)
    except (PictureError, MemoryError):
        raise
    except Exception as error:  # each decoder has its own errors
        coded = "" if isinstance(source, Image.Image) else f"{_coding(source)}, "
        raise PictureError(
            f"pixels that cannot be decoded ({coded}{type(error).__name__})"
        ) from None


def _grey_photo(photo: Image.Image) -> UInt8[np.ndarray, "h w"]:
    photo = ImageOps.exif_transpose(photo)
    if photo.mode.startswith(("I", "F")):  # 16 bits and more: the range in use is anyone's guess
        values = np.asarray(photo).astype(np.float32)
        return _to_bytes(_stretch(values, np.ones(values.shape, bool)))
    if photo.mode in ("RGBA", "LA", "PA") or "transparency" in photo.info:
        photo = photo.convert("RGBA")
        photo = Image.alpha_composite(Image.new("RGBA", photo.size, "black"), photo)
    return np.asarray(photo.convert("L"))


def _grey_dicom(source: Dataset) -> UInt8[np.ndarray, "h w"]:
    frame = _frames(source) // 2
    implicit, little = source.original_encoding
    syntax = source.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        plain = {(True, True): "1.2.840.10008.1.2", (False, True): "1.2.840.10008.1.2.1"}
        source.file_meta.TransferSyntaxUID = plain.get(
            (bool(implicit), bool(little)), "1.2.840.10008.1.2.2"
        )
    elif not syntax.is_compressed and "PixelData" in source:
        present, expected = len(source.PixelData), get_expected_length(source)
        if present < expected:
            raise PictureError(f"pixel data cut short ({present} of {expected} bytes)")
    values = pixel_array(source, index=frame)
    photometric = str(source.get("PhotometricInterpretation", "MONOCHROME2")).strip()
    if photometric == "PALETTE COLOR":
        colours = apply_color_lut(values, source)
        return _luminance(colours, 8 * colours.itemsize)
    if values.ndim == 3:
        return _luminance(values, int(source.get("BitsStored", 8)))
    seen = _not_padding(values, source)
    grey = _apply_voi(_apply_modality(values, source, frame), source, frame, seen)
    if photometric == "MONOCHROME1":
        grey = 1 - grey
    return _to_bytes(np.where(seen, grey, np.float32(0)))


def _coding(source: Dataset) -> str:
    """Name the transfer syntax and depth: which decoder is missing, say 12-bit JPEG Extended."""
    syntax = UID(str(source.file_meta.get("TransferSyntaxUID", "")))
    name = syntax.name if syntax in UID_dictionary else "unknown transfer syntax"
    return f"{name}, {source.get('BitsStored')} bits"


def _luminance(colours: np.ndarray, bits: int) -> UInt8[np.ndarray, "h w"]:
    """Weigh red, green and blue as ITU-R BT.601 does (what Y in YBR_FULL is)."""
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    return _to_bytes(colours[..., :3].astype(np.float32) @ weights / np.float32(2**bits - 1))


def _apply_modality(values: np.ndarray, source: Dataset, frame: int) -> Float32[np.ndarray, "h w"]:
    if source.get("ModalityLUTSequence"):
        return apply_modality_lut(values, source).astype(np.float32)
    group = _frame_group(source, frame, "PixelValueTransformationSequence")
    slope, intercept = _number(group, "RescaleSlope"), _number(group, "RescaleIntercept")
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
        group = _frame_group(source, frame, "FrameVOILUTSequence")
        center, width = _number(group, "WindowCenter"), _number(group, "WindowWidth")
        if center is None or width is None or width <= 0:
            return _stretch(values, seen)
        function = str(group.get("VOILUTFunction") or "LINEAR").strip()
        shown = _window(values, center, width, function)
    lost = np.ptp(_to_bytes(shown)) == 0 and np.ptp(values) > 0
    return _stretch(values, seen) if lost else shown


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


def _stretch(
    values: Float32[np.ndarray, "h w"], seen: Bool[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w"]:
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


def _frame_group(source: Dataset, frame: int, name: str) -> Dataset:
    """Find an enhanced object's functional group for the frame; else the object itself."""
    per_frame = source.get("PerFrameFunctionalGroupsSequence") or []
    shared = source.get("SharedFunctionalGroupsSequence") or []
    for group in (*per_frame[frame : frame + 1], *shared[:1]):
        if group.get(name):
            return group[name].value[0]
    return source


def _number(group: Dataset, keyword: str) -> float | None:
    """Read a number; of several windows the first, which the maker put first."""
    value = group.get(keyword)
    try:
        number = float(value[0] if isinstance(value, list | pydicom.multival.MultiValue) else value)
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None


def _frames(source: Dataset) -> int:
    return max(1, int(source.get("NumberOfFrames") or 1))


def _to_bytes(brightness: np.ndarray) -> UInt8[np.ndarray, "h w"]:
    return np.rint(np.clip(brightness, 0, 1) * 255).astype(np.uint8)


def _shrink(pixels: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    rows, columns = pixels.shape
    if max(rows, columns) <= LONG_SIDE:
        return pixels
    share = LONG_SIDE / max(rows, columns)
    size = (max(1, round(columns * share)), max(1, round(rows * share)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def _to_png(picture: Picture) -> bytes:
    out = io.BytesIO()
    header = picture.header
    extra: dict[str, Any] = {}
    if header.spacing_mm is not None:
        row_mm = header.spacing_mm[0] * header.rows / picture.pixels.shape[0]
        column_mm = header.spacing_mm[1] * header.columns / picture.pixels.shape[1]
        extra["dpi"] = (25.4 / column_mm, 25.4 / row_mm)
    # Level 6 gives films of the same size (to 0.3 %) and takes up to twice as long.
    Image.fromarray(picture.pixels).save(out, "PNG", compress_level=4, **extra)
    return out.getvalue()
