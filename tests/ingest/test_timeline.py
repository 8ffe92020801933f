"""Timelines: the only thing that models are given."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ingest.schema import Modality
from ingest.timeline import TIMELINE_COLUMNS, Timelines


def timelines(days_before: list[float]) -> Timelines:
    n = len(days_before)
    events = pd.DataFrame(
        {
            "row": np.arange(n) // 2,
            "time": pd.Timestamp("2020-01-01"),
            "days_before": days_before,
            "code": ["LOINC//8480-6", "NOTE//LOINC//18842-5"] * (n // 2),
            "numeric_value": np.arange(n, dtype=float),
            "text_value": None,
            "unit": None,
            "image": None,
            "modality": ["events", "notes"] * (n // 2),
        }
    )
    index = pd.DataFrame(
        {"subject_id": np.arange(n // 2), "prediction_time": pd.Timestamp("2020-01-02")}
    )
    return Timelines(index=index, events=events[list(TIMELINE_COLUMNS)], images=Path())


def test_an_event_after_the_prediction_time_is_refused() -> None:
    with pytest.raises(ValueError, match="after the prediction time"):
        timelines([1.0, -0.001])


def test_a_missing_column_is_named() -> None:
    whole = timelines([1.0, 2.0])
    with pytest.raises(ValueError, match=r"lack the columns \['unit'\]"):
        Timelines(index=whole.index, events=whole.events.drop(columns="unit"), images=Path())


def test_taking_rows_keeps_their_order_and_may_repeat_them() -> None:
    taken = timelines([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).take(np.array([2, 0, 2]))
    assert taken.index["subject_id"].tolist() == [2, 0, 2]
    assert taken.events["row"].tolist() == [0, 0, 1, 1, 2, 2]
    assert taken.events["numeric_value"].tolist() == [4.0, 5.0, 0.0, 1.0, 4.0, 5.0]


def test_taking_no_row_gives_empty_timelines() -> None:
    taken = timelines([0.0, 1.0]).take(np.array([], dtype=int))
    assert len(taken) == 0
    assert taken.events.empty


def test_only_hides_a_modality_as_if_it_never_was() -> None:
    kept = timelines([0.0, 1.0]).only(frozenset({Modality.EVENTS}))
    assert kept.has(Modality.EVENTS).tolist() == [True]
    assert kept.has(Modality.NOTES).tolist() == [False]
    assert kept.part(Modality.NOTES).empty
