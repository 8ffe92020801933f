"""Open a DICOM object: its header alone, or all of it; strangers' bytes, so caps are held first.

A header is read by pydicom's own parser of data elements, without what `dcmread` builds around it,
which takes twice as long. It stops before the pixels, and only the file's beginning is read where
that holds the whole header.
"""

import io
import zlib
from pathlib import Path

from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_partial, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from ingest.errors import LimitError
from ingest.headers import object_kind, read_text
from ingest.limits import Caps

__all__ = ["PIXELS", "PictureError", "open_header", "open_object"]

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_FIRST_PIXEL_TAG = 0x7FE00008
_FIRST_AFTER_META = 0x00030000
_MOST_ELEMENTS = 20_000


class PictureError(ValueError):
    """A file that gives no picture; `skipped` where that is as it should be (a report, a plan)."""

    def __init__(self, reason: str, *, skipped: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.skipped = skipped


def open_header(path: Path, head: bytes, caps: Caps) -> tuple[Dataset, int | None]:
    """Read an image object's elements up to its pixels, which are not read.

    Gives them, and how many bytes of pixels there are where they are not compressed.

    Args:
        path: the file.
        head: its first bytes, at least 132 where it has them.
        caps: what a deflated file may inflate to.

    Raises:
        PictureError: it is no DICOM, or of a kind that is no picture, or has no pixels.
        LimitError: it claims more than the caps allow.
    """
    try:
        found = _read_header(head)
    except (LimitError, MemoryError):
        raise
    except Exception:  # cut in an element, or an odd file: reading all of it decides
        found = None
    if found is None:
        return open_object(path.read_bytes(), caps), None
    source, place, plain = found
    _check_kind(source, marked=True)
    return source, path.stat().st_size - place if plain else None


def open_object(content: bytes, caps: Caps) -> Dataset:
    """Read a whole image object; its pixels stay encoded.

    Raises:
        PictureError: it is no DICOM, or of a kind that is no picture, or has no pixels.
        LimitError: it claims more than the caps allow.
    """
    marked = content[128:132] == b"DICM"
    try:
        _check_deflated(content, caps)
        source = read_partial(io.BytesIO(content), stop_when=_Stop(pixels=False), force=True)
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
    _check_kind(source, marked=marked)
    if not any(keyword in source for keyword in PIXELS):
        raise PictureError("no pixel data")
    return source


def _check_kind(source: Dataset, *, marked: bool) -> None:
    try:
        kind = object_kind(source)
    except Exception as error:  # values are converted when first read
        reason = "DICOM that cannot be read" if marked else "not an image"
        raise PictureError(f"{reason} ({type(error).__name__})") from None
    if kind is not None:
        raise PictureError(f"DICOM {kind}", skipped=True)


def _read_header(content: bytes) -> tuple[Dataset, int, bool] | None:
    """Give the elements before the pixels, where these begin, and whether they are uncompressed.

    None where the pixels are not come to, or the encoding is none of the standard's plain ones.
    """
    if content[128:132] != b"DICM":
        return None
    stream = io.BytesIO(content)
    stream.seek(132)
    meta = read_dataset(stream, False, True, stop_when=_after_meta)
    syntax = read_text(meta, "TransferSyntaxUID")
    if not syntax or syntax == DeflatedExplicitVRLittleEndian:
        return None
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    stop = _Stop(pixels=True)
    source = read_dataset(stream, implicit, little, stop_when=stop)
    if not stop.at_pixels:
        return None
    plain = syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
    return source, stream.tell() + (8 if implicit else 12), plain


class _Stop:
    """Stop before the pixels, and refuse more elements than any header has."""

    def __init__(self, *, pixels: bool) -> None:
        self.at_pixels = False
        self._pixels = pixels
        self._seen = 0

    def __call__(self, tag: BaseTag, _vr: str | None, _length: int) -> bool:
        self._seen += 1
        if self._seen > _MOST_ELEMENTS:
            raise LimitError(f"a DICOM file has more than {_MOST_ELEMENTS} elements")
        # As whole numbers: a tag's own comparison takes longer than parsing its element.
        self.at_pixels = int.__ge__(tag, _FIRST_PIXEL_TAG)
        return self._pixels and self.at_pixels


def _after_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int.__ge__(tag, _FIRST_AFTER_META)


def _check_deflated(content: bytes, caps: Caps) -> None:
    """Inflate no further than the cap, before pydicom inflates all of it."""
    if content[128:132] != b"DICM" or DeflatedExplicitVRLittleEndian.encode() not in content:
        return
    stream = io.BytesIO(content)
    read_preamble(stream, force=False)
    meta = read_dataset(stream, False, True, stop_when=_after_meta)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    packed, size = stream.read(), 0
    while packed and not inflate.eof:
        size += len(inflate.decompress(packed, 2**22))
        packed = inflate.unconsumed_tail
        # No larger than a plain file may be: inflating more takes seconds before it is refused.
        if size > min(caps.decoded_bytes, caps.file_bytes):
            raise LimitError("a deflated DICOM file inflates to more than the cap")
