"""The oracle: exact, calibrated, and as hard as the worlds promise."""

from functools import cache
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from ingest.additive import fit_additive
from ingest.errors import InputError, MappingError
from ingest.oracle import (
    SUBSETS,
    Draw,
    Evidence,
    Statistics,
    draw,
    evidence,
    oracle,
    solve_intercept,
    standardise,
)
from ingest.world import FINDINGS, WORLDS, World, read_world, write_world

WORLD_FILES = sorted(WORLDS.glob("*.yaml"))
ALL = "events+notes+images"


@cache
def sample(name: str) -> tuple[World, Draw, Evidence, pd.DataFrame]:
    world = read_world(WORLDS / f"{name}.yaml")
    n = 100_000 if name in ("default", "no_interaction") else 40_000
    drawn = draw(world, n, np.random.default_rng(11))
    known = evidence(world, drawn.statistics)
    return world, drawn, known, oracle(world, known)


@cache
def additive(name: str) -> np.ndarray:
    world, _, known, _ = sample(name)
    return fit_additive(world).risk(known)


def auroc(name: str, column: str) -> float:
    _, drawn, _, risks = sample(name)
    score = additive(name) if column == "additive" else risks[column]
    return float(roc_auc_score(drawn.label, score))


@pytest.mark.parametrize("modality", ["events", "notes", "images"])
def test_in_the_default_world_one_modality_alone_goes_some_of_the_way(modality: str) -> None:
    assert 0.65 < auroc("default", modality) < 0.75


def test_in_the_default_world_all_modalities_together_go_far() -> None:
    assert 0.85 < auroc("default", ALL) < 0.90


def test_in_the_default_world_no_sum_of_single_modality_scores_comes_near() -> None:
    assert auroc("default", "additive") < auroc("default", ALL) - 0.03
    assert auroc("default", "additive") > auroc("default", "events+images")


def test_the_additive_score_is_no_worse_than_any_average_of_the_single_ones() -> None:
    _, drawn, _, risks = sample("default")
    mean = sum(logit(risks[m]) for m in ("events", "notes", "images"))
    assert auroc("default", "additive") > roc_auc_score(drawn.label, mean) - 0.002


def test_boosting_that_may_not_mix_modalities_finds_no_better_additive_score() -> None:
    """An independent engine: LightGBM with interaction constraints, fitted to the exact risk."""
    _, drawn, known, risks = sample("default")
    x = np.column_stack(
        [
            known.events_mean,
            known.events_variance,
            known.note_log_odds,
            known.has_note,
            known.heart_mean,
            known.opacity_mean,
            known.has_image,
        ]
    ).astype(float)
    fit, judge = np.arange(50_000), np.arange(50_000, 100_000)
    booster = lgb.train(
        {
            "objective": "cross_entropy",
            "interaction_constraints": [[0, 1], [2, 3], [4, 5, 6]],
            "learning_rate": 0.1,
            "num_leaves": 31,
            "num_threads": 1,
            "deterministic": True,
            "verbosity": -1,
        },
        lgb.Dataset(x[fit], risks[ALL].to_numpy()[fit]),
        num_boost_round=150,
    )
    boosted = roc_auc_score(drawn.label[judge], booster.predict(x[judge]))
    ours = roc_auc_score(drawn.label[judge], additive("default")[judge])
    assert abs(boosted - ours) < 0.005


def test_without_an_interaction_the_additive_score_is_all_there_is() -> None:
    assert abs(auroc("no_interaction", "additive") - auroc("no_interaction", ALL)) < 0.005


def test_knowing_more_never_ranks_worse() -> None:
    for less in SUBSETS:
        for more in SUBSETS:
            if set(less.split("+")) < set(more.split("+")):
                assert auroc("default", less) < auroc("default", more)


