import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from fusion.evaluate import evaluate
from fusion.metrics import METRICS
from fusion.run import read_json, seal_run, verify_run
from fusion.scoring import subset_name, subsets
from fusion.served import ServedRun
from fusion.train import train
from ingest.errors import InputError, RunError, UsageError
from ingest.labels import read_cohort
from ingest.store import RecordStore
from tests.fusion.clinic import (
    HashedEncoders,
    clinic_events,
    write_clinic,
    write_cohort,
    write_store,
)

NAMES = ("prevalence", "events_logistic", "notes_tfidf", "images_embedding", "average")


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("judged")
    store, cohort = write_clinic(place, n=360, strength=(2.0, 2.0, 2.0))
    train(store, cohort, place / "run", candidates=NAMES, encoders=HashedEncoders())
    subjects = read_cohort(cohort).index["subject_id"].to_numpy()
    raw = place / "store.raw"
    raw.mkdir()
    keys = [f"Patient/p{i}" for i in range(len(subjects))]
    crosswalk = pd.DataFrame({"subject_id": subjects, "subject_key": keys})
    crosswalk.to_parquet(raw / "crosswalk.parquet")
    labels = pq.read_table(cohort / "labels" / "ill.parquet").to_pandas()["boolean_value"]
    truth = pd.DataFrame({"subject_key": keys})
    for name in (subset_name(s) for s in subsets()):
        truth[name] = np.where(labels, 0.8, 0.2)
    truth["additive"] = np.where(labels, 0.7, 0.3)
    truth.sample(frac=1, random_state=0).to_parquet(place / "oracle.parquet")
    return place


@pytest.fixture(scope="module")
def metrics(clinic: Path) -> dict:
    return judge(clinic, oracle=clinic / "oracle.parquet")


def judge(place: Path, **more) -> dict:
    return evaluate(place / "run", **({"bootstrap": 200, "encoders": HashedEncoders()} | more))


def test_metrics_json_has_the_agreed_shape(clinic: Path, metrics: dict) -> None:
    assert read_json(clinic / "run" / "metrics.json") == metrics
    assert metrics["split"] == "held_out"
    ill = metrics["tasks"]["ill"]
    assert {"n", "positives", "champion", "models", "subsets", "oracle"} <= set(ill)
    assert set(ill["models"]) == set(NAMES)
    names = {subset_name(s) for s in subsets()}
    assert set(ill["subsets"]) == names
    assert set(ill["oracle"]) == names | {"additive"}
    for table in (ill["models"], ill["subsets"], ill["oracle"]):
        for found in table.values():
            assert set(found) == set(METRICS)
            for interval in found.values():
                assert set(interval) == {"value", "low", "high"}


def test_the_champion_with_all_modalities_is_the_champion(metrics: dict) -> None:
    ill = metrics["tasks"]["ill"]
    assert ill["subsets"]["events+notes+images"] == ill["models"][ill["champion"]]


def test_values_lie_in_their_intervals_and_the_signal_is_found(metrics: dict) -> None:
    ill = metrics["tasks"]["ill"]
    for found in ill["models"].values():
        for name in set(METRICS) - {"ece"}:  # ECE is above 0 by chance: its interval is not centred
            assert found[name]["low"] <= found[name]["value"] <= found[name]["high"], name
    assert ill["models"]["average"]["auroc"]["value"] > 0.8
    assert ill["models"]["prevalence"]["auroc"]["value"] == 0.5


def test_the_oracle_is_joined_by_patient_and_not_by_place(metrics: dict) -> None:
    assert metrics["tasks"]["ill"]["oracle"]["events"]["auroc"]["value"] == 1.0


def test_a_second_evaluation_gives_the_same_bytes_and_the_seal_holds(clinic: Path) -> None:
    judge(clinic, oracle=clinic / "oracle.parquet")
    files = [clinic / "run" / name for name in ("metrics.json", "report.html")]
    first = [file.read_bytes() for file in files]
    judge(clinic, oracle=clinic / "oracle.parquet")
    assert [file.read_bytes() for file in files] == first
    verify_run(clinic / "run")


def test_thresholds_were_set_without_held_out_rows(clinic: Path, metrics: dict) -> None:
    ill = metrics["tasks"]["ill"]
    kept = read_json(clinic / "run" / "calibration.json")["ill"]
    assert ill["thresholds"] == {name: kept[name]["threshold"] for name in NAMES}


