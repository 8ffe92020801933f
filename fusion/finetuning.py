"""Fine-tune an encoder under a regression on its tokens, with the transformers Trainer.

Notable choices:

- It starts from the regression on frozen tokens (for images, of other views of them as well), and
  the weights before the first step are judged like those of every epoch: on tuning it ends no worse
  than where it started. A head that starts at random would first pull the encoder's weights apart
  (Kumar et al., "Fine-tuning can distort pretrained features and underperform out-of-distribution",
  2022).
- A row's features are those of the probes (the mean and the maximum of an image's tokens, the mean
  of a note's; then the mean over images or notes), so what was learnt is a probe with an encoder
  of its own.
- Rates fall from the head to the encoder's first trained layer; batch normalisation keeps the
  statistics it came with.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW
from tqdm import tqdm
from transformers import PrinterCallback, get_cosine_schedule_with_warmup

from encoders.image import ImageEncoder
from encoders.text import TextEncoder, WordPieces
from encoders.threads import one_thread
from encoders.trained_layers import choose_trained, freeze_statistics
from fusion.early_stopping import KeepBest, StepTrainer, own_randomness, quiet_arguments
from fusion.examples import Batches, Examples
from fusion.features import Scaling
from fusion.finetune_config import FinetuneConfig
from fusion.linear import Logistic
from fusion.model import masked_loss
from fusion.output import RiskOutput
from fusion.processes import place, together
from fusion.share import whole_loss
from ingest.errors import UsageError

__all__ = ["FinetunedModel", "Tuned", "finetune", "judge"]


class FinetunedModel(nn.Module):
    """An encoder, the probes' pooling and scaling, and a regression for each task."""

    centre: Tensor
    scale: Tensor

    def __init__(self, encoder: TextEncoder | ImageEncoder, scaling: Scaling, logistic: Logistic):
        super().__init__()
        self.encoder = encoder
        self.register_buffer("centre", torch.tensor(scaling.centre, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scaling.scale, dtype=torch.float32))
        k, f = logistic.weights.shape
        self.head = nn.utils.skip_init(nn.Linear, f, k)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor(logistic.weights))
            self.head.bias.copy_(torch.tensor(logistic.intercepts))

    def forward(
        self,
        items: Tensor | list[dict[str, Tensor]],
        pooling: Float[Tensor, "b m"],
        labels: Float[Tensor, "b k"] | None = None,
    ) -> RiskOutput:
        """Give each row's log odds, and the loss where there are labels."""
        if isinstance(self.encoder, ImageEncoder):
            features = self._of_images(items)
        else:
            features = self._of_notes(items)
        with torch.autocast(features.device.type, enabled=False):  # pooled and added in 32 bits
            scaled = (pooling @ features.float() - self.centre) / self.scale
            logits = self.head(scaled.clamp(-Scaling.LIMIT, Scaling.LIMIT))
            loss = None if labels is None else masked_loss(logits, labels)
        return RiskOutput(loss=loss, logits=logits)

    def _of_images(self, squares: Tensor) -> Float[Tensor, "m f"]:
        values = self.encoder(self.encoder.pixels(squares)).values
        return torch.cat([values.mean(dim=1), values.amax(dim=1)], dim=1)

    def _of_notes(self, groups: list[dict[str, Tensor]]) -> Float[Tensor, "m f"]:
        found = []
        for group in groups:
            time = torch.zeros(len(group["ids"]), device=group["ids"].device)
            values = self.encoder(WordPieces(time=time, **group)).values
            found.append(values.flatten(0, 1))
        return torch.cat(found)

    def train(self, mode: bool = True) -> "FinetunedModel":
        """Turn to training; batch normalisation stays as it is."""
        super().train(mode)
        freeze_statistics(self.encoder)
        return self


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Hold what was learnt."""

    weights: dict[str, Tensor]
    """The encoder's trained tensors, by name."""
    logistic: Logistic
    losses: list[float]
    """On tuning: of the probe that it started from, then after each epoch."""


def finetune(
    model: FinetunedModel,
    train: Examples,
    tuning: Examples,
    config: FinetuneConfig,
    *,
    rate: float,
    seed: int,
    name: str,
    progress: bool = False,
) -> Tuned:
    """Train a model in place and give the weights that were best on tuning.

    Args:
        model: what to train; it ends on the CPU.
        train: labelled rows.
        tuning: labelled rows; where no label is known in them, the last weights are kept.
        config: how.
        rate: the encoder's learning rate.
        seed: of the order of rows and of all that is drawn.
        name: of the candidate, for the bar and for errors.
        progress: show a bar.

    Raises:
        UsageError: the loss is no number.
    """
    return together(
        _finetune, model, train, tuning, config, rate=rate, seed=seed, name=name, progress=progress
    )


