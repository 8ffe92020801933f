"""Figures of subgroups, held against fairlearn's."""

import numpy as np
import pytest

from fusion.judged import Judged, measure_task


def test_a_groups_figures_are_those_that_fairlearn_finds() -> None:
    fairlearn = pytest.importorskip("fairlearn.metrics")
    rng = np.random.default_rng(0)
    n = 600
    risk = rng.beta(2, 3, n)
    label = (rng.random(n) < risk).astype(float)
    female, cut = rng.random(n) < 0.4, 0.45
    judged = Judged(
        task="ill",
        label=label,
        subjects=np.arange(n),
        champion="stacked",
        models={"stacked": risk},
        thresholds={"stacked": cut},
        groups={"female": female, "male": ~female},
    )
    found = measure_task(judged, bootstrap=20, seed=0)["subgroups"]
    names = {"sensitivity": "true_positive_rate", "specificity": "true_negative_rate"}
    wanted = fairlearn.MetricFrame(
        metrics={mine: getattr(fairlearn, theirs) for mine, theirs in names.items()},
        y_true=label,
        y_pred=risk >= cut,
        sensitive_features=np.where(female, "female", "male"),
    ).by_group
    for group in ("female", "male"):
        for name in names:
            value = found[group]["metrics"][name]["value"]
            assert value == pytest.approx(wanted.loc[group, name], abs=1e-12)
        assert found[group]["n"] == int((female if group == "female" else ~female).sum())
