from pathlib import Path

import numpy as np
import pytest

from fusion.candidates import candidate_type
from fusion.prevalence import base_rates
from fusion.probes import rates_without
from ingest.schema import Modality
from ingest.timeline import Timelines
from tests.fusion.clinic import HashedEncoders, clinic_timelines, lesson

PROBES = ("notes_tfidf", "notes_embedding", "images_embedding")


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory):
    place = tmp_path_factory.mktemp("probes")
    return [
        clinic_timelines(place / str(seed), n, seed, strength=(0.3, 3, 3))
        for seed, n in ((1, 300), (2, 100))
    ]


def fit(name: str, train: Timelines, labels: np.ndarray):
    return candidate_type(name).fit(lesson(train, labels))


def auroc(risk: np.ndarray, label: np.ndarray) -> float:
    ill = label == 1
    return float(
        (risk[ill][:, None] > risk[~ill]).mean() + 0.5 * (risk[ill][:, None] == risk[~ill]).mean()
    )


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_finds_what_its_modality_shows(clinic, name: str) -> None:
    model = fit(name, *clinic[0])
    timelines, labels = clinic[1]
    assert auroc(model.score(timelines)[:, 0], labels[:, 0]) > 0.65


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_comes_back_from_the_disk_and_says_the_same(
    clinic, name: str, tmp_path: Path
) -> None:
    model = fit(name, *clinic[0])
    model.save(tmp_path)
    again = type(model).load(tmp_path, HashedEncoders())
    timelines = clinic[1][0]
    np.testing.assert_array_equal(again.score(timelines), model.score(timelines))
    assert again.tasks == ("ill",)


@pytest.mark.parametrize("name", PROBES)
def test_a_risk_is_the_same_alone_or_among_others(clinic, name: str) -> None:
    model = fit(name, *clinic[0])
    timelines = clinic[1][0]
    together = model.score(timelines)
    alone = np.concatenate([model.score(timelines.take(np.array([i]))) for i in range(12)])
    np.testing.assert_allclose(alone, together[:12], atol=1e-12)


@pytest.mark.parametrize("name", PROBES)
def test_masking_is_the_same_as_lacking(clinic, name: str) -> None:
    model = fit(name, *clinic[0])
    timelines = clinic[1][0]
    for chosen in (frozenset(), frozenset({Modality.EVENTS}), frozenset({model.modality})):
        np.testing.assert_array_equal(
            model.score(timelines, chosen), model.score(timelines.only(chosen))
        )


def test_who_lacks_a_note_gets_the_rate_of_those_without_one(clinic) -> None:
    timelines, labels = clinic[0]
    lacks = ~timelines.has(Modality.NOTES)
    telling = labels.copy()
    telling[lacks] = 1
    model = fit("notes_tfidf", timelines, telling)
    base = model.score(timelines.only(frozenset()))[0, 0]
    share = (lacks.sum() + 20 * (telling.sum() + 0.5) / 301) / (lacks.sum() + 20)
    assert base == pytest.approx(share)
    assert base > telling.mean()


def test_the_rate_of_nobody_is_the_base_rate() -> None:
    labels = np.array([[1], [0], [np.nan]], np.float32)
    assert rates_without(labels, np.ones(3, bool))[0] == pytest.approx(0.5)


@pytest.mark.parametrize("name", PROBES)
def test_a_train_set_without_the_modality_gives_the_base_rate(clinic, name: str) -> None:
    timelines, labels = clinic[0]
    model = fit(name, timelines.only(frozenset({Modality.EVENTS})), labels)
    risk = model.score(timelines)
    np.testing.assert_allclose(risk[timelines.has(model.modality)], base_rates(labels)[0])
    np.testing.assert_allclose(risk, base_rates(labels)[0], atol=0.01)


@pytest.mark.parametrize("empty", ["", "   ", None])
def test_an_empty_note_is_no_note(clinic, empty: str | None) -> None:
    timelines, labels = clinic[0]
    events = timelines.events.copy()
    events["text_value"] = events["text_value"].astype(object)
    first = events.index[events["modality"] == "notes"][0]
    events.loc[first, "text_value"] = empty
    row = int(events.loc[first, "row"])
    blank = Timelines(index=timelines.index, events=events, images=timelines.images)
    for name in ("notes_tfidf", "notes_embedding"):
        model = fit(name, timelines, labels)
        said = model.score(blank.take(np.array([row])))
        np.testing.assert_array_equal(said, model.score(blank.take(np.array([row])), frozenset()))
        assert fit(name, blank, labels).score(blank).shape == (300, 1)
