"""Who is who across Bundles: UUIDs made to be unique, and UUIDs counted from 1 in each."""

import json
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.projection import create_tables
from ingest.store import RecordStore
from tests.ingest.exports import ingested, write_ndjson

UNIQUE = ["5f0a7c1e-93d4-4b26-a8e1-c07d2f6b9e35", "e1b94d70-2c8f-4a53-96d7-3b0f8c5a1e62"]
COUNTED = ["00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"]


def bundle(names: list[str], sex: str | None, value: int, **more: Any) -> dict[str, Any]:
    """Make a transaction of a patient and a weight, neither of which has an `id`."""
    patient = {"resourceType": "Patient"} | ({"gender": sex} if sex else {})
    weight = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": f"urn:uuid:{names[0]}"},
        "effectiveDateTime": "2020-05-04T08:00:00Z",
        "valueInteger": value,
        **more,
    }
    entries = [
        {"fullUrl": f"urn:uuid:{name}", "resource": resource, "request": {"method": "POST"}}
        for name, resource in zip(names, (patient, weight), strict=True)
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def without_url(content: dict[str, Any]) -> dict[str, Any]:
    """Take away the observation's fullUrl, so that its content alone says which it is."""
    first, second = content["entry"]
    second = {key: value for key, value in second.items() if key != "fullUrl"}
    return {**content, "entry": [first, second]}


def weights(place: Path) -> list[tuple[str, float]]:
    """Give the sex and weight of each subject that has one, sorted."""
    events = RecordStore(place / "store").events().fetchall()
    sexes = {row[0]: row[2] for row in events if row[2].startswith("GENDER//")}
    return sorted((sexes.get(row[0], ""), row[3]) for row in events if row[3] is not None)


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("make", [lambda content: content, without_url])
def test_bundles_that_both_count_their_uuids_stay_apart_and_keep_their_own_patient(
    tmp_path: Path, same: bool, make
) -> None:
    """Even where an observation is the same to the letter: it is of another patient."""
    values = (61, 61) if same else (61, 62)
    for name, sex, value in zip("ab", ("female", "male"), values, strict=True):
        content = make(bundle(COUNTED, sex, value))
        write_ndjson(tmp_path / "in" / f"{name}.json", content)
    report = ingested(tmp_path, tmp_path / "in")
    assert report["subjects"] == 2
    assert weights(tmp_path) == [("GENDER//F", values[0]), ("GENDER//M", values[1])]
    assert all(file["projected"] == 2 for file in report["files"].values())


@pytest.mark.parametrize("names", [COUNTED, UNIQUE])
def test_the_same_bundle_under_two_names_is_one(tmp_path: Path, names: list[str]) -> None:
    first = write_ndjson(tmp_path / "in" / "a.json", bundle(names, "female", 61))
    shutil.copyfile(first, first.with_name("b.json"))
    report = ingested(tmp_path, tmp_path / "in")
    assert (report["subjects"], weights(tmp_path)) == (1, [("GENDER//F", 61)])
    assert report["files"]["a.json"]["superseded"] + report["files"]["b.json"]["superseded"] == 2


def test_a_resource_under_a_unique_uuid_is_one_in_every_bundle(tmp_path: Path) -> None:
    other = [UNIQUE[0], "7d3e9a04-6b1c-4f82-b5d9-10c8e7a4f263"]
    write_ndjson(tmp_path / "in" / "a.json", bundle(UNIQUE, "female", 61))
    write_ndjson(tmp_path / "in" / "b.json", bundle(other, "female", 62))
    report = ingested(tmp_path, tmp_path / "in")
    assert report["subjects"] == 1
    assert weights(tmp_path) == [("GENDER//F", 61), ("GENDER//F", 62)]
    assert report["files"]["a.json"]["superseded"] == 1


def test_a_reference_across_bundles_resolves_by_a_unique_uuid_and_never_by_a_counted_one(
    tmp_path: Path,
) -> None:
    for place, names in (("unique", UNIQUE), ("counted", COUNTED)):
        whole = bundle(names, "female", 61)
        orphan = bundle([names[0], "b2c49f17-08ea-4d35-9f6b-e5713ac8d042"], "male", 62)
        source = tmp_path / place / "in"
        write_ndjson(source / "a.json", whole)
        write_ndjson(source / "b.json", {**orphan, "entry": orphan["entry"][1:]})
        ingested(tmp_path / place, source)
    assert weights(tmp_path / "unique") == [("GENDER//F", 61), ("GENDER//F", 62)]
    assert weights(tmp_path / "counted") == [("", 62), ("GENDER//F", 61)]


def test_bundles_on_lines_of_one_file_that_count_their_uuids_stay_apart(tmp_path: Path) -> None:
    women = [bundle(COUNTED, None, value) for value in (61, 62, 62)]
    report = ingested(tmp_path, write_ndjson(tmp_path / "in.ndjson", *women))
    assert report["subjects"] == 2
    assert weights(tmp_path) == [("", 61), ("", 62)]
    assert report["files"]["in.ndjson"]["superseded"] == 2


def test_a_drug_an_encounter_and_a_merged_patient_are_those_of_their_own_bundle(
    tmp_path: Path,
) -> None:
    def counted(number: int) -> str:
        return f"urn:uuid:00000000-0000-0000-0000-{number:012}"

    def entry(number: int, resource: dict[str, Any]) -> dict[str, Any]:
        return {"fullUrl": counted(number), "resource": resource}

    for name, drug, hour, sex in (("a", "1191", 9, "female"), ("b", "5224", 15, "male")):
        about = {"subject": {"reference": counted(1)}}
        rxnorm = {"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": drug}
        kept = {"reference": counted(5)}
        resources = [
            {
                "resourceType": "Patient",
                "link": [{"type": "replaced-by", "other": kept}],
            },
            {"resourceType": "Medication", "code": {"coding": [rxnorm]}},
            {
                "resourceType": "Encounter",
                "status": "finished",
                "class": {"code": "AMB"},
                "period": {"start": "2020-05-04T08:00:00Z", "end": f"2020-05-04T{hour:02}:00:00Z"},
                **about,
            },
            {
                "resourceType": "MedicationRequest",
                "status": "active",
                "intent": "order",
                "medicationReference": {"reference": counted(2)},
                "encounter": {"reference": counted(3)},
                **about,
            },
            {"resourceType": "Patient", "gender": sex},
        ]
        entries = [entry(number, resource) for number, resource in enumerate(resources, 1)]
        content = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        write_ndjson(tmp_path / "in" / f"{name}.json", content)
    report = ingested(tmp_path, tmp_path / "in")
    assert report["subjects"] == 2
    events = RecordStore(tmp_path / "store").events().df()
    sexes = events[events["code"].str.startswith("GENDER")].set_index("subject_id")["code"]
    orders = events[events["code"].str.startswith("ORDER")]
    found = {(sexes[row.subject_id], row.code, row.time.hour) for row in orders.itertuples()}
    assert found == {
        ("GENDER//F", "ORDER//RXNORM//1191", 9),
        ("GENDER//M", "ORDER//RXNORM//5224", 15),
    }


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    create_tables(con)
    return con


def is_local(con: duckdb.DuckDBPyConnection, urn: str) -> bool:
    [(local,)] = con.execute("SELECT local_urn($urn)", {"urn": urn}).fetchall()
    return local


@given(st.uuids(version=4))
def test_a_uuid_drawn_by_chance_is_unique(con, drawn: UUID) -> None:
    assert not is_local(con, f"urn:uuid:{drawn}")
    assert not is_local(con, f"urn:uuid:{str(drawn).upper()}")


@pytest.mark.parametrize(
    "urn",
    [
        *(f"urn:uuid:{name}" for name in COUNTED),
        "urn:uuid:00000000-0000-4000-8000-000000000001",
        "urn:uuid:a1b2c3d4-e5f6-4a7b-8c9d-000000012345",
        "urn:uuid:11111111-1111-4111-8111-111111111111",
        "urn:uuid:patient-1",
        "urn:uuid:1",
        "urn:uuid:5f0a7c1e-93d4-0b26-a8e1-c07d2f6b9e35",  # no version of a UUID
    ],
)
def test_a_counted_uuid_is_of_its_bundle_alone(con, urn: str) -> None:
    assert is_local(con, urn)


@pytest.mark.parametrize("other", ["urn:oid:1.2.3", "Patient/1", "https://example.org/Patient/1"])
def test_what_is_no_uuid_urn_is_judged_otherwise(con, other: str) -> None:
    assert not is_local(con, other)


def test_an_id_goes_before_any_uuid(tmp_path: Path) -> None:
    content = bundle(COUNTED, "female", 61)
    content["entry"][0]["resource"]["id"] = "p"
    write_ndjson(tmp_path / "in" / "a.json", content)
    later = json.loads(json.dumps(content).replace("61", "62"))
    write_ndjson(tmp_path / "in" / "b.json", later)
    report = ingested(tmp_path, tmp_path / "in")
    assert report["subjects"] == 1
    assert weights(tmp_path) == [("GENDER//F", 61), ("GENDER//F", 62)]
