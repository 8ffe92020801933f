"""Judge what a run states beside a risk, on rows that it has not seen: do the promises hold?

Label sets promise coverage of either class, and are useful where they hold one label. Rows called
unlike training promise nothing of the risk; how much worse the champion is among them is measured.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from fusion.conformal import coverage_range
from fusion.metrics import draw_resamples, measure, share
from fusion.unlikeness import ALPHA, Unlikeness
from ingest.schema import Modality

__all__ = ["FEWEST_UNLIKE", "judge_sets", "judge_unlike", "judge_unlikeness", "warn_beside"]

FEWEST_UNLIKE = 20
"""Rows under which nothing is said of how well the champion does among them."""

_SHOWN = ("auroc", "logloss", "brier")


def judge_sets(
    sets: Mapping[float, Bool[np.ndarray, "b 2"]],
    label: Float[np.ndarray, " b"],
    subjects: np.ndarray,
    *,
    calibrated_on: tuple[int, int],
    bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    """Measure one task's label sets at each level, with intervals by patient.

    Args:
        sets: of each level.
        label: 0 or 1.
        subjects: whose row it is.
        calibrated_on: how many negatives and positives the thresholds rest on.
        bootstrap: resamples of patients.
        seed: of the resamples.

    Returns:
        For each level: `coverage` of the true label, `coverage_positive` and `coverage_negative`
        among each class, between what either lies by the chance of the calibration rows
        (`expected_positive`, `expected_negative`: `low`, `high`), and the shares of sets that hold
        one label, both and none (`single`, `both`, `empty`); `right_when_single` is the share of
        sets of one label that hold the true one, which is promised nowhere.
    """
    resamples = draw_resamples(subjects, resamples=bootstrap, seed=seed)
    positive = label == 1
    found = {}
    for level, kept in sets.items():
        expected = [coverage_range(n, level) for n in calibrated_on]
        size = kept.sum(axis=1)
        covered = np.where(positive, kept[:, 1], kept[:, 0])
        found[str(level)] = {
            "coverage": share(covered, resamples),
            "coverage_positive": share(covered, resamples, among=positive),
            "coverage_negative": share(covered, resamples, among=~positive),
            "expected_positive": {"low": expected[1][0], "high": expected[1][1]},
            "expected_negative": {"low": expected[0][0], "high": expected[0][1]},
            "single": share(size == 1, resamples),
            "both": share(size == 2, resamples),
            "empty": share(size == 0, resamples),
            "right_when_single": share(covered, resamples, among=size == 1),
        }
    return found


def judge_unlikeness(
    unlikeness: Unlikeness, subjects: np.ndarray, *, bootstrap: int, seed: int
) -> dict[str, Any]:
    """Count the rows that are unlike training, and in what.

    Returns:
        `alpha`, how many `rows` there are, how many `could_be` called unlike (there are enough
        reference rows), how many are `unlike`, their `share` with its interval, up to what share
        would be by the chance of the reference rows (`expected_up_to`), and `by_modality`: rows
        that have it and could be compared, and rows that are unlike in it most of all.
    """
    unlike, where = unlikeness.unlike(), unlikeness.where()
    resamples = draw_resamples(subjects, resamples=bootstrap, seed=seed)
    least = unlikeness.least[unlikeness.least < 1]  # a modality without reference rows has 1
    reference = 1 / float(least.max()) - 1 if len(least) else 1.0
    return {
        "alpha": ALPHA,
        # False alarms are alpha on average over reference rows; two of their standard deviations.
        "expected_up_to": min(1.0, ALPHA + 2 * (ALPHA * (1 - ALPHA) / reference) ** 0.5),
        "rows": len(unlike),
        "could_be": int(unlikeness.can_be().sum()),
        "unlike": int(unlike.sum()),
        "share": share(unlike, resamples),
        "by_modality": {
            str(modality): {
                "rows": int(np.isfinite(unlikeness.by_modality[:, place]).sum()),
                "unlike": sum(
                    bool(called) and most is modality
                    for called, most in zip(unlike, where, strict=True)
                ),
            }
            for place, modality in enumerate(Modality)
        },
    }


def judge_unlike(
    risk: Float[np.ndarray, " b"],
    label: Float[np.ndarray, " b"],
    subjects: np.ndarray,
    unlike: Bool[np.ndarray, " b"],
    *,
    bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    """Measure the champion with everyone, without the unlike, and among them where 20 are.

    Where they are fewer, nothing is said of the others either but how many there are: a mean over
    the others, taken from the mean over all, would tell how many of the few are positive.
    """
    found = {}
    few = 0 < int(unlike.sum()) < FEWEST_UNLIKE
    for name, rows in (
        ("everyone", np.ones(len(label), bool)),
        ("without_unlike", ~unlike),
        ("unlike", unlike),
    ):
        entry: dict[str, Any] = {"n": int(rows.sum())}
        if name == "everyone" or not few:
            entry["positives"] = int(label[rows].sum())
        if entry["n"] >= FEWEST_UNLIKE and (name == "everyone" or not few):
            resamples = draw_resamples(subjects[rows], resamples=bootstrap, seed=seed)
            measured = measure(risk[rows], label[rows], resamples, threshold=None)
            entry["metrics"] = {metric: measured[metric] for metric in _SHOWN}
        found[name] = entry
    return found


def warn_beside(sets: Mapping[str, Any], unlikeness: Mapping[str, Any]) -> list[str]:
    """Say in sentences which promise is not kept on the rows that were judged."""
    said = []
    for level, found in sets.items():
        for name in ("positive", "negative"):
            told, expected = found[f"coverage_{name}"], found[f"expected_{name}"]["low"]
            if told["high"] is not None and told["high"] < expected:
                said.append(
                    f"Label sets at {level} hold the true label of only {100 * told['value']:.1f} "
                    f"% of the {name}s (up to {100 * told['high']:.1f} %), where chance would "
                    f"leave {100 * expected:.1f} %: these rows differ from those of calibration."
                )
    low = unlikeness["share"]["low"]
    if low is not None and low > unlikeness["expected_up_to"]:
        said.append(
            f"{unlikeness['unlike']} of {unlikeness['rows']} rows are unlike the training data, "
            f"where {100 * unlikeness['alpha']:.0f} % would be by chance: these patients, or how "
            "they are recorded, differ from those of training."
        )
    return said
