"""Read what landed as records: lines of NDJSON, entries of a Bundle, a single resource.

A record is a line of JSON text. Lines that we wrote ourselves (from Bundles) are wrapped:
`{"resource": …, "fullUrl": …}`, or `{"method": "DELETE", "url": …}` for a deletion, or
`{"problem": reason}` for what can't be used. Nothing is parsed here that need not be: a line of
NDJSON goes to DuckDB as text, broken or not, so that each is accounted for.
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from ingest.errors import LimitError
from ingest.fhir_xml import xml_to_json
from ingest.safe_xml import XmlError

__all__ = ["BATCH", "TORN", "is_ndjson", "open_bytes", "read_document", "read_records", "unpack"]

BATCH = pa.schema(
    [
        pa.field("position", pa.int64()),
        pa.field("text", pa.large_string()),
        pa.field("wrapped", pa.bool_()),
    ]
)
_CHUNK_BYTES = 16 << 20
_LONGEST_LINE = 256 << 20
_LINE_END = ord("\n")

TORN = (OSError, EOFError, zlib.error)
"""What reading a damaged file raises: gzip has three ways to say it."""

_EMPTY = {"skip": "Bundle: without entries"}  # a search that found nothing is a record all the same


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, through gzip where the name ends in .gz."""
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def is_ndjson(content: bytes) -> bool:
    r"""Say whether a .json file is lines of JSON: its first line is an object, and more follow.

    A torn first line does not hide the others: where the whole is no JSON, and at least half of the
    lines after the first are resources by themselves, lines are what it is.

    >>> is_ndjson(b'{"resourceType": "Patie\n{"resourceType": "Patient", "id": "p"}')
    True
    >>> is_ndjson(b'{"resourceType": "Bundle", "entry": [\n{"resource": {"resourceType": "Pat')
    False
    """
    first, _, rest = content.lstrip().partition(b"\n")
    if not rest.strip():
        return False
    if isinstance(_read_json(first), dict):
        return True
    lines = resources = 0
    for line in map(bytes.strip, io.BytesIO(rest)):
        lines += bool(line)
        # Documents are large: of one that is spread over lines, hardly any is parsed here.
        if line.startswith(b"{") and line.endswith(b"}") and b'"resourceType"' in line:
            resources += "resourceType" in (_read_json(line) or {})
    return resources > 0 and 2 * resources >= lines and _read_json(content) is None


def _read_json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def unpack(content: bytes) -> tuple[str, list[dict[str, Any]]]:
    """Turn a .json file into its kind (`bundle` or `resource`) and wrapped records.

    >>> unpack(b'{"resourceType": "Bundle", "type": "batch", "entry": [{"response": {}}]}')
    ('bundle', [{'skip': 'Bundle: entry without a resource'}])
    >>> unpack(b'{"resourceType": "Patient"')[1][0]["problem"]
    'not JSON: line 1 column 27'
    """
    if content.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<"):
        return _unpack_xml(content)
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


def _unpack_xml(content: bytes) -> tuple[str, list[dict[str, Any]]]:
    try:
        document = xml_to_json(content, decimal=float)
    except (XmlError, LimitError) as error:
        return "resource", [{"problem": str(error)}]
    is_bundle = document["resourceType"] == "Bundle"
    return "bundle" if is_bundle else "resource", list(_wrap(document))


