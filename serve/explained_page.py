"""The page that `medweave explain` writes: one file of HTML that asks no network.

Red raises the risk and blue lowers it, in words and in images; one scale a page, so that two things
of the same colour add the same.
"""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fusion.explain import ExplainedImage, ExplainedNote
from ingest.errors import InputError
from ingest.schema import Modality
from serve.explained import Explained
from serve.page_codes import esc, moment, name_of
from serve.page_risk import percent

__all__ = ["write_page"]

_EVENTS = 20
_PICTURE_PX = 480
_RAISES, _LOWERS = (200, 48, 38), (32, 98, 190)
_STYLE = """
:root { color-scheme:light dark; --ink:#22303c; --soft:#5b6875; --line:#dfe4e9; --paper:#fff; }
@media (prefers-color-scheme:dark) { :root { --ink:#e4e9ee; --soft:#9fabb6; --line:#35404a;
  --paper:#151b20; } }
* { box-sizing:border-box; }
body { font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
  color:var(--ink); background:var(--paper); max-width:1000px; margin:0 auto;
  padding:24px 20px 60px; }
h1 { font-size:24px; margin:0 0 4px; } h2 { font-size:20px; margin:36px 0 8px;
  border-top:2px solid var(--line); padding-top:18px; } h3 { font-size:16px; margin:24px 0 6px; }
p { max-width:76ch; } .soft, small { color:var(--soft); }
.banner { border-left:4px solid #c0762b; padding:8px 14px; margin:16px 0;
  background:color-mix(in srgb, #c0762b 12%, transparent); }
.risk { font-size:34px; font-weight:600; font-variant-numeric:tabular-nums; }
.scroll { overflow-x:auto; }
table { border-collapse:collapse; font-variant-numeric:tabular-nums; font-size:14px; }
th, td { padding:4px 14px 4px 0; text-align:right; border-bottom:1px solid var(--line);
  vertical-align:top; }
th { font-weight:500; color:var(--soft); } th:first-child, td:first-child { text-align:left; }
td:first-child { min-width:12em; }
.bar { display:inline-block; width:120px; height:10px; position:relative; vertical-align:middle;
  border-left:1px solid var(--line); border-right:1px solid var(--line); }
.bar::before { content:""; position:absolute; left:50%; top:-2px; bottom:-2px;
  border-left:1px solid var(--soft); }
.bar i { position:absolute; top:0; bottom:0; }
.note { white-space:pre-wrap; overflow-wrap:anywhere; line-height:1.9; }
.note b { font-weight:inherit; border-radius:3px; padding:1px 0; }
.note sup { color:var(--soft); font-size:10.5px; padding:0 3px; }
.films { display:flex; flex-wrap:wrap; gap:14px; } figure { margin:0; max-width:100%; }
.films img { max-width:100%; height:auto; display:block; } figcaption { font-size:13px; }
.key { display:inline-block; padding:0 6px; border-radius:3px; color:var(--ink); }
@media (max-width:560px) { th, td { padding-right:8px; } td:first-child { min-width:7em; }
  .bar { width:56px; } }
"""


def write_page(path: Path, found: Sequence[Explained]) -> None:
    """Write the explanations of one subject's risks; the page holds the notes and the images.

    Raises:
        InputError: it cannot be written there.
    """
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>Why: subject {found[0].subject_id}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Subject {found[0].subject_id}</h1><p class='soft'>What was known at "
        f"{esc(moment(found[0].time))} UTC.</p>",
        "<p class='banner'>For research. Not for clinical use. What raises a risk here need not be "
        "what makes ill: the model tells patients with such records apart, and no cause from "
        "effect. This page holds the patient's notes and images.</p>",
        *(_task(one) for one in found),
        "</body></html>",
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(parts), "utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})") from None


def _task(one: Explained) -> str:
    found = one.explanation
    largest = max(
        [1e-9, *map(abs, found.modalities.values()), *map(abs, list(found.events.values())[:1])]
    )
    return "".join(
        (
            f"<h2>{esc(found.task)}</h2><p><span class='risk'>{esc(percent(found.risk))}</span> "
            f"by {esc(found.model)}; of somebody of whom nothing is known it says "
            f"{esc(percent(one.base_risk))}.</p>",
            _what_if(one),
            _modalities(one, largest),
            _events(one, largest),
            *(_note(one, note) for note in found.notes),
            _films(one),
        )
    )


def _what_if(one: Explained) -> str:
    if not one.what_if:
        return ""
    rows = "".join(
        f"<tr><td>{esc(edit)}</td><td>{esc(percent(risk))}</td></tr>" for edit, risk in one.what_if
    )
    return (
        "<h3>What if</h3><p class='soft'>What the model would say of such a record; not what would "
        "become of the patient.</p><div class='scroll'><table><tr><th>with</th><th>risk</th></tr>"
        f"{rows}</table></div>"
    )


def _modalities(one: Explained, largest: float) -> str:
    found, rows = one.explanation, []
    for modality in Modality:
        share, there = found.modalities[modality], found.being_there[modality]
        none = "" if one.has(modality) else " <small>none</small>"
        rows.append(
            f"<tr><td>{modality}{none}</td><td>{_bar(share, largest)}</td><td>{share:+.2f}</td>"
            f"<td>{share - there:+.2f}</td><td>{there:+.2f}</td></tr>"
        )
    return (
        "<h3>Events, notes and images</h3><p class='soft'>Exact Shapley values in log odds; they "
        "add up from the one risk to the other. Being there: what an average note, image or "
        "history would have added as well.</p><div class='scroll'><table><tr><th></th><th></th>"
        "<th>log odds</th><th>what is in it</th><th>being there</th></tr>"
        f"{''.join(rows)}</table></div>"
    )


