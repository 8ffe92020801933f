"""The candidate `attention`, from timelines to risks and to the disk and back."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fusion.attention import AttentionCandidate, AttentionConfig
from fusion.candidates import Candidate
from fusion.scoring import ALL_MODALITIES, subsets
from fusion.training import TrainingConfig
from ingest.errors import RunError
from ingest.schema import Modality
from ingest.timeline import Timelines
from tests.fusion.clinic import HashedEncoders, clinic_timelines, lesson

SMALL = {"width": 16, "heads": 2, "latents": 4}
BRIEF = TrainingConfig(epochs=3, batch=32)

Clinic = tuple[Timelines, np.ndarray, Timelines, np.ndarray]


def fit(clinic: Clinic, *, seed: int = 0, tasks: tuple[str, ...] = ("ill",), **more):
    options = {"ensemble": AttentionConfig(members=2), "training": BRIEF, **SMALL, **more}
    return AttentionCandidate.fit(lesson(*clinic, seed=seed, tasks=tasks), **options)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    place = tmp_path_factory.mktemp("clinic")
    return (*clinic_timelines(place / "train", 120, 1), *clinic_timelines(place / "tuning", 30, 2))


@pytest.fixture(scope="module")
def fitted(clinic: Clinic) -> AttentionCandidate:
    return fit(clinic)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[Timelines, np.ndarray]:
    return clinic_timelines(tmp_path_factory.mktemp("held_out"), 150, 3)


def weights(candidate: AttentionCandidate) -> dict[str, torch.Tensor]:
    return {
        f"{number}.{name}": tensor
        for number, member in enumerate(candidate.members)
        for name, tensor in member.state_dict().items()
    }


def auroc(risk: np.ndarray, label: np.ndarray) -> float:
    positive, negative = risk[label > 0], risk[label == 0]
    return float((positive[:, None] > negative).mean())


def test_it_is_a_candidate_and_finds_what_was_planted(
    fitted: AttentionCandidate, held_out: tuple[Timelines, np.ndarray]
) -> None:
    assert isinstance(fitted, Candidate)
    timelines, labels = held_out
    risk = fitted.score(timelines)
    assert risk.dtype == np.float64
    assert risk.shape == (150, 1)
    assert ((risk > 0) & (risk < 1)).all()
    assert auroc(risk[:, 0], labels[:, 0]) > 0.65


def test_what_repeats_itself_is_left_to_attention(fitted: AttentionCandidate) -> None:
    kinds = np.array([name.rpartition(" ")[2] for name in fitted.vocabulary.features])
    read = fitted.members[0].wide.event_weight.abs().sum(dim=(1, 2)).numpy() > 0
    assert read[kinds == "last"].any()
    assert {"change", "earlier"} <= set(kinds)
    assert not read[np.isin(kinds, ["change", "earlier"])].any()


def test_every_subset_of_modalities_is_answered(
    fitted: AttentionCandidate, held_out: tuple[Timelines, np.ndarray]
) -> None:
    timelines, labels = held_out
    found = {tuple(sorted(s)): fitted.score(timelines, s)[:, 0] for s in subsets()}
    assert min(auroc(risk, labels[:, 0]) for risk in found.values()) > 0.55
    nothing = fitted.score(timelines, frozenset())
    assert np.ptp(nothing) < 1e-9


@pytest.mark.parametrize("hidden", list(Modality))
def test_noise_in_a_hidden_modality_changes_no_bit(
    fitted: AttentionCandidate, held_out: tuple[Timelines, np.ndarray], hidden: Modality
) -> None:
    timelines, _ = held_out
    shown = ALL_MODALITIES - {hidden}
    rng = np.random.default_rng(0)
    events = timelines.events.copy()
    here = (events["modality"] == str(hidden)).to_numpy()
    events.loc[here, "numeric_value"] = rng.standard_normal(here.sum()).astype(np.float32) * 1e6
    events.loc[here, "text_value"] = "sudden death of everybody"
    events.loc[here, "image"] = "images/there-is-no-such-file.png"
    events.loc[here, "days_before"] = rng.random(here.sum())
    noisy = replace(timelines, events=events)
    np.testing.assert_array_equal(fitted.score(noisy, shown), fitted.score(timelines, shown))
    np.testing.assert_array_equal(
        fitted.score(timelines, shown), fitted.score(timelines.only(shown))
    )


def test_a_risk_is_the_same_alone_and_among_others(
    fitted: AttentionCandidate, held_out: tuple[Timelines, np.ndarray]
) -> None:
    timelines, _ = held_out
    together = fitted.score(timelines)
    for row in (0, 7, 149):
        alone = fitted.score(timelines.take(np.array([row])))
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)
    order = np.random.default_rng(0).permutation(150)
    np.testing.assert_allclose(fitted.score(timelines.take(order)), together[order], atol=1e-5)


def test_the_same_seed_gives_the_same_weights_to_the_bit(
    clinic: Clinic, fitted: AttentionCandidate
) -> None:
    torch.manual_seed(99)  # what was drawn before must not matter
    again, other = weights(fit(clinic)), weights(fit(clinic, seed=1))
    first = weights(fitted)
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.latents"], other["0.latents"])
    assert not torch.equal(first["0.latents"], first["1.latents"])


def test_training_leaves_the_callers_random_numbers_alone(clinic: Clinic) -> None:
    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))  # noqa: NPY002

    def seed() -> None:
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002
        torch.manual_seed(5)

    seed()
    wanted = drawn()
    seed()
    fit(clinic, ensemble=AttentionConfig(members=1), training=TrainingConfig(epochs=1))
    assert drawn() == wanted


def test_what_is_saved_comes_back_and_gives_the_same_risks_to_the_bit(
    fitted: AttentionCandidate, held_out: tuple[Timelines, np.ndarray], tmp_path: Path
) -> None:
    timelines, _ = held_out
    fitted.save(tmp_path / "a")
    again = AttentionCandidate.load(tmp_path / "a", HashedEncoders())
    np.testing.assert_array_equal(again.score(timelines), fitted.score(timelines))
    again.save(tmp_path / "b")
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert {p.suffix for p in files} == {".json", ".safetensors"}
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_other_encoders_and_lost_files_are_refused(
    fitted: AttentionCandidate, tmp_path: Path
) -> None:
    class Others(HashedEncoders):
        preprocessing = {"text": {"kind": "others"}}  # noqa: RUF012

    fitted.save(tmp_path)
    with pytest.raises(RunError):
        AttentionCandidate.load(tmp_path, Others())
    (tmp_path / "member-1" / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"member-1 lacks model\.safetensors"):
        AttentionCandidate.load(tmp_path, HashedEncoders())


def test_sixty_patients_and_a_tuning_set_of_one_class_are_enough(clinic: Clinic) -> None:
    train, train_labels, tuning, _ = clinic
    some = np.arange(60)
    small = (train.take(some), train_labels[some], tuning, np.zeros((len(tuning), 1), np.float32))
    risk = fit(small).score(tuning)
    assert np.isfinite(risk).all()


def test_tasks_of_one_class_or_without_a_label_get_a_rate(clinic: Clinic) -> None:
    train, train_labels, tuning, tuning_labels = clinic
    n, m = len(train), len(tuning)
    never, unknown = np.zeros((n, 1), np.float32), np.full((n, 1), np.nan, np.float32)
    more = (
        train,
        np.concatenate([train_labels, never, unknown], axis=1),
        tuning,
        np.concatenate([tuning_labels, never[:m], unknown[:m]], axis=1),
    )
    candidate = fit(more, tasks=("ill", "never", "unknown"))
    risk = candidate.score(tuning)
    assert risk.shape == (m, 3)
    assert np.isfinite(risk).all()
    assert risk[:, 1].max() < 0.2


def test_patients_without_any_note_or_image_or_event_can_be_learnt_from(clinic: Clinic) -> None:
    train, train_labels, tuning, tuning_labels = clinic
    for kept in ({Modality.EVENTS}, {Modality.NOTES}, set()):
        only = frozenset(kept)
        bare = (train.only(only), train_labels, tuning.only(only), tuning_labels)
        candidate = fit(
            bare, ensemble=AttentionConfig(members=1), training=TrainingConfig(epochs=1)
        )
        assert np.isfinite(candidate.score(tuning)).all()


def test_an_empty_tuning_set_keeps_the_last_weights(clinic: Clinic) -> None:
    train, train_labels, tuning, tuning_labels = clinic
    none = np.arange(0)
    bare = (train, train_labels, tuning.take(none), tuning_labels[none])
    candidate = fit(bare)
    assert candidate.score(tuning.take(none)).shape == (0, 1)
    assert np.isfinite(candidate.score(tuning)).all()


def test_a_patient_of_whom_nothing_is_known_gets_a_risk(fitted: AttentionCandidate) -> None:
    index = pd.DataFrame({"subject_id": [1], "prediction_time": [pd.Timestamp("2024-01-01")]})
    nobody = Timelines(
        index=index,
        events=pd.DataFrame(
            {
                name: pd.Series(dtype=object if name in ("code", "modality") else float)
                for name in (
                    *("row", "time", "days_before", "code", "numeric_value"),
                    *("text_value", "unit", "image", "modality"),
                )
            }
        ),
        images=Path(),
    )
    risk = fitted.score(nobody)
    assert risk.shape == (1, 1)
    assert 0 < risk[0, 0] < 1


def test_settings_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="members=0"):
        AttentionConfig(members=0)
    with pytest.raises(ValueError, match="epochs=0"):
        TrainingConfig(epochs=0)
