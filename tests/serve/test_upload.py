"""An upload: one patient, within limits, parsed elsewhere, gone afterwards."""

import json
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ingest.errors import LimitError
from ingest.store import RecordStore
from serve.page_result import render
from serve.predictor import Predictor
from serve.texts import say
from serve.upload import UploadError, UploadLimits, uploaded_store

WEIGHED = """
predicates:
  weighed: {code: LOINC//29463-7}
  ill: {code: SNOMED//84114007}
trigger: weighed
windows:
  day: {start: trigger, end: start + 24h, start_inclusive: true, end_inclusive: true,
        index_timestamp: end, has: {}}
  year: {start: day.end, end: start + 365d, start_inclusive: false, end_inclusive: true,
         label: ill, has: {}}
"""


def patient(identifier: str) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": identifier,
        "gender": "female",
        "birthDate": "1950-01-01",
    }


def weight(identifier: str, subject: str, kilograms: float) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": identifier,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": f"Patient/{subject}"},
        "effectiveDateTime": "2020-01-02T03:04:00Z",
        "valueQuantity": {"value": kilograms, "unit": "kg"},
    }


def bundle(place: Path, *resources: dict[str, Any], name: str = "Jane_Roe.json") -> Path:
    file = place / name
    entries = [{"resource": r} for r in resources]
    content = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    file.write_text(json.dumps(content), "utf-8")
    return file


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where uploads are worked on, to see what is left of them."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return place


def test_one_patients_bundle_becomes_a_store_and_leaves_nothing(
    tmp_path: Path, temporary: Path
) -> None:
    file = bundle(tmp_path, patient("a"), weight("w", "a", 71.5))
    with uploaded_store([file]) as uploaded:
        events = RecordStore(uploaded.store).events().df()
        assert set(events["code"]) >= {"GENDER//F", "MEDS_BIRTH", "LOINC//29463-7"}
        assert 71.5 in events["numeric_value"].tolist()
        assert (uploaded.images_unused, uploaded.quarantined) == (0, 0)
        everything = [f for f in temporary.rglob("*") if f.is_file()]
        assert everything
        assert not [f for f in everything if b"Jane_Roe" in f.read_bytes() or "Jane" in f.name]
    assert not list(temporary.iterdir())


def test_what_could_not_be_read_is_counted(tmp_path: Path) -> None:
    file = bundle(tmp_path, patient("a"), weight("w", "a", 71.5))
    lines = tmp_path / "more.ndjson"
    lines.write_text(json.dumps(weight("v", "a", 70)) + '\n{"resourceType": "Obs', "utf-8")
    film = tmp_path / "film.dcm"
    film.write_bytes(b"not a film")
    with uploaded_store([file, lines, film]) as uploaded:
        assert uploaded.images_unused == 1
        assert uploaded.quarantined == 1


def picture(place: Path, name: str = "Jane_Roe.png") -> Path:
    file = place / name
    grey = np.random.default_rng(0).integers(0, 255, (64, 48), dtype=np.uint8)
    Image.fromarray(grey).save(file)
    return file


def test_a_picture_without_a_date_is_the_patients_and_known_at_the_prediction_time(
    tmp_path: Path, temporary: Path
) -> None:
    files = [
        bundle(tmp_path, patient("2"), weight("w", "2", 71.5)),
        picture(tmp_path),
        picture(tmp_path, "2.JPG"),
    ]
    task = tmp_path / "weighed.yaml"
    task.write_text(WEIGHED, "utf-8")
    for tasks, at in (((), "2020-01-02T03:04:00"), ((task,), "2020-01-03T03:04:00")):
        with uploaded_store(files, tasks=tasks) as uploaded:
            assert (uploaded.images_undated, uploaded.images_unused) == (2, 0)
            assert uploaded.quarantined == 0
            events = RecordStore(uploaded.store).events().df()
            films = events[events["code"] == "IMAGE//OT"]
            assert films["time"].tolist() == [pd.Timestamp(at)] * 2
            assert not [f for f in temporary.rglob("*") if "Jane" in f.name]
    assert not list(temporary.iterdir())


