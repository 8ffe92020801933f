"""The bytes are held against the offsets of nifti1.h, not against our own layout of them."""

import struct
from pathlib import Path

import numpy as np
import pytest

from ingest.errors import StoreError
from ingest.nifti import read_volume, write_header

AFFINE = np.array([[-0.5, 0, 0, 10], [0, -0.7, 0.3, 20], [0, 0, 2.5, 5], [0, 0, 0, 1]])
VALUES = (np.arange(24).reshape(2, 3, 4) - 1024).astype("<i2")


def write(path: Path, values: np.ndarray = VALUES, dtype: str = "i2") -> Path:
    with path.open("wb") as out:
        write_header(out, values.shape, dtype, AFFINE)
        out.write(values.tobytes())
    return path


def test_the_header_is_that_of_the_standard(tmp_path: Path) -> None:
    content = write(tmp_path / "a.nii").read_bytes()
    assert struct.unpack_from("<i", content, 0) == (348,)
    assert struct.unpack_from("<8h", content, 40) == (3, 4, 3, 2, 1, 1, 1, 1)
    assert struct.unpack_from("<2h", content, 70) == (4, 16)  # DT_INT16
    assert struct.unpack_from("<3f", content, 80) == pytest.approx((0.5, 0.7, np.hypot(0.3, 2.5)))
    assert struct.unpack_from("<3f", content, 108) == (352, 1, 0)  # where; slope; intercept
    assert content[123] == 2  # mm
    assert struct.unpack_from("<2h", content, 252) == (0, 1)
    rows = struct.unpack_from("<12f", content, 280)
    assert np.reshape(rows, (3, 4)) == pytest.approx(AFFINE[:3])
    assert content[344:352] == b"n+1\0\0\0\0\0"
    assert content[352:] == VALUES.tobytes()


@pytest.mark.parametrize("dtype", ["i2", "f4"])
def test_what_is_written_is_read(tmp_path: Path, dtype: str) -> None:
    values = VALUES.astype(f"<{dtype}")
    volume = read_volume(write(tmp_path / "a.nii", values, dtype))
    assert volume.values.dtype == values.dtype
    assert (volume.values == values).all()
    assert volume.affine == pytest.approx(AFFINE)
    assert volume.spacing_mm == pytest.approx((np.hypot(0.3, 2.5), 0.7, 0.5))
    with pytest.raises(ValueError, match="read-only"):
        volume.values[0, 0, 0] = 1


def test_a_damaged_volume_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.nii").read_bytes()
    cases = {
        whole[:100]: "cut short",
        whole[:-1]: "its size is not what it states",
        whole + b"x": "its size is not what it states",
        whole.replace(b"n+1", b"ni1"): "not written by ingest",
    }
    for content, reason in cases.items():
        (tmp_path / "a.nii").write_bytes(content)
        with pytest.raises(StoreError, match=reason):
            read_volume(tmp_path / "a.nii")
    with pytest.raises(StoreError, match=r"gone\.nii is not there"):
        read_volume(tmp_path / "gone.nii")
