"""Fetch from Orthanc: a DICOM archive by other hands, with real files of every kind in it."""

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from ingest.dicomweb import Bounds, fetch_dicomweb
from ingest.headers import object_kind
from ingest.studies import study_uids
from tests.ingest.exports import PATIENT, ingested, write_ndjson
from tests.servers.dicomweb import DicomServer
from tests.servers.fetches import quick
from tests.servers.orthanc import Orthanc, orthanc


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Hold three studies that the tests made, the second with a report."""
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        made = DicomServer()
        made.ward(3, 2, 2)
        made.film("2", "5", "1", Modality="SR")
        assert all(running.put(one.content) for one in made.held.values())
        yield running


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Iterator[Orthanc]:
    """Hold the public files."""
    files = [path.read_bytes() for path in sorted((shared_data / "dicom").rglob("*.dcm"))]
    with orthanc(tmp_path_factory.mktemp("orthanc-full")) as running:
        assert sum(running.put(content) for content in files) > 50
        yield running


def landed(into: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in into.rglob("*.dcm"))


def header(content: bytes) -> pydicom.Dataset:
    # By force: Orthanc takes files without preamble, too.
    return pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, force=True)


def pictures(archive: Orthanc) -> list[bytes]:
    """Give what it holds that is a picture, by its own word."""
    return sorted(one for one in archive.files() if object_kind(header(one)) is None)


def test_studies_land_byte_by_byte_and_a_report_is_counted(
    archive: Orthanc, tmp_path: Path
) -> None:
    asked = ["1.2.840.99.1", "1.2.840.99.2", "1.2.3.4"]
    fetched = fetch_dicomweb(archive.url, tmp_path, studies=asked, patience=quick()[0])
    assert fetched.landed == {"DX": 8}
    assert fetched.skipped == {"SR": 1}
    assert fetched.missing == {"study: not found": 1}
    assert len(landed(tmp_path)) == 8
    assert set(landed(tmp_path)) <= set(pictures(archive))


def test_orthanc_keeps_to_pages_and_to_searches(archive: Orthanc, tmp_path: Path) -> None:
    use = {"bounds": Bounds(page_size=1), "patience": quick()[0]}
    paged = fetch_dicomweb(
        archive.url, tmp_path / "a", search="StudyInstanceUID=1.2.840.99.3", **use
    )
    assert paged.landed == {"DX": 4}
    none = fetch_dicomweb(archive.url, tmp_path / "b", search="PatientID=nobody", **use)
    assert (none.landed, none.missing) == ({}, {})


def test_every_public_file_comes_back_as_the_archive_holds_it(
    full: Orthanc, tmp_path: Path
) -> None:
    fetched = fetch_dicomweb(full.url, tmp_path, patience=quick()[0])
    held = pictures(full)
    assert landed(tmp_path) == held
    assert fetched.fresh == len(held)
    # Two dose grids came under the same UIDs, of which DICOMweb can name but one.
    assert fetched.missing == {"instance: listed twice under one UID": 1}
    counted = (*fetched.landed.values(), *fetched.skipped.values(), *fetched.missing.values())
    assert sum(counted) == len(full.files())
    syntaxes = Counter(header(content).file_meta.TransferSyntaxUID for content in held)
    assert len(syntaxes) > 8  # compressed as they were: nothing was transcoded
    again = fetch_dicomweb(full.url, tmp_path, patience=quick()[0])
    assert again.fresh == 0


def test_an_independent_client_gets_the_same_pixels(archive: Orthanc, tmp_path: Path) -> None:
    api = pytest.importorskip("dicomweb_client.api", reason="dicomweb-client is not installed")
    client = api.DICOMwebClient(archive.url)
    fetch_dicomweb(archive.url, tmp_path, studies=["1.2.840.99.1"], patience=quick()[0])
    theirs = client.retrieve_study("1.2.840.99.1", media_types=(("application/dicom", "*"),))
    ours = [pydicom.dcmread(path) for path in tmp_path.rglob("*.dcm")]
    pixels = {film.SOPInstanceUID: film.pixel_array for film in ours}
    assert len(theirs) == len(pixels) == 4
    for film in theirs:
        np.testing.assert_array_equal(film.pixel_array, pixels[film.SOPInstanceUID])
    listed = client.search_for_instances(get_remaining=True)
    assert len(listed) == len(archive.files())


def test_what_is_fetched_joins_the_patients_study(archive: Orthanc, tmp_path: Path) -> None:
    study = {
        "resourceType": "ImagingStudy",
        "id": "s",
        "status": "available",
        "subject": {"reference": "Patient/p"},
        "started": "2024-03-01T11:00:00Z",
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.840.99.2"}],
    }
    records = write_ndjson(tmp_path / "records.ndjson", PATIENT, study)
    use = {"studies": study_uids([records]), "patience": quick()[0]}
    fetched = fetch_dicomweb(archive.url, tmp_path / "in", **use)
    assert ingested(tmp_path, records, fetched.directory)["images"] == 4
