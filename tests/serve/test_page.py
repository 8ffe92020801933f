"""What the page says of a prediction: complete, escaped, in two languages."""

import dataclasses
import re
import string

import pandas as pd
import pytest
from selectolax.lexbor import LexborHTMLParser as HTMLParser

from fusion.conformal import SET_NAMES
from ingest.schema import Modality
from serve.page_codes import name_of
from serve.page_result import Trouble, render
from serve.page_risk import risk_card
from serve.prediction import Prediction
from serve.predictor import Predictor
from serve.texts import TEXTS, Language, say
from tests.serve.clinic import DESCRIPTIONS, HOSTILE, Clinic

LANGUAGES: tuple[Language, ...] = ("en", "zh")


@pytest.fixture(scope="module")
def prediction(predictor: Predictor, clinic: Clinic) -> Prediction:
    return predictor.predict(clinic.with_all)


def text_of(html: str, selector: str) -> str:
    found = HTMLParser(html).css_first(selector)
    assert found is not None, selector
    return " ".join(found.text().split())


def test_both_languages_have_every_text_with_the_same_placeholders() -> None:
    for key, (english, chinese) in TEXTS.items():
        fields = [
            {f for _, f, _, _ in string.Formatter().parse(t) if f} for t in (english, chinese)
        ]
        assert fields[0] == fields[1], key
        assert english.strip(), key
        assert chinese.strip(), key
        assert not re.search("[\u4e00-\u9fff]", english), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_card_gives_risk_base_rate_model_and_each_contribution(
    prediction: Prediction, language: Language
) -> None:
    html = render(prediction, language)
    risk = prediction.risks[0]
    assert text_of(html, ".mw-big") == f"{100 * risk.risk:.1f}%"
    assert f"{100 * risk.task.base_rate:.1f}%" in text_of(html, ".mw-base")
    assert say(language, "model_average") in text_of(html, ".mw-model")
    rows = HTMLParser(html).css(".mw-share")
    assert [row.attributes["data-modality"] for row in rows] == [str(m) for m in Modality]
    for row, part in zip(rows, risk.contributions, strict=True):
        sign = "+" if part.risk > 0 else "−"
        assert f"{sign}{abs(100 * part.risk):.1f}" in row.text()
        side = ".mw-up" if part.risk > 0 else ".mw-down"
        assert row.css_first(side) is not None
    assert prediction.prediction_time.strftime("%Y-%m-%d %H:%M") in text_of(html, ".mw-when")


@pytest.mark.parametrize("language", LANGUAGES)
def test_text_from_a_record_is_never_markup(prediction: Prediction, language: Language) -> None:
    html = render(prediction, language)
    assert HOSTILE in text_of(html, ".mw-note-text")
    for dangerous in ("<script", "${", "{{", "@children"):
        assert dangerous not in html


def test_every_field_of_a_hostile_record_is_escaped(prediction: Prediction) -> None:
    evil = '"><img src=x onerror=alert(1)>${x}'
    events = prediction.timeline.events.copy()
    events["unit"] = events["unit"].where(events["numeric_value"].isna(), evil)
    events.loc[events["code"].str.startswith("SNOMED"), "code"] = f"LOCAL//{evil}"
    events.loc[events["modality"] == "events", "text_value"] = evil
    hostile = dataclasses.replace(
        prediction,
        timeline=dataclasses.replace(prediction.timeline, events=events),
        descriptions={**DESCRIPTIONS, "LOINC//8480-6": evil},
        pictures=tuple(dataclasses.replace(p, code=f"IMAGE//{evil}") for p in prediction.pictures),
    )
    for language in LANGUAGES:
        html = render(hostile, language)
        tree = HTMLParser(html)
        assert "${" not in html
        images = tree.css("img")
        assert [i.attributes["src"][:22] for i in images] == ["data:image/png;base64,"]
        assert not tree.css("[onerror]")
        assert evil in tree.body.text()


