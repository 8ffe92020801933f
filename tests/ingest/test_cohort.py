"""Cohorts: ACES over the two clocks against a naive reference, follow-up, refusals, the flow.

Over 400 lines, since the naive reference stands beside the tests that it judges.
"""

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest.cohort import build_cohort, describe_flow, prediction_times
from ingest.errors import CohortError, InputError, StoreError, UsageError
from ingest.labels import read_cohort
from ingest.task import read_task
from tests.ingest.shards import label, write_store

DAY = timedelta(days=1)
EPOCH = datetime.fromisoformat("2020-01-01")

DISEASE = """
metadata: {{rows: {rows}}}
predicates:
  visit: {{code: VISIT}}
  disease: {{code: DISEASE}}
  death: {{code: MEDS_DEATH}}
trigger: visit
windows:
  history:
    {{start: null, end: trigger, start_inclusive: True, end_inclusive: True,
     has: {{disease: "(None, 0)", death: "(None, 0)"}}, index_timestamp: end}}
  target:
    {{start: history.end, end: start + 3d, start_inclusive: False, end_inclusive: {end_inclusive},
     label: disease}}
"""
STAY = """
predicates:
  admission: {code: IN}
  discharge: {code: OUT}
  death: {code: MEDS_DEATH}
  over: {expr: "or(discharge, death)"}
trigger: admission
windows:
  first_day:
    {start: trigger, end: start + 24h, start_inclusive: False, end_inclusive: True,
     has: {over: "(None, 0)"}, index_timestamp: end}
  target:
    {start: first_day.end, end: start -> over, start_inclusive: False, end_inclusive: True,
     label: death}
"""


def task_file(folder: Path, text: str, name: str = "task") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def disease_task(folder: Path, *, rows: str = "all", end_inclusive: bool = True) -> Path:
    return task_file(folder, DISEASE.format(rows=rows, end_inclusive=end_inclusive))


def time(half_days: int) -> datetime:
    return EPOCH + half_days * DAY / 2


# Half days on a small grid, so that events fall on the windows' borders often.
moments = st.integers(min_value=0, max_value=12)


def timelines(codes: list[str]):
    """Draw up to five subjects of up to eight events; some are known later than they occurred."""
    event = st.tuples(st.sampled_from(codes), moments, st.integers(min_value=0, max_value=4))
    subjects = st.lists(st.lists(event, max_size=8), min_size=1, max_size=5)
    return subjects.map(
        lambda drawn: [
            (subject, time(when + late), code, time(when))
            for subject, events in enumerate(drawn, start=1)
            for code, when, late in events
        ]
    )


def by_subject(events):
    return {s: [e[1:] for e in events if e[0] == s] for s in sorted({e[0] for e in events})}


def naive_disease(events, end_inclusive: bool):
    rows = []
    for subject, own in by_subject(events).items():
        ill = [occurred for _, code, occurred in own if code == "DISEASE"]
        dead = [occurred for _, code, occurred in own if code == "MEDS_DEATH"]
        last = max(max(known, occurred) for known, _, occurred in own)
        for visit in sorted({known for known, code, _ in own if code == "VISIT"}):
            end = visit + 3 * DAY
            inside = [visit < t <= end if end_inclusive else visit < t < end for t in (*ill, *dead)]
            if any(t <= visit for t in (*ill, *dead)):
                continue
            if any(inside[: len(ill)]):
                rows.append((subject, visit, True))
            elif any(inside) or last >= end:
                rows.append((subject, visit, False))
    return rows


def naive_stay(events):
    rows = []
    for subject, own in by_subject(events).items():
        ends = [
            (occurred, code == "MEDS_DEATH")
            for _, code, occurred in own
            if code in ("OUT", "MEDS_DEATH")
        ]
        for admission in sorted({known for known, code, _ in own if code == "IN"}):
            when = admission + DAY
            if any(admission < t <= when for t, _ in ends):
                continue
            later = [t for t, _ in ends if t > when]
            if later:
                rows.append((subject, when, (min(later), True) in ends))
    return rows


