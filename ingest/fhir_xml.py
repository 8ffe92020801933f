"""Turn FHIR XML into the JSON of the same resource, so that one projection reads both.

XML says neither which elements repeat nor which values are numbers; the models of `fhir.resources`
do. What they don't know is kept as it stands: a list where it repeats, text where it has a value.
Decimals keep their digits. Sources: https://hl7.org/fhir/R4/xml.html, https://hl7.org/fhir/R4/json.html

R4 and R5 have one namespace, and a document seldom says which it is. So it is read by the models of
the one that it states, else of R4, and where those leave something over (an element that they don't
know, or that must not repeat, or a value where they have elements) by the other's, too: the reading
that leaves less over stays. What both read in whole differs at most in whether an element that
comes once is in a list; then the projections read either.
"""

import re
import typing
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from html import escape
from importlib import import_module
from typing import Any, Literal
from xml.etree.ElementTree import Element

from ingest.errors import LimitError
from ingest.safe_xml import XmlCaps, XmlError, parse_children, parse_xml

__all__ = ["FHIR_CAPS", "Release", "is_xml_bundle", "read_xml_bundle", "xml_to_json"]

Release = Literal["R4B", "R5"]

FHIR_CAPS = XmlCaps(content_bytes=64 << 20, elements=1_000_000, depth=100)
"""About 64 MB of XML: some 400,000 values, and half a gigabyte of memory while it is read."""

_FHIR = "{http://hl7.org/fhir}"
_XHTML = "{http://www.w3.org/1999/xhtml}"
_XML = "{http://www.w3.org/XML/1998/namespace}"
_SCHEMA_LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
_SCHEMA = re.compile(r"hl7\.org/fhir/(?:R([45])B?|([45])\.\d(?:\.\d)?)/")
_PROFILE = re.compile(
    r"http://hl7\.org/fhir/(?:([45])\.\d/)?StructureDefinition/[A-Za-z]+(?:\|([45])\.\d(?:\.\d)?)?"
)
_VERSION = re.compile(r"([45])\.\d(?:\.\d)?")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class _Field:
    """What a model says of an element."""

    many: bool = False
    holds: str = "unknown"
    """`boolean`, `integer`, `decimal`, `text`, `resource`, `unknown`, or a model's name."""


def xml_to_json(
    content: bytes,
    *,
    release: Release | None = None,
    caps: XmlCaps = FHIR_CAPS,
    decimal: Callable[[str], Any] = Decimal,
) -> dict[str, Any]:
    """Read a resource, or a Bundle of them.

    Args:
        content: The document.
        release: Whose models say what repeats; R4B's are used for R4. None: as it shows.
        caps: On bytes, elements and depth.
        decimal: Makes a number of a decimal's digits (`ingest.pages.decimal` for a line of NDJSON).

    Raises:
        XmlError: it is no XML, no FHIR, or has a document type declaration.
        LimitError: it is over a cap.

    >>> xml_to_json(b'<Patient xmlns="http://hl7.org/fhir"><active value="true"/></Patient>')
    {'resourceType': 'Patient', 'active': True}
    >>> xml_to_json(b"<Patient/>")
    Traceback (most recent call last):
    ingest.safe_xml.XmlError: not FHIR: another namespace
    """
    return _to_json(parse_xml(content, caps), release, decimal)


def is_xml_bundle(beginning: bytes) -> bool:
    """Say whether a document that begins so is a Bundle."""
    try:
        root = next(parse_children([beginning], FHIR_CAPS), None)
    except (XmlError, LimitError):  # what it is, reading it whole will say
        return False
    return root is not None and root.tag == f"{_FHIR}Bundle"