@pytest.mark.parametrize(
    ("lacking", "modality"), [("without_note", "notes"), ("without_image", "images")]
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_missing_is_said(
    predictor: Predictor, clinic: Clinic, lacking: str, modality: str, language: Language
) -> None:
    html = render(predictor.predict(getattr(clinic, lacking)), language)
    assert text_of(html, f"section.mw-{modality}").endswith(say(language, f"{modality}_none"))
    assert say(language, f"no_{modality}") in text_of(html, ".mw-chip-missing")
    row = text_of(html, f'.mw-share[data-modality="{modality}"]')
    assert row.endswith(say(language, "none_on_record"))


def test_no_raw_code_is_shown_where_a_description_exists(prediction: Prediction) -> None:
    known = set(prediction.timeline.events["code"]) & set(prediction.descriptions)
    assert "LOINC//8480-6" in known
    for language in LANGUAGES:
        visible = HTMLParser(render(prediction, language)).body.text()
        for code in known:
            assert prediction.descriptions[code] in visible
            assert code.rpartition("//")[2] not in visible


def test_each_event_is_in_the_table_and_each_dated_one_in_the_figure(
    prediction: Prediction,
) -> None:
    html = render(prediction, "en")
    events = prediction.timeline.events
    assert len(HTMLParser(html).css(".mw-events tbody tr")) == len(events)
    wide = HTMLParser(html).css_first(".mw-lanes-wide")
    told = "\n".join(title.text() for title in wide.css("title"))
    dated = events[events["time"].notna() & (events["code"] != "MEDS_BIRTH")]
    assert len(told.splitlines()) == len(dated)
    for number in dated["numeric_value"].dropna():
        assert f"{number:.4g}" in told


def test_the_trend_shows_all_values_and_the_last_one(prediction: Prediction) -> None:
    events = prediction.timeline.events
    pressures = events.loc[events["code"] == "LOINC//8480-6", "numeric_value"]
    trend = HTMLParser(render(prediction, "en")).css_first(".mw-trend")
    assert trend.css_first("figcaption").text() == "Systolic blood pressure"
    assert trend.css_first("strong").text() == f"{pressures.iloc[-1]:.0f}"
    assert len(trend.css("circle")) == len(pressures) == 5


def test_a_time_that_the_task_does_not_ask_at_is_told(
    predictor: Predictor, clinic: Clinic, prediction: Prediction
) -> None:
    early = predictor.predict(clinic.with_all, prediction.prediction_time - pd.Timedelta(days=100))
    assert say("en", "not_asked")[:40] in render(early, "en")
    assert say("en", "not_asked")[:40] not in render(prediction, "en")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("label_set", SET_NAMES)
def test_the_card_states_the_interval_and_the_label_set(
    prediction: Prediction, language: Language, label_set: str
) -> None:
    risk = dataclasses.replace(prediction.risks[0], interval=(0.1234, 0.25), label_set=label_set)
    html = risk_card(risk, language)
    assert text_of(html, ".mw-range") == say(language, "risk_interval", low="12.3%", high="25.0%")
    assert say(language, f"set_{label_set}") in HTMLParser(html).text()
    silent = risk_card(dataclasses.replace(risk, interval=None, label_set=None), language)
    assert not HTMLParser(silent).css(".mw-range")
    assert say(language, f"set_{label_set}") not in HTMLParser(silent).text()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_record_unlike_the_training_data_is_told(
    prediction: Prediction, language: Language
) -> None:
    html = render(dataclasses.replace(prediction, unlike=Modality.IMAGES), language)
    kind = say(language, "modality_images")
    assert text_of(html, ".mw-unlike") == say(language, "remark_unlike", kind=kind)
    assert not HTMLParser(render(dataclasses.replace(prediction, unlike=None), language)).css(
        ".mw-unlike"
    )


def test_an_evaluated_model_shows_its_figures_with_intervals(prediction: Prediction) -> None:
    risk = prediction.risks[0]
    metric = {"value": 0.871, "low": 0.8, "high": 0.93}
    evaluation = {"n": 120, "positives": 31, "metrics": {"auroc": metric, "ece": {"value": None}}}
    told = dataclasses.replace(risk, task=dataclasses.replace(risk.task, evaluation=evaluation))
    text = text_of(risk_card(told, "en"), ".mw-model")
    assert "On 120 held-out rows, 31 positive: AUROC 0.87 (95% interval 0.80–0.93)" in text
    assert "calibration error" not in text
    assert "Not evaluated yet" in text_of(risk_card(risk, "en"), ".mw-model")


def compared(**losses: float) -> dict[str, dict[str, float]]:
    best = min(losses.values())
    return {
        name: {"logloss": loss, "behind": loss - best, "standard_error": 0.02}
        for name, loss in losses.items()
    }


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("numbers", "asked_for", "key", "words"),
    [
        (compared(average=0.4, attention=0.45), False, "serves_best", ("0.400", "0.450")),
        (
            compared(average=0.41, attention=0.4),
            False,
            "serves_simpler",
            ("0.410", "0.400", "0.010", "0.020"),
        ),
        (compared(average=0.5, attention=0.4), True, "serves_asked", ("0.500",)),
        (compared(average=0.4), False, "serves_only", ("0.400",)),
        ({}, False, "serves_too_few", ()),
        ({}, True, "serves_asked", ()),
    ],
)
def test_the_card_says_by_which_numbers_the_model_was_chosen(
    prediction: Prediction,
    language: Language,
    numbers: dict[str, dict[str, float]],
    asked_for: bool,
    key: str,
    words: tuple[str, ...],
) -> None:
    (risk,) = prediction.risks
    task = dataclasses.replace(risk.task, compared=numbers, asked_for=asked_for)
    assert task.champion == "average"
    said = text_of(risk_card(dataclasses.replace(risk, task=task), language), ".mw-model")
    template = TEXTS[key][LANGUAGES.index(language)]
    assert max(re.split(r"{\w+}", template), key=len) in said
    assert [n for n in words if n not in said] == []


