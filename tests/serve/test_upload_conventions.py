"""What is uploaded is read as the records were that the model was trained on."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fusion.served import ServedRun
from fusion.train import train
from ingest.build import ingest
from ingest.conventions import Conventions, write_conventions
from ingest.deidentify_choice import Deidentification, read_choice
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


WORDS = "Jane Doering, born 6 May 1921, aged 98, came on 01/02/2020, or on 31.02.2020."
NOTED = [
    {
        "resourceType": "Patient",
        "id": "p",
        "name": [{"family": "Doering", "given": ["Jane"]}],
        "gender": "female",
        "birthDate": "1921-05-06",
    },
    {
        "resourceType": "DocumentReference",
        "id": "d",
        "status": "current",
        "subject": {"reference": "Patient/p"},
        "date": "2020-01-02T03:04:00Z",
        "type": {"coding": [{"system": "http://loinc.org", "code": "34117-2"}]},
        "content": [
            {
                "attachment": {
                    "contentType": "text/plain",
                    "data": base64.b64encode(WORDS.encode()).decode(),
                }
            }
        ],
    },
    measured(LAB, "NA", 139, "mEq/L"),
]


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    file = tmp_path / "noted.ndjson"
    file.write_text("".join(json.dumps(record) + "\n" for record in NOTED), "utf-8")
    return file


@pytest.mark.parametrize("shifts", [True, False])
def test_an_upload_is_scrubbed_like_the_store_but_shows_its_own_dates(
    noted: Path, tmp_path: Path, shifts: bool
) -> None:
    store = tmp_path / "store"
    ingest([noted], store, deidentify=True, keep_dates=not shifts)
    choice = read_choice(store)
    film = tmp_path / "Doering.png"
    Image.new("L", (32, 32)).save(film)
    with uploaded_store([noted, film], deidentification=choice) as uploaded:
        mine = RecordStore(uploaded.store).events().df()
        assert (uploaded.images_unused, uploaded.images_undated) == (0, 1)
        assert uploaded.quarantined == 0
    theirs = RecordStore(store).events().df()
    # The same words, ages and intervals, and its own dates.
    [said] = mine["text_value"].dropna()
    [trained] = theirs["text_value"].dropna()
    pattern = r"\d\d/\d\d/\d{4}" if shifts else r"$^"
    assert re.sub(pattern, "", said) == re.sub(pattern, "", trained)
    born = "[DATE]" if shifts else "6 May 1921"
    other = "[DATE]" if shifts else "31.02.2020"
    assert said == f"[NAME], born {born}, aged 90+, came on 01/02/2020, or on {other}."
    spans = [set(events["time"].max() - events["time"].dropna()) for events in (mine, theirs)]
    assert spans[0] == spans[1]
    assert mine["time"].max().isoformat() == "2020-01-02T03:04:00"


def test_a_run_knows_that_its_store_was_de_identified_and_scrubs_uploads_so(
    tmp_path: Path,
    noted: Path,
    predictor: Predictor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_clinic(tmp_path, n=60)
    use: dict[str, Any] = {"candidates": ("prevalence",), "encoders": HashedEncoders()}
    for said, carried in ((None, None), ("shifted", Deidentification())):
        if said is not None:
            report = {"deidentified": {"dates": said}}
            (tmp_path / "store" / "ingest_report.json").write_text(json.dumps(report), "utf-8")
        train(tmp_path / "store", tmp_path / "cohort", tmp_path / "run", **use)
        run = ServedRun(tmp_path / "run", encoders=HashedEncoders())
        assert run.deidentification == carried
        assert run.read_otherwise(tmp_path / "store") == []
    (tmp_path / "store" / "ingest_report.json").unlink()
    (scrubbed,) = run.read_otherwise(tmp_path / "store")
    assert "the store is not de-identified" in scrubbed
    write_conventions(tmp_path / "store", Conventions(default_prefix="KH"))
    codes, again = run.read_otherwise(tmp_path / "store")
    assert "codes or units" in codes
    assert again == scrubbed
    for choice, left in ((None, True), (Deidentification(), False)):
        monkeypatch.setattr(predictor.served, "deidentification", choice)
        prediction = predictor.predict_upload([noted])
        assert (
            ["Doering" in text for text in prediction.timeline.events["text_value"].dropna()]
        ) == [left]
        assert str(prediction.prediction_time) == "2020-01-02 03:04:00"
