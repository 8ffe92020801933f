"""Images decoded once: squares of 8 bits in a file without a name, for who reads them many times.

An epoch of training reads each image anew, and decoding one takes longer than a small network needs
for it. What is decoded lies in a file that has no name, so that it goes with the process, whatever
ends that. A batch maps the file, copies its images and lets go of it: memory grows with the batch
and not with the number of images.

Pickled, it is the way to that file, for other processes of this machine to read while it is open.
"""

import logging
import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from encoders.image import read_image
from encoders.threads import side_by_side

__all__ = ["Squares"]

_log = logging.getLogger(__name__)


class Squares:
    """Hold n images as `encoders.image.read_image` gives them, on disk; a context manager."""

    def __init__(
        self,
        paths: Sequence[Path],
        size_px: int,
        *,
        place: Path | None = None,
        progress: bool = False,
    ):
        """Decode the images.

        Args:
            paths: of the images, which are numbered in this order.
            size_px: side of the square.
            place: directory on whose disk they lie; that of temporary files by default, and where
                it cannot be written.
            progress: show a bar.

        Raises:
            InputError: a file is missing or is no image.
            OSError: the disk is full.
        """
        self._shape = (len(paths), size_px, size_px)
        self._file = _nameless(place)
        try:
            told = side_by_side(partial(read_image, size_px=size_px), paths)
            for square in tqdm(
                told, "decoding images", total=len(paths), disable=not progress, leave=False
            ):
                self._file.write(square.tobytes())  # written, not mapped: a full disk is an error
            self._file.flush()
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return self._shape[0]

    def __getstate__(self) -> dict[str, Any]:
        return {"_shape": self._shape, "_file": f"/proc/{os.getpid()}/fd/{self._file.fileno()}"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._shape = state["_shape"]
        self._file = Path(state["_file"]).open("rb")  # noqa: SIM115 - as long as this is

    def take(self, numbers: Sequence[int]) -> UInt8[np.ndarray, "m h w"]:
        """Copy some of the images."""
        if not len(numbers):
            return np.zeros((0, *self._shape[1:]), np.uint8)
        mapped = np.memmap(self._file, np.uint8, "r", shape=self._shape)
        return np.stack([mapped[number] for number in numbers])

    def close(self) -> None:
        """Let go of the file, and so of its room on the disk."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _nameless(place: Path | None) -> IO[bytes]:
    if place is not None:
        try:
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            return tempfile.TemporaryFile(dir=place)
        except OSError as error:
            _log.warning("images are decoded to the temporary directory: %s", error.strerror)
    return tempfile.TemporaryFile()
