"""What is uploaded is read as the records were that the model was trained on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fusion.served import ServedRun
from fusion.train import train
from ingest.build import ingest
from ingest.conventions import Conventions, write_conventions
from ingest.store import RecordStore
from serve.predictor import Predictor
from serve.upload import uploaded_store
from tests.fusion.clinic import HashedEncoders, write_clinic

LAB = "urn:oid:1.2.276.0.76.9.9"
SITE = Conventions(
    rules=(
        {"system": LAB, "prefix": "LAB"},
        {"system": LAB, "code": "NA", "standard": "LOINC//2951-2"},
        {"code": "GEW", "standard": "LOINC//29463-7", "unit": "g"},
    ),
    default_prefix="KH",
)


def measured(system: str | None, code: str, number: float, unit: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": code,
        "status": "final",
        "code": {"coding": [{"system": system, "code": code}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2020-01-02T03:04:00Z",
        "valueQuantity": {"value": number, "unit": unit},
    }


RECORDS = [
    {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1950-01-01"},
    measured(LAB, "NA", 139, "mEq/L"),
    measured(LAB, "K", 4.1, "mEq/L"),
    measured(None, "GEW", 200, "lbs"),
    measured(None, "OTHER", 1, "kPa"),
]


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    entries = [{"resource": record} for record in RECORDS]
    file = tmp_path / "upload.json"
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    file.write_text(json.dumps(bundle), "utf-8")
    return file


def values(store: Path) -> list[tuple[Any, ...]]:
    events = RecordStore(store).events().project("time, code, numeric_value, unit")
    return sorted(events.fetchall(), key=str)


@pytest.mark.parametrize(
    "conventions", [SITE, Conventions(), replace(SITE, keep_units=True)], ids=str
)
def test_an_upload_comes_out_like_the_records_of_the_store(
    upload: Path, tmp_path: Path, conventions: Conventions
) -> None:
    ingest([upload], tmp_path / "store", conventions=conventions)
    with uploaded_store([upload], conventions=conventions) as uploaded:
        assert values(uploaded.store) == values(tmp_path / "store")


def test_a_run_carries_how_its_store_was_read(tmp_path: Path) -> None:
    write_clinic(tmp_path, n=60)
    use: dict[str, Any] = {"candidates": ("prevalence",), "encoders": HashedEncoders()}
    for stated, carried in ((None, Conventions(keep_units=True)), (SITE, SITE)):
        if stated is not None:
            write_conventions(tmp_path / "store", stated)
        train(tmp_path / "store", tmp_path / "cohort", tmp_path / "run", **use)
        run = ServedRun(tmp_path / "run", encoders=HashedEncoders())
        assert run.conventions == carried


def test_the_predictor_reads_an_upload_as_its_run_says(
    predictor: Predictor, upload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen() -> set[tuple[Any, ...]]:
        events = predictor.predict_upload([upload]).timeline.events
        return {
            (e.code, round(e.numeric_value, 1), e.unit)
            for e in events.itertuples()
            if isinstance(e.unit, str)
        }

    monkeypatch.setattr(predictor.served, "conventions", SITE)
    assert seen() == {
        ("LOINC//2951-2", 139.0, "mmol/L"),
        ("LAB//K", 4.1, "meq/L"),
        ("LOINC//29463-7", 90718.5, "g"),
        ("KH//OTHER", 7.5, "mm[Hg]"),
    }
    monkeypatch.setattr(predictor.served, "conventions", Conventions(keep_units=True))
    assert ("LOCAL//OTHER", 1.0, "kPa") in seen()
