import threading
from base64 import b64encode

import pytest

from ingest.notes import (
    FILE_CAP_BYTES,
    NOTE_CAP_BYTES,
    Note,
    kind_of_note,
    note_text,
    read_note,
    text_of_html,
)
from tests.ingest.papers import CCDA, write_pdf


def packed(text: str, encoding: str = "utf-8") -> str:
    return b64encode(text.encode(encoding)).decode()


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [
        ("text/plain", "utf-8"),
        ("Text/Plain; charset=utf-8", "utf-8-sig"),
        ("text/plain;charset=ISO-8859-1", "latin-1"),
        ('text/plain; charset="utf-16"', "utf-16"),
        ("text/plain", "utf-16"),
        ("text/plain; charset=no-such-thing", "utf-8"),
        ("text/plain; charset=unicode_escape", "utf-8"),
        ("text/plain", "cp1252"),
        ("text/markdown", "utf-8"),
        ("text/x-clinical", "utf-8"),
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


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ("<s>old</s><del>no pneumonia</del> pneumonia", "pneumonia"),
        ("<strike>no</strike> <ins>small</ins> effusion", "small effusion"),
        ("<p>1<s>0</s>5 mg</p>", "1 5 mg"),
        ("<DEL cite='x'>a <s>b <s>c</s></s></DEL>d", "d"),
        ("a <span style='color: red; text-decoration : line-through'>b</span>", "a"),
        ("a <span style='TEXT-DECORATION-LINE: underline line-through'>b</span>", "a"),
        ("a <p style='text-decoration: line-through'>b <s>c</s></p>d", "a\nd"),
        ("a <span style='text-decoration: underline'>b</span>", "a b"),
        ("a <span style='--x: line-through'>b</span>", "a b"),
        ("a <s>b, which nothing ends <p>c", "a b, which nothing ends\nc"),
        ("a <del>b</del> <del>c <p>d", "a c\nd"),
        ("a</s> b <strong>c</strong> <section>d</section> <details>e</details>", "a b c\nd\ne"),
    ],
)
def test_what_is_struck_out_is_left_out(markup: str, words: str) -> None:
    assert text_of_html(markup) == words


def test_much_that_is_struck_out_takes_no_longer() -> None:
    styled = f"<b style='line-through{'text-decoration:' * 50_000}'>y</b>"
    for markup in (
        styled,
        "<s>x</s>y" * 20_000,
        "<s>" * 400 + "</s>" * 400 + "y",
        "<del>" * 100_000,
    ):
        assert "x" not in (read_note("text/html", packed(markup)).text or "")


@pytest.mark.parametrize("markup", ["", "<", "<p" * 500, "<div>" * 400, "no markup", "<!-- x"])
def test_broken_html_does_no_harm(markup: str) -> None:
    assert isinstance(text_of_html(markup), str)


def test_blocks_nested_too_deeply_are_refused_and_long_flat_pages_are_not() -> None:
    assert read_note("text/html", packed("<div>" * 100_000)).reason == (
        "over a cap: HTML nested deeper than the cap of 500"
    )
    assert read_note("text/html", packed("<p>a<br>b</p>" * 20_000)).text is not None
    assert read_note("text/html", packed("<p>a<o:p/><li>b" * 20_000)).text is not None


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        ("application/pdf", packed("x"), "damaged"),
        ("text/rtf", packed("no RTF"), "damaged"),
        ("text/xml", packed("<"), "not XML: line 1 column 0"),
        ("text/xml", packed("<letter>Dear</letter>"), "XML of another kind than a CDA"),
        (None, packed("x"), "kind not read"),
        ("image/png", packed("x"), "kind not read"),
        ("application/octet-stream", packed("text?"), "kind not read"),
        ("text/plain", None, "no content"),
        ("text/plain", "", "no content"),
        ("text/plain", "%%% no base64", "not base64"),
        ("text/plain", "é" * 8, "not base64"),
        ("text/plain", packed("   \n "), "empty"),
        ("text/html", packed("<p> </p>"), "empty"),
        (
            "text/plain",
            "A" * (NOTE_CAP_BYTES * 3 // 2),
            f"over a cap: more than {NOTE_CAP_BYTES} bytes",
        ),
        (
            "application/pdf",
            "A" * (FILE_CAP_BYTES * 2),
            f"over a cap: more than {FILE_CAP_BYTES} bytes",
        ),
    ],
)
def test_what_cannot_be_read_gives_its_reason(
    kind: str | None, data: str | None, reason: str
) -> None:
    assert read_note(kind, data) == Note(reason=reason)
    assert note_text(kind, data) is None


