from pathlib import Path

import numpy as np
import pytest

from fusion.late import PARTS, AverageCandidate, StackedCandidate
from fusion.prevalence import to_logit
from fusion.scoring import subsets
from ingest.schema import Modality
from tests.fusion.clinic import HashedEncoders, clinic_timelines, lesson
from tests.fusion.test_probes import auroc


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory):
    place = tmp_path_factory.mktemp("late")
    return [
        clinic_timelines(place / str(seed), n, seed) for seed, n in ((1, 260), (2, 60), (3, 300))
    ]


@pytest.fixture(scope="module")
def models(clinic):
    taught = lesson(*clinic[0], *clinic[1])
    average = AverageCandidate.fit(taught)
    return {"average": average, "stacked": StackedCandidate.fit(taught, parts=average.parts)}


@pytest.mark.parametrize("name", ["average", "stacked"])
def test_together_they_know_more_than_each_alone(clinic, models, name: str) -> None:
    timelines, labels = clinic[2]
    model, y = models[name], labels[:, 0]
    alone = [auroc(part.score(timelines)[:, 0], y) for part in model.parts.values()]
    assert auroc(model.score(timelines)[:, 0], y) > max(alone)


@pytest.mark.parametrize("name", ["average", "stacked"])
def test_any_subset_can_be_asked_and_masking_is_lacking(clinic, models, name: str) -> None:
    timelines, model = clinic[2][0], models[name]
    for chosen in [frozenset[Modality](), *subsets()]:
        risk = model.score(timelines, chosen)
        assert ((risk > 0) & (risk < 1)).all()
        np.testing.assert_array_equal(risk, model.score(timelines.only(chosen)))
    nothing = model.score(timelines, frozenset())
    assert np.ptp(nothing) == 0
    assert 0.2 < nothing[0, 0] < 0.7


@pytest.mark.parametrize("name", ["average", "stacked"])
def test_it_comes_back_from_the_disk_with_its_parts(
    clinic, models, name: str, tmp_path: Path
) -> None:
    models[name].save(tmp_path)
    again = type(models[name]).load(tmp_path, HashedEncoders())
    timelines = clinic[2][0]
    np.testing.assert_array_equal(again.score(timelines), models[name].score(timelines))
    assert list(again.parts) == list(PARTS)


def test_the_average_is_the_mean_over_the_modalities_that_a_patient_has(clinic, models) -> None:
    timelines, model = clinic[2][0], models["average"]
    logits = {name: to_logit(part.score(timelines))[:, 0] for name, part in model.parts.items()}
    events = (logits["events_logistic"] + logits["events_boosting"]) / 2
    notes = (logits["notes_tfidf"] + logits["notes_embedding"]) / 2
    images = logits["images_embedding"]
    has_note, has_image = timelines.has(Modality.NOTES), timelines.has(Modality.IMAGES)
    expected = (events + has_note * notes + has_image * images) / (1 + has_note + has_image)
    np.testing.assert_allclose(to_logit(model.score(timelines))[:, 0], expected, atol=1e-9)


def test_stacking_is_fitted_on_what_models_said_of_rows_they_had_not_seen(clinic, models) -> None:
    # Trees that had seen the rows would tell them nearly perfectly and get all the weight.
    weights = models["stacked"].weights[0].weights[0][: len(PARTS)]
    share = dict(zip(PARTS, np.abs(weights) / np.abs(weights).sum(), strict=True))
    assert share["events_boosting"] < 0.5
    assert share["images_embedding"] > 0.1


def test_a_missing_modality_that_tells_something_is_heard(clinic) -> None:
    (train, labels), (tuning, tuning_labels), _ = clinic
    lacks = ~train.has(Modality.IMAGES)
    telling = np.where(lacks[:, None], 1.0, labels).astype(np.float32)
    model = StackedCandidate.fit(lesson(train, telling, tuning, tuning_labels))
    risk = model.score(train)[:, 0]
    assert risk[lacks].mean() > 0.8 > risk[~lacks].mean()
