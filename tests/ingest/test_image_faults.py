"""Files that are cut, that swell or that lie: each refused by name, soon, in little memory."""

import io
import json
import struct
import time
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from ingest.build import ingest
from ingest.image_store import ImageStore
from ingest.limits import Caps
from ingest.pixels import read_images
from tests.ingest.films import film_dataset, land, write_film, write_slice
from tests.ingest.test_pixels import png_header

SMALL = np.arange(64, dtype="<u2").reshape(8, 8) * 60


def describe(*paths: Path) -> tuple[list[dict[str, Any]], bytes]:
    asked = [{"path": str(path), "wanted": "picture"} for path in paths]
    told, content = read_images("describe", asked, asdict(Caps()))
    return told["files"], content


def encoded(kind: str) -> bytes:
    film, out = film_dataset(SMALL), io.BytesIO()
    if kind == "RLE":
        film.compress(RLELossless, generate_instance_uid=False)
    if kind == "deflated":
        film.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    film.save_as(out, enforce_file_format=True)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["plain", "RLE", "deflated"])
def test_a_film_cut_at_any_place_is_refused_or_whole(tmp_path: Path, kind: str) -> None:
    whole, film = encoded(kind), tmp_path / "a.dcm"
    film.write_bytes(whole)
    [[told], picture] = describe(film)
    assert "header" in told
    reasons: set[str] = set()
    for place in range(len(whole)):
        film.write_bytes(whole[:place])
        [[told], found] = describe(film)
        if "header" in told:  # nothing of the picture was lost: what follows its last byte
            assert found == picture, place
            assert kind != "plain", place
            assert place > len(whole) - 30, place
        else:
            reasons.add(told.get("quarantined", f"not quarantined: {told}"))
    known = (
        "empty file",
        "not an image",
        "no pixel data",
        "pixel data cut",
        "DICOM",
        "pixels that",
    )
    assert [reason for reason in reasons if not reason.startswith(known)] == []


def test_a_slice_cut_at_any_place_is_refused_by_its_header_or_its_pixels(tmp_path: Path) -> None:
    whole = write_slice(tmp_path / "a.dcm", 0).read_bytes()
    film = tmp_path / "a.dcm"
    for place in range(len(whole)):
        film.write_bytes(whole[:place])
        asked = [{"path": str(film), "wanted": "film"}]
        told, _ = read_images("describe", asked, asdict(Caps()))
        assert "quarantined" in told["files"][0], place


def deflated_bomb(path: Path) -> Path:
    """640 MiB of nothing in 640 kB: over the cap, and no more, for its writing takes time, too."""
    plain = encoded("deflated")
    length = struct.unpack_from("<I", plain, 140)[0]
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = bytes(2**24)
    packed = [deflate.compress(block) for _ in range(40)]
    path.write_bytes(plain[: 144 + length] + b"".join(packed) + deflate.flush())
    return path


