"""Frozen encoders behind a cache of their tokens: each note and image is read once, ever.

An item's tokens depend on nothing but the item, to the last bit on a CPU: else a run would depend
on who filled the cache. The order in which a sum is taken may depend on the shape of what is read
(on the padding always, on the number of rows with some processors' kernels). So a note's windows
are read in batches whose shape each window decides alone, filled up where windows are missing, and
images one by one. That takes 1.11 times the processor time of batches padded to their longest for
notes, and 0.72 times that of batches of eight for images, which a core's cache cannot hold.
"""

import copy
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from tqdm import tqdm

from encoders.build import build_encoder
from encoders.cache import Shelf, open_shelf
from encoders.image import ImageConfig, ImageEncoder, read_image
from encoders.negation import CUES_VERSION
from encoders.squares import Squares
from encoders.text import TextConfig, TextEncoder, Window, pad_windows
from encoders.threads import side_by_side
from encoders.views import VIEWS_VERSION, another_view
from encoders.weights import fingerprint
from ingest.errors import RunError

__all__ = ["FrozenEncoders"]

_log = logging.getLogger(__name__)

_ARITHMETIC = 2
"""Raised when tokens change in their last bits: those of an older cache are not mixed with new."""

_STEP = 4  # word pieces; a window is padded to a multiple, so that few shapes serve all
_PIECES, _IMAGES = 192, 1  # a batch; smaller is slower, larger wastes more on filling up
_PIECES_ELSEWHERE, _IMAGES_ELSEWHERE = 8192, 32  # a GPU needs more at once
_PROBE = "Café-au-lait naevi, 3.5 mg/dL; NYHA III–IV, dyspnoea. 心衰"
_AT_ONCE = 512  # notes or images that are read before any is written: what a kill can cost