def test_an_uploaded_picture_is_seen_by_the_model_and_shown(
    tmp_path: Path, predictor: Predictor
) -> None:
    record = bundle(tmp_path, patient("a"), weight("w", "a", 71.5))
    without = predictor.predict_upload([record])
    shown = predictor.predict_upload([record, picture(tmp_path)])
    assert without.pictures == ()
    assert [p.code for p in shown.pictures] == ["IMAGE//OT"]
    assert shown.prediction_time == without.prediction_time
    assert shown.risks[0].risk != without.risks[0].risk
    for language in ("en", "zh"):
        assert say(language, "remark_image_undated", n=1) in render(shown, language)
        assert say(language, "remark_image_undated", n=1) not in render(without, language)


def test_a_picture_that_is_none_is_counted_as_unused(tmp_path: Path) -> None:
    lie = tmp_path / "film.png"
    lie.write_bytes(b"not a film")
    file = bundle(tmp_path, patient("a"), weight("w", "a", 71.5))
    with uploaded_store([file, lie]) as uploaded:
        assert (uploaded.images_undated, uploaded.images_unused) == (0, 1)


def test_several_patients_or_none_are_refused(tmp_path: Path) -> None:
    two = bundle(tmp_path, patient("a"), patient("b"), weight("w", "a", 1), weight("v", "b", 2))
    with pytest.raises(UploadError, match="2 patients") as refusal, uploaded_store([two]):
        pass
    assert refusal.value.key == "error_several"
    nobody = bundle(tmp_path, name="nobody.json")
    with pytest.raises(UploadError) as refusal, uploaded_store([nobody]):
        pass
    assert refusal.value.key in {"error_nobody", "error_input"}
    with pytest.raises(UploadError, match="at least one file"), uploaded_store([]):
        pass


@pytest.mark.parametrize(
    "content", [b"\0\xff\xfe", b"{}", b'{"resourceType": "Bundle", "entry": [{"re']
)
def test_a_file_that_is_no_fhir_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(UploadError) as refusal, uploaded_store([file]):
        pass
    assert refusal.value.key in {"error_nobody", "error_input"}


def test_a_very_deep_json_ends_the_child_at_most(tmp_path: Path) -> None:
    file = tmp_path / "deep.json"
    file.write_bytes(b'{"resourceType":"Bundle","entry":' + b"[" * 3_000_000)
    with pytest.raises((UploadError, LimitError)), uploaded_store([file]):
        pass


def test_caps_hold_before_anything_is_read(tmp_path: Path) -> None:
    limits = UploadLimits(files=2, file_bytes=100, total_bytes=150)
    small, large = tmp_path / "a.json", tmp_path / "b.json"
    small.write_bytes(b" " * 90)
    large.write_bytes(b" " * 101)
    for files, words in (
        ([small] * 3, "at most 2 files; got 3"),
        ([large], "a file has at most 100 bytes; got 101"),
        ([small, small], "an upload has at most 150 bytes; got 180"),
    ):
        with pytest.raises(LimitError, match=words), uploaded_store(files, limits):
            pass
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"PK")
    with pytest.raises(UploadError, match="must end in") as refusal, uploaded_store([archive]):
        pass
    assert refusal.value.key == "error_kind"
    with pytest.raises(ValueError, match="file_bytes=2, total_bytes=1"):
        UploadLimits(file_bytes=2, total_bytes=1)


def test_time_and_memory_are_limited_in_the_child_alone(tmp_path: Path, temporary: Path) -> None:
    file = bundle(tmp_path, patient("a"), *(weight(f"w{i}", "a", i) for i in range(2000)))
    with (
        pytest.raises(LimitError, match="longer than"),
        uploaded_store([file], UploadLimits(seconds=0.05)),
    ):
        pass
    with pytest.raises(LimitError), uploaded_store([file], UploadLimits(memory_bytes=2**28)):
        pass
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
    assert resource.getrlimit(resource.RLIMIT_CPU)[0] == resource.RLIM_INFINITY
    assert not list(temporary.iterdir())
