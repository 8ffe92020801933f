from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from fusion.scoring import ALL_MODALITIES
from fusion.shapley import shapley
from ingest.schema import Modality
from ingest.timeline import TIMELINE_COLUMNS, Timelines

EVENTS, NOTES, IMAGES = Modality


def timelines(*has: str) -> Timelines:
    """One row for each string of modalities, such as `events notes`."""
    rows = [(i, m) for i, words in enumerate(has) for m in words.split()]
    events = pd.DataFrame(rows, columns=["row", "modality"])
    for name in TIMELINE_COLUMNS:
        if name not in events.columns:
            events[name] = 0.0 if name == "days_before" else None
    index = pd.DataFrame(
        {"subject_id": np.arange(len(has)), "prediction_time": pd.Timestamp("2024-01-01")}
    )
    from pathlib import Path

    return Timelines(index=index, events=events, images=Path())


class Game:
    """A scorer whose log odds are written down: main effects and interactions."""

    tasks = ("a", "b")

    def score(self, t: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES) -> np.ndarray:
        seen = {m: t.has(m) & (m in modalities) for m in Modality}
        logit = -1.0 + 2.0 * seen[EVENTS] - 0.5 * seen[NOTES] + 0.25 * seen[IMAGES]
        logit = logit + 3.0 * (seen[NOTES] & seen[IMAGES])
        return np.column_stack([expit(logit), np.full(len(t), 0.5)])


def test_values_are_those_of_the_written_game() -> None:
    found = shapley(Game(), timelines("events notes images"), 0)
    np.testing.assert_allclose(found.values[0], [2.0, -0.5 + 1.5, 0.25 + 1.5])
    assert found.base[0] == pytest.approx(-1.0)


def test_base_and_values_add_up_to_what_the_model_says() -> None:
    t = timelines("events notes images", "events", "notes images", "images", "events notes")
    found = shapley(Game(), t, 0)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), found.total, atol=1e-12)
    np.testing.assert_allclose(expit(found.total), Game().score(t)[:, 0], atol=1e-12)


def test_what_a_patient_lacks_contributes_exactly_nothing() -> None:
    found = shapley(Game(), timelines("events", "notes images"), 0)
    assert found.values[0, 1:].tolist() == [0, 0]
    assert found.values[1, 0] == 0


def test_values_are_the_mean_gain_over_all_orders_of_arrival() -> None:
    class Random:
        tasks = ("a",)

        def score(self, t, modalities=ALL_MODALITIES):
            rng = np.random.default_rng(sum(2 ** list(Modality).index(m) for m in modalities))
            return np.tile(expit(rng.normal()), (len(t), 1))

    scorer, t = Random(), timelines("events notes images")
    found = shapley(scorer, t).values[0]

    def logit(chosen: frozenset) -> float:
        risk = scorer.score(t, chosen)[0, 0]
        return float(np.log(risk / (1 - risk)))

    for i, player in enumerate(Modality):
        gains = []
        for order in permutations(Modality):
            before = frozenset(order[: order.index(player)])
            gains.append(logit(before | {player}) - logit(before))
        assert found[i] == pytest.approx(np.mean(gains))


def test_a_task_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="task_index must be from 0 to 1; got 2"):
        shapley(Game(), timelines("events"), 2)
