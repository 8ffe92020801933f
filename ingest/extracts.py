"""Keep what was taken out of batches of lines until it is projected: in memory, or else on disk.

It is a third of the lines or less. What is over the limit is written as Arrow IPC files into a
directory of its own, which goes when it is closed.
"""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pyarrow as pa
from pyarrow import ipc

__all__ = ["Extract", "Extracts"]

_HELD_BYTES = 96 << 20


@dataclass(frozen=True, kw_only=True)
class Extract:
    """Hold the fields of a batch's records, which are to be projected."""

    number: int
    """The batch's."""

    fields: dict[str, pa.Table]
    """By type: `place`, and the fields that any of them has, as text."""

    places: pa.Array | None = None
    """Which records of the batch are to be projected; None is all that are current."""

    alone: bool = False
    """There is no other, and its patients are projected with it."""


class Extracts:
    """Hold the extracts of many batches, to be gone through any number of times.

    Use it as a context: what it wrote to disk goes at its end.
    """

    def __init__(self, room: Path) -> None:
        self._room = room
        self._place: Path | None = None
        self._held: list[Extract | int] = []
        self._size = 0

    def __enter__(self) -> "Extracts":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.clear()
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)

    def __len__(self) -> int:
        return len(self._held)

    def add(self, extract: Extract) -> None:
        """Keep one more."""
        size = sum(table.nbytes for table in extract.fields.values())
        if self._size + size <= _HELD_BYTES:
            self._size += size
            self._held.append(extract)
        else:
            self._write(extract)
            self._held.append(extract.number)

    def __iter__(self) -> Iterator[Extract]:
        for kept in self._held:
            yield self._read(kept) if isinstance(kept, int) else kept

    def _write(self, extract: Extract) -> None:
        if self._place is None:
            self._room.mkdir(parents=True, exist_ok=True)
            self._place = Path(tempfile.mkdtemp(prefix="extracts-", dir=self._room))
        folder = self._place / str(extract.number)
        folder.mkdir()
        options = ipc.IpcWriteOptions(compression="lz4")
        for kind, table in extract.fields.items():
            with ipc.new_file(folder / f"{kind}.arrow", table.schema, options=options) as out:
                out.write_table(table)

    def _read(self, number: int) -> Extract:
        if self._place is None:
            raise ValueError("nothing was written")
        fields = {}
        for file in sorted((self._place / str(number)).iterdir()):
            with ipc.open_file(file) as stored:
                fields[file.stem] = stored.read_all()
        return Extract(number=number, fields=fields)
