"""A regression in which one modality turns another up or down.

    log odds = x w + c + tanh(x_asked u) * (x_offered v)

The columns x hold all modalities; `asked` and `offered` are two of them. It is the simplest way in
which what one modality says can depend on what another does: a note decides how much, and in which
direction, an image counts. With a few thousand patients one such product of two scores, each learnt
from all directions of its modality, is learnt far better than the products of single directions,
of which there are hundreds (`python -m tests.benchmarks.quality choices`).
"""

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float64
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit

__all__ = ["Gated", "fit_gated"]


class Gated(NamedTuple):
    """Hold the weights of one gated regression."""

    weights: Float64[np.ndarray, " p"]
    intercept: float
    asked: Float64[np.ndarray, " a"]
    """u, for the columns of the modality that decides."""
    offered: Float64[np.ndarray, " o"]
    """v, for the columns of the modality that is turned up or down."""


def fit_gated(
    x: np.ndarray | sparse.csr_matrix,
    y: np.ndarray,
    *,
    asked: slice,
    offered: slice,
    strength: float,
    gate_strength: float,
    weights: np.ndarray,
    intercept: float,
    iterations: int = 400,
) -> Gated:
    """Minimise the penalised log-loss, from a fit without the gate.

    The gate starts as what the modality that decides says by itself, and with no effect.

    Args:
        x: [n p] columns.
        y: [n] labels, 0 or 1.
        asked: columns of the modality that decides.
        offered: columns of the one that is turned up or down.
        strength: C of the weights, as scikit-learn has it.
        gate_strength: C of the gate's weights.
        weights: [p] of the fit without a gate.
        intercept: of the same.
        iterations: at most.
    """
    n, p = x.shape
    a, o = (_dense(x[:, part]) for part in (asked, offered))
    begin = np.array(weights[asked], dtype=np.float64)
    spread = float(np.std(a @ begin))
    nothing = Gated(np.asarray(weights), intercept, np.zeros(a.shape[1]), np.zeros(o.shape[1]))
    if spread < 1e-9:
        return nothing
    cuts = np.cumsum([p, 1, a.shape[1]])
    penalty = np.full(p + 1 + a.shape[1] + o.shape[1], 1.0 / (strength * n))
    penalty[cuts[0]] = 0.0
    penalty[cuts[1] :] = 1.0 / (gate_strength * n)

    @no_type_check  # asked thousands of times: tests would take longer to check than to run
    def loss(beta: np.ndarray) -> tuple[float, np.ndarray]:
        w, c, u, v = np.split(beta, cuts)
        turned = np.tanh(a @ u)
        given = o @ v
        logits = x @ w + c[0] + turned * given
        value = (np.logaddexp(0.0, logits) - y * logits).mean() + 0.5 * (penalty * beta**2).sum()
        off = (expit(logits) - y) / n
        slope = [
            x.T @ off,
            off.sum(keepdims=True),
            a.T @ (off * given * (1 - turned**2)),
            o.T @ (off * turned),
        ]
        return float(value), np.concatenate(slope) + penalty * beta

    start = np.concatenate([weights, [intercept], begin / spread, np.zeros(o.shape[1])])
    options = {"maxiter": iterations, "gtol": 1e-6, "ftol": 1e-10, "maxcor": 20}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    w, c, u, v = np.split(found, cuts)
    return Gated(w, float(c[0]), u, v)


def _dense(x: np.ndarray | sparse.csr_matrix) -> np.ndarray:
    return x.toarray() if sparse.issparse(x) else np.ascontiguousarray(x)
