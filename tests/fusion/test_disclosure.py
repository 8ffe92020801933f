"""No small group can be read out of a report, neither directly nor by subtraction."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.disclosure import FEWEST_SHOWN, UNDER, withheld
from fusion.judged import Judged, measure_task
from tests.fusion.test_report import judged as judged_of
from tests.fusion.test_report import written


def sexes(female: int, male: int, unknown: int = 0) -> dict[str, np.ndarray]:
    of = np.repeat(["female", "male", ""], [female, male, unknown])
    return {name: of == name for name in ("female", "male") if (of == name).any()}


def judged(groups: dict[str, np.ndarray], **more) -> Judged:
    n = len(next(iter(groups.values())))
    rng = np.random.default_rng(1)
    label = (rng.random(n) < 0.4).astype(float)
    risk = np.clip(0.4 + 0.3 * (label - 0.4) + 0.1 * rng.standard_normal(n), 0.01, 0.99)
    given_ = {"task": "ill", "label": label, "subjects": np.arange(n), "champion": "m"}
    given_ |= {"models": {"m": risk}, "thresholds": {"m": 0.4}, "groups": groups}
    return Judged(**(given_ | more))


def test_a_small_group_shows_nothing_and_its_complement_cannot_give_it_away() -> None:
    found = measure_task(judged(sexes(190, 10)), bootstrap=50, seed=0)["subgroups"]
    assert found["male"] == {"n": "under 20"}
    assert found["female"].keys() == {"n", "metrics"}
    assert found["female"]["n"] == "over 180"  # 200 in all: this says no more than "under 20"
    assert found["female"]["metrics"].keys() == {"auroc"}
    for value in found["female"]["metrics"]["auroc"].values():
        assert value == round(value, 2)


def test_groups_of_twenty_patients_are_shown_in_full() -> None:
    found = measure_task(judged(sexes(180, 20)), bootstrap=50, seed=0)["subgroups"]
    assert found["male"]["n"] == 20
    assert found["female"]["n"] == 180
    assert found["female"]["positives"] + found["male"]["positives"] > 0


def test_rows_without_a_sex_count_as_a_group_that_subtraction_would_show() -> None:
    assert withheld(sexes(100, 90, 3), np.arange(193)) == {"female": "over 83"}
    assert withheld(sexes(100, 90, 30), np.arange(220)) == {}


def test_twenty_rows_of_one_patient_are_one_patient() -> None:
    subjects = np.r_[np.arange(100), np.full(50, 1000)]
    found = withheld(sexes(100, 50), subjects)
    assert found == {"male": "under 20", "female": "over 90"}


def test_each_family_is_judged_by_itself() -> None:
    ages = {"age under 50": np.arange(200) < 90, "age 70 and over": np.arange(200) >= 90}
    groups = {**sexes(190, 10), **ages, "without notes": np.arange(200) < 5}
    told = withheld(groups, np.arange(200))
    assert told == {"male": UNDER, "female": "over 180", "without notes": UNDER}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=3, max_size=3))
def test_whoever_subtracts_cannot_tell_a_small_group_better_than_under_twenty(
    sizes: list[int],
) -> None:
    names = ("age under 50", "age 50 to 69", "age 70 and over")
    of = np.repeat(names, sizes)
    groups = {name: of == name for name in names if (of == name).any()}
    if not groups:
        return
    told = withheld(groups, np.arange(sum(sizes)))
    small = [name for name in groups if groups[name].sum() < FEWEST_SHOWN]
    assert all(told[name] == UNDER for name in small)
    exact = sum(int(rows.sum()) for name, rows in groups.items() if name not in told)
    bounds = [int(word.removeprefix("over ")) for word in told.values() if word != UNDER]
    if len(small) == len(groups):
        return
    assert len(bounds) == bool(small)
    for bound in bounds:
        largest = max(int(rows.sum()) for rows in groups.values())
        assert FEWEST_SHOWN - 1 <= bound < largest
        # What is left for the small ones, at the bound: as much as they may have at most. Only
        # where the largest is itself close to twenty does that say more.
        left = sum(sizes) - exact - (bound + 1)
        assert left == FEWEST_SHOWN * len(small) - 1 or bound == FEWEST_SHOWN - 1


def test_neither_the_page_nor_the_metrics_hold_what_is_withheld(tmp_path: Path) -> None:
    one = judged_of(n=400)
    small = np.arange(400) < 7
    one = Judged(**(vars(one) | {"groups": {"male": small, "female": ~small}}))
    page, metrics = written(tmp_path, one)
    assert "<td>under 20</td><td>–</td><td>–</td><td>–</td><td>–</td><td>–</td>" in page
    assert "<td>over 380</td><td>–</td>" in page
    assert "393" not in page
    assert "could be had by subtraction" in page
    told = json.dumps(metrics["tasks"][one.task]["subgroups"])
    assert "393" not in told
    assert "positives" not in told


@pytest.mark.parametrize("lacking", [0, 7, 200, 393, 400])
def test_what_is_missing_keeps_to_the_same_rule(tmp_path: Path, lacking: int) -> None:
    one = judged_of(n=400)
    one = Judged(**(vars(one) | {"lacks": {"notes": np.arange(400) < lacking}}))
    page, metrics = written(tmp_path, one)
    found = metrics["tasks"][one.task]["missing"]["notes"]
    if lacking in (7, 393):
        small, large = ("without", "with") if lacking == 7 else ("with", "without")
        assert found == {small: {"n": "under 20"}, large: {"n": "over 380"}}
        assert "<td>under 20</td><td>–</td>" in page
        return
    assert found["without"]["n"] == lacking
    assert found["with"]["share"] == (400 - lacking) / 400
    if lacking == 200:
        rate = found["without"]["rate"]
        assert rate["value"] == pytest.approx(one.label[:200].mean())
        assert rate["low"] < rate["value"] < rate["high"]
        assert f"200<small>50.0 %</small></td><td>{rate['value']:.3f}<small>" in page
