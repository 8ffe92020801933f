"""Where frozen tokens are kept: on disk beside a store, or in memory for as long as an upload.

The cache is a directory of one small file a note or image, under a name that is the SHA-256 of its
content, in a folder named by the SHA-256 of weights and preprocessing: another encoder, or another
size, cannot be taken for it. A file holds its own SHA-256 before an .npy array; one that does not
fit is made again. Files are written aside and moved into place, so any number of processes may
read and write at once. Tokens can be turned back into much of a text, so only the owner may read.
"""

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol

import numpy as np

__all__ = ["MemoryCache", "Shelf", "TokenCache", "open_shelf", "tokens_in_memory"]

_DIGEST_BYTES = 32


class Shelf(Protocol):
    """Keep arrays under hexadecimal keys."""

    def get(self, key: str) -> np.ndarray | None:
        """Give the array of a key, or None where there is none."""
        ...

    def put(self, key: str, tokens: np.ndarray) -> None:
        """Keep an array."""
        ...


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
        """Keep an array; whoever reads at the same time sees the whole of it or nothing.

        Raises:
            OSError: the place cannot be written.
        """
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


class MemoryCache:
    """Keep arrays in memory."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def get(self, key: str) -> np.ndarray | None:
        """Give the array of a key, or None where there is none."""
        return self._arrays.get(key)

    def put(self, key: str, tokens: np.ndarray) -> None:
        """Keep an array."""
        self._arrays[key] = tokens


# Of a context and not of an encoder: two threads may ask the same one, for a store and an upload.
_in_memory: ContextVar[dict[str, MemoryCache] | None] = ContextVar("in_memory", default=None)


@contextmanager
def tokens_in_memory() -> Iterator[None]:
    """Neither read nor write a cache on disk within this context; what is kept ends with it."""
    token = _in_memory.set({})
    try:
        yield
    finally:
        _in_memory.reset(token)


def open_shelf(place: Path | None, name: str) -> Shelf | None:
    """Give where tokens of one kind are kept: None is nowhere."""
    remembered = _in_memory.get()
    if remembered is not None:
        return remembered.setdefault(name, MemoryCache())
    return TokenCache(place / name) if place else None
