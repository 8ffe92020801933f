"""Phantoms: what is drawn can be seen, what means nothing moves nothing, and DICOM reads it."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import pytest
from sklearn.linear_model import RidgeCV

from ingest.phantom import Film, cardiothoracic_ratio, derive_uid, draw_phantom, write_film
from ingest.world import read_world


@cache
def films(n: int = 700) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw random films; pixels averaged over blocks of 8, heart (ratio drawn) and opacity."""
    world = read_world()
    world = world.model_copy(update={"images": world.images.model_copy(update={"size": 128})})
    rng = np.random.default_rng(2)
    heart, opacity = rng.standard_normal((2, n))
    small, ratio = [], []
    for h, o in zip(heart, opacity, strict=True):
        view = "AP" if rng.random() < 0.3 else "PA"
        pixels = draw_phantom(world, h, o, view, rng) / 4095
        small.append(pixels.reshape(32, 4, 32, 4).mean((1, 3)).ravel())
        ratio.append(cardiothoracic_ratio(world, h, view))
    return np.array(small), np.array(ratio), opacity


def explained(target: np.ndarray, x: np.ndarray) -> float:
    fit, judge = slice(0, 500), slice(500, None)
    model = RidgeCV(alphas=np.logspace(-2, 3, 11)).fit(x[fit], target[fit])
    left = target[judge] - model.predict(x[judge])
    return 1 - float(left.var() / target[judge].var())


def test_heart_size_and_opacity_can_be_read_off_the_pixels_by_a_linear_probe() -> None:
    x, ratio, opacity = films()
    assert explained(ratio, x) > 0.8
    assert explained(opacity, x) > 0.8


def test_heart_size_says_nothing_of_opacity() -> None:
    x, ratio, _ = films()
    assert explained(np.random.default_rng(0).permutation(ratio), x) < 0.1


def measured_width(heart: float, view: str) -> float:
    """Measure the heart's width in the image's half widths.

    Two films of the same body differ by the heart alone: one has the heart in question, one the
    smallest that can be drawn. Its border is where the difference falls to a half.
    """
    world = read_world()
    images = world.images.model_copy(update={"pixel_noise": 0.0, "exposure": 0.0})
    world = world.model_copy(update={"images": images})
    film = draw_phantom(world, heart, -6.0, view, np.random.default_rng(1)).astype(float)
    empty = draw_phantom(world, -5.0, -6.0, view, np.random.default_rng(1)).astype(float)
    changed = np.abs(film - empty)
    columns = np.flatnonzero((changed > np.quantile(changed, 0.99) / 2).sum(0) > 1)
    return (columns.max() - columns.min() + 1) / images.size * 2


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_the_drawn_heart_is_as_wide_as_stated(view: str) -> None:
    world = read_world()
    for heart in (0.5, 1.0, 2.0):
        # 0.68 is the half width of a thorax of average build; this body differs a little.
        stated = cardiothoracic_ratio(world, heart, view) * 2 * 0.68
        assert measured_width(heart, view) == pytest.approx(stated, rel=0.1)
    larger = measured_width(2.0, view) / measured_width(0.5, view)
    stated = cardiothoracic_ratio(world, 2.0, view) / cardiothoracic_ratio(world, 0.5, view)
    assert larger == pytest.approx(stated, rel=0.05)


def test_a_film_taken_antero_posterior_draws_the_heart_larger() -> None:
    world = read_world()
    assert cardiothoracic_ratio(world, 0, "AP") == pytest.approx(1.06 * 0.48)
    assert measured_width(0.5, "AP") > measured_width(0.5, "PA") * 1.03


def test_films_use_the_range_and_differ_in_exposure() -> None:
    x, _, _ = films()
    means = x.mean(1)
    assert 0.3 < means.mean() < 0.7
    assert means.std() > 0.03
    assert x.max() <= 1


def film(inverted: bool) -> Film:
    return Film(
        patient_id="M1",
        sex="F",
        view="PA",
        inverted=inverted,
        taken=datetime(2021, 3, 4, 9, 30, tzinfo=UTC),
        study_uid=derive_uid("study"),
        series_uid=derive_uid("series"),
        instance_uid=derive_uid("film"),
        accession="A1",
    )


def test_both_photometric_interpretations_show_the_same_film(tmp_path: Path) -> None:
    pixels = draw_phantom(read_world(), 0.5, 0.5, "PA", np.random.default_rng(4))
    shown = []
    for inverted in (False, True):
        write_film(tmp_path / "a.dcm", pixels, film(inverted))
        read = pydicom.dcmread(tmp_path / "a.dcm")
        shown.append(4095 - read.pixel_array if inverted else read.pixel_array)
        assert read.PhotometricInterpretation == ("MONOCHROME1" if inverted else "MONOCHROME2")
        assert (read.BitsAllocated, read.BitsStored, read.HighBit) == (16, 12, 11)
    assert np.array_equal(shown[0], pixels)
    assert np.array_equal(shown[1], pixels)


def test_a_uid_is_valid_and_depends_on_all_of_its_parts() -> None:
    assert pydicom.uid.UID(derive_uid(1, "study", "x")).is_valid
    assert derive_uid(1, "study", "x") != derive_uid(1, "study", "y")


def test_the_same_generator_draws_the_same_film() -> None:
    world = read_world()
    one, two = (draw_phantom(world, 1, 0, "AP", np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(one, two)