def read_document(path: Path) -> tuple[str, list[dict[str, Any]]]:
    """Read a .json file: its kind (`ndjson`, `bundle`, `resource`) and wrapped records.

    Of a compressed file that is damaged, what comes before the damage is kept, and the damage is a
    record of its own. Lines are not wrapped here: `read_records` reads those where they lie.
    """
    content, damage = bytearray(), None
    with open_bytes(path) as handle:
        try:
            while part := handle.read1(_CHUNK_BYTES):  # type: ignore[attr-defined]
                content += part
        except TORN as error:
            damage = _why_torn(error)
    whole = bytes(content)
    if is_ndjson(whole):
        return "ndjson", []
    kind, records = unpack(whole)
    if damage is not None:
        torn = {"problem": damage}
        records = [torn] if any("problem" in record for record in records) else [*records, torn]
    return kind, records


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
    Where a compressed file is damaged, what comes before stands, and the line that it breaks off
    in, whole or not, is one bad record.
    """
    position = 0
    for chunk, damage in _read_chunks(path):
        texts = _cut(chunk) if wrapped or b'"Bundle"' not in chunk else None
        flags = [wrapped] * len(texts) if texts is not None else []
        if texts is None:
            texts, flags = _unpack(chunk, wrapped=wrapped)
        if damage is not None:
            torn = pa.array([json.dumps({"problem": damage})], pa.large_string())
            texts, flags = pa.concat_arrays([texts, torn]), [*flags, True]
        places = pa.array(np.arange(position + 1, position + 1 + len(texts)), pa.int64())
        position += len(texts)
        yield pa.record_batch([places, texts, pa.array(flags, pa.bool_())], BATCH)


def _cut(chunk: bytes | bytearray) -> pa.Array | None:
    """Cut a chunk at its line ends without copying a line; None where a line needs to be looked at.

    The line end stays with its line: to JSON it is white space.
    """
    if not chunk:
        return pa.array([], pa.large_string())
    data = np.frombuffer(chunk, np.uint8)
    ends = np.flatnonzero(data == _LINE_END) + 1
    if not len(ends) or ends[-1] != len(data):
        ends = np.append(ends, len(data))
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    if np.diff(offsets).max() > _LONGEST_LINE:
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


def _unpack(chunk: bytes | bytearray, *, wrapped: bool) -> tuple[pa.Array, list[bool]]:
    """Read a chunk line by line: one is a Bundle, or too long, or not UTF-8."""
    texts: list[bytes] = []
    flags: list[bool] = []
    for line in bytes(chunk).split(b"\n"):
        if not line or line.isspace():
            continue
        inner = _bundle_lines(line) if not wrapped and b'"Bundle"' in line else None
        if inner is None:
            texts.append(line)
            flags.append(wrapped)
        else:
            texts.extend(json.dumps(record).encode() for record in inner)
            flags.extend([True] * len(inner))
    for index, text in enumerate(texts):
        if len(text) > _LONGEST_LINE:
            texts[index], flags[index] = b'{"problem": "a line of over 256 MiB"}', True
    return _as_text(texts, flags), flags


def _why_torn(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "torn: the gzip stream ends early"
    if isinstance(error, zlib.error | gzip.BadGzipFile):
        return "torn: the gzip stream is damaged"
    return f"torn: the file cannot be read on ({type(error).__name__})"


def _read_chunks(path: Path) -> Iterator[tuple[bytes | bytearray, str | None]]:
    """Give whole lines by the chunk, and at the end of what can be read the reason why no more."""
    rest = b""
    packed = path.name.lower().endswith(".gz")
    most = _CHUNK_BYTES if packed else min(_CHUNK_BYTES, path.stat().st_size + 1)
    with open_bytes(path) as handle:
        first = True
        while True:
            chunk = bytearray(len(rest) + most)
            chunk[: len(rest)] = rest
            filled, damage = len(rest), None
            with memoryview(chunk) as room:
                try:
                    # Part by part: a `read` of the whole chunk that breaks off gives nothing of it.
                    while filled < len(chunk) and (n := handle.readinto1(room[filled:])):  # type: ignore[attr-defined]
                        filled += n
                except TORN as error:
                    damage = _why_torn(error)
            ended = filled == len(rest)
            del chunk[filled:]
            if first and chunk.startswith(b"\xef\xbb\xbf"):
                del chunk[:3]
            first = False
            if damage is None and ended:
                yield chunk, None
                return
            cut = chunk.rfind(b"\n") + 1
            rest = bytes(memoryview(chunk)[cut:])
            del chunk[cut:]
            yield chunk, damage
            if damage is not None:  # the line that it breaks off in, whole or not, is bad
                return


def _bundle_lines(line: bytes) -> list[dict[str, Any]] | None:
    """Give the wrapped entries of a line that is a Bundle, each with the hash of the line."""
    kind, records = unpack(line)
    if kind != "bundle":
        return None
    digest = sha256(line.strip()).hexdigest()[:16]
    return [{**record, "bundle": digest} for record in records or [_EMPTY]]


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
