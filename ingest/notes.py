"""Turn a note's attachment into text: text/plain and text/html; other kinds are left unread.

The bytes come from strangers: a note over the cap is left unread, markup is parsed by lexbor
(selectolax), which runs nothing, and script and style are dropped.
"""

import base64
import binascii
import re

from selectolax.lexbor import LexborHTMLParser

__all__ = ["NOTE_CAP_BYTES", "READABLE", "note_text", "text_of_html"]

READABLE = ("text/plain", "text/html", "application/xhtml+xml")
NOTE_CAP_BYTES = 8 << 20
"""No clinician wrote eight megabytes; what is longer is a machine's, or an attack."""

_BLOCKS = (
    "address article aside blockquote br dd div dl dt fieldset figure footer form h1 h2 h3 h4 h5 "
    "h6 header hr li main nav ol p pre section table tr ul"
)
_CHARSET = re.compile(r"charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)


def note_text(content_type: str | None, data: str | None) -> str | None:
    """Read base64 data of a MIME type, or give None where it can't be read as text.

    >>> note_text("text/html", base64.b64encode(b"<p>No <b>effusion</b>.</p>").decode())
    'No effusion.'
    >>> note_text("application/pdf", "JVBERi0=") is None
    True
    """
    mime = (content_type or "").partition(";")[0].strip().lower()
    if mime not in READABLE or not data or len(data) > NOTE_CAP_BYTES * 4 // 3:
        return None
    try:
        content = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    stated = _CHARSET.search(content_type or "")
    text = _decode(content, stated.group(1) if stated else None)
    if text is None:
        return None
    text = text_of_html(text) if mime != "text/plain" else _tidy(text)
    return text or None


def text_of_html(markup: str) -> str:
    """Give the words of HTML, a line for each block.

    >>> text_of_html("<h1>Chest</h1><style>p {}</style><p>clear <b>lungs</b></p>").split()
    ['Chest', 'clear', 'lungs']
    """
    tree = LexborHTMLParser(markup)
    tree.strip_tags(["script", "style", "head", "template", "noscript"])
    for tag in _BLOCKS.split():
        for node in tree.css(tag):
            node.insert_before("\n")
            node.insert_after("\n")
    for node in tree.css("td, th"):
        node.insert_after(" ")
    return _tidy(tree.body.text(deep=True) if tree.body is not None else "")


def _decode(content: bytes, charset: str | None) -> str | None:
    # Without a charset: UTF-8, else what Windows wrote; cp1252 with replacement never fails.
    for name in (charset, "utf-8-sig"):
        if name is None:
            continue
        try:
            return content.decode(name).removeprefix("\ufeff")
        except (UnicodeDecodeError, LookupError):
            continue
    return content.decode("cp1252", errors="replace")


def _tidy(text: str) -> str:
    # NUL and other controls are no text, and Parquet readers stumble over them.
    text = "".join(c for c in text if c >= " " or c in "\n\t").replace("\xa0", " ")
    lines = [" ".join(line.split()) for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
