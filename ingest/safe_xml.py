"""Parse XML that comes from strangers: no DTD, no entities, nothing fetched, and caps on its size.

Python's own expat does the reading. A document type declaration is refused as soon as it begins, so
that entities ("billion laughs") and external references can't even be declared. HL7 writes neither:
FHIR forbids them (https://hl7.org/fhir/R4/xml.html), and a CDA is described by a schema.
"""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from ingest.errors import LimitError

__all__ = ["XmlCaps", "XmlError", "parse_children", "parse_xml"]

_PART_BYTES = 1 << 16
# What expat takes by itself: other encodings cost it a table, and hide a tag from our sniffing.
_ENCODINGS = ("utf-8", "utf-16", "us-ascii", "ascii", "iso-8859-1", "windows-1252")


class XmlError(ValueError):
    """What can't be read as XML, or is refused; the text tells nothing of what is in it."""


@dataclass(frozen=True, kw_only=True)
class XmlCaps:
    """Bound what an XML document may hold."""

    content_bytes: int = 8 << 20
    """Bytes of the document."""

    elements: int = 200_000
    """Elements and attributes: each takes a few hundred bytes of memory."""

    depth: int = 200
    """Elements inside one another."""

    def __post_init__(self) -> None:
        for name in ("content_bytes", "elements", "depth"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive; got {name}={getattr(self, name)}")


def parse_xml(content: bytes, caps: XmlCaps | None = None) -> Element:
    """Read a document into elements, with names like `{urn:hl7-org:v3}section`.

    Comments and processing instructions are left out.

    Raises:
        XmlError: it is no XML, or has a document type declaration.
        LimitError: it is over one of the caps.

    >>> parse_xml(b"<a x='1'><b>text</b></a>")[0].text
    'text'
    >>> parse_xml(b"<!DOCTYPE a [<!ENTITY lol 'lol'>]><a>&lol;</a>")
    Traceback (most recent call last):
    ingest.safe_xml.XmlError: XML with a document type declaration
    """
    caps = caps or XmlCaps()
    if len(content) > caps.content_bytes:
        raise LimitError(f"XML of {len(content)} bytes is over the cap of {caps.content_bytes}")
    reading = _Reading(caps)
    # In parts, so that a cap that is reached ends the reading there.
    parts = (content[at : at + _PART_BYTES] for at in range(0, len(content), _PART_BYTES))
    for _ in _parse(reading, parts):
        pass
    return reading.builder.close()


def parse_children(parts: Iterable[bytes], caps: XmlCaps | None = None) -> Iterator[Element]:
    """Read a document that need not fit in memory: give its root, bare, then each child by itself.

    The caps hold for each child. The last of the children is given before the end of the document
    is read: what is wrong there is raised after it.

    Args:
        parts: The document's bytes, in order.
        caps: On bytes, elements and depth.

    Raises:
        XmlError: it is no XML, or has a document type declaration.
        LimitError: a child is over one of the caps.
    """
    reading = _Children(caps or XmlCaps())
    for _ in _parse(reading, parts):
        yield from reading.take()


def _parse(reading: "_Reading", parts: Iterable[bytes]) -> Iterator[None]:
    """Parse part by part; gives the turn after each."""
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler = reading.start
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.XmlDeclHandler = _check_encoding
    try:
        for part in parts:
            parser.Parse(part, False)
            reading.check_bytes(len(part))
            yield
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise XmlError(f"not XML: line {error.lineno} column {error.offset}") from None
    except (LookupError, UnicodeError):
        raise XmlError("not XML: an encoding that is not known") from None
    yield


class _Reading:
    """Build the tree, and count."""

    def __init__(self, caps: XmlCaps) -> None:
        self.builder = TreeBuilder()
        self._caps = caps
        self._depth = self._elements = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1 + len(attributes)
        if self._depth > self._caps.depth:
            raise LimitError(f"XML nested deeper than the cap of {self._caps.depth}")
        if self._elements > self._caps.elements:
            raise LimitError(f"XML with more than the cap of {self._caps.elements} elements")
        named = {_bracket(key): value for key, value in attributes.items()}
        self.builder.start(_bracket(name), named)

    def end(self, name: str) -> None:
        self._depth -= 1
        self.builder.end(_bracket(name))

    def text(self, text: str) -> None:
        self.builder.data(text)

    def check_bytes(self, more: int) -> None:
        """Hold what was read against the cap, where that was not known before."""


class _Children(_Reading):
    """Build a tree of each child of the root, and count for each anew."""

    def __init__(self, caps: XmlCaps) -> None:
        super().__init__(caps)
        self._found: list[Element] = []
        self._bytes = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._depth == 1:
            self.builder = TreeBuilder()
        super().start(name, attributes)
        if self._depth == 1:
            self._found.append(Element(_bracket(name), self.builder.end(_bracket(name)).attrib))

    def end(self, name: str) -> None:
        if self._depth == 1:
            self._depth = 0
            return
        super().end(name)
        if self._depth == 1:
            self._found.append(self.builder.close())
            self._bytes = self._elements = 0

    def text(self, text: str) -> None:
        if self._depth > 1:
            super().text(text)

    def check_bytes(self, more: int) -> None:
        self._bytes += more
        if self._bytes > self._caps.content_bytes + _PART_BYTES:
            raise LimitError(
                f"XML of an element of over the cap of {self._caps.content_bytes} bytes"
            )

    def take(self) -> list[Element]:
        """Give what was found since the last time."""
        found, self._found = self._found, []
        return found


def _bracket(name: str) -> str:
    return "{" + name if "}" in name else name


def _refuse_doctype(*_: object) -> NoReturn:
    raise XmlError("XML with a document type declaration")


def _check_encoding(_version: str, encoding: str | None, _standalone: int) -> None:
    if encoding is None:
        return
    try:
        known = codecs.lookup(encoding).name
    except LookupError:
        known = ""
    if known not in {codecs.lookup(name).name for name in _ENCODINGS}:
        raise XmlError("not XML: an encoding that is not known")