def _finetune(
    model: FinetunedModel,
    train: Examples,
    tuning: Examples,
    config: FinetuneConfig,
    *,
    rate: float,
    seed: int,
    name: str,
    progress: bool,
) -> Tuned:
    depths = choose_trained(model.encoder, config.layers)
    trained = frozenset({*(f"encoder.{n}" for n in depths), "head.weight", "head.bias"})
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    batches = Batches(train, batch=config.batch, seed=seed)
    steps = config.epochs * len(batches)
    optimizer = AdamW(_parameter_groups(model, depths, config, rate))
    schedule = get_cosine_schedule_with_warmup(optimizer, int(config.warmup_share * steps), steps)
    keep = KeepBest(
        partial(_judge_or_refuse, examples=tuning, batch=config.batch, name=name),
        patience=config.patience,
        names=trained,
    )
    with (
        tempfile.TemporaryDirectory(prefix="medweave-") as folder,
        own_randomness(),
        one_thread(),
        tqdm(total=config.epochs, desc=name, disable=not progress, leave=False) as bar,
    ):
        keep.bar = bar
        keep.look(model)
        trainer = _Trainer(
            model=model,
            # An encoder's own dropout is drawn by each process: not of every share the same.
            args=quiet_arguments(folder, epochs=config.epochs, seed=seed + place()[0]),
            callbacks=[keep],
            optimizers=(optimizer, schedule),
        )
        trainer.batches, trainer.told = batches, name
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    if keep.best is not None:
        model.load_state_dict(keep.best, strict=False)
    model.to("cpu").eval()
    state = model.encoder.state_dict()
    return Tuned(
        weights={n: state[n].detach().contiguous().clone() for n in sorted(depths)},
        logistic=Logistic(
            weights=model.head.weight.detach().double().numpy(),
            intercepts=model.head.bias.detach().double().numpy(),
            strengths=(0.0,) * model.head.out_features,
        ),
        losses=keep.losses,
    )


def judge(model: FinetunedModel, examples: Examples, *, batch: int) -> float | None:
    """Give the mean log-loss over the known labels; None where there is none."""
    if not np.isfinite(examples.labels).any():
        return None
    device = model.head.weight.device
    training = model.training
    model.eval()
    logits, labels = [], []
    with torch.no_grad():
        for start in range(0, len(examples), batch):
            some = examples.batch(range(start, min(start + batch, len(examples))))
            labels.append(some.pop("labels"))
            logits.append(model(**_to(some, device)).logits.float().cpu())
    model.train(training)
    return float(masked_loss(torch.cat(logits), torch.cat(labels)))


def _judge_or_refuse(
    model: FinetunedModel, *, examples: Examples, batch: int, name: str
) -> float | None:
    loss = judge(model, examples, batch=batch)
    if loss is not None and not np.isfinite(loss):
        raise _astray(name)
    return loss


class _Trainer(StepTrainer):
    """A Trainer whose batches come ready, and that stops at a loss that is no number."""

    batches: Batches
    told: str

    def get_train_dataloader(self) -> Any:
        """Give the batches as they are."""
        return self.batches

    def checked(self, loss: Tensor) -> Tensor:
        """Refuse what is no number; in all processes, where it is none in one of them."""
        if not torch.isfinite(whole_loss(loss)):
            raise _astray(self.told)
        return loss


def _astray(name: str) -> UsageError:
    return UsageError(
        f"{name} cannot be trained: its loss became no number, as happens where an encoder's own "
        "weights are damaged or too much of it is trained; try --finetune last, another encoder, "
        f"or leave {name} out of --candidates"
    )


def _parameter_groups(
    model: FinetunedModel, depths: dict[str, int], config: FinetuneConfig, rate: float
) -> list[dict[str, Any]]:
    """Give each depth its rate; biases and scales of normalisation do not decay."""
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        depth = depths.get(name.removeprefix("encoder."))
        mine = config.head_rate if depth is None else rate * config.depth_decay**depth
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        found.setdefault((mine, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": mine, "weight_decay": decay}
        for (mine, decay), parameters in found.items()
    ]


def _to(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {name: _to(part, device) for name, part in batch.items()}
    return [_to(part, device) for part in batch] if isinstance(batch, Sequence) else batch