def test_rows_that_were_fitted_on_are_judged_beside_held_out_and_said_to_flatter(
    clinic: Path, tmp_path: Path
) -> None:
    place = tmp_path / "c"
    shutil.copytree(clinic, place)
    held_out = [place / "run" / name for name in ("metrics.json", "report.html")]
    before = [file.read_bytes() for file in held_out]
    found = judge(place, split="train", store=place / "store", cohort=place / "cohort")
    assert any("flatter" in line for line in found["tasks"]["ill"]["warnings"])
    assert read_json(place / "run" / "metrics.train.json") == found
    assert "Rows judged: train" in (place / "run" / "report.train.html").read_text("utf-8")
    assert [file.read_bytes() for file in held_out] == before
    train(place / "store", place / "cohort", place / "run", candidates=NAMES, seed=1,
          encoders=HashedEncoders())  # fmt: skip
    assert not [*(place / "run").glob("metrics*"), *(place / "run").glob("report*")]


def test_a_split_that_there_is_not_is_refused(clinic: Path) -> None:
    with pytest.raises(UsageError, match=r"split must be one of train, .*; got 'test'"):
        judge(clinic, split="test")


def test_an_oracle_that_is_not_there_is_told_before_anything_is_scored(
    clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion.evaluate._score", lambda *a: pytest.fail("scored first"))
    with pytest.raises(InputError, match="is not there"):
        judge(clinic, oracle=tmp_path / "none.parquet")


def test_a_cohort_that_was_split_otherwise_is_refused(clinic: Path, tmp_path: Path) -> None:
    shutil.copytree(clinic / "cohort", tmp_path / "cohort")
    splits = pd.read_parquet(tmp_path / "cohort" / "splits.parquet")
    splits["split"] = splits["split"].replace({"train": "held_out", "held_out": "train"})
    splits.to_parquet(tmp_path / "cohort" / "splits.parquet")
    with pytest.raises(RunError, match="was fitted with another split"):
        judge(clinic, cohort=tmp_path / "cohort", store=clinic / "store")


def test_a_cohort_of_another_task_is_refused(clinic: Path, tmp_path: Path) -> None:
    shutil.copytree(clinic / "cohort", tmp_path / "cohort")
    labels = tmp_path / "cohort" / "labels"
    (labels / "ill.parquet").rename(labels / "other.parquet")
    with pytest.raises(RunError, match="no labels of ill"):
        judge(clinic, cohort=tmp_path / "cohort", store=clinic / "store")


def test_an_oracle_that_does_not_fit_is_refused(clinic: Path, tmp_path: Path) -> None:
    pd.DataFrame({"subject_key": ["a"], "x": [1]}).to_parquet(tmp_path / "o.parquet")
    with pytest.raises(InputError, match="columns named as subsets"):
        judge(clinic, oracle=tmp_path / "o.parquet")
    pd.DataFrame({"subject_key": ["a"], "events": [0.1]}).to_parquet(tmp_path / "o.parquet")
    with pytest.raises(InputError, match="knows none of the"):
        judge(clinic, oracle=tmp_path / "o.parquet")


def test_one_class_among_the_judged_gives_nulls_and_says_so(tmp_path: Path) -> None:
    store, cohort = write_clinic(tmp_path, n=200)
    train(store, cohort, tmp_path / "run", candidates=NAMES[:2], encoders=HashedEncoders())
    labels = pq.read_table(cohort / "labels" / "ill.parquet").to_pandas()
    held = read_cohort(cohort).index["split"].to_numpy() == "held_out"
    labels.loc[held, "boolean_value"] = False
    labels.to_parquet(cohort / "labels" / "ill.parquet")
    ill = judge(tmp_path)["tasks"]["ill"]
    assert ill["positives"] == 0
    assert ill["models"]["events_logistic"]["auroc"]["value"] is None
    assert "one class" in ill["warnings"][0]
    assert "n/a" in (tmp_path / "run" / "report.html").read_text()


def test_with_few_positives_it_says_what_cannot_be_concluded(tmp_path: Path) -> None:
    events, labels = clinic_events(tmp_path / "store", 120, 1)
    write_store(tmp_path / "store", events)
    cohort = write_cohort(tmp_path / "cohort", {"ill": labels})
    train(tmp_path / "store", cohort, tmp_path / "run", candidates=NAMES[:2],
          encoders=HashedEncoders())  # fmt: skip
    ill = judge(tmp_path)["tasks"]["ill"]
    assert ill["positives"] < 20
    assert f"Only {ill['positives']} positives" in ill["warnings"][0]
    assert "cannot be concluded" in ill["warnings"][0]


def test_coverage_of_the_label_sets_is_counted_by_class(clinic: Path, metrics: dict) -> None:
    served, cohort = ServedRun(clinic / "run", encoders=HashedEncoders()), clinic / "cohort"
    table = read_cohort(cohort)
    rows = table.rows("held_out")
    index = table.index.iloc[rows].reset_index(drop=True)
    timelines, label = RecordStore(clinic / "store").timelines(index), table.labels[rows, 0]
    found = metrics["tasks"]["ill"]["label_sets"]
    assert set(found) == {"0.8", "0.9", "0.95"}
    for level, told in found.items():
        sets = served.label_sets(timelines, level=float(level))[:, 0]
        kept = np.where(label == 1, sets[:, 1], sets[:, 0])
        assert told["coverage"]["value"] == pytest.approx(kept.mean())
        assert told["coverage_positive"]["value"] == pytest.approx(kept[label == 1].mean())
        assert told["coverage_negative"]["value"] == pytest.approx(kept[label == 0].mean())
        size = sets.sum(axis=1)
        shares = [told[name]["value"] for name in ("empty", "single", "both")]
        assert shares == pytest.approx([(size == n).mean() for n in (0, 1, 2)])
        assert told["coverage"]["low"] <= kept.mean() <= told["coverage"]["high"]
    assert found["0.8"]["single"]["value"] > 0.3


def test_without_the_unlike_the_champion_is_measured_on_the_others(
    clinic: Path, tmp_path: Path
) -> None:
    place = tmp_path / "c"
    shutil.copytree(clinic, place)
    events = pq.read_table(place / "store" / "data" / "0.parquet").to_pandas()
    table = read_cohort(place / "cohort")
    spoilt = table.index["subject_id"].iloc[table.rows("held_out")[:30]]
    mine = events["subject_id"].isin(spoilt) & events["time"].notna()
    events.loc[mine & events["numeric_value"].notna(), "numeric_value"] *= 0.1333
    events.loc[mine & events["code"].str.startswith("SNOMED"), "code"] = "LOCAL//1"
    write_store(place / "store", events)
    found = judge(place, store=place / "store", cohort=place / "cohort")
    told = found["unlikeness"]
    # 126 reference rows cannot single out a row of three modalities at 0.01; of one they can.
    assert told["alpha"] == 0.01
    assert told["could_be"] < told["rows"] == len(table.rows("held_out"))
    effect = found["tasks"]["ill"]["unlikeness"]
    assert effect["everyone"]["n"] == told["rows"]
    assert effect["unlike"]["n"] + effect["without_unlike"]["n"] == told["rows"]
    assert effect["unlike"]["n"] == told["unlike"]
    assert "metrics" not in effect["unlike"]
    everyone = found["tasks"]["ill"]["models"][found["tasks"]["ill"]["champion"]]
    assert effect["everyone"]["metrics"]["auroc"] == everyone["auroc"]
    page = (place / "run" / "report.html").read_text("utf-8")
    assert "Unlike the training data" in page
    assert "could not have been called unlike" in page
    assert "Label sets" in page


def test_an_older_run_is_judged_without_what_it_does_not_state(
    clinic: Path, tmp_path: Path
) -> None:
    place = tmp_path / "c"
    shutil.copytree(clinic, place)
    (place / "run" / "conformal.json").unlink()
    shutil.rmtree(place / "run" / "unlikeness")
    seal_run(place / "run")
    found = judge(place, store=place / "store", cohort=place / "cohort")
    assert "unlikeness" not in found
    assert not {"label_sets", "unlikeness"} & set(found["tasks"]["ill"])
    page = (place / "run" / "report.html").read_text("utf-8")
    assert "Label sets" not in page
    assert "Unlike the training data" not in page
