"""The predictor: risks and reasons that add up, from what was known and nothing else."""

import json
import shutil
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from encoders.frozen import FrozenEncoders
from fusion.scoring import ALL_MODALITIES
from fusion.served import read_splits
from fusion.train import token_cache
from fusion.what_if import Edit
from ingest.errors import InputError, StoreError
from ingest.schema import Modality
from ingest.store import RecordStore
from serve.predictor import Predictor
from tests.serve.clinic import Clinic


def logit(risk: float) -> float:
    return float(np.log(risk / (1 - risk)))


def test_contributions_add_up_from_nothing_known_to_the_risk(
    predictor: Predictor, clinic: Clinic
) -> None:
    risk = predictor.predict(clinic.with_all).risks[0]
    in_points = sum(part.risk for part in risk.contributions)
    in_log_odds = sum(part.log_odds for part in risk.contributions)
    assert risk.nothing_known + in_points == pytest.approx(risk.risk, abs=1e-9)
    assert logit(risk.nothing_known) + in_log_odds == pytest.approx(logit(risk.risk), abs=1e-9)
    assert all(abs(part.risk) > 1e-6 for part in risk.contributions)


@pytest.mark.parametrize(
    ("lacking", "modality"),
    [("without_note", Modality.NOTES), ("without_image", Modality.IMAGES)],
)
def test_what_a_patient_lacks_is_named_and_contributes_nothing(
    predictor: Predictor, clinic: Clinic, lacking: str, modality: Modality
) -> None:
    prediction = predictor.predict(getattr(clinic, lacking))
    assert prediction.missing == (modality,)
    part = next(c for c in prediction.risks[0].contributions if c.modality == modality)
    assert not part.present
    assert part.risk == part.log_odds == 0
    assert 0 < prediction.risks[0].risk < 1


def test_the_risk_is_what_the_run_scores_alone_and_in_the_table(
    predictor: Predictor, clinic: Clinic
) -> None:
    prediction = predictor.predict(clinic.with_all)
    timelines = RecordStore(clinic.store).timelines(predictor.patients())
    rows = predictor.patients()["subject_id"].to_numpy()
    together = predictor.served.score(timelines, ALL_MODALITIES)[rows == clinic.with_all, 0]
    table = predictor.predict_table()
    in_table = table.loc[table["subject_id"] == clinic.with_all, "risk"]
    assert prediction.risks[0].risk == pytest.approx(float(together[0]), abs=1e-6)
    assert prediction.risks[0].risk == pytest.approx(float(in_table.iloc[0]), abs=1e-6)


def test_what_stands_beside_a_risk_is_what_the_run_states(
    predictor: Predictor, clinic: Clinic
) -> None:
    prediction = predictor.predict(clinic.with_all)
    (risk,) = prediction.risks
    timeline, served = prediction.timeline, predictor.served
    assert served.states_beside
    low, high = served.intervals(timeline)[0, 0]
    if np.isfinite(low):
        assert risk.interval == (low, high)
        assert low <= risk.risk <= high
    else:
        assert risk.interval is None
    kept = served.label_sets(timeline)[0, 0]
    assert risk.label_set == ("neither", "negative", "positive", "either")[kept @ [1, 2]]
    unlike = served.unlikeness(timeline)
    assert (prediction.unlike is not None) == bool(unlike.unlike()[0])


def test_an_explanation_adds_up_and_a_change_is_what_such_a_record_scores(
    predictor: Predictor, clinic: Clinic
) -> None:
    (found,) = predictor.explain(clinic.with_all, edits=[Edit.parse("-notes")])
    risk = predictor.predict(clinic.with_all).risks[0]
    explanation = found.explanation
    assert explanation.risk == pytest.approx(risk.risk, abs=1e-9)
    total = explanation.base + sum(explanation.modalities.values())
    assert total == pytest.approx(logit(risk.risk), abs=1e-9)
    without = predictor.served.score(found.timeline, ALL_MODALITIES - {Modality.NOTES})[0, 0]
    assert found.what_if == ((Edit.parse("-notes"), pytest.approx(float(without))),)
    (note,) = explanation.notes
    text = str(found.timeline.part(Modality.NOTES)["text_value"].iloc[note.number])
    assert {text[w.start : w.end] for w in note.words} <= set(text.split())
    assert sum(w.log_odds for w in note.words) == pytest.approx(note.log_odds, abs=1e-9)