class FrozenEncoders:
    """Read notes and images with weights that nothing trains; models are loaded when needed."""

    def __init__(
        self,
        cache: Path | None = None,
        *,
        text: str | None = None,
        image: str | None = None,
        device: str = "cpu",
    ):
        """Choose the encoders.

        Args:
            cache: directory of the token cache; None reads everything anew. One that cannot be
                written is read, and what it lacks is read anew each time.
            text: Hugging Face name or directory; None is the embedded MiniLM.
            image: timm name or directory; None is the embedded EfficientNet-Lite0.
            device: where torch computes.
        """
        self.text_config = TextConfig(weights=text)
        self.image_config = ImageConfig(weights=image)
        self._cache = cache
        self._told = False
        self._device = device

    @property
    def text_width(self) -> int:
        """Say how wide a note's tokens are."""
        return self._text.width

    @property
    def image_width(self) -> int:
        """Say how wide an image's tokens are."""
        return self._image.width

    @cached_property
    def preprocessing(self) -> dict[str, Any]:
        """Say how text and pixels are prepared and with which weights, as JSON."""
        return {"text": self._text_preprocessing, "image": self._image_preprocessing}

    def check(self, stated: Mapping[str, Any]) -> None:
        """Refuse a model that was trained on the tokens of other encoders.

        Raises:
            RunError: weights or preprocessing differ from what the model states.
        """
        for part, mine in self.preprocessing.items():
            theirs = stated.get(part, {})
            differing = sorted(
                name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)
            )
            if differing:
                name = differing[0]
                raise RunError(
                    f"the run was trained with another {part} encoder: {name} was "
                    f"{theirs.get(name)!r} and is {mine.get(name)!r}; give the encoder that it was "
                    "trained with"
                )

    def notes(self, texts: Sequence[str], *, progress: bool = False) -> list[np.ndarray]:
        """Give each text's tokens, [n d] float32, one a sentence; n is 0 for an empty text."""
        keys = [hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() for text in texts]
        return self._through_cache(
            keys, list(texts), self._text_preprocessing, self._read_notes, "notes", progress
        )

    def images(self, paths: Sequence[Path], *, progress: bool = False) -> list[np.ndarray]:
        """Give each image's tokens, [n d] float32, row by row from the top left.

        Raises:
            InputError: a file is missing or is no image.
        """
        keys = [_file_key(path) for path in paths]
        return self._through_cache(
            keys, list(paths), self._image_preprocessing, self._read_images, "images", progress
        )

    def image_views(self, paths: Sequence[Path], *, progress: bool = False) -> list[np.ndarray]:
        """Give each image's tokens as another view of it has them (`encoders.views`), [n d].

        Raises:
            InputError: a file is missing or is no image.
        """
        keys = [_file_key(path) for path in paths]
        made = {**self._image_preprocessing, "view": VIEWS_VERSION}
        return self._through_cache(keys, list(paths), made, self._read_views, "views", progress)

    def squares(self, paths: Sequence[Path], *, progress: bool = False) -> Squares:
        """Decode images once into a file beside the token cache, as the image encoder sees them.

        Raises:
            InputError: a file is missing or is no image.
        """
        return Squares(paths, self.image_config.size_px, place=self._cache, progress=progress)

    def text_encoder(self) -> TextEncoder:
        """Give a copy of the text encoder: whoever trains it changes nothing here."""
        mine = self._text
        return TextEncoder(mine.config, copy.deepcopy(mine.model).cpu(), mine.tokenizer)

    def image_encoder(self) -> ImageEncoder:
        """Give a copy of the image encoder: whoever trains it changes nothing here."""
        return copy.deepcopy(self._image).cpu()

    def reading_with(
        self, *, text: TextEncoder | None = None, image: ImageEncoder | None = None
    ) -> Self:
        """Give encoders that read as these do, but with the weights of the given ones.

        Their tokens go into the same cache, where the hash of the weights keeps them apart.
        """
        made = copy.copy(self)
        for name, encoder in (("text", text), ("image", image)):
            if encoder is not None:
                vars(made).pop("preprocessing", None)
                vars(made).pop(f"_{name}_preprocessing", None)
                vars(made)[f"_{name}"] = encoder.to(self._device).eval()
        return made

    @cached_property
    def _text(self) -> TextEncoder:
        return build_encoder(self.text_config).to(self._device)

    @cached_property
    def _image(self) -> ImageEncoder:
        return build_encoder(self.image_config).to(self._device)

    @cached_property
    def _text_preprocessing(self) -> dict[str, Any]:
        config = self.text_config
        return {
            "weights_sha256": fingerprint(self._text.model),
            "tokenizer_sha256": _tokenizer_key(self._text.tokenizer),
            "window": config.window,
            "segments": config.segments,
            "context": config.context,
            "segment": config.segment,
            "pieces_at_most": config.pieces_at_most,
            "negation": CUES_VERSION,
        }

    @cached_property
    def _image_preprocessing(self) -> dict[str, Any]:
        config = self.image_config
        return {
            "weights_sha256": fingerprint(self._image.backbone),
            "size_px": config.size_px,
            "grid": config.grid,
            "maps": list(config.maps),
            "mean": _one_or_all(self._image.mean),
            "std": _one_or_all(self._image.std),
        }

    def _through_cache(
        self,
        keys: list[str],
        contents: list[Any],
        preprocessing: dict[str, Any],
        read: Callable[[list[Any]], Iterator[tuple[int, np.ndarray]]],
        what: str,
        progress: bool,
    ) -> list[np.ndarray]:
        made = {**preprocessing, "arithmetic": _ARITHMETIC}
        name = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
        cache = open_shelf(self._cache, f"{what}-{name[:16]}")
        known: dict[str, np.ndarray] = {}
        wanted: dict[str, Any] = {}
        for key, content in zip(keys, contents, strict=True):
            if key in known or key in wanted:
                continue
            found = cache.get(key) if cache else None
            if found is None:
                wanted[key] = content
            else:
                known[key] = found
        missing = list(wanted)
        with tqdm(total=len(missing), desc=what, disable=not progress or not missing) as bar:
            for start in range(0, len(missing), _AT_ONCE):
                some = missing[start : start + _AT_ONCE]
                for place, tokens in read([wanted[key] for key in some]):
                    known[some[place]] = tokens
                    if cache:
                        self._keep(cache, some[place], tokens)
                    bar.update()
        return [known[key] for key in keys]

    def _keep(self, cache: Shelf, key: str, tokens: np.ndarray) -> None:
        """Put tokens into the cache; where it cannot be written, say so once and go on without."""
        try:
            cache.put(key, tokens)
        except OSError as error:
            if not self._told:
                _log.warning("the token cache is not written: %s", error.strerror or error)
            self._told = True

    def _read_notes(self, texts: list[str]) -> Iterator[tuple[int, np.ndarray]]:
        """Read equal windows once, and windows of the same shape together."""
        cut = self._text.windows(texts)
        keys = [[(*w.ids, *w.segment, *w.negated) for w in windows] for windows in cut]
        unique = {
            key: w for ks, ws in zip(keys, cut, strict=True) for key, w in zip(ks, ws, strict=True)
        }
        most = _PIECES if self._device == "cpu" else _PIECES_ELSEWHERE
        batches = list(_batches(unique, self.text_config.window, most))
        told = side_by_side(self._text_tokens, batches, device=self._device)
        tokens: dict[tuple[int, ...], np.ndarray] = {}
        for batch, read in zip(batches, told, strict=True):
            tokens.update(zip(batch.windows, read, strict=True))
        nothing = np.zeros((0, self.text_width), dtype=np.float32)
        for place, windows in enumerate(keys):
            yield place, np.concatenate([nothing, *(tokens[key] for key in windows)])

    def _text_tokens(self, batch: "_Batch") -> list[np.ndarray]:
        padding = self._text.tokenizer.pad_token_id or 0
        windows = list(batch.windows.values())
        filled = windows + windows[:1] * (batch.size - len(windows))
        with torch.inference_mode():
            part = pad_windows(filled, padding=padding, at_least=batch.pieces, device=self._device)
            tokens = self._text(part)
        values, seen = tokens.values.float().cpu().numpy(), tokens.seen.cpu().numpy()
        return [values[place][seen[place]] for place in range(len(windows))]

    def _read_images(self, paths: list[Path]) -> Iterator[tuple[int, np.ndarray]]:
        yield from self._read_squares(paths, self._image_tokens)

    def _read_views(self, paths: list[Path]) -> Iterator[tuple[int, np.ndarray]]:
        yield from self._read_squares(paths, partial(self._image_tokens, view=True))

    def _read_squares(
        self, paths: list[Path], read: Callable[[list[Path]], np.ndarray]
    ) -> Iterator[tuple[int, np.ndarray]]:
        most = _IMAGES if self._device == "cpu" else _IMAGES_ELSEWHERE
        batches = [paths[start : start + most] for start in range(0, len(paths), most)]
        told = side_by_side(read, batches, device=self._device)
        yield from enumerate(tokens.copy() for batch in told for tokens in batch)

    def _image_tokens(self, paths: list[Path], *, view: bool = False) -> np.ndarray:
        squares = [read_image(path, self.image_config.size_px) for path in paths]
        if view:
            squares = [another_view(square) for square in squares]
        with torch.inference_mode():
            tokens = self._image(self._image.prepare(squares, self._device))
        return tokens.values.float().cpu().numpy()


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Hold windows that are read together, by key."""

    windows: dict[tuple[int, ...], Window]
    pieces: int
    """Word pieces that each is padded to."""
    size: int
    """Windows that the batch is filled up to."""


def _batches(
    windows: Mapping[tuple[int, ...], Window], longest: int, most: int
) -> Iterator[_Batch]:
    """Group windows by shapes that each window decides alone: of tokens, word pieces and batch."""
    by_shape: dict[tuple[int, int], list[tuple[int, ...]]] = {}
    for key, window in windows.items():
        pieces = min(-(-len(window.ids) // _STEP) * _STEP, longest)
        by_shape.setdefault((pieces, len(window.negated)), []).append(key)
    for (pieces, _), keys in sorted(by_shape.items()):
        size = max(1, most // pieces)
        for start in range(0, len(keys), size):
            some = {key: windows[key] for key in keys[start : start + size]}
            yield _Batch(windows=some, pieces=pieces, size=size)


def _one_or_all(channels: tuple[float, float, float]) -> float | list[float]:
    """Say three equal numbers as one."""
    return channels[0] if len(set(channels)) == 1 else list(channels)


def _tokenizer_key(tokenizer: Any) -> str:
    """Hash what a tokenizer does; its own JSON changes with use (padding) and with versions."""
    pieces = sorted(tokenizer.get_vocab().items())
    ids = tokenizer(_PROBE, add_special_tokens=True)["input_ids"]
    return hashlib.sha256(json.dumps([pieces, ids]).encode()).hexdigest()


def _file_key(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return hashlib.sha256(str(path).encode()).hexdigest()  # reading it will say what is wrong
