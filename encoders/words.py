"""From a sentence's token to its words: integrated gradients through the text encoder.

Whoever reads a sentence's token knows how much it matters which way the token turns: a slope. Along
the straight way from padding to the sentence's word embeddings, each word's share of the turn is
collected (Sundararajan, Taly and Yan 2017).
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from encoders.build import build_encoder
from encoders.text import TextConfig, TextEncoder, Window, pad_windows
from encoders.threads import one_thread

__all__ = ["Words"]

_STEPS = 32
"""Points of the Gauss-Legendre rule: half as many are off by a tenth in some sentences."""


class Words:
    """Share out what sentences say among their words; the encoder is loaded when first asked."""

    def __init__(self, config: TextConfig | None = None):
        """Choose the text encoder: the one whose tokens are explained."""
        self._config = config or TextConfig()
        self._made: TextEncoder | None = None

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Say where each token of the text starts and ends, in characters."""
        pieces, offsets = self._pieces(text), self._offsets(text)
        return [(offsets[some[0]][0], offsets[some[-1]][1]) for some in pieces]

    def words(self, text: str, slopes: Float[np.ndarray, "n d"]) -> list[tuple[int, int, float]]:
        """Give where each word starts and ends, in characters, and its share in log odds.

        Args:
            text: the note.
            slopes: log odds per unit of each token, as many as the encoder gives of the text, or
                of its first.
        """
        windows = self._encoder.windows([text])[0]
        offsets, pieces = self._offsets(text), self._pieces(text)
        shares = np.zeros(len(offsets))
        done = first = 0
        for window in windows:
            tokens = len(window.negated)
            steep = slopes[first : first + tokens]
            if len(steep) < tokens:
                break
            with one_thread():
                given = self._window_shares(window, steep)
            inner = given[np.array(window.segment) >= 0]
            shares[done : done + len(inner)] = inner
            done, first = done + len(inner), first + tokens
        read = self._encoder.tokenizer(text, add_special_tokens=False).word_ids()
        found: dict[int, tuple[int, int, float]] = {}
        for place in [p for some in pieces[:first] for p in some]:
            number, (start, end) = read[place], offsets[place]
            begun, _, share = found.get(number, (start, end, 0.0))
            found[number] = (begun, end, share + float(shares[place]))
        return list(found.values())

    def _window_shares(self, window: Window, slopes: np.ndarray) -> np.ndarray:
        """Give each word piece's share, [t], special pieces and context included."""
        encoder = self._encoder
        padding = encoder.tokenizer.pad_token_id or 0
        points, weights = np.polynomial.legendre.leggauss(_STEPS)
        along = torch.tensor((points + 1) / 2, dtype=torch.float32)[:, None, None]
        part = pad_windows([window] * _STEPS, padding=padding)
        table = encoder.model.get_input_embeddings()
        with torch.no_grad():
            words = table(part.ids)
            special = part.segment[..., None] < 0
            empty = torch.where(special, words, table(torch.tensor(padding)))
        way = (empty + along * (words - empty)).requires_grad_()
        with table.register_forward_hook(lambda *call: way):
            tokens = encoder(part)
        steep = torch.tensor(slopes, dtype=torch.float32)
        (slope,) = torch.autograd.grad((tokens.values * steep).sum(), way)
        mean = (torch.tensor(weights / 2, dtype=torch.float32)[:, None, None] * slope).sum(dim=0)
        away: Tensor = words[0] - empty[0]
        return (mean * away).sum(dim=-1).double().numpy()

    def _pieces(self, text: str) -> list[list[int]]:
        """Give the word pieces of each token, counted over the whole text."""
        found: list[list[int]] = []
        place = 0
        for window in self._encoder.windows([text])[0]:
            segments = [s for s in window.segment if s >= 0]
            for number in range(len(window.negated)):
                count = segments.count(number)
                found.append(list(range(place, place + count)))
                place += count
        return found

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        read = self._encoder.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, truncation=False
        )
        # Some tokenizers count the space before a word to it.
        return [
            (min(end, start + len(text[start:end]) - len(text[start:end].lstrip())), end)
            for start, end in read["offset_mapping"]
        ]

    @property
    def _encoder(self) -> TextEncoder:
        if self._made is None:
            self._made = build_encoder(self._config)
        return self._made
