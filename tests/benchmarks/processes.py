"""What a second process changes of training the fusion model, and what it costs a step; on the CPU.

Asked by `python -m tests.benchmarks.training --only processes`; by itself, this module is what that
starts: it trains on what lies in a directory, alone or as one of several that torchrun started, and
prints the loss on tuning and the seconds of a step.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from encoders.frozen import FrozenEncoders
from encoders.threads import one_thread
from fusion.attention import AttentionCandidate
from fusion.candidates import Lesson
from fusion.model import RiskModel
from fusion.parts import Parts
from fusion.processes import help_out, in_step, is_helper
from fusion.rows import Rows
from fusion.training import TrainingConfig, train_member, tuning_loss
from ingest.timeline import Timelines
from tests.benchmarks.peak import ask_child
from tests.benchmarks.table import Row
from tests.fusion.clinic import clinic_timelines

__all__ = ["fusion_inputs", "measure_processes"]

_FEW, _MANY = 1, 5
"""Epochs; what starts and ends a training costs the same, and falls out of the difference."""


def fusion_inputs(
    place: Path, n: int, encoders: FrozenEncoders, *, watched: int
) -> tuple[Timelines, AttentionCandidate, tuple[RiskModel, Parts, Parts]]:
    """Write a clinic of n patients and give what the fusion model is trained on.

    Args:
        place: where it is written.
        n: patients.
        encoders: of their notes and films.
        watched: how many of them stop the training early.

    Returns:
        The timelines; what is fitted on them, but not trained; the model, train and tuning.
    """
    timelines, labels = clinic_timelines(place / "clinic", n, 1)
    rows = Rows(timelines=timelines, labels=labels)
    given: dict[str, Any] = {}

    def keep(model: RiskModel, train: Parts, tuning: Parts, *_: Any, **__: Any) -> RiskModel:
        given.setdefault("it", (model, train, tuning))
        return model

    with patch("fusion.attention.train_member", keep):
        fitted = AttentionCandidate.fit(
            Lesson(
                tasks=("ill",),
                train=rows,
                tuning=rows.take(np.arange(watched)),
                encoders=encoders,
            )
        )
    return timelines, fitted, given["it"]


def measure_processes(place: Path, n: int, rounds: int) -> Iterator[Row]:
    """Train in one process, and in two that torchrun starts; each of them the same batches."""
    words = ["--place", str(place), "--rows", str(n), "--rounds", str(rounds)]
    module = "tests.benchmarks.processes"
    launch = ["--standalone", "--nproc-per-node", "2", "-m", "--", module]
    with patch.dict(os.environ, CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1"):
        loss, alone, batch = ask_child(module, words, 3)
        shared, together, _ = ask_child("torch.distributed.run", [*launch, *words], 3)
    what = f"{n} rows, batches of {batch:.0f}"
    yield Row(
        step=f"{what}, loss on tuning after {_MANY} epochs: two processes",
        measured=f"{shared:.7f}",
        ceiling=f"one process {loss:.7f}",
        ratio=abs(shared - loss),
        target="apart at most 1e-4",
    )
    yield Row(
        step=f"{what}, a step of two processes: {1000 * (together - alone / 2):.1f} ms over half",
        measured=f"{1000 * together:.1f} ms",
        ceiling=f"one process {1000 * alone:.1f} ms",
        ratio=together / alone,
        target="—",
    )


def _train(place: Path, n: int, rounds: int) -> None:
    encoders = FrozenEncoders(place / "tokens")
    *_, (model, train, tuning) = fusion_inputs(place, n, encoders, watched=n // 4)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    best: dict[int, list[float]] = {}
    for epochs in [_FEW, _MANY] * (rounds + 1):  # the first round warms up
        model.load_state_dict(start)
        config = TrainingConfig(epochs=epochs, patience=epochs)
        begun = perf_counter()
        train_member(model, train, tuning, config, seed=0)
        best.setdefault(epochs, []).append(perf_counter() - begun)
    batch = TrainingConfig().batch
    few, many = (min(best[epochs][1:]) for epochs in (_FEW, _MANY))
    print(tuning_loss(model, tuning), (many - few) / ((_MANY - _FEW) * -(-n // batch)), batch)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--place", type=Path, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    a = parser.parse_args()
    torch.set_num_threads(1)
    with one_thread():
        if is_helper():
            help_out()
        else:
            in_step(lambda: _train(a.place, a.rows, a.rounds))
