"""Why in detail, on the page: complete, escaped, in two languages, and of an upload too."""

import dataclasses
from pathlib import Path

import pytest
from selectolax.lexbor import LexborHTMLParser as HTMLParser

from fusion.explain import Span
from ingest.schema import Modality
from serve.page_codes import signed
from serve.page_result import render
from serve.prediction import Prediction
from serve.predictor import Predictor
from serve.texts import Language, say
from tests.serve.clinic import DESCRIPTIONS, HOSTILE, Clinic
from tests.serve.test_upload import bundle, patient, picture, weight

LANGUAGES: tuple[Language, ...] = ("en", "zh")


@pytest.fixture(scope="module")
def prediction(predictor: Predictor, clinic: Clinic) -> Prediction:
    return predictor.predict(clinic.with_all, explained=True)


def test_it_is_there_only_where_it_was_asked_for(predictor: Predictor, clinic: Clinic) -> None:
    without = predictor.predict(clinic.with_all)
    assert without.reasons == ()
    assert not HTMLParser(render(without, "en")).css(".mw-why")


@pytest.mark.parametrize("language", LANGUAGES)
def test_events_words_and_places_are_shown_with_what_each_adds(
    prediction: Prediction, language: Language
) -> None:
    (one,) = prediction.reasons
    (card,) = HTMLParser(render(prediction, language)).css(".mw-why")
    rows = card.css("table tr")
    assert [row.css("td")[-1].text() for row in rows] == [
        signed(share) for share in one.explanation.events.values()
    ]
    for row, code in zip(rows, one.explanation.events, strict=True):
        assert one.name(code, language) in row.text()
        assert (say(language, "why_lacking", name="") in row.text()) == (
            code not in set(one.timeline.events["code"]) and not code.endswith("UNK")
        )
    for modality in Modality:
        total = signed(one.explanation.modalities[modality])
        inside = one.explanation.modalities[modality] - one.explanation.being_there[modality]
        there = signed(one.explanation.being_there[modality])
        words = say(language, "why_sum", total=total, there=there, inside=signed(inside))
        assert words in card.text()
    (note,) = one.explanation.notes
    assert len(card.css(".mw-why-note b")) == len(note.words) > 0
    for node, word in zip(card.css(".mw-why-note b"), note.words, strict=True):
        assert node.attributes["title"] == signed(word.log_odds, 3)
        assert node.attributes["class"] == ("mw-up" if word.log_odds > 0 else "mw-down")
    assert len(card.css("img")) == 2 * len(one.explanation.images) == 2
    first, second = (node.attributes["src"] for node in card.css("img"))
    assert first != second


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_in_a_hostile_record_stays_text(prediction: Prediction, language: Language) -> None:
    evil = '"><img src=x onerror=alert(1)>${x}'
    (one,) = prediction.reasons
    events = one.timeline.events.copy()
    events["unit"] = events["unit"].where(events["numeric_value"].isna(), evil)
    found = dataclasses.replace(
        one.explanation, events={f"LOCAL//{evil}": 0.5, **one.explanation.events}
    )
    hostile = dataclasses.replace(
        one,
        explanation=found,
        timeline=dataclasses.replace(one.timeline, events=events),
        descriptions=dict.fromkeys(DESCRIPTIONS, evil),
    )
    html = render(dataclasses.replace(prediction, reasons=(hostile,)), language)
    card = HTMLParser(html).css_first(".mw-why")
    assert card is not None
    assert HOSTILE in card.text()
    assert evil in card.text()
    assert not HTMLParser(html).css("[onerror]")
    for dangerous in ("<script", "${", "{{", "@children"):
        assert dangerous not in html


@pytest.mark.parametrize("language", LANGUAGES)
def test_notes_and_images_that_the_model_does_not_read_are_counted(
    predictor: Predictor, clinic: Clinic, prediction: Prediction, language: Language
) -> None:
    (found,) = predictor.explain(clinic.with_all, model="events_logistic")
    card = HTMLParser(render(dataclasses.replace(prediction, reasons=(found,)), language))
    text = card.css_first(".mw-why").text()
    assert say(language, "why_unread_notes", n=1, read=0) in text
    assert say(language, "why_unread_images", n=1, read=0) in text
    read = HTMLParser(render(prediction, language)).css_first(".mw-why").text()
    for modality in (Modality.NOTES, Modality.IMAGES):
        assert say(language, f"why_unread_{modality}", n=1, read=1) not in read


@pytest.mark.parametrize("language", LANGUAGES)
def test_where_words_are_not_told_apart_sentences_are_marked(
    prediction: Prediction, language: Language
) -> None:
    (one,) = prediction.reasons
    (note,) = one.explanation.notes
    sentences = (Span(start=0, end=14, log_odds=0.5), Span(start=15, end=32, log_odds=-0.2))
    note = dataclasses.replace(note, words=(), sentences=sentences)
    found = dataclasses.replace(one.explanation, notes=(note,))
    alone = dataclasses.replace(one, explanation=found)
    html = render(dataclasses.replace(prediction, reasons=(alone,)), language)
    card = HTMLParser(html).css_first(".mw-why")
    assert card is not None
    text = str(one.timeline.part(Modality.NOTES)["text_value"].iloc[0])
    assert [node.text() for node in card.css(".mw-why-note b")] == [
        text[s.start : s.end] for s in note.sentences
    ]
    assert say(language, "why_sentence_alone") in card.text()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_model_that_says_the_same_of_everybody_is_told_as_that(
    predictor: Predictor, clinic: Clinic, prediction: Prediction, language: Language
) -> None:
    (found,) = predictor.explain(clinic.without_note, model="prevalence")
    bare = dataclasses.replace(found, timeline=found.timeline.only(frozenset({Modality.EVENTS})))
    html = render(dataclasses.replace(prediction, reasons=(bare,)), language)
    assert say(language, "why_none") in HTMLParser(html).css_first(".mw-why").text()


def test_an_upload_is_explained_while_it_is_there_and_shown_when_it_is_gone(
    tmp_path: Path, predictor: Predictor
) -> None:
    record = bundle(tmp_path, patient("a"), weight("w", "a", 71.5))
    shown = predictor.predict_upload([record, picture(tmp_path)], explained=True)
    (one,) = shown.reasons
    (image,) = one.explanation.images
    assert not image.path.exists()
    assert one.explanation.risk == pytest.approx(shown.risks[0].risk, abs=1e-12)
    (card,) = HTMLParser(render(shown, "en")).css(".mw-why")
    assert len(card.css("img")) == 2
