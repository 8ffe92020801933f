"""Read what landed as records: lines of NDJSON, or the lines that were made of documents.

A record is a line of JSON text. Lines that we wrote ourselves (from Bundles) are wrapped:
`{"resource": …, "fullUrl": …}`, or `{"method": "DELETE", "url": …}` for a deletion, or
`{"problem": reason}` for what can't be used. Nothing is parsed here that need not be: a line of
NDJSON goes to DuckDB as text, broken or not, so that each is accounted for.
"""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ingest.chunks import read_chunks
from ingest.depth import TOO_DEEP, any_deep, is_deep
from ingest.documents import unpack
from ingest.wrapping import dump_line

__all__ = ["BATCH", "read_records"]

BATCH = pa.schema(
    [
        pa.field("position", pa.int64()),
        pa.field("text", pa.large_string()),
        pa.field("wrapped", pa.bool_()),
    ]
)
_LINE_END = ord("\n")
_DENSE = 8
"""Bytes a line: of a chunk with fewer, most lines are blank, and there are millions of them."""

_LONGEST_BUNDLE = 32 << 20
"""Bytes of a Bundle on a line, which is parsed whole and takes some fifteen times as much."""

_BUNDLE = re.compile(rb'"resourceType"\s*:\s*"Bundle"')
_BLANKS = re.compile(rb"^\s+", re.MULTILINE)


def read_records(path: Path, *, wrapped: bool) -> Iterator[pa.RecordBatch]:
    """Read a file's records in batches, positions from 1; blank lines are none.

    A line of plain NDJSON that is itself a Bundle gives its entries, as a Bundle's file would.
    A line that is too long or too deep is one bad record. So is, where a compressed file is
    damaged, the line that it breaks off in, whole or not; what comes before stands.
    """
    position = 0
    for chunk, damage in read_chunks(path):
        texts = _cut(chunk, wrapped=wrapped) if wrapped or b'"Bundle"' not in chunk else None
        flags = [wrapped] * len(texts) if texts is not None else []
        if texts is None:
            texts, flags = _unpack(chunk, wrapped=wrapped)
        if damage is not None:
            torn = pa.array([json.dumps({"problem": damage})], pa.large_string())
            texts, flags = pa.concat_arrays([texts, torn]), [*flags, True]
        places = pa.array(np.arange(position + 1, position + 1 + len(texts)), pa.int64())
        position += len(texts)
        yield pa.record_batch([places, texts, pa.array(flags, pa.bool_())], BATCH)


def _cut(chunk: bytearray, *, wrapped: bool) -> pa.Array | None:
    """Cut a chunk at its line ends without copying a line; None where a line needs to be looked at.

    The line end stays with its line: to JSON it is white space.
    """
    if not chunk:
        return pa.array([], pa.large_string())
    data = np.frombuffer(chunk, np.uint8)
    ends = np.flatnonzero(data == _LINE_END)
    if len(ends) * _DENSE > len(data) and _BLANKS.search(chunk):
        return _cut(bytearray(_BLANKS.sub(b"", chunk)), wrapped=wrapped)
    ends += 1
    if not len(ends) or ends[-1] != len(data):
        ends = np.append(ends, len(data))
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    if any_deep(data, offsets, wrapped=wrapped):
        return None
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(chunk)]
    lines = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(ends), buffers)
    # Only what does not begin as an object can be blank.
    odd = np.flatnonzero(data[offsets[:-1]] != ord("{"))
    blank = [i for i in odd.tolist() if chunk[offsets[i] : offsets[i + 1]].isspace()]
    if blank:
        keep = np.ones(len(lines), bool)
        keep[blank] = False
        lines = lines.filter(pa.array(keep))
    try:
        return lines.cast(pa.large_string())
    except pa.ArrowInvalid:
        return None


def _unpack(chunk: bytearray, *, wrapped: bool) -> tuple[pa.Array, list[bool]]:
    """Read a chunk line by line: one is a Bundle, or nested, or not UTF-8."""
    texts: list[bytes] = []
    flags: list[bool] = []
    if chunk.count(b"\n") * _DENSE > len(chunk):
        chunk = bytearray(_BLANKS.sub(b"", chunk))
    for line in bytes(chunk).split(b"\n"):
        if not line or line.isspace():
            continue
        inner = _bundle_lines(line) if not wrapped and b'"Bundle"' in line else None
        if inner is None:
            texts.append(line)
            flags.append(wrapped)
        else:
            texts.extend(dump_line(record).encode() for record in inner)
            flags.extend([True] * len(inner))
    for index, text in enumerate(texts):
        if is_deep(text, wrapped=flags[index]):
            texts[index], flags[index] = json.dumps({"problem": TOO_DEEP}).encode(), True
    return _as_text(texts, flags), flags


def _bundle_lines(line: bytes) -> list[dict[str, Any]] | None:
    """Give the wrapped entries of a line that is a Bundle, each with the hash of the line."""
    if len(line) > _LONGEST_BUNDLE and _BUNDLE.search(line):
        most = _LONGEST_BUNDLE >> 20
        return [{"problem": f"a Bundle of over {most} MiB on a line; write it as a .json file"}]
    kind, records = unpack(line)
    if kind != "bundle":
        return None
    digest = sha256(line.strip()).hexdigest()[:16]
    return [{**record, "bundle": digest} for record in records]


def _as_text(texts: list[bytes], flags: list[bool]) -> pa.Array:
    try:
        return pa.array(texts, pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid:
        decoded: list[str] = []
        for index, text in enumerate(texts):
            try:
                decoded.append(text.decode("utf-8"))
            except UnicodeDecodeError:
                decoded.append('{"problem": "not UTF-8"}')
                flags[index] = True
        return pa.array(decoded, pa.large_string())
