"""How encoders are fine-tuned; apart from the training, so that asking is no import of torch."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["FinetuneConfig"]


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Choose what of an encoder is trained, and how."""

    layers: Literal["last", "full"] = "last"
    """The last third of the stages or blocks that lead to the tokens, or all of them."""

    epochs: int = 10
    """At most; early stopping ends it sooner."""

    patience: int = 3
    """Epochs without a better log-loss on tuning before it stops."""

    batch: int = 16
    """Rows a step."""

    image_rate: float = 3e-5
    """Learning rate of the image encoder's weights nearest to its tokens."""

    text_rate: float = 3e-5
    """Learning rate of the text encoder's weights nearest to its tokens."""

    head_rate: float = 1e-4
    """Learning rate of the regression, which starts as the one on frozen tokens."""

    depth_decay: float = 0.8
    """What the rate of each stage or block is multiplied with for each one that is nearer."""

    weight_decay: float = 0.05
    warmup_share: float = 0.1
    """Share of all steps over which the learning rate rises."""

    images_at_most: int = 4
    """Images of a row in one step; of more, others are drawn each epoch."""

    windows_at_most: int = 64
    """Windows of a row's notes in one step; of more, others are drawn each epoch."""

    def __post_init__(self) -> None:
        if self.layers not in ("last", "full"):
            raise ValueError(f"layers must be last or full; got layers={self.layers!r}")
        for name in ("epochs", "patience", "batch", "images_at_most", "windows_at_most"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {name}={getattr(self, name)}")
        for name in ("image_rate", "text_rate", "head_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0; got {name}={getattr(self, name)}")
        if not 0 < self.depth_decay <= 1 or not 0 <= self.warmup_share < 1:
            raise ValueError(
                "depth_decay must be above 0 and at most 1, warmup_share from 0 to below 1; got "
                f"depth_decay={self.depth_decay}, warmup_share={self.warmup_share}"
            )
