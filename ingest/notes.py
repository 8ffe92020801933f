"""Turn a note's attachment into text: plain, HTML, CDA, RTF and PDF.

The bytes come from strangers. What they are is looked at, and what they are said to be only where
that shows nothing. Each kind has caps; PDF and RTF are read in a child process with capped memory
and time (ingest/note_formats.py). A note that can't be read gives a reason:

    no content · not base64 · empty · kind not read · damaged · encrypted · no text layer (a scan)
    not XML: … · XML with a document type declaration · over a cap: …
"""

import atexit
import base64
import binascii
import codecs
import os
import re
import threading
from dataclasses import dataclass

from ingest.errors import LimitError
from ingest.limits import Caps, LimitedChild
from ingest.note_markup import text_of_cda, text_of_html, tidy
from ingest.safe_xml import XmlError

__all__ = [
    "FILE_CAP_BYTES",
    "NOTE_CAP_BYTES",
    "Note",
    "kind_of_note",
    "note_text",
    "read_note",
    "text_of_html",
]

NOTE_CAP_BYTES = 8 << 20
"""No clinician wrote eight megabytes; what is longer is a machine's, or an attack."""

FILE_CAP_BYTES = 16 << 20
"""The same of a PDF or RTF, which may hold pictures."""

CHILD_CAPS = Caps(
    file_bytes=FILE_CAP_BYTES, decoded_bytes=16 << 20, memory_bytes=288 << 20, seconds=30
)
"""What reading a PDF or RTF may take; the child has a nearer cap on processor time."""

