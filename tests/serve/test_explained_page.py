"""The page of an explanation: escaped, and marked where the words are."""

from pathlib import Path

import pytest
from selectolax.lexbor import LexborHTMLParser as HTMLParser

from fusion.what_if import Edit
from ingest.errors import InputError, UsageError
from ingest.schema import Modality
from serve.explained_page import write_page
from serve.predictor import Predictor
from tests.serve.clinic import HOSTILE, Clinic


def test_the_page_marks_words_and_shows_hostile_text_as_text(
    predictor: Predictor, clinic: Clinic, tmp_path: Path
) -> None:
    found = predictor.explain(clinic.with_all, edits=[Edit.parse("+SNOMED//38341003")])
    write_page(tmp_path / "new" / "why.html", found)
    html = (tmp_path / "new" / "why.html").read_text("utf-8")
    page = HTMLParser(html)
    assert HOSTILE in page.text()
    assert HOSTILE not in html
    assert not page.css("script")
    (one,) = found
    words = {w.start: w for note in one.explanation.notes for w in note.words}
    text = str(one.timeline.part(Modality.NOTES)["text_value"].iloc[0])
    marked = [node.text() for node in page.css(".mw-why-note b")]
    assert "".join(marked).split() == "".join(text[w.start : w.end] for w in words.values()).split()
    assert len(page.css(".mw-why-films img")) == 2 * len(one.explanation.images)


def test_a_code_that_no_model_sees_cannot_change_a_risk(
    predictor: Predictor, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor.served, "exclude_codes", ("^SNOMED//84114007",))
    with pytest.raises(UsageError, match="no model of the run sees SNOMED//84114007"):
        predictor.explain(clinic.with_all, edits=[Edit.parse("+SNOMED//84114007")])


def test_a_page_that_cannot_be_written_is_told_in_one_sentence(
    predictor: Predictor, clinic: Clinic, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_page(tmp_path / "file" / "why.html", predictor.explain(clinic.with_all))
