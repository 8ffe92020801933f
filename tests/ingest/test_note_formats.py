import io
import json
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import rc_context
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from pypdf import PdfReader, PdfWriter

from ingest.notes import NOTE_CAP_BYTES, Note, read_note
from tests.ingest.papers import CCDA, inflates_to, write_pdf

ROOT = Path(__file__).parents[2]
RTF = (
    rb"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fswiss Arial;}{\f1\fcharset204 Arial CYR;}}"
    rb"{\colortbl;\red0\green0\blue0;}{\*\generator Word;}{\info{\title Secret}}\f0\fs22 "
)


def read(content: bytes, mime: str = "application/octet-stream") -> Note:
    return read_note(mime, b64encode(content).decode())


def written(writer: PdfWriter) -> bytes:
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("marked", "words"),
    [
        (rb"a {\strike no pneumonia}b}", "a b"),
        (rb"a \strike b\strike0  c}", "a c"),
        (rb"1{\strike 0}5 mg}", "1 5 mg"),
        (rb"a {\striked1 b {\b c} d}e}", "a e"),
        (rb"a {\deleted b}{\revised c}}", "a c"),
        (rb"a \strike b \'e4 \u228? \{ \plain c}", "a c"),
        (rb"a \strike b\par c\strike0\par d}", "a\n\nd"),
        (rb"a \strike\striked1 b\striked0 c\strike0 d}", "a d"),
        (rb"a \strike0 b}", "a b"),
    ],
)
def test_what_is_struck_out_of_an_rtf_is_left_out(marked: bytes, words: str) -> None:
    assert read(RTF + marked).text == words


def test_a_pdf_gives_its_text_layer() -> None:
    assert read(write_pdf()) == Note(text="No pleural effusion.")


@pytest.mark.parametrize("fonttype", [3, 42])
def test_a_pdf_with_fonts_of_its_own_gives_its_text(fonttype: int) -> None:
    with rc_context({"pdf.fonttype": fonttype}):
        figure = Figure()
        figure.text(0.1, 0.8, "Kein Pleuraerguss, kein Ödem.")
        figure.text(0.1, 0.5, "no pneumothorax")
        out = io.BytesIO()
        FigureCanvasPdf(figure).print_pdf(out)
    text = read(out.getvalue()).text
    assert text is not None
    assert text.split("\n") == ["Kein Pleuraerguss, kein Ödem.", "no pneumothorax"]


def test_the_pages_of_a_pdf_are_read_in_order() -> None:
    writer = PdfWriter()
    for number in range(3):
        stream = b"BT /F1 12 Tf 50 700 Td (Page %d) Tj ET" % number
        writer.append(PdfReader(io.BytesIO(write_pdf(stream))))
    assert read(written(writer)).text == "Page 0\n\nPage 1\n\nPage 2"


@pytest.mark.parametrize(
    ("user", "note"),
    [("secret", Note(reason="encrypted")), ("", Note(text="No pleural effusion."))],
)
def test_a_pdf_is_unread_if_it_asks_for_a_password(user: str, note: Note) -> None:
    writer = PdfWriter(clone_from=io.BytesIO(write_pdf()))
    writer.encrypt(user, "owner", algorithm="RC4-128")
    assert read(written(writer)) == note


def test_a_scan_is_named_as_such() -> None:
    writer = PdfWriter()
    writer.add_blank_page(600, 800)
    assert read(written(writer)) == Note(reason="no text layer")


