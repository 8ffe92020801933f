"""Which of an encoder's weights are trained, and how far from its tokens each of them stands.

The weights are grouped by depth: stages of a convolutional backbone, blocks of a transformer. Only
what the tokens depend on counts: after the feature map that is read, a backbone goes on for nobody.
"""

from typing import Literal

import numpy as np
import torch
from timm.models import group_parameters
from torch import nn

from encoders.image import ImageEncoder
from encoders.text import TextEncoder, pad_windows

__all__ = ["Layers", "choose_trained", "freeze_statistics"]

Layers = Literal["last", "full"]

_SHARE_OF_LAST = 3
"""The last third: the two finest stages that EfficientNet's tokens come from, 2 blocks of 6."""
_ANYTHING = "No acute findings in this note."


def choose_trained(encoder: TextEncoder | ImageEncoder, layers: Layers) -> dict[str, int]:
    """Let some weights be trained and no other, and say how deep each of them lies.

    Args:
        encoder: whose `requires_grad` are set.
        layers: `full` is all that tokens depend on, `last` the last third of its groups.

    Returns:
        Name of each trained parameter to its group, 0 for the one nearest to the tokens.
    """
    groups = _groups(encoder)
    leading = _leading(encoder)
    order = sorted({groups[name] for name in leading}, reverse=True)
    kept = order if layers == "full" else order[: max(1, len(order) // _SHARE_OF_LAST)]
    chosen = {name: kept.index(groups[name]) for name in leading if groups[name] in kept}
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(name in chosen)
    return chosen


def freeze_statistics(module: nn.Module) -> None:
    """Keep what batch normalisation learnt of images: a small batch says too little of them."""
    for each in module.modules():
        if isinstance(each, nn.modules.batchnorm._BatchNorm):
            each.eval()


def _groups(encoder: TextEncoder | ImageEncoder) -> dict[str, int]:
    """Give each parameter's group; a higher one is nearer to the tokens."""
    if isinstance(encoder, ImageEncoder):
        found = group_parameters(
            encoder.backbone, encoder.backbone.group_matcher(coarse=True), reverse=True
        )
        return {f"backbone.{name}": int(group) for name, group in found.items()}
    names = [name for name, _ in encoder.named_parameters()]
    lists = [(n, m) for n, m in encoder.named_modules() if isinstance(m, nn.ModuleList)]
    if not lists:
        return dict.fromkeys(names, 0)
    prefix, blocks = max(lists, key=lambda one: len(one[1]))
    groups, reached = {}, 0
    for name in names:  # embeddings stand before the blocks, a last normalisation after them
        if name.startswith(f"{prefix}."):
            reached = int(name.removeprefix(f"{prefix}.").partition(".")[0]) + 1
        groups[name] = min(reached, len(blocks))
    return groups


def _leading(encoder: TextEncoder | ImageEncoder) -> list[str]:
    """Give the parameters that tokens depend on, in order: those that a gradient reaches."""
    if isinstance(encoder, ImageEncoder):
        side = encoder.config.size_px
        part = encoder.prepare([np.zeros((side, side), np.uint8)])
    else:
        part = pad_windows(
            encoder.windows([_ANYTHING])[0][:1], padding=encoder.tokenizer.pad_token_id or 0
        )
    training = encoder.training
    encoder.eval().requires_grad_(True)
    with torch.enable_grad():
        encoder(part).values.sum().backward()
    found = [name for name, p in encoder.named_parameters() if p.grad is not None]
    encoder.zero_grad(set_to_none=True)
    encoder.train(training)
    return found
