"""Real FHIR exports, and Synthea's: each record of each file is accounted for."""

from pathlib import Path
from typing import Any

import pytest

from ingest.opening import open_bytes
from ingest.store import RecordStore
from tests.ingest.exports import ingested
from tests.ingest.test_accounting import added_up


@pytest.fixture(scope="module")
def mimic(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RecordStore, dict[str, Any]]:
    place = tmp_path_factory.mktemp("mimic")
    report = ingested(place, shared_data / "mimic_iv_demo_fhir")
    return RecordStore(place / "store"), report


def test_each_record_of_the_28_files_of_mimic_is_accounted_for(mimic, shared_data: Path) -> None:
    store, report = mimic
    counted = added_up(report)
    files = sorted((shared_data / "mimic_iv_demo_fhir").glob("*.ndjson.gz"))
    assert len(files) == 28
    for file in files:
        with open_bytes(file) as handle:
            assert counted[file.name] == sum(1 for line in handle if line.strip())
    assert report["subjects"] == 65
    assert report["undated"] == {"Specimen": 33}  # those without a collection, or any other date
    assert store.report() == report


def test_mimic_deaths_take_the_end_of_the_stay_that_ended_in_death(mimic) -> None:
    store, _ = mimic
    events = store.events()
    deaths = dict(events.filter("code = 'MEDS_DEATH'").project("subject_id, time").fetchall())
    died = events.filter("code = 'DISPOSITION//DIED'").project("subject_id, time").fetchall()
    assert len(deaths) == 20
    assert died
    assert all(deaths[subject] == time for subject, time in died)


def test_a_discharge_diagnosis_of_mimic_is_not_known_before_discharge(mimic) -> None:
    store, _ = mimic
    ends = set(store.events().filter("code LIKE 'ENCOUNTER_END%'").project("time").fetchall())
    diagnoses = store.events().filter("code SIMILAR TO 'ICD(9|10)CM//.*'").project("time")
    assert set(diagnoses.fetchall()) <= ends


@pytest.mark.parametrize(
    ("source", "subjects", "notes"),
    [
        ("synthea_r4_bundles", 17, 0),
        ("synthea_bulk_ndjson", 13, 1215),
        ("pathling_ndjson", 9, 0),
        ("hl7_r4_examples", None, None),
    ],
)
def test_other_exports_are_accounted_for(
    shared_data: Path, tmp_path: Path, source: str, subjects: int | None, notes: int | None
) -> None:
    report = ingested(tmp_path, shared_data / source)
    added_up(report)
    assert subjects in (None, report["subjects"])
    assert notes in (None, report["notes"])
    assert report["events"] > 300
