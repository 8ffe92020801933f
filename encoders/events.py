"""Events to tokens: the one encoder that is trained from scratch, with the fusion model.

A token stands for a feature of a subject's events (see `encoders.vocabulary`): that a code was
seen and how often, the last value of a measurement, its mean, its change, or an earlier value. It
is the sum of an embedding of the feature, an embedding of its value and an encoding of its time.
The value enters by its quantile in train, piecewise linear (Gorishniy et al., "On Embeddings for
Numerical Features in Tabular Deep Learning", 2022, section 3.2): each feature bends its own curve,
so "potassium is high" and "sodium is high" are unrelated, and a typing error reaches no further
than the highest value of train.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from encoders.time import TimeEncoding
from encoders.tokens import Tokens

__all__ = ["EventsConfig", "EventsEncoder", "EventsPart"]


@dataclass(frozen=True, kw_only=True)
class EventsConfig:
    """Size the events encoder."""

    features: int
    """Features of the vocabulary."""

    width: int = 64
    """Width of a token."""

    bins: int = 8
    """Pieces of the piecewise-linear encoding of a quantile."""

    rank: int = 8
    """Numbers that a feature keeps of its value before they are spread over the width."""

    def __post_init__(self) -> None:
        for name in ("features", "width", "bins", "rank"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {name}={getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class EventsPart:
    """Hold the features of `b` subjects, `n` each, padded to the longest."""

    feature: Int[Tensor, "b n"]
    """Position in the vocabulary."""

    value: Float[Tensor, "b n"]
    """Quantile in train, 0 to 1; NaN where the feature has no value."""

    seen: Bool[Tensor, "b n"]
    """True where there is a feature."""

    time: Float[Tensor, "b n"]
    """Days before the prediction time; 0 for what is static."""


class EventsEncoder(nn.Module):
    """Turn features, quantiles and times into tokens."""

    def __init__(self, config: EventsConfig):
        super().__init__()
        self.config = config
        self.width = config.width
        self.feature = nn.Embedding(config.features, config.width)
        self.curve = nn.Embedding(config.features, config.bins * config.rank)
        self.spread = nn.Linear(config.rank, config.width, bias=False)
        self.no_value = nn.Parameter(torch.zeros(config.width))
        self.time = TimeEncoding(config.width)
        nn.init.normal_(self.feature.weight, std=0.3)
        nn.init.normal_(self.curve.weight, std=0.3)
        self.register_buffer("steps", torch.arange(config.bins).float())

    def forward(self, part: EventsPart) -> Tokens:
        """Give a token for each feature."""
        known = torch.isfinite(part.value) & part.seen
        quantile = torch.where(known, part.value, 0.0)
        pieces = (quantile[..., None] * self.config.bins - self.steps).clamp(0, 1) - 0.5
        curve = self.curve(part.feature).unflatten(-1, (self.config.bins, self.config.rank))
        value = self.spread((pieces[..., None, :] @ curve)[..., 0, :])
        values = (
            self.feature(part.feature)
            + torch.where(known[..., None], value, self.no_value)
            + self.time(part.time)
        )
        return Tokens(values=values, seen=part.seen, time=part.time)
