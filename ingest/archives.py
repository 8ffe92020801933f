"""Open a .zip that a stranger made: each member is given, or named with the reason why not.

A zip can stand for far more than it holds: a few kilobytes that inflate to gigabytes, a directory
of millions of entries, members that overlap, names that lead out of the folder. So its directory is
counted before it is read, what comes out is counted as it comes out, and names are made harmless.
"""

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ingest.errors import InputError, LimitError

__all__ = ["Member", "ZipCaps", "is_zip", "open_zip", "safe_name", "unpack_zip"]

_CHUNK_BYTES = 1 << 20
_STARTS = (b"PK\3\4", b"PK\5\6")
_TORN = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError,
    ValueError, OSError,
)  # fmt: skip
"""What zipfile raises where a zip is damaged, or of a kind that it does not read."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1  # APPNOTE 4.4.4, bit 0
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar", ".bz2", ".xz", ".zst")
_NAME_CAP = 200  # bytes: file systems take 255, and a number comes before it


@dataclass(frozen=True, kw_only=True)
class ZipCaps:
    """Bound what a zip may hold."""

    members: int = 100_000
    """Files and folders in its directory."""

    member_bytes: int = 16 << 30
    """One member, inflated."""

    total_bytes: int = 64 << 30
    """All members, inflated."""

    ratio: float = 200.0
    """Inflated to deflated bytes of a member; FHIR as NDJSON comes to 10 to 60."""

    any_ratio_bytes: int = 4 << 20
    """Up to this many inflated bytes the ratio says nothing: an empty image deflates to nothing."""

    def __post_init__(self) -> None:
        for name in ("members", "member_bytes", "total_bytes", "ratio", "any_ratio_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive; got {name}={getattr(self, name)}")

    def swells(self, inflated: int, deflated: int) -> bool:
        """Say whether so many bytes are more than may come out of so few."""
        return inflated > self.any_ratio_bytes and inflated > self.ratio * max(deflated, 1)


@dataclass(frozen=True, kw_only=True)
class Member:
    """Hold one member of a zip: a stream of its bytes, or the reason why there is none."""

    name: str
    """Path in the zip, made harmless: relative, without `..`, control characters or drives."""

    stream: IO[bytes] | None = None
    """To be read before the next member is asked for; over a cap or damaged, reading it raises."""

    reason: str | None = None


def is_zip(path: Path) -> bool:
    """Say whether a file begins as a zip does."""
    with path.open("rb") as handle:
        return handle.read(4) in _STARTS


def open_zip(path: Path, caps: ZipCaps | None = None) -> Iterator[Member]:
    """Give each file of a zip, in the order of its directory; folders are none.

    Left out with a reason: links and other special files, encrypted members, archives within the
    archive, hidden files, compression other than deflate, and what claims to be over a cap.

    Raises:
        InputError: it is no zip, or its directory is damaged.
        LimitError: its directory is over the cap on members; or from a member's stream, that it
            inflates beyond a cap.
    """
    caps = caps or ZipCaps()
    with path.open("rb") as handle:
        _count_members(handle, path.name, caps.members)
        try:
            archive = zipfile.ZipFile(handle)
        except _TORN:
            raise InputError(f"{path.name} is no zip that can be read") from None
        size = path.stat().st_size
        # Members that overlap inflate the same bytes again and again.
        left = [min(caps.total_bytes, max(int(caps.ratio * size), 16 * caps.any_ratio_bytes))]
        with archive:
            for info in archive.infolist():
                if info.filename.endswith("/"):  # `is_dir` fails of a name that is empty
                    continue
                name = safe_name(info.filename)
                reason = _why_not(info, name, caps)
                if reason is not None:
                    yield Member(name=name, reason=reason)
                    continue
                try:
                    raw = archive.open(info)
                    nested = raw.peek(4).startswith(_STARTS)  # whatever it is called
                except _TORN:
                    yield Member(name=name, reason="damaged")
                    continue
                with raw:
                    if nested:
                        yield Member(name=name, reason="an archive within an archive")
                        continue
                    deflated = min(info.compress_size, size)
                    counted = _Counted(raw, deflated, caps, left)
                    yield Member(name=name, stream=io.BufferedReader(counted))


def unpack_zip(
    path: Path, target: Path, caps: ZipCaps | None = None
) -> list[tuple[str, Path | None, str | None]]:
    """Unpack a zip into a folder of its own; give each member's name, file, and reason if none.

    Files are named by their number and the end of their name, so that no name can do harm; what
    does not come out whole is not left there.

    Raises:
        InputError: it is no zip, or its directory is damaged.
        LimitError: its directory is over the cap on members.
    """
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    found: list[tuple[str, Path | None, str | None]] = []
    for number, member in enumerate(open_zip(path, caps), 1):
        reason = member.reason
        place = target / f"{number:06d}-{_shortened(member.name.rpartition('/')[2])}"
        if member.stream is not None:
            reason = _write(member.stream, place)
        found.append((member.name, place if reason is None else None, reason))
    return found


def safe_name(name: str) -> str:
    r"""Make a member's name a relative path that leads nowhere else.

    >>> safe_name("../../etc/passwd"), safe_name("C:\\x\\..\\a.json"), safe_name("/")
    ('etc/passwd', 'x/a.json', 'nameless')
    """
    parts = name.replace("\\", "/").split("/")
    kept = ["".join(c for c in part if c.isprintable()).strip() for part in parts]
    kept = [p for p in kept if p not in ("", ".", "..") and not (len(p) == 2 and p[1] == ":")]
    return "/".join(kept) or "nameless"


def _why_not(info: zipfile.ZipInfo, name: str, caps: ZipCaps) -> str | None:
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "a link" if stat.S_ISLNK(mode) else "a special file"
    if any(part.startswith(".") or part == "__MACOSX" for part in name.split("/")):
        return "a hidden file"
    if info.flag_bits & _ENCRYPTED:
        return "encrypted"
    if name.lower().endswith(_ARCHIVES):
        return "an archive within an archive"
    if info.compress_type not in _METHODS:
        return "compressed by another method than deflate"
    if info.file_size > caps.member_bytes:
        return f"over a cap: more than {caps.member_bytes} bytes"
    if caps.swells(info.file_size, info.compress_size):
        return f"over a cap: inflates more than {caps.ratio:g} times"
    return None


class _Counted(io.RawIOBase):
    """Read a member and count, since what it claims of its size need not be so."""

    def __init__(self, raw: IO[bytes], deflated: int, caps: ZipCaps, left: list[int]) -> None:
        self._raw, self._deflated, self._caps, self._left = raw, deflated, caps, left
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            part = self._raw.read(min(len(buffer), _CHUNK_BYTES))
        except _TORN as error:
            raise OSError("a member of the zip is damaged") from error
        self._read += len(part)
        self._left[0] -= len(part)
        if self._left[0] < 0:
            raise LimitError("with the members before it, more than the whole zip may inflate to")
        if self._read > self._caps.member_bytes:
            raise LimitError(f"more than {self._caps.member_bytes} bytes")
        if self._caps.swells(self._read, self._deflated):
            raise LimitError(f"inflates more than {self._caps.ratio:g} times")
        buffer[: len(part)] = part
        return len(part)


def _write(stream: IO[bytes], place: Path) -> str | None:
    """Write a member whole, or give the reason why not."""
    partial = place.with_name(place.name + ".partial")
    reason = None
    with partial.open("wb") as out:
        while reason is None:
            part, reason = _next(stream)
            if not part:
                break
            out.write(part)
    if reason is None:
        partial.replace(place)
    else:
        partial.unlink()
    return reason


def _next(stream: IO[bytes]) -> tuple[bytes, str | None]:
    # Apart from the writing, so that a full disk is not taken for a damaged member.
    try:
        return stream.read(_CHUNK_BYTES), None
    except LimitError as error:
        return b"", f"over a cap: {error}"
    except OSError:
        return b"", "damaged"


def _shortened(name: str) -> str:
    """Keep the end of a name, which says what it is."""
    return name.encode()[-_NAME_CAP:].decode("utf-8", "ignore")


_END = struct.Struct("<4s4H2LH")  # APPNOTE 4.3.16: end of central directory
_END64_AT = struct.Struct("<4sLQL")  # 4.3.15: its locator in zip64
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_ENTRY = struct.Struct("<4s6H3L5H2L")  # 4.3.12: a file header in the directory
_ENTRY_BYTES = 512  # with its name; twice what zips of deep folders come to
_LONGEST_COMMENT = 1 << 16


def _count_members(handle: IO[bytes], name: str, most: int) -> None:
    """Walk the directory without building it: a million entries take a gigabyte as objects."""
    size = handle.seek(0, os.SEEK_END)
    tail_at = max(0, size - _END.size - _LONGEST_COMMENT)
    handle.seek(tail_at)
    tail = handle.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise InputError(f"{name} is no zip that can be read")
    end = _END.unpack_from(tail, at)
    length, end_at = end[5], tail_at + at
    if _END64_AT.size <= at and tail[at - _END64_AT.size : at].startswith(b"PK\6\7"):
        end_at -= _END64_AT.size + _END64.size
        handle.seek(max(end_at, 0))
        end64 = handle.read(_END64.size)
        if len(end64) < _END64.size or not end64.startswith(b"PK\6\6"):
            raise InputError(f"{name} is no zip that can be read")
        length = _END64.unpack(end64)[8]
    if length > end_at:
        raise InputError(f"{name} is no zip that can be read")
    if length > max(most * _ENTRY_BYTES, 1 << 20):
        raise LimitError(f"{name} holds more than the cap of {most} members")
    handle.seek(end_at - length)
    directory = handle.read(length)
    at = members = 0
    while at < length:
        if length - at < _ENTRY.size or not directory.startswith(b"PK\1\2", at):
            raise InputError(f"{name} is no zip that can be read")
        members += 1
        if members > most:
            raise LimitError(f"{name} holds more than the cap of {most} members")
        at += _ENTRY.size + sum(_ENTRY.unpack_from(directory, at)[10:13])
