"""The benchmark of films goes through the same door, and refuses what is no such set."""

import re
from pathlib import Path

import numpy as np
import pytest

from ingest.errors import InputError, LimitError
from tests.benchmarks.films import compare_films, main, read_films


def write_set(path: Path, sizes: tuple[int, int, int] = (32, 12, 24), **other: np.ndarray) -> Path:
    """Write films with a bright patch where the label is 1; two films of the test are alike."""
    rng = np.random.default_rng(4)
    arrays: dict[str, np.ndarray] = {}
    for part, n in zip(("train", "val", "test"), sizes, strict=True):
        labels = np.arange(n) % 2
        images = rng.normal(90, 12, (n, 28, 28))
        images[labels == 1, 8:20, 8:20] += 60
        arrays[f"{part}_images"] = np.clip(images, 0, 255).astype(np.uint8)
        arrays[f"{part}_labels"] = labels[:, None].astype(np.uint8)
    arrays["test_images"][2] = arrays["test_images"][0]
    np.savez_compressed(path, **arrays | other)
    return path


def test_planted_films_are_told_apart_and_none_is_lost(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set.npz")
    names = ("prevalence", "images_embedding")
    lines = list(compare_films(path, tmp_path / "work", names, (0, 1)))
    assert "left out" not in lines[0]
    assert lines[1].startswith("24 films held out, 12 of them positive; 2 seeds")
    found = {row.split(" | ")[0].strip("| "): re.findall(r"\d\.\d{3}", row) for row in lines[3:]}
    assert found["prevalence"][:3] == ["0.500", "0.500", "0.500"]
    auroc, accuracy = float(found["images_embedding"][0]), float(found["images_embedding"][3])
    assert auroc > 0.95
    assert accuracy > 0.8


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"val_images": np.zeros((12, 28, 28, 3), np.uint8)}, "grey uint8 films"),
        ({"val_images": np.zeros((12, 28, 28))}, "float64"),
        ({"test_labels": np.full((24, 1), 2)}, "must be 0 or 1"),
        ({"test_labels": np.zeros((24, 14), int)}, r"labels \[24, 14\]"),
        ({"val_images": np.array([{}] * 12)}, "not such a set"),
    ],
)
def test_another_kind_of_set_is_refused(
    tmp_path: Path, other: dict[str, np.ndarray], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        read_films(write_set(tmp_path / "set.npz", **other))


def test_what_would_unpack_to_more_than_the_cap_is_refused_before_it_does(tmp_path: Path) -> None:
    swollen = np.zeros((1, 2000, 2000), np.uint8)
    with pytest.raises(LimitError, match=r"val is \[1, 2000, 2000\]"):
        read_films(write_set(tmp_path / "set.npz", val_images=swollen))
    (tmp_path / "none.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="BadZipFile"):
        read_films(tmp_path / "none.npz")
    with pytest.raises(SystemExit):
        main([])
