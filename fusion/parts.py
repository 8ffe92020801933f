"""Timelines to padded tensors: the parts that the fusion model reads, and its collator.

A row's parts are the features of its events (`encoders.vocabulary`), and the frozen tokens of its
most recent notes and images. Rows are kept ragged, and padded batch by batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from encoders.vocabulary import EventRows, EventVocabulary
from fusion.candidates import Embedder
from fusion.share import Share, share_rows
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["ItemRows", "Parts", "PartsConfig", "Row", "collate", "item_kinds"]


@dataclass(frozen=True, kw_only=True)
class PartsConfig:
    """Bound what is kept of one row."""

    notes_at_most: int = 8
    """Notes of a row, the most recent ones."""

    note_tokens_at_most: int = 64
    """Tokens of a note, from its start."""

    images_at_most: int = 4
    """Images of a row, the most recent ones."""

    def __post_init__(self) -> None:
        for name in ("notes_at_most", "note_tokens_at_most", "images_at_most"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {name}={getattr(self, name)}")


class ItemRows(NamedTuple):
    """Hold the notes, or the images, of b rows: for each row a list of items, newest first."""

    tokens: list[list[np.ndarray]]
    """Each item is [n d] float32."""

    time: list[list[float]]
    """Days before the prediction time of each item."""

    kind: list[list[int]]
    """Position of each item's code among the kinds that train had, from 1; 0 for another."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Hold the parts of b rows and pad any of them into one batch."""

    events: EventRows
    notes: ItemRows
    images: ItemRows
    note_width: int
    image_width: int
    labels: np.ndarray | None = None
    """[b k] float32, NaN where a label cannot be known."""
    wide: np.ndarray | None = None
    """[b 5 k] float32, log odds of the wide part for train rows (`fusion.wide`)."""

    @classmethod
    def read(
        cls,
        timelines: Timelines,
        vocabulary: EventVocabulary,
        encoders: Embedder,
        config: PartsConfig,
        *,
        kinds: Sequence[str],
        widths: tuple[int, int],
        progress: bool = False,
    ) -> Self:
        """Encode timelines.

        Args:
            timelines: what was known.
            vocabulary: of the events, fitted on train.
            encoders: of notes and images.
            config: how much of a row is kept.
            kinds: codes of notes and images that train had (`item_kinds`).
            widths: of a note's and of an image's tokens.
            progress: show what the encoders read.
        """
        notes = _recent(timelines, Modality.NOTES, "text_value", config.notes_at_most)
        images = _recent(timelines, Modality.IMAGES, "image", config.images_at_most)
        texts = sorted({item.content for row in notes for item in row})
        paths = sorted({item.content for row in images for item in row})
        read_texts = encoders.notes(texts, progress=progress) if texts else []
        places = [timelines.images / path for path in paths]
        read_images = encoders.images(places, progress=progress) if places else []
        limit = config.note_tokens_at_most
        note_tokens = {t: v[:limit] for t, v in zip(texts, read_texts, strict=True)}
        image_tokens = dict(zip(paths, read_images, strict=True))
        position = {code: place for place, code in enumerate(kinds, start=1)}
        return cls(
            events=vocabulary.rows(timelines),
            notes=_items(notes, note_tokens, position),
            images=_items(images, image_tokens, position),
            note_width=widths[0],
            image_width=widths[1],
        )

    def __len__(self) -> int:
        return len(self.notes.tokens)

    def __getitem__(self, row: int) -> "Row":
        """Point at a row: a torch dataset, whose rows `collate` pads."""
        return Row(self, row)

    def labelled(self, labels: np.ndarray) -> "Parts":
        """Add labels, [b k] with NaN where one cannot be known."""
        return replace(self, labels=np.array(labels, dtype=np.float32))

    def batch(self, rows: Sequence[int], share: Share | None = None) -> dict[str, Tensor]:
        """Pad some rows into the tensors that `RiskModel.forward` takes, by name.

        Given a share, only its rows are there, padded as they would be among all.
        """
        here = rows if share is None else share.of(rows)
        padded = {
            **self._events(here, rows),
            **_pad("note", self.notes, here, rows, self.note_width),
            **_pad("image", self.images, here, rows, self.image_width),
        }
        if self.labels is not None:
            padded["labels"] = _aligned(self.labels[list(here)])
            if share is not None and share.borrowed:
                padded["labels"].fill_(torch.nan)
        if self.wide is not None:
            padded["wide"] = _aligned(self.wide[list(here)])
        return padded

    def _events(self, rows: Sequence[int], among: Sequence[int]) -> dict[str, Tensor]:
        start = self.events.start
        count = [int(start[row + 1] - start[row]) for row in rows]
        b, n = len(count), max([1, *(int(start[row + 1] - start[row]) for row in among)])
        feature = np.zeros((b, n), dtype=np.int64)
        value = np.full((b, n), np.nan, dtype=np.float32)
        time = np.zeros((b, n), dtype=np.float32)
        seen = np.zeros((b, n), dtype=bool)
        for place, row in enumerate(rows):
            here = slice(start[row], start[row + 1])
            feature[place, : count[place]] = self.events.feature[here]
            value[place, : count[place]] = self.events.value[here]
            time[place, : count[place]] = self.events.time[here]
            seen[place, : count[place]] = True
        return {
            "event_feature": _aligned(feature),
            "event_value": _aligned(value),
            "event_time": _aligned(time),
            "event_seen": _aligned(seen),
        }