def test_the_table_has_a_row_for_every_subject_of_the_task(predictor: Predictor) -> None:
    table = predictor.predict_table()
    assert list(table.columns) == ["subject_id", "task", "prediction_time", "risk"]
    assert sorted(table["subject_id"]) == list(range(1, 61))
    assert table["risk"].between(0, 1, inclusive="neither").all()


def test_the_table_at_a_time_has_those_of_whom_something_was_known(predictor: Predictor) -> None:
    early = predictor.predict_table(at=pd.Timestamp("1800-01-01"))
    assert len(early) == 0
    assert list(early.columns) == ["subject_id", "task", "prediction_time", "risk"]
    later = predictor.predict_table(at=pd.Timestamp("2020-06-01", tz="Asia/Shanghai"))
    assert len(later) == 60
    assert set(later["prediction_time"]) == {pd.Timestamp("2020-05-31 16:00")}


def test_nothing_after_the_prediction_time_is_used_or_shown(
    predictor: Predictor, clinic: Clinic
) -> None:
    full = predictor.predict(clinic.with_all)
    early = predictor.predict(clinic.with_all, full.prediction_time - pd.Timedelta(days=100))
    assert early.timeline.events["time"].max() <= early.prediction_time
    assert set(early.missing) == {Modality.NOTES, Modality.IMAGES}
    assert early.pictures == ()
    assert early.risks[0].risk != full.risks[0].risk


def test_a_time_that_the_task_does_not_ask_at_is_marked(
    predictor: Predictor, clinic: Clinic
) -> None:
    full = predictor.predict(clinic.with_all)
    early = predictor.predict(clinic.with_all, full.prediction_time - pd.Timedelta(days=100))
    assert full.risks[0].asked
    assert not early.risks[0].asked


def test_patients_to_pick_are_held_out_ones(predictor: Predictor, clinic: Clinic) -> None:
    splits = read_splits(clinic.run).set_index("subject_id")["split"]
    picked = predictor.patients()
    assert len(picked) == (splits == "held_out").sum() > 5
    assert set(splits[picked["subject_id"]]) == {"held_out"}
    with pytest.raises(ValueError, match="split must be one of"):
        predictor.patients("test")


def test_a_summary_counts_what_each_row_has(predictor: Predictor, clinic: Clinic) -> None:
    index = predictor.patients()
    summary = predictor.summarize(index).set_index(index["subject_id"])
    assert summary.loc[clinic.with_all, ["notes", "images"]].tolist() == [1, 1]
    assert summary.loc[clinic.without_note, "notes"] == 0
    assert summary.loc[clinic.without_image, "images"] == 0
    assert summary["age_years"].between(39, 81).all()
    assert set(summary["sex"]) == {"F", "M"}


def test_a_task_says_what_serves_and_how_far_it_looks(predictor: Predictor) -> None:
    task = predictor.tasks[0]
    assert task.title == "Heart failure within a year"
    assert task.horizon_days == 365
    assert task.champion == "average"
    assert 0 < task.base_rate < 1


def test_a_subject_of_whom_nothing_is_known_is_refused(
    predictor: Predictor, clinic: Clinic
) -> None:
    with pytest.raises(InputError, match="no task asks"):
        predictor.predict(999_999)
    with pytest.raises(InputError, match="nothing is known"):
        predictor.predict(clinic.with_all, pd.Timestamp("1900-01-01"))


