"""Read the formats that are programs rather than text, PDF and RTF, inside a limited child.

Both can loop or swell on a few bytes: a PDF's streams inflate a thousandfold and its forms draw one
another, an RTF reader's patterns take the cube of a line's length. So this runs where memory and
time are capped (ingest/limits.py), with caps of its own that are met first and name a reason.
"""

import base64
import io
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn
from unicodedata import normalize

import pypdf
from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError
from striprtf.striprtf import font_table_group, rtf_to_text

from ingest.errors import LimitError

__all__ = ["READERS", "read_format", "text_of_pdf", "text_of_rtf"]

_TEXT_CAP = 4 << 20
_PAGES_CAP = 1000
_GROUPS_CAP = 500
_FONTS_CAP = 1 << 16
_INFLATED_CAP = 32 << 20
_CPU_S = 1.0
_BYTES_A_SECOND = 1 << 18  # PDFs of text take a second for half a megabyte
_MOST_CPU_S = 10.0


class _Unread(Exception):  # noqa: N818 - an answer rather than an error
    """Say why a note can't be read."""


class _OutOfTime(BaseException):
    """Raised by the clock; libraries that catch `Exception` do not catch it."""


def read_format(kind: str, data: str) -> tuple[dict[str, Any], bytes]:
    """Read base64 of a `pdf` or `rtf`; give the reason why not, or the text in UTF-8."""
    content = base64.b64decode(data)
    # A long note may take longer; a few bytes that take long are an attack.
    seconds = min(_CPU_S + len(content) / _BYTES_A_SECOND, _MOST_CPU_S)
    try:
        with _clock(seconds):
            text = READERS[kind](content)
    except _Unread as why:
        return {"reason": str(why)}, b""
    except (LimitError, LimitReachedError) as error:
        said = str(error) if isinstance(error, LimitError) else "a part that inflates too far"
        return {"reason": f"over a cap: {said}"}, b""
    except _OutOfTime:
        return {"reason": f"over a cap: more than {seconds:.0f} s of work"}, b""
    except MemoryError:
        return {"reason": "over a cap: memory"}, b""
    except Exception:  # strangers' bytes fail a parser in any way; its text may hold the note's
        return {"reason": "damaged"}, b""
    return {"reason": None}, text.encode("utf-8", "replace")


# Fonts name their drawings, not letters: a ligature is its letters and a radical its character.
# No more than these: NFKC over all would make 109 of 10⁹.
_GLYPHS = re.compile("[\u2f00-\u2fd5\ufb00-\ufb06]")


def text_of_pdf(content: bytes) -> str:
    """Give the text layer of a PDF, page by page; a password that is empty is tried."""
    reader = pypdf.PdfReader(io.BytesIO(content))
    try:
        if reader.is_encrypted and not reader.decrypt(""):
            raise _Unread("encrypted")
        if len(reader.pages) > _PAGES_CAP:
            raise LimitError(f"more than {_PAGES_CAP} pages")
        pages: list[str] = []
        length = 0
        for page in reader.pages:
            pages.append(page.extract_text())
            length += len(pages[-1])
            if length > _TEXT_CAP:
                raise LimitError(f"more than {_TEXT_CAP} characters")
    except (DependencyError, FileNotDecryptedError, NotImplementedError) as error:
        # AES without a library for it, or a filter that is none of the specification's.
        raise _Unread("encrypted" if reader.is_encrypted else "damaged") from error
    if not pages:
        raise _Unread("damaged")
    if not any(page.strip() for page in pages):
        raise _Unread("no text layer")
    return _GLYPHS.sub(lambda glyph: normalize("NFKC", glyph[0]), "\n\n".join(pages))


# What is not text is taken out first: the bytes of pictures (\bin, and runs of hex digits).
_BINARY = re.compile(rb"\\bin(\d{1,9}) ?")
_PICTURE = re.compile(rb"[0-9A-Fa-f\r\n]{128,}")
_HIGH = re.compile(rb"[\x80-\xff]")
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
# striprtf's patterns for links and fonts search to the line's end from each of these: so the line
# ends there, which means nothing in RTF. What a link shows is read, where it leads to is not.
_SEARCHED = re.compile(r"(?=\{\\field|HYPERLINK|\\f\d)", re.IGNORECASE)
# Both readings of a text that old readers may not know, the plain one first.
_BOTH = re.compile(r"\\upr(?![a-zA-Z])")
# Character sets of the Macintosh, which Python does not have, to the nearest of Windows.
_MAC = {78: 128, 79: 136, 80: 129, 81: 178, 82: 177, 84: 222, 85: 134, 87: 204, 89: 238}
_CHARSET = re.compile(r"\\fcharset(7[89]|8\d)(?!\d)")


