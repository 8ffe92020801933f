"""Figures of a report: SVG text, drawn without a display and the same for the same numbers."""

import io
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from fusion.judged import Judged

__all__ = [
    "calibration_figure",
    "confusion_figure",
    "decision_figure",
    "precision_recall_figure",
    "roc_figure",
    "subsets_figure",
]

_BLUE, _GREY, _LIGHT, _INK, _AMBER = "#1f5fa8", "#8a94a0", "#c9d0d8", "#22303c", "#c0762b"
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": _GREY,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e8ebef",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "path",
    "svg.hashsalt": "medweave",
}
_WILSON = 1.96


def roc_figure(judged: Judged) -> str:
    """Draw sensitivity against false positives of every model; one class gives an empty frame."""
    figure, axes = _frame("1 - specificity", "sensitivity")
    axes.plot([0, 1], [0, 1], color=_LIGHT, lw=1, ls=":")
    for name, risk, style in _layers(judged):
        if 0 < judged.label.sum() < len(judged.label):
            _, tp, fp = _steps(risk, judged.label)
            axes.plot(
                np.r_[0, fp / fp[-1]], np.r_[0, tp / tp[-1]], **style, label=_legend(name, judged)
            )
    cut, label = judged.thresholds[judged.champion], judged.label
    called = judged.models[judged.champion] >= cut
    cut = float(np.mean(cut))
    if 0 < label.sum() < len(label):
        point = (called[label == 0].mean(), called[label == 1].mean())
        axes.plot(*point, "o", color=_BLUE, ms=5, label=f"threshold {cut:.2f}", zorder=5)
        axes.legend(loc="lower right")
    else:
        words = "one class: not defined"
        axes.text(0.5, 0.55, words, ha="center", transform=axes.transAxes, color=_INK)
    return _svg(figure)


def precision_recall_figure(judged: Judged) -> str:
    """Draw precision against recall of every model, with the base rate."""
    figure, axes = _frame("recall (sensitivity)", "precision (positive predictive value)")
    rate = judged.label.mean()
    axes.axhline(rate, color=_LIGHT, lw=1, ls=":", label=f"base rate {rate:.2f}")
    for name, risk, style in _layers(judged):
        if judged.label.sum() > 0:
            _, tp, fp = _steps(risk, judged.label)
            axes.plot(tp / tp[-1], tp / (tp + fp), **style, label=_legend(name, judged))
    axes.legend(loc="upper right")
    return _svg(figure)


