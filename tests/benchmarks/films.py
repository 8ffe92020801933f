"""How well films alone are told apart: AUROC and accuracy on a set as MedMNIST writes it.

    .venv/bin/python -m tests.benchmarks.films PATH.npz [--seeds N] [--candidates NAME …]
        [--finetuned]

PATH.npz holds train_images, val_images and test_images (uint8, [n h w]) with train_labels,
val_labels and test_labels (0 or 1), as PneumoniaMNIST does. The films go through the door that
anybody's do: PNG files and a CSV with the given splits, `ingest`, `cohort`, `train`; test is
scored once a seed. val chooses and calibrates, half each; such a set says nothing of patients, so
each film is its own subject, and films of one patient in two splits would go unnoticed. Accuracy is
at a calibrated risk of 0.5. `--finetuned` adds the model that trains the image encoder.

Ranges are over the seeds, from the lowest to the highest: what chance in fitting does, and nothing
of which films were drawn. A frozen encoder and a regression draw nothing: their range is 0.
"""

import argparse
import csv
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from fusion.candidates import EVERY_CANDIDATE
from fusion.rows import read_rows
from fusion.served import ServedRun
from fusion.train import token_cache, train
from ingest.build import ingest
from ingest.errors import InputError, LimitError
from ingest.label_table import Columns
from ingest.labels import read_cohort
from ingest.table_cohort import build_table_cohort, describe_table

__all__ = ["compare_films", "main", "read_films"]

PARTS = ("train", "val", "test")
FROZEN = ("prevalence", "images_embedding")
FINETUNED = "images_finetuned"
MAPPING = Path(__file__).parents[2] / "ingest" / "mappings" / "films.yaml"
_MOST_BYTES = 4 * 2**30
_MOST_FILMS = 200_000
_LONGEST_SIDE = 1024


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", type=Path, help="file as MedMNIST writes it, with two classes")
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
    parser.add_argument("--candidates", nargs="+", choices=tuple(EVERY_CANDIDATE), default=FROZEN)
    parser.add_argument("--finetuned", action="store_true", help=f"also {FINETUNED}")
    a = parser.parse_args(argv)
    names = list(a.candidates)
    names += [FINETUNED] if a.finetuned else []
    with tempfile.TemporaryDirectory(prefix="medweave-films-") as place:
        for line in compare_films(a.path, Path(place), names, range(a.seeds)):
            print(line, flush=True)


def compare_films(
    path: Path, place: Path, names: Sequence[str], seeds: Sequence[int]
) -> Iterator[str]:
    """Train on the films of a file, a run a seed; give the lines of the table.

    Raises:
        InputError: the file is no such set.
        LimitError: it is over a cap.
    """
    films = read_films(path)
    _write_films(films, place / "films")
    store, labels = place / "store", place / "films" / "labels.csv"
    ingest([place / "films"], store, mapping=MAPPING, public=True)
    columns = Columns(subject="subject", image="image", labels=("label",), split="split")
    flow = build_table_cohort(store, labels, place / "cohort", columns=columns)
    yield describe_table(flow) + "\n"
    table = read_cohort(place / "cohort")
    judged = read_rows(store, table, table.rows("held_out"))
    known = judged.labels[:, 0]
    figures: dict[str, list[tuple[float, float]]] = {}
    for seed in seeds:
        run = place / f"run-{seed}"
        train(store, place / "cohort", run, seed=seed, candidates=names)
        served = ServedRun(run, cache=token_cache(store))
        for name in names:
            risks = served.scorer(name).score(judged.timelines)[:, 0]
            right = float(((risks >= 0.5) == (known == 1)).mean())
            figures.setdefault(name, []).append((float(roc_auc_score(known, risks)), right))
    yield f"{len(known)} films held out, {int(known.sum())} of them positive; {len(seeds)} seeds\n"
    yield "| model | AUROC | accuracy |\n|---|---|---|"
    for name, found in figures.items():
        cells = [_cell([pair[which] for pair in found]) for which in (0, 1)]
        yield f"| {name} | {cells[0]} | {cells[1]} |"


def read_films(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read the films [n h w] and labels [n] of each part; nothing is unpickled.

    Raises:
        InputError: it is no .npz, lacks a part, or is of another kind.
        LimitError: it is over a cap; that is seen before anything is unpacked.
    """
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as held:
            found = {part: (held[f"{part}_images"], held[f"{part}_labels"]) for part in PARTS}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is not such a set ({type(error).__name__}): it needs train, val and test, "
            "each with _images and _labels"
        ) from None
    films = {}
    for part, (images, labels) in found.items():
        labels = labels.reshape(len(labels), -1)
        if images.ndim != 3 or images.dtype != np.uint8 or labels.shape != (len(images), 1):
            raise InputError(
                f"{path}: {part} must be grey uint8 films [n h w] with a label each; got "
                f"{images.dtype} {list(images.shape)} and labels {list(labels.shape)}"
            )
        if not np.isin(labels, (0, 1)).all():
            raise InputError(f"{path}: labels of {part} must be 0 or 1, of two classes")
        films[part] = images, labels[:, 0].astype(int)
    return films


def _check_sizes(path: Path) -> None:
    """Look at the headers of the arrays alone: a small file can unpack to any size."""
    total = 0
    with zipfile.ZipFile(path) as archive:
        for part in PARTS:
            with archive.open(f"{part}_images.npy") as member:
                version = np.lib.format.read_magic(member)
                read = np.lib.format.read_array_header_1_0
                if version != (1, 0):
                    read = np.lib.format.read_array_header_2_0
                shape, _, kind = read(member)
            total += int(np.prod(shape, dtype=object)) * kind.itemsize
            if shape and (shape[0] > _MOST_FILMS or max(shape[1:], default=0) > _LONGEST_SIDE):
                raise LimitError(
                    f"{path}: {part} is {list(shape)}; at most {_MOST_FILMS} films of "
                    f"{_LONGEST_SIDE} x {_LONGEST_SIDE} are read"
                )
            total += archive.getinfo(f"{part}_labels.npy").file_size
    if total > _MOST_BYTES:
        raise LimitError(f"{path} unpacks to {total} bytes; at most {_MOST_BYTES} are read")


def _write_films(films: dict[str, tuple[np.ndarray, np.ndarray]], place: Path) -> None:
    place.mkdir(parents=True)
    with (place / "labels.csv").open("w", newline="", encoding="utf-8") as handle:
        table = csv.writer(handle)
        table.writerow(("image", "subject", "label", "split"))
        for part, (images, labels) in films.items():
            (place / part).mkdir()
            for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
                name = f"{part}/{number}.png"
                Image.fromarray(pixels).save(place / name)
                table.writerow((name, f"{part}-{number}", label, part))


def _cell(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


if __name__ == "__main__":
    main()
