"""Tables of a model card: Markdown of what metrics.json holds."""

from collections.abc import Mapping, Sequence
from typing import Any

from fusion.report_tables import METRIC_WORDS
from fusion.thresholds import AT_THRESHOLDS

__all__ = [
    "flow_tables",
    "missing_table",
    "models_table",
    "plain",
    "sets_table",
    "subgroups_table",
    "subsets_table",
    "thresholds_table",
]

_MODELS = ("auroc", "auprc", "logloss", "brier", "ece")


def plain(said: Any) -> str:
    """Put words from outside into Markdown on one line, as words and nothing else.

    >>> plain("a <b> & c")
    'a &lt;b&gt; &amp; c'
    """
    words = " ".join(str(said).split())
    for mark, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|")):
        words = words.replace(mark, instead)
    return words


def flow_tables(flow: Mapping[str, Any]) -> list[str]:
    """Give who was left after each step, a task each, and the splits."""
    tables = []
    for task, steps in flow["tasks"].items():
        rows = [
            (plain(step["step"]), step["rows"], step["subjects"], step.get("positives", ""))
            for step in steps
        ]
        tables.append(f"{plain(task)}, who was left after each step:\n")
        tables.append(_table(("step", "rows", "patients", "positives"), rows))
    rows = [(name, found["rows"], found["subjects"]) for name, found in flow["splits"].items()]
    return [*tables, _table(("split", "rows", "patients"), rows)]


def models_table(entry: Mapping[str, Any]) -> str:
    """Give discrimination and calibration of every model, the one that serves in bold."""
    rows = []
    for name, found in entry["models"].items():
        line = entry["calibration_intervals"][name]
        shown = f"**{plain(name)} (serves)**" if name == entry["champion"] else plain(name)
        calibrated = [_figure(line[part], digits=2) for part in ("slope", "intercept")]
        rows.append((shown, *(_figure(found[m]) for m in _MODELS), *calibrated))
    head = ("model", *(METRIC_WORDS[m] for m in _MODELS), "calibration slope", "intercept")
    return _table(head, rows)


def thresholds_table(entry: Mapping[str, Any]) -> str:
    """Give what acting by the model that serves would mean at each threshold."""
    rows = [
        (
            f"{100 * one['threshold']:.1f} %" + (" (its own)" if one["own"] else ""),
            f"{100 * one['called']:.1f} %",
            *(_figure(one[name]) for name in AT_THRESHOLDS),
        )
        for one in entry["at_thresholds"]
    ]
    head = ("risk at least", "called", *(METRIC_WORDS[name] for name in AT_THRESHOLDS))
    return _table(head, rows)


def missing_table(entry: Mapping[str, Any]) -> str:
    """Give who lacks what, and whether those fare differently."""
    rows = []
    for name, sides in entry["missing"].items():
        cells: list[str] = []
        for side in ("without", "with"):
            found = sides[side]
            if "share" in found:
                cells += [f"{found['n']} ({100 * found['share']:.1f} %)", _figure(found["rate"])]
            else:
                cells += [found["n"], "not shown"]
        rows.append((plain(name), *cells))
    return _table(("of", "rows without", "came true", "rows with", "came true"), rows)


def subsets_table(entry: Mapping[str, Any]) -> str:
    """Give what the model that serves does with a part of the modalities."""
    rows = [
        (plain(name.replace("+", " + ")), *(_figure(found[m]) for m in ("auroc", "logloss")))
        for name, found in entry["subsets"].items()
    ]
    return _table(("seen", "AUROC", "log-loss"), rows)


def sets_table(entry: Mapping[str, Any]) -> str:
    """Give how often label sets hold the true label, and how often they leave one label."""
    names = ("coverage", "coverage_positive", "coverage_negative", "single")
    rows = [
        (plain(level), *(_figure(found[name]) for name in names))
        for level, found in entry["label_sets"].items()
    ]
    return _table(
        ("level", "true label in the set", "of positives", "of negatives", "one label"), rows
    )


def subgroups_table(entry: Mapping[str, Any]) -> str:
    """Give how it does among groups of patients; small ones show nothing."""
    rows = []
    for name, found in entry["subgroups"].items():
        measured = found.get("metrics", {})
        exact = "positives" in found
        rows.append(
            (
                plain(name),
                found["n"],
                found["positives"] if exact else "not shown",
                _figure(measured["auroc"]) if "auroc" in measured else "not shown",
                f"{found['mean_risk']:.3f}" if "mean_risk" in found else "not shown",
                f"{found['positives'] / found['n']:.3f}" if exact else "not shown",
            )
        )
    head = ("group", "rows", "positives", "AUROC", "mean risk", "came true")
    return _table(head, rows) if rows else "Neither sex nor age tells the rows apart.\n"


def _figure(found: Mapping[str, float | None], *, digits: int = 3) -> str:
    if found["value"] is None:
        return "n/a"
    told = f"{found['value']:.{digits}f}"
    if found["low"] is None:
        return told
    return f"{told} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"
