"""What is fine-tuned on: views of films that differ by epoch, and notes in batches by length."""

from pathlib import Path

import numpy as np
import pytest
import torch

from encoders.frozen import FrozenEncoders
from encoders.squares import Squares
from fusion.examples import Batches, ImageExamples, NoteExamples, group_by_length
from fusion.finetune_config import FinetuneConfig
from ingest.errors import MedweaveError
from tests.fusion.findings import noted_rows, small_encoders, striped_rows

QUICK = FinetuneConfig(epochs=2, image_rate=1e-3, text_rate=1e-3)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finetune")


@pytest.fixture(scope="module")
def encoders(place: Path) -> FrozenEncoders:
    return small_encoders(place)


def test_a_film_is_seen_another_way_each_epoch_and_never_mirrored(tmp_path: Path) -> None:
    from PIL import Image

    paths = []
    for number in range(6):
        film = np.full((64, 64), 60, np.uint8)
        film[20:44, 4 + number : 24 + number] = 220  # what is on the left stays there
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(film).save(paths[-1])
    labels = np.zeros((6, 1), np.float32)
    with Squares(paths, 64) as squares:
        examples = ImageExamples([[n] for n in range(6)], labels, squares, QUICK, seed=3)
        plain = examples.batch(range(6))["items"].numpy()
        first, again = (examples.batch(range(6), 0)["items"].numpy() for _ in range(2))
        later = examples.batch(range(6), 1)["items"].numpy()
        alone = examples.batch([4], 1)["items"].numpy()
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(alone[0], later[4])  # whatever else is in the batch
    for views in (first, later):
        assert all(np.abs(v.astype(int) - p).mean() > 2 for v, p in zip(views, plain, strict=True))
        brightness = views.astype(float) - np.median(views, axis=(1, 2), keepdims=True)
        bright = np.clip(brightness, 0, None) > 40
        centres = (bright * np.arange(64)).sum(axis=(1, 2)) / bright.sum(axis=(1, 2))
        assert (centres < 28).all()
    assert np.abs(first.astype(int) - later).mean() > 2


def test_of_many_images_others_are_drawn_each_epoch(tmp_path: Path) -> None:
    rows = striped_rows(tmp_path, 9, 1)
    paths = [tmp_path / str(name) for name in rows.timelines.events["image"]]
    with Squares(paths, 32) as squares:
        given = ImageExamples([list(range(9))], rows.labels[:1], squares, QUICK, seed=0)
        judged, one, two = (given.batch([0], epoch) for epoch in (None, 0, 1))
        np.testing.assert_array_equal(judged["items"].numpy(), squares.take([5, 6, 7, 8]))
    assert one["items"].shape == two["items"].shape == (4, 32, 32)
    np.testing.assert_allclose(one["pooling"].sum(dim=1), 1)
    assert not torch.equal(one["items"], two["items"])


def test_padding_stays_under_a_twentieth_and_no_window_is_lost(
    place: Path, encoders: FrozenEncoders
) -> None:
    rng = np.random.default_rng(0)
    for n in (0, 1, 7, 300):
        lengths = rng.integers(3, 64, n).tolist()
        groups = group_by_length(lengths)
        assert sorted(place for group in groups for place in group) == list(range(n))
        read = sum(len(g) * max(lengths[place] for place in g) for g in groups)
        assert read - sum(lengths) <= 0.05 * read
    rows = noted_rows(place, 30, 5)
    examples = NoteExamples(rows, encoders.text_encoder(), QUICK, seed=0)
    made = Batches(examples, batch=8, seed=0)
    for epoch in (0, 1):
        made.set_epoch(epoch)
        batches = list(made)
        assert len(batches) == len(made) == 4
        assert sum(len(batch["labels"]) for batch in batches) == 30
        for batch in batches:
            torch.testing.assert_close(
                batch["pooling"].sum(dim=1), torch.ones(len(batch["labels"]))
            )


def test_batches_of_an_epoch_are_the_same_whenever_it_is_asked_for(
    place: Path, encoders: FrozenEncoders
) -> None:
    rows = noted_rows(place, 20, 5)
    made = Batches(NoteExamples(rows, encoders.text_encoder(), QUICK, seed=0), batch=6, seed=0)

    def labels(epoch: int) -> list[float]:
        made.set_epoch(epoch)
        return torch.cat([batch["labels"] for batch in made]).flatten().tolist()

    first = labels(0)
    assert labels(1) != first == labels(0)


def test_images_are_decoded_once_into_a_file_without_a_name(tmp_path: Path) -> None:
    from encoders.image import read_image

    rows = striped_rows(tmp_path / "films", 5, 1)
    paths = [rows.timelines.images / str(name) for name in rows.timelines.events["image"]]
    cache = tmp_path / "cache"
    with Squares(paths, 64, place=cache) as squares:
        assert list(cache.iterdir()) == []
        for path in paths:
            path.unlink()
        assert squares.take([3, 0, 3]).shape == (3, 64, 64)
        np.testing.assert_array_equal(squares.take([3])[0], squares.take([0, 3])[1])
    striped_rows(tmp_path / "films", 5, 1)
    with Squares(paths, 64) as squares:
        expected = np.stack([read_image(path, 64) for path in paths])
        np.testing.assert_array_equal(squares.take(range(5)), expected)
    paths[2].unlink()
    with pytest.raises(MedweaveError, match="is not there"):
        Squares(paths, 64)
