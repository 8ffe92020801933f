"""Slope and intercept of all resamples at once are those that a regression gives one by one."""

import numpy as np
import pytest
from scipy.special import expit

from fusion.metrics import Resamples, calibration_line, draw_resamples
from fusion.slopes import calibration_intervals


def drawn(n: int, *, slope: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    said = rng.normal(-1, 1.2, n)
    return expit(said), (rng.random(n) < expit(slope * said)).astype(float)


@pytest.mark.parametrize("slope", [0.4, 1.0, 1.8])
def test_the_value_is_that_of_the_line_and_lies_in_its_interval(slope: float) -> None:
    risk, label = drawn(600, slope=slope)
    found = calibration_intervals(
        risk, label, draw_resamples(np.arange(600), resamples=300, seed=0)
    )
    line = calibration_line(risk, label)
    for name in ("slope", "intercept"):
        assert found[name]["value"] == pytest.approx(line[name], abs=1e-3)
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]


def test_a_weight_of_two_is_the_row_written_twice() -> None:
    risk, label = drawn(80)
    twice = np.arange(80) < 30
    weights = np.where(twice, 2.0, 1.0)[None]
    found = calibration_intervals(risk, label, Resamples(weights=weights))
    rows = np.repeat(np.arange(80), np.where(twice, 2, 1))
    line = calibration_line(risk[rows], label[rows])
    assert found["slope"]["value"] == pytest.approx(line["slope"], abs=1e-3)
    assert found["intercept"]["value"] == pytest.approx(line["intercept"], abs=1e-6)


def test_one_class_equal_risks_and_separated_labels_have_no_slope() -> None:
    risk, label = drawn(60)
    resamples = draw_resamples(np.arange(60), resamples=50, seed=0)
    none = {"value": None, "low": None, "high": None}
    assert calibration_intervals(risk, 0 * label, resamples) == {"slope": none, "intercept": none}
    equal = calibration_intervals(np.full(60, 0.3), label, resamples)
    assert equal["slope"] == none
    assert equal["intercept"]["value"] is not None
    apart = calibration_intervals(risk, (risk > np.median(risk)).astype(float), resamples)
    assert apart["slope"]["low"] is None
