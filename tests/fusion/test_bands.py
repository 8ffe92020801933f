import numpy as np
import pytest
from scipy.special import expit

from fusion.bands import LEVEL, Band, fit_band, fit_bands
from fusion.calibration import fit_calibrator


def drawn(n: int, seed: int, *, slope: float = 0.7, shift: float = 0.4) -> tuple:
    """What a model says, what is true of those to whom it says so, and what came."""
    rng = np.random.default_rng(seed)
    said = rng.normal(-1.0, 1.2, n)
    true = expit(slope * said + shift)
    return expit(said), true, (rng.random(n) < true).astype(float)


@pytest.mark.parametrize(("method", "n"), [("platt", 400), ("platt", 1500), ("isotonic", 1500)])
def test_the_rate_lies_within_as_often_as_is_promised(method: str, n: int) -> None:
    wanted, true, _ = drawn(300, 99)
    within = []
    for seed in range(12):
        risk, _, label = drawn(n, seed)
        band = fit_band(risk, label, np.arange(n), method=method, seed=seed)
        calibrated = fit_calibrator(risk, label, method=method).apply(wanted)
        low, high = band.interval(wanted, calibrated).T
        within.append(((low <= true) & (true <= high)).mean())
    assert LEVEL - 0.07 < np.mean(within) <= 1.0


def test_more_patients_make_it_narrower_and_doubled_rows_do_not() -> None:
    risk, _, label = drawn(2000, 1)
    at = np.array([0.2])

    def width(rows: np.ndarray, subjects: np.ndarray) -> float:
        band = fit_band(risk[rows], label[rows], subjects)
        calibrated = fit_calibrator(risk[rows], label[rows]).apply(at)
        low, high = band.interval(at, calibrated)[0]
        return float(high - low)

    some = np.arange(400)
    alone = width(some, some)
    assert width(np.arange(2000), np.arange(2000)) < 0.7 * alone
    twice = np.repeat(some, 2)
    assert width(twice, twice) > 0.85 * alone


def test_the_risk_itself_always_lies_within() -> None:
    risk, _, label = drawn(300, 2)
    band = fit_band(risk, label, np.arange(300))
    calibrator = fit_calibrator(risk, label)
    asked = expit(np.linspace(-12, 12, 101))
    calibrated = calibrator.apply(asked)
    low, high = band.interval(asked, calibrated).T
    assert (low <= calibrated).all()
    assert (calibrated <= high).all()
    assert ((low > 0) & (high < 1)).all()


def test_with_too_few_of_a_class_nothing_is_stated() -> None:
    risk, _, _ = drawn(50, 3)
    label = np.zeros(50)
    label[:3] = 1
    band = fit_band(risk, label, np.arange(50))
    assert np.isnan(band.interval(risk, risk)).all()


def test_it_is_kept_as_json_to_the_last_bit() -> None:
    risk, _, label = drawn(300, 4)
    label[:20] = np.nan
    (found,) = fit_bands(
        {"a": risk[:, None]}, label[:, None], np.arange(300), tasks=("t",), method="platt", seed=0
    )["t"].values()
    assert Band.from_json(found.to_json()) == found
    assert found == fit_band(risk[20:], label[20:], np.arange(20, 300))
