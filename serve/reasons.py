"""Why a risk is what it is, as HTML in both languages: events, words of notes, places of images.

The page and the file of `medweave explain` show the same. Orange raises the risk and blue lowers
it, as in the bars of the page; within a task the strongest word and the strongest place have the
full colour.
"""

import base64
from collections.abc import Mapping

from fusion.explain import ExplainedNote, Span
from ingest.schema import Modality
from serve.explained import Explained
from serve.page_codes import esc, moment, name_of, signed
from serve.texts import Language, say

__all__ = ["REASONS_CSS", "reasons_of", "share_bar"]

EVENTS = 20
"""Codes that are listed; the others are added up."""

REASONS_CSS = """
.mw-why table { font-size: 13.5px; border-collapse: collapse; }
.mw-why th, .mw-why td { text-align: left; vertical-align: top; padding: 5px 12px 5px 0;
  border-bottom: 1px solid var(--mw-grid); font-variant-numeric: tabular-nums; }
.mw-why th:last-child, .mw-why td:last-child { text-align: right; padding-right: 0; }
.mw-why h3 { margin-top: 20px; }
.mw-why td small, .mw-why figcaption, .mw-why sup { color: var(--mw-soft); }
.mw-why td.mw-why-name { overflow-wrap: anywhere; white-space: normal; }
.mw-why td.mw-why-bar { min-width: 72px; width: 28%; }
.mw-why .mw-why-one { margin: 14px 0 2px; }
.mw-why-bar span { display: block; position: relative; height: 12px; margin-top: 5px;
  border-radius: 3px; background: linear-gradient(var(--mw-soft), var(--mw-soft)) 50% 0 / 1px 100%
  no-repeat, var(--mw-track); }
.mw-why-bar i { position: absolute; top: 0; bottom: 0; }
.mw-why-bar .mw-up { left: 50%; background: var(--mw-up); border-radius: 0 3px 3px 0; }
.mw-why-bar .mw-down { right: 50%; background: var(--mw-down); border-radius: 3px 0 0 3px; }
.mw-why-note { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.95;
  font-size: 14px; margin-top: 6px; }
.mw-why-note b, .mw-why-key { font-weight: inherit; color: inherit; border-radius: 3px;
  padding: 1px 0; background: color-mix(in srgb, var(--mw-tint) var(--mw-s), transparent); }
.mw-why-note .mw-up, .mw-why-key.mw-up { --mw-tint: var(--mw-up); }
.mw-why-note .mw-down, .mw-why-key.mw-down { --mw-tint: var(--mw-down); }
.mw-why-note sup { font-size: 10.5px; padding: 0 3px; }
.mw-why-key { --mw-s: 55%; padding: 0 7px; }
.mw-why-films { display: grid; gap: 12px; margin-top: 10px;
  grid-template-columns: repeat(auto-fit, minmax(min(260px, 100%), 1fr)); }
.mw-why-films figure { margin: 0; max-width: 480px; }
.mw-why-films img { display: block; width: 100%; height: auto; border-radius: 6px;
  background: var(--mw-image-back); }
.mw-why-films figcaption { font-size: 13px; margin-top: 5px; }
"""


def reasons_of(one: Explained, language: Language) -> str:
    """Show what the events, the notes and the images of one risk did."""
    found = one.explanation
    marks = [mark for note in found.notes for mark in _marks(note)]
    largest = max([1e-9, *(abs(mark.log_odds) for mark in marks)])
    notes = "".join(_note(one, note, largest, language) for note in found.notes)
    if notes:
        notes = _head(one, Modality.NOTES, language) + notes
    return _events(one, language) + notes + _films(one, language) + _unread(one, language)


def share_bar(share: float, largest: float) -> str:
    """Draw a bar from the middle, to the right where it raises the risk."""
    width = 50 * min(1.0, abs(share) / largest)
    side = "mw-up" if share > 0 else "mw-down"
    return f'<span aria-hidden="true"><i class="{side}" style="width:{width:.1f}%"></i></span>'


def _events(one: Explained, language: Language) -> str:
    events = one.explanation.events
    if not events:
        return ""
    shown, rest = list(events.items())[:EVENTS], list(events.values())[EVENTS:]
    largest = max(1e-9, *(abs(share) for _, share in shown))
    rows = [_event(one, code, share, largest, language) for code, share in shown]
    if rest:
        words = say(language, "why_others", n=len(rest))
        rows.append(
            f'<tr><td class="mw-soft">{esc(words)}</td><td></td><td>{signed(sum(rest))}</td></tr>'
        )
    return (
        f"{_head(one, Modality.EVENTS, language)}"
        f'<div class="mw-scroll"><table>{"".join(rows)}</table></div>'
    )