class Row(NamedTuple):
    """Point at one row of some parts."""

    parts: Parts
    row: int


def collate(rows: Sequence[Row]) -> dict[str, Any]:
    """Pad rows of the same parts into one batch, or this process's share: a Trainer's collator."""
    share = share_rows(len(rows))
    batch = rows[0].parts.batch([row.row for row in rows], share)
    return batch if share is None else {**batch, "share": share}


def item_kinds(timelines: Timelines, minimum_subjects: int = 5) -> list[str]:
    """List the codes of notes and images that enough train subjects have."""
    events = timelines.events
    items = events[events["modality"] != str(Modality.EVENTS)]
    subjects = timelines.index["subject_id"].to_numpy()[items["row"].to_numpy(np.int64)]
    counts = items.assign(subject=subjects).groupby("code")["subject"].nunique()
    return sorted(str(code) for code in counts[counts >= minimum_subjects].index)


class _Item(NamedTuple):
    content: str
    """A note's text or an image's path."""
    time: float
    code: str


def _recent(
    timelines: Timelines, modality: Modality, column: str, at_most: int
) -> list[list[_Item]]:
    """Give each row's most recent notes or images, newest first."""
    part = timelines.part(modality)
    part = part[part[column].notna()].iloc[::-1]  # sorted by time, so reversed is newest first
    found: list[list[_Item]] = [[] for _ in range(len(timelines))]
    rows, days = part["row"].tolist(), part["days_before"].fillna(0.0).tolist()
    for row, content, time, code in zip(
        rows, part[column].tolist(), days, part["code"].tolist(), strict=True
    ):
        if len(found[row]) < at_most:
            found[row].append(_Item(str(content), float(time), str(code)))
    return found


def _items(
    rows: list[list[_Item]], tokens: dict[str, np.ndarray], position: dict[str, int]
) -> ItemRows:
    kept = [[item for item in row if len(tokens[item.content])] for row in rows]
    return ItemRows(
        [[tokens[item.content] for item in row] for row in kept],
        [[item.time for item in row] for row in kept],
        [[position.get(item.code, 0) for item in row] for row in kept],
    )


def _pad(
    name: str, items: ItemRows, rows: Sequence[int], among: Sequence[int], width: int
) -> dict[str, Tensor]:
    whole = [items.tokens[row] for row in among]
    b, i = len(rows), max([1, *(len(row) for row in whole)])
    n = max([1, *(len(item) for row in whole for item in row)])
    values = np.zeros((b, i, n, width), dtype=np.float32)
    seen = np.zeros((b, i, n), dtype=bool)
    time = np.zeros((b, i), dtype=np.float32)
    kind = np.zeros((b, i), dtype=np.int64)
    for place, row in enumerate(rows):
        time[place, : len(items.time[row])] = items.time[row]
        kind[place, : len(items.kind[row])] = items.kind[row]
        for number, item in enumerate(items.tokens[row]):
            values[place, number, : len(item)] = item
            seen[place, number, : len(item)] = True
    return {
        f"{name}_values": _aligned(values),
        f"{name}_seen": _aligned(seen),
        f"{name}_time": _aligned(time),
        f"{name}_kind": _aligned(kind),
    }


def _aligned(array: np.ndarray) -> Tensor:
    """Copy to memory that torch laid out: from NumPy's, vector kernels can differ in a last bit."""
    return torch.from_numpy(array).clone()
