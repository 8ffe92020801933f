import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from fusion.calibration import ISOTONIC_ROWS, Calibrator, fit_calibrator


def drawn(n: int, slope: float, intercept: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Risks of a model whose log odds must be multiplied by slope and moved to be true."""
    rng = np.random.default_rng(seed)
    said = rng.standard_normal(n) * 2
    return expit(said), (rng.random(n) < expit(slope * said + intercept)).astype(float)


def test_platt_finds_the_line_that_an_overconfident_model_needs() -> None:
    found = fit_calibrator(*drawn(20_000, 0.5, -1.0))
    assert found.slope == pytest.approx(0.5, abs=0.03)
    assert found.intercept == pytest.approx(-1.0, abs=0.05)


def test_too_few_rows_leave_the_scores_as_they_are() -> None:
    risk, label = np.array([0.1, 0.9, 0.8, 0.3, 0.2, 0.4]), np.array([0, 1, 1, 0, 0, 0.0])
    found = fit_calibrator(risk, label)
    assert found.kind == "identity"
    np.testing.assert_allclose(found.apply(risk), risk)


def test_twelve_perfectly_told_rows_do_not_make_certainties() -> None:
    risk = np.r_[np.full(6, 0.3), np.full(6, 0.7)]
    label = np.r_[np.zeros(6), np.ones(6)]
    found = fit_calibrator(risk, label)
    assert found.kind == "platt"
    assert 0.02 < found.apply(risk).min() < found.apply(risk).max() < 0.98


def test_a_model_that_says_the_same_of_everybody_gets_the_rate() -> None:
    label = np.r_[np.ones(200), np.zeros(600)]
    found = fit_calibrator(np.full(800, 0.6), label)
    assert found.slope == 1
    assert found.apply(np.array([0.6]))[0] == pytest.approx(0.25, abs=0.01)


def test_a_model_that_tells_the_wrong_way_round_is_flattened_not_turned() -> None:
    risk, label = drawn(2000, -1.0, 0.0)
    found = fit_calibrator(risk, label)
    assert found.slope > 0
    assert np.ptp(found.apply(np.array([0.05, 0.95]))) < 0.1


def test_rows_whose_label_is_not_known_are_left_out() -> None:
    risk, label = drawn(400, 1.0, 0.5)
    wild = fit_calibrator(np.r_[risk, np.full(50, 0.99)], np.r_[label, np.full(50, np.nan)])
    assert wild == fit_calibrator(risk, label)


def test_isotonic_needs_a_thousand_rows() -> None:
    few = fit_calibrator(*drawn(ISOTONIC_ROWS - 1, 1, 0), method="isotonic")
    many = fit_calibrator(*drawn(ISOTONIC_ROWS, 1, 0), method="isotonic")
    assert (few.kind, many.kind) == ("platt", "isotonic")
    with pytest.raises(ValueError, match="platt or isotonic; got 'beta'"):
        fit_calibrator(*drawn(50, 1, 0), method="beta")


def test_isotonic_bends_where_a_line_cannot() -> None:
    rng = np.random.default_rng(0)
    said = rng.uniform(0.02, 0.98, 20_000)
    truth = np.where(said < 0.5, 0.2, 0.7)
    label = (rng.random(20_000) < truth).astype(float)
    isotonic = fit_calibrator(said, label, method="isotonic")
    at = np.array([0.1, 0.4, 0.6, 0.9])
    np.testing.assert_allclose(isotonic.apply(at), [0.2, 0.2, 0.7, 0.7], atol=0.04)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.sampled_from([12, 60, 1200]),
    method=st.sampled_from(["platt", "isotonic"]),
    slope=st.floats(-2, 4),
)
def test_calibration_never_swaps_two_patients_and_never_says_0_or_1(
    seed: int, n: int, method: str, slope: float
) -> None:
    risk, label = drawn(n, slope, -0.5, seed)
    found = fit_calibrator(risk, label, method=method)
    at = np.sort(np.r_[risk, expit(np.linspace(-12, 12, 101))])
    after = found.apply(at)
    assert (np.diff(after) >= 0).all()
    inside = (after > 2e-6) & (after < 1 - 2e-6)  # beyond, scores are cut
    apart = np.diff(at[inside]) > 1e-6
    assert (np.diff(after[inside])[apart] > 0).all()
    assert 0 < after.min() <= after.max() < 1
    assert Calibrator.from_json(found.to_json()) == found


def test_a_slope_that_swaps_patients_is_refused() -> None:
    with pytest.raises(ValueError, match="slope=-1"):
        Calibrator(kind="platt", slope=-1.0)
    with pytest.raises(ValueError, match="got 'magic'"):
        Calibrator(kind="magic")
