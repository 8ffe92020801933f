"""Label sets hold what they promise: by definition, against MAPIE, and over many draws."""

import warnings
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.conformal import (
    LEVELS,
    Cut,
    LabelSets,
    coverage_range,
    fit_cut,
    fit_label_sets,
    name_sets,
)
from ingest.errors import RunError


def drawn(rng: np.random.Generator, n: int, *, levels: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Give risks of a model that is wrong (too sure, and off), and labels; a third are positive."""
    latent = rng.standard_normal(n)
    label = (latent + rng.standard_normal(n) > 0.6).astype(float)
    risk = 1 / (1 + np.exp(-(3 * latent + 1)))
    return (np.round(risk * levels) / levels if levels else risk), label


def by_definition(risk: np.ndarray, label: np.ndarray, new: float, level: float) -> list[bool]:
    """Keep a label unless its conformal p-value is at most 1 - level (Vovk et al. 2005)."""
    kept = []
    for value, unusual in ((0, lambda r: r), (1, lambda r: -r)):
        mine = unusual(risk[label == value])
        p = (1 + (mine >= unusual(new)).sum()) / (len(mine) + 1)
        kept.append(bool(p > 1 - level + 1e-12))
    return kept


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 9999),
    n=st.integers(0, 80),
    levels=st.sampled_from([0, 3, 10]),
    level=st.sampled_from([0.5, *LEVELS]),
)
def test_a_set_is_what_the_p_values_leave_ties_included(
    seed: int, n: int, levels: int, level: float
) -> None:
    rng = np.random.default_rng(seed)
    risk, label = drawn(rng, n, levels=levels)
    new, _ = drawn(rng, 20, levels=levels)
    found = fit_cut(risk, label, level=level).sets(new)
    expected = [by_definition(risk, label, one, level) for one in new]
    assert found.tolist() == expected


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("value", [0, 1])
def test_mapie_on_the_rows_of_one_class_leaves_the_same_label(level: float, value: int) -> None:
    # MAPIE promises over both classes together; on one class's rows its threshold is that class's.
    classification = pytest.importorskip("mapie.classification")
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Said(ClassifierMixin, BaseEstimator):
        """Say of a row what stands in its only column."""

        def fit(self, x: np.ndarray, y: np.ndarray) -> "Said":
            self.classes_, self.fitted_ = np.array([0, 1]), True
            return self

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            return np.column_stack([1 - x[:, 0], x[:, 0]])

        def predict(self, x: np.ndarray) -> np.ndarray:
            return (x[:, 0] > 0.5).astype(int)

    rng = np.random.default_rng(3)
    risk, label = drawn(rng, 400)
    new, _ = drawn(rng, 300)
    mine = label == value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mapie = classification.SplitConformalClassifier(
            Said().fit(risk[:, None], label), confidence_level=level, prefit=True
        )
        mapie.conformalize(risk[mine, None], label[mine].astype(int))
        _, theirs = mapie.predict_set(new[:, None])
    ours = fit_cut(risk, label, level=level).sets(new)
    assert 0.05 < ours[:, value].mean() < 0.95
    np.testing.assert_array_equal(ours[:, value], theirs[:, value, 0])


@pytest.mark.parametrize("level", LEVELS)
def test_coverage_of_either_class_lies_between_the_level_and_its_upper_bound(level: float) -> None:
    rng = np.random.default_rng(11)
    draws, n = 4000, 60
    kept = np.zeros((draws, 2))
    rest = np.zeros((draws, 2))
    for i in range(draws):
        risk, label = drawn(rng, n)
        new, truth = drawn(rng, 40)
        sets = fit_cut(risk, label, level=level).sets(new)
        for value in (0, 1):
            rows = (label == value).sum()
            kept[i, value] = (
                sets[truth == value, value].mean() if (truth == value).any() else np.nan
            )
            # Exactly ceil((n + 1) level) / (n + 1) where risks have no ties.
            rest[i, value] = min(1.0, ceil((rows + 1) * level - 1e-9) / (rows + 1))
    found, expected = np.nanmean(kept, axis=0), rest.mean(axis=0)
    error = np.nanstd(kept, axis=0) / draws**0.5
    assert (found >= level - 3 * error).all()
    assert (np.abs(found - expected) <= 4 * error).all()
    assert (error < 0.003).all()


@pytest.mark.parametrize("n", [25, 150])
@pytest.mark.parametrize("level", LEVELS)
def test_coverage_of_one_calibration_set_lies_in_its_range_19_times_in_20(
    n: int, level: float
) -> None:
    rng = np.random.default_rng(2)
    low, high = coverage_range(n, level)
    # Of uniform risks of positives, those from t on are covered: 1 - t of all that will come.
    cuts = [fit_cut(rng.random(n), np.ones(n), level=level) for _ in range(4000)]
    covered = 1 - np.array([cut.positive_from for cut in cuts])
    assert abs((covered < low).mean() - 0.025) < 0.01
    assert abs((covered > high).mean() - 0.025) < 0.01


def test_a_set_over_both_classes_together_would_leave_the_rare_one_out() -> None:
    # What the thresholds by class are for: one threshold is right for nearly everybody without it.
    rng = np.random.default_rng(0)
    label = (rng.random(4000) < 0.05).astype(float)
    risk = 1 / (1 + np.exp(-(label + rng.standard_normal(4000) - 3)))
    sets = fit_cut(risk[:2000], label[:2000], level=0.9).sets(risk[2000:])
    truth = label[2000:]
    assert sets[truth == 1, 1].mean() > 0.8
    together = np.where(label == 1, 1 - risk, risk)
    cut = np.quantile(together[:2000], 0.9)
    assert (1 - risk[2000:][truth == 1] <= cut).mean() < 0.5


def test_a_class_with_too_few_rows_is_never_ruled_out() -> None:
    risk, label = np.linspace(0.1, 0.9, 30), np.r_[np.zeros(22), np.ones(8)]
    cut = fit_cut(risk, label, level=0.9)
    assert cut.positive_from is None
    assert cut.negative_to is not None
    assert cut.sets(np.array([0.0, 1.0])).tolist() == [[True, True], [False, True]]


def test_a_model_that_says_the_same_of_everybody_rules_nothing_out() -> None:
    cut = fit_cut(np.full(100, 0.2), np.arange(100) % 2.0, level=0.8)
    assert name_sets(cut.sets(np.full(3, 0.2))) == ["either"] * 3


def test_a_monotone_calibrator_changes_no_set() -> None:
    risk, label = drawn(np.random.default_rng(1), 300)
    new, _ = drawn(np.random.default_rng(2), 100)
    plain = fit_cut(risk, label, level=0.9).sets(new)
    bent = fit_cut(risk**3, label, level=0.9).sets(new**3)
    np.testing.assert_array_equal(plain, bent)


def test_rows_without_a_label_count_for_nothing() -> None:
    risk, label = drawn(np.random.default_rng(1), 300)
    holes = np.r_[label, np.full(50, np.nan)]
    wild = np.r_[risk, np.random.default_rng(2).random(50)]
    assert fit_cut(wild, holes, level=0.8) == fit_cut(risk, label, level=0.8)


def test_thresholds_survive_json_and_a_level_that_was_not_fitted_is_refused() -> None:
    risk, label = drawn(np.random.default_rng(1), 100)
    labels = np.column_stack([label, np.where(np.arange(100) < 99, np.nan, 1.0)])
    risks = {"a": np.column_stack([risk, risk]), "b": np.column_stack([risk**2, risk])}
    found = fit_label_sets(risks, labels, tasks=("ill", "rare"), folds=4)
    again = LabelSets.from_json(found.to_json())
    assert again == found
    assert again.rows["ill"] == (int((label == 0).sum()), int(label.sum()))
    assert again.cut("rare", "a", 0.8) == Cut(positive_from=None, negative_to=None)
    assert again.cut("ill", "a", 0.9) != again.cut("ill", "b", 0.9)
    with pytest.raises(ValueError, match=r"level must be one of 0\.8, 0\.9, 0\.95; got 0\.5"):
        again.cut("ill", "a", 0.5)


def test_a_rate_that_differs_only_by_fold_rules_nothing_out() -> None:
    rng = np.random.default_rng(4)
    risk, label = drawn(rng, 400)
    fold = np.arange(400) % 8
    rate = np.array([label[fold != one].mean() for one in range(8)])[fold]  # lower, where more are
    risks = {"prevalence": rate[:, None], "a": risk[:, None]}
    found = fit_label_sets(risks, label[:, None], tasks=("ill",), folds=8)
    served = np.array([label.mean()])
    assert found.cut("ill", "prevalence", 0.8).sets(served).tolist() == [[True, True]]
    assert found.cut("ill", "a", 0.8) == fit_cut(risk, label, level=0.8)
    assert not fit_cut(rate, label, level=0.8).sets(rate).all()  # which ruled out by fold


@pytest.mark.parametrize("content", [{}, {"tasks": 3}, {"tasks": {"ill": {"negatives": 1}}}])
def test_thresholds_that_are_something_else_are_refused(content: dict) -> None:
    with pytest.raises(RunError, match=r"conformal\.json is not what Medweave wrote"):
        LabelSets.from_json({"cross_fitted": False, **content})
