"""Read a document: a single resource or a Bundle, in JSON or XML, and make lines of its records.

Of small documents all is in memory at once. A large Bundle is read entry by entry (long_json.py,
long_xml.py), and what comes out of it is the same.
"""

import io
import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

from ingest.bundle_lines import Landed
from ingest.chunks import read_bytes, read_chunks
from ingest.errors import LimitError
from ingest.fhir_xml import FHIR_CAPS, is_xml_bundle, xml_to_json
from ingest.long_json import land_long_json
from ingest.long_xml import land_long_xml
from ingest.opening import open_bytes
from ingest.safe_xml import XmlError
from ingest.wrapping import EMPTY, dump_line, is_bundle, wrap_document

__all__ = ["is_ndjson", "read_document", "unpack"]

_WHOLE_BYTES = 8 << 20
"""Up to so many bytes a document is read whole, which is fastest."""

_SNIFFED = 4096


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
    return _are_resources(io.BytesIO(rest)) and _read_json(content) is None


def _are_resources(lines: Iterable[bytes]) -> bool:
    """Say whether at least half of these lines are resources by themselves."""
    seen = resources = 0
    for line in map(bytes.strip, lines):
        seen += bool(line)
        # Documents are large: of one that is spread over lines, hardly any is parsed here.
        if line.startswith(b"{") and line.endswith(b"}") and b'"resourceType"' in line:
            resources += "resourceType" in (_read_json(line) or {})
    return resources > 0 and 2 * resources >= seen


def _is_xml(content: bytes) -> bool:
    return content[:_SNIFFED].lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<")


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
    if _is_xml(content):
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
    return _wrapped(document)


def _wrapped(document: Any) -> tuple[str, list[dict[str, Any]]]:
    if is_bundle(document):
        return "bundle", list(wrap_document(document)) or [dict(EMPTY)]
    return "resource", list(wrap_document(document))


def _unpack_xml(content: bytes) -> tuple[str, list[dict[str, Any]]]:
    try:
        document = xml_to_json(content, decimal=float)
    except (XmlError, LimitError) as error:
        return "resource", [{"problem": str(error)}]
    return _wrapped(document)


def read_document(path: Path, out: TextIO) -> str:
    """Read a .json or .xml file: write a line for each wrapped record, and give the kind.

    The kind is `bundle`, `resource`, or `ndjson`, of which nothing is written: `read_records` reads
    those where they lie. Of a compressed file that is damaged, what comes before the damage is
    kept, and the damage is a record of its own.

    Args:
        path: The file.
        out: An empty file that can be written and cut.
    """
    with open_bytes(path) as handle:
        content, damage = read_bytes(handle, _WHOLE_BYTES)
        if len(content) == _WHOLE_BYTES:
            if not _is_xml(content):
                return _read_long(path, content, out)
            if is_xml_bundle(content[:_SNIFFED]):
                return _say(land_long_xml(path, out), out)
            more, damage = read_bytes(handle, FHIR_CAPS.content_bytes - len(content) + 1)
            content += more
    if len(content) > FHIR_CAPS.content_bytes:
        cap = FHIR_CAPS.content_bytes >> 20
        problem = f"XML of over {cap} MiB that is no Bundle; convert it to JSON"
        return _say(Landed(kind="resource", problem=problem), out)
    if is_ndjson(content):
        return "ndjson"
    kind, records = unpack(content)
    if damage is not None:
        unread = kind == "resource" and "problem" in records[0]
        records = [*([] if unread else records), {"problem": damage}]
    out.writelines(dump_line(record) + "\n" for record in records)
    return kind


def _read_long(path: Path, head: bytes, out: TextIO) -> str:
    first, ended, rest = head.lstrip().partition(b"\n")
    if ended and rest.strip() and isinstance(_read_json(first), dict):
        return "ndjson"
    landed = land_long_json(path, out)
    if landed.problem is not None and _are_resources(_lines_after_first(path)):
        return "ndjson"
    return _say(landed, out)


def _say(landed: Landed, out: TextIO) -> str:
    if landed.problem is not None:
        out.write(dump_line({"problem": landed.problem}) + "\n")
    return landed.kind


def _lines_after_first(path: Path) -> Iterator[bytes]:
    chunks = (io.BytesIO(chunk) for chunk, _ in read_chunks(path))
    yield from islice(filter(bytes.strip, chain.from_iterable(chunks)), 1, None)
