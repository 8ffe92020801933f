"""Keep a volume as an uncompressed NIfTI-1 file (https://nifti.nimh.nih.gov/nifti-1).

NIfTI, since what reads volumes reads it (nibabel, SimpleITK, MONAI, 3D Slicer), since it holds
numbers and geometry and has no field for a patient, and since its body, left uncompressed, is one
plain array behind 352 bytes: a slice is read without the others. The values are in modality units
(Hounsfield units in CT) and not windowed: which window shows a thing is the reader's question, and
8 bits of one would have lost the others. The 8-bit picture beside it is for looking. Values are
16-bit whole numbers, or 32-bit floats where that would lose some: a slope that is no whole number,
as PET has for each slice, or values out of range.

The matrix (sform) is that of the slices as they lie. Where its axes are square but for rounding,
the quaternion (qform) says the same. A tilted gantry shears: no quaternion can say that, so there
is none, and `descrip` says why. Readers that know square axes alone (SimpleITK, ITK) then refuse
the file, where they would have put its far slices centimetres off; nibabel and MONAI read it.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
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
_STRAIGHT_MM = 0.1  # positions are rounded to a tenth of a millimetre now and then
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

    @property
    def tilt_degrees(self) -> float:
        """How far the step from slice to slice leans from the slices' normal: a gantry's tilt.

        Where it is not near 0, slices are shifted against each other, and distances between them
        are those along the step; what needs square axes must shift them back by the affine.
        """
        across, down, step = self.affine[:3, :3].T
        normal = np.cross(across, down)
        beside = np.linalg.norm(np.cross(normal, step))
        return float(np.degrees(np.arctan2(beside, abs(normal @ step))))


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
    straight = _straighten(affine, shape)
    says = b"" if straight is not None else b"sheared, as a tilted gantry does: use the sform"
    hand, *quaternion = (1.0, 0.0, 0.0, 0.0) if straight is None else _quaternion(straight)
    offset = (0.0, 0.0, 0.0) if straight is None else affine[:3, 3]
    header = _LAYOUT.pack(
        *(348, 0),
        *(3, columns, rows, slices, 1, 1, 1, 1),
        *(0.0, 0.0, 0.0),
        *(0, kind, bits, 0),
        *(hand, *lengths, 0.0, 0.0, 0.0, 0.0),
        *(float(_BODY_AT), 1.0, 0.0),
        *(0, 0, _MM),
        *(0.0, 0.0, 0.0, 0.0),
        *(0, 0),
        *(says, b""),
        *(0 if straight is None else _SCANNER, _SCANNER),
        *quaternion,
        *offset,
        *affine[:3].ravel(),
        *(b"", b"n+1"),
    )
    out.write(header + bytes(_BODY_AT - len(header)))


def _straighten(
    affine: Float64[np.ndarray, "4 4"], shape: Sequence[int]
) -> Float64[np.ndarray, "3 3"] | None:
    """Give the nearest square axes of length 1, by column; None if a voxel would move too far."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not lengths.all():  # one slice alone has no step
        return None
    left, _, right = np.linalg.svd(affine[:3, :3] / lengths)
    square = left @ right
    slices, rows, columns = shape
    far = np.array(list(product((0, columns - 1), (0, rows - 1), (0, slices - 1)))).T
    moved = np.linalg.norm((square * lengths - affine[:3, :3]) @ far, axis=0)
    return square if moved.max() <= _STRAIGHT_MM else None


def _quaternion(axes: Float64[np.ndarray, "3 3"]) -> tuple[float, float, float, float]:
    """Give qfac and b, c, d of nifti1.h, of which a >= 0 follows."""
    hand = 1.0 if np.linalg.det(axes) > 0 else -1.0
    turn = axes * [1, 1, hand]
    # Each row holds a, b, c, d, times one of them; the longest is the most exact.
    trace = np.trace(turn)
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = turn
    rows = np.array(
        [
            [1 + trace, zy - yz, xz - zx, yx - xy],
            [zy - yz, 1 + 2 * xx - trace, xy + yx, xz + zx],
            [xz - zx, xy + yx, 1 + 2 * yy - trace, yz + zy],
            [yx - xy, xz + zx, yz + zy, 1 + 2 * zz - trace],
        ]
    )
    longest = rows[np.argmax(np.linalg.norm(rows, axis=1))]
    _, b, c, d = longest / np.linalg.norm(longest) * (-1 if longest[0] < 0 else 1)
    return hand, float(b), float(c), float(d)


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
