"""Images to tokens."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from encoders.build import build_encoder
from encoders.image import ImageConfig, ImageEncoder, read_image
from ingest.errors import InputError, LimitError, UsageError


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return build_encoder(ImageConfig())


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_a_wide_film_keeps_its_shape(tmp_path: Path) -> None:
    path = save(tmp_path / "wide.png", np.full((100, 400), 200, np.uint8))
    square = read_image(path, 224)
    assert square.shape == (224, 224)
    assert (square[84:140] == 200).all()
    assert not square[:84].any()
    assert not square[140:].any()


def test_sixteen_bits_and_colour_become_grey(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    deep = read_image(save(tmp_path / "deep.png", ramp), 64)
    assert deep.min() == 0
    assert deep.max() == 255
    assert (np.diff(deep.mean(axis=1)) > 0).all()
    colour = np.zeros((64, 64, 3), np.uint8) + np.array([10, 10, 10], np.uint8)
    assert (read_image(save(tmp_path / "colour.png", colour), 64) == 10).all()


def test_the_order_of_tokens_is_the_place_in_the_image(encoder: ImageEncoder) -> None:
    rng = np.random.default_rng(0)
    plain = np.full((224, 224), 100, np.uint8)
    marked = plain.copy()
    marked[192:, 32:64] = rng.integers(0, 255, (32, 32))  # last row, second column of 7 x 7
    with torch.inference_mode():
        values = encoder(encoder.prepare([plain, marked])).values
    assert values.shape == (2, 49, encoder.width)
    change = (values[0] - values[1]).norm(dim=1)
    assert int(change.argmax()) == 6 * 7 + 1


def test_tokens_are_the_same_alone_and_in_a_batch(encoder: ImageEncoder) -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 255, (224, 224)).astype(np.uint8) for _ in range(5)]
    with torch.inference_mode():
        together = encoder(encoder.prepare(images)).values
        alone = encoder(encoder.prepare(images[3:4])).values
    torch.testing.assert_close(alone[0], together[3], atol=1e-4, rtol=1e-5)


def test_what_is_no_image_is_refused_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    with pytest.raises(InputError, match=r"a\.png cannot be read as an image"):
        read_image(tmp_path / "a.png", 224)
    with pytest.raises(InputError, match=r"b\.png is not there"):
        read_image(tmp_path / "b.png", 224)


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("1", (9000, 9000)).save(tmp_path / "bomb.png")
    with pytest.raises(LimitError, match="9000 x 9000 pixels"):
        read_image(tmp_path / "bomb.png", 224)


def test_a_backbone_that_cannot_be_had_names_the_embedded_one() -> None:
    with pytest.raises(UsageError, match=r"'no_such_net' cannot be had.*tf_efficientnet_lite0"):
        build_encoder(ImageConfig(weights="no_such_net"))


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="size_px=100, grid=7"):
        ImageConfig(size_px=100)
    with pytest.raises(ValueError, match=r"std=\(0\.5, 0\.0, 0\.5\)"):
        ImageConfig(std=(0.5, 0.0, 0.5))
    for maps in ((), (0,), (-1, -1)):
        with pytest.raises(ValueError, match=re.escape(f"got maps={maps}")):
            ImageConfig(maps=maps)
    with pytest.raises(ValueError, match=r"5 feature maps; got maps=\(-6,\)"):
        build_encoder(ImageConfig(maps=(-6,)))


def test_maps_are_joined_in_the_order_asked_for() -> None:
    film = np.random.default_rng(0).integers(0, 255, (224, 224)).astype(np.uint8)
    told = {}
    for maps in ((-1,), (-2,), (-1, -2)):
        made = build_encoder(ImageConfig(maps=maps, grid=4))
        with torch.inference_mode():
            told[maps] = made(made.prepare([film])).values
    torch.testing.assert_close(told[-1, -2], torch.cat([told[-1,], told[-2,]], dim=-1))


def test_the_embedded_backbone_takes_pixels_from_minus_one_to_one() -> None:
    made = build_encoder(ImageConfig())
    grey = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    assert made.pixels(grey).values.tolist() == [[[[-1.0, 1.0]]] * 3]


def test_a_backbone_takes_pixels_on_the_scale_that_it_was_trained_on(tmp_path: Path) -> None:
    net = timm.create_model("resnet10t", pretrained=False, num_classes=0)
    told = {"architecture": "resnet10t", "num_classes": 0}
    grey = torch.full((1, 1, 1), 255, dtype=torch.uint8)
    for name, stated, white in (
        ("photographs", {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}, None),
        ("films", {"mean": [0.25], "std": [0.5]}, [1.5, 1.5, 1.5]),
    ):
        place = tmp_path / name
        place.mkdir()
        save_file(net.state_dict(), place / "model.safetensors")
        (place / "config.json").write_text(json.dumps({**told, "pretrained_cfg": stated}))
        made = build_encoder(ImageConfig(weights=str(place)))
        expected = white or [
            (1 - m) / s for m, s in zip(stated["mean"], stated["std"], strict=True)
        ]
        torch.testing.assert_close(made.pixels(grey).values.flatten(), torch.tensor(expected))
