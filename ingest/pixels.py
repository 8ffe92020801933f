"""Turn a DICOM, PNG or JPEG file into one 8-bit grey picture, or say why it is none.

A picture's long side is at most 512 pixels: image encoders take 224 to 380, a heat map wants some
more, and a store of a million films then takes 100 GB, not 20 TB. Pixel spacing goes into the PNG
(pHYs), for the picture's own pixels. Of several frames the middle one is shown.

`read_images` is what the limited child runs: many files a call, since a call costs more than
reading a header; each file has its own answer, and what refuses one leaves the others be.
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps
from pydicom import Dataset
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID, UID_dictionary

from ingest.brightness import frames_of, grey_of_dicom, read_values, stretch, to_bytes
from ingest.errors import LimitError
from ingest.frames import read_planes
from ingest.headers import ImageHeader, header_to_json, read_header, read_whole
from ingest.limits import Caps
from ingest.objects import PictureError, open_header, open_object

__all__ = ["LONG_SIDE", "Picture", "PictureError", "read_images", "read_picture"]

LONG_SIDE = 512
"""Pixels of a picture's longer side, at most; smaller ones are never enlarged."""

_HEAD_BYTES = 2**16  # hold nearly every header
_PHOTOS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")

Wanted = Literal["header", "film", "picture"]
"""The header alone; a picture, too, unless the object may be part of a volume; in any case."""


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
        return Picture(pixels=_shrink(_grey(source)), header=header)


def read_images(
    task: Literal["describe", "slices"], files: list[dict[str, Any]], caps: dict[str, Any]
) -> tuple[dict[str, Any], bytes]:
    """Answer for each file; this is what the limited child runs.

    To `describe`, a file has `path` and `wanted`; its answer is `{"header": …, "bytes": n}`, and
    `n` bytes of PNG are its part of the content. For `slices`, it has `path`, `frames`, `dtype` and
    `picture`, the frame to show, if any; its answer is `{"bytes": n, "picture": m}`, with `n` bytes
    of values, frame by frame, in modality units, and `m` of PNG; or `{"wider": true}` where one
    does not fit the dtype.

    A file that gives no picture is answered with `{"skipped": reason}`, `{"quarantined": reason}`
    or `{"limit": reason}`.
    """
    told: list[dict[str, Any]] = []
    content: list[bytes] = []
    answer = _describe if task == "describe" else _read_slices
    bounds = Caps(**caps)
    for file in files:
        try:
            with warnings.catch_warnings():
                # pydicom and Pillow warn about each odd header, now and then quoting it.
                warnings.simplefilter("ignore")
                one, parts = answer(bounds, **{**file, "path": Path(file["path"])})
            told.append(one)
            content += parts
        except PictureError as problem:
            told.append({"skipped" if problem.skipped else "quarantined": problem.reason})
        except MemoryError:
            told.append({"limit": "parsing took more memory than its cap"})
        except LimitError as error:
            told.append({"limit": str(error)})
        except OSError as error:
            told.append({"quarantined": f"file that cannot be read ({type(error).__name__})"})
        except Exception as error:  # the text can carry what is in the file
            told.append({"limit": f"the parser failed ({type(error).__name__})"})
    return {"files": told}, b"".join(content)


def _describe(caps: Caps, path: Path, wanted: Wanted) -> tuple[dict[str, Any], list[bytes]]:
    header = _open_header(path, caps)
    if wanted == "header" or (wanted == "film" and header.planes):
        return {"header": header_to_json(header), "bytes": 0}, []
    _, source = _open(path, caps)
    png = _to_png(Picture(pixels=_shrink(_grey(source)), header=header))
    return {"header": header_to_json(header), "bytes": len(png)}, [png]


def _read_slices(
    caps: Caps, path: Path, frames: Sequence[int], dtype: str, picture: int | None
) -> tuple[dict[str, Any], list[bytes]]:
    header, source = _open_again(path, caps)
    if isinstance(source, Image.Image):
        raise PictureError("not a DICOM slice")
    kind = np.dtype(dtype).newbyteorder("<")
    parts: list[bytes] = []
    try:
        for values in read_values(source, frames):
            if values.shape != (header.rows, header.columns):
                raise PictureError("pixels of another size than the header states")
            if kind.kind != "f" and not _fits(values, kind):
                return {"wider": True}, []
            parts.append(values.astype(kind).tobytes())
    except (PictureError, LimitError, MemoryError):
        raise
    except Exception as error:  # each decoder has its own errors
        raise _undecodable(source, error) from None
    size = sum(map(len, parts))
    png = b"" if picture is None else _to_png_of(source, header, picture)
    return {"bytes": size, "picture": len(png)}, [*parts, png]


def _fits(values: np.ndarray, kind: np.dtype) -> bool:
    limits = np.iinfo(kind)
    return values.min() >= limits.min and values.max() <= limits.max