@pytest.mark.parametrize("name", [file.stem for file in WORLD_FILES])
@pytest.mark.parametrize("column", SUBSETS)
def test_the_oracle_is_calibrated(name: str, column: str) -> None:
    """Twenty bins of risk against drawn labels; deviations in standard errors."""
    _, drawn, _, risks = sample(name)
    p = risks[column].to_numpy()
    order = np.array_split(np.argsort(p, kind="stable"), 20)
    z = [(drawn.label[b].sum() - p[b].sum()) / np.sqrt((p[b] * (1 - p[b])).sum()) for b in order]
    assert np.abs(z).max() < 4.2
    assert abs(np.mean(np.square(z)) - 1) < 1.2


@pytest.mark.parametrize("name", [file.stem for file in WORLD_FILES])
def test_the_prevalence_comes_out(name: str) -> None:
    world, drawn, _, _ = sample(name)
    share = drawn.latents["risk"].mean()
    assert abs(share - world.risk.prevalence) < 5 * drawn.latents["risk"].std() / np.sqrt(
        len(drawn.label)
    )


def test_being_without_an_image_says_something_only_where_the_switch_is_on() -> None:
    for name, informs in (("default", False), ("informative_missingness", True)):
        _, drawn, known, risks = sample(name)
        spread = risks["images"][~known.has_image]
        assert spread.std() < 1e-12
        rate = drawn.label[~known.has_image].mean()
        assert (abs(rate - drawn.label.mean()) > 0.05) == informs
        assert abs(spread.mean() - rate) < 0.02


def test_a_hidden_modality_cannot_change_the_oracle() -> None:
    world, drawn, known, risks = sample("default")
    rng = np.random.default_rng(0)
    n = len(drawn.label)
    noised = Evidence(
        **{
            **vars(known),
            "heart_mean": rng.standard_normal(n),
            "opacity_mean": rng.standard_normal(n),
            "note_log_odds": rng.standard_normal(n),
        }
    )
    assert np.array_equal(oracle(world, noised)["events"], risks["events"])
    assert not np.allclose(oracle(world, noised)[ALL], risks[ALL])


@pytest.mark.parametrize("name", ["default", "informative_missingness"])
def test_the_oracle_agrees_with_brute_force(name: str) -> None:
    """Weigh many draws of the latents by the likelihood of one patient's statistics.

    Written from the model as the docstring of ingest/simulate.py states it, sharing no code with
    the closed forms: each number that is seen has its density, each word its probability.
    """
    world, drawn, _, risks = sample(name)
    s, rng, m = drawn.statistics, np.random.default_rng(3), 200_000
    level, trend, heart, opacity, age = rng.standard_normal((5, m))
    up = rng.random(m) < world.notes.congested
    comorbid = rng.random((m, s.comorbid.shape[1])) < [
        c.share for c in world.events.comorbidities.values()
    ]
    ratio = (
        np.where(up, world.missing.image_ratio, 1.0) if world.missing.informative else np.ones(m)
    )
    note_ratio = (
        np.where(up, world.missing.note_ratio, 1.0) if world.missing.informative else np.ones(m)
    )
    b = [c.log_odds for c in world.events.comorbidities.values()]
    rows = [0, int(np.flatnonzero(~s.has_image)[0]), int(np.flatnonzero(~s.has_note)[0])]
    for i in rows:
        log_events = _log_likelihood_of_measurements(world, s, i, level, trend)
        p_image = 1 - world.missing.image * ratio
        log_image = np.log(p_image if s.has_image[i] else 1 - p_image)
        log_images = log_image.copy()
        if s.has_image[i]:
            noise = world.images
            log_images -= 0.5 * ((s.heart[i] - heart) / noise.heart_noise) ** 2
            log_images -= 0.5 * ((s.opacity[i] - opacity) / noise.opacity_noise) ** 2
        p_note = 1 - world.missing.note * note_ratio
        log_notes = np.log(p_note if s.has_note[i] else 1 - p_note)
        if s.has_note[i]:
            for f, finding in enumerate(FINDINGS):
                rate = world.notes.findings[finding]
                p = np.where(up, rate.congested, rate.otherwise)
                said = {
                    1: p * world.notes.affirmed,
                    -1: (1 - p) * world.notes.denied,
                    0: p * (1 - world.notes.affirmed) + (1 - p) * (1 - world.notes.denied),
                }
                log_notes = log_notes + np.log(said[int(s.stated[i, f])])
        for column in SUBSETS:
            parts = column.split("+")
            log_weight = np.zeros(m)
            known_age, known_comorbid = age, comorbid @ b
            if "events" in parts:
                log_weight += log_events
                known_age = s.age[i]
                known_comorbid = s.comorbid[i] @ np.array(b)
                if "images" not in parts:
                    log_weight = log_weight + log_image
            if "images" in parts:
                log_weight = log_weight + log_images
            if "notes" in parts:
                log_weight = log_weight + log_notes
            c = np.where(up, 1.0, -1.0)
            r = world.risk
            odds = solve_intercept(world) + r.level * level + r.trend * trend + r.age * known_age
            odds = odds + known_comorbid + r.congestion * c + r.heart * heart
            odds = odds + r.opacity * opacity + r.interaction * c * heart
            weight = np.exp(log_weight - log_weight.max())
            weight /= weight.sum()
            error = np.sqrt(np.sum(np.square(weight)))  # one over the root of the effective size
            assert np.sum(weight * expit(odds)) == pytest.approx(
                risks[column][i], abs=2.5 * error + 0.001
            )
            assert error < 0.1


