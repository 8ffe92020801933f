"""Fetch images from our own DICOMweb server: what is asked, what lands, what is counted."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ingest.dicomweb import Bounds, fetch_dicomweb
from ingest.errors import LimitError, UsageError
from ingest.origins import SourceError
from ingest.store import RecordStore
from ingest.studies import study_uids
from ingest.study_landing import FetchedStudies
from tests.ingest.exports import PATIENT, ingested, write_ndjson
from tests.servers.dicomweb import DicomHabits, DicomServer, Held, dicom_server
from tests.servers.faults import Answer, Slow
from tests.servers.fetches import owner_only, quick


def fetch(server: DicomServer, into: Path, **options: Any) -> FetchedStudies:
    return fetch_dicomweb(server.url, into, **{"patience": quick()[0], **options})


def landed(into: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in into.rglob("*.dcm")}


def named(*held: Held) -> dict[str, bytes]:
    return {f"{hashlib.sha256(one.sop.encode()).hexdigest()}.dcm": one.content for one in held}


def test_the_studies_that_are_asked_for_land_byte_by_byte(tmp_path: Path) -> None:
    with dicom_server() as server:
        films = server.ward(3)
        asked = ["1.2.840.99.1", "urn:oid:1.2.840.99.3", "1.2.840.99.1"]
        fetched = fetch(server, tmp_path / "in", studies=asked)
    assert landed(tmp_path / "in") == named(*(f for f in films if f.study != "1.2.840.99.2"))
    assert (fetched.landed, fetched.fresh, fetched.missing) == ({"DX": 12}, 12, {})
    assert fetched.directory == tmp_path / "in"
    assert owner_only(tmp_path / "in")
    assert not any("1.2.840" in str(path) for path in (tmp_path / "in").rglob("*"))


def test_a_search_says_which_studies_and_without_one_it_is_all(tmp_path: Path) -> None:
    with dicom_server() as server:
        films = [*server.ward(2), server.film("9", "1", "1", Modality="CT")]
        fetch(server, tmp_path / "ct", search="ModalitiesInStudy=CT")
        fetch(server, tmp_path / "all")
        fetch(server, tmp_path / "none", search="studies?ModalitiesInStudy=MR")
    assert landed(tmp_path / "ct") == named(films[-1])
    assert landed(tmp_path / "all") == named(*films)
    assert landed(tmp_path / "none") == {}


def test_series_of_other_modalities_are_left_out_and_counted(tmp_path: Path) -> None:
    with dicom_server() as server:
        film, _, strange = (
            server.film("1", "1", "1", Modality="DX"),
            server.film("1", "2", "1", Modality="CT"),
            server.film("1", "3", "1", Modality="JANE DOE"),
        )
        fetched = fetch(server, tmp_path, modalities=["dx"])
        assert len(server.layer.seen("instances")) == 1
        assert fetched.unasked == {"CT": 1, "unknown": 1}
        assert landed(tmp_path) == named(film)
        assert fetch(server, tmp_path).landed == {"CT": 1, "DX": 1, "unknown": 1}
        assert named(strange).items() <= landed(tmp_path).items()


def test_what_holds_no_picture_is_counted_and_not_fetched(tmp_path: Path) -> None:
    with dicom_server() as server:
        film = server.film("1", "1", "1")
        for number, modality in enumerate(["SR", "KO", "PR", "SEG"], start=2):
            server.film("1", str(number), "1", Modality=modality)
        segmentation = "1.2.840.10008.5.1.4.1.1.66.4"
        server.film("1", "1", "2", SOPClassUID=segmentation)  # by its class, in a series of films
        fetched = fetch(server, tmp_path)
        assert len(server.layer.seen("instance")) == 1
    assert fetched.skipped == {"KO": 1, "PR": 1, "SEG": 2, "SR": 1}
    assert landed(tmp_path) == named(film)


@pytest.mark.parametrize("answer", [404, 410, 204, 200, 403])
def test_a_study_that_the_server_does_not_know_is_missing_and_the_others_come(
    tmp_path: Path, answer: int
) -> None:
    with dicom_server(habits=DicomHabits(unknown=answer)) as server:
        films = server.ward(1)
        asked = ["1.2.3.4", "1.2.840.99.1", "ACC-7"]
        fetched = fetch(server, tmp_path, studies=asked)
    reason = "not found" if answer in (200, 204) else f"answered {answer}"
    assert fetched.missing == {f"study: {reason}": 1, "study: not a UID": 1}
    assert landed(tmp_path) == named(*films)


def test_studies_none_of_which_is_known_are_no_error_but_a_wrong_url_is(tmp_path: Path) -> None:
    with dicom_server() as server:
        server.ward(1)
        asked = ["1.2.3.4", "1.2.3.5"]
        assert fetch(server, tmp_path / "a", studies=asked).missing == {"study: answered 404": 2}
        for number, use in enumerate([{"studies": asked}, {}]):
            with pytest.raises(
                SourceError, match="answered 404 when asked for a search of studies"
            ):
                fetch_dicomweb(f"{server.origin}/wado", tmp_path / f"b{number}", **use)
        server.layer.misbehave("studies", fault=Answer(b'{"resourceType": "Bundle"}'))
        with pytest.raises(SourceError, match=r"what is no list .* give a DICOMweb server's base"):
            fetch(server, tmp_path / "c")


def test_a_server_that_lets_us_see_nothing_is_an_error(tmp_path: Path) -> None:
    said = r"gave nothing .* \{'study: answered 403': 1\}"
    with (
        dicom_server(habits=DicomHabits(unknown=403)) as server,
        pytest.raises(SourceError, match=said),
    ):
        fetch(server, tmp_path, studies=["1.2.3.4"])


@pytest.mark.parametrize(
    "habits",
    [
        DicomHabits(page_size=1),
        DicomHabits(page_size=2, counts=False, no_content=True),
        DicomHabits(paging=False),
        DicomHabits(paging=False, counts=False),
        DicomHabits(single_part=True),
        DicomHabits(chunked=True),
        DicomHabits(unfinished=True),
        DicomHabits(unfinished=True, whole_series=True),
    ],
    ids=[
        "one a page",
        "short pages",
        "no paging",
        "nor counts",
        "single part",
        "chunked",
        "unfinished",
        "series",
    ],
)
def test_every_kind_of_server_gives_all_that_it_has_once(
    tmp_path: Path, habits: DicomHabits
) -> None:
    with dicom_server(habits=habits) as server:
        films = server.ward(2, 2, 5)
        fetched = fetch(server, tmp_path, bounds=Bounds(page_size=3))
        assert landed(tmp_path) == named(*films)
        assert (fetched.fresh, fetched.missing) == (20, {})
        paths = Counter(asked.path for asked in server.layer.seen("instance"))
        assert set(paths.values()) <= {1}
        assert len(server.layer.seen("instances")) <= 4 * 6


@pytest.mark.parametrize("label", ["series", "instance"])
@pytest.mark.parametrize("workers", [1, 3])
def test_as_many_are_asked_for_at_a_time_as_there_are_workers(
    tmp_path: Path, workers: int, label: str
) -> None:
    with dicom_server() as server:
        films = server.ward(6, 1, 1)
        server.layer.misbehave(label, fault=Slow(0.2))
        fetch(server, tmp_path, workers=workers)
        assert server.layer.most_in_flight == workers
    assert landed(tmp_path) == named(*films)


def test_what_the_server_counts_and_does_not_list_is_missing(tmp_path: Path) -> None:
    with dicom_server(habits=DicomHabits(hidden=frozenset(["1.2.840.99.1.1.2"]))) as server:
        server.ward(1)
        fetched = fetch(server, tmp_path)
    assert fetched.missing == {"instance: counted by the server and not given": 1}
    assert fetched.landed == {"DX": 5}


def test_lists_without_an_end_are_left_at_the_bound(tmp_path: Path) -> None:
    with dicom_server(habits=DicomHabits(endless=True)) as server:
        server.ward(2)
        fetched = fetch(server, tmp_path / "a", bounds=Bounds(study_instances=95))
        assert fetched.missing == {"study: over a limit": 2}
        assert len(server.layer.seen("instances")) == 2 * 10
        with pytest.raises(LimitError, match="a search of studies gave over 1; ask for fewer"):
            fetch(server, tmp_path / "b", bounds=Bounds(studies=1))


def test_a_second_run_fetches_what_is_new_or_was_removed_and_nothing_else(tmp_path: Path) -> None:
    with dicom_server() as server:
        films = server.ward(2)
        fetch(server, tmp_path)
        assert fetch(server, tmp_path).fresh == 0
        assert len(server.layer.seen("instance")) == len(films)
        films.append(server.film("2", "7", "1"))
        next(tmp_path.rglob("*.dcm")).unlink()
        again = fetch(server, tmp_path)
        assert (again.fresh, again.landed) == (2, {"DX": 13})
        assert len(server.layer.seen("instance")) == len(films) + 1
    assert landed(tmp_path) == named(*films)


def test_options_that_cannot_be_are_refused(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/dicom-web"
    with pytest.raises(UsageError, match="given or searched for, not both"):
        fetch_dicomweb(url, tmp_path, studies=["1.2"], search="PatientID=1")
    for search in ("limit=3", "PatientID", "", "PatientID=1&offset=2"):
        with pytest.raises(UsageError, match="without limit and offset"):
            fetch_dicomweb(url, tmp_path, search=search)
    with pytest.raises(ValueError, match="page_size must be positive; got page_size=0"):
        Bounds(page_size=0)
    assert not list(tmp_path.iterdir())


def imaging_study(name: str, *identifiers: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ImagingStudy",
        "id": name,
        "status": "available",
        "subject": {"reference": "Patient/p"},
        "started": "2024-03-01T11:00:00Z",
        "identifier": [{"system": "urn:dicom:uid", "value": value} for value in identifiers],
        "endpoint": [{"reference": "https://elsewhere.example/9.9.9.9"}],
        **more,
    }


def test_the_studies_of_a_cohort_are_found_in_its_records(tmp_path: Path) -> None:
    bundle = {
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": [{"resource": imaging_study("d", "urn:oid:1.2.840.99.4")}],
    }
    file = write_ndjson(
        tmp_path / "ImagingStudy.ndjson",
        imaging_study("a", "ACC-1", "urn:oid:1.2.840.99.1"),
        imaging_study("b", "1.2.840.99.2"),
        imaging_study("b2", "1.2.840.99.2"),
        imaging_study("c", "1.2.840.99.3", status="entered-in-error"),
        bundle,
        '{"resourceType": "ImagingStudy", "identifier": [{"value": "1.2.840.99.5"}',
        {**PATIENT, "identifier": [{"value": "1.2.840.99.6"}], "text": '"ImagingStudy"'},
    )
    wrapped = write_ndjson(tmp_path / "w.ndjson", {"resource": imaging_study("e", "1.2.840.99.7")})
    found = [f"1.2.840.99.{number}" for number in (1, 2, 4, 7)]
    assert study_uids([file, wrapped]) == found
    assert study_uids([]) == []


def test_what_is_fetched_joins_the_patient_whose_study_it_is(tmp_path: Path) -> None:
    records = write_ndjson(
        tmp_path / "records.ndjson", PATIENT, imaging_study("a", "urn:oid:1.2.840.99.1")
    )
    with dicom_server() as server:
        server.ward(2, 1, 2)
        fetched = fetch(server, tmp_path / "in", studies=study_uids([records]))
    account = ingested(tmp_path, records, fetched.directory)
    assert account["images"] == 2
    images = RecordStore(tmp_path / "store").images().df()
    assert len(set(images["subject_id"])) == 1
    assert set(images["code"]) == {"IMAGE//DX"}