_STRIKE = re.compile(r"\\(?:strike|deleted)")
_TOKEN = re.compile(
    r"\\(?P<word>[a-zA-Z]+)(?P<number>-?\d+)? ?|\\'[0-9a-fA-F]{2}|\\.|[{}]|[^\\{}]+|\\", re.DOTALL
)


def text_of_rtf(content: bytes) -> str:
    r"""Give the text of RTF: code pages, `\u` escapes and tables; no pictures, no field codes.

    What is struck out is left out (see note_markup.py).
    """
    if not content.lstrip().startswith(rb"{\rtf"):
        raise _Unread("damaged")
    content = _PICTURE.sub(b"", _without_binaries(content))
    text = _HIGH.sub(lambda byte: b"\\'%02x" % byte[0][0], content).decode("latin-1")
    depth = 0
    for brace in _BRACES.finditer(text):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth > _GROUPS_CAP:
            raise LimitError(f"more than {_GROUPS_CAP} groups inside one another")
    if _STRIKE.search(text):
        text = "".join(_unstruck(text))
    text = _BOTH.sub("", _SEARCHED.sub("\n", text))
    if len(font_table_group(text)) > _FONTS_CAP:
        raise LimitError(f"fonts of more than {_FONTS_CAP} characters")
    text = _CHARSET.sub(lambda found: f"\\fcharset{_MAC.get(int(found[1]), int(found[1]))}", text)
    said = rtf_to_text(text, errors="replace")
    if len(said) > _TEXT_CAP:
        raise LimitError(f"more than {_TEXT_CAP} characters")
    # Characters beyond 65,535 are written as two halves of UTF-16.
    return said.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


READERS: dict[str, Callable[[bytes], str]] = {"pdf": text_of_pdf, "rtf": text_of_rtf}


def _without_binaries(content: bytes) -> bytes:
    kept, at = [], 0
    while found := _BINARY.search(content, at):
        kept.append(content[at : found.start()])
        at = found.end() + int(found[1])
    return b"".join([*kept, content[at:]])


def _unstruck(text: str) -> Iterator[str]:
    """Give RTF without the characters that are struck out or deleted; controls and groups stay."""
    struck: frozenset[str] = frozenset()
    outer: list[frozenset[str]] = []
    for token in _TOKEN.finditer(text):
        said, word = token[0], token["word"]
        if said == "{":
            outer.append(struck)
        elif said == "}":
            struck = outer.pop() if outer else frozenset()
        elif word in ("strike", "striked", "deleted"):
            off = token["number"] == "0"
            struck = struck - {word} if off else struck | {word}
            said = said if off else f"{said.rstrip(' ')}  "  # where it stood, a space
        elif word == "plain":
            struck = frozenset()
        elif struck and (word is None or word == "u"):
            continue
        yield said


@contextmanager
def _clock(seconds: float) -> Iterator[None]:
    """End the work after so much processor time: a busy machine makes no note unreadable."""

    def ring(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise _OutOfTime

    before = signal.signal(signal.SIGPROF, ring)
    # Again and again: what is raised inside a destructor is lost.
    signal.setitimer(signal.ITIMER_PROF, seconds, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


# No program is started for a picture, and no stream may inflate beyond what a child can hold.
pypdf.overwrite_configuration(
    jbig2dec_binary=None,
    maximum_declared_stream_length=_INFLATED_CAP,
    array_based_stream_maximum_output_length=_INFLATED_CAP,
    lzw_maximum_output_length=_INFLATED_CAP,
    run_length_maximum_output_length=_INFLATED_CAP,
    zlib_maximum_output_length=_INFLATED_CAP,
    zlib_maximum_recovery_input_length=1 << 20,
    stream_decoding_work_maximum_length=4 * _INFLATED_CAP,
    page_tree_maximum_entries=10 * _PAGES_CAP,
    page_tree_maximum_page_entries=100 * _PAGES_CAP,
    xform_maximum_invocations_per_extraction=500,
)
