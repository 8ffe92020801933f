"""Keep a volume as an uncompressed NIfTI-1 file (https://nifti.nimh.nih.gov/nifti-1).

NIfTI, since what reads volumes reads it (nibabel, SimpleITK, MONAI, 3D Slicer), since it holds
numbers and geometry and has no field for a patient, and since its body, left uncompressed, is one
plain array behind 352 bytes: a slice is read without the others. The values are in modality units
(Hounsfield units in CT) and not windowed: which window shows a thing is the reader's question, and
8 bits of one would have lost the others. The 8-bit picture beside it is for looking. Values are
16-bit whole numbers, or 32-bit floats where that would lose some: a slope that is no whole number,
as PET has for each slice, or values out of range.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float64, Shaped

from ingest.errors import StoreError

__all__ = ["SUFFIX", "Volume", "read_volume", "write_header"]

SUFFIX = ".nii"
_BODY_AT = 352  # a header of 348 bytes, and four that say that no extension follows
_MM = 2
_SCANNER = 1
_TYPES = {"i2": (4, 16), "f4": (16, 32)}
_LAYOUT = struct.Struct("<i35xB8h3f4h8f3fh2B4f2i80s24s2h6f12f16s4s")


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """Hold one volume; its values are read from the file as they are asked for."""

    values: Shaped[np.ndarray, "slices rows columns"]
    """In modality units (HU in CT), read-only; slices ordered along their normal."""

    affine: Float64[np.ndarray, "4 4"]
    """From (column, row, slice, 1) to mm: to the patient's right, front, head (RAS+)."""

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between slices, rows, columns; along the step, where the gantry was tilted."""
        column, row, step = (
            float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0)
        )
        return step, row, column


def write_header(
    out: BinaryIO, shape: Sequence[int], dtype: str, affine: Float64[np.ndarray, "4 4"]
) -> None:
    """Write what comes before the values: then slices follow, row by row, little endian.

    Args:
        out: at its beginning.
        shape: slices, rows, columns.
        dtype: `i2` or `f4`.
        affine: as in Volume.
    """
    slices, rows, columns = shape
    kind, bits = _TYPES[dtype]
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    header = _LAYOUT.pack(
        *(348, 0),
        *(3, columns, rows, slices, 1, 1, 1, 1),
        *(0.0, 0.0, 0.0),
        *(0, kind, bits, 0),
        *(1.0, *lengths, 0.0, 0.0, 0.0, 0.0),
        *(float(_BODY_AT), 1.0, 0.0),
        *(0, 0, _MM),
        *(0.0, 0.0, 0.0, 0.0),
        *(0, 0),
        *(b"", b""),
        # The matrix alone: a quaternion could not say how a tilted gantry shears.
        *(0, _SCANNER),
        *(0.0,) * 6,
        *affine[:3].ravel(),
        *(b"", b"n+1"),
    )
    out.write(header + bytes(_BODY_AT - len(header)))


def read_volume(path: Path) -> Volume:
    """Open a volume that ingest wrote; nothing but its header is read yet.

    Raises:
        StoreError: it is not there, or none of ours.
    """
    try:
        with path.open("rb") as handle:
            fields = _LAYOUT.unpack(handle.read(_LAYOUT.size))
    except FileNotFoundError:
        raise StoreError(f"the volume {path.name} is not there") from None
    except struct.error:
        raise StoreError(f"the volume {path.name} is damaged: it is cut short") from None
    columns, rows, slices = fields[3:6]
    dtype = next((name for name, (kind, _) in _TYPES.items() if kind == fields[14]), None)
    if fields[0] != 348 or fields[-1] != b"n+1\0" or dtype is None or fields[2] != 3:
        raise StoreError(f"the volume {path.name} is damaged, or not written by ingest")
    if path.stat().st_size != _BODY_AT + slices * rows * columns * np.dtype(dtype).itemsize:
        raise StoreError(f"the volume {path.name} is damaged: its size is not what it states")
    shape = (slices, rows, columns)
    values = np.memmap(path, np.dtype(dtype).newbyteorder("<"), "r", _BODY_AT, shape)
    affine = np.eye(4)
    affine[:3] = np.asarray(fields[-14:-2], np.float64).reshape(3, 4)
    return Volume(values=values, affine=affine)
