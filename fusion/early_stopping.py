"""What each use of the transformers Trainer shares: early stopping, the best weights, no traces.

And steps that several processes take together (`fusion.share`): left to itself, a Trainer deals
whole batches out, fills the last ones up with rows of the first, and weighs each process the same.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import Trainer, TrainerCallback, TrainingArguments

from fusion.processes import agreed
from fusion.share import sharing

__all__ = ["KeepBest", "StepTrainer", "own_randomness", "quiet_arguments"]


class KeepBest(TrainerCallback):
    """Judge after each epoch, keep the best weights, stop when they stay the best."""

    def __init__(
        self,
        judge: Callable[[Any], float | None],
        *,
        patience: int,
        names: frozenset[str] | None = None,
    ):
        """Say how to judge.

        Args:
            judge: gives a model's loss; None where there is nothing to judge on.
            patience: epochs without a better loss before it stops.
            names: the tensors that are kept; all by default.
        """
        self.judge, self.patience, self.names = judge, patience, names
        self.best: dict[str, Tensor] | None = None
        self.losses: list[float] = []
        self.bar: tqdm | None = None

    def look(self, model: nn.Module) -> None:
        """Judge the model as it is, and keep its weights where none were better."""
        loss = agreed(self.judge(model))
        if loss is None:
            return
        if not self.losses or loss < min(self.losses):
            self.best = {
                name: t.detach().cpu().clone()
                for name, t in model.state_dict().items()
                if self.names is None or name in self.names
            }
        self.losses.append(loss)

    def on_epoch_end(self, args, state, control, model=None, **_: object) -> None:
        """Judge the epoch."""
        self.look(model)
        if self.bar is not None:
            self.bar.update()
        if self.losses and len(self.losses) - int(np.argmin(self.losses)) > self.patience:
            control.should_training_stop = True


class StepTrainer(Trainer):
    """A Trainer whose batches say which share of them is this process's."""

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:
        """Give the loss of the rows that are here."""
        with sharing(inputs.pop("share", None)):
            return self.checked(model(**inputs).loss)

    def checked(self, loss: Tensor) -> Tensor:
        """Give the loss back, or refuse it before the step is taken."""
        return loss


def quiet_arguments(folder: str, *, epochs: int, seed: int, **more: Any) -> TrainingArguments:
    """Give arguments of a Trainer that writes nothing, says nothing and uses a GPU if there is."""
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=epochs,
        max_grad_norm=1.0,
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=False,
        seed=seed,
        data_seed=seed,
        use_cpu=not torch.cuda.is_available(),
        bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,  # none of them changes while it trains
        **more,
    )


@contextmanager
def own_randomness() -> Iterator[None]:
    """Put Python's, NumPy's and torch's random states back: the Trainer sets all of them."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - what Trainer sets
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