def test_without_a_store_there_is_nobody_to_pick(clinic: Clinic) -> None:
    alone = Predictor(clinic.run)
    assert alone.patients().empty
    with pytest.raises(StoreError, match="no record store"):
        alone.predict(clinic.with_all)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Notes and images that an encoder read; what comes from a cache is not among them."""
    read: list[object] = []
    for name in ("_read_notes", "_read_images"):
        real = getattr(FrozenEncoders, name)

        def told(self: FrozenEncoders, items: list, real: Callable = real) -> Iterator:
            read.extend(items)
            return real(self, items)

        monkeypatch.setattr(FrozenEncoders, name, told)
    return read


def kept(cache: Path) -> set[str]:
    return {str(file.relative_to(cache)) for file in cache.rglob("*") if file.is_file()}


def test_what_training_encoded_is_not_encoded_again_and_the_rest_once(
    clinic: Clinic, encoded: list[object], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(clinic.store, store)
    shutil.copytree(token_cache(clinic.store), token_cache(store))
    before = kept(token_cache(store))
    assert before
    cold = Predictor(clinic.run, store).predict_table()
    assert len(encoded) == len(kept(token_cache(store)) - before)
    encoded.clear()
    warm = Predictor(clinic.run, store)
    pd.testing.assert_frame_equal(warm.predict_table(), cold)
    warm.predict(clinic.with_all)
    assert encoded == []
    shutil.rmtree(token_cache(store))
    pd.testing.assert_frame_equal(Predictor(clinic.run, store).predict_table(), cold)
    # No model of this run embeds notes; whether a record is unlike training's asks them, too.
    assert len(encoded) >= len([name for name in before if name.startswith("images-")]) > 0


def test_a_store_whose_cache_cannot_be_written_is_scored_all_the_same(
    clinic: Clinic, predictor: Predictor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "store"
    shutil.copytree(clinic.store, store)
    token_cache(store).write_text("a file where the directory should be")
    table = Predictor(clinic.run, store).predict_table()
    pd.testing.assert_frame_equal(table, predictor.predict_table())
    assert [record.getMessage() for record in caplog.records] == [
        "the token cache is not written: Not a directory"
    ]


def test_an_upload_is_encoded_once_and_leaves_nothing_in_the_cache(
    clinic: Clinic, predictor: Predictor, encoded: list[object], tmp_path: Path
) -> None:
    predictor.predict_table()
    before = kept(token_cache(clinic.store))
    encoded.clear()
    words = "Never written before: ankle swelling, short of breath."
    resources = [
        {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1950-01-01"},
        {
            "resourceType": "DocumentReference",
            "id": "d",
            "status": "current",
            "type": {"coding": [{"system": "http://loinc.org", "code": "11506-3"}]},
            "subject": {"reference": "Patient/p"},
            "date": "2020-01-02T03:04:00Z",
            "content": [
                {
                    "attachment": {
                        "contentType": "text/plain",
                        "data": b64encode(words.encode()).decode(),
                    }
                }
            ],
        },
    ]
    file, film = tmp_path / "patient.json", tmp_path / "film.png"
    entries = [{"resource": resource} for resource in resources]
    file.write_text(
        json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}), "utf-8"
    )
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 48), np.uint8)).save(film)
    first = predictor.predict_upload([file, film])
    assert first.missing == ()
    # Four subsets show the images, and unlikeness asks both, but each is encoded once.
    assert len(encoded) == len(set(map(str, encoded))) == 2
    assert predictor.predict_upload([file, film]).risks == first.risks
    assert len(encoded) == 4
    assert kept(token_cache(clinic.store)) == before


def test_the_predictor_imports_no_web_framework() -> None:
    for name in ("prediction.py", "predictor.py", "upload.py"):
        source = (Path(__file__).parents[2] / "serve" / name).read_text("utf-8")
        assert "gradio" not in source
        assert "fastapi" not in source
