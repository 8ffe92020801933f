"""One prediction, or what went wrong, as one piece of HTML."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from ingest.schema import Modality
from serve.explained import Explained
from serve.page_codes import esc, moment
from serve.page_evidence import images_card, notes_card
from serve.page_risk import risk_card, task_words
from serve.page_timeline import timeline_card
from serve.prediction import DAYS_A_YEAR, Prediction
from serve.reasons import reasons_of
from serve.texts import TEXTS, Language, say

__all__ = ["Trouble", "person", "render"]


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Hold what a person is told of a failure: a fixed sentence and where the log has more."""

    key: str
    """A key of TEXTS."""

    log_id: str
    """Written into the log beside the kind and place of the failure."""


def render(shown: Prediction | Trouble | None, language: Language) -> str:
    """Show a prediction, a failure, or that there is nothing yet."""
    if shown is None:
        content = (
            f'<div class="mw-empty"><h2>{esc(say(language, "empty_title"))}</h2>'
            f"<p>{esc(say(language, 'empty'))}</p></div>"
        )
    elif isinstance(shown, Trouble):
        content = (
            f'<div class="mw-card mw-error" role="alert"><h2>{esc(say(language, "error_title"))}'
            f"</h2><p>{esc(say(language, shown.key))}</p>"
            f'<p class="mw-soft mw-small">{esc(say(language, "error_log", id=shown.log_id))}</p>'
            "</div>"
        )
    else:
        content = "".join(
            (
                _patient(shown, language),
                *_risks(shown, language),
                timeline_card(shown, language),
                f'<div class="mw-pair">{notes_card(shown, language)}'
                f"{images_card(shown, language)}</div>",
            )
        )
    return f'<div class="mw-result">{content}</div>'


def person(age_years: float | None, sex: object, language: Language) -> str:
    """Say age and sex, as far as they are known.

    >>> person(63.4, "F", "en"), person(None, None, "en")
    ('63 years · female', '')
    """
    parts = []
    if age_years is not None and not pd.isna(age_years):
        parts.append(say(language, "years", years=int(age_years)))
    if isinstance(sex, str) and f"sex_{sex}" in TEXTS:
        parts.append(say(language, f"sex_{sex}"))
    return " · ".join(parts)


def _patient(prediction: Prediction, language: Language) -> str:
    events = prediction.timeline.events
    born = events.loc[events["code"] == "MEDS_BIRTH", "days_before"]
    sex = events.loc[events["code"].str.startswith("GENDER//"), "code"]
    who = person(
        None if born.empty else float(born.iloc[0]) / DAYS_A_YEAR,
        None if sex.empty else sex.iloc[0].removeprefix("GENDER//"),
        language,
    )
    title = (
        say(language, "uploaded_subject")
        if prediction.subject_id is None
        else say(language, "subject", id=prediction.subject_id)
    )
    chips = "".join(_chip(prediction, modality, language) for modality in Modality)
    time = prediction.prediction_time
    remarks = "".join(
        f'<p class="mw-remark">{esc(say(language, key, n=n))}</p>'
        for key, n in (
            ("remark_image_unused", prediction.images_unused),
            ("remark_image_undated", prediction.images_undated),
            ("remark_quarantined", prediction.quarantined),
        )
        if n
    )
    if prediction.unlike is not None:
        kind = say(language, f"modality_{prediction.unlike}")
        words = say(language, "remark_unlike", kind=kind)
        remarks = f'<p class="mw-remark mw-unlike">{esc(words)}</p>{remarks}'
    stop = "." if language == "en" else "。"
    until = say(language, "known_until")
    return (
        f'<section class="mw-card mw-patient"><h2>{esc(title)}</h2>'
        f'<span class="mw-soft">{esc(who)}</span><div class="mw-chips">{chips}</div>'
        f'<p class="mw-when">{esc(say(language, "prediction_time"))} '
        f'<time datetime="{esc(time.isoformat())}Z">{esc(moment(time))} UTC</time>{stop} '
        f'<span class="mw-soft">{esc(until)}</span></p>{remarks}</section>'
    )


def _risks(prediction: Prediction, language: Language) -> Iterator[str]:
    """Show each risk, and below it why it is what it is, where that was asked for."""
    for place, risk in enumerate(prediction.risks):
        yield risk_card(risk, language)
        if prediction.reasons:
            yield _why(prediction.reasons[place], prediction, language)


def _why(one: Explained, prediction: Prediction, language: Language) -> str:
    """Show a card of reasons; one that belongs to several tasks says which."""
    title = say(language, "why_title")
    if len(prediction.risks) > 1:
        task = next(r.task for r in prediction.risks if r.task.name == one.explanation.task)
        title = f"{title}: {task_words(task, language)[0]}"
    reasons = reasons_of(one, language) or f"<p>{esc(say(language, 'why_none'))}</p>"
    hint = esc(say(language, "why_no_cause"))
    return (
        f'<section class="mw-card mw-why"><h2>{esc(title)}</h2>'
        f'<p class="mw-soft mw-small">{hint}</p>{reasons}</section>'
    )


def _chip(prediction: Prediction, modality: Modality, language: Language) -> str:
    n = int((prediction.timeline.events["modality"] == str(modality)).sum())
    if n == 0:
        words = say(language, f"no_{modality}")
        return f'<span class="mw-chip mw-chip-missing">{esc(words)}</span>'
    words = say(language, f"n_{modality}" if n > 1 else f"one_{modality}", n=n)
    return f'<span class="mw-chip">{esc(words)}</span>'
