"""How the page looks: one restrained palette, light and dark, from what is on this machine alone.

Fonts are those that Gradio carries (Source Sans) or the system has (for Chinese); nothing is
fetched. Every colour is a CSS variable with a light and a dark value; risk up and down differ in
hue that colour-blind people tell apart (orange, blue), and in side and sign as well.
"""

import gradio as gr

from serve.reasons import REASONS_CSS

__all__ = ["CSS", "HEAD_JS", "SET_LANGUAGE_JS", "TOGGLE_THEME_JS", "page_theme"]

_FONTS = (
    # Its SemiBold is a stub of a few glyphs (gradio 6.31), so bold is asked for by name.
    gr.themes.utils.fonts.LocalFont("Source Sans Pro", weights=(400, 700)),
    "ui-sans-serif",
    "system-ui",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "sans-serif",
)
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def page_theme() -> gr.themes.Base:
    """Give Gradio's own components the page's palette."""
    theme = gr.themes.Base(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        radius_size="sm",
        font=_FONTS,
        font_mono=_MONO,
    )
    return theme.set(
        body_background_fill="#f6f7f9",
        body_background_fill_dark="#0e1420",
        body_text_color="#18212f",
        body_text_color_dark="#e3e8f0",
        block_background_fill="#ffffff",
        block_background_fill_dark="#161e2d",
        block_border_color="#dde2ea",
        block_border_color_dark="#29344a",
        border_color_primary="#cdd4df",
        border_color_primary_dark="#3a465e",
        input_background_fill="#ffffff",
        input_background_fill_dark="#0e1420",
        block_title_text_color="#56627a",
        block_title_text_color_dark="#9aa7bd",
        block_label_text_color="#56627a",
        block_label_text_color_dark="#9aa7bd",
        color_accent="#0f766e",
        block_shadow="none",
        block_label_text_size="*text_sm",
        button_primary_background_fill="#0f766e",
        button_primary_background_fill_hover="#0b5f59",
        button_primary_background_fill_dark="#0f766e",
        button_primary_background_fill_hover_dark="#128a80",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
        button_secondary_background_fill="#e8ecf2",
        button_secondary_background_fill_hover="#dbe1ea",
        button_secondary_background_fill_dark="#243049",
        button_secondary_background_fill_hover_dark="#2e3c5a",
        button_secondary_text_color="#18212f",
        button_secondary_text_color_dark="#e3e8f0",
    )


