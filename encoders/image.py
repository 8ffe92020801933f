"""Images to tokens: a timm backbone whose feature maps are pooled to a few patches.

An X-ray is grey: it is scaled so that its longer side fits, padded with black to a square
(stretching it would change the width of a heart), repeated in three channels, and brought to the
mean and the standard deviation that the backbone was trained with. A feature map before the last,
twice as fine, is pooled to `grid` x `grid` patches; the order of the tokens is the place in the
image, row by row from the top left. It serves simulated films better than the last two maps, pooled
to 4 x 4 and joined, and takes less room (`python -m tests.benchmarks.quality choices`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.tokens import Tokens
from ingest.errors import InputError, LimitError

__all__ = ["ImageConfig", "ImageEncoder", "Pixels", "read_image"]

_PIXELS_AT_MOST = 80_000_000  # the largest digital films have some 20 million


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """Choose the image backbone and how an image is prepared for it."""

    weights: str | None = None
    """A timm name, or a local directory as timm's `local-dir:` reads it; None is the embedded
    tf_efficientnet_lite0."""

    size_px: int = 224
    """Side of the square that the backbone sees."""

    grid: int = 7
    """Patches a side: an image gives `grid * grid` tokens."""

    maps: tuple[int, ...] = (-2,)
    """Which of the backbone's feature maps are joined, counted from the last, -1."""

    mean: tuple[float, float, float] | None = None
    """Taken off the pixels of each channel, which run from 0 to 1; None is what the backbone was
    trained with, as its `pretrained_cfg` says."""

    std: tuple[float, float, float] | None = None
    """Divides the pixels of each channel; None as above."""

    def __post_init__(self) -> None:
        if self.grid < 1 or min(self.std or (1.0,)) <= 0:
            raise ValueError(
                f"grid must be at least 1 and std above 0; got grid={self.grid}, std={self.std}"
            )
        if not self.maps or max(self.maps) > -1 or len(set(self.maps)) < len(self.maps):
            raise ValueError(
                f"maps must name feature maps from the last, -1, each once; got maps={self.maps}"
            )
        if self.size_px < 32 * self.grid // 2 or self.size_px % 32:
            raise ValueError(
                "size_px must be a multiple of 32 with at least half a cell of the last map a "
                f"patch; got size_px={self.size_px}, grid={self.grid}"
            )


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Hold `b` images, prepared."""

    values: Float[Tensor, "b c h w"]

    time: Float[Tensor, " b"]
    """Days before the prediction time."""


class ImageEncoder(nn.Module):
    """Read prepared images; `encoders.build.build_encoder` makes one from an ImageConfig."""

    def __init__(self, config: ImageConfig, backbone: nn.Module):
        super().__init__()
        self.config = config
        self.backbone = backbone
        channels = [stage["num_chs"] for stage in backbone.feature_info]
        if -min(config.maps) > len(channels):
            raise ValueError(
                f"the backbone has {len(channels)} feature maps; got maps={config.maps}"
            )
        self.width = int(sum(channels[place] for place in config.maps))
        # Photographs have a mean and a deviation a channel; a grey film takes all three.
        told = backbone.pretrained_cfg
        self.mean = config.mean or _three(told, "mean", 0.5)
        self.std = config.std or _three(told, "std", 0.5)

    def forward(self, part: Pixels) -> Tokens:
        """Give `grid * grid` tokens an image."""
        last = -min(self.config.maps)  # asked for by how many of the last, in order
        maps = self.backbone.forward_intermediates(
            part.values, indices=last, intermediates_only=True
        )
        chosen = [maps[place] for place in self.config.maps]
        pooled = torch.cat([F.adaptive_avg_pool2d(m, self.config.grid) for m in chosen], dim=1)
        values = pooled.flatten(2).transpose(1, 2).contiguous()
        b, n, _ = values.shape
        return Tokens(
            values=values,
            seen=torch.ones((b, n), dtype=torch.bool, device=values.device),
            time=part.time[:, None].expand(b, n),
        )

    def prepare(self, images: list[UInt8[np.ndarray, "h w"]], device: str = "cpu") -> Pixels:
        """Put square grey images (of `read_image`) into one batch."""
        return self.pixels(torch.from_numpy(np.stack(images)).to(device))

    def pixels(self, grey: UInt8[Tensor, "b h w"]) -> Pixels:
        """Bring square grey images to what the backbone was trained on, where they are."""
        values = self.standardise(grey.float().div_(255.0))
        return Pixels(
            values=values.contiguous(memory_format=torch.channels_last),
            time=torch.zeros(len(grey), device=grey.device),
        )

    def standardise(self, grey: Float[Tensor, "b h w"]) -> Float[Tensor, "b 3 h w"]:
        """Repeat grey images, from 0 to 1, in the backbone's channels, each on its scale."""
        mean, std = (grey.new_tensor(three)[:, None, None] for three in (self.mean, self.std))
        return (grey[:, None] - mean) / std


def _three(told: Mapping[str, Any], name: str, otherwise: float) -> tuple[float, float, float]:
    """Read a backbone's mean or deviation, of which a checkpoint may state none, or one."""
    stated = tuple(float(number) for number in told.get(name) or (otherwise,))
    r, g, b = stated if len(stated) == 3 else stated[:1] * 3
    return r, g, b


def read_image(path: Path, size_px: int) -> UInt8[np.ndarray, "h w"]:
    """Read an image as grey, scaled to fit a square of `size_px` and padded with black.

    Raises:
        InputError: the file is missing or is no image.
        LimitError: it has more pixels than any film.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > _PIXELS_AT_MOST:
                raise LimitError(
                    f"{path.name} has {image.width} x {image.height} pixels; "
                    f"at most {_PIXELS_AT_MOST:,} are read"
                )
            scale = size_px / max(image.width, image.height)
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            image.draft("L", size)
            grey = _grey(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    except Image.DecompressionBombError:
        raise LimitError(f"{path.name} has over {_PIXELS_AT_MOST:,} pixels") from None
    except FileNotFoundError:
        raise InputError(f"the image {path.name} is not there") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(
            f"{path.name} cannot be read as an image ({type(error).__name__})"
        ) from None
    square = np.zeros((size_px, size_px), dtype=np.uint8)
    top, left = (size_px - size[1]) // 2, (size_px - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = np.asarray(grey)
    return square


def _grey(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits: Pillow's own conversion would clip at 255
        deep = np.asarray(image, dtype=np.float32)
        low, high = float(deep.min()), float(deep.max())
        scaled = (deep - low) * (255.0 / max(high - low, 1.0))
        return Image.fromarray(scaled.astype(np.uint8))
    return image if image.mode == "L" else image.convert("L")
