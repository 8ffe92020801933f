"""Tables of a report: HTML of what metrics.json holds of thresholds, missingness and subgroups."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from fusion.disclosure import FEWEST_SHOWN, UNDER, WHY_WITHHELD
from fusion.thresholds import AT_THRESHOLDS

__all__ = [
    "METRIC_WORDS",
    "cell",
    "missing_table",
    "percent",
    "subgroups_table",
    "table",
    "thresholds_table",
]

METRIC_WORDS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "logloss": "log-loss",
    "brier": "Brier",
    "ece": "ECE",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "f1": "F1",
    "ppv": "PPV",
    "npv": "NPV",
}
"""How a report, a card and a terminal call what metrics.json measures."""

_NOT_SHOWN = "–"


def table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], marked: int | None = None
) -> str:
    """Lay out cells that are HTML already; one row may be marked."""
    body = []
    for i, row in enumerate(rows):
        cells = "".join(f"<td>{one}</td>" for one in row)
        body.append(f"<tr class='champion'>{cells}</tr>" if i == marked else f"<tr>{cells}</tr>")
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    above = f"<p class='caption'>{escape(caption)}</p>" if caption else ""
    return (
        f"{above}<div class='scroll'><table><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def cell(found: Mapping[str, float | None], *, digits: int = 3) -> str:
    """Give a figure with its interval below it."""
    if found["value"] is None:
        return "n/a"
    low, high = found["low"], found["high"]
    interval = "" if low is None else f"{low:.{digits}f} to {high:.{digits}f}"
    return f"{found['value']:.{digits}f}<small>{interval}</small>"


def thresholds_table(entry: Mapping[str, Any]) -> str:
    """Lay out what acting by the champion would mean at each threshold."""
    rows = [
        (
            f"{100 * one['threshold']:.1f} %" + (" (the champion's own)" if one["own"] else ""),
            _percent(one["called"]),
            *(cell(one[name]) for name in AT_THRESHOLDS),
        )
        for one in entry["at_thresholds"]
    ]
    caption = (
        "The champion, if one acted on whoever has at least this risk. PPV: how many of those "
        "called are ill; NPV: how many of the others are not. Both change with the base rate. "
        "Which threshold is right depends on what a missed patient and a false alarm cost."
    )
    head = ("risk at least", "called", *(METRIC_WORDS[name] for name in AT_THRESHOLDS))
    return table(caption, head, rows)


def missing_table(entry: Mapping[str, Any]) -> str:
    """Lay out who lacks what, and whether those fare differently."""
    if not entry["missing"]:
        return "<p>Not measured.</p>"
    rows = []
    for name, sides in entry["missing"].items():
        cells = []
        for side in ("without", "with"):
            found = sides[side]
            if "share" in found:
                cells.append(f"{found['n']}<small>{_percent(found['share'])}</small>")
                cells.append(cell(found["rate"]))
            else:
                cells += [escape(found["n"]), _NOT_SHOWN]
        rows.append((escape(name), *cells))
    caption = (
        "Among the rows judged. Nothing is imputed: a model sees that something is missing. Where "
        "those without it fall ill more or less often, that it is missing tells something by "
        "itself, and a hospital that records otherwise may get other risks."
    )
    if any("share" not in found for sides in entry["missing"].values() for found in sides.values()):
        caption += f" {WHY_WITHHELD}"
    head = ("of", "rows without", "came true", "rows with", "came true")
    return table(caption, head, rows)


def subgroups_table(entry: Mapping[str, Any]) -> str:
    """Lay out how the champion does among groups of patients; small ones show nothing."""
    if not entry["subgroups"]:
        return "<p>Neither sex nor age tells the rows apart.</p>"
    rows = []
    for name, found in entry["subgroups"].items():
        measured = found.get("metrics", {})
        exact = "positives" in found
        few = _NOT_SHOWN if found["n"] == UNDER else "too few"
        less = "too few" if exact else _NOT_SHOWN
        cells = [
            cell(measured["auroc"]) if "auroc" in measured else few,
            cell(measured["logloss"]) if "logloss" in measured else less,
            f"{found['mean_risk']:.3f}" if "mean_risk" in found else less,
            f"{found['positives'] / found['n']:.3f}" if exact else _NOT_SHOWN,
        ]
        positives = f"{found['positives']}" if exact else _NOT_SHOWN
        rows.append((escape(name), escape(f"{found['n']}"), positives, *cells))
    caption = (
        f"The champion among each group with at least {FEWEST_SHOWN} of either class; mean risk "
        "beside the share that came true shows calibration in the large."
    )
    if any("positives" not in found for found in entry["subgroups"].values()):
        caption += f" {WHY_WITHHELD}"
    head = ("group", "rows", "positives", "AUROC", "log-loss", "mean risk", "came true")
    return table(caption, head, rows)


def percent(found: Mapping[str, float | None]) -> str:
    """Give a share with its interval below it, in per cent."""
    if found["value"] is None:
        return "n/a"
    low, high = found["low"], found["high"]
    interval = "" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f} %"
    return f"{100 * found['value']:.1f} %<small>{interval}</small>"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
