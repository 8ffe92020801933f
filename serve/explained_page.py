"""The page that `medweave explain` writes: one file of HTML that asks no network."""

from collections.abc import Sequence
from pathlib import Path

from ingest.errors import InputError
from ingest.schema import Modality
from serve.explained import Explained
from serve.page_codes import esc, moment, signed
from serve.page_risk import percent
from serve.reasons import REASONS_CSS, reasons_of, share_bar
from serve.texts import say

__all__ = ["write_page"]

_STYLE = (
    """
:root { color-scheme:light dark; --mw-ink:#18212f; --mw-soft:#56627a; --mw-line:#dde2ea;
  --mw-paper:#fff; --mw-track:#e6eaf0; --mw-grid:#e8ecf2; --mw-up:#b4530a; --mw-down:#1d5fa8;
  --mw-image-back:#0b0e14; }
@media (prefers-color-scheme:dark) { :root { --mw-ink:#e3e8f0; --mw-soft:#9aa7bd;
  --mw-line:#29344a; --mw-paper:#161e2d; --mw-track:#28344b; --mw-grid:#222d42; --mw-up:#f0a05a;
  --mw-down:#78b2f0; --mw-image-back:#05070b; } }
* { box-sizing:border-box; }
body { font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
  color:var(--mw-ink); background:var(--mw-paper); max-width:1000px; margin:0 auto;
  padding:24px 20px 60px; }
h1 { font-size:24px; margin:0 0 4px; } h2 { font-size:20px; margin:36px 0 8px;
  border-top:2px solid var(--mw-line); padding-top:18px; } h3 { font-size:16px; margin:24px 0 6px; }
h3 time { font-weight:400; font-size:13px; }
p { max-width:76ch; } .mw-soft, small { color:var(--mw-soft); } .mw-small { font-size:13px; }
.banner { border-left:4px solid #c0762b; padding:8px 14px; margin:16px 0;
  background:color-mix(in srgb, #c0762b 12%, transparent); }
.risk { font-size:34px; font-weight:600; font-variant-numeric:tabular-nums; }
.mw-scroll { overflow-x:auto; } .mw-why table { width:100%; }
"""
    + REASONS_CSS
)


def write_page(path: Path, found: Sequence[Explained]) -> None:
    """Write the explanations of one subject's risks; the page holds the notes and the images.

    Raises:
        InputError: it cannot be written there.
    """
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>Why: subject {found[0].subject_id}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Subject {found[0].subject_id}</h1><p class='mw-soft'>What was known at "
        f"{esc(moment(found[0].time))} UTC.</p>",
        f"<p class='banner'>For research. Not for clinical use. {esc(say('en', 'why_no_cause'))} "
        "This page holds the patient's notes and images.</p>",
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
    return "".join(
        (
            f"<section class='mw-why'><h2>{esc(found.task)}</h2>",
            f"<p><span class='risk'>{esc(percent(found.risk))}</span> by {esc(found.model)}; of "
            f"somebody of whom nothing is known it says {esc(percent(one.base_risk))}.</p>",
            _what_if(one),
            _modalities(one),
            reasons_of(one, "en"),
            "</section>",
        )
    )


def _what_if(one: Explained) -> str:
    if not one.what_if:
        return ""
    rows = "".join(
        f"<tr><td>{esc(edit)}</td><td>{esc(percent(risk))}</td></tr>" for edit, risk in one.what_if
    )
    return (
        "<h3>What if</h3><p class='mw-soft mw-small'>What the model would say of such a record; "
        "not what would become of the patient.</p><div class='mw-scroll'><table><tr><th>with</th>"
        f"<th>risk</th></tr>{rows}</table></div>"
    )


def _modalities(one: Explained) -> str:
    found, rows = one.explanation, []
    largest = max([1e-9, *map(abs, found.modalities.values())])
    for modality in Modality:
        share, there = found.modalities[modality], found.being_there[modality]
        none = "" if one.has(modality) else " <small>none</small>"
        rows.append(
            f"<tr><td class='mw-why-name'>{modality}{none}</td>"
            f"<td class='mw-why-bar'>{share_bar(share, largest)}</td>"
            f"<td>{signed(share)}</td><td>{signed(share - there)}</td><td>{signed(there)}</td></tr>"
        )
    return (
        "<h3>Events, notes and images</h3><p class='mw-soft mw-small'>Exact Shapley values in log "
        "odds; they add up from the one risk to the other. Being there: what an average note, "
        "image or history would have added as well.</p><div class='mw-scroll'><table><tr><th></th>"
        "<th></th><th>log odds</th><th>what is in it</th><th>being there</th></tr>"
        f"{''.join(rows)}</table></div>"
    )
