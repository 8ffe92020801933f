"""Rows to batches of images, or of windows of notes, that an encoder is fine-tuned on.

A batch holds the items, and a matrix that says how much of each item (of each token, for notes) is
in each row: the mean over a row's images, or over its notes' means, as the probes pool what is
frozen. What is drawn (the order, which of many items, how an image is seen) depends on seed, epoch
and item, and on nothing that was drawn before.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from os import sched_getaffinity
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from encoders.squares import Squares
from encoders.text import TextEncoder, Window, pad_windows
from encoders.views import draw_view
from fusion.finetune_config import FinetuneConfig
from fusion.rows import Rows
from fusion.share import share_rows
from ingest.schema import Modality

__all__ = ["Batches", "Examples", "ImageExamples", "NoteExamples", "group_by_length"]

_PADDING_AT_MOST = 0.05
"""Of the word pieces that an encoder reads, the share that is padding."""
_PIECES_AT_ONCE = 8192
_BUILDERS = 4
"""Threads that make batches ahead of the model: more wait for the interpreter."""


class Examples(Protocol):
    """Rows that batches are made of."""

    labels: np.ndarray
    """[b k], NaN where a label cannot be known."""

    def __len__(self) -> int:
        """Say how many rows there are."""
        ...

    def batch(self, rows: Sequence[int], epoch: int | None = None) -> dict[str, Any]:
        """Give what the model takes; without an epoch nothing is drawn, as for judging."""
        ...


class ImageExamples:
    """Rows with images; Examples."""

    def __init__(
        self,
        images: Sequence[Sequence[int]],
        labels: Float[np.ndarray, "b k"],
        squares: Squares,
        config: FinetuneConfig,
        *,
        seed: int,
    ):
        """Say which squares each row has, oldest first."""
        self.images, self.labels, self.squares = images, labels, squares
        self._config, self._seed = config, seed

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: Sequence[int], epoch: int | None = None) -> dict[str, Any]:
        """Give `items` (squares, uint8), `pooling` and `labels`; seen another way each epoch."""
        chosen = [
            _some(self.images[row], self._config.images_at_most, (self._seed, epoch, row))
            for row in rows
        ]
        numbers = [number for row in chosen for number in row]
        squares = self.squares.take(numbers)
        if epoch is not None:
            squares = np.stack(
                [
                    draw_view(square, np.random.default_rng([self._seed, epoch, number]))
                    for square, number in zip(squares, numbers, strict=True)
                ]
            )
        pooling = np.zeros((len(rows), len(numbers)), np.float32)
        place = 0
        for row, mine in enumerate(chosen):
            pooling[row, place : place + len(mine)] = 1 / max(len(mine), 1)
            place += len(mine)
        return _batch(torch.from_numpy(squares).clone(), pooling, self.labels[list(rows)])


class NoteExamples:
    """Rows with notes; Examples. Equal windows of a batch are read once."""

    def __init__(self, rows: Rows, encoder: TextEncoder, config: FinetuneConfig, *, seed: int):
        """Cut the notes of rows into windows."""
        self.labels = rows.labels
        self._config, self._seed = config, seed
        self._padding = encoder.tokenizer.pad_token_id or 0
        part = rows.timelines.part(Modality.NOTES)
        texts = part["text_value"].fillna("").astype(str).tolist()
        known: dict[tuple[int, ...], int] = {}
        self._windows: list[Window] = []
        notes: list[list[list[int]]] = [[] for _ in range(len(rows))]
        for row, windows in zip(part["row"].tolist(), encoder.windows(texts), strict=True):
            mine = []
            for window in windows:
                key = (*window.ids, *window.segment, *window.negated)
                if known.setdefault(key, len(self._windows)) == len(self._windows):
                    self._windows.append(window)
                mine.append(known[key])
            if mine:
                notes[int(row)].append(mine)
        self._rows = [self._weighed(row) for row in notes]

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, rows: Sequence[int], epoch: int | None = None) -> dict[str, Any]:
        """Give `items` (groups of windows as long as each other), `pooling` and `labels`."""
        chosen = [
            _some(self._rows[row], self._config.windows_at_most, (self._seed, epoch, row))
            for row in rows
        ]
        wanted = sorted({number for row in chosen for number, _ in row})
        groups = group_by_length([len(self._windows[number].ids) for number in wanted])
        column: dict[int, int] = {}
        items, columns = [], 0
        for group in groups:
            windows = [self._windows[wanted[place]] for place in group]
            parts = pad_windows(windows, padding=self._padding)
            items.append(
                {"ids": parts.ids, "seen": parts.seen, "segment": parts.segment, "sign": parts.sign}
            )
            for place in group:
                column[wanted[place]] = columns
                columns += parts.sign.shape[1]
        pooling = np.zeros((len(rows), columns), np.float32)
        for row, mine in enumerate(chosen):
            whole = sum(weight * len(self._windows[number].negated) for number, weight in mine)
            for number, weight in mine:
                here = column[number]
                pooling[row, here : here + len(self._windows[number].negated)] += weight / whole
        return _batch(items, pooling, self.labels[list(rows)])

    def _weighed(self, notes: list[list[int]]) -> list[tuple[int, float]]:
        """Give a row's windows, and what each of a window's tokens weighs."""
        tokens = [sum(len(self._windows[number].negated) for number in note) for note in notes]
        return [
            (number, 1 / (count * len(notes)))
            for note, count in zip(notes, tokens, strict=True)
            for number in note
        ]


class Batches:
    """Give the batches of an epoch, made ahead of the model; what a Trainer takes as a loader.

    Of several processes (`fusion.processes`), each has its share of every batch.
    """

    def __init__(self, examples: Examples, *, batch: int, seed: int):
        self.examples, self._batch, self._seed = examples, batch, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next; its batches are the same whenever it is asked for."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.examples) // self._batch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        epoch = self._epoch
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self.examples)).tolist()
        builders = min(_BUILDERS, len(sched_getaffinity(0)))
        with ThreadPoolExecutor(builders, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            ahead: deque[Future[dict[str, Any]]] = deque()
            for start in range(0, len(order), self._batch):
                rows = order[start : start + self._batch]
                ahead.append(pool.submit(self._share_of, rows, epoch))
                if len(ahead) > builders:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _share_of(self, rows: list[int], epoch: int) -> dict[str, Any]:
        share = share_rows(len(rows))
        if share is None:
            return self.examples.batch(rows, epoch)
        batch = self.examples.batch(share.of(rows), epoch)
        if share.borrowed:
            batch["labels"].fill_(torch.nan)
        return {**batch, "share": share}


def group_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Put windows of similar lengths together, so that padding stays under a twentieth.

    Args:
        lengths: of each window, in word pieces.

    Returns:
        Groups of places in `lengths`, shortest first.

    >>> group_by_length([20, 5, 20, 21, 5])
    [[1, 4], [0, 2, 3]]
    """
    groups: list[list[int]] = []
    pieces = 0
    for place in sorted(range(len(lengths)), key=lambda place: (lengths[place], place)):
        length = lengths[place]
        room = (len(groups[-1]) + 1) * length if groups else 0
        if room and room <= _PIECES_AT_ONCE and room - pieces - length < _PADDING_AT_MOST * room:
            groups[-1].append(place)
            pieces += length
        else:
            groups.append([place])
            pieces = length
    return groups


def _some(items: Sequence[Any], at_most: int, drawn_by: tuple[int, int | None, int]) -> list[Any]:
    """Draw some of a row's items where there are more; the last of them without an epoch."""
    seed, epoch, row = drawn_by
    if len(items) <= at_most:
        return list(items)
    if epoch is None:
        return list(items[-at_most:])
    rng = np.random.default_rng([seed, epoch, row, 1])
    places = np.sort(rng.choice(len(items), at_most, replace=False))
    return [items[place] for place in places.tolist()]


def _batch(items: Any, pooling: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Copy arrays to memory that torch laid out, as `fusion.parts` does."""
    told: dict[str, Tensor] = {
        "pooling": torch.from_numpy(pooling).clone(),
        "labels": torch.from_numpy(np.asarray(labels, np.float32)).clone(),
    }
    return {"items": items, **told}
