"""Frozen encoders and their token cache: each note and image is read once, ever.

The cache is a directory of one small file a note or image, under a name that is the SHA-256 of its
content, in a folder named by the SHA-256 of weights and preprocessing: another encoder, or another
size, cannot be taken for it. A file holds its own SHA-256 before an .npy array; one that does not
fit is made again. Files are written aside and moved into place, so any number of processes may
read and write at once. Tokens can be turned back into much of a text, so only the owner may read.
"""

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from encoders.build import build_encoder
from encoders.image import ImageConfig, ImageEncoder, read_image
from encoders.negation import CUES_VERSION
from encoders.text import TextConfig, TextEncoder, Window, pad_windows
from encoders.threads import side_by_side
from encoders.weights import fingerprint
from ingest.errors import RunError

__all__ = ["FrozenEncoders", "TokenCache"]

_PIECES_A_BATCH = 2048  # word pieces with padding: what stays in a core's cache is read fastest
_IMAGES_A_BATCH = 8
_DIGEST_BYTES = 32
_PROBE = "Café-au-lait naevi, 3.5 mg/dL; NYHA III–IV, dyspnoea. 心衰"
_AT_ONCE = 512  # notes or images that are read before any is written: what a kill can cost


class TokenCache:
    """Keep arrays on disk under hexadecimal keys."""

    def __init__(self, folder: Path):
        self.folder = folder

    def get(self, key: str) -> np.ndarray | None:
        """Give the array of a key, or None where there is none or it is damaged."""
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            return None
        return np.load(io.BytesIO(body), allow_pickle=False)

    def put(self, key: str, tokens: np.ndarray) -> None:
        """Keep an array; whoever reads at the same time sees the whole of it or nothing."""
        buffer = io.BytesIO()
        np.save(buffer, tokens, allow_pickle=False)
        body = buffer.getvalue()
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, aside = tempfile.mkstemp(dir=path.parent, suffix=".part")  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(body).digest() + body)
            Path(aside).replace(path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.tokens"


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
            cache: directory of the token cache; None reads everything anew.
            text: Hugging Face name or directory; None is the embedded MiniLM.
            image: timm name or directory; None is the embedded EfficientNet-Lite0.
            device: where torch computes.
        """
        self.text_config = TextConfig(weights=text)
        self.image_config = ImageConfig(weights=image)
        self._cache = cache
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
            "scales": config.scales,
            "mean": config.mean,
            "std": config.std,
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
        name = hashlib.sha256(json.dumps(preprocessing, sort_keys=True).encode()).hexdigest()
        cache = TokenCache(self._cache / f"{what}-{name[:16]}") if self._cache else None
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
                        cache.put(some[place], tokens)
                    bar.update()
        return [known[key] for key in keys]

    def _read_notes(self, texts: list[str]) -> Iterator[tuple[int, np.ndarray]]:
        """Read equal windows once, and windows of like length together."""
        cut = self._text.windows(texts)
        keys = [[(*w.ids, *w.negated) for w in windows] for windows in cut]
        unique = {
            key: w for ks, ws in zip(keys, cut, strict=True) for key, w in zip(ks, ws, strict=True)
        }
        batches = list(_batches([unique[key] for key in sorted(unique, key=len)]))
        told = side_by_side(self._text_tokens, batches, device=self._device)
        read = (tokens for batch in told for tokens in batch)
        tokens = dict(zip(sorted(unique, key=len), read, strict=True))
        nothing = np.zeros((0, self.text_width), dtype=np.float32)
        for place, windows in enumerate(keys):
            yield place, np.concatenate([nothing, *(tokens[key] for key in windows)])

    def _text_tokens(self, windows: list[Window]) -> list[np.ndarray]:
        padding = self._text.tokenizer.pad_token_id or 0
        with torch.inference_mode():
            tokens = self._text(pad_windows(windows, padding=padding, device=self._device))
        values, seen = tokens.values.float().cpu().numpy(), tokens.seen.cpu().numpy()
        return [value[there] for value, there in zip(values, seen, strict=True)]

    def _read_images(self, paths: list[Path]) -> Iterator[tuple[int, np.ndarray]]:
        starts = range(0, len(paths), _IMAGES_A_BATCH)
        batches = [paths[start : start + _IMAGES_A_BATCH] for start in starts]
        told = side_by_side(self._image_tokens, batches, device=self._device)
        yield from enumerate(tokens.copy() for batch in told for tokens in batch)

    def _image_tokens(self, paths: list[Path]) -> np.ndarray:
        squares = [read_image(path, self.image_config.size_px) for path in paths]
        with torch.inference_mode():
            tokens = self._image(self._image.prepare(squares, self._device))
        return tokens.values.float().cpu().numpy()


def _batches(windows: list[Window]) -> Iterator[list[Window]]:
    """Group windows, sorted by length, so that each group is a bounded amount of work."""
    batch: list[Window] = []
    for window in windows:
        if batch and (len(batch) + 1) * len(window.ids) > _PIECES_A_BATCH:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


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
