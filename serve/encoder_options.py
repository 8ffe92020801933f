"""The options --text-encoder and --image-encoder, of `train` and of whatever asks a run."""

import argparse
import os
from pathlib import Path

__all__ = ["add_encoders", "encoders_asked", "stay_off_hubs"]


def add_encoders(sub: argparse.ArgumentParser, *, trained: bool = False) -> None:
    """Add both options; where the run is `trained`, they say where its encoders are now."""
    default = "as trained" if trained else "the embedded one"
    for part, hub in (("text", "Hugging Face"), ("image", "timm")):
        sub.add_argument(
            f"--{part}-encoder",
            metavar="NAME_OR_DIR",
            help=f"{hub} name or directory (default: {default})",
        )


def encoders_asked(a: argparse.Namespace) -> dict[str, str | None]:
    """Give what was named, as `train`, `ServedRun` and their like take it."""
    return {"text": a.text_encoder, "image": a.image_encoder}


def stay_off_hubs(a: argparse.Namespace) -> None:
    """Keep the hub's client off the network, unless this command names what only a hub can have.

    A run's own entry is no such leave: what serves must not phone home because of a file.
    """
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # a hub out of reach is told by our sentence
    names = [getattr(a, f"{part}_encoder", None) for part in ("text", "image")]
    if all(name is None or Path(name).exists() for name in names):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