def _open_header(path: Path, caps: Caps) -> ImageHeader:
    """Check the caps and read the header, with the planes of what may be part of a volume."""
    caps.check_file(path)
    with path.open("rb") as handle:
        head = handle.read(_HEAD_BYTES)
    if not head:
        raise PictureError("empty file")
    if head.startswith(_PHOTOS):
        header, photo = _open_photo(path.read_bytes(), caps)
        photo.close()
        return header
    source, pixel_bytes = open_header(path, head, caps)
    header = _read_header(source, caps)
    try:
        planes = read_planes(source, header, frames_of(source))
    except Exception:  # a place that cannot be read is none
        planes = ()
    header = replace(header, planes=planes) if planes else header
    if header.planes and pixel_bytes is not None:
        expected = get_expected_length(source)
        if pixel_bytes < expected:
            raise PictureError(f"pixel data cut short ({pixel_bytes} of {expected} bytes)")
    return header


def _open(path: Path, caps: Caps) -> tuple[ImageHeader, Dataset | Image.Image]:
    """Check the caps, then read the header; pixels are still encoded."""
    caps.check_file(path)
    content = path.read_bytes()
    if not content:
        raise PictureError("empty file")
    if content.startswith(_PHOTOS):
        return _open_photo(content, caps)
    source = open_object(content, caps)
    return _read_header(source, caps), source


_opened: list[tuple[tuple[Path, int, int], tuple[ImageHeader, Dataset | Image.Image]]] = []
"""The file that slices were last read of, if it has several: parsing it again takes seconds."""


def _open_again(path: Path, caps: Caps) -> tuple[ImageHeader, Dataset | Image.Image]:
    stat = path.stat()
    key = path, stat.st_size, stat.st_mtime_ns
    if _opened and _opened[0][0] == key:
        return _opened[0][1]
    _opened.clear()
    header, source = _open(path, caps)
    if isinstance(source, Dataset) and frames_of(source) > 1:
        _opened.append((key, (header, source)))
    return header, source


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


def _read_header(source: Dataset, caps: Caps) -> ImageHeader:
    try:
        header = read_header(source)
        samples = read_whole(source, "SamplesPerPixel") or 1
        bits = read_whole(source, "BitsAllocated") or 16
        frames = frames_of(source)
    except Exception as error:  # values are converted when first read
        raise PictureError(f"DICOM header that cannot be read ({type(error).__name__})") from None
    if not header.rows or not header.columns:
        raise PictureError("pixel data without rows and columns")
    _check_size(header.rows, header.columns, frames, samples * bits, caps)
    return header


def _check_size(rows: int, columns: int, frames: int, bits: int, caps: Caps) -> None:
    if rows * columns > caps.pixels:
        raise LimitError(
            f"an image of {columns} x {rows} pixels is over the cap of {caps.pixels} pixels"
        )
    size = rows * columns * frames * bits // 8
    if size > caps.decoded_bytes:
        raise LimitError(f"an image of {size} bytes decoded is over {caps.decoded_bytes} bytes")


def _grey(source: Dataset | Image.Image, frame: int | None = None) -> UInt8[np.ndarray, "h w"]:
    try:
        if isinstance(source, Image.Image):
            return _grey_photo(source)
        return grey_of_dicom(source, frame)
    except (PictureError, MemoryError):
        raise
    except Exception as error:  # each decoder has its own errors
        raise _undecodable(source, error) from None


def _undecodable(source: Dataset | Image.Image, error: Exception) -> PictureError:
    coded = "" if isinstance(source, Image.Image) else f"{_coding(source)}, "
    return PictureError(f"pixels that cannot be decoded ({coded}{type(error).__name__})")


def _grey_photo(photo: Image.Image) -> UInt8[np.ndarray, "h w"]:
    photo = ImageOps.exif_transpose(photo)
    if photo.mode.startswith(("I", "F")):  # 16 bits and more: the range in use is anyone's guess
        values = np.asarray(photo).astype(np.float32)
        return to_bytes(stretch(values, np.ones(values.shape, bool)))
    if photo.mode in ("RGBA", "LA", "PA") or "transparency" in photo.info:
        photo = photo.convert("RGBA")
        photo = Image.alpha_composite(Image.new("RGBA", photo.size, "black"), photo)
    return np.asarray(photo.convert("L"))


def _coding(source: Dataset) -> str:
    """Name the transfer syntax and depth: which decoder is missing, say 12-bit JPEG Extended."""
    syntax = UID(str(source.file_meta.get("TransferSyntaxUID", "")))
    name = syntax.name if syntax in UID_dictionary else "unknown transfer syntax"
    return f"{name}, {source.get('BitsStored')} bits"


def _shrink(pixels: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    rows, columns = pixels.shape
    if max(rows, columns) <= LONG_SIDE:
        return pixels
    share = LONG_SIDE / max(rows, columns)
    size = (max(1, round(columns * share)), max(1, round(rows * share)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def _to_png_of(source: Dataset, header: ImageHeader, frame: int) -> bytes:
    return _to_png(Picture(pixels=_shrink(_grey(source, frame)), header=header))


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
