"""The one door to encoders: `build_encoder(config)`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import overload

import timm
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from encoders.events import EventsConfig, EventsEncoder
from encoders.image import ImageConfig, ImageEncoder
from encoders.text import TextConfig, TextEncoder
from encoders.weights import (
    EMBEDDED_IMAGE,
    EMBEDDED_TEXT,
    embedded_image_tensors,
    embedded_text,
)
from ingest.errors import UsageError

__all__ = ["build_encoder", "quiet_transformers"]


@overload
def build_encoder(config: EventsConfig) -> EventsEncoder: ...
@overload
def build_encoder(config: TextConfig) -> TextEncoder: ...
@overload
def build_encoder(config: ImageConfig) -> ImageEncoder: ...
def build_encoder(config):
    """Make the encoder that a config describes; text and image encoders come with their weights.

    Raises:
        UsageError: weights that are neither a directory, nor in a local cache, nor to be had from
            a model hub.

    >>> build_encoder(EventsConfig(features=5, width=8)).width
    8
    """
    if isinstance(config, EventsConfig):
        return EventsEncoder(config)
    if isinstance(config, TextConfig):
        return _text(config)
    if isinstance(config, ImageConfig):
        return _image(config)
    raise ValueError(
        f"config must be an EventsConfig, TextConfig or ImageConfig; got {type(config).__name__}"
    )


def _text(config: TextConfig) -> TextEncoder:
    name = str(embedded_text()) if config.weights is None else config.weights
    try:
        with quiet_transformers():
            model = AutoModel.from_pretrained(name, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True)
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(
            f"the text encoder {config.weights!r} cannot be had, neither as a directory nor from a "
            f"model hub ({type(error).__name__}); leave it out for the embedded {EMBEDDED_TEXT}"
        ) from error
    if not getattr(tokenizer, "is_fast", False):
        raise UsageError(
            f"the text encoder {config.weights!r} has no tokenizer.json, which is needed to find "
            f"its sentences; leave it out for the embedded {EMBEDDED_TEXT}"
        )
    tokenizer.model_max_length = 10**9  # we cut windows ourselves; it would warn of long notes
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and config.window > positions:
        raise UsageError(
            f"window must be at most what {name!r} reads at once; got window={config.window}, "
            f"it reads {positions}"
        )
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # unused; where a checkpoint lacks it, it would be random
    return TextEncoder(config, model.eval(), tokenizer)


def _image(config: ImageConfig) -> ImageEncoder:
    name = config.weights
    if name is None:
        backbone = timm.create_model(EMBEDDED_IMAGE, pretrained=False)
        backbone.load_state_dict(embedded_image_tensors())
    else:
        try:
            source = f"local-dir:{name}" if Path(name).is_dir() else name
            backbone = timm.create_model(source, pretrained=True)
        except (OSError, RuntimeError, ValueError, ImportError) as error:
            raise UsageError(
                f"the image backbone {name!r} cannot be had, neither as a directory nor from a "
                f"model hub ({type(error).__name__}); leave it out for the embedded "
                f"{EMBEDDED_IMAGE}"
            ) from error
    if not hasattr(backbone, "forward_intermediates"):
        raise UsageError(
            f"the image backbone {name!r} gives no feature maps; leave it out for the embedded "
            f"{EMBEDDED_IMAGE}"
        )
    return ImageEncoder(config, backbone.eval().to(memory_format=torch.channels_last))


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' own progress bars off stderr, and put them back after."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
