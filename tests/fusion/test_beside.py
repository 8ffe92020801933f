"""What a run states beside a risk: of whom, sealed, and what runs of before say."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fusion.conformal import LEVELS, fit_cut
from fusion.run import seal_run
from fusion.served import ServedRun
from ingest.errors import RunError
from ingest.labels import read_cohort
from ingest.schema import Modality
from ingest.store import RecordStore
from tests.fusion.clinic import HashedEncoders, fit, hashes, held_out, serve, write_clinic


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clinic")
    write_clinic(place)
    fit(place)
    return place


def without_statements(run: Path) -> None:
    """Make a run as versions wrote it that stated nothing beside a risk."""
    for name in ("conformal.json", "intervals.json"):
        (run / name).unlink()
    shutil.rmtree(run / "unlikeness")
    seal_run(run)


@pytest.mark.parametrize("level", LEVELS)
def test_label_sets_are_of_the_champion_by_the_calibration_rows(clinic: Path, level: float) -> None:
    served, cohort = serve(clinic / "run"), read_cohort(clinic / "cohort")
    index = cohort.index.iloc[cohort.rows("calibration")].reset_index(drop=True)
    calibration = RecordStore(clinic / "store").timelines(index)
    model = served.uncalibrated(served.champion("ill"))
    labels = cohort.labels[cohort.rows("calibration"), 0]
    cut = fit_cut(model.score(calibration)[:, 0], labels, level=level)
    timelines = held_out(clinic)
    sets = served.label_sets(timelines, level=level)
    assert sets.shape == (len(timelines), 1, 2)
    np.testing.assert_array_equal(sets[:, 0], cut.sets(model.score(timelines)[:, 0]))
    assert not sets.all()
    # Calibration changes no order, so the sets part the calibrated risks too.
    risk, positive = served.score(timelines)[:, 0], sets[:, 0, 1]
    assert risk[positive].min() > risk[~positive].max(initial=0.0)


def test_a_level_that_was_not_fitted_is_refused(clinic: Path) -> None:
    with pytest.raises(ValueError, match=r"level must be one of 0\.8, 0\.9, 0\.95; got 0\.7"):
        serve(clinic / "run").label_sets(held_out(clinic), level=0.7)


def test_a_run_says_who_is_unlike_its_training_without_what_no_model_sees(tmp_path: Path) -> None:
    write_clinic(tmp_path, exclude_codes=["^LOINC//8480-6$"])
    fit(tmp_path, candidates=("prevalence",))
    served, timelines = serve(tmp_path / "run"), held_out(tmp_path)
    events = timelines.events.copy()
    pressure = events["code"] == "LOINC//8480-6"
    events.loc[pressure, "numeric_value"] = 9999.0
    wild = type(timelines)(index=timelines.index, events=events, images=timelines.images)
    sound = served.unlikeness(timelines)
    np.testing.assert_array_equal(served.unlikeness(wild).by_modality, sound.by_modality)
    events.loc[events["modality"] == "events", "code"] = "LOCAL//1"
    other = served.unlikeness(wild)
    assert (other.by_modality[:, 0] <= other.least[0]).all()
    assert sound.by_modality[:, 0].mean() > 0.3


@pytest.mark.parametrize(
    "name",
    [
        *("conformal.json", "intervals.json"),
        *("unlikeness/unlikeness.json", "unlikeness/unlikeness.safetensors"),
    ],
)
def test_damage_to_what_is_stated_beside_a_risk_is_found(
    clinic: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(clinic / "run", tmp_path / "run")
    content = bytearray((tmp_path / "run" / name).read_bytes())
    content[-2] ^= 1
    (tmp_path / "run" / name).write_bytes(bytes(content))
    with pytest.raises(RunError, match=f"{name} was changed"):
        serve(tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    with pytest.raises(RunError, match=f"{name} is missing"):
        serve(tmp_path / "run")


class Blind(HashedEncoders):
    """Encoders of a machine without images and weights: to be asked is to fail."""

    def notes(self, texts: Sequence[str], *, progress: bool = False) -> list[np.ndarray]:
        raise AssertionError("a note was read")

    def images(self, paths: Sequence[Path], *, progress: bool = False) -> list[np.ndarray]:
        raise AssertionError("an image was read")


def test_notes_and_images_that_no_model_looks_at_are_not_read_to_compare_them(
    clinic: Path,
) -> None:
    fit(clinic, "events", candidates=("prevalence", "events_logistic"), encoders=Blind())
    timelines = held_out(clinic)
    compared = ServedRun(clinic / "events", encoders=Blind()).unlikeness(timelines).by_modality
    assert np.isfinite(compared[:, 0]).all()
    assert np.isnan(compared[:, 1:]).all()


def test_what_a_model_looks_at_is_compared(clinic: Path) -> None:
    timelines = held_out(clinic)
    compared = serve(clinic / "run").unlikeness(timelines).by_modality
    has = np.stack([timelines.has(modality) for modality in Modality], axis=1)
    np.testing.assert_array_equal(np.isfinite(compared), has)
    assert has.any(axis=0).all()


def test_an_older_run_scores_and_says_that_it_states_nothing_beside(
    clinic: Path, tmp_path: Path
) -> None:
    shutil.copytree(clinic / "run", tmp_path / "run")
    without_statements(tmp_path / "run")
    older, timelines = serve(tmp_path / "run"), held_out(clinic)
    np.testing.assert_array_equal(older.score(timelines), serve(clinic / "run").score(timelines))
    with pytest.raises(RunError, match="was trained before there were label sets: it scores"):
        older.label_sets(timelines)
    with pytest.raises(RunError, match="was trained before unlikeness was measured: it scores"):
        older.unlikeness(timelines)
    with pytest.raises(RunError, match="was trained before risks had intervals: it scores"):
        older.intervals(timelines)


def test_an_older_run_that_is_trained_again_states_both_and_fits_no_model(
    clinic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(clinic, "older")
    without_statements(clinic / "older")
    monkeypatch.setattr("fusion.train.fit_candidate", lambda *a, **k: pytest.fail("fitted again"))
    fit(clinic, "older")
    assert hashes(clinic / "older") == hashes(clinic / "run")


def test_training_that_was_killed_before_the_seal_goes_on(
    clinic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*given, **more) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fusion.beside.fit_familiar", dies)
        with pytest.raises(KeyboardInterrupt):
            fit(clinic, "killed")
    assert not (clinic / "killed" / "manifest.json").exists()
    fit(clinic, "killed")
    assert hashes(clinic / "killed") == hashes(clinic / "run")
