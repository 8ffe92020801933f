"""Notes to tokens."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encoders.build import build_encoder
from encoders.negation import is_negated
from encoders.text import TextConfig, TextEncoder, pad_windows
from ingest.errors import UsageError


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return build_encoder(TextConfig())


def read(encoder: TextEncoder, text: str) -> np.ndarray:
    windows = encoder.windows([text])[0]
    with torch.inference_mode():
        tokens = encoder(pad_windows(windows, padding=0))
    return torch.cat([v[s] for v, s in zip(tokens.values, tokens.seen, strict=True)]).numpy()


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    half = len(a) // 2
    a, b = a[:half], b[:half]
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_sentences_that_mean_the_same_lie_close_together(encoder: TextEncoder) -> None:
    one, other, far = read(
        encoder,
        "She is short of breath when walking. The patient gets breathless on walking. "
        "He broke his left wrist in 2012.",
    )
    assert likeness(one, other) > 0.6
    assert likeness(one, far) < 0.4


def test_a_denial_turns_the_sign_of_the_second_half(encoder: TextEncoder) -> None:
    denied, told = read(encoder, "No swelling of the legs. Swelling of the legs.")
    half = encoder.width // 2
    np.testing.assert_array_equal(denied[half:], -denied[:half])
    np.testing.assert_array_equal(told[half:], told[:half])


@pytest.mark.parametrize(
    ("sentence", "denies"),
    [
        ("Patient denies chest pain.", True),
        ("Lungs free of crackles.", True),
        ("Pneumonia cannot be excluded.", False),
        ("No doubt a large heart.", False),
        ("Notes were reviewed.", False),
        ("双下肢无水肿。", True),
        ("双下肢水肿。", False),
    ],
)
def test_denials_are_told_from_what_looks_like_them(sentence: str, denies: bool) -> None:
    assert is_negated(sentence) is denies


def test_a_token_is_a_sentence_and_but_starts_a_new_one(encoder: TextEncoder) -> None:
    windows = encoder.windows(["No chest pain at night, but the legs are swollen. Seen today."])[0]
    assert [w.negated for w in windows] == [[True], [False], [False]]


@given(
    text=st.text(alphabet="abc XYZ.,;\n!?é心痛。0", max_size=400),
    segments=st.integers(1, 4),
    context=st.integers(0, 5),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_each_word_piece_is_in_one_segment_of_one_window(
    encoder: TextEncoder, text: str, segments: int, context: int
) -> None:
    config = TextConfig(segments=segments, context=context, segment=6, window=24)
    cutter = TextEncoder(config, encoder.model, encoder.tokenizer)
    told = [
        piece
        for window in cutter.windows([text])[0]
        for piece, number in zip(window.ids, window.segment, strict=True)
        if number >= 0
    ]
    assert told == encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
    for window in cutter.windows([text])[0]:
        assert len(window.ids) <= config.window
        assert sorted(set(window.segment) - {-1}) == list(range(len(window.negated)))


def test_an_empty_note_has_no_window(encoder: TextEncoder) -> None:
    assert encoder.windows(["", " \n "]) == [[], []]
    assert encoder.windows([]) == []


def test_a_very_long_note_is_read_to_its_limit(encoder: TextEncoder) -> None:
    config = TextConfig(pieces_at_most=300, segments=8, context=16)
    cutter = TextEncoder(config, encoder.model, encoder.tokenizer)
    windows = cutter.windows(["The heart is large and the lungs are clear. " * 400])[0]
    assert sum(number >= 0 for w in windows for number in w.segment) == 300


def test_padding_is_not_read(encoder: TextEncoder) -> None:
    short, long = encoder.windows(["Leg oedema.", "Shortness of breath at rest since Monday."])
    with torch.inference_mode():
        alone = encoder(pad_windows(short, padding=0)).values[0, 0]
        together = encoder(pad_windows([*short, *long], padding=0)).values[0, 0]
        other = encoder(pad_windows([*short, *long], padding=77)).values[0, 0]
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)
    torch.testing.assert_close(other, together, atol=1e-5, rtol=0)


def test_an_encoder_that_cannot_be_had_names_the_embedded_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=r"'nobody/clinical' cannot be had.*all-MiniLM-L6-v2"):
        build_encoder(TextConfig(weights="nobody/clinical"))


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="window=64, segment=60, context=8"):
        TextConfig(window=64, segment=60, context=8)
    with pytest.raises(ValueError, match="segment=1, segments=1, context=0"):
        TextConfig(segment=1)
    with pytest.raises(UsageError, match="window=1024, it reads 512"):
        build_encoder(TextConfig(window=1024))
