"""Where a voxel of a volume lies is where DICOM says that the slice's pixel lies, tilted or not.

Each phantom holds a function of the place, so that a value tells where it was taken. `ITK` are
answers of SimpleITK 2.5.7 for the same files: of its series reader, and slice by slice where the
gantry was tilted, since that reader puts the step along the normal (up to 17 mm off here).
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from ingest.nifti import Volume
from tests.ingest.films import write_slice
from tests.ingest.test_volumes import build, events

ROWS, COLUMNS, SLICES = 12, 10, 9
CORNER = np.array([-31.5, -42.25, 100.75])
X, Y, Z = np.eye(3)


def turned(axis: str, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


OBLIQUE = turned("x", 20) @ turned("z", 33) @ turned("y", -12)
OVERHEAD = turned("x", -120) @ turned("z", 73) @ turned("y", -112)

CASES = {
    "axial": (X, Y, 2.5 * Z),
    "feet first": (X, Y, -2.5 * Z),
    "prone": (-X, -Y, 2.5 * Z),
    "sagittal": (Y, -Z, 3 * X),
    "coronal": (X, -Z, 1.5 * Y),
    "oblique": (OBLIQUE @ X, OBLIQUE @ Y, OBLIQUE @ (2 * Z)),
    "overhead": (OVERHEAD @ X, OVERHEAD @ Y, OVERHEAD @ (-2 * Z)),
    "tilted": (turned("x", 18) @ X, turned("x", 18) @ Y, 4 * Z),
    "tilted back": (turned("x", -25) @ X, turned("x", -25) @ Y, 5 * Z),
    "tilted aside": (turned("y", 10) @ X, turned("y", 10) @ Y, 3 * Z),
}
TILTS = {"tilted": 18.0, "tilted back": 25.0, "tilted aside": 10.0}

ITK = {
    "oblique": {
        (0, 0, 0): (-31.5, -42.25, 100.75),
        (9, 11, 8): (-31.83885, -39.75801, 120.10394),
    },
    "tilted": {
        (9, 11, 8): (-23.4, -34.92686, 135.12943),
    },
}


def value_at(place: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(place, -1, 0)
    return np.round(300 * np.sin(x / 9) + 200 * np.cos(y / 7) + 150 * np.sin(z / 5) + 1024)


def write_phantom(into: Path, name: str, digits: tuple[int, int] = (8, 6)) -> None:
    """Write slices, numbered as they do not lie; cosines and positions rounded to `digits`."""
    across, down, step = CASES[name]
    row, column = np.mgrid[:ROWS, :COLUMNS][..., None]
    for number, place in enumerate(np.random.default_rng(0).permutation(SLICES)):
        corner = CORNER + place * step
        values = value_at(corner + column * 0.9 * across + row * 0.7 * down)
        write_slice(
            into / f"{number}.dcm",
            0,
            values=values.astype("<u2"),
            InstanceNumber=number,
            ImageOrientationPatient=[f"{c:.{digits[0]}f}" for c in (*across, *down)],
            ImagePositionPatient=[f"{p:.{digits[1]}f}" for p in corner],
            PixelSpacing=[0.7, 0.9],
        )


def volume_of(tmp_path: Path) -> tuple[Volume, bytes]:
    store, _ = build(tmp_path)
    [(_, image)] = events(store)
    volume, path = store.volume(image), store.volume_path(image)
    assert volume is not None
    assert path is not None
    return volume, path.read_bytes()


def lps(affine: np.ndarray, *index: float) -> np.ndarray:
    return (affine @ [*index, 1])[:3] * [-1, -1, 1]


def quaternion_affine(content: bytes) -> np.ndarray:
    """Decode a header's qform by the formulas of nifti1.h."""
    hand, *lengths = struct.unpack_from("<4f", content, 76)
    b, c, d, *offset = struct.unpack_from("<6f", content, 256)
    square = 1 - b * b - c * c - d * d
    a = np.sqrt(square) if square > 1e-7 else 0.0  # as nifti1_io.c takes rounding
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn * lengths * [1, 1, hand]
    affine[:3, 3] = offset
    return affine


@pytest.mark.parametrize("name", CASES)
def test_each_voxel_lies_where_its_slice_says(tmp_path: Path, name: str) -> None:
    write_phantom(tmp_path / "in", name)
    volume, content = volume_of(tmp_path)
    assert volume.values.shape == (SLICES, ROWS, COLUMNS)
    headers = [dcmread(path) for path in (tmp_path / "in").iterdir()]
    for place, values in enumerate(volume.values):
        [header] = [h for h in headers if (h.pixel_array == values + 1024).all()]
        across, down = np.reshape(header.ImageOrientationPatient, (2, 3))
        for column, row in ((0, 0), (COLUMNS - 1, 0), (0, ROWS - 1), (COLUMNS - 1, ROWS - 1)):
            # PS3.3 C.7.6.2.1.1, Equation C.7.6.2.1-1
            truth = header.ImagePositionPatient + across * 0.9 * column + down * 0.7 * row
            assert lps(volume.affine, column, row, place) == pytest.approx(truth, abs=1e-4)
            assert value_at(truth) == pytest.approx(values[row, column] + 1024, abs=1)
    for index, place in ITK.get(name, {}).items():
        assert lps(volume.affine, *index) == pytest.approx(place, abs=1e-4)
    assert volume.tilt_degrees == pytest.approx(TILTS.get(name, 0), abs=1e-3)
    assert volume.spacing_mm == pytest.approx((np.linalg.norm(CASES[name][2]), 0.7, 0.9))
    code, said = struct.unpack_from("<h", content, 252), content[148:228].rstrip(b"\0").decode()
    if name in TILTS:
        assert (code, said) == ((0,), "sheared, as a tilted gantry does: use the sform")
    else:
        assert (code, said) == ((1,), "")
        assert quaternion_affine(content) == pytest.approx(volume.affine, abs=1e-4)


@pytest.mark.parametrize("name", ["oblique", "overhead"])
def test_axes_that_are_square_but_for_rounding_have_a_quaternion_too(
    tmp_path: Path, name: str
) -> None:
    """SimpleITK refuses a matrix whose axes are off by a hundredth of a degree, without one."""
    write_phantom(tmp_path / "in", name, digits=(3, 1))
    volume, content = volume_of(tmp_path)
    assert 0.01 < volume.tilt_degrees < 1
    assert volume.spacing_mm[1:] == pytest.approx((0.7, 0.9))
    square = quaternion_affine(content)
    assert square[:3, :3].T @ square[:3, :3] == pytest.approx(
        np.diag(np.square(volume.spacing_mm[::-1])), abs=1e-5
    )
    corners: list[Any] = [(i, j, k) for i in (0, 9) for j in (0, 11) for k in (0, 8)]
    off = [np.linalg.norm(lps(square, *c) - lps(volume.affine, *c)) for c in corners]
    assert max(off) <= 0.1
