"""A regression with a gate between two modalities."""

import numpy as np
from scipy import sparse
from scipy.special import expit

from fusion.gate import Gated, fit_gated

ASKED, OFFERED = slice(0, 2), slice(2, 5)
STRENGTH, GATE_STRENGTH = 1.0, 3.0


def rows(n: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Draw columns and labels: the first of two columns turns the second of three."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 5))
    logits = 0.8 * x[:, 0] + 0.5 * x[:, 2] + 2.0 * np.tanh(1.5 * x[:, 0]) * x[:, 3]
    return x, (rng.random(n) < expit(logits)).astype(float)


def fit(x: np.ndarray | sparse.csr_matrix, y: np.ndarray, weights: np.ndarray) -> Gated:
    return fit_gated(
        x,
        y,
        asked=ASKED,
        offered=OFFERED,
        strength=STRENGTH,
        gate_strength=GATE_STRENGTH,
        weights=weights,
        intercept=0.0,
    )


def loss(x: np.ndarray, y: np.ndarray, beta: np.ndarray) -> float:
    """Write the penalised loss out once more, row by row, as the module's head has it."""
    w, c, u, v = beta[:5], beta[5], beta[6:8], beta[8:]
    total = 0.0
    for row, label in zip(x, y, strict=True):
        logit = row @ w + c + np.tanh(row[ASKED] @ u) * (row[OFFERED] @ v)
        total += np.log1p(np.exp(logit)) - label * logit
    return total + 0.5 * (w @ w / STRENGTH + (u @ u + v @ v) / GATE_STRENGTH)


def test_it_ends_where_no_weight_can_lower_the_loss() -> None:
    x, y = rows()
    found = fit(x, y, np.array([0.5, 0.0, 0.3, 0.0, 0.0]))
    beta = np.concatenate([found.weights, [found.intercept], found.asked, found.offered])
    at = loss(x, y, beta)
    for place in range(len(beta)):
        for step in (-0.05, 0.05):
            assert loss(x, y, beta + step * np.eye(len(beta))[place]) > at


def test_it_finds_who_decides_and_what_is_turned() -> None:
    x, y = rows()
    found = fit(x, y, np.array([0.5, 0.0, 0.3, 0.0, 0.0]))
    assert abs(found.asked[0]) > 4 * abs(found.asked[1])
    assert abs(found.offered[1]) > 4 * max(abs(found.offered[[0, 2]]))
    thin = fit(sparse.csr_matrix(x), y, np.array([0.5, 0.0, 0.3, 0.0, 0.0]))
    np.testing.assert_allclose(thin.offered, found.offered, atol=1e-3)


def test_a_modality_that_says_nothing_decides_nothing() -> None:
    x, y = rows()
    weights = np.array([0.0, 0.0, 0.3, 0.0, 0.0])
    found = fit(x, y, weights)
    np.testing.assert_array_equal(found.weights, weights)
    assert not found.asked.any()
    assert not found.offered.any()
