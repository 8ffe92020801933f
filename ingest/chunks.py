"""Read a file of lines in chunks of whole lines, so that no line and no file is held whole.

A line that is over the longest is dropped as it is read, and said to be so.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ingest.opening import TORN, open_bytes, why_torn

__all__ = ["CHUNK_BYTES", "LONGEST_LINE", "read_bytes", "read_chunks"]

CHUNK_BYTES = 16 << 20

LONGEST_LINE = 256 << 20
"""Bytes of a record, as a line, an entry of a Bundle, or a document that is none."""

_BOM = b"\xef\xbb\xbf"


def read_chunks(path: Path) -> Iterator[tuple[bytearray, str | None]]:
    """Give whole lines by the chunk, and beside it why the line after them can't be used.

    That is because it is over LONGEST_LINE, and reading goes on after it; or because the file is
    damaged in it, and nothing comes after.
    """
    packed = path.name.lower().endswith(".gz")
    most = CHUNK_BYTES if packed else min(CHUNK_BYTES, path.stat().st_size + 1)
    rest = bytearray()  # of a line whose end was not met yet
    first, skipping = True, False
    with open_bytes(path) as handle:
        while True:
            known = len(rest)
            chunk, damage = _read_on(handle, rest, most)
            ended = len(chunk) == known
            if first and chunk.startswith(_BOM):
                del chunk[:3]
            first = False
            end = chunk.find(b"\n", known) + 1
            if skipping or (end - 1 if end else len(chunk)) > LONGEST_LINE:
                skipping = not (end or damage or ended)
                rest = bytearray()
                if skipping:  # nothing of it is held
                    continue
                del chunk[: end or len(chunk)]
                known = 0
                if end or not damage:
                    yield bytearray(), f"a line of over {LONGEST_LINE >> 20} MiB"
            if ended and not damage:
                yield chunk, None
                return
            cut = chunk.rfind(b"\n", known) + 1
            if not cut and not damage:
                rest = chunk
                continue
            rest = chunk[cut:]
            del chunk[cut:]
            yield chunk, damage
            if damage:  # the line that it breaks off in, whole or not, is bad
                return


def read_bytes(handle: IO[bytes], most: int) -> tuple[bytes, str | None]:
    """Read at most so many bytes, fewer only at the end; and why no more, of a damaged file."""
    parts: list[bytes] = []
    try:
        while most > 0 and (part := handle.read1(min(most, CHUNK_BYTES))):  # type: ignore[attr-defined]
            parts.append(part)
            most -= len(part)
    except TORN as error:
        return b"".join(parts), why_torn(error)
    return b"".join(parts), None


def _read_on(handle: IO[bytes], rest: bytearray, most: int) -> tuple[bytearray, str | None]:
    known = len(rest)
    if known < most:
        chunk = bytearray(known + most)
        chunk[:known] = rest
    else:  # a long line grows where it is: to copy it at each chunk would be quadratic
        chunk = rest
        chunk.extend(bytes(most))
    filled, damage = known, None
    with memoryview(chunk) as room:
        try:
            # Part by part: a `read` of the whole chunk that breaks off gives nothing of it.
            while filled < len(chunk) and (n := handle.readinto1(room[filled:])):  # type: ignore[attr-defined]
                filled += n
        except TORN as error:
            damage = why_torn(error)
    del chunk[filled:]
    return chunk, damage
