"""Train on a small clinic, with the tiny embedder of `clinic`; what training promises of a run."""

import json
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from fusion.candidates import CANDIDATES, Lesson
from fusion.run import read_json, seal_run, write_json
from fusion.scoring import Scorer, subsets
from fusion.served import ServedRun
from ingest.errors import CohortError, RunError, UsageError
from ingest.labels import read_cohort
from ingest.schema import Modality
from tests.fusion.clinic import (
    QUICK,
    HashedEncoders,
    clinic_events,
    fit,
    hashes,
    held_out,
    serve,
    write_clinic,
    write_cohort,
    write_store,
)

SIMPLE = tuple(name for name in CANDIDATES if name != "attention")


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clinic")
    write_clinic(place)
    fit(place)
    return place


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every candidate but attention, which `test_attention` fits, on a smaller clinic."""
    place = tmp_path_factory.mktemp("full")
    write_clinic(place, n=140)
    fit(place, candidates=SIMPLE)
    return place


def test_the_champion_and_the_reason_are_written_and_returned(clinic: Path) -> None:
    chosen = fit(clinic)
    assert chosen == read_json(clinic / "run" / "champion.json")
    ill = chosen["tasks"]["ill"]
    assert ill["model"] in QUICK
    assert ill["why"].startswith(f"ill: {ill['model']} serves (tuning and calibration log-loss ")
    assert set(ill["compared"]) == set(QUICK)


def test_a_second_run_fits_nothing_and_changes_nothing(
    clinic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {f: f.stat().st_mtime_ns for f in (clinic / "run" / "models").rglob("*")}
    monkeypatch.setattr("fusion.train.fit_candidate", lambda *a, **k: pytest.fail("fitted again"))
    fit(clinic)
    assert {f: f.stat().st_mtime_ns for f in (clinic / "run" / "models").rglob("*")} == before


def test_the_same_inputs_give_the_same_hashes_elsewhere(clinic: Path) -> None:
    fit(clinic, "again")
    assert hashes(clinic / "again") == hashes(clinic / "run")


def test_another_seed_or_candidate_list_is_another_run(clinic: Path) -> None:
    fit(clinic, "seeded", seed=1)
    assert hashes(clinic / "seeded") != hashes(clinic / "run")


def test_held_out_rows_change_no_hash(clinic: Path, tmp_path: Path) -> None:
    events = pq.read_table(clinic / "store" / "data" / "0.parquet").to_pandas()
    cohort = read_cohort(clinic / "cohort")
    mine = cohort.index["subject_id"].iloc[cohort.rows("held_out")]
    wild = events["subject_id"].isin(mine)
    assert wild.any()
    events.loc[wild, "numeric_value"] = 999.0
    events.loc[wild & events["text_value"].notna(), "text_value"] = "something else entirely"
    shutil.copytree(clinic / "store" / "images", tmp_path / "store" / "images")
    write_store(tmp_path / "store", events)
    shutil.copytree(clinic / "cohort", tmp_path / "cohort")
    labels = pq.read_table(clinic / "cohort" / "labels" / "ill.parquet").to_pandas()
    flipped = labels["subject_id"].isin(mine)
    labels.loc[flipped, "boolean_value"] = ~labels.loc[flipped, "boolean_value"]
    labels = labels[labels["subject_id"] != mine.iloc[0]]  # nor does one who is no more held out
    labels.to_parquet(tmp_path / "cohort" / "labels" / "ill.parquet")
    fit(tmp_path)
    assert hashes(tmp_path / "run") == hashes(clinic / "run")


def test_a_changed_train_row_is_fitted_anew(clinic: Path, tmp_path: Path) -> None:
    shutil.copytree(clinic, tmp_path / "c")
    place = tmp_path / "c"
    events = pq.read_table(place / "store" / "data" / "0.parquet").to_pandas()
    cohort = read_cohort(place / "cohort")
    first = cohort.index["subject_id"].iloc[cohort.rows("train")[0]]
    events.loc[(events["subject_id"] == first), "numeric_value"] = 180.0
    write_store(place / "store", events)
    fit(place)
    assert hashes(place / "run") != hashes(clinic / "run")


def test_training_that_was_killed_goes_on_with_the_rest(
    clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(clinic / "store", tmp_path / "store")
    shutil.copytree(clinic / "cohort", tmp_path / "cohort")
    import fusion.train as module

    real, asked = module.fit_candidate, []

    def dies(name: str, lesson: Lesson, **more):
        asked.append(name)
        if name == "images_embedding" and len(asked) < 5:
            raise KeyboardInterrupt
        return real(name, lesson, **more)

    monkeypatch.setattr(module, "fit_candidate", dies)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path)
    with pytest.raises(RunError, match=r"manifest.json is not there"):
        serve(tmp_path / "run")
    asked.clear()
    asked.extend([""] * 5)
    fit(tmp_path)
    assert asked[5:] == ["images_embedding", "average"]
    assert hashes(tmp_path / "run") == hashes(clinic / "run")


@pytest.mark.parametrize("name", SIMPLE)
def test_each_candidate_can_win_and_serve_from_the_disk(full: Path, name: str) -> None:
    # Fitted models are kept when another champion is asked for; only the choice is made anew.
    chosen = fit(full, candidates=SIMPLE, champion=name)
    assert chosen["tasks"]["ill"]["model"] == name
    assert "asked for" in chosen["tasks"]["ill"]["why"]
    served = serve(full / "run")
    assert isinstance(served, Scorer)
    assert served.champion("ill") == name
    timelines = held_out(full)
    risk = served.score(timelines)
    np.testing.assert_array_equal(risk, served.scorer(name).score(timelines))
    assert ((risk > 0) & (risk < 1)).all()
    for chosen_modalities in [frozenset[Modality](), *subsets()]:
        np.testing.assert_array_equal(
            served.score(timelines, chosen_modalities),
            served.score(timelines.only(chosen_modalities)),
        )
    alone = np.concatenate([served.score(timelines.take(np.array([i]))) for i in range(5)])
    np.testing.assert_allclose(alone, risk[:5], atol=1e-9)


@pytest.mark.parametrize("name", SIMPLE[1:])
def test_noise_in_a_masked_modality_changes_no_bit(full: Path, name: str) -> None:
    model, timelines = serve(full / "run").scorer(name), held_out(full)
    events = timelines.events.copy()
    events.loc[events["modality"] == "notes", "text_value"] = "entirely other words 42"
    numbers = events["numeric_value"].notna()
    events.loc[numbers, "numeric_value"] = -1.0
    noise = type(timelines)(index=timelines.index, events=events, images=timelines.images)
    only_images = frozenset({Modality.IMAGES})
    np.testing.assert_array_equal(
        model.score(noise, only_images), model.score(timelines, only_images)
    )


def test_what_wins_by_itself_is_what_the_data_planted(tmp_path: Path) -> None:
    write_clinic(tmp_path, n=300, strength=(4.0, 0.0, 0.0))
    chosen = fit(tmp_path, candidates=("prevalence", "events_logistic", "notes_tfidf"))
    assert chosen["tasks"]["ill"]["model"] == "events_logistic"
    (tmp_path / "noise").mkdir()
    write_clinic(tmp_path / "noise", n=300, strength=(0.0, 0.0, 0.0))
    chosen = fit(tmp_path / "noise", candidates=("prevalence", "events_logistic", "notes_tfidf"))
    assert chosen["tasks"]["ill"]["model"] == "prevalence"


def test_nothing_that_is_known_later_can_be_seen(clinic: Path) -> None:
    # Each patient's record goes on with the perfect answer; with it the AUROC would be 1.
    features = read_json(clinic / "run" / "models" / "events_logistic" / "features.json")
    assert "SNOMED//84114007" not in features["codes"]


def test_codes_that_the_task_excludes_are_seen_by_no_model_and_not_when_serving(
    tmp_path: Path,
) -> None:
    write_clinic(tmp_path, exclude_codes=["^LOINC//8480-6$"])
    fit(tmp_path, exclude_codes=["44054006"], candidates=("prevalence", "events_logistic"))
    features = read_json(tmp_path / "run" / "models" / "events_logistic" / "features.json")
    assert "LOINC//8480-6" not in features["codes"]
    assert "SNOMED//44054006" not in features["codes"]
    assert "SNOMED//38341003" in features["codes"]
    assert serve(tmp_path / "run").exclude_codes == ("44054006", "^LOINC//8480-6$")


def test_the_base_rate_is_that_of_train(clinic: Path) -> None:
    cohort = read_cohort(clinic / "cohort")
    labels = cohort.labels[cohort.rows("train"), 0]
    expected = (labels.sum() + 0.5) / (len(labels) + 1)
    assert serve(clinic / "run").prevalence["ill"] == pytest.approx(expected)


def test_a_changed_file_is_not_served(clinic: Path, tmp_path: Path) -> None:
    shutil.copytree(clinic / "run", tmp_path / "run")
    content = read_json(tmp_path / "run" / "champion.json")
    content["tasks"]["ill"]["model"] = "prevalence"
    (tmp_path / "run" / "champion.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"champion.json was changed"):
        serve(tmp_path / "run")


def test_a_changed_model_is_fitted_anew_and_not_sealed_again(clinic: Path) -> None:
    fit(clinic, "changed")
    sealed = hashes(clinic / "changed")
    rates = clinic / "changed" / "models" / "prevalence" / "rates.json"
    rates.write_text(rates.read_text().replace("0.", "0.9", 1))
    fit(clinic, "changed")
    assert hashes(clinic / "changed") == sealed


def test_another_encoder_is_not_served(clinic: Path) -> None:
    class Other(HashedEncoders):
        preprocessing: ClassVar = {**HashedEncoders.preprocessing, "text": {"kind": "other"}}

    with pytest.raises(RunError, match="another encoder of text"):
        ServedRun(clinic / "run", encoders=Other())


def test_a_model_that_gives_no_number_is_not_served(
    clinic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fusion.linear import Logistic

    monkeypatch.setattr(Logistic, "logits", lambda self, x: np.full((x.shape[0], 1), np.nan))
    with pytest.raises(RunError, match="events_logistic gives no number for 36 of 36 risks"):
        serve(clinic / "run").scorer("events_logistic").score(held_out(clinic))


def test_where_tuning_cannot_choose_scores_are_cross_fitted(tmp_path: Path) -> None:
    events, labels = clinic_events(tmp_path / "store", 90, 3, strength=(4.0, 0, 0))
    write_store(tmp_path / "store", events)
    write_cohort(tmp_path / "cohort", {"ill": labels}, shares=(0.8, 0.02, 0.02, 0.16))
    chosen = fit(tmp_path, candidates=("prevalence", "events_logistic"))
    assert "cross-fitted log-loss" in chosen["tasks"]["ill"]["why"]
    assert chosen["tasks"]["ill"]["model"] == "events_logistic"
    assert read_json(tmp_path / "run" / "run.json")["folds"] == 5
    kept = read_json(tmp_path / "run" / "conformal.json")
    cohort = read_cohort(tmp_path / "cohort")
    rows = np.flatnonzero(cohort.index["split"].to_numpy() != "held_out")
    assert kept["cross_fitted"]
    assert kept["tasks"]["ill"]["positives"] == cohort.labels[rows, 0].sum()
    told = serve(tmp_path / "run").unlikeness(held_out(tmp_path))
    assert told.least[0] == 1 / (len(rows) + 1)


def test_two_tasks_with_gaps_are_served_by_their_own_champions(tmp_path: Path) -> None:
    events, labels = clinic_events(tmp_path / "store", 240, 1, strength=(4.0, 0, 0))
    write_store(tmp_path / "store", events)
    noise = labels.sample(frac=0.7, random_state=0)
    coin = np.random.default_rng(0).random(len(noise)) < 0.4
    noise = noise.assign(boolean_value=coin)
    write_cohort(tmp_path / "cohort", {"ill": labels, "noise": noise})
    chosen = fit(tmp_path, candidates=("prevalence", "events_logistic"))
    models = {task: found["model"] for task, found in chosen["tasks"].items()}
    assert models == {"ill": "events_logistic", "noise": "prevalence"}
    served = serve(tmp_path / "run")
    risk = served.score(held_out(tmp_path))
    assert np.ptp(risk[:, 1]) == 0 < np.ptp(risk[:, 0])


def test_one_class_in_train_is_refused_with_the_counts(tmp_path: Path) -> None:
    events, labels = clinic_events(tmp_path / "store", 60, 1)
    write_store(tmp_path / "store", events)
    write_cohort(tmp_path / "cohort", {"ill": labels.assign(boolean_value=False)})
    with pytest.raises(CohortError, match=r"ill: train has 0 positives and \d+ negatives"):
        fit(tmp_path)


def test_a_run_of_another_layout_is_not_served(clinic: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(clinic / "run", run)
    write_json(run / "run.json", {**read_json(run / "run.json"), "layout": 0})
    seal_run(run)
    with pytest.raises(RunError, match=r"another version of Medweave \(layout 0, .*train again"):
        serve(run)


def test_a_task_that_would_let_its_codes_back_in_is_refused(clinic: Path, tmp_path: Path) -> None:
    shutil.copytree(clinic, tmp_path / "c")
    file = tmp_path / "c" / "cohort" / "tasks" / "ill.yaml"
    for content in ("", "[]", "metadata: 3", "metadata:\n  exclude_codes: ^SNOMED"):
        file.write_text(content, "utf-8")
        with pytest.raises(CohortError, match=r"ill\.yaml is no task"):
            fit(tmp_path / "c", "other")


def test_a_champion_that_was_not_asked_for_is_refused(clinic: Path) -> None:
    with pytest.raises(UsageError, match="the champion must be one of prevalence"):
        fit(clinic, champion="attention")


def test_paths_are_noted_outside_of_what_was_fitted(clinic: Path) -> None:
    sources = read_json(clinic / "run" / "sources.json")
    assert Path(sources["store"]) == (clinic / "store").resolve()
    assert "sources.json" not in hashes(clinic / "run")
    for file in (clinic / "run").rglob("*.json"):
        if file.name != "sources.json":
            assert str(clinic) not in file.read_text()


def test_the_run_holds_nothing_that_is_unpickled(full: Path) -> None:
    kinds = {f.suffix for f in (full / "run").rglob("*") if f.is_file()}
    assert kinds <= {".json", ".safetensors", ".txt", ".yaml", ".parquet"}
    splits = pd.read_parquet(full / "run" / "splits.parquet")
    assert list(splits.columns) == ["subject_id", "split"]


def test_attention_can_win_and_serve_from_the_disk(full: Path) -> None:
    names = ("prevalence", "attention")
    chosen = fit(full, "attention", candidates=names, champion="attention")
    assert chosen["tasks"]["ill"]["model"] == "attention"
    served, timelines = serve(full / "attention"), held_out(full)
    risk = served.score(timelines)
    np.testing.assert_array_equal(risk, served.scorer("attention").score(timelines))
    alone = np.concatenate([served.score(timelines.take(np.array([i]))) for i in range(5)])
    np.testing.assert_allclose(alone, risk[:5], atol=1e-5)
    nothing = served.score(timelines, frozenset())
    np.testing.assert_allclose(nothing, served.score(timelines.only(frozenset())), atol=1e-6)
