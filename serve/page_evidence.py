"""The notes and the images that were known at the prediction time."""

import base64

from ingest.schema import Modality
from serve.page_codes import esc, moment, name_of
from serve.prediction import Picture, Prediction
from serve.texts import Language, say

__all__ = ["images_card", "notes_card"]

NOTES = 20
"""Notes that are shown, the latest ones."""

NOTE_CHARACTERS = 20_000
"""Of each note; the model reads the whole."""


def notes_card(prediction: Prediction, language: Language) -> str:
    """Show the notes as HTML, the latest first and open."""
    notes = prediction.timeline.part(Modality.NOTES)
    latest = notes[::-1].head(NOTES)
    parts = []
    for number, note in enumerate(latest.itertuples()):
        text = note.text_value if isinstance(note.text_value, str) else ""
        shown, rest = text[:NOTE_CHARACTERS], len(text) - NOTE_CHARACTERS
        more = say(language, "note_long", n=rest) if rest > 0 else ""
        name = name_of(str(note.code), prediction.descriptions, language)
        parts.append(
            f'<details class="mw-note"{" open" if number == 0 else ""}>'
            f'<summary>{esc(name)} <time class="mw-soft">{esc(moment(note.time))}</time></summary>'
            f'<div class="mw-note-text">{esc(shown)}<span class="mw-soft">{esc(more)}</span></div>'
            "</details>"
        )
    cut = (
        say(language, "notes_cut", shown=len(latest), n=len(notes))
        if len(latest) < len(notes)
        else ""
    )
    return _card("notes", "".join(parts), cut, language)


def images_card(prediction: Prediction, language: Language) -> str:
    """Show the images as HTML, the latest first, embedded: no file is served by its path."""
    count = len(prediction.timeline.part(Modality.IMAGES))
    figures = "".join(_figure(p, prediction, language) for p in reversed(prediction.pictures))
    content = f'<div class="mw-films">{figures}</div>' if figures else ""
    shown = len(prediction.pictures)
    cut = say(language, "images_cut", shown=shown, n=count) if shown < count else ""
    return _card("images", content, cut, language)


def _card(kind: str, content: str, cut: str, language: Language) -> str:
    none = f'<p class="mw-none">{esc(say(language, f"{kind}_none"))}</p>'
    note = f'<p class="mw-soft">{esc(cut)}</p>' if cut else ""
    return (
        f'<section class="mw-card mw-{kind}"><h2>{esc(say(language, kind))}</h2>'
        f"{content or none}{note}</section>"
    )


def _figure(picture: Picture, prediction: Prediction, language: Language) -> str:
    name = name_of(picture.code, prediction.descriptions, language)
    known = moment(picture.time)
    caption = f'<figcaption>{esc(name)} <time class="mw-soft">{esc(known)}</time></figcaption>'
    if picture.png is None:
        return (
            f'<figure class="mw-image"><p class="mw-none">{esc(say(language, "image_missing"))}</p>'
            f"{caption}</figure>"
        )
    data = base64.b64encode(picture.png).decode("ascii")
    alt = say(language, "image_alt", name=name, time=known)
    return (
        f'<figure class="mw-image"><img alt="{esc(alt)}" src="data:image/png;base64,{data}">'
        f"{caption}</figure>"
    )