@pytest.mark.parametrize(
    ("stated", "head", "kind"),
    [
        ("application/octet-stream", b"%PDF-1.7", "pdf"),
        ("text/plain", b"\r\n%PDF-1.7", "pdf"),
        ("", b"  {\\rtf1", "rtf"),
        ("application/msword", b"{\\rtf1", "rtf"),
        ("", b"<?xml version='1.0'?>\n<!-- x --><ClinicalDocument xmlns='", "cda"),
        ("text/plain", b"\xef\xbb\xbf<v3:ClinicalDocument xmlns:v3='", "cda"),
        ("", "<ClinicalDocument xmlns=''>".encode("utf-16"), "cda"),
        ("text/plain", b"The root is <ClinicalDocument>", "plain"),
        ("text/plain", b"<!DOCTYPE html><p>", "html"),
        ("text/plain", b"<html is what I wrote", "plain"),
        ("application/pdf", b"scanned", "pdf"),
        ("text/plain", b"A price of 5% PDF-", "plain"),
        ("application/fhir+xml", b"<?xml version='1.0'?><Patient/>", None),
    ],
)
def test_a_note_is_what_its_first_bytes_say_or_else_its_mime_type(
    stated: str, head: bytes, kind: str | None
) -> None:
    assert kind_of_note(stated, head) == kind


def test_control_characters_do_not_reach_the_store() -> None:
    assert note_text("text/plain", packed("a\0b\x1b[31mc\r\nd")) == "ab[31mc\nd"


def test_half_a_character_does_not_reach_the_store() -> None:
    rtf = read_note("text/rtf", packed(r"{\rtf1 a\u-10179?b}")).text
    assert rtf is not None
    assert rtf.encode().decode().replace("\ufffd", "") == "ab"


def test_notes_are_read_by_several_threads_at_once() -> None:
    notes: list[tuple[int, str | None]] = []

    def read(number: int) -> None:
        stream = b"BT /F1 12 Tf 50 700 Td (Film %d) Tj ET" % number
        data = b64encode(write_pdf(stream)).decode()
        notes.extend((number, read_note("application/pdf", data).text) for _ in range(5))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(notes)) == [(number, f"Film {number}") for number in range(4)]
    assert len(notes) == 20


def test_a_cda_gives_titles_text_and_tables_row_by_row() -> None:
    note = read_note("application/hl7-sda+xml", packed(CCDA))
    assert note.text is not None
    assert [line for line in note.text.split("\n") if line] == [
        "Continuity of care",
        "Allergies",
        "Substance | Reaction",
        "Penicillin G | Hives",
        "Latex | No known reaction",
        "History",
        "She does not smoke.",
        "No fever, no night sweats & no pain < 3 days.",
        "Denies",
        "chest pain",
        "dyspnoea",
        "Family",
        "No diabetes.",
    ]


@pytest.mark.parametrize(
    ("mime", "body", "text"),
    [
        ("application/pdf", write_pdf(), "Letter\n\nNo pleural effusion."),
        ("text/plain", b"No effusion.", "Letter\n\nNo effusion."),
        ("text/rtf", rb"{\rtf1 No \b effusion\b0 .}", "Letter\n\nNo effusion."),
    ],
)
def test_a_cda_around_a_file_gives_what_the_file_says(mime: str, body: bytes, text: str) -> None:
    inner = b64encode(body).decode()
    document = (
        '<ClinicalDocument xmlns="urn:hl7-org:v3"><title>Letter</title><component><nonXMLBody>'
        f'<text mediaType="{mime}" representation="B64">{inner}</text>'
        "</nonXMLBody></component></ClinicalDocument>"
    )
    assert read_note(None, packed(document)).text == text


def test_cdas_inside_one_another_are_refused() -> None:
    document = "<title>Letter</title>"
    for _ in range(3):
        document = (
            '<ClinicalDocument xmlns="urn:hl7-org:v3"><component><nonXMLBody>'
            f'<text mediaType="text/xml" representation="B64">{packed(document)}</text>'
            "</nonXMLBody></component></ClinicalDocument>"
        )
    assert read_note("text/xml", packed(document)).reason == ("over a cap: a CDA in a CDA in a CDA")