CSS = """
:root, .gradio-container {
  --mw-ink: #18212f; --mw-soft: #56627a; --mw-line: #dde2ea; --mw-card: #ffffff;
  --mw-fill: #0f766e; --mw-track: #e6eaf0; --mw-up: #b4530a; --mw-down: #1d5fa8;
  --mw-warn-ink: #7a3d00; --mw-warn: #fff4e0; --mw-warn-line: #f0c98a;
  --mw-grid: #e8ecf2; --mw-stay: #cfe3e1; --mw-image-back: #0b0e14;
}
.dark, .dark .gradio-container {
  --mw-ink: #e3e8f0; --mw-soft: #9aa7bd; --mw-line: #29344a; --mw-card: #161e2d;
  --mw-fill: #2bb3a6; --mw-track: #28344b; --mw-up: #f0a05a; --mw-down: #78b2f0;
  --mw-warn-ink: #ffd79a; --mw-warn: #33260f; --mw-warn-line: #6b4c16;
  --mw-grid: #222d42; --mw-stay: #1d4a48; --mw-image-back: #05070b;
}
/* Gradio colours the body by the system's theme alone, whatever was chosen on the page. */
html, body { color-scheme: light; }
body { background: #f6f7f9 !important; }
body.dark { color-scheme: dark; background: #0e1420 !important; }
.gradio-container { max-width: 1280px !important; width: 100% !important;
  margin: 0 auto !important; }
.gradio-container > main, .gradio-container .main { width: 100%; }
.gradio-container .html-container { padding: 0 !important; }
.gradio-container footer:not(.mw-model) { display: none !important; }

/* the frame */
#mw-top { align-items: center; gap: 10px; flex-wrap: wrap; }
#mw-top > * { flex: 0 0 auto; width: auto !important; min-width: 0 !important; }
#mw-top > #mw-brand { flex: 1 1 300px; }
#mw-brand .mw-brand { display: flex; gap: 4px 12px; align-items: baseline; flex-wrap: wrap; }
#mw-brand h1 { font-size: 22px; font-weight: 600; letter-spacing: -.01em; margin: 0;
  color: var(--mw-ink); }
#mw-brand p { margin: 0; color: var(--mw-soft); font-size: 14px; }
#mw-patient ul.options { border: 1px solid var(--border-color-primary); border-radius: 6px;
  box-shadow: 0 6px 18px rgb(0 0 0 / .14); }
#mw-patient ul.options li { font-size: 14px; }
#mw-language { padding: 0; border: 0; background: none; }
#mw-language .wrap { gap: 0; flex-wrap: nowrap; }
#mw-language label { padding: 5px 12px; font-size: 13px; box-shadow: none; border-radius: 0;
  border: 1px solid var(--mw-line); background: var(--mw-card); white-space: nowrap; }
#mw-language label:first-of-type { border-radius: 6px 0 0 6px; border-right: 0; }
#mw-language label:last-of-type { border-radius: 0 6px 6px 0; }
#mw-language label input { position: absolute; opacity: 0; width: 0; }
#mw-language label span { margin: 0; color: var(--mw-soft); }
#mw-language label.selected { background: var(--mw-fill); border-color: var(--mw-fill); }
#mw-language label.selected span { color: #fff; }
.dark #mw-language label.selected span { color: #06201e; }
#mw-language label:focus-within { outline: 2px solid var(--mw-fill); outline-offset: 2px; }
#mw-theme { font-size: 13px; font-weight: 400; padding: 5px 12px; min-height: 0;
  border: 1px solid var(--mw-line); border-radius: 6px; background: var(--mw-card);
  color: var(--mw-soft); }
.dark #mw-controls button[role="tab"].selected { color: var(--mw-fill); }
.dark #mw-controls button[role="tab"].selected::after { background: var(--mw-fill); }
#mw-controls button[role="tab"] { font-size: 15px; }
#mw-next, #mw-upload { font-weight: 600; font-size: 15px; padding: 8px 12px; }
.mw-warning { display: block; background: var(--mw-warn); color: var(--mw-warn-ink);
  border: 1px solid var(--mw-warn-line); border-radius: 6px; padding: 9px 14px; font-size: 14px; }
.mw-warning strong { color: inherit; }
.mw-foot { color: var(--mw-soft); font-size: 12.5px; padding: 4px 0 20px; }
#mw-controls { background: var(--mw-card); border: 1px solid var(--mw-line); border-radius: 8px;
  padding: 14px 16px; align-self: flex-start; }
#mw-controls .form, #mw-controls .block { border: 0; box-shadow: none; background: none;
  padding: 0; }
#mw-patient .wrap { border: 1px solid var(--border-color-primary); border-radius: 6px; }
#mw-patient input { font-size: 14px; text-overflow: ellipsis; padding-right: 26px; }
#mw-detail { margin-top: 4px; border-top: 1px solid var(--mw-line) !important;
  padding-top: 12px !important; border-radius: 0; }
#mw-detail [class*="info"] { color: var(--mw-soft) !important; font-size: 13px; }
#mw-controls .tabitem { padding: 12px 0 0; border: 0; }
.mw-hint { color: var(--mw-soft); font-size: 13px; line-height: 1.5; margin: 0; }

/* cards */
.mw-result { display: flex; flex-direction: column; gap: 16px; color: var(--mw-ink);
  font-size: 15px; line-height: 1.5; }
.mw-card, .mw-empty { background: var(--mw-card); border: 1px solid var(--mw-line);
  border-radius: 8px; padding: 18px 20px; min-width: 0; }
.mw-result h2, .mw-result h3, .mw-result p, .mw-result dl, .mw-result dd, .mw-result figure {
  margin: 0; color: inherit; }
.mw-result h2 { font-size: 17px; font-weight: 600; line-height: 1.3; }
.mw-result h3 { font-size: 14px; font-weight: 600; color: var(--mw-soft); margin-bottom: 8px; }
.mw-soft, .mw-result .mw-soft { color: var(--mw-soft); }
.mw-small { font-size: 13px; }
.mw-none { color: var(--mw-soft); border: 1px dashed var(--mw-line); border-radius: 6px;
  padding: 14px 16px; }
.mw-result .mw-none { margin-top: 10px; }
.mw-empty { padding: 56px 24px; text-align: center; }
.mw-empty p { color: var(--mw-soft); margin-top: 6px; }
.mw-remark { background: var(--mw-warn); color: var(--mw-warn-ink); border-radius: 6px;
  border: 1px solid var(--mw-warn-line); padding: 8px 12px; font-size: 13.5px; }
.mw-result .mw-remark { color: var(--mw-warn-ink); }
.mw-error { border-color: var(--mw-up); }

/* the patient */
.mw-patient { display: flex; flex-wrap: wrap; gap: 6px 18px; align-items: baseline; }
.mw-patient h2 { font-variant-numeric: tabular-nums; }
.mw-chip { display: inline-block; font-size: 12.5px; font-weight: 400; line-height: 1.4;
  border: 1px solid var(--mw-line); border-radius: 99px; padding: 1px 10px; color: var(--mw-soft);
  white-space: nowrap; vertical-align: 1px; }
.mw-chips { display: flex; flex-wrap: wrap; gap: 6px; }
.mw-chip-missing { border-style: dashed; }
.mw-when { flex-basis: 100%; font-size: 14px; }
.mw-when time { font-variant-numeric: tabular-nums; font-weight: 600; }

/* a risk */
.mw-risk { display: grid; gap: 18px 36px; grid-template-columns: minmax(220px, 5fr) 7fr; }
.mw-risk-head, .mw-model { grid-column: 1 / -1; }
.mw-risk-head { display: flex; flex-direction: column; gap: 6px; max-width: 80ch; }
.mw-range { font-size: 15px; margin: 2px 0 4px; font-variant-numeric: tabular-nums; }
.mw-big { font-size: 52px; line-height: 1.05; font-weight: 600; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; margin-bottom: 6px; }
.mw-bar { position: relative; height: 12px; border-radius: 3px; background: var(--mw-track);
  margin-top: 14px; }
.mw-bar-fill { position: absolute; inset: 0 auto 0 0; border-radius: 3px;
  background: var(--mw-fill); }
.mw-bar-base { position: absolute; top: -5px; bottom: -5px; width: 2px; margin-left: -1px;
  background: var(--mw-ink); box-shadow: 0 0 0 1.5px var(--mw-card); }
.mw-base { font-size: 13.5px; margin-top: 4px !important; }
.mw-base i { display: inline-block; width: 2px; height: 13px; margin: 0 7px 0 2px;
  background: var(--mw-ink); vertical-align: -2px; }
.mw-bar-ends { display: flex; justify-content: space-between; font-size: 12px; margin-top: 6px; }
.mw-share { display: grid; grid-template-columns: 64px 1fr 130px; gap: 12px; align-items: center;
  padding: 5px 0; }
.mw-share dt { font-weight: 400; }
.mw-share-bar { position: relative; height: 14px; background:
  linear-gradient(var(--mw-soft), var(--mw-soft)) 50% 0 / 1px 100% no-repeat, var(--mw-track);
  border-radius: 3px; }
.mw-share-bar i { position: absolute; top: 0; bottom: 0; }
.mw-share-bar .mw-up { left: 50%; background: var(--mw-up); border-radius: 0 3px 3px 0; }
.mw-share-bar .mw-down { right: 50%; background: var(--mw-down); border-radius: 3px 0 0 3px; }
.mw-share-value { font-variant-numeric: tabular-nums; text-align: right; font-size: 14px;
  white-space: nowrap; }
.mw-shares + p { margin-top: 8px !important; }
.mw-model { border-top: 1px solid var(--mw-line); padding-top: 12px; font-size: 13.5px; }

/* the timeline */
.mw-lanes { display: block; width: 100%; height: auto; margin-top: 12px; }
.mw-lanes text { fill: var(--mw-soft); font-size: 13px; font-family: inherit; }
.mw-lanes .mw-lane { fill: var(--mw-ink); }
.mw-lanes .mw-tick { font-size: 12px; }
.mw-lanes .mw-tick-now { fill: var(--mw-ink); font-weight: 600; }
.mw-lanes .mw-rule, .mw-lanes .mw-grid { stroke: var(--mw-grid); stroke-width: 1; }
.mw-lanes .mw-now { stroke: var(--mw-ink); stroke-width: 1.5; }
.mw-stay { fill: var(--mw-stay); }
.mw-hit { fill: transparent; }
.mw-mark circle { fill: var(--mw-fill); fill-opacity: .8; }
.mw-mark:hover circle { fill-opacity: 1; stroke: var(--mw-ink); stroke-width: 1.5; }
.mw-mark-note circle, .mw-mark-image circle { fill: var(--mw-up); }
.mw-mark-condition circle, .mw-mark-procedure circle { fill: var(--mw-down); }
.mw-mark-encounter circle { fill: var(--mw-soft); }
.mw-lanes-narrow { display: none; }
.mw-timeline h3 { margin-top: 22px; }
.mw-trends { display: grid; gap: 12px; margin-bottom: 8px;
  grid-template-columns: repeat(auto-fill, minmax(216px, 1fr)); }
.mw-trend { border: 1px solid var(--mw-line); border-radius: 6px; padding: 10px 12px;
  min-width: 0; }
.mw-trend figcaption { font-size: 13.5px; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
.mw-trend strong { font-size: 18px; font-weight: 600; font-variant-numeric: tabular-nums; }
.mw-trend p { font-size: 13px; }
.mw-trend svg { display: block; width: 100%; height: auto; margin: 4px 0; }
.mw-ends { display: flex; justify-content: space-between; gap: 8px; }
.mw-trend polyline { fill: none; stroke: var(--mw-fill); stroke-width: 1.5;
  stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.mw-trend circle { fill: var(--mw-fill); }
.mw-result details > summary { cursor: pointer; }
.mw-events { margin-top: 16px; }
.mw-events > summary { font-size: 14px; font-weight: 600; color: var(--mw-soft); }
.mw-scroll { overflow-x: auto; }
.mw-tall { max-height: 420px; overflow-y: auto; margin-top: 10px; }
.mw-result table { width: 100%; border-collapse: collapse; font-size: 13.5px; margin: 0; }
.mw-result th { position: sticky; top: 0; background: var(--mw-card); text-align: left;
  font-weight: 600; color: var(--mw-soft); }
.mw-result th, .mw-result td { padding: 5px 12px 5px 0; border: 0; vertical-align: top;
  border-bottom: 1px solid var(--mw-grid); }
.mw-result td { font-variant-numeric: tabular-nums; }
.mw-result td:nth-child(-n+2), .mw-result td:nth-child(4) { white-space: nowrap; }

/* notes and images */
.mw-pair { display: grid; gap: 16px; grid-template-columns: 1fr 1fr; align-items: start; }
.mw-note { border-top: 1px solid var(--mw-grid); padding: 8px 0; }
.mw-note:first-of-type { border-top: 0; }
.mw-note > summary { font-weight: 600; font-size: 14px; }
.mw-note time, .mw-image time { font-weight: 400; font-size: 13px; margin-left: 6px;
  white-space: nowrap; }
.mw-note-text { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 340px;
  overflow-y: auto; margin-top: 6px; font-size: 14px; }
.mw-films { display: grid; gap: 12px; margin-top: 10px;
  grid-template-columns: repeat(auto-fill, minmax(min(220px, 100%), 1fr)); }
.mw-image img { display: block; width: 100%; max-height: 460px; object-fit: contain;
  background: var(--mw-image-back); border-radius: 6px; }
.mw-image figcaption { font-size: 13.5px; margin-top: 6px; }

@media (max-width: 860px) {
  .mw-pair { grid-template-columns: 1fr; }
}
@media (max-width: 640px) {
  .mw-lanes-wide { display: none; } .mw-lanes-narrow { display: block; }
  .mw-risk { grid-template-columns: 1fr; gap: 16px; }
  .mw-card { padding: 14px; }
  .mw-trends { grid-template-columns: 1fr 1fr; gap: 8px; }
  .mw-trend { padding: 8px 10px; } .mw-ends { flex-direction: column; gap: 0; }
  .mw-big { font-size: 44px; }
  .mw-share { grid-template-columns: 56px 1fr 112px; gap: 8px; }
  .gradio-container > main, .gradio-container .main { padding: 12px !important; }
  #mw-controls { padding: 12px 14px; }
}
@media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
"""
CSS += REASONS_CSS

HEAD_JS = """<script>
try {
  const mwTheme = localStorage.getItem("medweave-theme");
  if (mwTheme) document.addEventListener("DOMContentLoaded", () => {
    const apply = () => document.body.classList.toggle("dark", mwTheme === "dark");
    apply();
    setTimeout(apply, 400);
  });
} catch { /* storage may be off: then the system's theme holds */ }
</script>"""

TOGGLE_THEME_JS = """() => {
  const dark = document.body.classList.toggle("dark");
  try { localStorage.setItem("medweave-theme", dark ? "dark" : "light"); } catch {}
}"""

SET_LANGUAGE_JS = """(language) => {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  return language;
}"""
