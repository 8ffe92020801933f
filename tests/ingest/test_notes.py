from base64 import b64encode

import pytest

from ingest.notes import NOTE_CAP_BYTES, note_text, text_of_html


def packed(text: str, encoding: str = "utf-8") -> str:
    return b64encode(text.encode(encoding)).decode()


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [
        ("text/plain", "utf-8"),
        ("Text/Plain; charset=utf-8", "utf-8-sig"),
        ("text/plain;charset=ISO-8859-1", "latin-1"),
        ('text/plain; charset="utf-16"', "utf-16"),
        ("text/plain; charset=no-such-thing", "utf-8"),
        ("text/plain", "cp1252"),
    ],
)
def test_text_is_decoded_as_its_charset_says_or_as_it_can_be(kind: str, encoding: str) -> None:
    assert note_text(kind, packed("Ödem, naïve", encoding)) == "Ödem, naïve"


def test_html_gives_the_words_that_a_reader_sees() -> None:
    page = """<html><head><title>Letter</title><style>p { color: red }</style></head><body>
        <script>alert("no")</script><p>Chest&nbsp;X-ray: <i>no</i> effusion &amp; no mass.</p>
        <table><tr><td>Na</td><td>139</td></tr><tr><td>K</td><td>4.1</td></tr></table></body>"""
    words = [line for line in text_of_html(page).split("\n") if line]
    assert words == ["Chest X-ray: no effusion & no mass.", "Na 139", "K 4.1"]


@pytest.mark.parametrize("markup", ["", "<", "<p" * 500, "<div>" * 5000, "no markup", "<!-- x"])
def test_broken_html_does_no_harm(markup: str) -> None:
    assert isinstance(text_of_html(markup), str)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("application/pdf", packed("x")),
        (None, packed("x")),
        ("text/plain", None),
        ("text/plain", "%%% no base64"),
        ("text/plain", packed("   \n ")),
        ("text/plain", "A" * (NOTE_CAP_BYTES * 2)),
    ],
)
def test_what_cannot_be_read_is_none(kind: str | None, data: str | None) -> None:
    assert note_text(kind, data) is None


def test_control_characters_do_not_reach_the_store() -> None:
    assert note_text("text/plain", packed("a\0b\x1b[31mc\r\nd")) == "ab[31mc\nd"
