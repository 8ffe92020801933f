"""The report's sections on label sets and on rows that are unlike the training data."""

from collections.abc import Mapping
from html import escape
from typing import Any

from fusion.judged_beside import FEWEST_UNLIKE
from fusion.report_tables import cell, percent, table

__all__ = ["describe_beside", "sets_section", "unlikeness_section"]

_WHO = {
    "everyone": "everyone",
    "without_unlike": "without the unlike",
    "unlike": "the unlike alone",
}


def sets_section(entry: Mapping[str, Any]) -> str:
    """Give a task's section on label sets; nothing where there are none."""
    if "label_sets" not in entry:
        return ""
    names = ("single", "both", "empty", "right_when_single")
    rows = [
        (
            escape(level),
            percent(found["coverage"]),
            percent(found["coverage_positive"]),
            _expected(found["expected_positive"]),
            percent(found["coverage_negative"]),
            _expected(found["expected_negative"]),
            *(percent(found[name]) for name in names),
        )
        for level, found in entry["label_sets"].items()
    ]
    caption = (
        "What the champion cannot rule out of each row: positive, negative, either or neither. "
        "At a level of 0.9 the true label is promised to be in the set of at least 90 % of the "
        "positives, and of at least 90 % of the negatives (label-conditional conformal "
        "prediction). That is so on average over calibration rows; what those of this run may come "
        "to by chance is shown as expected. Either says that the model cannot tell; only a set "
        "of one label says something, and how often such a set is right is promised nowhere."
    )
    head = (
        "level",
        "true label in the set",
        "… of positives",
        "expected",
        "… of negatives",
        "expected",
        "one label",
        "either",
        "neither",
        "right where one label",
    )
    return f"<h3>Label sets</h3>{table(caption, head, rows)}"


def _expected(found: Mapping[str, float]) -> str:
    return f"{100 * found['low']:.1f} to {100 * found['high']:.1f} %"


def unlikeness_section(metrics: Mapping[str, Any]) -> str:
    """Give the section on rows that are unlike training; nothing where it was not measured."""
    told = metrics.get("unlikeness")
    if told is None:
        return ""
    alpha = 100 * told["alpha"]
    parts = [
        "<h2>Unlike the training data</h2>",
        f"<p>{told['unlike']} of {told['rows']} rows are unlike those of training: fewer than "
        f"{alpha:.0f} in 100 of the rows that were set aside are as far from it. If these rows "
        f"were drawn as those were, about {alpha:.0f} in 100 would be called unlike by chance. "
        "A risk that is given to such a row rests on nothing that the models have seen.</p>",
    ]
    if told["could_be"] < told["rows"]:
        parts.append(
            f"<p>{told['rows'] - told['could_be']} rows could not have been called unlike: there "
            "are too few tuning and calibration rows to compare them with.</p>"
        )
    rows = [
        (escape(name), f"{found['rows']}", f"{found['unlike']}")
        for name, found in told["by_modality"].items()
    ]
    head = ("modality", "rows compared", "unlike in it most of all")
    parts.append(table("In what they are unlike.", head, rows))
    for task, entry in metrics["tasks"].items():
        if "unlikeness" in entry:
            parts.append(_effect(task, entry))
    return "".join(parts)


def _effect(task: str, entry: Mapping[str, Any]) -> str:
    rows = []
    for name, found in entry["unlikeness"].items():
        few = found["n"] < FEWEST_UNLIKE
        cells = [f"fewer than {FEWEST_UNLIKE}" if few else "not shown, for these are few", "", ""]
        if "metrics" in found:
            cells = [cell(found["metrics"][metric]) for metric in ("auroc", "logloss", "brier")]
        rows.append((_WHO[name], f"{found['n']}", f"{found.get('positives', '–')}", *cells))
    head = ("rows", "n", "positives", "AUROC", "log-loss", "Brier")
    return table(f"{task}: the champion with and without them.", head, rows)


def describe_beside(metrics: Mapping[str, Any], entry: Mapping[str, Any]) -> list[str]:
    """Give the lines of a task for a terminal."""
    lines = []
    found = entry.get("label_sets", {}).get("0.9")
    if found is not None:
        said = {name: found[name]["value"] for name in ("single", "both", "empty")}
        shares = ", ".join(f"{100 * value:.0f} % {name}" for name, value in said.items())
        held = [found[f"coverage_{name}"]["value"] for name in ("positive", "negative")]
        told = ["n/a" if value is None else f"{100 * value:.1f} %" for value in held]
        lines.append(
            f"label sets at 0.9: true of {told[0]} of positives, {told[1]} of negatives; {shares}"
        )
    unlike = metrics.get("unlikeness")
    if unlike is not None:
        lines.append(f"unlike the training data: {unlike['unlike']} of {unlike['rows']} rows")
    return ["", *lines] if lines else []
