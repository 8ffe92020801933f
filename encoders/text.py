"""Text to tokens: a Hugging Face encoder read sentence by sentence.

A note is cut into segments at the ends of sentences, at line breaks and before "but" and its like.
A token is the mean of the states of a segment's word pieces, which is what sentence encoders are
trained for, and once more with its sign turned where the segment denies (`encoders.negation`).

Each segment is read by itself: on simulated notes that told a hidden state better than reading
sentences in the context of the whole note (AUROC 0.82 against 0.77 by a linear probe on the mean),
equal sentences are read once, and a note may have any length. For encoders that need context,
`segments` and `context` read several at once, with word pieces on both sides.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from encoders.negation import is_negated
from encoders.tokens import Tokens

__all__ = ["TextConfig", "TextEncoder", "Window", "WordPieces", "pad_windows"]

_SENTENCE_END = re.compile(
    r"(?<=[.!?;])\s+|(?<=[。！？；])|\s*\n\s*|,?\s+(?=(?:but|however|although|though|except)\b)|，但",
    re.IGNORECASE,
)
_SHORTEST = 3  # word pieces; "HISTORY:" alone says nothing, so it joins the segment that follows


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Choose the text encoder and how a note is cut."""

    weights: str | None = None
    """A Hugging Face name or a local directory; None is the embedded MiniLM."""

    window: int = 256
    """Word pieces that the encoder reads at once, its two special ones included."""

    segments: int = 1
    """Segments that are read at once at most."""

    context: int = 0
    """Word pieces on each side of a window that only lend context."""

    segment: int = 64
    """Word pieces that one token covers at most."""

    pieces_at_most: int = 4096
    """Word pieces of a note that are read, from its start: some ten printed pages."""

    def __post_init__(self) -> None:
        if self.segment < _SHORTEST or self.context < 0 or self.segments < 1:
            raise ValueError(
                f"segment must be at least {_SHORTEST}, segments 1 and context 0; got "
                f"segment={self.segment}, segments={self.segments}, context={self.context}"
            )
        if self.window < self.segment + 2 * self.context + 2:
            raise ValueError(
                "window must hold a segment, the context on both sides and 2 special pieces; got "
                f"window={self.window}, segment={self.segment}, context={self.context}"
            )


@dataclass(frozen=True, kw_only=True)
class Window:
    """Hold a stretch of one note as the encoder reads it."""

    ids: list[int]
    segment: list[int]
    """For each word piece its segment, from 0; -1 for what only lends context."""
    negated: list[bool]
    """For each segment whether it denies."""


@dataclass(frozen=True, kw_only=True)
class WordPieces:
    """Hold `b` windows of `t` word pieces, padded to the longest."""

    ids: Int[Tensor, "b t"]
    seen: Bool[Tensor, "b t"]
    segment: Int[Tensor, "b t"]
    """-1 for what only lends context and for padding."""
    sign: Float[Tensor, "b n"]
    """-1 where a segment denies, else 1."""

    time: Float[Tensor, " b"]
    """Days before the prediction time of the window's note."""


