"""Read a long JSON document part by part: of a Bundle one entry at a time is held in memory.

Python's own parser finds where an entry ends, by reading it; one that the text at hand breaks off
in is read again when there is twice as much. So what is JSON here is what is JSON elsewhere, and
no byte is looked at more than a few times.
"""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TextIO

from ingest.bundle_lines import BundleLines, Landed
from ingest.chunks import LONGEST_LINE, read_bytes
from ingest.opening import open_bytes
from ingest.wrapping import is_bundle

__all__ = ["land_long_json"]

_PART_BYTES = 1 << 20
_SPACE = re.compile(r"[ \t\n\r]*")
_SCAN = json.JSONDecoder().raw_decode
_MOST_VALUES = 1_000_000
_NEAR_END = 16  # characters: the longest that a number or a word can be told from its beginning
_UNMET = object()


def land_long_json(path: Path, out: TextIO) -> Landed:
    """Write a line for each record of a document, as `read_document` would; of a bad one none.

    Args:
        path: The file.
        out: An empty file that can be written and cut.
    """
    bundle = BundleLines(out)
    landed, damage = _land(path, bundle)
    if landed is None:  # a type that is written after what looked like a Bundle's entries
        bundle.split = False
        landed, damage = _land(path, bundle)
    elif bundle.newest_first:
        # A history is newest first, and only now it shows how many entries there are.
        bundle.total = bundle.entries
        landed, damage = _land(path, bundle)
    if landed is None:
        raise RuntimeError("a document that was read whole was not landed")
    return bundle.end(landed, damage)


class _BadError(Exception):
    """The document is over a cap or no FHIR; the text says why."""


class _NotJsonError(_BadError):
    """The document is no JSON."""


def _land(path: Path, bundle: BundleLines) -> tuple[Landed | None, str | None]:
    """Land the document, and say what damage it has; of None the entries must not be split."""
    bundle.restart()
    with open_bytes(path) as handle:
        text = _Text(handle)
        try:
            kind = _read(text, bundle)
        except _BadError as error:
            problem = str(error)
            if isinstance(error, _NotJsonError):
                # What is not UTF-8 is said first, wherever it stands.
                problem = text.find_bad_byte() or problem
            return Landed(kind="resource", problem=problem), text.damage
        return kind and Landed(kind=kind), text.damage


def _read(text: "_Text", bundle: BundleLines) -> str | None:
    """Read the document; write its entries as they come, or at its end what else it is."""
    if text.after_space() != "{":
        raise _NotJsonError("not JSON, or not FHIR: it does not begin as an object")
    first_line = text.lines()
    members: dict[str, Any] = {}
    room = LONGEST_LINE
    for name, begun in _names(text):
        if (
            bundle.split
            and name == "entry"
            and text.after_space() == "["
            and _may_be_bundle(members)
        ):
            bundle.restart()
            for entry in _elements(text):
                bundle.add(entry)
            members[name] = _UNMET
            continue
        members[name] = text.value()
        room -= text.place() - begun
        if room < 0:
            raise _BadError(f"a document of over {LONGEST_LINE >> 20} MiB beside entries")
    last_line = text.lines()
    if text.after_space():
        if last_line == first_line and text.lines() > last_line:
            return "ndjson"
        raise text.bad()
    if members.get("entry") is not _UNMET:
        bundle.add_document(members)
    elif not is_bundle(members):
        return None
    bundle.newest_first = is_bundle(members) and members.get("type") == "history"
    return "bundle" if is_bundle(members) else "resource"


def _may_be_bundle(members: dict[str, Any]) -> bool:
    return "resourceType" not in members or is_bundle(members)


def _names(text: "_Text") -> Iterator[tuple[str, int]]:
    """Give the names of an object and where each begins; its value is to be read then."""
    text.step()
    if text.after_space() == "}":
        text.step()
        return
    while True:
        if text.after_space() != '"':
            raise text.bad()
        begun = text.place()
        name = text.value()
        if text.after_space() != ":":
            raise text.bad()
        text.step()
        text.after_space()
        yield name, begun
        if text.after_space() == "}":
            text.step()
            return
        if text.after_space() != ",":
            raise text.bad()
        text.step()


