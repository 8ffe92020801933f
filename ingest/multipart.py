r"""Read a multipart answer as it comes, a part at a time, holding no more than a chunk of it.

The form is RFC 2046 section 5.1, as WADO-RS uses it (DICOM PS3.18 section 8.6): parts between lines
of `--boundary`, each with headers, the last line ending in `--`. A delimiter is only what stands at
the beginning of a line and is all of it, for a picture may hold any bytes. An answer that ends
before its last delimiter is torn, however well-formed the HTTP around it was.
"""

import re
from collections.abc import Iterator
from email.message import Message

from ingest.patience import Passing

__all__ = ["PartReader", "media_type"]

_PREAMBLE_CAP_BYTES = 64 << 10
_HEAD_CAP_BYTES = 16 << 10
_EPILOGUE_CAP_BYTES = 64 << 10
_LONGEST_LINE_END = 64  # white space after a delimiter, which some gateways add
_LINE_END = re.compile(rb"[ \t]*\r\n")


def media_type(said: str) -> tuple[str, bytes]:
    """Give the type that a Content-Type header names, in small letters, and its boundary.

    >>> media_type('multipart/related; type="application/dicom"; boundary="a b"')
    ('multipart/related', b'a b')
    >>> media_type("application/dicom")
    ('application/dicom', b'')
    """
    header = Message()
    header["Content-Type"] = said
    boundary = header.get_param("boundary", "")
    return header.get_content_type(), str(boundary).encode("latin-1", "replace")


class PartReader:
    r"""Read the parts of a body whose chunks are given.

    >>> body = [b"--x\r\nContent-Type: text/plain\r\n\r\non", b"e\r\n-", b"-x\r\n\r\ntwo\r\n--x--"]
    >>> reader = PartReader(iter(body), b"x")
    >>> while reader.go_to_next():
    ...     print(b"".join(reader.content()))
    b'one'
    b'two'

    Raises:
        Passing: there is no boundary, or the body lacks it, or breaks off.
    """

    def __init__(self, chunks: Iterator[bytes], boundary: bytes) -> None:
        if not boundary:
            raise Passing("sent multipart without a boundary", status=200)
        self._chunks = chunks
        self._delimiter = b"\r\n--" + boundary
        self._held = bytearray(b"\r\n")  # so that the first delimiter is like the others
        self._in_part = False
        self._is_at_delimiter = False
        self._is_over = False

    def go_to_next(self) -> bool:
        """Go to the content of the next part, past what is left of this one; False at the end."""
        for _ in self.content():
            pass
        size = 0
        for chunk in () if self._is_at_delimiter else self._to_delimiter():
            size += len(chunk)
            if size > _PREAMBLE_CAP_BYTES:
                raise Passing("sent multipart without the boundary that it names", status=200)
        if self._is_over:
            return False
        while (end := self._held.find(b"\r\n\r\n")) < 0:
            if len(self._held) > _HEAD_CAP_BYTES:
                raise Passing("sent a part whose headers have no end", status=200)
            self._fill()
        del self._held[: end + 4]
        self._in_part, self._is_at_delimiter = True, False
        return True

    def content(self) -> Iterator[bytes]:
        """Give what is left of this part."""
        if self._in_part:
            yield from self._to_delimiter()
            self._in_part = False

    def drain(self) -> None:
        """Read what follows the last part, so that the connection can be used again."""
        size = 0
        while self._is_over and size < _EPILOGUE_CAP_BYTES:
            chunk = next(self._chunks, None)
            if chunk is None:
                return
            size += len(chunk)

    def _to_delimiter(self) -> Iterator[bytes]:
        """Give what comes before the next delimiter, and leave the end of its line held."""
        begin = 0
        while True:
            at = self._held.find(self._delimiter, begin)
            if at < 0:
                keep = len(self._delimiter) - 1
                if len(self._held) > keep:
                    yield bytes(self._held[:-keep])
                    del self._held[:-keep]
                begin = 0
                self._fill()
                continue
            end = at + len(self._delimiter)
            while len(self._held) < end + 2 or (
                self._held[end : end + 1] in (b" ", b"\t")
                and b"\r\n" not in self._held[end:]
                and len(self._held) < end + _LONGEST_LINE_END
            ):
                self._fill()
            last = self._held[end : end + 2] == b"--"
            line_end = _LINE_END.match(self._held, end)
            if not last and line_end is None:
                begin = at + 1  # as long as a boundary begins, and yet not one
                continue
            yield bytes(self._held[:at])
            del self._held[: end if line_end is None else line_end.end() - 2]
            self._is_at_delimiter, self._is_over = True, last
            return

    def _fill(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise Passing("broke off in the middle of multipart", status=200)
        self._held += chunk
