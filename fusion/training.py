"""Train one fusion model with the transformers Trainer: early stopping, the best weights kept.

The rows are already encoded, so an epoch is seconds; the best weights are held in memory and the
Trainer's own checkpoints are off (on two cores, writing them took as long as an epoch).
"""

import tempfile
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader, RandomSampler
from tqdm import tqdm
from transformers import PrinterCallback

from encoders.threads import one_thread
from fusion.early_stopping import KeepBest, StepTrainer, own_randomness, quiet_arguments
from fusion.model import RiskModel, masked_loss
from fusion.parts import Parts, collate
from fusion.processes import together

__all__ = ["TrainingConfig", "train_member", "tuning_loss"]

_ROWS_A_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Choose how the fusion model is trained."""

    epochs: int = 40
    """At most; early stopping ends it sooner."""

    patience: int = 6
    """Epochs without a better log-loss on tuning before it stops."""

    batch: int = 64
    """Rows a step."""

    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    warmup_share: float = 0.1
    """Share of all steps over which the learning rate rises."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.patience < 1 or self.batch < 1:
            raise ValueError(
                "epochs, patience and batch must be at least 1; got "
                f"epochs={self.epochs}, patience={self.patience}, batch={self.batch}"
            )


def train_member(
    model: RiskModel,
    train: Parts,
    tuning: Parts,
    config: TrainingConfig,
    *,
    seed: int,
    progress: str | None = None,
) -> RiskModel:
    """Train a model in place and give it back with the weights that were best on tuning.

    Args:
        model: what to train; it ends on the CPU.
        train: labelled parts.
        tuning: labelled parts; where no label is known in them, the last weights are kept.
        config: how.
        seed: of the order of rows, of dropout and of hidden modalities.
        progress: what to call the bar on stderr; None shows none.
    """
    return together(_train, model, train, tuning, config, seed=seed, progress=progress)


def _train(
    model: RiskModel,
    train: Parts,
    tuning: Parts,
    config: TrainingConfig,
    *,
    seed: int,
    progress: str | None,
) -> RiskModel:
    steps = config.epochs * -(-len(train) // config.batch)
    keep = KeepBest(partial(tuning_loss, parts=tuning), patience=config.patience)
    with (
        tempfile.TemporaryDirectory(prefix="medweave-") as folder,
        own_randomness(),
        one_thread(),
        tqdm(total=config.epochs, desc=progress, disable=progress is None) as bar,
    ):
        keep.bar = bar
        arguments = quiet_arguments(
            folder,
            epochs=config.epochs,
            seed=seed,
            per_device_train_batch_size=config.batch,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            warmup_steps=int(config.warmup_share * steps),
            lr_scheduler_type="cosine",
        )
        trainer = _Trainer(
            model=model,
            args=arguments,
            train_dataset=train,
            callbacks=[keep],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    if keep.best is not None:
        model.load_state_dict(keep.best)
    vars(model.config).pop("use_cache", None)  # the Trainer leaves it there; it means nothing here
    return model.to("cpu").eval()


class _Trainer(StepTrainer):
    """A Trainer that deals the rows to batches as one process would, however many there are."""

    def get_train_dataloader(self) -> DataLoader:
        """Give whole batches, of which `collate` takes this process's share."""
        rows: Any = self.train_dataset
        return prepare_data_loader(
            DataLoader(
                rows,
                batch_size=self.args.per_device_train_batch_size,
                sampler=RandomSampler(rows),
                collate_fn=collate,
            ),
            num_processes=1,
            process_index=0,
            use_seedable_sampler=True,
            data_seed=self.args.data_seed,
        )


def tuning_loss(model: RiskModel, parts: Parts) -> float | None:
    """Give the mean log-loss over the known labels; None where there is none."""
    if parts.labels is None or not np.isfinite(parts.labels).any():
        return None
    training = model.training
    model.eval()
    logits = []
    with torch.no_grad():
        for start in range(0, len(parts), _ROWS_A_BATCH):
            batch = parts.batch(range(start, min(start + _ROWS_A_BATCH, len(parts))))
            batch.pop("labels")
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            logits.append(model(**batch).logits.float().cpu())
    model.train(training)
    return float(masked_loss(torch.cat(logits), torch.from_numpy(parts.labels)))
