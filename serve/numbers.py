"""The kinds of numbers that the command line takes, each with its own refusal."""

import argparse

__all__ = ["LARGEST_SEED", "count", "port", "seed", "whole"]

LARGEST_SEED = 2**31 - 2**16
"""Libraries take 31 bits, and folds and members add to it."""


def whole(text: str) -> int:
    """Read a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number; got {text!r}") from None


def count(text: str) -> int:
    """Read a whole number of at least 1."""
    value = whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; got {value}")
    return value


def seed(text: str) -> int:
    """Read a seed that every library takes."""
    value = whole(text)
    if not 0 <= value <= LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"must be from 0 to {LARGEST_SEED}; got {value}")
    return value


def port(text: str) -> int:
    """Read a TCP port."""
    value = whole(text)
    if not 0 < value < 2**16:
        raise argparse.ArgumentTypeError(f"must be from 1 to 65535; got {value}")
    return value
