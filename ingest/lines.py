"""Read some lines of a file again, by their positions, without reading the rest where that can be.

Of a plain NDJSON file whose lines fill it to the byte (no blank line, no byte order mark, no line
that is a Bundle), the sum of the lengths before a line is where it begins. Any other file is read
from its start.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ingest.landing import LandedFile
from ingest.records import BATCH, read_records

__all__ = ["FILE_STEP", "Lines", "Part", "read_lines"]

FILE_STEP = 1 << 40
"""From the first place of a file to that of the next: a record's place is its file's number among
those that landed, times this, plus its position in the file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lines:
    """Say which lines of a file are wanted."""

    positions: np.ndarray
    """Sorted, from 1: [n] int64."""

    starts: np.ndarray | None = None
    """The byte at which each begins, where that is known: [n] int64."""

    lengths: np.ndarray | None = None
    """The bytes of each, line end included: [n] int64."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Name a file's records that are to be read: all, or some lines."""

    file: LandedFile

    path: Path
    """Its NDJSON."""

    order: int
    """Its number among the FHIR files that ever landed."""

    lines: Lines | None = None
    """Which; None is all."""


def read_lines(path: Path, lines: Lines, *, wrapped: bool) -> Iterator[pa.RecordBatch]:
    """Read these lines as `read_records` would."""
    if lines.starts is None or lines.lengths is None:
        for batch in read_records(path, wrapped=wrapped):
            wanted = np.isin(batch.column("position").to_numpy(), lines.positions)
            if wanted.any():
                yield batch.filter(pa.array(wanted))
        return
    texts: list[bytes] = []
    with path.open("rb") as handle:
        for start, length in zip(lines.starts.tolist(), lines.lengths.tolist(), strict=True):
            handle.seek(start)
            texts.append(handle.read(length))
    yield pa.record_batch(
        [
            pa.array(lines.positions, pa.int64()),
            pa.array(texts, pa.large_binary()).cast(pa.large_string()),
            pa.array(np.full(len(texts), wrapped)),
        ],
        BATCH,
    )