CHECKS = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@CHECKS
@given(timelines(["VISIT", "DISEASE", "MEDS_DEATH", "LAB"]), st.booleans())
def test_labels_in_a_window_of_fixed_length_are_those_of_a_naive_reference(
    tmp_path_factory, events, end_inclusive
):
    if not events:
        return
    folder = tmp_path_factory.mktemp("disease")
    found = label(write_store(folder, events), disease_task(folder, end_inclusive=end_inclusive))
    assert found == naive_disease(events, end_inclusive)


@CHECKS
@given(timelines(["IN", "OUT", "MEDS_DEATH", "LAB"]))
@example([(1, time(0), "IN", time(0)), (1, time(2), "OUT", time(2))])
@example([(1, time(0), "IN", time(0)), (1, time(0), "OUT", time(0)), (1, time(3), "OUT", time(3))])
def test_labels_in_a_window_that_an_event_ends_are_those_of_a_naive_reference(
    tmp_path_factory, events
):
    if not events:
        return
    folder = tmp_path_factory.mktemp("stay")
    assert label(write_store(folder, events), task_file(folder, STAY)) == naive_stay(events)


@CHECKS
@given(timelines(["VISIT", "DISEASE", "MEDS_DEATH", "LAB"]), st.booleans())
@example([(1, time(0), "VISIT", time(0))], True)
def test_a_window_that_runs_back_from_the_prediction_time_is_that_of_a_naive_reference(
    tmp_path_factory, events, start_inclusive
):
    if not events:
        return
    folder = tmp_path_factory.mktemp("past")
    text = DISEASE.format(rows="all", end_inclusive=True)
    text = text.replace("{rows: all}", "{concurrent: true}").replace(
        "start: history.end, end: start + 3d, start_inclusive: False",
        f"start: end - 2d, end: history.end, start_inclusive: {start_inclusive}",
    )
    text = text.replace('disease: "(None, 0)", ', "")
    expected = []
    for subject, own in by_subject(events).items():
        dead = [occurred for _, code, occurred in own if code == "MEDS_DEATH"]
        ill = [occurred for _, code, occurred in own if code == "DISEASE"]
        for visit in sorted({known for known, code, _ in own if code == "VISIT"}):
            if any(t <= visit for t in dead):
                continue
            start = visit - 2 * DAY
            inside = [start < t <= visit or (start_inclusive and t == start) for t in ill]
            expected.append((subject, visit, any(inside)))
    assert label(write_store(folder, events), task_file(folder, text)) == expected


def one_visit(subject: int, *later: tuple) -> list[tuple]:
    return [(subject, time(0), "VISIT"), *[(subject, *event) for event in later]]


def ill_and_well(n: int) -> list[tuple]:
    """Half of n subjects fall ill after a day, half are seen well after four."""
    ill = [e for s in range(1, n, 2) for e in one_visit(s, (time(2), "DISEASE"))]
    well = [e for s in range(2, n + 1, 2) for e in one_visit(s, (time(8), "LAB"))]
    return ill + well


def test_an_outcome_counts_when_it_occurred_and_not_when_it_was_known(tmp_path):
    known_late = one_visit(1, (time(10), "DISEASE", time(3)), (time(12), "LAB"))
    occurred_before = one_visit(2, (time(3), "DISEASE", time(-1)), (time(12), "LAB"))
    store = write_store(tmp_path, known_late + occurred_before)
    assert label(store, disease_task(tmp_path)) == [(1, time(0), True)]


def test_a_new_patient_is_judged_by_what_was_known_then_and_needs_no_follow_up(tmp_path):
    no_follow_up = one_visit(1)
    ill_unknown_to_us = one_visit(2, (time(3), "DISEASE", time(-1)))
    known_ill = [(3, time(-2), "DISEASE"), *one_visit(3)]
    store = write_store(tmp_path, no_follow_up + ill_unknown_to_us + known_ill)
    times = prediction_times(store, disease_task(tmp_path))
    assert times["subject_id"].tolist() == [1, 2]
    assert times["prediction_time"].tolist() == [time(0)] * 2
    only = prediction_times(store, disease_task(tmp_path), [2, 3])
    assert only["subject_id"].tolist() == [2]


def test_a_prediction_time_needs_no_event_at_it_or_after(tmp_path):
    store = write_store(tmp_path, [(1, time(0), "IN")])
    times = prediction_times(store, task_file(tmp_path, STAY))
    assert times["prediction_time"].tolist() == [time(2)]