def calibration_figure(judged: Judged, line: dict[str, float | None]) -> str:
    """Draw what was said against what came, in bins of equal size, with Wilson intervals."""
    figure, axes = _frame("risk said by the champion", "share that came true")
    risk, label = judged.models[judged.champion], judged.label
    axes.plot([0, 1], [0, 1], color=_LIGHT, lw=1, ls=":", label="perfect")
    bins = np.array_split(np.argsort(risk, kind="stable"), min(10, max(1, len(risk) // 20)))
    said = np.array([risk[rows].mean() for rows in bins])
    came = np.array([label[rows].mean() for rows in bins])
    low, high = _wilson(came, np.array([len(rows) for rows in bins]))
    errors = [np.maximum(came - low, 0), np.maximum(high - came, 0)]
    axes.errorbar(
        said,
        came,
        yerr=errors,
        fmt="o-",
        color=_BLUE,
        ecolor=_GREY,
        elinewidth=1,
        ms=4,
        lw=1.2,
        label=f"{len(bins)} groups of {len(bins[0])} rows" if len(bins) > 1 else "all rows",
    )
    counts, edges = np.histogram(risk, bins=30, range=(0, 1))
    axes.bar(
        edges[:-1],
        0.12 * counts / max(1, counts.max()),
        np.diff(edges),
        align="edge",
        color=_BLUE,
        alpha=0.18,
        lw=0,
        label="how often each risk was said",
    )
    if line["slope"] is not None:
        words = f"slope {line['slope']:.2f}, intercept {line['intercept']:+.2f}"
        axes.text(0.98, 0.04 + 0.12, words, ha="right", transform=axes.transAxes, color=_INK)
    axes.legend(loc="upper left")
    return _svg(figure)


def decision_figure(judged: Judged) -> str:
    """Draw net benefit (Vickers and Elkin, 2006) of acting by the champion, on all, on nobody."""
    figure, axes = _frame(
        "threshold probability at which one would act", "net benefit", square=False
    )
    risk, label = judged.models[judged.champion], judged.label
    rate = label.mean()
    cuts = np.linspace(0.01, float(np.clip(2.5 * rate, 0.3, 0.95)), 120)
    odds = cuts / (1 - cuts)
    called = risk[None, :] >= cuts[:, None]
    benefit = (called & (label == 1)).mean(axis=1) - odds * (called & (label == 0)).mean(axis=1)
    everybody = rate - odds * (1 - rate)
    axes.plot(cuts, everybody, color=_GREY, lw=1.2, ls="--", label="act on everybody")
    axes.axhline(0, color=_INK, lw=1, label="act on nobody")
    axes.plot(cuts, benefit, color=_BLUE, lw=2, label=f"act by {judged.champion}")
    axes.set_xlim(0, cuts[-1])
    axes.set_ylim(min(-0.02, -0.15 * rate), max(0.05, 1.1 * rate))
    axes.legend(loc="upper right")
    return _svg(figure)


def confusion_figure(judged: Judged) -> str:
    """Draw the four counts at the champion's threshold."""
    cut = judged.thresholds[judged.champion]
    called, came = judged.models[judged.champion] >= cut, judged.label == 1
    cut = float(np.mean(cut))
    counts = np.array(
        [
            [(called & came).sum(), (~called & came).sum()],
            [(called & ~came).sum(), (~called & ~came).sum()],
        ]
    )
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.3, 3.6), layout="constrained")
        axes = figure.subplots()
    axes.grid(visible=False)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shade = mpl.colors.LinearSegmentedColormap.from_list("shade", ["#f4f7fa", _BLUE])
    axes.imshow(shares, cmap=shade, vmin=0, vmax=1.15, aspect="auto")
    for (i, j), count in np.ndenumerate(counts):
        ink = "white" if shares[i, j] > 0.6 else _INK
        words = f"{count}\n{100 * shares[i, j]:.0f} % of row"
        axes.text(j, i, words, ha="center", va="center", color=ink, fontsize=11)
    axes.set_xticks([0, 1], [f"called: risk ≥ {cut:.2f}", f"not called: risk < {cut:.2f}"])
    axes.set_yticks([0, 1], ["came true", "did not"], rotation=90, va="center")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return _svg(figure)


def subsets_figure(judged: Judged, entry: dict[str, Any]) -> str:
    """Draw the champion's AUROC for each subset of modalities, with the ceiling where known."""
    names = list(entry["subsets"])
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.0, 0.36 * len(names) + 1.0), layout="constrained")
        axes = figure.subplots()
    places = np.arange(len(names))[::-1]
    for place, name in zip(places, names, strict=True):
        auroc = entry["subsets"][name]["auroc"]
        if auroc["value"] is not None:
            axes.plot([auroc["low"], auroc["high"]], [place, place], color=_BLUE, lw=2, alpha=0.45)
            axes.plot(auroc["value"], place, "o", color=_BLUE, ms=6)
        ceiling = entry.get("oracle", {}).get(name, {}).get("auroc", {}).get("value")
        if ceiling is not None:
            axes.plot(ceiling, place, "D", color=_AMBER, ms=5, mfc="none", mew=1.6)
    axes.plot([], [], "o-", color=_BLUE, label=f"{judged.champion}, 95 % interval")
    if entry.get("oracle"):
        axes.plot([], [], "D", color=_AMBER, mfc="none", mew=1.6, ls="", label="best possible")
    axes.axvline(0.5, color=_LIGHT, lw=1, ls=":")
    axes.set_yticks(places, [name.replace("+", " + ") for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel("AUROC")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure)


def _frame(x: str, y: str, *, square: bool = True) -> tuple[Figure, Any]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.3, 3.6), layout="constrained")
        axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if square:
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.02)
    return figure, axes


def _layers(judged: Judged) -> list[tuple[str, np.ndarray, dict[str, Any]]]:
    """Give the other models in grey, the ceiling, the champion on top."""
    others = [
        (name, risk, {"color": _LIGHT, "lw": 1.0})
        for name, risk in judged.models.items()
        if name not in (judged.champion, "prevalence")
    ]
    full = judged.oracle.get("events+notes+images")
    if full is not None and np.isfinite(full).all():
        others.append(("best possible", full, {"color": _AMBER, "lw": 1.2, "ls": "--"}))
    champion = judged.models[judged.champion]
    return [*others, (judged.champion, champion, {"color": _BLUE, "lw": 2.0})]


def _legend(name: str, judged: Judged) -> str:
    if name in (judged.champion, "best possible"):
        return name
    drawn = [n for n in judged.models if n not in (judged.champion, "prevalence")]
    return "other models" if name == drawn[0] else "_"


def _steps(
    risk: Float[np.ndarray, " b"], label: Float[np.ndarray, " b"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.argsort(-risk, kind="stable")
    risk, label = risk[order], label[order]
    ends = np.flatnonzero(np.r_[np.diff(risk) != 0, True])
    if len(ends) > 1500:  # more points than a figure has pixels
        ends = ends[np.unique(np.linspace(0, len(ends) - 1, 1500).astype(int))]
    tp = np.cumsum(label)[ends]
    return risk[ends], tp, ends + 1 - tp


def _wilson(share: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z2 = _WILSON**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _WILSON * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    return middle - half, middle + half


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()