class TextEncoder(nn.Module):
    """Read windows of notes; `encoders.build.build_encoder` makes one from a TextConfig."""

    def __init__(self, config: TextConfig, model: nn.Module, tokenizer):
        super().__init__()
        self.config = config
        self.model = model
        self.tokenizer = tokenizer
        self.width = 2 * int(model.config.hidden_size)

    def forward(self, part: WordPieces) -> Tokens:
        """Give a token for each segment of each window."""
        states = self.model(input_ids=part.ids, attention_mask=part.seen.long()).last_hidden_state
        count = part.sign.shape[1]
        wanted = torch.arange(count, device=states.device)
        member = (part.segment[:, None, :] == wanted[:, None]).to(states.dtype)  # b n t
        pieces = member.sum(dim=2, keepdim=True)
        means = member @ states / pieces.clamp(min=1)
        return Tokens(
            values=torch.cat([means, means * part.sign[..., None]], dim=-1),
            seen=pieces[:, :, 0] > 0,
            time=part.time[:, None].expand(-1, count),
        )

    def windows(self, texts: Sequence[str]) -> list[list[Window]]:
        """Cut each text into windows; a text without a word piece has none."""
        if not texts:
            return []
        read = self.tokenizer(
            list(texts), add_special_tokens=False, return_offsets_mapping=True, truncation=False
        )
        limit = self.config.pieces_at_most
        return [
            self._cut(text, ids[:limit], offsets[:limit])
            for text, ids, offsets in zip(
                texts, read["input_ids"], read["offset_mapping"], strict=True
            )
        ]

    def _cut(self, text: str, ids: list[int], offsets: list[tuple[int, int]]) -> list[Window]:
        config = self.config
        ends = _segment_ends(text, offsets, config.segment)
        room = config.window - 2 - 2 * config.context
        windows, first = [], 0
        while first < len(ends):
            start = ends[first - 1] if first else 0
            last = first
            while (
                last + 1 < len(ends)
                and last + 1 - first < config.segments
                and ends[last + 1] - start <= room
            ):
                last += 1
            windows.append(self._window(text, ids, offsets, start, ends[first : last + 1]))
            first = last + 1
        return windows

    def _window(
        self,
        text: str,
        ids: list[int],
        offsets: list[tuple[int, int]],
        start: int,
        ends: list[int],
    ) -> Window:
        left = max(0, start - self.config.context)
        right = min(len(ids), ends[-1] + self.config.context)
        segment, negated = [-1] * (start - left), []
        for number, end in enumerate(ends):
            segment += [number] * (end - start)
            negated.append(is_negated(text[offsets[start][0] : offsets[end - 1][1]]))
            start = end
        segment += [-1] * (right - start)
        opening, closing = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        pieces = list(ids[left:right])
        if opening is not None:
            pieces, segment = [opening, *pieces], [-1, *segment]
        if closing is not None:
            pieces, segment = [*pieces, closing], [*segment, -1]
        return Window(ids=pieces, segment=segment, negated=negated)


def pad_windows(
    windows: Sequence[Window], *, padding: int, at_least: int = 0, device: str = "cpu"
) -> WordPieces:
    """Put windows side by side, padded to the longest and to `at_least` so many word pieces."""
    b, t = len(windows), max(at_least, *(len(window.ids) for window in windows))
    sign = torch.ones((b, max(len(window.negated) for window in windows)))
    ids = torch.full((b, t), padding)
    seen = torch.zeros((b, t), dtype=torch.bool)
    segment = torch.full((b, t), -1)
    for place, window in enumerate(windows):
        n = len(window.ids)
        ids[place, :n] = torch.tensor(window.ids)
        seen[place, :n] = True
        segment[place, :n] = torch.tensor(window.segment)
        sign[place, : len(window.negated)] -= 2.0 * torch.tensor(window.negated)
    return WordPieces(
        ids=ids.to(device),
        seen=seen.to(device),
        segment=segment.to(device),
        sign=sign.to(device),
        time=torch.zeros(b, device=device),
    )


def _segment_ends(text: str, offsets: Sequence[tuple[int, int]], longest: int) -> list[int]:
    """Say after which word piece each segment ends.

    >>> _segment_ends("Pain. No cough.", [(0, 4), (4, 5), (6, 8), (9, 14), (14, 15)], 48)
    [5]
    >>> offsets = [(0, 2), (3, 7), (7, 8), (9, 11), (12, 17), (17, 18)]
    >>> _segment_ends("No pain. No cough.", offsets, 48)
    [3, 6]
    """
    breaks = [found.end() for found in _SENTENCE_END.finditer(text)] + [len(text) + 1]
    ends: list[int] = []
    start = place = 0
    for piece, (begin, _) in enumerate(offsets):
        if begin >= breaks[place]:
            while begin >= breaks[place]:
                place += 1
            if piece - start >= _SHORTEST:
                ends.append(piece)
                start = piece
        if piece - start >= longest:
            ends.append(piece)
            start = piece
    if len(offsets) > start:
        if ends and len(offsets) - start < _SHORTEST and len(offsets) - _before(ends) <= longest:
            ends.pop()  # the last words of a note join the segment before them
        ends.append(len(offsets))
    return ends


def _before(ends: list[int]) -> int:
    return ends[-2] if len(ends) > 1 else 0