def test_prediction_times_do_not_change_when_the_future_is_cut_off(tmp_path):
    events = ill_and_well(6)
    task = disease_task(tmp_path)
    whole = prediction_times(write_store(tmp_path / "whole", events), task)
    cut = [event for event in events if event[1] <= time(0)]
    assert prediction_times(write_store(tmp_path / "cut", cut), task).equals(whole)


@pytest.mark.parametrize(("rows", "kept"), [("first", 0), ("last", 5), ("all", None)])
def test_one_row_a_subject_is_chosen_without_looking_at_labels(tmp_path, rows, kept):
    visits = [(1, time(0), "VISIT"), (1, time(5), "VISIT"), (1, time(20), "LAB")]
    found = label(write_store(tmp_path, visits), disease_task(tmp_path, rows=rows))
    assert found == [(1, time(t), False) for t in ((0, 5) if kept is None else (kept,))]


def test_the_last_row_stays_the_last_when_its_label_is_unknown(tmp_path):
    visits = [(1, time(0), "VISIT"), (1, time(20), "VISIT")]
    assert label(write_store(tmp_path, visits), disease_task(tmp_path, rows="last")) == []


def test_how_the_store_is_cut_into_shards_changes_nothing(tmp_path):
    events = ill_and_well(9)
    task = disease_task(tmp_path)
    one = build_cohort(write_store(tmp_path / "a", events), [task], tmp_path / "one")
    many = build_cohort(write_store(tmp_path / "b", events, shards=3), [task], tmp_path / "many")
    assert one == many
    assert read_cohort(tmp_path / "one").index.equals(read_cohort(tmp_path / "many").index)


def test_a_cohort_can_be_read_and_its_flow_adds_up(tmp_path):
    lost = one_visit(50)
    prevalent = [(51, time(-1), "DISEASE"), *one_visit(51)]
    store = write_store(tmp_path, [*ill_and_well(40), *lost, *prevalent, (52, time(0), "LAB")])
    flow = build_cohort(store, [disease_task(tmp_path)], tmp_path / "cohort")
    steps = flow["tasks"]["task"]
    assert [(step["rows"], step["subjects"]) for step in steps] == [(42, 42), (41, 41), (40, 40)]
    assert steps[-1]["positives"] == 20
    assert sum(split["rows"] for split in flow["splits"]["task"].values()) == 40
    assert flow == json.loads((tmp_path / "cohort" / "flow.json").read_text())
    cohort = read_cohort(tmp_path / "cohort")
    assert cohort.tasks == ("task",)
    assert cohort.labels.sum() == 20
    assert len(cohort.index) == 40
    assert (tmp_path / "cohort" / "tasks" / "task.yaml").read_text().startswith("\nmetadata")
    text = describe_flow(flow)
    assert "positives: 20 of 40 (50.0%)" in text
    assert "trigger: visit" in text


def test_few_positives_bring_a_warning_that_says_what_cannot_be_concluded(tmp_path):
    flow = build_cohort(
        write_store(tmp_path, ill_and_well(30)), [disease_task(tmp_path)], tmp_path / "c"
    )
    assert "only 15 positives and 15 negatives" in flow["warnings"]["task"][0]
    assert "do not tell one model from another" in describe_flow(flow)
    many = write_store(tmp_path / "many", ill_and_well(400))
    assert build_cohort(many, [disease_task(tmp_path)], tmp_path / "d")["warnings"]["task"] == []


def test_much_missing_follow_up_brings_a_warning_about_the_base_rate(tmp_path):
    lost = [event for subject in range(500, 620) for event in one_visit(subject)]
    store = write_store(tmp_path, [*ill_and_well(200), *lost])
    flow = build_cohort(store, [disease_task(tmp_path)], tmp_path / "c")
    (warning,) = flow["warnings"]["task"]
    assert "120 of 320 rows have no known label" in warning
    assert "0.500" in warning
    assert "0.312" in warning


