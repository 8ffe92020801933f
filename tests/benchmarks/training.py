"""What training costs beside the networks that it cannot do without; prints a table of ratios.

    .venv/bin/python -m tests.benchmarks.training [--films N] [--epochs N] [--rounds N]
        [--only NAME …]

On simulated films, generated notes and a small clinic: `images` are fine-tuned from disk, against
the same steps on batches that lie ready on the device, with and without the file of decoded films;
`flops` holds the image encoder against the rate at which this device multiplies matrices; `padding`
is the share of word pieces that are none; `fusion` is an epoch on kept tokens against the bare
model's steps, and against an epoch that reads notes and films anew; `memory` is the peak of a
process that is given four times as many films; `processes` holds two processes on the CPU against
one (tests/benchmarks/processes.py). Each figure is held against its ceiling of the same run, the
best of `--rounds`. With a GPU all others run on it, and more films are drawn. Times of different
machines, or hours, are not comparable; ratios are.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from encoders.frozen import FrozenEncoders
from encoders.image import read_image
from encoders.squares import Squares
from encoders.threads import one_thread
from encoders.trained_layers import choose_trained
from fusion.examples import Batches, Examples, ImageExamples, NoteExamples
from fusion.features import Scaling
from fusion.finetune_config import FinetuneConfig
from fusion.finetuning import FinetunedModel, finetune
from fusion.linear import Logistic
from fusion.rows import Rows
from fusion.training import TrainingConfig, train_member
from ingest.schema import Modality
from ingest.timeline import Timelines
from ingest.world import read_world
from tests.benchmarks.clock import best_seconds
from tests.benchmarks.peak import ask_child, peak_mebibytes
from tests.benchmarks.processes import fusion_inputs, measure_processes
from tests.benchmarks.table import Row, print_table
from tests.fusion.clinic import clinic_timelines
from tests.phantoms import draw_films

_GPU = torch.cuda.is_available()
_DEVICE = "cuda" if _GPU else "cpu"
_DTYPE = torch.bfloat16 if _GPU else torch.float32
_WORDS = (
    "no acute finding the heart is enlarged with small effusion on left right base of lung patient "
    "reports breathlessness and swelling of both legs since two weeks denies chest pain fever cough"
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Hold what the command line asks for."""

    place: Path
    films: int
    epochs: int
    rounds: int
    batch: int

    @property
    def config(self) -> FinetuneConfig:
        """Give how encoders are fine-tuned; no epoch is left out."""
        return FinetuneConfig(
            layers="full", epochs=self.epochs, patience=self.epochs, batch=self.batch
        )

    def paths(self) -> list[Path]:
        """Draw the films, once."""
        place = self.place / f"films-{self.films}"
        if not place.is_dir():
            findings = np.random.default_rng(0).standard_normal((self.films, 2))
            draw_films(read_world(), findings, place, seed=0)
        return sorted(place.glob("*.png"))


class _Decoding:
    """Films that are decoded each time they are asked for: training without the file of squares."""

    def __init__(self, paths: list[Path], size_px: int):
        self._paths, self._size_px = paths, size_px

    def take(self, numbers: list[int]) -> np.ndarray:
        return np.stack([read_image(self._paths[n], self._size_px) for n in numbers])


