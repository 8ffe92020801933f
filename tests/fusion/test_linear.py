from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fusion.linear import EventsLogisticCandidate, Logistic, fit_logistic


def planted(n: int = 300, f: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, f))
    return x, (rng.random(n) < 1 / (1 + np.exp(-2 * x[:, 0] + 0.5))).astype(np.float32)


@pytest.mark.parametrize("strength", [0.001, 0.1, 1.0])
def test_the_solver_finds_what_scikit_learn_finds(strength: float) -> None:
    x, y = planted()
    mine = fit_logistic(x, y[:, None], subjects=np.arange(len(y)), seed=0, strengths=(strength,))
    theirs = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(mine.weights, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(mine.intercepts, theirs.intercept_, atol=1e-4)


def test_noise_gets_the_strongest_penalty_and_a_signal_does_not() -> None:
    x, y = planted(f=40)
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 2, len(y)).astype(np.float32)
    labels = np.column_stack([y, noise])
    fitted = fit_logistic(x, labels, subjects=np.arange(len(y)), seed=0)
    assert fitted.strengths[1] < fitted.strengths[0]
    assert np.abs(fitted.weights[0]).argmax() == 0


def test_a_task_with_one_class_gets_its_base_rate() -> None:
    x, y = planted()
    labels = np.column_stack([y, np.zeros_like(y), np.full_like(y, np.nan)])
    fitted = fit_logistic(x, labels, subjects=np.arange(len(y)), seed=0)
    assert not fitted.weights[1:].any()
    risk = 1 / (1 + np.exp(-fitted.logits(x)))
    assert risk[0, 1] == pytest.approx(0.5 / 301)
    assert risk[0, 2] == pytest.approx(0.5)


def test_a_row_whose_label_is_not_known_changes_no_weight() -> None:
    x, y = planted()
    wild = np.concatenate([x, np.full((20, x.shape[1]), 9.0)])
    labels = np.concatenate([y, np.full(20, np.nan, np.float32)])[:, None]
    strengths = (0.1,)
    one = fit_logistic(x, y[:, None], subjects=np.arange(300), seed=0, strengths=strengths)
    two = fit_logistic(wild, labels, subjects=np.arange(320), seed=0, strengths=strengths)
    np.testing.assert_array_equal(one.weights, two.weights)


def test_weights_come_back_from_the_disk_bit_for_bit(tmp_path: Path) -> None:
    weights = np.asfortranarray(np.random.default_rng(0).standard_normal((2, 3)))
    kept = Logistic(weights=weights, intercepts=np.array([0.1, 0.2]), strengths=(0.1, 0.0))
    kept.save(tmp_path)
    again = Logistic.load(tmp_path)
    np.testing.assert_array_equal(again.weights, weights)
    assert again.strengths == (0.1, 0.0)


def test_the_candidate_is_called_by_its_registered_name() -> None:
    assert EventsLogisticCandidate.name == "events_logistic"
