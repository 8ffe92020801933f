"""Download one file of a bulk export, going on where it broke off.

    .fetch/NAME.part    the bytes as they came, packed where the server packs them
    .fetch/NAME.head    what the server said of them: ETag, length, whether parts can be asked for

A part is gone on with (`Range`, and `If-Range` where the file has an ETag) where the server offers
that, else fetched again. A file that is complete is read through once: its lines are counted, a
packed one is checked, and its last line must be JSON, for a connection that ends early and says so
nowhere cuts a line.
"""

import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from ingest.errors import LimitError
from ingest.fetch_state import create_private
from ingest.fetching import Fetcher
from ingest.origins import SourceError
from ingest.patience import Passing

__all__ = ["count_lines", "download", "read_lines"]

_NDJSON = "application/fhir+ndjson"
_GZIP = b"\x1f\x8b"
_LINE_CAP_BYTES = 256 << 20
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def download(
    fetcher: Fetcher, url: httpx.URL, part: Path, *, what: str, anonymous: bool, lines: int | None
) -> tuple[int, str]:
    """Fetch a file into `part`, and give its number of lines and the ending of its name.

    Args:
        fetcher: Of the server that names the file.
        url: Of its origin, or of one that is allowed by name.
        part: Where it goes; what is there of it already is not fetched again.
        what: What it is, in words.
        anonymous: Send no token.
        lines: How many there are, if the manifest says; fewer are fetched again, once.

    Raises:
        SourceError: the server refuses, or went on failing.
    """
    reached = part.stat().st_size if part.exists() else 0
    short = 0

    def attempt() -> tuple[int, str]:
        nonlocal reached, short
        try:
            _fetch(fetcher, url, part, what, anonymous=anonymous)
        except Passing as failure:
            # Only more than ever before is progress, or one that breaks off at the same byte each
            # time would be asked for ever.
            size = part.stat().st_size if part.exists() else 0
            failure.progress, reached = size > reached, max(size, reached)
            raise
        counted = count_lines(part)
        if counted is None or (lines is not None and counted < lines and not short):
            short += 1
            _restart(part)
            raise Passing("broke off a file without saying so", status=200)
        return counted, "ndjson.gz" if _is_packed(part) else "ndjson"

    return fetcher.retrying.call(what, attempt)


def count_lines(path: Path) -> int | None:
    """Count the lines that are not blank; None where the file is torn."""
    counted, last = 0, b"{}"
    try:
        for line in read_lines(path):
            counted, last = counted + 1, line
        json.loads(last)
    except (ValueError, RecursionError, OSError, EOFError, zlib.error):
        return None
    return counted


def read_lines(path: Path) -> Iterator[bytes]:
    """Give a file's lines that are not blank, unpacked where it is packed.

    Raises:
        LimitError: a line that no resource is as long as.
    """
    with gzip.open(path, "rb") if _is_packed(path) else path.open("rb") as handle:
        while line := handle.readline(_LINE_CAP_BYTES):
            if len(line) == _LINE_CAP_BYTES:
                raise LimitError(
                    f"a line of the export is over the cap of {_LINE_CAP_BYTES >> 20} MiB"
                )
            if not line.isspace():
                yield line


def _fetch(fetcher: Fetcher, url: httpx.URL, part: Path, what: str, *, anonymous: bool) -> None:
    """Make one attempt at what is missing of a file."""
    begin = part.stat().st_size if part.exists() else 0
    known = _read_head(part) if begin else {}
    if begin and begin == known.get("length"):
        return
    headers: dict[str, str] = {}
    if begin and known.get("ranges"):
        headers["Range"] = f"bytes={begin}-"
        if known.get("etag"):
            headers["If-Range"] = known["etag"]
    use: dict[str, Any] = {"accept": _NDJSON, "foreign": True, "anonymous": anonymous}
    try:
        with fetcher.open(url, what=what, headers=headers, **use) as response:
            named = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            goes_on = response.status_code == 206 and named and int(named[1]) == begin
            if response.status_code == 206 and not goes_on:
                raise Passing("sent another part of a file than was asked for")
            if not goes_on:
                _restart(part)
                _write_head(part, response.headers)
            _store(response, part)
    except SourceError as error:
        if error.status != 416:
            raise
        _restart(part)
        raise Passing("has another length of a file than before", status=416) from None
    length = _read_head(part).get("length")
    if length is not None and part.stat().st_size != length:
        _restart(part)
        raise Passing("sent more of a file than it has")


def _store(response: httpx.Response, part: Path) -> None:
    handle = create_private(part)
    try:
        os.lseek(handle, 0, os.SEEK_END)
        # As they came, since a range is one of packed bytes where they are packed; and at once,
        # since chunks of a fixed size would lose what had come of the last one.
        for chunk in response.iter_raw():
            left = memoryview(chunk)
            while left:
                left = left[os.write(handle, left) :]
    finally:
        os.fsync(handle)
        os.close(handle)


def _restart(part: Path) -> None:
    part.unlink(missing_ok=True)
    _head(part).unlink(missing_ok=True)


def _head(part: Path) -> Path:
    return part.with_suffix(".head")


def _read_head(part: Path) -> dict[str, Any]:
    try:
        return json.loads(_head(part).read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _write_head(part: Path, headers: httpx.Headers) -> None:
    etag, length = headers.get("ETag", ""), headers.get("Content-Length", "")
    told = {
        "ranges": headers.get("Accept-Ranges", "").lower() == "bytes",
        "etag": "" if etag.startswith("W/") else etag,  # a weak one may name other bytes
        "length": int(length) if length.isdecimal() else None,
    }
    os.close(create_private(_head(part)))
    _head(part).write_text(json.dumps(told), "utf-8")


def _is_packed(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as handle:
        return handle.read(2) == _GZIP