def _events(one: Explained, largest: float) -> str:
    events = one.explanation.events
    if not events:
        return ""
    rows = "".join(
        f"<tr><td>{esc(one.name(code))}<br><small>{esc(code)}</small></td>"
        f"<td>{esc(one.value(code))}</td><td>{_bar(share, largest)}</td><td>{share:+.3f}</td></tr>"
        for code, share in list(events.items())[:_EVENTS]
    )
    rest = sum(list(events.values())[_EVENTS:])
    left = len(events) - _EVENTS
    more = (
        f"<tr><td class='soft'>{left} others</td><td></td><td></td><td>{rest:+.3f}</td></tr>"
        if left > 0
        else ""
    )
    return (
        "<h3>Events</h3><div class='scroll'><table><tr><th></th><th>last value</th><th></th>"
        f"<th>log odds</th></tr>{rows}{more}</table></div>"
    )


def _note(one: Explained, note: ExplainedNote) -> str:
    event = one.timeline.part(Modality.NOTES).iloc[note.number]
    text = str(event["text_value"])
    largest = max([1e-9, *(abs(w.log_odds) for n in one.explanation.notes for w in n.words)])
    words = {w.start: w for w in note.words}
    ends = {s.end: s for s in note.sentences}
    said, place, word = [], 0, None
    for stop in sorted({*words, *(w.end for w in note.words), *ends, len(text)}):
        word = words.get(place) or (word if word is not None and place < word.end else None)
        piece = esc(text[place:stop])
        if word is not None:
            piece = (
                f"<b style='background:{_tint(word.log_odds, largest)}' "
                f"title='{word.log_odds:+.3f}'>{piece}</b>"
            )
        said.append(piece)
        if stop in ends:
            said.append(f"<sup>{ends[stop].log_odds:+.2f}</sup>")
        if note.sentences and stop == note.sentences[-1].end and text[stop:].strip():
            said.append("<small> (the model reads no further)</small>")
        place = stop
    about = "The number after a sentence is the sentence's"
    about += "; its words add up to it." if note.words else "; this model tells no words apart."
    name = esc(name_of(str(event["code"]), one.descriptions, "en"))
    return (
        f"<h3>{name} <small>{esc(moment(event['time']))}, {note.log_odds:+.2f} log odds</small>"
        f"</h3><p class='soft'>{_key()} {about if note.sentences else ''}</p>"
        f"<div class='note'>{''.join(said)}</div>"
    )


def _films(one: Explained) -> str:
    images = one.explanation.images
    if not images:
        return ""
    largest = max(1e-12, *(np.abs(image.grid).max() for image in images))
    figures = []
    for image in images:
        event = one.timeline.part(Modality.IMAGES).iloc[image.number]
        name = esc(name_of(str(event["code"]), one.descriptions, "en"))
        caption = f"{name}, {esc(moment(event['time']))}, {image.log_odds:+.2f} log odds"
        for data, words in zip(_pictures(image, largest), (caption, "where it adds"), strict=True):
            figures.append(
                f"<figure><img alt='{words}' src='data:image/png;base64,{data}'>"
                f"<figcaption class='soft'>{words}</figcaption></figure>"
            )
    return (
        f"<h3>Images</h3><p class='soft'>{_key()} The model reads cells of {len(images[0].grid)} x "
        f"{len(images[0].grid)}, each of which sees some of its neighbours: colours are no finer "
        f"than that.</p><div class='films'>{''.join(figures)}</div>"
    )


def _pictures(image: ExplainedImage, largest: float) -> tuple[str, str]:
    """Give the film, and the film with its heat, as PNG in base64."""
    with Image.open(image.path) as opened:
        opened.thumbnail((_PICTURE_PX, _PICTURE_PX))
        film = opened.convert("L").convert("RGB")
    heat = image.heat(film.width, film.height) / largest
    pixels = np.asarray(film, np.float32)
    strength = np.clip(np.abs(heat), 0, 1)[..., None] ** 0.7 * 0.65
    colour = np.where(heat[..., None] > 0, np.array(_RAISES), np.array(_LOWERS))
    mixed = Image.fromarray((pixels * (1 - strength) + colour * strength).astype(np.uint8))
    return _png(film), _png(mixed)


def _png(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _key() -> str:
    raises, lowers = _tint(1, 1), _tint(-1, 1)
    return (
        f"<span class='key' style='background:{raises}'>raises</span> "
        f"<span class='key' style='background:{lowers}'>lowers</span>"
    )


def _tint(share: float, largest: float) -> str:
    red, green, blue = _RAISES if share > 0 else _LOWERS
    return f"rgba({red},{green},{blue},{0.6 * min(1.0, abs(share) / largest):.2f})"


def _bar(share: float, largest: float) -> str:
    width = 50 * min(1.0, abs(share) / largest)
    red, green, blue = _RAISES if share > 0 else _LOWERS
    left = 50 if share > 0 else 50 - width
    return (
        f"<span class='bar'><i style='left:{left:.1f}%;width:{width:.1f}%;"
        f"background:rgb({red},{green},{blue})'></i></span>"
    )
