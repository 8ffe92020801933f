"""Read what landed as records: lines of NDJSON, entries of a Bundle, a single resource.

A record is a line of JSON text. Lines that we wrote ourselves (from Bundles) are wrapped:
`{"resource": …, "fullUrl": …}`, or `{"method": "DELETE", "url": …}` for a deletion, or
`{"problem": reason}` for what can't be used. Nothing is parsed here that need not be: a line of
NDJSON goes to DuckDB as text, broken or not, so that each is accounted for.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

__all__ = ["BATCH", "TORN", "is_ndjson", "open_bytes", "read_records", "unpack"]

BATCH = pa.schema(
    [
        pa.field("position", pa.int64()),
        pa.field("text", pa.large_string()),
        pa.field("wrapped", pa.bool_()),
    ]
)
_CHUNK_BYTES = 16 << 20

TORN = (OSError, EOFError, zlib.error)
"""What reading a damaged file raises: gzip has three ways to say it."""


_EMPTY = {"skip": "Bundle: without entries"}  # a search that found nothing is a record all the same


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, through gzip where the name ends in .gz."""
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def is_ndjson(content: bytes) -> bool:
    """Say whether a .json file is lines of JSON: its first line is an object, and more follow."""
    first, _, rest = content.lstrip().partition(b"\n")
    if not rest.strip():
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def unpack(content: bytes) -> tuple[str, list[dict[str, Any]]]:
    """Turn a .json file into its kind (`bundle` or `resource`) and wrapped records.

    >>> unpack(b'{"resourceType": "Bundle", "type": "batch", "entry": [{"response": {}}]}')
    ('bundle', [{'skip': 'Bundle: entry without a resource'}])
    >>> unpack(b'{"resourceType": "Patient"')[1][0]["problem"]
    'not JSON: line 1 column 27'
    """
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        reason = f"not JSON: line {error.lineno} column {error.colno}"
        return "resource", [{"problem": reason}]
    except UnicodeDecodeError as error:
        return "resource", [{"problem": f"not JSON: byte {error.start} is not UTF-8"}]
    except (ValueError, RecursionError):
        return "resource", [{"problem": "not JSON: a number or a nesting beyond any limit"}]
    is_bundle = isinstance(document, dict) and document.get("resourceType") == "Bundle"
    return "bundle" if is_bundle else "resource", list(_wrap(document))


def _wrap(document: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict) or not isinstance(document.get("resourceType"), str):
        yield {"problem": "not a FHIR resource: no resourceType"}
    elif document["resourceType"] == "Bundle":
        entries = document.get("entry", [])
        if not isinstance(entries, list):
            yield {"problem": "Bundle.entry is not a list"}
            return
        # A history is newest first, by the specification; elsewhere what comes last is newest.
        newest_first = document.get("type") == "history"
        for index, entry in enumerate(entries):
            for line in _wrap_entry(entry):
                yield {**line, "order": len(entries) - index} if newest_first else line
    else:
        yield {"resource": document}


def _wrap_entry(entry: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(entry, dict):
        yield {"problem": "Bundle.entry is not an object"}
        return
    request = entry.get("request")
    request = request if isinstance(request, dict) else {}
    response = entry.get("response")
    response = response if isinstance(response, dict) else {}
    if request.get("method") == "DELETE":
        yield {
            "method": "DELETE",
            "url": request.get("url") or entry.get("fullUrl"),
            "modified": response.get("lastModified"),
        }
    elif "resource" not in entry:
        yield {"skip": "Bundle: entry without a resource"}
    else:
        # A Bundle inside a Bundle (a batch's answer to a search) gives its own entries.
        for line in list(_wrap(entry["resource"])) or [dict(_EMPTY)]:
            if "resource" in line and "fullUrl" not in line and entry.get("fullUrl"):
                line["fullUrl"] = entry["fullUrl"]
            yield line


def read_records(path: Path, *, wrapped: bool) -> Iterator[pa.RecordBatch]:
    """Read a file's records in batches, positions from 1; blank lines are none.

    A line of plain NDJSON that is itself a Bundle gives its entries, as a Bundle's file would.
    """
    position = 0
    for lines in _read_lines(path):
        texts: list[bytes] = []
        flags: list[bool] = []
        unpackable = not wrapped and any(b'"Bundle"' in line for line in lines)
        for line in lines:
            if not line or line.isspace():
                continue
            inner = _bundle_lines(line) if unpackable and b'"Bundle"' in line else None
            if inner is None:
                texts.append(line)
                flags.append(wrapped)
            else:
                texts.extend(json.dumps(record).encode() for record in inner)
                flags.extend([True] * len(inner))
        for index, text in enumerate(texts):
            if len(text) > _CHUNK_BYTES * 16:
                texts[index], flags[index] = b'{"problem": "a line of over 256 MiB"}', True
        places = pa.array(range(position + 1, position + 1 + len(texts)), pa.int64())
        position += len(texts)
        yield pa.record_batch([places, _as_text(texts, flags), pa.array(flags, pa.bool_())], BATCH)


def _read_lines(path: Path) -> Iterator[list[bytes]]:
    rest = b""
    with open_bytes(path) as handle:
        first = True
        while True:
            chunk, torn = bytearray(), False
            try:
                # Part by part: a `read` of the whole chunk that breaks off gives nothing of it.
                while len(chunk) < _CHUNK_BYTES and (part := handle.read1(_CHUNK_BYTES)):  # type: ignore[attr-defined]
                    chunk += part
            except TORN:
                torn = True
            if first:
                chunk, first = chunk.removeprefix(b"\xef\xbb\xbf"), False
            *lines, rest = (rest + bytes(chunk)).split(b"\n")
            yield lines
            if torn:  # what came before stands; the torn line is one bad record, whole or not
                yield [rest + b" broken gzip stream"]
                return
            if not chunk:
                yield [rest]
                return


def _bundle_lines(line: bytes) -> list[dict[str, Any]] | None:
    kind, records = unpack(line)
    return (records or [dict(_EMPTY)]) if kind == "bundle" else None


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