def nested(path: Path, depth: int) -> Path:
    """Private sequences in private sequences, each of undefined length."""
    whole = encoded("plain")
    place = whole.index(struct.pack("<HH", 0x0028, 0x0002))
    begin = struct.pack("<HH2sHI", 0x0009, 0x1001, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    path.write_bytes(whole[:place] + (begin + item) * depth + whole[place:])
    return path


def many_elements(path: Path, number: int) -> Path:
    whole = encoded("plain")
    place = whole.index(struct.pack("<HH", 0x0028, 0x0002))
    ones = b"".join(struct.pack("<HH2sH", 0x0019, n % 65536, b"LO", 0) for n in range(number))
    path.write_bytes(whole[:place] + ones + whole[place:])
    return path


def write_faults(place: Path) -> dict[str, str]:
    """Write the files; give what is to be said of each."""
    place.mkdir()
    deflated_bomb(place / "bomb.dcm")
    nested(place / "nested.dcm", 100_000)
    many_elements(place / "many.dcm", 3_000_000)
    write_film(place / "frames.dcm", NumberOfFrames=2**31 - 1)
    write_film(place / "rows.dcm", Rows=65_535, Columns=65_535)
    (place / "bomb.png").write_bytes(png_header(50_000, 50_000))
    long = bytearray(encoded("plain"))
    at = long.index(struct.pack("<HH", 0x7FE0, 0x0010))
    long[at + 8 : at + 12] = struct.pack("<I", 0xFFFFFFF0)
    long[at + 12 :] = b"\0" * 40
    (place / "long.dcm").write_bytes(long)
    return {
        "bomb.dcm": "over a limit: a deflated DICOM file inflates to more than the cap",
        "nested.dcm": "DICOM that cannot be read (RecursionError)",
        "many.dcm": "over a limit: a DICOM file has more than 20000 elements",
        "frames.dcm": "over a limit: an image of 274877906816 bytes decoded",
        "rows.dcm": "over a limit: an image of 65535 x 65535 pixels is over the cap",
        "bomb.png": "over a limit: an image is over the cap of 89478485 pixels",
        "long.dcm": "pixel data cut short (40 of 128 bytes)",
    }


def peak_mb(number: int) -> float:
    status = Path(f"/proc/{number}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="no /proc to measure by")
def test_what_swells_or_lies_is_refused_in_two_seconds_and_300_mb(tmp_path: Path) -> None:
    expected = write_faults(tmp_path / "in")
    write_film(tmp_path / "warm.dcm")
    [warm] = land(tmp_path / "warm.dcm")
    for file in land(tmp_path / "in"):
        with ImageStore(tmp_path / "images") as store:
            store.keep(warm)  # its imports are no fault's
            process = store._child._process
            assert process is not None
            before, begun = peak_mb(process.pid), time.monotonic()
            [(_, fate)] = store.describe([file])
            seconds = time.monotonic() - begun
            grown = peak_mb(process.pid) - before
        assert isinstance(fate, tuple), file.name
        assert fate[0] == "quarantined"
        assert fate[1].startswith(expected[file.name]), fate
        assert seconds < 2, (file.name, seconds)
        assert grown < 300, (file.name, grown)


def test_each_fault_has_its_quarantine_row_and_harms_no_other_file(tmp_path: Path) -> None:
    expected = write_faults(tmp_path / "in")
    for number in range(5):
        tags = {"PatientID": "p", "StudyDate": "20240301", "SOPInstanceUID": f"1.2.{number}"}
        write_film(tmp_path / f"in/good{number}.dcm", SMALL + number, **tags)
    patients = tmp_path / "patients.ndjson"
    patients.write_text(json.dumps({"resourceType": "Patient", "id": "p"}))
    report = ingest([patients, tmp_path / "in"], tmp_path / "store", public=True)
    rows = pq.read_table(tmp_path / "store.raw/quarantine.parquet").to_pylist()
    found = {row["name"]: row["reason"] for row in rows}
    assert found.keys() == expected.keys()
    assert all(found[name].startswith(reason) for name, reason in expected.items())
    assert report["images"] == 5


def lethal(task: str, files: list[dict[str, Any]], caps: dict[str, Any]) -> tuple[dict, bytes]:
    """Read images, and die of the one that is called so."""
    import os
    import signal

    if any("lethal" in file["path"] for file in files):
        os.kill(os.getpid(), signal.SIGSEGV)
    return read_images(task, files, caps)  # pyright: ignore


def test_a_file_that_kills_the_child_costs_no_other_file_of_its_batch(tmp_path: Path) -> None:
    for number in range(6):
        write_film(tmp_path / f"in/{number}.dcm", SMALL + number)
    (tmp_path / "in/3.dcm").rename(tmp_path / "in/lethal.dcm")
    from ingest.limits import LimitedChild

    with ImageStore(tmp_path / "images") as store:
        store._child = LimitedChild("tests.ingest.test_image_faults:lethal", Caps())
        found = {file.name: header for file, header in store.describe(land(tmp_path / "in"))}
    refused = {name: header for name, header in found.items() if isinstance(header, tuple)}
    assert refused == {"lethal.dcm": ("quarantined", "over a limit: the parser died (SIGSEGV)")}
    assert len(list((tmp_path / "images").iterdir())) == 5
