"""Which frozen encoders a run reads with: named when it is trained, found again when it serves.

run.json keeps names as they were given, in `encoders`; a run that reads with the embedded ones has
no such entry. A hub's name means the same everywhere. A directory is a place on one machine, so
whoever serves may say where it is now. What makes sure of the encoder is not its name but the
SHA-256 of its weights, which the run states as well.
"""

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from fusion.candidates import Embedder
from ingest.errors import UsageError

__all__ = ["encoder_options", "encoders_of_run", "encoders_stated", "frozen_encoders"]

_PARTS = ("text", "image")


def frozen_encoders(
    cache: Path | None, *, text: str | None = None, image: str | None = None
) -> Embedder:
    """Load the encoders so named, else the embedded ones; torch is imported here, not before.

    Args:
        cache: where their tokens are kept; None is nowhere.
        text: a Hugging Face name or a directory.
        image: a timm name or a directory.

    Raises:
        UsageError: one cannot be had, or is no encoder of its kind.
    """
    from encoders.frozen import FrozenEncoders

    encoders = FrozenEncoders(cache, text=text, image=image)
    for part, name in (("text", text), ("image", image)):
        _load(encoders, part, name)
    return encoders


def encoders_stated(encoders: Embedder) -> dict[str, Any]:
    """Say, as an entry of run.json, how encoders were named; nothing of the embedded ones."""
    configs = {part: getattr(encoders, f"{part}_config", None) for part in _PARTS}
    names = {part: getattr(config, "weights", None) for part, config in configs.items()}
    return {"encoders": names} if any(names.values()) else {}


def encoder_options(config: Mapping[str, Any]) -> str:
    """Say in words of the command line which encoders run.json names, each after a space.

    >>> encoder_options({"encoders": {"text": "org/clinical bert", "image": None}})
    " --text-encoder 'org/clinical bert'"
    >>> encoder_options({})
    ''
    """
    named = (config.get("encoders") or {}).items()
    return "".join(f" --{part}-encoder {quote(name)}" for part, name in named if name)


def encoders_of_run(
    config: Mapping[str, Any],
    cache: Path | None,
    *,
    text: str | None = None,
    image: str | None = None,
) -> Embedder:
    """Load the encoders that run.json names, unless told where they are now.

    Whether they have the weights that the run was trained with, `ServedRun` checks.

    Args:
        config: the content of run.json.
        cache: where their tokens are kept; None is nowhere.
        text: where the text encoder is now.
        image: where the image encoder is now.

    Raises:
        UsageError: one cannot be had, or is no encoder of its kind.
    """
    from encoders.frozen import FrozenEncoders

    stated = config.get("encoders") or {}
    names = {"text": text or stated.get("text"), "image": image or stated.get("image")}
    encoders = FrozenEncoders(cache, **names)
    for part, name in names.items():
        try:
            _load(encoders, part, name)
        except UsageError as error:
            if name is None:
                raise
            trained = stated.get(part)
            advice = (
                f"with {trained!r}; say where that is with --{part}-encoder"
                if trained
                else f"with the embedded one; leave --{part}-encoder out"
            )
            raise UsageError(
                f"the {part} encoder {name!r} cannot be loaded here "
                f"({type(error.__cause__ or error).__name__}); the run was trained {advice}"
            ) from error
    return encoders


def _load(encoders: Embedder, part: str, name: str | None) -> None:
    """Load one encoder; a directory of another kind fails in as many ways as there are kinds."""
    from encoders.weights import EMBEDDED_IMAGE, EMBEDDED_TEXT

    try:
        getattr(encoders, f"{part}_width")
    except UsageError:
        raise
    except Exception as error:
        if name is None:
            raise
        embedded = {"text": EMBEDDED_TEXT, "image": EMBEDDED_IMAGE}[part]
        raise UsageError(
            f"the {part} encoder {name!r} cannot be used ({type(error).__name__}): it is damaged "
            f"or of another kind; leave it out for the embedded {embedded}"
        ) from error
