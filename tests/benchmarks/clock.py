"""A clock for the benchmark of scoring: the best of rounds, and what each step of a score takes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np

import encoders.frozen as frozen
import fusion.served as served_run
from encoders.image import ImageEncoder
from encoders.text import TextEncoder
from encoders.vocabulary import EventVocabulary
from fusion.model import RiskModel
from fusion.parts import Parts
from ingest.timeline import Timelines

__all__ = ["STEPS_OF_A_SCORE", "best_seconds", "timed_steps"]

STEPS_OF_A_SCORE: tuple[tuple[Any, str, str], ...] = (
    (TextEncoder, "forward", "text encoder"),
    (ImageEncoder, "forward", "image encoder"),
    (RiskModel, "forward", "members"),
    (EventVocabulary, "rows", "features of events"),
    (TextEncoder, "windows", "cutting notes"),
    (frozen, "pad_windows", "padding notes"),
    (frozen, "_file_key", "hashing films"),
    (frozen, "read_image", "decoding films"),
    (ImageEncoder, "prepare", "preparing pixels"),
    (Parts, "batch", "padding rows"),
    (Timelines, "only", "hiding modalities"),
    (served_run, "drop_codes", "dropping codes"),
)
"""What a score does, none of it within another."""


def best_seconds(works: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Give the best seconds of each, done side by side in each round after one that warms up."""
    seconds = []
    for _ in range(rounds + 1):
        mine = []
        for work in works:
            begun = perf_counter()
            work()
            mine.append(perf_counter() - begun)
        seconds.append(mine)
    return np.min(seconds[1:], axis=0).tolist()


@contextmanager
def timed_steps() -> Iterator[dict[str, float]]:
    """Add up, within this context, the seconds of each step under its name."""
    spent = {name: 0.0 for *_, name in STEPS_OF_A_SCORE}

    def timing(work: Callable, name: str) -> Callable:
        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                spent[name] += perf_counter() - begun

        return timed

    with ExitStack() as stack:
        for owner, attribute, name in STEPS_OF_A_SCORE:
            work = getattr(owner, attribute)
            stack.enter_context(patch.object(owner, attribute, timing(work, name)))
        yield spent
