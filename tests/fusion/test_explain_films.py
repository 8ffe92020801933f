"""On films whose finding is known, the heat falls on it."""

from pathlib import Path

import numpy as np
import pytest

from encoders.frozen import FrozenEncoders
from fusion.explain import ExplainedImage
from fusion.inside import look_inside
from fusion.probes import ImagesEmbeddingCandidate
from ingest.schema import Modality
from ingest.timeline import Timelines
from ingest.world import read_world
from tests.fusion.clinic import lesson
from tests.phantoms import draw_films

Judged = tuple[ImagesEmbeddingCandidate, Timelines, np.ndarray]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """A probe that was taught the size of the heart, and films with large hearts."""
    place, world = tmp_path_factory.mktemp("films"), read_world()
    small = world.images.model_copy(update={"size": 256})
    world = world.model_copy(update={"images": small})
    rng = np.random.default_rng(0)
    findings = rng.standard_normal((160, 2)) * [1.5, 1.0]
    taught, _ = draw_films(world, findings, place / "taught", seed=1)
    encoders = FrozenEncoders(place / "tokens")
    labels = (findings[:, :1] > 0).astype(np.float32)
    model = ImagesEmbeddingCandidate.fit(lesson(taught, labels, encoders=encoders))
    large = np.column_stack([np.linspace(1.5, 2.5, 16), np.zeros(16)])
    judged, masks = draw_films(world, large, place / "judged", seed=2)
    return model, judged, masks


def falls_on(learnt: Judged, weights: np.ndarray | None = None) -> float:
    """How much more of the raising heat falls on the finding than on as much of any place."""
    model, judged, masks = learnt
    before = model.logistic.weights.copy()
    if weights is not None:
        model.logistic.weights[:] = weights
    try:
        ratios = []
        for number, mask in enumerate(masks):
            one = judged.take(np.array([number]))
            (shares,) = look_inside(model, one, Modality.IMAGES).images.values()
            side = round(len(shares) ** 0.5)
            image = ExplainedImage(number=0, path=Path(), grid=shares.reshape(side, side))
            raising = np.maximum(image.heat(*mask.shape[::-1]), 0)
            ratios.append(raising[mask].sum() / raising.sum() / mask.mean())
    finally:
        model.logistic.weights[:] = before
    return float(np.mean(ratios))


def test_the_heat_falls_on_the_heart_that_was_drawn_large(learnt: Judged) -> None:
    model, judged, _ = learnt
    assert model.score(judged).mean() > 0.7
    assert falls_on(learnt) > 1.5


def test_with_weights_at_random_the_heat_falls_anywhere(learnt: Judged) -> None:
    weights = learnt[0].logistic.weights
    rng = np.random.default_rng(5)
    shuffled = [falls_on(learnt, rng.permutation(weights.ravel())[None]) for _ in range(3)]
    assert np.mean(shuffled) < 0.75 * falls_on(learnt)