@pytest.mark.parametrize("risk", [0.0, 1e-9, 0.5, 1 - 1e-9])
def test_no_risk_is_written_as_certain(prediction: Prediction, risk: float) -> None:
    told = dataclasses.replace(prediction.risks[0], risk=risk)
    assert text_of(risk_card(told, "en"), ".mw-big") in {"<0.1%", "50.0%", ">99.9%"}


def test_a_failure_says_its_sentence_and_log_entry_alone() -> None:
    html = render(Trouble(key="error_limit", log_id="12ab34cd"), "zh")
    assert say("zh", "error_limit") in html
    assert "12ab34cd" in html


@pytest.mark.parametrize(
    ("code", "english", "chinese"),
    [
        ("ENCOUNTER_START//IMP", "Start of hospital stay", "住院开始"),
        ("ENCOUNTER_END//XYZ", "End of encounter (xyz)", "就诊（xyz）结束"),
        ("DISPOSITION//DIED", "Discharge: died", "出院去向：死亡"),
        ("GENDER//F", "Sex: female", "性别：女"),
        ("ORDER//RXNORM//197361", "Ordered: Amlodipine 5 mg", "医嘱：Amlodipine 5 mg"),
        ("FAMILY//SNOMED//84114007", "Family history: Heart failure", "家族史：Heart failure"),
        ("IMAGE//DX//PA", "Image DX · PA", "影像 DX · PA"),
        ("LOCAL//ABC", "LOCAL ABC", "LOCAL ABC"),
    ],
)
def test_a_code_without_a_concept_of_its_own_gets_words(
    code: str, english: str, chinese: str
) -> None:
    assert name_of(code, DESCRIPTIONS, "en") == english
    assert name_of(code, DESCRIPTIONS, "zh") == chinese
