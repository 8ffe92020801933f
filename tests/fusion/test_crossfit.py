from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusion.crossfit import CHOSEN, cross_validate
from fusion.evaluate import evaluate
from fusion.folds import subject_folds
from fusion.metrics import METRICS
from fusion.run import read_json, write_json
from fusion.served import ServedRun
from ingest.errors import CohortError, RunError, UsageError
from tests.fusion.clinic import HashedEncoders, clinic_events, write_cohort, write_store

NAMES = ("prevalence", "events_logistic", "notes_tfidf")


def clinic(place: Path, n: int = 87, **more) -> tuple[Path, Path]:
    events, labels = clinic_events(place / "store", n, 1, **more)
    write_store(place / "store", events)
    return place / "store", write_cohort(place / "cohort", {"ill": labels})


def validate(place: Path, **more) -> dict:
    more = {
        "candidates": NAMES, "encoders": HashedEncoders(), "bootstrap": 200, "folds": 4,
        "inner_folds": 3,
    } | more  # fmt: skip
    return cross_validate(place / "store", place / "cohort", place / "cv", **more)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    place = tmp_path_factory.mktemp("cv")
    clinic(place, strength=(3.0, 1.0, 0.0))
    return place, validate(place)


def test_every_patient_is_judged_once_and_the_shape_is_that_of_evaluate(judged) -> None:
    place, metrics = judged
    assert read_json(place / "cv" / "metrics.json") == metrics
    assert metrics["split"] == "cross_validated"
    ill = metrics["tasks"]["ill"]
    assert ill["n"] == 87
    assert set(ill["models"]) == {*NAMES, CHOSEN}
    assert ill["champion"] == CHOSEN
    assert sum(ill["choices"].values()) == 4
    assert set(ill["models"][CHOSEN]) == set(METRICS)
    assert (place / "cv" / "report.html").stat().st_size > 50_000


def test_it_is_told_apart_from_a_run_by_whoever_would_judge_or_serve_it(judged) -> None:
    place, _ = judged
    told = "is a cross-validation: it has been judged already, see .*report.html, and has no model"
    with pytest.raises(RunError, match=told):
        evaluate(place / "cv")
    with pytest.raises(RunError, match=told):
        ServedRun(place / "cv")


def test_the_directory_of_a_trained_run_is_not_written_over(judged, tmp_path: Path) -> None:
    write_json(tmp_path / "manifest.json", {"sha256": {}})
    with pytest.raises(UsageError, match="holds a trained run; name another directory"):
        cross_validate(judged[0] / "store", judged[0] / "cohort", tmp_path)


def test_the_signal_is_found_and_the_gain_over_one_modality_has_an_interval(judged) -> None:
    ill = judged[1]["tasks"]["ill"]
    assert ill["models"]["events_logistic"]["auroc"]["low"] > 0.6
    lead = ill["against_best_single"]
    assert lead["model"] == "events_logistic"
    assert lead["auroc"]["low"] <= lead["auroc"]["value"] <= lead["auroc"]["high"]


def test_pooled_predictions_are_those_that_the_metrics_judge(judged) -> None:
    place, metrics = judged
    table = pd.read_parquet(place / "cv" / "predictions.parquet")
    assert table["subject_id"].is_unique
    brier = ((table[CHOSEN] - table["label"]) ** 2).mean()
    assert brier == pytest.approx(metrics["tasks"]["ill"]["models"][CHOSEN]["brier"]["value"])


def test_labels_without_any_signal_look_like_chance(tmp_path: Path) -> None:
    """Any fitting, choosing or calibrating outside of the folds would beat chance here."""
    clinic(tmp_path, n=120, strength=(0.0, 0.0, 0.0))
    found = validate(tmp_path)["tasks"]["ill"]["models"]
    assert found[CHOSEN]["auroc"]["low"] < 0.5
    assert found[CHOSEN]["auroc"]["value"] < 0.6
    assert found[CHOSEN]["logloss"]["value"] > found["prevalence"]["logloss"]["value"] - 0.02


