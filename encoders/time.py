"""How long before the prediction time something was known, as a vector."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["TimeEncoding"]

_WAVES = 4


class TimeEncoding(nn.Module):
    """Encode days by their logarithm: an hour differs from a day as much as a month from years."""

    def __init__(self, width: int):
        super().__init__()
        self.project = nn.Linear(1 + 2 * _WAVES, width, bias=False)
        frequencies = 2.0 ** torch.arange(_WAVES) * (torch.pi / 16)
        self.register_buffer("frequencies", frequencies)

    def forward(self, days: Float[Tensor, "..."]) -> Float[Tensor, "... d"]:
        """Give a vector for each time; 0 days and what is static are alike."""
        scale = torch.log1p(days.clamp(min=0) * 24)[..., None]  # 0..14 from now to a century
        angle = scale * self.frequencies
        return self.project(torch.cat([scale / 10, angle.sin(), angle.cos()], dim=-1))
