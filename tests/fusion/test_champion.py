import numpy as np
import pytest

from fusion.calibration import fit_calibrator
from fusion.champion import choose_champion, row_losses, youden_threshold
from fusion.fitting import Scored, candidate_names, settle
from ingest.errors import UsageError


def rows(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.05, 0.95, n)
    return truth, (rng.random(n) < truth).astype(float)


def test_the_best_serves_where_nothing_simpler_comes_near() -> None:
    truth, label = rows()
    choice = choose_champion("ill", {"prevalence": np.full(400, 0.5), "attention": truth}, label)
    assert choice.model == "attention"
    assert choice.why.startswith("ill: attention serves (tuning log-loss ")
    assert "no simpler model is within one standard error" in choice.why


def test_the_simplest_within_one_standard_error_of_the_best_serves() -> None:
    truth, label = rows()
    # `stacked` is a hair better; the difference is far below its standard error.
    noisy = np.clip(truth + 0.03 * np.random.default_rng(1).standard_normal(400), 0.01, 0.99)
    risks = {"prevalence": np.full(400, 0.5), "events_logistic": noisy, "stacked": truth}
    choice = choose_champion("ill", risks, label)
    behind, error = choice.behind["events_logistic"]
    assert 0 <= behind <= error
    assert choice.model == "events_logistic"
    assert "stacked" in choice.why
    assert f"better by {behind:.3f}, not more than one standard error of {error:.3f}" in choice.why


def test_order_says_what_is_simpler_and_not_the_name() -> None:
    truth, label = rows()
    assert choose_champion("ill", {"b": truth, "a": truth}, label).model == "b"


def test_a_difference_of_more_than_its_standard_error_is_not_forgiven() -> None:
    truth, label = rows(4000)
    dull = 0.5 + 0.5 * (truth - 0.5)
    choice = choose_champion("ill", {"dull": dull, "sharp": truth}, label)
    behind, error = choice.behind["dull"]
    assert behind > error
    assert choice.model == "sharp"


def test_the_standard_error_counts_patients_and_not_rows() -> None:
    truth, label = rows(50)
    other = np.clip(truth + 0.1, 0.01, 0.99)
    once = choose_champion("ill", {"a": other, "b": truth}, label)
    ten = choose_champion(
        "ill",
        {"a": np.tile(other, 10), "b": np.tile(truth, 10)},
        np.tile(label, 10),
        subjects=np.tile(np.arange(50), 10),
    )
    worse = max(once.behind, key=lambda name: once.behind[name][1])
    assert ten.behind[worse][1] == pytest.approx(once.behind[worse][1])


def test_with_one_positive_it_says_that_it_cannot_choose() -> None:
    label = np.r_[1.0, np.zeros(30)]
    choice = choose_champion("ill", {"prevalence": label * 0, "attention": label}, label)
    assert choice.model == "prevalence"
    assert "1 positives and 30 negatives in tuning are too few" in choice.why


def test_who_asks_for_a_model_gets_it_and_the_line_says_so() -> None:
    truth, label = rows()
    risks = {"prevalence": np.full(400, 0.5), "attention": truth}
    choice = choose_champion("ill", risks, label, forced="prevalence")
    assert choice.model == "prevalence"
    assert "asked for; best is attention" in choice.why
    with pytest.raises(ValueError, match="got 'oracle'"):
        choose_champion("ill", risks, label, forced="oracle")


def test_rows_whose_label_is_not_known_do_not_choose() -> None:
    truth, label = rows()
    label[::2] = np.nan
    wrong = truth.copy()
    wrong[::2] = 1 - truth[::2]
    choice = choose_champion("ill", {"wrong": wrong, "truth": truth}, label)
    assert choice.model == "wrong"  # they differ only where nobody knows


def test_the_threshold_parts_the_classes_where_they_part() -> None:
    risk = np.array([0.1, 0.2, 0.3, 0.7, 0.8])
    assert youden_threshold(risk, np.array([0, 0, 0, 1, 1.0])) == pytest.approx(0.5)
    assert youden_threshold(risk, np.array([0, 0, 0, 0, np.nan])) == pytest.approx(1e-6)


def test_the_threshold_is_the_best_of_all_cuts() -> None:
    truth, label = rows(200, seed=4)

    def youden(cut: float) -> float:
        called = truth >= cut
        return called[label == 1].mean() - called[label == 0].mean()

    found = youden(youden_threshold(truth, label))
    assert found == pytest.approx(max(youden(cut) for cut in np.linspace(0, 1, 2001)), abs=1e-12)


def test_a_candidate_that_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="no candidate is called magic"):
        candidate_names(["stacked", "magic"])
    with pytest.raises(UsageError, match="at least one"):
        candidate_names([])


def scored(risk: np.ndarray, label: np.ndarray, first: int) -> Scored:
    return Scored(
        risks={
            name: r[:, None] for name, r in {"plain": np.full(len(label), 0.4), "m": risk}.items()
        },
        labels=label[:, None],
        subjects=np.arange(first, first + len(label)),
    )


def test_the_rows_that_calibrate_choose_too_but_not_by_their_own_calibrator() -> None:
    """A model that knows tuning by heart (it stopped early there) must not serve for that."""
    _, label = rows(300, seed=2)
    _, other = rows(300, seed=3)
    noise = np.random.default_rng(0).uniform(0.05, 0.95, 300)
    by_heart = np.clip(0.5 + 0.02 * (label - 0.5) + 0.4 * (noise - 0.5), 0.01, 0.99)
    tuning, calibration = scored(by_heart, label, 0), scored(noise, other, 300)
    settled = settle(tasks=("ill",), calibration=calibration, tuning=tuning)
    assert settled.choices["ill"].model == "plain"
    assert "(tuning and calibration log-loss" in settled.choices["ill"].why
    kept = settled.calibrators["ill"]["m"]
    assert kept == fit_calibrator(noise, other)
    # What chose is each half, calibrated by the other half's calibrator.
    swapped = fit_calibrator(by_heart, label).apply(noise)
    losses = np.r_[row_losses(kept.apply(by_heart), label), row_losses(swapped, other)]
    assert settled.choices["ill"].losses["m"] == pytest.approx(losses.mean())
