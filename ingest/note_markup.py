"""Turn the markup of a note into text: HTML, and the narrative of a CDA.

HTML is parsed by lexbor (selectolax), which runs nothing; script and style are dropped. Its time
grows with the square of how deep blocks are nested, so the depth is looked at first: 100,000 nested
divs took ten seconds.

What is struck out is left out, in HTML as in a CDA: who wrote it took it back, and beside a mark
("[struck out: no pneumonia]") it would still be read as words, by a model and by who is in a hurry.
A tag that nothing ends is taken for a slip: else it would silence all the rest of the note.
"""

import re
from xml.etree.ElementTree import Element

from selectolax.lexbor import LexborHTMLParser

from ingest.errors import LimitError
from ingest.safe_xml import XmlError, parse_xml

__all__ = ["CDA", "text_of_cda", "text_of_html", "tidy"]

CDA = "{urn:hl7-org:v3}"

_DEPTH_CAP = 500
# NUL, other controls and halves of surrogate pairs are no text; Parquet stumbles over them.
_CONTROL = re.compile("[\\0-\\x08\\x0b-\\x1f\\ud800-\\udfff]")
_BLOCKS = (
    "address article aside blockquote br dd div dl dt fieldset figure footer form h1 h2 h3 h4 h5 "
    "h6 header hr li main nav ol p pre section table tr ul"
)
# A line end before each begin and end of a block; inside quotes or scripts it does no harm.
_EDGE = re.compile(rf"(?=</?(?:{_BLOCKS.replace(' ', '|')})[\s/>])", re.IGNORECASE)
# And a space where a cell ends or what is struck out stood: "1<s>0</s>5 mg" are no 15 mg.
_SPACED = re.compile(r"(?=</t[dh][\s>]|<(?:s|strike|del)[\s>])", re.IGNORECASE)
_STRIKE = re.compile(r"<(/?)(s|strike|del)(?:\s[^<>]*)?>", re.IGNORECASE)
_MAYBE_STRUCK = re.compile(rf"{_STRIKE.pattern}|line-through", re.IGNORECASE)
_STRUCK_STYLE = re.compile(r"text-decoration(?:-line)?\s*:[^;:]*line-through", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)(?:[^<>]*?(/?)>)?")
# They end by themselves, or have no end.
_UNCLOSED = (
    "area base body br col colgroup dd dt embed head hr html img input li link meta optgroup "
    "option p param source tbody td tfoot th thead tr track wbr"
)


def text_of_html(markup: str) -> str:
    """Give the words of HTML, a line for each block, without what is struck out.

    Raises:
        LimitError: it is nested too deeply.

    >>> text_of_html("<h1>Chest</h1><style>p {}</style><p>clear <b>lungs</b></p>").split()
    ['Chest', 'clear', 'lungs']
    >>> text_of_html("<del>no</del> <ins>small</ins> effusion")
    'small effusion'
    """
    if _is_deep(markup):
        raise LimitError(f"HTML nested deeper than the cap of {_DEPTH_CAP}")
    # In the text and not in the tree, where one insertion costs as much as the tree is large.
    struck = _MAYBE_STRUCK.search(markup) is not None
    if struck:
        markup = _without_unended(markup)
    tree = LexborHTMLParser(_SPACED.sub(" ", _EDGE.sub("\n", markup)))
    tree.strip_tags(["script", "style", "head", "template", "noscript"])
    if struck:
        _leave_out_struck(tree)
    return tidy(tree.body.text(deep=True) if tree.body is not None else "")


def _without_unended(markup: str) -> str:
    open_tags: dict[str, list[tuple[int, int]]] = {}
    for tag in _STRIKE.finditer(markup):
        begun = open_tags.setdefault(tag[2].lower(), [])
        if not tag[1]:
            begun.append(tag.span())
        elif begun:
            begun.pop()
    kept, at = [], 0
    for start, end in sorted(span for spans in open_tags.values() for span in spans):
        kept.append(markup[at:start])
        at = end
    return "".join([*kept, markup[at:]])


def _leave_out_struck(tree: LexborHTMLParser) -> None:
    found = tree.css("s, strike, del, [style*='line-through' i]")
    for node in reversed(found):  # what stands in another first: with that it would be gone
        style = node.attributes.get("style") or ""
        if node.tag in ("s", "strike", "del") or _STRUCK_STYLE.search(style):
            node.decompose()


def text_of_cda(content: bytes) -> tuple[str, tuple[str, str] | None]:
    """Give the narrative of a CDA, and the file (MIME type, base64) that it has in its place.

    Each section gives its title and its text, tables row by row with ` | ` between the cells. What
    was struck out in a revision is left out, as are entries: they repeat the narrative in codes.
    Source: HL7 CDA R2, 4.3.5 (narrative block).

    Raises:
        XmlError: it is no XML, or no CDA.
        LimitError: it is over a cap.
    """
    root = parse_xml(content)
    if root.tag != f"{CDA}ClinicalDocument":
        raise XmlError("XML of another kind than a CDA")
    parts = [_narrative(title) for title in root.findall(f"{CDA}title")]
    body = f"{CDA}component/{CDA}structuredBody/{CDA}component/{CDA}section"
    parts.extend(_section(section) for section in root.iterfind(body))
    attached = None
    for text in root.iterfind(f"{CDA}component/{CDA}nonXMLBody/{CDA}text"):
        if text.get("representation") == "B64":
            attached = text.get("mediaType", ""), text.text or ""
        else:
            parts.append(_narrative(text))
    return tidy("\n\n".join(parts)), attached


def tidy(text: str) -> str:
    """Drop control characters, and white space that says nothing."""
    text = _CONTROL.sub("", text).replace("\xa0", " ")
    lines = [" ".join(line.split()) for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _is_deep(markup: str) -> bool:
    if markup.count("<") <= _DEPTH_CAP:
        return False
    depth, unclosed = 0, frozenset(_UNCLOSED.split())
    for tag in _TAG.finditer(markup):
        end, name, closed = tag.groups()
        if closed or name.lower() in unclosed:
            continue
        depth = max(depth - 1, 0) if end else depth + 1
        if depth > _DEPTH_CAP:
            return True
    return False


def _section(section: Element) -> str:
    parts = [_narrative(part) for part in section if part.tag in (f"{CDA}title", f"{CDA}text")]
    inner = [_section(part) for part in section.iterfind(f"{CDA}component/{CDA}section")]
    return "\n\n".join(["\n".join(parts), *inner])


_LINES = "paragraph list item caption table thead tbody tfoot title"
_CELLS = (f"{CDA}td", f"{CDA}th")


def _narrative(element: Element) -> str:
    said: list[str] = []
    _say(element, said)
    return "".join(said)


def _say(element: Element, said: list[str]) -> None:
    if element.get("revised") == "delete":
        return
    if element.tag == f"{CDA}tr":
        cells = [" ".join(_narrative(cell).split()) for cell in element if cell.tag in _CELLS]
        said.append("\n" + " | ".join(cell for cell in cells if cell) + "\n")
        return
    edge = "\n" if element.tag.removeprefix(CDA) in _LINES.split() else ""
    said.extend((edge, _flow(element.text)))
    for inner in element:
        if inner.tag == f"{CDA}br":
            said.append("\n")
        else:
            _say(inner, said)
        said.append(_flow(inner.tail))
    said.append(edge)


def _flow(text: str | None) -> str:
    # White space in XML is indentation; where a line ends is said by an element.
    return re.sub(r"\s+", " ", text or "")
