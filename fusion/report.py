"""The report: one HTML file that asks no network, and the same figures as text for a terminal."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from fusion.figures import (
    calibration_figure,
    confusion_figure,
    decision_figure,
    precision_recall_figure,
    roc_figure,
    subsets_figure,
)
from fusion.judged import Judged
from fusion.report_beside import describe_beside, sets_section, unlikeness_section
from fusion.report_tables import (
    METRIC_WORDS,
    cell,
    missing_table,
    subgroups_table,
    table,
    thresholds_table,
)

__all__ = ["describe_metrics", "write_report"]

_SHOWN = ("auroc", "auprc", "logloss", "brier", "ece", "sensitivity", "specificity", "f1")
_STYLE = """
:root { --ink:#22303c; --soft:#5b6875; --line:#dfe4e9; --blue:#1f5fa8; --wash:#eef4fb; }
* { box-sizing:border-box; }
body { font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
  color:var(--ink); background:#fff; max-width:1180px; margin:0 auto; padding:24px 20px 60px; }
h1 { font-size:26px; margin:0 0 4px; } h2 { font-size:21px; margin:40px 0 8px;
  border-top:2px solid var(--line); padding-top:20px; } h3 { font-size:16px; margin:26px 0 6px; }
p, li { max-width:76ch; } .soft { color:var(--soft); }
.banner { background:#fff6e6; border-left:4px solid #c0762b; padding:8px 14px; margin:16px 0; }
.key { display:flex; flex-wrap:wrap; gap:10px 34px; margin:12px 0; }
.key div b { display:block; font-size:22px; font-variant-numeric:tabular-nums; }
.key div span { color:var(--soft); font-size:13px; }
.scroll { overflow-x:auto; }
table { border-collapse:collapse; font-size:13px; font-variant-numeric:tabular-nums; }
p.caption { color:var(--soft); font-size:13.5px; margin:14px 0 4px; max-width:96ch; }
th, td { padding:5px 9px 5px 0; text-align:right; border-bottom:1px solid var(--line);
  white-space:nowrap; vertical-align:top; }
th:first-child, td:first-child { text-align:left; padding-left:8px; }
td small { display:block; color:var(--soft); font-size:11.5px; }
tr.champion { background:var(--wash); font-weight:600; } tr.champion small { font-weight:400; }
.figures { display:grid; grid-template-columns:repeat(auto-fit,minmax(310px,1fr)); gap:18px; }
figure { margin:0; } figure img { width:100%; height:auto; } figure.wide img { max-width:820px; }
figcaption { font-size:13px; color:var(--soft); }
code, pre { font:13px/1.5 ui-monospace,"DejaVu Sans Mono",monospace; background:#f5f7f9; }
pre { padding:10px 12px; overflow-x:auto; } code { padding:1px 4px; }
@media print { h2 { break-before:page; } figure, table { break-inside:avoid; } }
"""


def write_report(
    path: Path,
    metrics: Mapping[str, Any],
    judged: Sequence[Judged],
    *,
    run: Path,
    commands: Mapping[str, str],
) -> None:
    """Write report.html from what metrics.json holds and the predictions behind it."""
    split = str(metrics["split"]).replace("_", " ")
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>Medweave report: {escape(run.name)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Evaluation of {escape(run.name)}</h1>",
        f"<p class='soft'>Rows judged: {escape(split)}. Intervals: 95 %, from "
        f"{metrics['bootstrap']} bootstrap resamples of patients.</p>",
        "<p class='banner'>For research. Not for clinical use: no risk in this report has been "
        "tested on patients of another hospital, and none may guide the care of anybody.</p>",
        _flow(metrics["flow"]),
    ]
    parts += [_task(one, metrics["tasks"][one.task], metrics) for one in judged]
    parts += [unlikeness_section(metrics), _reading(), _commands(commands), "</body></html>"]
    path.write_text("\n".join(parts), "utf-8")


def describe_metrics(metrics: Mapping[str, Any]) -> str:
    """Give the table of results for a terminal."""
    lines: list[str] = []
    for task, entry in metrics["tasks"].items():
        lines += [
            "",
            f"{task}: {entry['n']} rows of {entry['subjects']} patients, {entry['positives']} "
            f"positives ({metrics['split'].replace('_', ' ')})",
            entry.get("why", f"champion: {entry['champion']}"),
            "",
            _line("model", [METRIC_WORDS[m] for m in _SHOWN[:5]]),
        ]
        for name, found in entry["models"].items():
            mark = "* " if name == entry["champion"] else "  "
            lines.append(_line(mark + name, [_brief(found[m]) for m in _SHOWN[:5]]))
        oracle = entry.get("oracle", {})
        heads = ["AUROC", "best possible"] if oracle else ["AUROC"]
        lines += ["", _line("the champion, seeing only", heads)]
        for name, found in entry["subsets"].items():
            ceiling = oracle.get(name, {}).get("auroc")
            cells = [_brief(found["auroc"]), _brief(ceiling) if ceiling else ""]
            lines.append(_line("  " + name, cells))
        additive = oracle.get("additive")
        if additive:
            lines.append(_line("  best additive score", ["", _brief(additive["auroc"])]))
        lines += describe_beside(metrics, entry)
        lines += [f"! {words}" for words in entry["warnings"]]
    return "\n".join(lines)


def _line(first: str, cells: Sequence[str]) -> str:
    return f"{first:<28}" + "".join(f"{cell:>21}" for cell in cells).rstrip()


def _brief(found: Mapping[str, float | None]) -> str:
    if found["value"] is None:
        return "n/a"
    if found["low"] is None:
        return f"{found['value']:.3f}"
    return f"{found['value']:.3f} [{found['low']:.3f} {found['high']:.3f}]"


def _spoken(found: Mapping[str, float | None]) -> str:
    if found["value"] is None:
        return "n/a"
    interval = "" if found["low"] is None else f" ({found['low']:.2f} to {found['high']:.2f})"
    return f"{found['value']:.3f}{interval}"


def _flow(flow: Mapping[str, Any]) -> str:
    parts = ["<h2>Cohort</h2>"]
    for task, steps in flow["tasks"].items():
        rows = [
            (
                escape(str(step["step"])),
                f"{step['rows']}",
                f"{step['subjects']}",
                str(step.get("positives", "")),
            )
            for step in steps
        ]
        head = ("step", "rows", "patients", "positives")
        parts.append(table(f"{task}: who was left after each step.", head, rows))
        said = "".join(f"<li>{escape(line)}</li>" for line in flow["warnings"].get(task, ()))
        parts.append(f"<ul>{said}</ul>" if said else "")
    if "splits" in flow:
        caption = (
            "Splits, by patient: train fits; tuning stops early; calibration fits the calibrator; "
            "both choose the model; held out judges."
        )
        rows = [
            (split.replace("_", " "), f"{found['rows']}", f"{found['subjects']}")
            for split, found in flow["splits"].items()
        ]
        parts.append(table(caption, ("split", "rows", "patients"), rows))
    return "".join(parts)


def _task(judged: Judged, entry: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    champion = entry["models"][entry["champion"]]
    rate = entry["positives"] / entry["n"]
    key = [
        (f"{entry['n']}", f"rows of {entry['subjects']} patients"),
        (f"{entry['positives']}", f"positives ({100 * rate:.1f} %)"),
        (entry["champion"], "model that serves"),
        (_spoken(champion["auroc"]), "its AUROC"),
        (_spoken(champion["logloss"]), "its log-loss"),
    ]
    words = "".join(f"<li>{escape(line)}</li>" for line in entry["warnings"])
    return "".join(
        [
            f"<h2>{escape(judged.task)}</h2>",
            "<div class='key'>",
            *(f"<div><b>{escape(big)}</b><span>{escape(small)}</span></div>" for big, small in key),
            "</div>",
            f"<p>{escape(entry.get('why', ''))}</p>",
            f"<h3>What cannot be concluded</h3><ul>{words}</ul>" if words else "",
            "<h3>Models</h3>",
            _models(entry),
            _lead(entry),
            "<h3>Figures of the champion</h3>",
            _figures(judged, entry),
            "<h3>At stated thresholds</h3>",
            thresholds_table(entry),
            sets_section(entry),
            "<h3>Subsets of modalities</h3>",
            _subsets(judged, entry),
            "<h3>What is missing</h3>",
            missing_table(entry),
            "<h3>Subgroups</h3>",
            subgroups_table(entry),
        ]
    )


def _models(entry: Mapping[str, Any]) -> str:
    rows = []
    for name, found in entry["models"].items():
        line = entry["calibration_intervals"][name]
        rows.append(
            (
                escape(name),
                *(cell(found[m]) for m in _SHOWN),
                f"{entry['thresholds'][name]:.3f}",
                *(cell(line[name], digits=2) for name in ("slope", "intercept")),
            )
        )
    caption = (
        "Simplest first; the model that serves is marked. Sensitivity, specificity and F1 at each "
        "model's threshold, which makes sensitivity plus specificity largest on tuning and "
        "calibration rows (no row judged here was used). Slope and intercept: of calibration; 1 "
        "and 0 are right."
    )
    head = ("model", *(METRIC_WORDS[m] for m in _SHOWN), "threshold", "slope", "intercept")
    return table(caption, head, rows, marked=list(entry["models"]).index(entry["champion"]))


def _lead(entry: Mapping[str, Any]) -> str:
    lead = entry.get("against_best_single")
    if not lead:
        return ""
    parts = []
    for metric in ("auroc", "logloss"):
        found = lead[metric]
        if found["value"] is not None and found["low"] is not None:
            parts.append(
                f"{METRIC_WORDS[metric]} {found['value']:+.3f} ({found['low']:+.3f} to "
                f"{found['high']:+.3f})"
            )
    return (
        f"<p>{escape(entry['champion'])} minus the best single-modality model "
        f"({escape(lead['model'])}), on the same resamples: {'; '.join(parts)}.</p>"
        if parts
        else ""
    )


def _figures(judged: Judged, entry: Mapping[str, Any]) -> str:
    line = entry["calibration"][entry["champion"]]
    drawn = [
        ("ROC", roc_figure(judged), "How many of the ill are found for how many false alarms."),
        (
            "Precision-recall",
            precision_recall_figure(judged),
            "How many of those called are ill, for how many of the ill are found.",
        ),
        (
            "Calibration",
            calibration_figure(judged, line),
            "Whether what was said came true as often as it was said; bars are 95 % intervals.",
        ),
        (
            "Decision curve",
            decision_figure(judged),
            "Whether acting by the model does better than acting on everybody or on nobody.",
        ),
        (
            "Confusion matrix",
            confusion_figure(judged),
            "Counts at the champion's threshold.",
        ),
    ]
    return f"<div class='figures'>{''.join(_figure(*one) for one in drawn)}</div>"


def _figure(title: str, svg: str, words: str, kind: str = "") -> str:
    data = base64.b64encode(svg.encode()).decode()
    return (
        f"<figure class='{kind}'><img alt='{escape(title)}' src='data:image/svg+xml;base64,{data}'>"
        f"<figcaption><b>{escape(title)}.</b> {escape(words)}</figcaption></figure>"
    )


def _subsets(judged: Judged, entry: Mapping[str, Any]) -> str:
    if not entry["subsets"]:
        return "<p>Not measured.</p>"
    words = "What the champion says when it sees only some modalities. "
    if entry.get("oracle"):
        additive = entry["oracle"].get("additive", {}).get("auroc", {}).get("value")
        words += "Best possible: the simulator's true risk given the same modalities. "
        if additive is not None:
            words += (
                f"The best score that adds up single modalities reaches an AUROC of {additive:.3f}."
            )
    metrics = ("auroc", "auprc", "logloss", "brier")
    oracle = entry.get("oracle", {})
    head = ["seen", *(METRIC_WORDS[m] for m in metrics)]
    head += ["best possible AUROC", "best possible log-loss"] if oracle else []
    rows = []
    for name, found in entry["subsets"].items():
        row = [escape(name.replace("+", " + ")), *(cell(found[m]) for m in metrics)]
        if oracle:
            best = oracle.get(name)
            row += [cell(best[m]) if best else "" for m in ("auroc", "logloss")]
        rows.append(row)
    figure = _figure("Subsets", subsets_figure(judged, dict(entry)), words, "wide")
    return figure + table("", head, rows)


def _reading() -> str:
    lines = [
        "The champion was chosen without the rows judged here; that another model looks better "
        "among them by less than the intervals' width means little.",
        "An interval shows how much the figure would vary with other patients of the same "
        "hospital. It does not cover other hospitals, other years or other ways to record.",
        "Rows whose label could not be known (follow-up too short) are left out, not counted as "
        "negative; who stays under observation may differ from who does not.",
        "A risk is a statement about patients with such records, not a cause: what raises it need "
        "not be what makes ill.",
        "ECE depends on its ten bins and is above 0 even for perfect risks; read it beside the "
        "calibration figure.",
    ]
    items = "".join(f"<li>{line}</li>" for line in lines)
    return f"<h2>How to read this, and its limits</h2><ul>{items}</ul>"


def _commands(commands: Mapping[str, str]) -> str:
    lines = "\n".join(commands.values())
    return (
        "<h2>To repeat</h2><p>From the directory that holds the store, the cohort and the run:</p>"
        f"<pre>{escape(lines)}</pre>"
    )