def test_a_split_of_one_class_brings_a_warning(tmp_path):
    store = write_store(tmp_path, ill_and_well(60))
    sides = ["train"] * 40 + ["tuning"] * 10 + ["calibration"] * 9 + ["held_out"]
    table = pd.DataFrame({"subject_id": np.arange(1, 61), "split": sides})
    flow = build_cohort(store, [disease_task(tmp_path)], tmp_path / "c", splits=table)
    (warning,) = flow["warnings"]["task"]
    assert warning.startswith("one class only (positives/rows) in held_out 0/1:")


def test_splits_come_from_the_store_or_a_seed_or_a_table(tmp_path):
    store, task = write_store(tmp_path, ill_and_well(40)), disease_task(tmp_path)
    kept = read_of(build_cohort, store, task, tmp_path / "a")
    assert kept.equals(read_of(build_cohort, store, task, tmp_path / "b", splits="seed", seed=0))
    other = read_of(build_cohort, store, task, tmp_path / "c", splits="seed", seed=1)
    assert not kept.equals(other)
    table = pd.DataFrame({"subject_id": np.arange(1, 41), "split": "train"})
    assert set(read_of(build_cohort, store, task, tmp_path / "d", splits=table)) == {"train"}
    with pytest.raises(CohortError, match="name each subject once; they name 39 of 40"):
        build_cohort(store, [task], tmp_path / "e", splits=table.iloc[1:])
    with pytest.raises(ValueError, match="splits must be 'store', 'seed' or a table; got 'site'"):
        build_cohort(store, [task], tmp_path / "e", splits="site")


def read_of(build, store, task, out, **options) -> pd.Series:
    build(store, [task], out, **options)
    return read_cohort(out).index["split"]


def test_two_tasks_share_a_cohort_and_gaps_are_missing_labels(tmp_path):
    store = write_store(tmp_path, [*ill_and_well(4), *one_visit(7, (time(4), "LAB"))])
    two_days = DISEASE.replace("3d", "2d").format(rows="all", end_inclusive=True)
    short = task_file(tmp_path, two_days, "short")
    build_cohort(store, [disease_task(tmp_path), short], tmp_path / "cohort")
    cohort = read_cohort(tmp_path / "cohort")
    assert cohort.tasks == ("short", "task")
    assert np.array_equal(cohort.labels[-1], [0, np.nan], equal_nan=True)


def test_a_task_can_ask_for_sex_and_for_a_value(tmp_path):
    high = "{code: DISEASE, value_min: 10, value_min_inclusive: True}"
    women = GOOD.replace("{code: DISEASE}", high) + (
        "patient_demographics: {female: {code: GENDER//F}}\n"
    )
    value = {1: 10.0, 2: 9.5, 3: 12.0}
    events = [
        event
        for subject, sex in ((1, "F"), (2, "F"), (3, "M"))
        for event in [
            (subject, None, f"GENDER//{sex}"),
            *one_visit(subject, (time(2), "DISEASE", time(2), value[subject]), (time(9), "LAB")),
        ]
    ]
    store = write_store(tmp_path, events)
    task = task_file(tmp_path, women)
    assert label(store, task) == [(1, time(0), True), (2, time(0), False)]
    assert prediction_times(store, task)["subject_id"].tolist() == [1, 2]


def test_a_task_that_fits_nobody_is_refused_with_the_counts(tmp_path):
    store = write_store(tmp_path, [(1, time(0), "LAB")])
    with pytest.raises(CohortError, match="fits nobody; rows left after each step: trigger: vis"):
        build_cohort(store, [disease_task(tmp_path)], tmp_path / "cohort")
    assert not (tmp_path / "cohort").exists()


def test_a_task_with_one_class_is_refused_and_the_old_cohort_stays(tmp_path):
    task = disease_task(tmp_path)
    build_cohort(write_store(tmp_path, ill_and_well(8)), [task], tmp_path / "cohort")
    before = (tmp_path / "cohort" / "flow.json").read_bytes()
    well = write_store(tmp_path / "well", one_visit(1, (time(8), "LAB")))
    with pytest.raises(CohortError, match="one class only: 0 positives and 1 negatives among 1 r"):
        build_cohort(well, [task], tmp_path / "cohort")
    assert (tmp_path / "cohort" / "flow.json").read_bytes() == before
    assert [path.name for path in tmp_path.glob(".cohort*")] == []


