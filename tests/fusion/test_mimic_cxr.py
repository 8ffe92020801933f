"""The protocol of MIMIC-IV with MIMIC-CXR, on a made-up ward with made-up films."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fusion.served import ServedRun
from ingest.errors import InputError
from ingest.labels import read_cohort
from ingest.schema import Modality
from ingest.store import RecordStore
from tests.benchmarks.mimic_cxr import folders_of_films, main
from tests.ingest.exports import write_ndjson
from tests.ingest.films import write_film

SYSTEM = "http://mimic.mit.edu/fhir/mimic/identifier/patient"
NEW_YORK = ZoneInfo("America/New_York")
BEGUN = datetime(2150, 1, 1, 12, tzinfo=UTC)


def stay(number: int, hours: float) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "id": f"icu{number}",
        "status": "finished",
        "class": {"code": "ACUTE"},
        "subject": {"reference": f"Patient/{number}"},
        "partOf": {"reference": f"Encounter/stay{number}"},
        "period": {
            "start": BEGUN.isoformat(),
            "end": (BEGUN + timedelta(hours=hours)).isoformat(),
        },
    }


def hospital_stay(number: int, *, died: bool) -> dict[str, Any]:
    end = (BEGUN + timedelta(days=9)).isoformat()
    disposition = {"coding": [{"code": "DIED" if died else "HOME"}]}
    return {
        "resourceType": "Encounter",
        "id": f"stay{number}",
        "status": "finished",
        "class": {"code": "EMER"},
        "subject": {"reference": f"Patient/{number}"},
        "priority": {"coding": [{"code": "EM"}]},
        "serviceType": {"coding": [{"code": "MED"}]},
        "period": {"start": (BEGUN - timedelta(hours=2)).isoformat(), "end": end},
        "hospitalization": {"dischargeDisposition": disposition},
    }


def patient(number: int) -> dict[str, Any]:
    named = [{"system": SYSTEM, "value": f"1000{number:04}"}, {"system": "other", "value": "x"}]
    return {"resourceType": "Patient", "id": str(number), "identifier": named}


def write_wards(place: Path, patients: int) -> tuple[Path, Path]:
    """Write a ward in which every third dies, and two films of each: one in time, one too late."""
    fhir, films = place / "fhir", place / "files"
    numbers = range(1, patients + 1)
    write_ndjson(fhir / "MimicPatient.ndjson", *map(patient, numbers))
    write_ndjson(fhir / "MimicEncounterICU.ndjson", *(stay(n, 60) for n in numbers))
    deaths = [hospital_stay(n, died=n % 3 == 0) for n in numbers]
    write_ndjson(fhir / "MimicEncounter.ndjson", *deaths)
    for n in numbers:
        for name, hours in (("early", 47.9), ("late", 48.1)):
            taken = (BEGUN + timedelta(hours=hours)).astimezone(NEW_YORK)
            write_film(
                films / f"p10/p1000{n:04}/s1/{name}.dcm",
                PatientID=f"1000{n:04}",
                StudyDate=f"{taken:%Y%m%d}",
                StudyTime=f"{taken:%H%M%S}",
                ViewPosition="AP",
            )
    return fhir, films


def test_patients_who_stayed_over_two_days_and_have_films_are_taken(tmp_path: Path) -> None:
    fhir, films = tmp_path / "fhir", tmp_path / "files"
    write_ndjson(fhir / "MimicPatient.ndjson", *map(patient, (1, 2, 3)))
    write_ndjson(fhir / "MimicEncounterICU.ndjson", stay(1, 48.5), stay(2, 48), stay(3, 99))
    with pytest.raises(InputError, match="no folder of any of 2 patients"):
        folders_of_films(fhir, films)
    for number in (1, 2):
        (films / f"p10/p1000{number:04}").mkdir(parents=True)
    assert folders_of_films(fhir, films) == [films / "p10/p10000001"]
    with pytest.raises(InputError, match="has no MimicEncounterICU"):
        folders_of_films(tmp_path, films)


def test_a_film_after_two_days_is_seen_by_no_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fhir, films = write_wards(tmp_path, 60)
    words = ["--fhir", fhir, "--films", films, "--out", tmp_path / "out", "--candidates"]
    metrics = main([*map(str, words), "prevalence", "events_logistic", "images_embedding"])
    assert "still there and alive after 48 hours: 60 rows of 60 patients" in capsys.readouterr().out
    (entry,) = metrics["tasks"].values()
    assert entry["models"].keys() == {"prevalence", "events_logistic", "images_embedding"}
    store, cohort = RecordStore(tmp_path / "out/store"), read_cohort(tmp_path / "out/cohort")
    assert store.report()["images"] == 120
    assert cohort.labels.sum() == 20
    timelines = store.timelines(cohort.index[["subject_id", "prediction_time"]])
    seen = timelines.events[timelines.events["image"].notna()]
    assert len(seen) == 60
    assert timelines.has(Modality.IMAGES).all()
    assert ServedRun(tmp_path / "out/run").tasks == ("mimic_icu_died_48h",)