def _log_likelihood_of_measurements(
    world: World, s: Statistics, i: int, level: np.ndarray, trend: np.ndarray
) -> np.ndarray:
    total = np.zeros(len(level))
    for name, kind in world.events.measurements.items():
        seen = s.seen[name][i]
        if not seen.any():
            continue
        value = standardise(kind, s.values[name][i, seen])
        years = s.years[i, seen]
        spread = kind.person**2 * np.ones((len(value), len(value)))
        spread += kind.noise**2 * np.eye(len(value))
        rest = value - kind.level * level[:, None] - kind.trend * trend[:, None] * years
        total -= 0.5 * np.einsum("mi,ij,mj->m", rest, np.linalg.inv(spread), rest)
    return total


def test_the_same_generator_draws_the_same_patients() -> None:
    world = read_world()
    first = draw(world, 1000, np.random.default_rng(5))
    again = draw(world, 1000, np.random.default_rng(5))
    assert np.array_equal(first.label, again.label)
    assert np.array_equal(first.statistics.heart, again.statistics.heart)


@pytest.mark.parametrize("file", WORLD_FILES, ids=lambda f: f.stem)
def test_a_written_world_is_the_same_world_again(file: Path, tmp_path: Path) -> None:
    world = read_world(file)
    assert world.name == file.stem
    write_world(tmp_path / "world.yaml", world)
    assert read_world(tmp_path / "world.yaml") == world


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("risk: {prevalence: 1.5}", r"risk\.prevalence: .*less than 1 \(got 1\.5\)"),
        ("risk: {strength: 1}", r"risk\.strength: Extra inputs"),
        ("images: {heart_noise: wide}", r"images\.heart_noise: .*\(got 'wide'\)"),
        ("risk: 3", r"risk: .*\(got 3\)"),
        ("missing: {informative: true, image: 0.6, image_ratio: 2}", "missing: image times"),
        ("calendar: {first: 2022-01-01, last: 2021-01-01}", "calendar: last must not be before"),
        ("notes: {findings: {hiccups: {congested: 0.1, otherwise: 0.2}}}", "notes: findings must"),
        ("events: {measurements: {nt_probnp: {sd: -1}}}", r"events\.measurements\.nt_probnp\.sd"),
        ("risk: {interaction: .nan}", r"risk\.interaction"),
        ("- 1", "must be a mapping"),
        ("a: [", "is not YAML at line"),
    ],
)
def test_a_bad_world_file_is_refused_by_the_name_of_the_field(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "world.yaml"
    file.write_text(text)
    with pytest.raises(MappingError, match=said):
        read_world(file)


def test_a_world_file_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_world(tmp_path / "none.yaml")
