"""The benchmark of robustness disturbs what it says it does, and nothing else; its table prints."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from fusion.rows import Rows
from ingest.labels import read_cohort
from ingest.schema import Modality
from ingest.timeline import Timelines
from tests.benchmarks.disturbances import (
    Disturbance,
    Spreads,
    disturbances,
    move_odds,
    with_prevalence,
)
from tests.benchmarks.quality import main
from tests.benchmarks.robustness import Judge, best_simple, table_of_robustness, tell
from tests.fusion.clinic import clinic_timelines, fit, held_out, serve, write_clinic

PRESSURE = "LOINC//8480-6"
LONG_NOTE = (
    "No shortness of breath at rest, but marked swelling of both ankles since Tuesday. " * 10
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Timelines:
    return clinic_timelines(tmp_path_factory.mktemp("sound"), 400, 3)[0]


def every(sound: Timelines, place: Path, seed: int = 0) -> dict[str, Disturbance]:
    found = disturbances(Spreads.fit(sound), place, seed)
    return {f"{each.part}: {each.name}": each for each in found}


def values(timelines: Timelines) -> np.ndarray:
    events = timelines.part(Modality.EVENTS)
    return events.loc[events["code"] == PRESSURE, "numeric_value"].to_numpy(np.float64)


def parts(timelines: Timelines, modality: Modality) -> pd.DataFrame:
    columns = ["row", "time", "code", "numeric_value", "text_value", "image"]
    return timelines.part(modality)[columns]


def test_noise_has_no_mean_and_the_size_that_is_named(sound: Timelines, tmp_path: Path) -> None:
    found, deviation = every(sound, tmp_path), np.log(values(sound)).std()
    half, whole = (
        np.log(values(found[f"events: values with noise of {size} SD"].apply(sound)))
        - np.log(values(sound))
        for size in ("0.5", "1")
    )
    assert whole.std() == pytest.approx(deviation, rel=0.1)
    assert abs(whole.mean()) < 4 * deviation / np.sqrt(len(whole))
    np.testing.assert_allclose(whole, 2 * half, atol=1e-6)


def test_noise_is_added_to_values_that_may_be_negative(sound: Timelines, tmp_path: Path) -> None:
    events = sound.events.copy()
    mine = events["code"] == PRESSURE
    events.loc[mine, "numeric_value"] -= 120
    shifted = Timelines(index=sound.index, events=events, images=sound.images)
    noisy = every(shifted, tmp_path)["events: values with noise of 1 SD"].apply(shifted)
    off = values(noisy) - values(shifted)
    assert off.std() == pytest.approx(values(shifted).std(), rel=0.1)
    assert abs(np.corrcoef(off, values(shifted))[0, 1]) < 0.15


def test_a_code_with_too_few_values_to_know_its_spread_has_no_noise(sound: Timelines) -> None:
    few = sound.take(np.arange(5))
    assert Spreads.fit(few).deviation == {}
    assert set(Spreads.fit(sound).deviation) == {PRESSURE}


def test_the_share_of_events_that_is_named_is_lost_and_never_sex_or_birth(
    sound: Timelines, tmp_path: Path
) -> None:
    found = every(sound, tmp_path)
    before = sound.part(Modality.EVENTS)
    head = before["code"].str.startswith(("GENDER", "MEDS_BIRTH"))
    some, half = (
        found[f"events: 1 in {n} lost"].apply(sound).part(Modality.EVENTS) for n in (4, 2)
    )
    for left, share in ((some, 0.25), (half, 0.5)):
        lost = 1 - (len(left) - head.sum()) / (~head).sum()
        assert lost == pytest.approx(share, abs=0.05)
        assert left["code"].str.startswith(("GENDER", "MEDS_BIRTH")).sum() == head.sum()
    keys = ["row", "time", "code", "numeric_value"]
    assert len(half.merge(some, on=keys)) >= len(half)  # who loses much loses the little, too


def test_words_are_lost_or_mistyped_in_the_share_that_is_named(
    sound: Timelines, tmp_path: Path
) -> None:
    events = sound.events.copy()
    events.loc[events["modality"] == "notes", "text_value"] = LONG_NOTE
    long = Timelines(index=sound.index, events=events, images=sound.images)
    found = every(long, tmp_path)
    words = LONG_NOTE.split()
    notes = {
        what: found[f"notes: {what}"].apply(long).part(Modality.NOTES)["text_value"]
        for what in ("1 in 4 words lost", "1 in 4 long words mistyped")
    }
    kept = np.mean([len(note.split()) / len(words) for note in notes["1 in 4 words lost"]])
    assert kept == pytest.approx(0.75, abs=0.01)
    changed = [
        [new != old for new, old in zip(note.split(), words, strict=True)]
        for note in notes["1 in 4 long words mistyped"]
    ]
    share = np.mean(changed, axis=0)
    long_word = np.array([len(word.strip(".,")) >= 4 for word in words])
    assert share[~long_word].max() == 0
    assert share[long_word].mean() == pytest.approx(0.25, abs=0.01)
    assert notes["1 in 4 long words mistyped"].nunique() == len(changed)


def test_films_are_spoilt_as_is_named_and_the_store_keeps_its_own(
    sound: Timelines, tmp_path: Path
) -> None:
    found = every(sound, tmp_path)

    def films(timelines: Timelines) -> np.ndarray:
        names = timelines.part(Modality.IMAGES)["image"]
        return np.stack([np.asarray(Image.open(timelines.images / str(n)), float) for n in names])

    before = films(sound)
    noisy = films(found["images: noise of 10 % of full scale"].apply(sound))
    inside = (before > 90) & (before < 165)  # where nothing is cut off
    assert (noisy - before)[inside].std() == pytest.approx(25.5, rel=0.03)
    flat = films(found["images: half the contrast"].apply(sound))
    assert flat.std(axis=(1, 2)) == pytest.approx(before.std(axis=(1, 2)) / 2, rel=0.1)
    assert flat.mean(axis=(1, 2)) == pytest.approx(before.mean(axis=(1, 2)), abs=0.6)
    dark = films(found["images: half as bright"].apply(sound))
    np.testing.assert_array_equal(dark, before // 2)
    np.testing.assert_array_equal(films(sound), before)


def test_a_disturbance_reaches_its_own_part_alone_and_no_patient_or_time(
    sound: Timelines, tmp_path: Path
) -> None:
    sound = sound.take(np.arange(60))
    for number, (name, each) in enumerate(every(sound, tmp_path / "films").items()):
        spoilt = each.apply(sound)
        pd.testing.assert_frame_equal(spoilt.index, sound.index)
        for modality in Modality:
            before, after = parts(sound, modality), parts(spoilt, modality)
            if each.part == "missing":
                gone = str(modality) in each.name
                assert len(after) == (0 if gone else len(before)), name
            elif each.part in (str(modality), "all"):
                assert not after.equals(before), name
            else:
                pd.testing.assert_frame_equal(after, before)
        again = every(sound, tmp_path / f"{number}")[name].apply(sound)
        pd.testing.assert_frame_equal(again.events, spoilt.events)


def test_each_modality_is_missing_alone_and_in_pairs(sound: Timelines, tmp_path: Path) -> None:
    names = [each.name for each in every(sound, tmp_path).values() if each.part == "missing"]
    assert len(set(names)) == 6
    assert {"no notes", "no events and images"} <= set(names)


@pytest.mark.parametrize("wanted", [0.1, 0.125, 0.5, 0.8])
def test_a_prevalence_is_reached_by_leaving_out_rows_of_one_class(wanted: float) -> None:
    label = (np.random.default_rng(0).random(2000) < 0.25).astype(float)
    rows = with_prevalence(label, wanted, np.random.default_rng(1))
    assert label[rows].mean() == pytest.approx(wanted, abs=0.001)
    assert len(np.unique(rows)) == len(rows)
    whole = label == (wanted > 0.25)
    assert np.isin(np.flatnonzero(whole), rows).all()


@pytest.mark.parametrize("wanted", [0.0, 1.0, 1.2])
def test_no_prevalence_outside_0_and_1_is_asked_for(wanted: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        with_prevalence(np.array([0.0, 1.0]), wanted, np.random.default_rng(0))


def test_moved_odds_are_right_in_the_large_where_only_the_prevalence_differs() -> None:
    rng = np.random.default_rng(2)
    risk = expit(1.5 * rng.standard_normal(40_000) - 1.5)
    label = (rng.random(len(risk)) < risk).astype(float)
    learnt = float(label.mean())
    rows = with_prevalence(label, 2 * learnt, rng)
    moved = move_odds(risk[rows], learnt=learnt, here=2 * learnt)
    assert risk[rows].mean() - label[rows].mean() < -0.1
    assert moved.mean() == pytest.approx(label[rows].mean(), abs=0.01)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> tuple[Judge, Timelines, np.ndarray]:
    place = tmp_path_factory.mktemp("judge")
    write_clinic(place, n=300)
    fit(place)
    table = read_cohort(place / "cohort")
    timelines, label = held_out(place), table.labels[table.rows("held_out")]
    served = serve(place / "run")
    assert best_simple(served, "ill") not in (served.champion("ill"), "prevalence")
    simple = best_simple(served, "ill")
    return Judge(served, simple, Rows(timelines=timelines, labels=label), 0), timelines, label


def test_undisturbed_records_change_nothing(judge: tuple[Judge, Timelines, np.ndarray]) -> None:
    judged, timelines, label = judge
    told = judged.disturbed("none", "the same", timelines)
    for model in ("champion", "simple"):
        change = told[model].pop("change")
        assert (change["value"], change["low"], change["high"]) == (0, 0, 0)
    assert told | {"part": "", "name": "as they are"} == judged.undisturbed
    assert (told["n"], told["positives"]) == (len(label), label.sum())


def test_what_is_missing_costs_as_much_as_what_the_model_is_not_given(
    judge: tuple[Judge, Timelines, np.ndarray], tmp_path: Path
) -> None:
    judged, timelines, label = judge
    gone = every(timelines, tmp_path)["missing: no events and images"]
    told = judged.disturbed(gone.part, gone.name, gone.apply(timelines))
    notes = judged.served.score(timelines, frozenset({Modality.NOTES}))[:, 0]
    assert told["champion"]["auroc"]["value"] == pytest.approx(roc_auc_score(label[:, 0], notes))
    assert told["champion"]["change"]["value"] < 0


def test_another_prevalence_has_two_rows_of_the_same_patients(
    judge: tuple[Judge, Timelines, np.ndarray],
) -> None:
    judged, _, label = judge
    said, moved = judged.at_prevalence(0.5, learnt=float(label.mean()))
    assert said["positives"] / said["n"] == pytest.approx(label.mean() / 2, abs=0.02)
    assert said["champion"]["auroc"] == moved["champion"]["auroc"]
    assert said["champion"]["large"]["value"] > moved["champion"]["large"]["value"]


def test_the_others_log_loss_is_that_of_those_who_are_not_called_unlike() -> None:
    risk, label = np.array([0.9, 0.2, 0.5, 0.4]), np.array([1.0, 0.0, 0.0, 1.0])
    unlike = np.array([False, False, True, True])
    both = {"champion": risk, "simple": risk}
    told = tell("", "four", both, label, np.arange(4), unlike)
    assert told["unlike"]["value"] == 0.5
    assert told["others"]["n"] == 2
    assert told["others"]["logloss"]["value"] == pytest.approx(-np.log([0.9, 0.8]).mean())
    nobody = tell("", "four", both, label, np.arange(4), np.ones(4, bool))
    assert nobody["others"] == {"n": 0, "auroc": None, "logloss": None}


def test_the_table_is_printed_from_what_a_file_holds(
    judge: tuple[Judge, Timelines, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judged, timelines, label = judge
    rows = [judged.undisturbed | {"oracle": 0.987}]
    rows.append(judged.disturbed("notes", "none", timelines.only(frozenset({Modality.EVENTS}))))
    nobody = {"others": {"n": 0, "auroc": None, "logloss": None}}
    rows.append(rows[-1] | nobody | {"name": "all unlike"})
    cell = {"code": "0123", "world": "default", "seed": 0, "training": 280, "rows": rows}
    cell |= {"champion": "average", "simple": judged.simple}
    assert "(older code)" not in table_of_robustness(cell, "0123")
    (tmp_path / "robustness-default-280-0.json").write_text(json.dumps(cell), "utf-8")
    main(["table", "--results", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("default world"))
    assert lines[begin].endswith("(older code)")
    head, _, first, second, third = (line.strip("| ").split(" | ") for line in lines[begin + 2 :])
    assert {len(head), len(second) + 1, len(third) + 1} == {len(first)} == {13}
    auroc = judged.undisturbed["champion"]["auroc"]["value"]
    assert first[:2] == ["as they are", f"{len(label)}"]
    assert first[2].startswith(f"{auroc:.3f} [")
    assert first[-1] == "0.987"
    assert second[0] == "notes: none"
    assert second[3].startswith("-")
    assert third[8] == ""
