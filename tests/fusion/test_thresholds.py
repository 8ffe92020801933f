"""What is said at a threshold is what a count by hand gives."""

import numpy as np
import pytest

from fusion.metrics import draw_resamples
from fusion.thresholds import AT_THRESHOLDS, STATED, measure_thresholds


def test_each_figure_is_that_of_the_four_counts() -> None:
    risk = np.array([0.02, 0.07, 0.07, 0.15, 0.25, 0.35, 0.4, 0.9])
    label = np.array([0, 0, 1, 0, 1, 0, 1, 1.0])
    found = measure_thresholds(
        risk, label, draw_resamples(np.arange(8), resamples=300, seed=0), own=0.22
    )
    assert [one["threshold"] for one in found] == [0.05, 0.10, 0.20, 0.22, 0.30]
    assert [one["own"] for one in found] == [False, False, False, True, False]
    at = {one["threshold"]: one for one in found}[0.20]
    assert at["called"] == 0.5
    assert {name: at[name]["value"] for name in AT_THRESHOLDS} == {
        "sensitivity": 0.75,
        "specificity": 0.75,
        "ppv": 0.75,
        "npv": 0.75,
    }
    for one in found:
        for name in AT_THRESHOLDS:
            low, value, high = (one[name][key] for key in ("low", "value", "high"))
            assert value is not None
            assert low is None or low <= value <= high


def test_a_risk_at_the_threshold_is_called() -> None:
    found = measure_thresholds(
        np.array([0.1, 0.05]),
        np.array([1.0, 0.0]),
        draw_resamples(np.arange(2), resamples=0, seed=0),
        own=0.5,
    )
    assert {one["threshold"]: one["called"] for one in found}[0.10] == 0.5


def test_where_nobody_is_called_there_is_no_predictive_value() -> None:
    risk, label = np.full(50, 0.01), (np.arange(50) < 20).astype(float)
    found = measure_thresholds(
        risk, label, draw_resamples(np.arange(50), resamples=50, seed=0), own=0.5
    )
    assert all(one["ppv"] == {"value": None, "low": None, "high": None} for one in found)
    assert all(one["npv"]["value"] == pytest.approx(0.6) for one in found)


def test_a_threshold_of_its_own_in_each_fold_is_stated_by_its_mean() -> None:
    risk, label = np.linspace(0, 1, 40), (np.arange(40) % 2).astype(float)
    own = np.repeat([0.2, 0.4], 20)
    found = measure_thresholds(
        risk, label, draw_resamples(np.arange(40), resamples=0, seed=0), own=own
    )
    mine = next(one for one in found if one["own"])
    assert mine["threshold"] == pytest.approx(0.3)
    assert mine["called"] == (risk >= own).mean()
    assert len(found) == len(STATED) + 1