_HTML = ("text/html", "application/xhtml+xml")
_XML = ("text/xml", "application/xml", "application/hl7-sda+xml", "application/hl7-cda+xml")
_NAMED = {"application/pdf": "pdf", "application/rtf": "rtf", "text/rtf": "rtf"}
_CHARSET = re.compile(r"charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)
# Python's own codecs, which are no MIME charsets: some warn, some take the square of the length.
_NO_CHARSETS = ("idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7")
_HEAD_BYTES = 4096
# A prologue of comments and processing instructions (a stylesheet), then the root, prefixed or not.
_CDA_ROOT = re.compile(rb"<(?:[\w.-]+:)?ClinicalDocument[\s>/]")
_XML_START = re.compile(rb"\s*<(?:\?xml|!--|(?:[\w.-]+:)?ClinicalDocument)")
_HTML_START = re.compile(rb"\s*<(?:!doctype\s+html|html(?:\s[^<>]*)?>)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Note:
    """Hold what a note says, or why it can't be read: one of the two is None."""

    text: str | None = None
    reason: str | None = None


def note_text(content_type: str | None, data: str | None) -> str | None:
    """Read base64 data of a MIME type, or give None where it can't be read as text.

    >>> note_text("text/html", base64.b64encode(b"<p>No <b>effusion</b>.</p>").decode())
    'No effusion.'
    >>> note_text("image/png", "JVBERi0=") is None
    True
    """
    return read_note(content_type, data).text


def read_note(content_type: str | None, data: str | None) -> Note:
    """Read base64 data of a MIME type; never fail, and never go over the caps.

    >>> read_note("text/plain", base64.b64encode(b"No effusion.").decode())
    Note(text='No effusion.', reason=None)
    >>> read_note("image/png", base64.b64encode(b"...").decode())
    Note(text=None, reason='kind not read')
    """
    if not data:
        return Note(reason="no content")
    if len(data) > FILE_CAP_BYTES * 3 // 2:  # a third more, and line ends
        return Note(reason=f"over a cap: more than {FILE_CAP_BYTES} bytes")
    content = _bytes_of(data)
    if content is None:
        return Note(reason="not base64")
    return _read(content_type or "", content, inner=False)


def kind_of_note(content_type: str, head: bytes) -> str | None:
    r"""Say what a note is, by its first bytes or else by its MIME type; None for what isn't read.

    >>> kind_of_note("application/octet-stream", b"%PDF-1.7")
    'pdf'
    >>> kind_of_note("text/plain", b"{\\rtf1\\ansi No effusion.}")
    'rtf'
    """
    plain = head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe")  # UTF-16 shows as well
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if plain.lstrip().startswith(rb"{\rtf"):
        return "rtf"
    if _XML_START.match(plain) and _CDA_ROOT.search(plain):
        return "cda"
    mime = content_type.partition(";")[0].strip().lower()
    if mime in _HTML or _HTML_START.match(plain):
        return "html"
    if mime in _XML:
        return "cda"
    if mime in _NAMED:
        return _NAMED[mime]
    return "plain" if mime.startswith("text/") else None


def _read(content_type: str, content: bytes, *, inner: bool) -> Note:
    kind = kind_of_note(content_type, content[:_HEAD_BYTES])
    cap = FILE_CAP_BYTES if kind in ("pdf", "rtf") else NOTE_CAP_BYTES
    if kind is None:
        return Note(reason="kind not read")
    if len(content) > cap:
        return Note(reason=f"over a cap: more than {cap} bytes")
    try:
        if kind == "cda":
            text, attached = text_of_cda(content)
            if attached is not None:
                return _with_body(text, *attached, inner=inner)
        elif kind in ("pdf", "rtf"):
            told = _READERS.read(kind, content)
            if told.text is None:
                return told
            text = tidy(told.text)
        else:
            stated = _CHARSET.search(content_type)
            text = _decode(content, stated.group(1) if stated else None)
            text = text_of_html(text) if kind == "html" else tidy(text)
    except LimitError as error:
        return Note(reason=f"over a cap: {error}")
    except XmlError as error:
        return Note(reason=str(error))
    return Note(text=text) if text else Note(reason="empty")


def _with_body(title: str, mime: str, data: str, *, inner: bool) -> Note:
    """Read what stands in a CDA as its body: a PDF, mostly; not a CDA in a CDA in a CDA."""
    if inner:
        return Note(reason="over a cap: a CDA in a CDA in a CDA")
    content = _bytes_of(data)
    if content is None:
        return Note(reason="not base64")
    body = _read(mime, content, inner=True)
    return body if body.text is None else Note(text=f"{title}\n\n{body.text}".strip())


def _bytes_of(data: str) -> bytes | None:
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def _decode(content: bytes, charset: str | None) -> str:
    # Without a charset: UTF-8, else what Windows wrote; cp1252 with replacement never fails.
    marked = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else None
    for name in (charset, marked, "utf-8-sig"):
        try:
            if name is None or codecs.lookup(name).name in _NO_CHARSETS:
                continue
            return content.decode(name).removeprefix("\ufeff")
        except (UnicodeError, LookupError):
            continue
    return content.decode("cp1252", errors="replace")


class _Readers:
    """Keep children that wait for notes: one for each thread that reads at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[LimitedChild] = []
        self._owner = os.getpid()

    def read(self, kind: str, content: bytes) -> Note:
        """Read in a child; one that dies takes no other note with it."""
        with self._lock:
            if self._owner != os.getpid():  # after a fork, the children are the parent's
                self._idle, self._owner = [], os.getpid()
            child = self._idle.pop() if self._idle else None
        child = child or LimitedChild("ingest.note_formats:read_format", CHILD_CAPS)
        try:
            told, text = child.call(kind=kind, data=base64.b64encode(content).decode())
        except LimitError as error:
            return Note(reason=f"over a cap: {error}")
        finally:
            with self._lock:
                self._idle.append(child)
        if told["reason"] is not None:
            return Note(reason=told["reason"])
        return Note(text=text.decode())

    def close(self) -> None:
        """End the children that wait."""
        with self._lock:
            idle, self._idle = self._idle, []
        if self._owner == os.getpid():
            for child in idle:
                child.close()


_READERS = _Readers()
atexit.register(_READERS.close)