def read_xml_bundle(
    parts: Iterable[bytes],
    *,
    caps: XmlCaps = FHIR_CAPS,
    decimal: Callable[[str], Any] = Decimal,
) -> Iterator[tuple[str, Any]]:
    """Read a Bundle that need not fit in memory: give its elements by name, each entry by itself.

    The caps hold for each entry, and each is read by the release that it shows by itself.

    Args:
        parts: The document's bytes, in order.
        caps: On bytes, elements and depth.
        decimal: Makes a number of a decimal's digits.

    Raises:
        XmlError: it is no XML, no Bundle, or has a document type declaration.
        LimitError: an entry is over a cap.
    """
    children = parse_children(parts, caps)
    root = next(children, None)
    if root is None or root.tag != f"{_FHIR}Bundle":
        raise XmlError("not FHIR: no Bundle")
    for child in children:
        bundle = Element(root.tag, root.attrib)
        bundle.append(child)
        for name, value in _to_json(bundle, None, decimal).items():
            if name == "entry":
                yield from ((name, entry) for entry in value)
            else:
                yield name, value


def _to_json(
    root: Element, release: Release | None, decimal: Callable[[str], Any]
) -> dict[str, Any]:
    if not root.tag.startswith(_FHIR):
        raise XmlError("not FHIR: another namespace")
    if release is not None:
        return _Converter(release, decimal).resource(root)
    first: Release = _stated(root) or "R4B"
    second: Release = "R4B" if first == "R5" else "R5"
    reading = _Converter(first, decimal)
    try:
        found = reading.resource(root)
    except XmlError:  # a resource that only the other has, or one of neither
        return _Converter(second, decimal).resource(root)
    if reading.left_over:
        other = _Converter(second, decimal)
        with suppress(XmlError):
            instead = other.resource(root)
            if other.left_over < reading.left_over:
                return instead
    return found


def _stated(root: Element) -> Release | None:
    """Say of which release the document says that it is.

    A profile of HL7's own with its version, as `http://hl7.org/fhir/StructureDefinition/Patient|5.0.0`,
    a statement's `fhirVersion`, or the schema that the root names. A guide's profile says nothing:
    US Core 5.0.1 is R4.
    """
    texts = [_SCHEMA.search(root.get(_SCHEMA_LOCATION, ""))]
    for element in root.iter():
        if element.tag == f"{_FHIR}profile":
            texts.append(_PROFILE.fullmatch(element.get("value", "")))
        elif element.tag == f"{_FHIR}fhirVersion":
            texts.append(_VERSION.fullmatch(element.get("value", "")))
    numbers = {number for found in texts if found for number in found.groups() if number}
    return {frozenset("4"): "R4B", frozenset("5"): "R5"}.get(frozenset(numbers))


class _Converter:
    def __init__(self, release: Release, decimal: Callable[[str], Any]) -> None:
        self._release = release
        self._decimal = decimal
        self.left_over = 0
        """How many elements the release's models have no place for."""

    def resource(self, element: Element) -> dict[str, Any]:
        kind = element.tag.removeprefix(_FHIR)
        if not _is_resource(self._release, kind):
            raise XmlError("not FHIR: no resource of that name")
        return {"resourceType": kind, **self._members(element, kind)}

    def _members(self, element: Element, model: str) -> dict[str, Any]:
        """Give an object's properties: attributes, then elements in the order of the document."""
        fields = _fields(self._release, model)
        found: dict[str, Any] = {
            name: value
            for name, value in element.attrib.items()
            if name != "value" and not name.startswith("{")
        }
        together: dict[str, list[Element]] = {}
        for inner in element:
            together.setdefault(inner.tag, []).append(inner)
        for tag, inners in together.items():
            if tag == f"{_XHTML}div":
                found["div"] = _markup(inners[0], outermost=True)
                continue
            if not tag.startswith(_FHIR):
                raise XmlError("not FHIR: an element of another namespace")
            name = tag.removeprefix(_FHIR)
            known = fields.get(name, _Field())
            self.left_over += _misfits(known, inners) if name in fields else len(inners)
            self._add(found, name, known, inners)
        return found

    def _add(self, found: dict[str, Any], name: str, known: _Field, inners: list[Element]) -> None:
        many = known.many or len(inners) > 1
        if known.holds == "resource":
            values: list[Any] = [self.resource(r) for inner in inners for r in inner]
            if values:
                found[name] = values if many else values[0]
            return
        if not _is_primitive(known, inners):
            model = "Element" if known.holds == "unknown" else known.holds
            values = [self._members(inner, model) for inner in inners]
            found[name] = values if many else values[0]
            return
        # A primitive is two properties: its value, and what is said of it (id, extensions).
        values = [self._primitive(known.holds, inner.get("value")) for inner in inners]
        beside = [self._members(inner, "Element") or None for inner in inners]
        if any(value is not None for value in values):
            found[name] = values if many else values[0]
        if any(beside):
            found[f"_{name}"] = beside if many else beside[0]

    def _primitive(self, holds: str, value: str | None) -> Any:
        # What does not fit its type stays as it was written, for the validation to say so.
        if value is None:
            return None
        if holds == "boolean" and value in ("true", "false"):
            return value == "true"
        if holds == "integer" and _INTEGER.fullmatch(value):
            return int(value)
        if holds == "decimal" and _DECIMAL.fullmatch(value):
            return self._decimal(value)
        return value


