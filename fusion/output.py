"""What the fusion model says of a batch.

It stands alone on purpose: transformers registers an output with torch for the life of the process,
and with it all that its module can reach. What it imports is never taken down; among it DuckDB
would complain on stderr when the interpreter ends.
"""

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput

__all__ = ["RiskOutput"]


@dataclass
class RiskOutput(ModelOutput):
    """What the model says of a batch."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    """[b k] log odds."""
    auxiliary: Tensor | None = None
    """[b 3 k] log odds by each modality alone."""
    attentions: tuple[tuple[Tensor | None, ...], ...] | None = None
    """For each layer and modality [b latents 1 + n]: what the latents looked at; the first token
    is the missing one."""
