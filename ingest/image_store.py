"""Decode image files into the store's directory, each content once, in a limited child process.

    images/HASH.png     a picture, 8-bit grey: HASH is the SHA-256 of its file; or a volume's middle
                        slice: HASH is made of the SHA-256 of each slice's file, in order
    images/HASH.nii     the volume itself, in modality units

A volume is written slice by slice, so that memory does not grow with it; a slice that comes later
makes another volume, of another name, and the one before goes with the pictures that no event has.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from ingest.errors import LimitError
from ingest.headers import ImageHeader, header_from_json, header_to_json
from ingest.landing import LandedFile
from ingest.limits import Caps, LimitedChild
from ingest.nifti import SUFFIX, write_header
from ingest.planes import FEWEST, Plane, affine_of

__all__ = ["Fate", "ImageStore", "Slice", "told_of"]

Fate = tuple[str, str]
"""What became of a file that gives no picture: status and reason."""

T = TypeVar("T")

_BATCH_FILES = 64
_BATCH_BYTES = 16 * 2**20


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Name one frame of a file."""

    file: LandedFile
    frame: int
    plane: Plane

    @property
    def bytes(self) -> int:
        """What its values take, at most."""
        return self.plane.rows * self.plane.columns * 4


class ImageStore:
    """Keep pictures and volumes in a directory, or, without one, look at headers; a context.

    `known` holds by file id what `told_of` gave of it before: such a file is not read again but
    for a picture that is wanted and is not there.
    """

    def __init__(
        self,
        directory: Path | None,
        caps: Caps | None = None,
        *,
        known: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory
        self._known = known or {}
        self._caps = caps or Caps()
        self._child = LimitedChild("ingest.pixels:read_images", self._caps)

    def __enter__(self) -> "ImageStore":
        if self._directory is not None:
            self._directory.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._child.close()

    def describe(
        self, files: Iterable[LandedFile]
    ) -> Iterator[tuple[LandedFile, ImageHeader | Fate]]:
        """Give each file's header, or its fate; decode what is new and no slice of a volume.

        What is known is not decoded: `keep` what is to be shown.
        """
        for batch in _batched(files, lambda file: file.size):
            yield from zip(batch, self._describe(batch, "film"), strict=True)

    def keep(self, file: LandedFile) -> ImageHeader | Fate:
        """Decode the file if its picture is not there; give its header, or its fate."""
        return self._describe([file], "picture")[0]

    def holds(self, file: LandedFile) -> bool:
        """Say whether a file needs no decoding: its picture is there, or none is wanted."""
        return self._directory is None or self._place(f"{file.sha256}.png").is_file()

    def drop(self, file: LandedFile) -> None:
        """Delete a picture that belongs to nobody."""
        self._place(f"{file.sha256}.png").unlink(missing_ok=True)

    def keep_stack(self, slices: Sequence[Slice]) -> tuple[str, dict[str, Fate]]:
        """Write a volume of slices in their order, or of fewer than three a picture alone.

        Gives the picture's name, and the fate of each file that cannot be read, by its id: then
        nothing was written, and the rest may be another volume.
        """
        text = "\n".join(f"{one.file.sha256}:{one.frame}" for one in slices)
        name = hashlib.sha256(text.encode()).hexdigest()
        picture, volume = self._place(f"{name}.png"), self._place(f"{name}{SUFFIX}")
        if picture.is_file() and (volume.is_file() or len(slices) < FEWEST):
            return picture.name, {}
        fates: dict[str, Fate] | None = None
        if all(one.plane.whole for one in slices):
            fates = self._write_volume(slices, "i2", picture, volume)
        if fates is None:
            fates = self._write_volume(slices, "f4", picture, volume)
        return picture.name, fates or {}

    def _write_volume(
        self, slices: Sequence[Slice], dtype: str, picture: Path, volume: Path
    ) -> dict[str, Fate] | None:
        """Write a volume's files; give fates by file id, None where dtype is too narrow."""
        first = slices[0].plane
        shape = (len(slices), first.rows, first.columns)
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size > self._caps.volume_bytes:
            reason = f"over a limit: a volume of {size} bytes is over {self._caps.volume_bytes}"
            return {one.file.id: ("quarantined", reason) for one in slices}
        with tempfile.NamedTemporaryFile(dir=volume.parent, delete=False) as out:
            fates: dict[str, Fate] | None = None
            try:
                write_header(out, shape, dtype, affine_of(first, slices[-1].plane, len(slices)))
                fates = self._write_slices(out, slices, dtype, picture)
            finally:
                done = fates == {} and len(slices) >= FEWEST
                if not done:
                    Path(out.name).unlink()
        if done:
            Path(out.name).chmod(0o644)
            os.replace(out.name, volume)  # noqa: PTH105 - replaces atomically
        return fates

    def _write_slices(
        self, out: BinaryIO, slices: Sequence[Slice], dtype: str, picture: Path
    ) -> dict[str, Fate] | None:
        """Append each slice's values, write the middle one's picture; give fates likewise."""
        fates: dict[str, Fate] = {}
        shown = slices[len(slices) // 2]
        for batch in _batched(slices, lambda one: one.bytes):
            asked: list[dict[str, Any]] = []
            parts: list[list[Slice]] = []
            for one in batch:
                if parts and parts[-1][0].file.id == one.file.id:
                    parts[-1].append(one)
                    asked[-1]["frames"].append(one.frame)
                else:
                    parts.append([one])
                    path = str(one.file.path)
                    asked.append({"path": path, "frames": [one.frame], "picture": None})
                    asked[-1]["dtype"] = dtype
                if one is shown:
                    asked[-1]["picture"] = one.frame
            for part, (told, content) in zip(parts, self._ask("slices", asked), strict=True):
                if "wider" in told:
                    return None
                fate = _fate(told)
                plane = part[0].plane
                expected = len(part) * plane.rows * plane.columns * np.dtype(dtype).itemsize
                if fate is None and told["bytes"] != expected:
                    fate = "quarantined", "pixels of another size than the header states"
                if fate is not None:
                    fates[part[0].file.id] = fate
                elif not fates:
                    out.write(content[:expected])
                    if len(content) > expected:
                        _write_whole(picture, content[expected:])
        return fates

    def _describe(self, files: Sequence[LandedFile], wanted: str) -> list[ImageHeader | Fate]:
        found = [self._recall(file, wanted) for file in files]
        unknown = [n for n, one in enumerate(found) if one is None]
        asked = [
            {
                "path": str(files[n].path),
                "wanted": "header" if self.holds(files[n]) else wanted,
            }
            for n in unknown
        ]
        answers = self._ask("describe", asked) if asked else ()
        for n, (told, png) in zip(unknown, answers, strict=True):
            fate = _fate(told)
            if fate is None and png:
                _write_whole(self._place(f"{files[n].sha256}.png"), png)
            found[n] = header_from_json(told["header"]) if fate is None else fate
        return [one for one in found if one is not None]

    def _recall(self, file: LandedFile, wanted: str) -> ImageHeader | Fate | None:
        if file.id not in self._known or (wanted == "picture" and not self.holds(file)):
            return None
        told = json.loads(self._known[file.id])
        return header_from_json(told) if isinstance(told, dict) else (told[0], told[1])

    def _place(self, name: str) -> Path:
        if self._directory is None:
            raise ValueError("an ImageStore without a directory keeps nothing")
        return self._directory / name

    def _ask(
        self, task: str, files: list[dict[str, Any]]
    ) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Ask the child about files in one call; one by one where that ends it."""
        try:
            told, content = self._child.call(task=task, files=files, caps=asdict(self._caps))
        except LimitError as error:
            if len(files) == 1:
                yield {"limit": str(error)}, b""
                return
            for file in files:  # only that one is to be refused which is at fault
                yield from self._ask(task, [file])
            return
        at = 0
        for one in told["files"]:
            size = one.get("bytes", 0) + one.get("picture", 0)
            yield one, content[at : at + size]
            at += size


def told_of(described: ImageHeader | Fate) -> str:
    """Write down what `describe` gave of a file, for another store's `known`."""
    told = header_to_json(described) if isinstance(described, ImageHeader) else described
    return json.dumps(told, separators=(",", ":"))


def _batched(things: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    batch: list[T] = []
    total = 0
    for thing in things:
        if batch and (len(batch) >= _BATCH_FILES or total + size(thing) > _BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(thing)
        total += size(thing)
    if batch:
        yield batch


def _fate(told: dict[str, Any]) -> Fate | None:
    if "limit" in told:
        return "quarantined", f"over a limit: {told['limit']}"
    return next(((s, told[s]) for s in ("skipped", "quarantined") if s in told), None)


def _write_whole(place: Path, content: bytes) -> None:
    """Write so that a kill leaves either nothing or the whole file."""
    with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as out:
        out.write(content)
    Path(out.name).chmod(0o644)
    os.replace(out.name, place)  # noqa: PTH105 - replaces atomically