def test_a_held_out_patient_changes_nothing_of_what_judges_it(tmp_path: Path) -> None:
    """Flip one patient's label: what is said of that patient must stay the same to the bit."""
    _, cohort = clinic(tmp_path)
    rows = pd.read_parquet(cohort / "labels" / "ill.parquet")
    validate(tmp_path)
    before = pd.read_parquet(tmp_path / "cv" / "predictions.parquet").set_index("subject_id")
    # Swap two patients' labels, so that the folds' counts stay as they are; a fold's own patients
    # are dealt by label, so take two whom the swap leaves in the same fold.
    subjects, labels = rows["subject_id"].to_numpy(), rows["boolean_value"].to_numpy(float)
    fold = subject_folds(subjects, labels, folds=4, seed=0)
    for i in np.flatnonzero(labels == 1):
        for j in np.flatnonzero((labels == 0) & (fold == fold[i])):
            swapped = labels.copy()
            swapped[[i, j]] = swapped[[j, i]]
            after = subject_folds(subjects, swapped, folds=4, seed=0)
            if (after == fold).all():
                break
        else:
            continue
        break
    else:
        pytest.fail("no two patients can be swapped within a fold")
    rows["boolean_value"] = swapped.astype(bool)
    rows.to_parquet(cohort / "labels" / "ill.parquet")
    validate(tmp_path)
    again = pd.read_parquet(tmp_path / "cv" / "predictions.parquet").set_index("subject_id")
    mine = subjects[fold == fold[i]]
    columns = [*NAMES, CHOSEN]
    pd.testing.assert_frame_equal(before.loc[mine, columns], again.loc[mine, columns])
    others = subjects[fold != fold[i]]
    assert not before.loc[others, columns].equals(again.loc[others, columns])


def test_a_dropped_modality_and_an_excluded_code_are_seen_by_nobody(tmp_path: Path) -> None:
    clinic(tmp_path, strength=(4.0, 0.0, 0.0))
    without = validate(tmp_path, exclude_codes=["^LOINC//8480-6$"])["tasks"]["ill"]
    assert without["models"]["events_logistic"]["auroc"]["low"] < 0.6
    dropped = validate(tmp_path, drop=["events"])
    assert dropped["dropped"] == ["events"]
    assert set(dropped["tasks"]["ill"]["subsets"]) == {"notes", "images", "notes+images"}
    assert dropped["tasks"]["ill"]["models"]["events_logistic"]["auroc"]["low"] <= 0.5


def test_repeats_average_over_other_folds(tmp_path: Path) -> None:
    clinic(tmp_path, n=60)
    found = validate(tmp_path, repeats=2, candidates=("prevalence", "events_logistic"))
    assert sum(found["tasks"]["ill"]["choices"].values()) == 8
    table = pd.read_parquet(tmp_path / "cv" / "predictions.parquet")
    assert table["events_logistic"].between(0, 1, inclusive="neither").all()


def test_what_cannot_be_cross_validated_is_refused(tmp_path: Path) -> None:
    _, cohort = clinic(tmp_path, n=30)
    with pytest.raises(UsageError, match="folds=1"):
        validate(tmp_path, folds=1)
    with pytest.raises(CohortError, match="30 patients are too few for 20 folds"):
        validate(tmp_path, folds=20)
    with pytest.raises(UsageError, match="got genome"):
        validate(tmp_path, drop=["genome"])
    rows = pd.read_parquet(cohort / "labels" / "ill.parquet")
    rows.assign(boolean_value=False).to_parquet(cohort / "labels" / "ill.parquet")
    with pytest.raises(CohortError, match="ill: 0 patients are positives"):
        validate(tmp_path)


def test_folds_keep_patients_whole_and_spread_positives() -> None:
    rng = np.random.default_rng(0)
    subjects = rng.integers(0, 60, 300)
    labels = (subjects % 6 == 0).astype(float)
    fold = subject_folds(subjects, labels, folds=5, seed=1)
    for subject in np.unique(subjects):
        assert len(set(fold[subjects == subject])) == 1
    positives = [len(np.unique(subjects[(fold == f) & (labels == 1)])) for f in range(5)]
    assert positives == [2] * 5
