"""Timelines to padded tensors."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from encoders.vocabulary import EventVocabulary, VocabularyConfig
from fusion.parts import Parts, PartsConfig, collate, item_kinds
from ingest.schema import Modality, modality_of
from ingest.timeline import TIMELINE_COLUMNS, Timelines

NOW = pd.Timestamp("2024-01-01")


class Counting:
    """Tokens that say what was read: a note's token is its length, an image's the name's."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def notes(self, texts: list[str], *, progress: bool = False) -> list[np.ndarray]:
        self.asked += texts
        return [np.full((len(t.split()), 2), len(t), np.float32) for t in texts]

    def images(self, paths: list[Path], *, progress: bool = False) -> list[np.ndarray]:
        self.asked += [p.name for p in paths]
        return [np.full((4, 3), int(p.stem), np.float32) for p in paths]


def timelines(rows: list[list[tuple[float, str, object]]]) -> Timelines:
    """Make timelines from (days before, code, value, text or image) a row."""
    events = []
    for row, told in enumerate(rows):
        for days, code, what in sorted(told, key=lambda e: -e[0]):
            kind = modality_of(code)
            text = what if kind is Modality.NOTES else None
            image = what if kind is Modality.IMAGES else None
            value = what if kind is Modality.EVENTS else np.nan
            time = NOW - pd.Timedelta(days=days)
            events.append((row, time, days, code, value, text, None, image, str(kind)))
    return Timelines(
        index=pd.DataFrame({"subject_id": np.arange(len(rows)), "prediction_time": NOW}),
        events=pd.DataFrame(events, columns=list(TIMELINE_COLUMNS)).astype(
            {"numeric_value": np.float32}
        ),
        images=Path("/films"),
    )


ROWS = [
    [(9.0, "NOTE//A", "old words"), (2.0, "NOTE//B", "three new words"), (1.0, "L//1", 4.0)],
    [],
    [(3.0, "IMAGE//DX//PA", "7.png"), (1.0, "IMAGE//DX//AP", "9.png"), (0.5, "NOTE//A", "")],
]


def read(rows=ROWS, **sizes: int) -> Parts:
    told = timelines(rows)
    vocabulary = EventVocabulary.fit(told, VocabularyConfig(minimum_subjects=1))
    config = PartsConfig(**sizes)
    return Parts.read(
        told, vocabulary, Counting(), config, kinds=["IMAGE//DX//AP", "NOTE//A"], widths=(2, 3)
    )


def test_the_newest_items_come_first_with_their_time_and_kind() -> None:
    batch = read().batch([0, 2])
    assert batch["note_values"].shape == (2, 2, 3, 2)
    assert batch["note_time"].tolist() == [[2.0, 9.0], [0.0, 0.0]]
    assert batch["note_kind"].tolist() == [[0, 2], [0, 0]]
    assert batch["note_seen"][0].tolist() == [[True] * 3, [True, True, False]]
    assert batch["image_values"][1, :, 0, 0].tolist() == [9.0, 7.0]
    assert batch["image_kind"][1].tolist() == [1, 0]


def test_a_note_without_words_is_no_note() -> None:
    assert not read().batch([2])["note_seen"].any()


def test_a_batch_where_nobody_has_anything_keeps_its_shape() -> None:
    batch = read().batch([1, 1])
    assert batch["event_seen"].shape == (2, 1)
    assert batch["note_values"].shape == (2, 1, 1, 2)
    assert batch["image_values"].shape == (2, 1, 1, 3)
    assert not any(batch[f"{name}_seen"].any() for name in ("event", "note", "image"))


def test_a_row_is_the_same_in_any_batch() -> None:
    parts = read()
    alone, together = parts.batch([0]), parts.batch([2, 0, 1])
    for name, tensor in alone.items():
        placed = together[name][1]
        same = placed[tuple(slice(n) for n in tensor.shape[1:])]
        torch.testing.assert_close(same, tensor[0], rtol=0, atol=0, equal_nan=True)
        if name.endswith("seen"):
            assert placed.sum() == tensor.sum()


def test_only_so_many_items_and_tokens_are_kept() -> None:
    batch = read(notes_at_most=1, note_tokens_at_most=2, images_at_most=1).batch([0, 2])
    assert batch["note_values"].shape == (2, 1, 2, 2)
    assert batch["note_values"][0, 0, 0, 0] == len("three new words")
    assert batch["image_values"][1, :, 0, 0].tolist() == [9.0]


def test_equal_notes_are_read_once() -> None:
    told = timelines([[(1.0, "NOTE//A", "same")], [(2.0, "NOTE//A", "same")]])
    vocabulary, encoders = EventVocabulary.fit(told), Counting()
    Parts.read(told, vocabulary, encoders, PartsConfig(), kinds=[], widths=(2, 3))
    assert encoders.asked == ["same"]


def test_kinds_are_those_that_enough_subjects_have() -> None:
    told = timelines(
        [[(1.0, "NOTE//A", "x"), (2.0, "IMAGE//DX//PA", "1.png"), (3.0, "L//1", 1)]] * 3
    )
    assert item_kinds(told, 3) == ["IMAGE//DX//PA", "NOTE//A"]
    assert item_kinds(told, 4) == []


def test_rows_are_collated_with_their_labels() -> None:
    parts = read().labelled(np.array([[1.0], [np.nan], [0.0]]))
    batch = collate([parts[2], parts[0]])
    assert batch["labels"].tolist() == [[0.0], [1.0]]
    assert len(parts) == 3


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="images_at_most=0"):
        PartsConfig(images_at_most=0)