def main() -> None:
    """Measure what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--films", type=int, default=2048 if _GPU else 48)
    parser.add_argument("--epochs", type=int, default=10 if _GPU else 4)
    parser.add_argument("--rounds", type=int, default=3 if _GPU else 1)
    parser.add_argument("--batch", type=int, default=64 if _GPU else 16)
    parser.add_argument("--only", nargs="+", choices=sorted(STEPS), default=list(STEPS))
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)  # what a child is asked
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    a = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="medweave-training-") as place, one_thread():
        given = {name: getattr(a, name) for name in ("films", "epochs", "rounds", "batch")}
        asked = Asked(place=a.place or Path(place), **given)
        if a.peak:
            print(_peak(asked, a.peak))
            return
        what = torch.cuda.get_device_name() if _GPU else f"{os.cpu_count()} cores"
        print(f"{what}, load {os.getloadavg()[0]:.1f} before", flush=True)
        rows = [row for name in a.only for row in STEPS[name](asked)]
        print(f"load {os.getloadavg()[0]:.1f} after\n")
    print_table(rows)


def images(asked: Asked) -> Iterator[Row]:
    """Fine-tune on films from disk, against the steps alone."""
    encoders, paths = FrozenEncoders(), asked.paths()
    side = encoders.image_config.size_px
    with Squares(paths, side) as squares:
        made = Batches(_examples(squares, len(paths), asked), batch=asked.batch, seed=0)
        ready = [_moved(batch) for batch in made]
    model = _image_model(encoders)

    def from_disk() -> None:
        with Squares(paths, side) as squares:
            _finetune(_image_model(encoders), _examples(squares, len(paths), asked), asked)

    def without() -> None:
        films: Any = _Decoding(paths, side)
        _finetune(_image_model(encoders), _examples(films, len(paths), asked), asked)

    works = [from_disk, without, lambda: _steps(model, ready * asked.epochs)]
    disk, anew, bare = best_seconds(works, asked.rounds)
    seen = len(paths) * asked.epochs
    words = f"{len(paths)} films, {asked.epochs} epochs, fine-tuned"
    for seconds, how, target in (
        (disk, "from disk", "at least 0.95"),
        (anew, "decoded each epoch", "—"),
    ):
        yield Row(
            step=f"{words}, {how}",
            measured=f"{seen / seconds:.1f} films/s",
            ceiling=f"steps alone {seen / bare:.1f} films/s",
            ratio=bare / seconds,
            target=target,
        )


def flops(asked: Asked) -> Iterator[Row]:
    """Hold the image encoder, forward and backward, against matrices of the same type."""
    encoder = FrozenEncoders().image_encoder().to(_DEVICE)
    choose_trained(encoder, "full")
    side = encoder.config.size_px
    grey = torch.randint(0, 256, (asked.batch, side, side), dtype=torch.uint8, device=_DEVICE)

    def both_ways() -> None:
        with _autocast():
            values = encoder(encoder.pixels(grey)).values
        values.float().sum().backward()

    with FlopCounterMode(display=False, depth=99) as counter, torch.no_grad():
        encoder(encoder.pixels(grey))
    each = counter.get_flop_counts()
    unread = 0  # what comes after the map that is read has no way back
    for name, module in encoder.named_modules():
        own = list(module.parameters(recurse=False))
        if own and not any(weight.requires_grad for weight in own):
            unread += sum(each.get(f"{type(encoder).__name__}.{name}", {}).values())
    # Twice as much backward; the counter's own figure is far too high for depthwise convolutions.
    counted = 3 * (counter.get_total_flops() - unread) + unread
    size = 8192 if _GPU else 1024
    matrix = torch.randn(size, size, device=_DEVICE, dtype=_DTYPE)
    network, product = best_seconds(
        [_timed(both_ways), _timed(lambda: matrix @ matrix)], 3 * asked.rounds
    )
    rates = counted / network, 2 * size**3 / product
    yield Row(
        step=f"image encoder, both ways, {asked.batch} films in {_DTYPE}".replace("torch.", ""),
        measured=f"{rates[0] / 1e9:.1f} GFLOP/s",
        ceiling=f"matrices {rates[1] / 1e9:.1f} GFLOP/s",
        ratio=rates[0] / rates[1],
        target="at least 0.35" if _GPU else "—",
    )


def padding(asked: Asked) -> Iterator[Row]:
    """Give the share of word pieces that are padding, against batches that are not sorted."""
    rng = np.random.default_rng(0)
    texts = [
        "\n".join(
            " ".join(rng.choice(_WORDS.split(), int(rng.integers(3, 40)))).capitalize() + "."
            for _ in range(int(rng.integers(2, 12)))
        )
        for _ in range(256)
    ]
    encoder = FrozenEncoders().text_encoder()
    examples = NoteExamples(_noted(texts, asked.place), encoder, asked.config, seed=0)
    read = padded = together = 0
    for batch in Batches(examples, batch=asked.batch, seed=0):
        groups = [group["seen"] for group in batch["items"]]
        read += sum(int(seen.sum()) for seen in groups)
        padded += sum(seen.numel() for seen in groups)
        together += sum(len(seen) for seen in groups) * max(seen.shape[1] for seen in groups)
    share = 1 - read / padded
    yield Row(
        step=f"padding of {len(texts)} notes in batches of {asked.batch} rows",
        measured=f"{share:.1%} of word pieces",
        ceiling=f"padded to a batch's longest {1 - read / together:.1%}",
        ratio=share,
        target="at most 0.05",
    )


def fusion(asked: Asked) -> Iterator[Row]:
    """Give an epoch of the fusion model on kept tokens, against its steps, and against reading."""
    n = 4 * asked.films
    encoders = FrozenEncoders(asked.place / "tokens")
    timelines, fitted, (model, train, tuning) = fusion_inputs(asked.place, n, encoders, watched=1)
    few, many = 1, 5

    def trained(epochs: int) -> None:
        config = TrainingConfig(epochs=epochs, patience=epochs)
        train_member(model, train, tuning, config, seed=0)

    size = TrainingConfig().batch
    batch = _moved(train.batch(range(min(size, n))))
    for name in [name for name, tensor in batch.items() if tensor.is_floating_point()]:
        if name.endswith("_values"):
            batch[name] = torch.randn_like(batch[name])

    def read(place: Path | None) -> None:
        with patch.object(encoders, "_cache", place):
            fitted.read(timelines)

    works = [
        partial(trained, few),
        partial(trained, many),
        lambda: _steps(model.to(_DEVICE), [batch] * -(-n // size)),
        lambda: read(encoders._cache),
        lambda: read(None),
    ]
    short, long, bare, kept, anew = best_seconds(works, asked.rounds)
    epoch = (long - short) / (many - few)
    yield Row(
        step=f"an epoch of {n} rows, tokens in memory",
        measured=f"{n / epoch:.0f} rows/s",
        ceiling=f"bare steps {n / bare:.0f} rows/s",
        ratio=bare / epoch,
        target="at least 0.5",
    )
    yield Row(
        step="the same, tokens read from the cache first",
        measured=f"{n / (epoch + kept):.0f} rows/s",
        ceiling=f"encoders asked anew {n / (epoch + anew):.0f} rows/s",
        ratio=(epoch + anew) / (epoch + kept),
        target="at least 10",
    )


def memory(asked: Asked) -> Iterator[Row]:
    """Give the peak memory of a process that fine-tunes on n films, and on four times as many."""
    asked.paths()
    few, many = (_child(asked, times) for times in (1, 4))
    yield Row(
        step=f"peak memory of fine-tuning on {4 * asked.films} films",
        measured=f"{many:.0f} MiB",
        ceiling=f"on {asked.films} films {few:.0f} MiB",
        ratio=many / few,
        target="at most 1.1",
    )


def processes(asked: Asked) -> Iterator[Row]:
    """Hold two processes that torchrun starts against one, on the same batches."""
    return measure_processes(asked.place, 4 * asked.films, asked.rounds)


STEPS: dict[str, Callable[[Asked], Iterator[Row]]] = {
    "images": images,
    "flops": flops,
    "padding": padding,
    "fusion": fusion,
    "memory": memory,
    "processes": processes,
}


# How it is measured -----------------------------------------------------------------------------


def _examples(squares: Any, n: int, asked: Asked) -> ImageExamples:
    labels = (np.arange(n) % 2).astype(np.float32)[:, None]
    return ImageExamples([[place] for place in range(n)], labels, squares, asked.config, seed=0)


def _image_model(encoders: FrozenEncoders) -> FinetunedModel:
    encoder = encoders.image_encoder()
    f = 2 * encoder.width
    scaling = Scaling(centre=np.zeros(f), scale=np.ones(f))
    start = Logistic(weights=np.zeros((1, f)), intercepts=np.zeros(1), strengths=(1.0,))
    return FinetunedModel(encoder, scaling, start)


def _finetune(model: FinetunedModel, examples: ImageExamples, asked: Asked) -> None:
    nobody = ImageExamples([], np.zeros((0, 1), np.float32), examples.squares, asked.config, seed=0)
    tuning: Examples = nobody
    finetune(model, examples, tuning, asked.config, rate=1e-5, seed=0, name="images_finetuned")


def _steps(model: torch.nn.Module, batches: list[dict[str, Any]]) -> None:
    """Take a step on each batch, as a Trainer does, and nothing besides."""
    if isinstance(model, FinetunedModel):
        choose_trained(model.encoder, "full")
    model.to(_DEVICE).train()
    learnt = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=1e-5)
    for batch in batches:
        with _autocast():
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    _wait()


def _timed(work: Callable[[], object]) -> Callable[[], None]:
    """Wait for the device after the work, too."""

    def timed() -> None:
        work()
        _wait()

    return timed


def _wait() -> None:
    if _GPU:
        torch.cuda.synchronize()


def _autocast() -> Any:
    return torch.autocast("cuda", torch.bfloat16) if _GPU else nullcontext()


def _moved(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor.to(_DEVICE) for name, tensor in batch.items()}


def _noted(texts: list[str], place: Path) -> Rows:
    timelines, labels = clinic_timelines(place / "notes", len(texts), 1)
    notes = timelines.events["modality"] == str(Modality.NOTES)
    events = timelines.events[notes].drop_duplicates("row").copy()
    events["text_value"] = [texts[row] for row in events["row"]]
    noted = Timelines(
        index=timelines.index, events=events.reset_index(drop=True), images=timelines.images
    )
    rows = Rows(timelines=noted, labels=labels)
    return rows.take(np.flatnonzero(noted.has(Modality.NOTES)))


def _child(asked: Asked, times: int) -> float:
    """Give the peak MiB of a process of its own."""
    words = [f"--peak={times}", f"--place={asked.place}", f"--films={asked.films}"]
    (peak,) = ask_child("tests.benchmarks.training", [*words, f"--batch={asked.batch}"], 1)
    return peak


def _peak(asked: Asked, times: int) -> float:
    """Fine-tune for an epoch on the films, each of them given several times."""
    encoders, paths = FrozenEncoders(), asked.paths() * times
    once = Asked(place=asked.place, films=asked.films, epochs=1, rounds=1, batch=asked.batch)
    with Squares(paths, encoders.image_config.size_px) as squares:
        _finetune(_image_model(encoders), _examples(squares, len(paths), once), once)
    return peak_mebibytes()


if __name__ == "__main__":
    main()
