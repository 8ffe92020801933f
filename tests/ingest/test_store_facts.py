"""What `store info` says of a store of three patients, counted by hand."""

import base64
from typing import Any

import pytest

from ingest.build import ingest
from ingest.info import describe_store
from ingest.store import RecordStore
from ingest.store_facts import StoreFacts, read_facts
from tests.ingest.exports import write_ndjson
from tests.ingest.films import write_film


def observation(name: str, who: str, at: str, value: float, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": {
            "coding": [{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}]
        },
        "subject": {"reference": f"Patient/{who}"},
        "effectiveDateTime": at,
        "valueQuantity": {"value": value, "unit": "/min", "code": "/min"},
        **more,
    }


def note(name: str, who: str, text: str) -> dict[str, Any]:
    data = base64.b64encode(text.encode()).decode()
    return {
        "resourceType": "DocumentReference",
        "id": name,
        "status": "current",
        "type": {"text": "letter"},
        "subject": {"reference": f"Patient/{who}"},
        "date": "2021-05-01T08:00:00Z",
        "content": [{"attachment": {"contentType": "text/plain", "data": data}}],
    }


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> StoreFacts:
    place = tmp_path_factory.mktemp("facts")
    patients = [
        {"resourceType": "Patient", "id": who, "birthDate": "1950-01-01", "gender": "female"}
        for who in "abc"
    ]
    undated = {
        "resourceType": "Condition",
        "id": "u",
        "code": {"text": "never dated"},
        "subject": {"reference": "Patient/c"},
    }
    records = write_ndjson(
        place / "in.ndjson",
        *patients,
        note("na", "a", "x" * 10),
        note("nb", "b", "y" * 30),
        observation("o1", "a", "2020-03-01T08:00:00Z", 60),
        # Told on the third day, and on the next.
        observation("o2", "b", "2020-03-01T08:00:00Z", 70, issued="2020-03-04T08:00:00Z"),
        observation("o3", "b", "2021-03-01T08:00:00Z", 80, issued="2021-03-02T07:00:00Z"),
        undated,
    )
    film = {"PatientID": "a", "AcquisitionDateTime": "20220701120000", "ViewPosition": "PA"}
    write_film(place / "films" / "x.dcm", **film)
    ingest([records, place / "films"], place / "store", public=True)
    return read_facts(RecordStore(place / "store"))


def test_who_has_notes_and_images_is_counted(facts: StoreFacts) -> None:
    assert facts.subjects == 3
    assert facts.held == {"both": 1, "notes": 1, "images": 0, "neither": 1}
    assert facts.notes == {"notes": 2, "subjects": 2, "median_characters": 20}
    assert facts.images == [{"code": "IMAGE//DX//PA", "images": 1, "subjects": 1}]
    assert facts.undated == {"Condition": 1}


def test_the_range_of_dates_and_what_was_known_late_are_counted(facts: StoreFacts) -> None:
    assert facts.dated == {
        "events": 6,
        "first": "2020-03-01T08:00:00+00:00",
        "last": "2022-07-01T12:00:00+00:00",
        "late": 1,
    }
    assert facts.years == [
        {"year": 2020, "events": 2, "subjects": 2},
        {"year": 2021, "events": 3, "subjects": 2},
        {"year": 2022, "events": 1, "subjects": 1},
    ]


def test_code_systems_and_measurements_are_counted(facts: StoreFacts) -> None:
    by_system = {row["system"]: row for row in facts.systems}
    assert by_system["LOINC"] == {"system": "LOINC", "codes": 1, "events": 3, "subjects": 2}
    assert by_system["GENDER"] == {"system": "GENDER", "codes": 1, "events": 3, "subjects": 3}
    rate = {"code": "LOINC//8867-4", "name": "Heart rate", "values": 3, "subjects": 2, "units": 1}
    assert facts.measured == [rate]


def test_a_person_is_told_what_is_missing(facts: StoreFacts) -> None:
    lines = [" ".join(line.split()) for line in describe_store(facts).splitlines()]
    assert "Heart rate 3 2 33% 1" in lines
    assert "2 notes of 2 (67%) subjects, 20 characters in the middle" in lines
    assert lines[-1] == "without any date, and so left out: Condition 1"