def test_a_pdf_cut_off_is_damaged_or_gives_what_it_holds() -> None:
    whole = write_pdf()
    notes = {read(whole[:length]) for length in range(0, len(whole), 20)}
    assert Note(reason="damaged") in notes
    assert {note.text for note in notes} <= {None, "No pleural effusion."}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (rb"No \b pleural\b0  effusion.\par Heart size normal.", "No pleural effusion.\n"),
        (rb"\'c4rztin \u8364? \u26376 ?\u-10179?\u-8704?", "Ärztin € 月😀"),
        (rb"\uc2\u233\'65\'65t\u233\'65\'65", "été"),
        (rb"{\f1\'cd\'e5\'f2}", "Нет"),
        (b"caf\xe9", "café"),
        (rb"\trowd Na\cell 139\cell\row\trowd K\cell 4.1\cell\row", "Na|139|\nK|4.1|"),
        (rb"{\field{\*\fldinst HYPERLINK x}{\fldrslt here}}", "here"),
        (rb"{\pict\wmetafile8 " + b"00ff" * 99 + rb"}none", "none"),
        (rb"{\pict\bin6 {{}}\\}none", "none"),
        (rb"{\upr{na\'efve}{\*\ud{na\u239 ve}}}", "naïve"),
        (rb"\{braces\} and a \\", "{braces} and a \\"),
    ],
)
def test_rtf_gives_the_words_that_a_reader_sees(body: bytes, text: str) -> None:
    said = read(RTF + body + b"}").text
    assert said is not None
    assert said.startswith(text)
    assert "Secret" not in said
    assert "Arial" not in said


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (write_pdf(inflates_to(2048)), "over a cap: a part that inflates too far"),
        (RTF + b"{" * 100_000 + b"x" + b"}" * 100_001, "over a cap: more than 500 groups"),
        (RTF + b"No. " * 1_500_000 + b"}", "over a cap: more than 4194304 characters"),
        (rb"{\rtf1{\fonttbl" + rb"\f1\fcharset0" * 90_000 + b"}x}", "over a cap: fonts of more"),
        (write_pdf(b"BT /F1 9 Tf " + b"(a) Tj " * 2_000_000 + b"ET"), "over a cap: more than 1 s"),
        (
            b'<!DOCTYPE a [<!ENTITY l0 "lol">'
            + b"".join(b'<!ENTITY l%d "%s">' % (i + 1, b"&l%d;" % i * 10) for i in range(9))
            + b']><ClinicalDocument xmlns="urn:hl7-org:v3">&l9;</ClinicalDocument>',
            "XML with a document type declaration",
        ),
        (
            b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><ClinicalDocument>&x;'
            b"</ClinicalDocument>",
            "XML with a document type declaration",
        ),
        (b"<ClinicalDocument>" + b"<a>" * 100_000, "over a cap: XML nested deeper"),
        (b"<ClinicalDocument>" + b"<a/>" * 1_900_000, "over a cap: XML with more than"),
    ],
    ids=["inflates", "groups", "long", "fonts", "slow", "laughs", "external", "deep", "wide"],
)
def test_what_swells_or_takes_long_is_refused(content: bytes, reason: str) -> None:
    note = read(content, "text/xml")
    assert note.text is None
    assert note.reason is not None
    assert note.reason.startswith(reason)


def test_forms_that_draw_one_another_do_not_multiply() -> None:
    forms = [b"/X%d Do " % (level + 1) * 10 for level in range(8)]
    note = read(write_pdf(b"/X0 Do", drawn=[*forms, b"BT /F1 12 Tf (lol) Tj ET"]))
    assert note.text is None or note.text.count("lol") <= 500


MEASURE = """
import json, os, resource, sys, time
from pathlib import Path
from ingest import notes
from tests.ingest.papers import inflates_to, write_pdf
from base64 import b64encode

def child_peak():
    pid = notes._READERS._idle[0]._process.pid
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))

bombs = {
    "pdf": write_pdf(inflates_to(4096)),
    "rtf": rb"{\\rtf1 " + b"{" * 100_000 + b"}" * 100_001,
    "xml": b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        b'<ClinicalDocument>&b;</ClinicalDocument>',
    "html": b"<html>" + b"<div>" * 1_500_000,
}
bombs = {name: b64encode(content).decode() for name, content in bombs.items()}
notes.read_note("application/pdf", b64encode(write_pdf()).decode())  # so that the child is warm
found = {}
for name, data in bombs.items():
    before = child_peak(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.monotonic()
    note = notes.read_note("", data)
    seconds = time.monotonic() - begun
    after = child_peak(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    more = sum(after) - sum(before)
    found[name] = {"unread": note.text is None, "seconds": seconds, "more_kb": more}
print(json.dumps(found))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_bombs_are_refused_in_two_seconds_and_300_megabytes() -> None:
    told = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{MEASURE}"],
        capture_output=True,
        check=True,
        cwd=ROOT,
    )
    found = json.loads(told.stdout)
    assert set(found) == {"pdf", "rtf", "xml", "html"}
    for bomb in found.values():
        assert bomb["unread"]
        assert bomb["seconds"] < 2
        assert bomb["more_kb"] < 300_000


def test_the_note_after_a_bomb_is_read_all_the_same() -> None:
    assert read(write_pdf(inflates_to(64))).text is None
    assert read(write_pdf()).text == "No pleural effusion."


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_mutated_note_never_fails_and_never_goes_over_the_caps(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([write_pdf(), RTF + rb"\'c4 \u8364? a\par}", CCDA.encode()]))
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content)))
        how = data.draw(st.sampled_from(["cut", "insert", "flip", "repeat"]))
        match how:
            case "cut":
                del content[at : at + data.draw(st.integers(1, 400))]
            case "insert":
                content[at:at] = data.draw(st.binary(min_size=1, max_size=20))
            case "flip" if at < len(content):
                content[at] ^= 1 << data.draw(st.integers(0, 7))
            case _:
                content[at:at] = content[at : at + 200] * data.draw(st.integers(1, 50))
    mime = data.draw(st.sampled_from(["application/pdf", "text/rtf", "text/xml", "text/html", ""]))
    note = read(bytes(content), mime)
    assert (note.text is None) != (note.reason is None)
    assert len((note.text or "").encode()) <= NOTE_CAP_BYTES