def _elements(text: "_Text") -> Iterator[Any]:
    text.step()
    if text.after_space() == "]":
        text.step()
        return
    while True:
        text.after_space()
        yield text.value()
        if text.after_space() == "]":
            text.step()
            return
        if text.after_space() != ",":
            raise text.bad()
        text.step()


class _Text:
    """Hold as much of a document's text as is needed, and know where in the document that is."""

    def __init__(self, handle: IO[bytes]) -> None:
        self.damage: str | None = None
        self._handle = handle
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at = "", 0
        self._ended = False
        self._bytes = 0  # that were decoded
        self._gone = self._gone_lines = self._gone_column = 0  # characters before `_text`
        self._bad_byte: str | None = None

    def after_space(self) -> str:
        """Go to what follows white space, and give that character; none at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def step(self) -> None:
        self._at += 1

    def place(self) -> int:
        """Say how many characters came before."""
        return self._gone + self._at

    def lines(self) -> int:
        """Say how many line ends came before."""
        return self._gone_lines + self._text.count("\n", 0, self._at)

    def value(self) -> Any:
        """Read a value; the reading goes on behind it."""
        while True:
            try:
                value, end = _SCAN(self._text, self._at)
            except json.JSONDecodeError as error:
                # A string that does not end is said to be bad where it begins.
                near = len(self._text) - error.pos <= _NEAR_END
                ahead = error.pos - self._at
                if (near or error.msg.startswith("Unterminated")) and self._more():
                    continue
                self._at += ahead
                raise self.bad() from None
            except (ValueError, RecursionError):
                reason = "not JSON: a number or a nesting beyond any limit"
                raise _NotJsonError(reason) from None
            # Of a number there may be more: 1 is the beginning of 1.5e-3.
            short = isinstance(value, int | float) and len(self._text) - end < _NEAR_END
            ahead = end - self._at
            if short and self._more():
                continue
            self._at += ahead
            return value

    def bad(self) -> _NotJsonError:
        """Say that it is no JSON from here."""
        column = self._at - self._text.rfind("\n", 0, self._at)
        column += 0 if "\n" in self._text[: self._at] else self._gone_column
        return _NotJsonError(f"not JSON: line {self.lines() + 1} column {column}")

    def find_bad_byte(self) -> str | None:
        """Read to the end for what is not UTF-8, and say where it is."""
        while self._bad_byte is None:
            self._at = len(self._text)
            try:
                if not self._more():
                    break
            except _NotJsonError:
                break
        return self._bad_byte

    def _more(self) -> bool:
        """Read as much again as there is not yet used, and say whether there was more."""
        if self._ended or self._bad_byte is not None:
            return False
        left = len(self._text) - self._at
        if left > LONGEST_LINE:
            raise _BadError(f"an entry or another element of over {LONGEST_LINE >> 20} MiB")
        if left > _PART_BYTES and self._text.count(",", self._at) > _MOST_VALUES:
            # Bytes are held to the cap; the objects that they stand for take thirty times as much.
            raise _BadError(f"an entry or another element of over {_MOST_VALUES:,} values")
        wanted = max(_PART_BYTES, left)
        part, self.damage = read_bytes(self._handle, wanted)
        self._ended = len(part) < wanted
        if not self._bytes:
            part = part.removeprefix(codecs.BOM_UTF8)
        before = self._bytes - len(self._decoder.getstate()[0])
        try:
            more = self._decoder.decode(part, final=self._ended)
        except UnicodeDecodeError as error:
            self._bad_byte = f"not JSON: byte {before + error.start} is not UTF-8"
            while self.damage is None and part:  # which goes before all else
                part, self.damage = read_bytes(self._handle, _PART_BYTES)
            raise _NotJsonError(self._bad_byte) from None
        self._bytes += len(part)
        end = self._text.rfind("\n", 0, self._at) + 1
        self._gone_column = self._at - end if end else self._gone_column + self._at
        self._gone_lines = self.lines()
        self._gone += self._at
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(more) or not self._ended
