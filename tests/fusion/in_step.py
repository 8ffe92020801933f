"""What test_together.py has trained, in one process or in several; what it watches, and what fails.

python -m tests.fusion.in_step PLACE                    trains, and writes what each step was
python -m tests.fusion.in_step --end raise|kill|well ...     is `medweave ...` whose helper ends so
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from encoders.frozen import FrozenEncoders
from fusion.attention import AttentionCandidate, AttentionConfig
from fusion.candidates import Lesson, candidate_type
from fusion.early_stopping import StepTrainer
from fusion.finetune_config import FinetuneConfig
from fusion.processes import help_out, in_step, is_helper
from fusion.rows import Rows
from fusion.training import TrainingConfig
from tests.fusion.clinic import HashedEncoders, clinic_timelines
from tests.fusion.findings import noted_rows, small_encoders, striped_rows

__all__ = ["TRAINED", "Step", "small", "train_all", "watched"]

TRAINED = ("attention", "images_finetuned", "notes_finetuned")
_TASKS = ("ill", "worse")

Step = tuple[float, int, int]
"""Loss of the rows here, how many of their labels are known, how many rows."""


def train_all(place: Path) -> dict[str, dict[str, np.ndarray]]:
    """Train each on labels with gaps, in batches of which the last has one row.

    Returns:
        For each the weights, and as `risk` what it says of tuning's rows.
    """
    timelines, ill = clinic_timelines(place / "clinic", 65, 3)
    clinic = _gaps(Rows(timelines=timelines, labels=ill))
    encoders = _without_dropout(place)
    found = {}
    for name in TRAINED:
        if name == "attention":
            train, tuning = clinic.take(np.arange(41)), clinic.take(np.arange(41, 65))
            lesson = Lesson(
                tasks=_TASKS, train=train, tuning=tuning, encoders=HashedEncoders(), seed=5
            )
            model: Any = AttentionCandidate.fit(
                lesson,
                ensemble=AttentionConfig(members=2),
                training=TrainingConfig(epochs=8, patience=1, batch=8, learning_rate=2e-3),
                width=16,
            )
            weights = {
                f"{number}.{key}": tensor
                for number, member in enumerate(model.members)
                for key, tensor in member.state_dict().items()
            }
        else:
            draw = striped_rows if name == "images_finetuned" else noted_rows
            train, tuning = (_gaps(draw(place / "films", n, n)) for n in (22, 20))
            tuning.labels[:] = np.nan  # the last weights are kept, and not those it started from
            config = FinetuneConfig(layers="full", epochs=3, batch=7, head_rate=1e-2)
            lesson = Lesson(
                tasks=_TASKS, train=train, tuning=tuning, encoders=encoders, finetune=config
            )
            model = candidate_type(name).fit(lesson)
            weights = model.weights
        risk = model.score(tuning.timelines)
        found[name] = {**{key: t.numpy() for key, t in weights.items()}, "risk": risk}
    return found


@contextmanager
def watched(steps: list[Step]) -> Iterator[None]:
    """Note each step that this process takes."""
    take = StepTrainer.compute_loss

    def noting(self: Any, model: Any, inputs: dict[str, Any], **more: Any) -> torch.Tensor:
        labels = inputs["labels"]
        loss = take(self, model, inputs, **more)
        steps.append((loss.item(), int(torch.isfinite(labels).sum()), len(labels)))
        return loss

    with patch.object(StepTrainer, "compute_loss", noting):
        yield


def _gaps(rows: Rows) -> Rows:
    """Forget half of the labels, and all of a second task's in one row of three."""
    rng = np.random.default_rng(len(rows))
    labels = np.concatenate([rows.labels, rng.permutation(rows.labels)], axis=1)
    labels[rng.random(labels.shape) < 0.5] = np.nan
    labels[::3, 1] = np.nan
    return Rows(timelines=rows.timelines, labels=labels)


def _without_dropout(place: Path) -> FrozenEncoders:
    """Give encoders that draw nothing themselves: what they draw is each process's own."""
    small_encoders(place)
    config = place / "bert" / "config.json"
    content = json.loads(config.read_text("utf-8"))
    content |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config.write_text(json.dumps(content), "utf-8")
    return small_encoders(place)


def _train_and_write(place: Path) -> None:
    for name, arrays in train_all(place).items():
        np.savez(place / f"{name}.npz", **arrays)


@contextmanager
def small() -> Iterator[None]:
    """Train one small model where three are trained else, on tokens that cost nothing."""
    with (
        patch("fusion.attention.AttentionConfig", partial(AttentionConfig, members=1)),
        patch("fusion.attention.TrainingConfig", partial(TrainingConfig, epochs=4)),
        patch("fusion.train.frozen_encoders", lambda *_, **__: HashedEncoders()),
    ):
        yield


def _command(how: str, words: list[str]) -> int:
    """Be a command whose helper ends, in that way, with its third step."""
    from serve.cli import main

    take, taken = StepTrainer.compute_loss, []

    def ending(self: Any, *given: Any, **more: Any) -> torch.Tensor:
        taken.append(1)
        if how != "well" and is_helper() and len(taken) == 3:
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise MemoryError
        return take(self, *given, **more)

    with patch.object(StepTrainer, "compute_loss", ending), small():
        return main(words)


if __name__ == "__main__":
    if sys.argv[1] == "--end":
        sys.exit(_command(sys.argv[2], sys.argv[3:]))
    here, seen = Path(sys.argv[1]), []
    torch.set_num_threads(1)
    with watched(seen):
        if is_helper():
            help_out()
        else:
            in_step(lambda: _train_and_write(here))
    (here / f"steps-{os.environ.get('RANK', '0')}.json").write_text(json.dumps(seen), "utf-8")
