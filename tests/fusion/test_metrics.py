import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from fusion.metrics import METRICS, calibration_line, draw_resamples, measure, paired, share


def drawn(n: int, seed: int, levels: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.beta(1, 2, n)
    label = (rng.random(n) < truth).astype(float)
    risk = np.clip(truth + 0.1 * rng.standard_normal(n), 0.01, 0.99)
    return (np.round(risk * levels) / levels if levels else risk), label


def values(risk: np.ndarray, label: np.ndarray, threshold: float = 0.4) -> dict:
    none = draw_resamples(np.arange(len(label)), resamples=0, seed=0)
    return {k: v["value"] for k, v in measure(risk, label, none, threshold=threshold).items()}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 9999), n=st.integers(5, 200), levels=st.sampled_from([0, 4, 20]))
def test_values_are_those_of_scikit_learn_ties_included(seed: int, n: int, levels: int) -> None:
    risk, label = drawn(n, seed, levels)
    if not 0 < label.sum() < n:
        return
    found, called = values(risk, label), (risk >= 0.4).astype(float)
    clipped = np.clip(risk, 1e-6, 1 - 1e-6)
    assert found["auroc"] == pytest.approx(reference.roc_auc_score(label, risk))
    assert found["auprc"] == pytest.approx(reference.average_precision_score(label, risk))
    assert found["logloss"] == pytest.approx(reference.log_loss(label, clipped))
    assert found["brier"] == pytest.approx(np.mean((risk - label) ** 2))
    assert found["sensitivity"] == pytest.approx(reference.recall_score(label, called))
    assert found["specificity"] == pytest.approx(reference.recall_score(1 - label, 1 - called))
    assert found["f1"] == pytest.approx(reference.f1_score(label, called))


def test_a_resample_weighs_as_if_its_patients_stood_in_the_table() -> None:
    risk, label = drawn(60, 3, levels=10)
    resamples = draw_resamples(np.arange(60), resamples=30, seed=1)
    from fusion.metrics import _all_metrics

    every = _all_metrics(risk, label, resamples.weights, 0.4)
    for i in range(1, 31):
        rows = np.repeat(np.arange(60), resamples.weights[i].astype(int))
        direct = values(risk[rows], label[rows])
        for name in set(METRICS) - {"ece"}:  # ECE's bins are those of the whole set
            assert every[name][i] == pytest.approx(direct[name]), name


def test_ece_is_the_mean_gap_of_ten_equal_groups() -> None:
    risk, label = drawn(500, 0)
    groups = np.array_split(np.argsort(-risk), 10)
    gap = sum(abs(risk[g].mean() - label[g].mean()) * len(g) for g in groups) / 500
    assert values(risk, label)["ece"] == pytest.approx(gap)


def test_patients_are_drawn_and_not_rows() -> None:
    resamples = draw_resamples(np.array([7, 7, 7, 9, 9, 4]), resamples=50, seed=0)
    weights = resamples.weights
    assert (weights[0] == 1).all()
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 3] == weights[:, 4]).all()
    assert (weights[1:, [0, 3, 5]].sum(axis=1) == 3).all()


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        label = np.r_[np.ones(60), np.zeros(90)]
        risk = 1 / (1 + np.exp(-(rng.standard_normal(150) + label)))  # AUROC = Phi(1/sqrt 2)
        found = measure(
            risk, label, draw_resamples(np.arange(150), resamples=300, seed=seed), threshold=None
        )["auroc"]
        covered += found["low"] <= 0.7602 <= found["high"]
    assert 88 <= covered <= 100


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_class_gives_no_discrimination_and_no_crash(value: float) -> None:
    label = np.full(30, value)
    found = measure(
        np.linspace(0.1, 0.9, 30),
        label,
        draw_resamples(np.arange(30), resamples=50, seed=0),
        threshold=0.5,
    )
    assert found["auroc"] == {"value": None, "low": None, "high": None}
    assert found["auprc"]["value"] is None
    assert found["brier"]["low"] < found["brier"]["value"] < found["brier"]["high"]


def test_no_rows_give_nothing() -> None:
    empty = np.zeros(0)
    found = measure(empty, empty, draw_resamples(empty, resamples=5, seed=0), threshold=0.5)
    assert all(v["value"] is None for v in found.values())


def test_a_model_minus_itself_is_exactly_nothing() -> None:
    risk, label = drawn(100, 0)
    resamples = draw_resamples(np.arange(100), resamples=50, seed=0)
    assert paired("auroc", risk, risk, label, resamples) == {"value": 0, "low": 0, "high": 0}
    better = paired("logloss", np.where(label == 1, 0.9, 0.1), risk, label, resamples)
    assert better["high"] < 0


def test_the_calibration_line_finds_what_was_done_to_the_log_odds() -> None:
    rng = np.random.default_rng(0)
    true = rng.standard_normal(40_000)
    label = (rng.random(40_000) < 1 / (1 + np.exp(-true))).astype(float)
    found = calibration_line(1 / (1 + np.exp(-2 * true)), label)
    assert found["slope"] == pytest.approx(0.5, abs=0.03)
    assert calibration_line(np.full(10, 0.3), np.r_[np.ones(5), np.zeros(5)])["slope"] is None
    assert calibration_line(np.full(3, 0.3), np.ones(3)) == {"slope": None, "intercept": None}


def test_labels_that_are_not_known_are_refused() -> None:
    with pytest.raises(ValueError, match="left out before measuring"):
        values(np.array([0.1, 0.2]), np.array([np.nan, 1]))


def test_a_thousand_resamples_of_nine_models_take_seconds() -> None:
    import time

    risk, label = drawn(2000, 0)
    resamples = draw_resamples(np.arange(2000), resamples=1000, seed=0)
    start = time.process_time()
    for _ in range(3):
        measure(risk, label, resamples, threshold=0.4)
    assert time.process_time() - start < 6


def test_a_share_is_counted_among_those_asked_for_with_whole_patients_drawn() -> None:
    rng = np.random.default_rng(0)
    hit, among = rng.random(400) < 0.3, rng.random(400) < 0.5
    subjects = np.repeat(np.arange(200), 2)
    resamples = draw_resamples(subjects, resamples=500, seed=0)
    found = share(hit, resamples, among=among)
    assert found["value"] == pytest.approx(hit[among].mean())
    drawn = [np.average(hit[among], weights=w[among]) for w in resamples.weights[1:]]
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))
    nobody = share(hit, resamples, among=np.zeros(400, bool))
    assert nobody == {"value": None, "low": None, "high": None}