def _head(one: Explained, modality: Modality, language: Language) -> str:
    """Name a modality, with how its Shapley value is made up."""
    found = one.explanation
    total, there = found.modalities[modality], found.being_there[modality]
    words = say(
        language,
        "why_sum",
        total=signed(total),
        there=signed(there),
        inside=signed(total - there),
    )
    name = esc(say(language, f"modality_{modality}"))
    return f'<h3>{name}</h3><p class="mw-soft mw-small">{esc(words)}</p>'


def _event(one: Explained, code: str, share: float, largest: float, language: Language) -> str:
    value = esc(one.value(code))
    raw = "" if code == "UNK" or code.endswith("//UNK") else f"<small>{esc(code)}</small>"
    below = " · ".join(words for words in (value, raw) if words)
    return (
        f'<tr><td class="mw-why-name">{esc(one.name(code, language))}<br>{below}</td>'
        f'<td class="mw-why-bar">{share_bar(share, largest)}</td><td>{signed(share)}</td></tr>'
    )


def _note(one: Explained, note: ExplainedNote, largest: float, language: Language) -> str:
    event = one.timeline.part(Modality.NOTES).iloc[note.number]
    text = str(event["text_value"])
    words = {mark.start: mark for mark in _marks(note)}
    ends = {s.end: s for s in note.sentences}
    last = note.sentences[-1].end if note.sentences else None
    said, place, word = [], 0, None
    for stop in sorted({*words, *(w.end for w in words.values()), *ends, len(text)}):
        word = words.get(place) or (word if word is not None and place < word.end else None)
        if stop > place:
            piece = esc(text[place:stop])
            said.append(piece if word is None else _marked(piece, word.log_odds, largest))
        if stop in ends:
            said.append(f"<sup>{signed(ends[stop].log_odds)}</sup>")
        if stop == last and text[stop:].strip():
            said.append(f"<small> ({esc(say(language, 'why_no_further'))})</small>")
        place = stop
    key = "why_sentence" if note.words else "why_sentence_alone"
    about = esc(say(language, key)) if note.sentences else ""
    name = esc(name_of(str(event["code"]), one.descriptions, language))
    return (
        f'<p class="mw-why-one"><strong>{name}</strong> '
        f'<time class="mw-soft">{esc(moment(event["time"]))}</time> · {signed(note.log_odds)}</p>'
        f'<p class="mw-soft mw-small">{_key(language)} {about}</p>'
        f'<div class="mw-why-note">{"".join(said)}</div>'
    )


def _marks(note: ExplainedNote) -> tuple[Span, ...]:
    """Give what is coloured: words, or whole sentences where the model's words can't be had."""
    return note.words or note.sentences


def _marked(piece: str, share: float, largest: float) -> str:
    strength = round(60 * min(1.0, abs(share) / largest))
    side = "mw-up" if share > 0 else "mw-down"
    return f'<b class="{side}" style="--mw-s:{strength}%" title="{signed(share, 3)}">{piece}</b>'


def _films(one: Explained, language: Language) -> str:
    images = one.explanation.images
    if not images:
        return ""
    figures = []
    for image in images:
        event = one.timeline.part(Modality.IMAGES).iloc[image.number]
        name = name_of(str(event["code"]), one.descriptions, language)
        caption = f"{name}, {moment(event['time'])} · {signed(image.log_odds)}"
        heated = say(language, "why_heat")
        for png, words in zip(one.pictures[image.number], (caption, heated), strict=True):
            data = base64.b64encode(png).decode("ascii")
            figures.append(
                f'<figure><img alt="{esc(words)}" src="data:image/png;base64,{data}">'
                f"<figcaption>{esc(words)}</figcaption></figure>"
            )
    cells = say(language, "why_cells", side=len(images[0].grid))
    return (
        f"{_head(one, Modality.IMAGES, language)}"
        f'<p class="mw-soft mw-small">{_key(language)} {esc(cells)}</p>'
        f'<div class="mw-why-films">{"".join(figures)}</div>'
    )


def _unread(one: Explained, language: Language) -> str:
    """Say what of the record this model did not look at."""
    found = one.explanation
    read: Mapping[Modality, int] = {
        Modality.NOTES: len(found.notes),
        Modality.IMAGES: len(found.images),
    }
    said = []
    for modality, number in read.items():
        there = len(one.timeline.part(modality))
        if number < there:
            key = f"why_unread_{modality}"
            said.append(
                f'<p class="mw-soft mw-small">{esc(say(language, key, read=number, n=there))}</p>'
            )
    return "".join(said)


def _key(language: Language) -> str:
    return "".join(
        f'<span class="mw-why-key {side}">{esc(say(language, key))}</span> '
        for side, key in (("mw-up", "why_raises"), ("mw-down", "why_lowers"))
    )
