"""From sentences to words, with the embedded text encoder."""

import numpy as np
import pytest
import torch

from encoders.build import build_encoder
from encoders.text import TextConfig, TextEncoder, pad_windows
from encoders.words import Words

NOTE = "History: Orthopnoea for two weeks, no fever.\nNo ankle oedema but crackles at the bases."


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return build_encoder(TextConfig())


@pytest.fixture(scope="module")
def words() -> Words:
    return Words()


def tokens(encoder: TextEncoder, text: str, *, padded: bool = False) -> np.ndarray:
    """The tokens of a text, or those of padding in place of its word pieces."""
    found = []
    for window in encoder.windows([text])[0]:
        part = pad_windows([window], padding=0)
        if padded:
            part.ids[part.segment >= 0] = encoder.tokenizer.pad_token_id
        with torch.inference_mode():
            found.append(encoder(part).values[0].numpy())
    return np.concatenate(found)


def test_each_token_has_its_place_in_the_note(words: Words, encoder: TextEncoder) -> None:
    spans = words.spans(NOTE)
    assert len(spans) == len(tokens(encoder, NOTE))
    assert [NOTE[a:b] for a, b in spans] == [
        "History: Orthopnoea for two weeks, no fever.",
        "No ankle oedema",
        "but crackles at the bases.",
    ]


def test_words_add_up_to_the_way_from_padding_to_the_sentence(
    words: Words, encoder: TextEncoder
) -> None:
    rng = np.random.default_rng(0)
    there, empty = tokens(encoder, NOTE), tokens(encoder, NOTE, padded=True)
    slopes = rng.standard_normal(there.shape)
    found = words.words(NOTE, slopes)
    for (start, end), wanted in zip(
        words.spans(NOTE), (slopes * (there - empty)).sum(axis=1), strict=True
    ):
        mine = [share for a, _, share in found if start <= a < end]
        assert sum(mine) == pytest.approx(wanted, rel=0.02, abs=0.05)


def test_each_word_comes_once_and_whole(words: Words, encoder: TextEncoder) -> None:
    slopes = np.ones_like(tokens(encoder, NOTE))
    found = [NOTE[a:b] for a, b, _ in words.words(NOTE, slopes)]
    assert "Orthopnoea" in found  # which is several word pieces
    assert "".join(found) == "".join(NOTE.split())


def test_a_note_longer_than_what_was_read_is_explained_as_far_as_it_was(words: Words) -> None:
    slopes = np.ones((1, 2 * 384))
    assert NOTE[: words.words(NOTE, slopes)[-1][1]].endswith("no fever.")


def test_a_word_that_turns_the_sentence_has_the_larger_share(
    words: Words, encoder: TextEncoder
) -> None:
    """The slope points from one sentence to another, which differ in one word."""
    sick, well = "Lungs with crackles on both sides.", "Lungs with nothing on both sides."
    slopes = tokens(encoder, sick) - tokens(encoder, well)
    shares = {sick[a:b]: share for a, b, share in words.words(sick, slopes)}
    assert max(shares, key=lambda word: shares[word]) == "crackles"
