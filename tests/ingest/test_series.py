"""A whole series in one answer: faster, and nothing is lost or taken for another where it fails."""

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from ingest.dicomweb import Bounds, fetch_dicomweb
from ingest.origins import OutOfReachError
from ingest.study_landing import FetchedStudies
from ingest.wado import save_files
from tests.ingest.films import film_dataset
from tests.servers.dicomweb import DicomHabits, DicomServer, Held, dicom_server
from tests.servers.faults import Answer, Cut, Drop, Fault, Status, Torn
from tests.servers.fetches import quick

WHOLE = DicomHabits(whole_series=True)


def fetch(server: DicomServer, into: Path, **options: Any) -> FetchedStudies:
    use = {"patience": quick()[0], "workers": 1}
    return fetch_dicomweb(server.url, into, **{**use, **options})


def landed(into: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in into.rglob("*.dcm"))


def contents(*held: Held) -> list[bytes]:
    return sorted(one.content for one in held)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_series_comes_in_one_answer(tmp_path: Path, chunked: bool) -> None:
    with dicom_server(habits=DicomHabits(whole_series=True, chunked=chunked)) as server:
        films = server.ward(2, 2, 8)
        fetched = fetch(server, tmp_path)
        assert len(server.layer.seen("whole")) == 4
        assert server.layer.seen("instance") == []
    assert landed(tmp_path) == contents(*films)
    assert fetched.fresh == len(films)


@pytest.mark.parametrize(
    "fault",
    [Status(500), Status(503), Status(404), Drop(), Cut(0.3), Cut(0.9), Torn(), Answer(b"<html>")],
    ids=["500", "503", "404", "dropped", "cut early", "cut late", "torn", "HTML"],
)
def test_what_a_series_lacks_is_fetched_by_itself_and_once(tmp_path: Path, fault: Fault) -> None:
    patience, waits = quick()
    with dicom_server(habits=WHOLE) as server:
        films = server.ward(1, 1, 10)
        server.layer.misbehave("whole", 1, fault=fault)
        fetched = fetch(server, tmp_path, patience=patience)
        singles = len(server.layer.seen("instance"))
        if isinstance(fault, Cut):
            assert singles == (0 if fault.share < 0.5 else 1)  # once more in one, or what is left
        assert len(waits) == (fault == Status(503))
    assert landed(tmp_path) == contents(*films)
    assert (fetched.fresh, fetched.missing) == (10, {})


def test_a_server_that_gives_no_series_is_asked_for_one_once(tmp_path: Path) -> None:
    with dicom_server() as server:
        films = server.ward(3)
        fetch(server, tmp_path)
        assert len(server.layer.seen("whole")) == 1
    assert landed(tmp_path) == contents(*films)


def test_an_overloaded_server_is_not_asked_for_each_instance_instead(tmp_path: Path) -> None:
    with dicom_server(habits=WHOLE) as server:
        server.ward(1)
        server.layer.misbehave("whole", fault=Status(429))
        with pytest.raises(OutOfReachError, match="answered 429 when asked for a series, 3 times"):
            fetch(server, tmp_path, patience=quick(attempts=3)[0])
        assert server.layer.seen("instance") == []


def test_what_is_left_of_a_series_is_not_worth_all_of_it_again(tmp_path: Path) -> None:
    with dicom_server(habits=WHOLE) as server:
        films = server.ward(1, 1, 6)
        fetch(server, tmp_path)
        films.append(server.film("1", "1", "9"))
        fetch(server, tmp_path)
        assert len(server.layer.seen("whole")) == 1
        assert len(server.layer.seen("instance")) == 1
    assert landed(tmp_path) == contents(*films)


def test_of_a_series_only_what_is_wanted_lands(tmp_path: Path) -> None:
    with dicom_server(habits=WHOLE) as server:
        films = server.ward(1, 1, 4)
        server.film("1", "1", "7", SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")
        fetched = fetch(server, tmp_path)
        assert len(server.layer.seen("whole", "instance")) == 1
    assert landed(tmp_path) == contents(*films)
    assert fetched.skipped == {"SEG": 1}


def test_an_instance_over_the_cap_costs_its_series_nothing_else(tmp_path: Path) -> None:
    with dicom_server(habits=WHOLE) as server:
        films = [server.film("1", "1", "1"), server.film("1", "1", "3")]
        server.film("1", "1", "2", ImageComments="x" * 10_000)
        fetched = fetch(server, tmp_path, bounds=Bounds(instance_bytes=5000))
    assert landed(tmp_path) == contents(*films)
    assert fetched.missing == {"instance: over the cap of 5000 bytes": 1}


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
@pytest.mark.parametrize("meta", ["1.2.840.7", "9.9.9"])
def test_which_instance_a_file_is_shows_in_its_bytes(
    tmp_path: Path, syntax: str, meta: str
) -> None:
    values = np.zeros((8, 8), "u1")
    film = film_dataset(values, SOPInstanceUID="1.2.840.7", PatientComments="1.2.840.8")
    film.file_meta.TransferSyntaxUID = syntax
    film.file_meta.MediaStorageSOPInstanceUID = meta
    out = io.BytesIO()
    film.save_as(out, enforce_file_format=True)
    if meta == "9.9.9":  # pydicom sets it right, so that it must be set wrong afterwards
        out = io.BytesIO(out.getvalue().replace(b"1.2.840.7", b"9.9.9.9.9", 1))
    use = {"cap_bytes": 1 << 20, "longest_s": 10.0}
    scratch = tmp_path / "scratch"
    for wanted, found in (({"1.2.840.7", "1.2.840.8"}, "1.2.840.7"), ({"1.2.840.8", "1.2"}, "")):
        answer = httpx.Response(
            200, headers={"Content-Type": "application/dicom"}, content=out.getvalue()
        )
        hidden = meta == "9.9.9" and syntax == DeflatedExplicitVRLittleEndian
        [name] = save_files(answer, scratch, wanted, **use)
        assert name == ("" if hidden else found)
        assert scratch.read_bytes() == out.getvalue()
