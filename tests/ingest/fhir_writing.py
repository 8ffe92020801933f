"""Write FHIR JSON as XML, by the rules of https://hl7.org/fhir/R4/json.html read backwards.

It knows nothing of which elements repeat or of their types: in JSON that can be seen.
"""

from decimal import Decimal
from html import unescape
from typing import Any
from xml.sax.saxutils import escape, quoteattr

_OF_XML = {"&amp;", "&lt;", "&gt;", "&quot;", "&apos;"}


def write_xml(resource: dict[str, Any], *, outermost: bool = True) -> str:
    """Give a resource's XML, its elements in the order of the JSON."""
    kind = resource["resourceType"]
    rest = {key: value for key, value in resource.items() if key != "resourceType"}
    named = ' xmlns="http://hl7.org/fhir"' if outermost else ""
    return f"<{kind}{named}>{_members(rest)}</{kind}>"


def plain_markup(markup: str) -> str:
    """Replace the entities that HTML has and XML has not, as JSON may hold them."""
    parts = []
    for piece in markup.split("&"):
        name, found, rest = piece.partition(";")
        whole = f"&{name};"
        named = parts and found and name.isalnum() and whole not in _OF_XML
        parts.append(unescape(whole) + rest if named else ("&" if parts else "") + piece)
    return "".join(parts)


def _members(values: dict[str, Any]) -> str:
    names = dict.fromkeys(name.removeprefix("_") for name in values)
    return "".join(_member(name, values.get(name), values.get(f"_{name}")) for name in names)


def _member(name: str, value: Any, beside: Any) -> str:
    if isinstance(value, list) or isinstance(beside, list):
        length = max(len(value or ()), len(beside or ()))
        padded = [[*(part or ()), *[None] * length][:length] for part in (value, beside)]
        return "".join(_element(name, one, said) for one, said in zip(*padded, strict=True))
    return _element(name, value, beside)


def _element(name: str, value: Any, beside: Any) -> str:
    if name == "div":
        return plain_markup(value)
    attributes, inner = "", ""
    if isinstance(value, dict) and "resourceType" in value:
        inner = write_xml(value, outermost=False)
    else:
        parts = dict(value if isinstance(value, dict) else beside or {})
        stand = ("id", "url") if name in ("extension", "modifierExtension") else ("id",)
        for key in stand:
            if key in parts:
                attributes += f" {key}={quoteattr(parts.pop(key))}"
        inner = _members(parts)
        if value is not None and not isinstance(value, dict):
            attributes += f" value={_quoted(value)}"
    return f"<{name}{attributes}>{inner}</{name}>"


def _quoted(value: Any) -> str:
    if isinstance(value, bool):
        return '"true"' if value else '"false"'
    if isinstance(value, (int, float, Decimal)):
        return f'"{value}"'
    # Line ends and tabs in an attribute are white space, unless they are written so.
    kept = {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;", '"': "&quot;"}
    return f'"{escape(value, kept)}"'