def test_a_new_cohort_replaces_an_old_one_as_a_whole(tmp_path):
    store, task = write_store(tmp_path, ill_and_well(8)), disease_task(tmp_path)
    other = task_file(tmp_path, task.read_text(), "other")
    build_cohort(store, [task, other], tmp_path / "cohort")
    build_cohort(store, [task], tmp_path / "cohort")
    assert read_cohort(tmp_path / "cohort").tasks == ("task",)


def test_a_directory_that_is_no_cohort_is_not_overwritten(tmp_path):
    store = write_store(tmp_path, ill_and_well(8))
    with pytest.raises(UsageError, match="is there and is no cohort"):
        build_cohort(store, [disease_task(tmp_path)], store)
    assert (store / "data" / "0.parquet").is_file()


def test_a_place_without_a_store_or_without_splits_is_refused(tmp_path):
    with pytest.raises(StoreError, match="no record store"):
        build_cohort(tmp_path, [disease_task(tmp_path)], tmp_path / "cohort")
    store = write_store(tmp_path, ill_and_well(8))
    (store / "metadata" / "subject_splits.parquet").unlink()
    with pytest.raises(StoreError, match="split anew with --seed, or run ingest again"):
        build_cohort(store, [disease_task(tmp_path)], tmp_path / "cohort")


def test_tasks_of_one_name_are_refused(tmp_path):
    task = disease_task(tmp_path)
    with pytest.raises(UsageError, match="give each task once, at least one; got task, task"):
        build_cohort(tmp_path, [task, task], tmp_path / "cohort")


GOOD = DISEASE.format(rows="all", end_inclusive=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("start_inclusive: False", "start_inclusive: True", "begins at the prediction time"),
        ("start: history.end, end: start + 3d", "start: end - 3d, end: trigger", "begins before"),
        ("end: start + 3d", "end: null", "has no end, so no negative could be told from"),
        (", index_timestamp: end", "", "no window has `index_timestamp`"),
        ("     label: disease", "    ", "no window has `label`"),
        ("rows: all", "rows: newest", "metadata.rows: Input should be 'all', 'first' or 'last'"),
        ("rows: all", "row: first", "metadata.row: Extra inputs are not permitted"),
        ("rows: all", "horizon_days: 5", "horizon_days is 5, but the label's window is 3 days"),
        ("rows: all", "exclude_codes: ['(']", "is no regular expression"),
        ("rows: all", "steps: {past: gone}", "names past; it may name trigger and history, target"),
        ("trigger: visit", "trigger: admission", "is not an ACES task: KeyError"),
        ("predicates:", "predicates: [", "is not an ACES task"),
    ],
)
def test_a_task_that_cannot_be_right_is_refused(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(CohortError, match=message.replace("(", r"\(")):
        read_task(task_file(tmp_path, GOOD.replace(old, new)))


def test_a_prediction_time_inside_the_labels_window_is_refused(tmp_path):
    moved = GOOD.replace(", index_timestamp: end", "").replace(
        "label: disease", "label: disease, index_timestamp: start"
    )
    with pytest.raises(CohortError, match="`target` carries index_timestamp but reaches beyond"):
        read_task(task_file(tmp_path, moved))


def test_a_missing_task_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such task file"):
        read_task(tmp_path / "none.yaml")


def test_the_horizon_follows_from_the_window(tmp_path):
    assert read_task(disease_task(tmp_path)).settings.horizon_days == 3
    assert read_task(task_file(tmp_path, STAY)).settings.horizon_days is None


def test_a_window_that_looks_ahead_is_said_and_left_out_for_new_patients(tmp_path):
    seen_again = GOOD + (
        "  seen_again: {start: trigger, end: start + 4d, start_inclusive: False,\n"
        '    end_inclusive: True, has: {_ANY_EVENT: "(1, None)"}}\n'
    )
    task = task_file(tmp_path, seen_again)
    store = write_store(tmp_path, [*ill_and_well(60), *one_visit(99)])
    flow = build_cohort(store, [task], tmp_path / "cohort")
    assert flow["tasks"]["task"][2]["rows"] == 60
    assert any("seen_again reaches beyond" in said for said in flow["warnings"]["task"])
    assert len(prediction_times(store, task)) == 61
