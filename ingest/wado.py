"""Read the DICOM files that a WADO-RS answer holds, one after the other, onto disk.

An answer for one instance holds one file, an answer for a series many (PS3.18 section 10.4). Which
instance a file is, is read from its own bytes, since neither the order nor the headers of the parts
say it; the rest of the file is not parsed here.
"""

import itertools
import os
import re
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import httpx

from ingest.errors import LimitError
from ingest.fetch_state import create_private
from ingest.multipart import PartReader, media_type
from ingest.patience import Passing

__all__ = ["DICOM", "save_files"]

DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""What is asked for: files as the archive holds them (PS3.18 section 8.7.3.5.2)."""

_HEAD_BYTES = 64 << 10
# Media Storage SOP Instance UID of the file's meta information, then SOP Instance UID of the data
# set, in each of the three ways in which an element can be written (PS3.5 section 7.1).
_NAMED = re.compile(
    rb"(?:\x02\x00\x03\x00UI..|\x08\x00\x18\x00(?:UI..|.{4})|\x00\x08\x00\x18UI..)([0-9.]{1,64})",
    re.DOTALL,
)


def save_files(
    response: httpx.Response,
    scratch: Path,
    wanted: Collection[str],
    *,
    cap_bytes: int,
    longest_s: float,
) -> Iterator[str]:
    """Write each file to `scratch` and give its SOP Instance UID, or nothing where it is unwanted.

    The file is whole and on disk then; whoever asks for the next one has taken it away.

    Args:
        response: Its body is not read yet.
        scratch: Written over by each file.
        wanted: SOP Instance UIDs; may shrink meanwhile.
        cap_bytes: Of one file.
        longest_s: For one file.

    Raises:
        Passing: the answer is not what was asked for, or breaks off.
        LimitError: a file is over the cap.
    """
    for chunks in _files(response):
        head, size, until = bytearray(), 0, time.monotonic() + longest_s
        handle = create_private(scratch)
        try:
            os.truncate(handle, 0)
            for chunk in chunks:
                size += len(chunk)
                if size > cap_bytes:
                    raise LimitError(f"an instance is over the cap of {cap_bytes} bytes")
                if time.monotonic() > until:
                    raise Passing("answered too slowly")
                head += chunk[: _HEAD_BYTES - len(head)]
                left = memoryview(chunk)
                while left:
                    left = left[os.write(handle, left) :]
            uid = _identify(bytes(head), wanted)
            if uid is not None:
                os.fsync(handle)
        finally:
            os.close(handle)
        yield uid or ""


def _files(response: httpx.Response) -> Iterator[Iterator[bytes]]:
    """Give the bytes of each file that an answer holds."""
    kind, boundary = media_type(response.headers.get("Content-Type", ""))
    if kind == "application/dicom":
        yield response.iter_bytes()
    elif kind == "multipart/related":
        reader = PartReader(response.iter_bytes(), boundary)
        while reader.go_to_next():
            yield reader.content()
        reader.drain()
    else:
        raise Passing("answered with what is not DICOM", status=200)


def _identify(head: bytes, wanted: Collection[str]) -> str | None:
    """Say which of the wanted instances a DICOM file (PS3.10 section 7.1) is."""
    if head[128:132] != b"DICM":
        raise Passing("answered with what is not DICOM", status=200)
    names = (found[1].decode("ascii") for found in itertools.islice(_NAMED.finditer(head), 2))
    return next((uid for uid in names if uid in wanted), None)
