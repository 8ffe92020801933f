"""What every encoder gives: tokens."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Tokens"]


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Hold what one encoder says of `b` subjects, `n` tokens each, padded to the longest."""

    values: Float[Tensor, "b n d"]
    """Content; what stands where `seen` is false is never read."""

    seen: Bool[Tensor, "b n"]
    """True where there is a token."""

    time: Float[Tensor, "b n"]
    """Days before the prediction time, at least 0; 0 for what is static."""
