"""Open a stranger's file for reading, through gzip where its name ends in .gz.

A .gz can stand for a thousand times what it holds. So what comes out is counted, and a file that
swells beyond what records do is read no further: it is then a file that is torn there.
"""

import gzip
import io
import zlib
from pathlib import Path
from typing import IO

from ingest.archives import ZipCaps

__all__ = ["TORN", "SwollenError", "open_bytes", "why_torn"]

_PART_BYTES = 1 << 18
_CAPS = ZipCaps()


class SwollenError(OSError):
    """A compressed file inflates beyond the cap."""


TORN = (OSError, EOFError, zlib.error)
"""What reading a damaged file raises: gzip has three ways to say it, and we a fourth."""


def open_bytes(path: Path, caps: ZipCaps = _CAPS) -> IO[bytes]:
    """Open a file for reading, through gzip where the name ends in .gz.

    Reading it raises one of `TORN` where it is damaged or inflates more than `caps.ratio` times.
    """
    if not path.name.lower().endswith(".gz"):
        return path.open("rb")
    return io.BufferedReader(_Inflated(path, caps), _PART_BYTES)


def why_torn(error: Exception) -> str:
    """Say why a file can't be read on, in words for the quarantine."""
    if isinstance(error, SwollenError):
        return f"over a cap: {error}"
    if isinstance(error, EOFError):
        return "torn: the gzip stream ends early"
    if isinstance(error, zlib.error | gzip.BadGzipFile):
        return "torn: the gzip stream is damaged"
    return f"torn: the file cannot be read on ({type(error).__name__})"


class _Inflated(io.RawIOBase):
    """Inflate, and hold what came out against what went in."""

    def __init__(self, path: Path, caps: ZipCaps) -> None:
        self._caps = caps
        self._packed = path.open("rb")
        self._gzip = gzip.GzipFile(fileobj=self._packed, mode="rb")
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._gzip.read1(min(len(buffer), _PART_BYTES))
        self._read += len(part)
        if self._caps.swells(self._read, self._packed.tell()):
            raise SwollenError(
                f"inflates more than {self._caps.ratio:g} times; if it is meant so, unpack it first"
            )
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._gzip.close()
        self._packed.close()
        super().close()
