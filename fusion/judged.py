"""Judge predictions: from risks and labels of one task to its entry in metrics.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from fusion.disclosure import UNDER, withheld
from fusion.late import ALONE
from fusion.metrics import calibration_line, draw_resamples, measure, paired
from fusion.missing import measure_missing
from fusion.slopes import calibration_intervals
from fusion.thresholds import measure_thresholds

__all__ = ["FEWEST_TO_CONCLUDE", "Judged", "measure_task"]

FEWEST_TO_CONCLUDE = 20
"""Positives (and negatives) under which the report says what cannot be concluded."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Hold what models said of rows whose label is known."""

    task: str
    label: Float[np.ndarray, " b"]
    subjects: np.ndarray
    champion: str
    """A model's name; in cross-validation the folds may have chosen differently."""

    models: Mapping[str, np.ndarray]
    """Calibrated risks [b] of each model."""

    thresholds: Mapping[str, float | np.ndarray]
    """Of each model, set without these rows; one a row [b] where folds set their own."""

    subsets: Mapping[str, np.ndarray] = field(default_factory=dict)
    """The champion's risks for each subset of modalities."""

    oracle: Mapping[str, np.ndarray] = field(default_factory=dict)
    """True risks; NaN for rows that the oracle does not know."""

    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Subgroups of patients: which rows belong, bool."""

    lacks: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Of what (`fusion.missing.lacking`): which rows have none, bool."""


def measure_task(judged: Judged, *, bootstrap: int, seed: int) -> dict[str, Any]:
    """Measure every model, subset, oracle and subgroup on the same resamples of patients."""
    label = judged.label
    resamples = draw_resamples(judged.subjects, resamples=bootstrap, seed=seed)
    models = {
        name: measure(risk, label, resamples, threshold=judged.thresholds[name])
        for name, risk in judged.models.items()
    }
    cut = judged.thresholds[judged.champion]
    entry: dict[str, Any] = {
        "n": len(label),
        "subjects": len(np.unique(judged.subjects)),
        "positives": int(label.sum()),
        "champion": judged.champion,
        "models": models,
        "subsets": {
            name: measure(risk, label, resamples, threshold=cut)
            for name, risk in judged.subsets.items()
        },
        "thresholds": {name: float(np.mean(cut)) for name, cut in judged.thresholds.items()},
        "calibration": {
            name: calibration_line(risk, label) for name, risk in judged.models.items()
        },
        "calibration_intervals": {
            name: calibration_intervals(risk, label, resamples)
            for name, risk in judged.models.items()
        },
    }
    entry["at_thresholds"] = measure_thresholds(
        judged.models[judged.champion], label, resamples, own=cut
    )
    entry["missing"] = measure_missing(judged.lacks, label, judged.subjects, resamples)
    if judged.oracle:
        entry["oracle"] = _oracle(judged, bootstrap, seed, cut)
    entry["subgroups"] = _subgroups(judged, bootstrap, seed, cut)
    single = _best_single(judged, models)
    if single is not None:
        mine, other = judged.models[judged.champion], judged.models[single]
        entry["against_best_single"] = {
            "model": single,
            **{m: paired(m, mine, other, label, resamples) for m in ("auroc", "logloss")},
        }
    entry["warnings"] = _warnings(judged, entry)
    return entry


def _oracle(judged: Judged, bootstrap: int, seed: int, cut: float | np.ndarray) -> dict[str, Any]:
    known = np.isfinite(next(iter(judged.oracle.values())))
    resamples = draw_resamples(judged.subjects[known], resamples=bootstrap, seed=seed)
    return {
        name: measure(risk[known], judged.label[known], resamples, threshold=_some(cut, known))
        for name, risk in judged.oracle.items()
    }


def _subgroups(
    judged: Judged, bootstrap: int, seed: int, cut: float | np.ndarray
) -> dict[str, Any]:
    found = {}
    risk = judged.models[judged.champion]
    words = withheld(judged.groups, judged.subjects)
    for name, rows in judged.groups.items():
        label = judged.label[rows]
        entry: dict[str, Any] = {"n": words.get(name, int(rows.sum()))}
        if name not in words:
            entry["positives"] = int(label.sum())
        if entry["n"] != UNDER and _enough(label):
            resamples = draw_resamples(judged.subjects[rows], resamples=bootstrap, seed=seed)
            measured = measure(risk[rows], label, resamples, threshold=_some(cut, rows))
            if name in words:
                entry["metrics"] = {"auroc": _coarse(measured["auroc"])}
            else:
                entry["metrics"] = measured
                entry["mean_risk"] = float(risk[rows].mean())
        found[name] = entry
    return found


def _coarse(found: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 2) for name, value in found.items()}


def _some(cut: float | np.ndarray, rows: np.ndarray) -> float | np.ndarray:
    return cut[rows] if isinstance(cut, np.ndarray) else cut


def _best_single(judged: Judged, models: dict[str, Any]) -> str | None:
    single = [name for name in ALONE if name in models]
    if not single or judged.champion in single:
        return None
    return min(single, key=lambda name: models[name]["logloss"]["value"])


def _enough(label: np.ndarray) -> bool:
    return bool(min((label == 1).sum(), (label == 0).sum()) >= FEWEST_TO_CONCLUDE)


def _warnings(judged: Judged, entry: dict[str, Any]) -> list[str]:
    positives, negatives = entry["positives"], entry["n"] - entry["positives"]
    said = []
    if min(positives, negatives) == 0:
        said.append(
            f"All {entry['n']} rows are of one class: discrimination cannot be measured at all, "
            "and nothing can be concluded about this model."
        )
    elif not _enough(judged.label):
        fewer, what = min((positives, "positives"), (negatives, "negatives"))
        said.append(
            f"Only {fewer} {what} among {entry['n']} rows. With fewer than {FEWEST_TO_CONCLUDE}, "
            "it cannot be concluded that the model works, that one model is better than another, "
            "or that the risks are calibrated; the intervals show how little is known."
        )
    auroc = entry["models"][judged.champion]["auroc"]
    if auroc["low"] is not None and auroc["low"] <= 0.5:
        said.append(
            f"The champion's AUROC of {auroc['value']:.2f} has an interval from {auroc['low']:.2f} "
            f"to {auroc['high']:.2f}: it cannot be told from chance."
        )
    lead = entry.get("against_best_single")
    if lead and lead["logloss"]["low"] is not None and lead["logloss"]["high"] >= 0:
        said.append(
            f"{judged.champion} is not shown to be better than {lead['model']} alone: the "
            f"difference in log-loss is {lead['logloss']['value']:+.3f} "
            f"({lead['logloss']['low']:+.3f} to {lead['logloss']['high']:+.3f})."
        )
    slope = entry["calibration"][judged.champion]["slope"]
    if _enough(judged.label) and slope is not None and not 0.7 <= slope <= 1.4:
        way = "too extreme" if slope < 1 else "too cautious"
        said.append(f"The champion's calibration slope is {slope:.2f}: its risks are {way}.")
    return said