def _is_primitive(known: _Field, inners: list[Element]) -> bool:
    if known.holds == "unknown":
        return any("value" in inner.attrib for inner in inners)
    return known.holds in ("boolean", "integer", "decimal", "text")


def _misfits(known: _Field, inners: list[Element]) -> int:
    """Count what an element's type has no place for, its own elements apart."""
    valued = 0 if _is_primitive(known, inners) else sum("value" in i.attrib for i in inners)
    return valued + (0 if known.many else len(inners) - 1)


def _markup(element: Element, *, outermost: bool = False) -> str:
    """Write a narrative as XHTML again."""
    if not element.tag.startswith(_XHTML):
        raise XmlError("not FHIR: an element of another namespace")
    name = element.tag.removeprefix(_XHTML)
    attributes = [
        f' {key.replace(_XML, "xml:")}="{escape(value)}"'
        for key, value in element.attrib.items()
        if not key.startswith("{") or key.startswith(_XML)
    ]
    if outermost:
        attributes.insert(0, ' xmlns="http://www.w3.org/1999/xhtml"')
    parts = [escape(element.text or "", quote=False)]
    for inner in element:
        parts += [_markup(inner), escape(inner.tail or "", quote=False)]
    content = "".join(parts)
    begin = f"<{name}{''.join(attributes)}"
    return f"{begin}>{content}</{name}>" if content else f"{begin}/>"


def _models(release: Release) -> Any:
    # Here, for it takes a quarter of a second to import, and most sources hold no XML.
    return import_module("fhir.resources" if release == "R5" else f"fhir.resources.{release}")


@lru_cache(4096)
def _model(release: Release, name: str) -> Any:
    try:
        return _models(release).get_fhir_model_class(name)
    except (LookupError, ValueError, TypeError, ImportError):
        return None


@lru_cache(4096)
def _is_resource(release: Release, name: str) -> bool:
    model = _model(release, name)
    bases = {base.__name__ for base in model.__mro__} if model is not None else set()
    return "Resource" in bases and name not in ("Resource", "DomainResource")


@lru_cache(4096)
def _fields(release: Release, name: str) -> dict[str, _Field]:
    """Say what each element of a model is."""
    model = _model(release, name)
    if model is None:
        return {}
    return {
        field.alias or key: _field(field.annotation)
        for key, field in model.model_fields.items()
        if not key.endswith("__ext") and key != "fhir_comments"
    }


def _field(annotation: Any) -> _Field:
    """Read an annotation: Optional and List around a type of fhir_core, or around Python's own."""
    many = False
    while (inner := [a for a in typing.get_args(annotation) if a is not type(None)]) and (
        typing.get_origin(annotation) is not typing.Annotated
    ):
        many = many or typing.get_origin(annotation) is list
        annotation = inner[0]
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    for kind, holds in ((bool, "boolean"), (int, "integer"), (Decimal, "decimal")):
        if annotation is kind:
            return _Field(many=many, holds=holds)
    name = annotation.__name__
    if name in ("ResourceType", "AnyResourceType"):
        return _Field(many=many, holds="resource")
    return _Field(many=many, holds=name.removesuffix("Type") if name.endswith("Type") else "text")
