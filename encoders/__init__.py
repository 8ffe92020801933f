"""Encoders: the parts of timelines come in, tokens go out.

In: events as features of a vocabulary (`EventVocabulary`), notes as text, images as files. Out:
`Tokens`, or for frozen encoders one array of tokens a note or image. `build_encoder` is the door
to the three encoders; `FrozenEncoders` puts the text and image ones behind a cache on disk.
"""

from typing import TYPE_CHECKING, Any

from encoders.tokens import Tokens

if TYPE_CHECKING:
    from encoders.build import build_encoder
    from encoders.events import EventsConfig
    from encoders.frozen import FrozenEncoders
    from encoders.image import ImageConfig
    from encoders.text import TextConfig
    from encoders.vocabulary import EventVocabulary

__all__ = [
    "EventVocabulary",
    "EventsConfig",
    "FrozenEncoders",
    "ImageConfig",
    "TextConfig",
    "Tokens",
    "build_encoder",
]

_HOMES = {
    "EventVocabulary": "encoders.vocabulary",
    "EventsConfig": "encoders.events",
    "FrozenEncoders": "encoders.frozen",
    "ImageConfig": "encoders.image",
    "TextConfig": "encoders.text",
    "build_encoder": "encoders.build",
}


def __getattr__(name: str) -> Any:
    """Import on first use: transformers and timm take seconds, and `--help` needs neither."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'encoders' has no attribute {name!r}")
