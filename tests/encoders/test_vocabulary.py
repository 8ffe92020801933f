"""Events to features."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.vocabulary import EventVocabulary, VocabularyConfig
from ingest.schema import modality_of
from ingest.timeline import TIMELINE_COLUMNS, Timelines

NOW = pd.Timestamp("2024-01-01")
Event = tuple[float | None, str, float | None]


def timelines(rows: list[list[Event]]) -> Timelines:
    """Make timelines from (days before or None, code, value) a row, in any order."""
    events = []
    for row, told in enumerate(rows):
        for days, code, value in sorted(told, key=lambda e: -np.inf if e[0] is None else -e[0]):
            time = pd.NaT if days is None else NOW - pd.Timedelta(days=days)
            before = np.nan if days is None else days
            kind = str(modality_of(code))
            events.append((row, time, before, code, value, None, None, None, kind))
    return Timelines(
        index=pd.DataFrame({"subject_id": np.arange(len(rows)), "prediction_time": NOW}),
        events=pd.DataFrame(events, columns=list(TIMELINE_COLUMNS)).astype(
            {"numeric_value": np.float32}
        ),
        images=Path(),
    )


def told(vocabulary: EventVocabulary, rows: list[list[Event]], row: int = 0) -> list[tuple]:
    found = vocabulary.rows(timelines(rows))
    here = slice(found.start[row], found.start[row + 1])
    names = [vocabulary.features[f] for f in found.feature[here]]
    values = [None if np.isnan(v) else round(float(v), 3) for v in found.value[here]]
    return sorted(zip(names, values, found.time[here].round(3).tolist(), strict=True))


def person(*events: Event) -> list[Event]:
    return [(None, "GENDER//F", None), (60 * 365.25, "MEDS_BIRTH", None), *events]


TRAIN = [
    person((30.0, "LOINC//1", float(i)), (3.0, "LOINC//1", i + 10.0), (5.0, "SNOMED//9", None))
    for i in range(11)
]
SMALL = VocabularyConfig(minimum_subjects=3)


def test_a_row_reads_as_its_history() -> None:
    vocabulary = EventVocabulary.fit(timelines(TRAIN), SMALL)
    assert told(vocabulary, [person((9.0, "LOINC//1", 5.0), (2.0, "LOINC//1", 15.0))]) == [
        ("AGE last", 0.5, 0.0),
        ("GENDER//F static", None, 0.0),
        ("LOINC//1 change", 0.5, 2.0),
        ("LOINC//1 count", 0.5, 2.0),
        ("LOINC//1 earlier", 0.5, 9.0),
        ("LOINC//1 last", 0.5, 2.0),
        ("LOINC//1 mean", 0.5, 2.0),
        ("LOINC//1 slope", 0.5, 2.0),
    ]


def test_a_slope_is_what_least_squares_gives() -> None:
    rng = np.random.default_rng(0)
    rows, slopes = [], []
    for _ in range(9):
        days, values = np.sort(rng.integers(0, 900, 4))[::-1] + 0.0, rng.normal(80, 5, 4)
        rows.append(
            [(d, "LOINC//3", float(np.float32(v))) for d, v in zip(days, values, strict=True)]
        )
        slopes.append(np.polyfit(-days / 365.25, values.astype(np.float32), 1)[0])
    vocabulary = EventVocabulary.fit(timelines(rows), SMALL)
    known, levels = vocabulary.curves["LOINC//3 slope"]
    assert levels[0] == 0.0
    assert levels[-1] == 1.0
    np.testing.assert_allclose((known[0], known[-1]), (min(slopes), max(slopes)), rtol=1e-5)
    assert "LOINC//3 slope" not in [n for n, _, _ in told(vocabulary, [rows[0][:1]])]


def test_what_is_unknown_has_a_feature_of_its_own() -> None:
    vocabulary = EventVocabulary.fit(timelines(TRAIN), SMALL)
    assert [name for name, _, _ in told(vocabulary, [[(1.0, "ICD10CM//Z", 4.0)]])] == [
        "AGE missing",
        "SEX missing",
        "UNK count",
    ]
    assert told(vocabulary, [[]]) == []


def test_a_rare_code_counts_for_its_system() -> None:
    rare = [person((1.0, f"ICD10CM//R{i}", None)) for i in range(6)]
    vocabulary = EventVocabulary.fit(timelines(rare), SMALL)
    names = [name for name, _, _ in told(vocabulary, [person((1.0, "ICD10CM//NEW", None))])]
    assert "ICD10CM//UNK count" in names


def test_a_typing_error_reaches_no_further_than_the_highest_value() -> None:
    vocabulary = EventVocabulary.fit(timelines(TRAIN), SMALL)
    for value, quantile in ((1e9, 1.0), (-1e9, 0.0)):
        assert ("LOINC//1 last", quantile, 1.0) in told(
            vocabulary, [person((1.0, "LOINC//1", value))]
        )
    names = [n for n, _, _ in told(vocabulary, [person((1.0, "LOINC//1", float("inf")))])]
    assert "LOINC//1 last" not in names


def test_of_too_many_tokens_the_latest_are_kept_and_the_static_ones_always() -> None:
    config = VocabularyConfig(minimum_subjects=1, tokens_at_most=6)
    rows = [person(*((float(d), f"SNOMED//{d}", None) for d in range(1, 40)))]
    vocabulary = EventVocabulary.fit(timelines(rows), config)
    assert [name for name, _, _ in told(vocabulary, rows)] == [
        "AGE last",
        "GENDER//F static",
        *(f"SNOMED//{d} count" for d in (1, 2, 3, 4)),
    ]


def test_a_row_does_not_depend_on_the_others() -> None:
    vocabulary = EventVocabulary.fit(timelines(TRAIN), SMALL)
    alone = told(vocabulary, [TRAIN[4]])
    assert told(vocabulary, [TRAIN[9], [], TRAIN[4], TRAIN[1]], row=2) == alone


def test_it_survives_json_to_the_last_digit() -> None:
    vocabulary = EventVocabulary.fit(timelines(TRAIN), SMALL)
    again = EventVocabulary.from_json(json.loads(json.dumps(vocabulary.to_json())))
    assert again.to_json() == vocabulary.to_json()
    for one, other in zip(
        vocabulary.rows(timelines(TRAIN)), again.rows(timelines(TRAIN)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_features_need_subjects_and_not_rows() -> None:
    rows = [person((1.0, "LOINC//2", 1.0)) for _ in range(4)]
    made = timelines(rows)
    made.index["subject_id"] = 7
    assert "LOINC//2 last" not in EventVocabulary.fit(made, SMALL).features
    assert "LOINC//2 last" in EventVocabulary.fit(timelines(rows), SMALL).features


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.floats(0, 500).map(lambda d: round(d, 2)),
                st.sampled_from(["LOINC//1", "LOINC//2", "SNOMED//3"]),
                st.one_of(st.none(), st.floats(-50, 50, width=32)),
            ),
            max_size=8,
            unique_by=lambda e: e[0],
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=60, deadline=None)
def test_summaries_equal_those_of_a_naive_reference(rows: list[list[Event]]) -> None:
    vocabulary = EventVocabulary.fit(timelines(rows), VocabularyConfig(minimum_subjects=1))
    found = vocabulary.rows(timelines(rows))
    names = [vocabulary.features[f] for f in found.feature]
    for row, events in enumerate(rows):
        wanted = set()
        for code in {c for _, c, _ in events}:
            mine = sorted((-d, v) for d, c, v in events if c == code)
            wanted.add((f"{code} count", np.float32(-mine[-1][0])))
            values = [(-d, v) for d, v in mine if v is not None]
            if values:
                wanted.add((f"{code} last", np.float32(values[-1][0])))
                wanted |= {(f"{code} earlier", np.float32(d)) for d, _ in values[-4:-1]}
            if len(values) > 1 and values[0][0] - values[-1][0] >= 7:
                wanted.add((f"{code} slope", np.float32(values[-1][0])))
            if len(values) > 1:
                wanted |= {(f"{code} {k}", np.float32(values[-1][0])) for k in ("mean", "change")}
        if events:
            wanted |= {("AGE missing", np.float32(0)), ("SEX missing", np.float32(0))}
        here = slice(found.start[row], found.start[row + 1])
        assert set(zip(names[here], found.time[here], strict=True)) == wanted


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="tokens_at_most=2"):
        VocabularyConfig(tokens_at_most=2)
