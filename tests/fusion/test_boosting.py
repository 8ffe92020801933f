from pathlib import Path

import numpy as np
import pytest

from fusion.boosting import EventsBoostingCandidate
from ingest.schema import Modality
from tests.fusion.clinic import HashedEncoders, clinic_timelines, lesson


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory):
    place = tmp_path_factory.mktemp("boosting")
    return [
        clinic_timelines(place / str(s), n, s, strength=(3, 0, 0)) for s, n in ((1, 300), (2, 80))
    ]


def fit(clinic, labels: np.ndarray | None = None, tuning_labels: np.ndarray | None = None):
    (train, train_labels), (tuning, other) = clinic
    return EventsBoostingCandidate.fit(
        lesson(
            train,
            train_labels if labels is None else labels,
            tuning,
            other if tuning_labels is None else tuning_labels,
        )
    )


def test_trees_find_what_a_measurement_tells(clinic) -> None:
    timelines, labels = clinic[1]
    risk = fit(clinic).score(timelines)[:, 0]
    ill = labels[:, 0] == 1
    pairs = (risk[ill][:, None] > risk[~ill]).mean() + 0.5 * (
        risk[ill][:, None] == risk[~ill]
    ).mean()
    assert pairs > 0.75


def test_trees_come_back_from_text_and_say_the_same(clinic, tmp_path: Path) -> None:
    model = fit(clinic)
    model.save(tmp_path)
    again = EventsBoostingCandidate.load(tmp_path, HashedEncoders())
    timelines = clinic[1][0]
    np.testing.assert_array_equal(again.score(timelines), model.score(timelines))
    assert (tmp_path / "ill.lightgbm.txt").read_text().startswith("tree")


def test_the_same_rows_give_the_same_bytes(clinic, tmp_path: Path) -> None:
    for name in ("a", "b"):
        fit(clinic).save(tmp_path / name)
    files = [(tmp_path / name / "ill.lightgbm.txt").read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]


def test_one_class_gets_the_base_rate_and_blind_tuning_still_gives_trees(clinic) -> None:
    timelines, labels = clinic[0]
    flat = fit(clinic, labels=np.zeros_like(labels)).score(timelines)
    assert np.ptp(flat) == 0
    assert flat[0, 0] == pytest.approx(0.5 / 301)
    blind = fit(clinic, tuning_labels=np.zeros_like(clinic[1][1]))
    assert np.ptp(blind.score(timelines)) > 0.1


def test_notes_and_images_do_not_move_the_events_risk(clinic) -> None:
    model, timelines = fit(clinic), clinic[1][0]
    np.testing.assert_array_equal(
        model.score(timelines), model.score(timelines, frozenset({Modality.EVENTS}))
    )
    nothing = model.score(timelines, frozenset({Modality.NOTES}))
    assert np.ptp(nothing) == 0
