"""What is stated beside a risk is judged, and a promise that was not kept is told."""

import numpy as np

from fusion.judged_beside import judge_sets, judge_unlike, judge_unlikeness, warn_beside
from fusion.report_beside import describe_beside, sets_section, unlikeness_section
from fusion.unlikeness import Unlikeness

DRAWN = {"bootstrap": 200, "seed": 0}


def sets_that_hold(share: float, n: int = 400) -> tuple[dict, np.ndarray]:
    """Give sets at level 0.9 that hold the label of this share of positives, of all negatives."""
    label = (np.arange(n) % 2).astype(float)
    kept = np.ones((n, 2), bool)
    positives = np.flatnonzero(label == 1)
    kept[positives[int(share * len(positives)) :], 1] = False
    return {0.9: kept}, label


def flags(unlike: int, n: int = 400) -> Unlikeness:
    p = np.full((n, 3), 0.5)
    p[:unlike, 2] = 0.001
    return Unlikeness(by_modality=p, least=np.full(3, 0.001))


def judged(share: float, unlike: int) -> tuple[dict, dict]:
    kept, label = sets_that_hold(share)
    subjects = np.arange(len(label))
    return (
        judge_sets(kept, label, subjects, calibrated_on=(150, 150), **DRAWN),
        judge_unlikeness(flags(unlike), subjects, **DRAWN),
    )


def test_promises_that_are_kept_are_not_warned_of() -> None:
    assert warn_beside(*judged(0.92, 4)) == []


def test_coverage_as_low_as_the_few_calibration_rows_may_make_it_is_not_warned_of() -> None:
    # The promise is one on average: of 150 positives, one set in forty covers 84 % or less.
    found, unlikeness = judged(0.8, 4)
    told = found["0.9"]
    assert told["coverage_positive"]["high"] < 0.9
    assert told["expected_positive"]["low"] < told["coverage_positive"]["high"]
    assert warn_beside(found, unlikeness) == []


def test_coverage_that_is_too_low_in_one_class_is_told_for_that_class() -> None:
    (said,) = warn_beside(*judged(0.6, 4))
    assert said.startswith("Label sets at 0.9 hold the true label of only 60.0 % of the positives")


def test_many_more_unlike_rows_than_by_chance_are_told() -> None:
    (said,) = warn_beside(*judged(0.92, 60))
    assert said.startswith("60 of 400 rows are unlike the training data, where 1 % would be")


def test_unlike_rows_are_counted_under_the_modality_that_they_are_unlike_in() -> None:
    _, found = judged(0.92, 60)
    assert found["by_modality"]["images"] == {"rows": 400, "unlike": 60}
    assert found["by_modality"]["events"] == {"rows": 400, "unlike": 0}
    assert found["could_be"] == 400


def test_a_champion_that_is_wrong_on_unlike_rows_is_better_without_them() -> None:
    rng = np.random.default_rng(0)
    label = (rng.random(400) < 0.5).astype(float)
    risk = np.where(label == 1, 0.9, 0.1)
    unlike = np.arange(400) < 40
    risk[unlike] = 1 - risk[unlike]
    found = judge_unlike(risk, label, np.arange(400), unlike, **DRAWN)
    auroc = {who: told["metrics"]["auroc"]["value"] for who, told in found.items()}
    assert auroc["without_unlike"] == 1.0
    assert auroc["unlike"] == 0.0
    assert 0.5 < auroc["everyone"] < 1.0
    few = judge_unlike(risk, label, np.arange(400), np.arange(400) < 19, **DRAWN)
    assert few["unlike"] == {"n": 19}
    assert few["without_unlike"] == {"n": 381}  # else the few could be had by subtraction
    assert "metrics" in few["everyone"]
    nobody = judge_unlike(risk, label, np.arange(400), np.zeros(400, bool), **DRAWN)
    assert nobody["without_unlike"]["metrics"] == nobody["everyone"]["metrics"]


def test_a_modality_without_reference_rows_does_not_silence_the_warning() -> None:
    by_modality = np.full((400, 3), 0.5)
    by_modality[:, 2] = np.nan
    by_modality[:40, 0] = 0.001
    unlikeness = Unlikeness(by_modality=by_modality, least=np.array([1 / 1001, 1 / 1001, 1.0]))
    found = judge_unlikeness(unlikeness, np.arange(400), **DRAWN)
    assert found["unlike"] == 40
    assert found["expected_up_to"] < 0.02
    assert any("unlike the training data" in words for words in warn_beside({}, found))


def test_sections_say_what_was_measured_and_are_left_out_where_nothing_was() -> None:
    sets, unlikeness = judged(0.6, 60)
    _, label = sets_that_hold(0.6)
    effect = judge_unlike(np.full(400, 0.5), label, np.arange(400), flags(60).unlike(), **DRAWN)
    entry = {"label_sets": sets, "unlikeness": effect}
    metrics = {"unlikeness": unlikeness, "tasks": {"a <task>": entry}}
    section = sets_section(entry)
    assert "<h3>Label sets</h3>" in section
    assert "<td>60.0 %<small>" in section
    page = unlikeness_section(metrics)
    assert "60 of 400 rows are unlike" in page
    assert "a &lt;task&gt;" in page
    assert "could not have been called" not in page
    lines = describe_beside(metrics, entry)
    assert lines[1] == (
        "label sets at 0.9: true of 60.0 % of positives, 100.0 % of negatives; 20 % single, "
        "80 % both, 0 % empty"
    )
    assert lines[2] == "unlike the training data: 60 of 400 rows"
    older = {"tasks": {"a <task>": {}}}
    assert sets_section({}) == unlikeness_section(older) == ""
    assert describe_beside(older, {}) == []


def test_one_class_and_no_single_set_give_nothing_in_place_of_a_share() -> None:
    kept = {0.9: np.ones((30, 2), bool)}
    found = judge_sets(kept, np.zeros(30), np.arange(30), calibrated_on=(90, 9), **DRAWN)["0.9"]
    assert found["coverage_positive"]["value"] is None
    assert found["right_when_single"]["value"] is None
    assert "n/a" in sets_section({"label_sets": {"0.9": found}})
    assert "true of n/a of positives" in describe_beside({}, {"label_sets": {"0.9": found}})[1]
