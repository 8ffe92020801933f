"""Outcomes dated by month or year: labels against all that may have happened, tried one by one."""

from datetime import datetime, timedelta
from itertools import product
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest.cohort import label_subjects, prediction_times
from ingest.errors import StoreError
from ingest.task import read_task
from tests.ingest.shards import label, write_store
from tests.ingest.test_cohort import DAY, DISEASE, STAY, by_subject, disease_task, task_file, time

PRESENT = """
metadata: {concurrent: true, never_ends: negative}
predicates:
  film: {code: FILM}
  move_in: {code: IN}
  move_out: {code: OUT}
  move: {expr: "or(move_in, move_out)"}
trigger: film
windows:
  past:
    {start: null, end: trigger, start_inclusive: True, end_inclusive: True, index_timestamp: end}
  status:
    {start: end <- move, end: past.end, start_inclusive: True, end_inclusive: True, label: move_in}
"""

CHECKS = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)

# In half days: a moment, a day, and what is coarse.
exact, wide = st.just(0), st.sampled_from([0, 0, 2, 3, 5])


def timelines(**widths: st.SearchStrategy[int]):
    """Draw a few subjects' events; each code's occur within a period that may be wide."""
    event = st.sampled_from(sorted(widths)).flatmap(
        lambda code: st.tuples(
            st.just(code), st.integers(0, 12), st.integers(0, 4), widths[code], wide
        )
    )
    subjects = st.lists(st.lists(event, max_size=6), min_size=1, max_size=5)
    return subjects.map(
        lambda drawn: [
            (
                *(subject, time(when + late), code, time(when), None),
                *(time(when + late - vague), time(when - width)),
            )
            for subject, events in enumerate(drawn, start=1)
            for code, when, late, width, vague in events
        ]
    )


def grid(code: str, last: int, first: int) -> tuple:
    """Give an event of subject 1 whose period is stated in half days."""
    return (1, time(last), code, time(last), None, time(last), time(first))


def moments_of(event: tuple) -> list[datetime]:
    """List the moments at which an event may have occurred; within a day it is where it stands."""
    _, _, occurred, _, _, since = event
    halves = round((occurred - since) / (DAY / 2))
    return [occurred - n * DAY / 2 for n in range(halves + 1 if halves > 2 else 1)]


def verdict(events: list[tuple], judge) -> tuple[set, bool]:
    """Judge each way in which the events may have occurred; give the verdicts, and if many ways."""
    ways = list(product(*(moments_of(event) for event in events)))
    coded = [
        [(event[1], moment) for event, moment in zip(events, way, strict=True)] for way in ways
    ]
    return {judge(way) for way in coded}, len(ways) > 1


def ill_in_window(events: list[tuple], end_inclusive: bool) -> list[tuple]:
    rows = []
    for subject, own in by_subject(events).items():
        outcomes = [event for event in own if event[1] in ("DISEASE", "MEDS_DEATH")]
        last = max(max(known_from, since) for *_, known_from, since in own)
        for visit in sorted({known for known, code, *_ in own if code == "VISIT"}):
            if any(occurred <= visit for _, _, occurred, *_ in outcomes):
                continue
            end = visit + 3 * DAY

            def inside(way, wanted, visit=visit, end=end, closed=end_inclusive) -> bool:
                return any(
                    code == wanted and (visit < t <= end if closed else visit < t < end)
                    for code, t in way
                )

            ill, _ = verdict(outcomes, lambda way: inside(way, "DISEASE"))
            dead, _ = verdict(outcomes, lambda way: inside(way, "MEDS_DEATH"))
            if ill == {True}:
                rows.append((subject, visit, True))
            elif ill == {False} and (dead == {True} or last >= end):
                rows.append((subject, visit, False))
    return rows


@CHECKS
@given(timelines(VISIT=exact, DISEASE=wide, MEDS_DEATH=wide, LAB=wide), st.booleans())
@example([grid("VISIT", 0, 0), grid("DISEASE", 10, 6), grid("LAB", 12, 12)], False)
def test_a_label_is_known_if_all_that_may_have_happened_agrees(
    tmp_path_factory, events, end_inclusive
):
    if not events:
        return
    folder = tmp_path_factory.mktemp("disease")
    found = label(write_store(folder, events), disease_task(folder, end_inclusive=end_inclusive))
    assert found == ill_in_window(events, end_inclusive)


def stays(events: list[tuple]) -> dict[tuple, tuple[set, bool]]:
    """Give all verdicts on each row: true is death first, false discharge, None neither."""

    def first(way, after) -> bool | None:
        later = [(t, code != "MEDS_DEATH") for code, t in way if t > after]
        return not min(later)[1] if later else None

    rows = {}
    for subject, own in by_subject(events).items():
        ends = [event for event in own if event[1] in ("OUT", "MEDS_DEATH")]
        for admission in sorted({known for known, code, *_ in own if code == "IN"}):
            when = admission + DAY
            if not any(admission < occurred <= when for _, _, occurred, *_ in ends):
                rows[subject, when] = verdict(ends, lambda way, when=when: first(way, when))
    return rows


@CHECKS
@given(timelines(IN=exact, OUT=exact, MEDS_DEATH=wide, LAB=wide))
@example([grid("IN", 0, 0), grid("MEDS_DEATH", 4, 1), grid("MEDS_DEATH", 9, 5)])
def test_a_death_of_a_coarse_date_counts_in_a_stay_if_it_surely_came_first(
    tmp_path_factory, events
):
    if not events:
        return
    folder = tmp_path_factory.mktemp("stay")
    found = label(write_store(folder, events), task_file(folder, STAY))
    expected = [
        (*row, next(iter(said)))
        for row, (said, _) in stays(events).items()
        if len(said) == 1 and said != {None}
    ]
    assert found == expected


@CHECKS
@given(timelines(IN=exact, OUT=wide, MEDS_DEATH=wide, LAB=wide))
def test_no_label_of_a_window_that_an_event_ends_says_more_than_is_known(tmp_path_factory, events):
    if not events:
        return
    folder = tmp_path_factory.mktemp("stay")
    found = label(write_store(folder, events), task_file(folder, STAY))
    rows = stays(events)
    assert all(rows[subject, when][0] == {value} for subject, when, value in found)
    told = {row[:2] for row in found}
    exactly = {row for row, (said, many) in rows.items() if not many and said != {None}}
    assert exactly <= told


def presences(events: list[tuple]) -> dict[tuple, tuple[set, bool]]:
    """Give all verdicts on each row: was the last move, until now, one into the ward?"""

    def there(way, film) -> bool:
        before = [(t, code == "IN") for code, t in way if t <= film]
        return bool(before) and max(before)[1]

    rows = {}
    for subject, own in by_subject(events).items():
        moves = [event for event in own if event[1] in ("IN", "OUT")]
        for film in sorted({known for known, code, *_ in own if code == "FILM"}):
            rows[subject, film] = verdict(moves, lambda way, film=film: there(way, film))
    return rows


@CHECKS
@given(timelines(FILM=exact, IN=wide, OUT=exact))
def test_a_move_of_a_coarse_date_counts_for_the_present_if_it_was_surely_the_last(
    tmp_path_factory, events
):
    if not events:
        return
    folder = tmp_path_factory.mktemp("present")
    found = label(write_store(folder, events), task_file(folder, PRESENT))
    rows = presences(events).items()
    assert found == [(*row, next(iter(said))) for row, (said, _) in rows if len(said) == 1]


@CHECKS
@given(timelines(FILM=exact, IN=wide, OUT=wide))
def test_no_label_of_the_present_says_more_than_is_known(tmp_path_factory, events):
    if not events:
        return
    folder = tmp_path_factory.mktemp("present")
    found = label(write_store(folder, events), task_file(folder, PRESENT))
    rows = presences(events)
    assert all(rows[subject, film][0] == {value} for subject, film, value in found)
    told = {row[:2] for row in found}
    assert {row for row, (_, many) in rows.items() if not many} <= told


def period(subject: int, first: str, last: str, code: str) -> tuple:
    """Give an event that is known and occurred at some time in a period."""
    return (subject, last, code, last, None, first, first)


@pytest.mark.parametrize(
    ("first", "last", "value"),
    [
        ("2020-01-01", "2020-12-31", None),  # before the visit or after it
        ("2020-07-01", "2020-09-30", True),
        ("2021-01-01", "2021-12-31", None),  # before the window's end or after it
        ("2021-07-01", "2021-07-31", False),
    ],
)
def test_what_a_coarse_outcome_says_depends_on_where_its_period_lies(tmp_path, first, last, value):
    text = DISEASE.format(rows="all", end_inclusive=True).replace("3d", "365d")
    visit = (1, "2020-06-01", "VISIT")
    outcome = period(1, first, last, "DISEASE")
    store = write_store(tmp_path, [visit, outcome, (1, "2022-01-01", "LAB")])
    task = task_file(tmp_path, text)
    row = (1, datetime.fromisoformat("2020-06-01"))
    assert label(store, task) == ([] if value is None else [(*row, value)])
    assert len(prediction_times(store, task)) == 1


def test_a_label_made_of_two_events_at_once_is_not_told_by_one_coarse_event(tmp_path):
    both = DISEASE.format(rows="all", end_inclusive=True).replace("3d", "365d")
    both = both.replace("label: disease", "label: both").replace(
        "  death:", '  severe: {code: SEVERE}\n  both: {expr: "and(disease, severe)"}\n  death:'
    )
    task = task_file(tmp_path, both)
    visit, later = (1, "2020-06-01", "VISIT"), (1, "2022-01-01", "LAB")
    coarse = [period(1, "2020-07-01", "2020-07-31", code) for code in ("DISEASE", "SEVERE")]
    assert label(write_store(tmp_path / "a", [visit, later, *coarse]), task) == []
    sure = [(1, "2020-08-05", code) for code in ("DISEASE", "SEVERE")]
    [row] = label(write_store(tmp_path / "b", [visit, later, *coarse, *sure]), task)
    assert row[2]


def test_a_window_that_begins_at_an_event_of_a_coarse_date_has_no_known_label(tmp_path):
    text = STAY.replace(
        "start: first_day.end, end: start -> over",
        "start: first_day.end -> discharge, end: start + 365d",
    )
    task = task_file(tmp_path, text)
    stay = [(1, "2020-01-01", "IN"), (1, "2020-12-01", "MEDS_DEATH")]
    out = {"a": (1, "2020-03-31", "OUT"), "b": period(1, "2020-03-01", "2020-03-31", "OUT")}
    found = {name: label(write_store(tmp_path / name, [*stay, e]), task) for name, e in out.items()}
    assert found == {"a": [(1, datetime.fromisoformat("2020-01-02"), True)], "b": []}


def test_a_coarse_outcome_does_not_end_a_window_that_something_else_has_to_end(tmp_path):
    task = task_file(tmp_path, STAY.replace("start -> over", "start -> discharge"))
    stay = [(1, "2020-01-01", "IN"), period(1, "2020-03-01", "2020-03-31", "MEDS_DEATH")]
    assert label(write_store(tmp_path / "a", stay), task) == []
    left = [*stay, (1, "2020-04-02", "OUT")]
    [(*_, died)] = label(write_store(tmp_path / "b", left), task)
    assert died


def test_a_coarse_event_that_ends_a_window_without_counting_in_it_makes_no_positive(tmp_path):
    task = task_file(
        tmp_path,
        STAY.replace("end_inclusive: True,\n     label", "end_inclusive: False,\n     label"),
    )
    stay = [(1, "2020-01-01", "IN"), (1, "2020-12-01", "OUT")]
    exact = write_store(tmp_path / "a", [*stay, (1, "2020-03-31", "MEDS_DEATH")])
    assert label(exact, task) == [(1, datetime.fromisoformat("2020-01-02"), False)]
    coarse = period(1, "2020-03-01", "2020-03-31", "MEDS_DEATH")
    assert label(write_store(tmp_path / "b", [*stay, coarse]), task) == []


def test_an_event_of_a_year_is_no_follow_up_to_its_end(tmp_path: Path):
    last_heard_of = period(1, "2020-01-01", "2020-12-31", "LAB")
    store = write_store(tmp_path, [(1, "2020-01-01", "VISIT"), last_heard_of])
    assert label(store, disease_task(tmp_path)) == []
    _, flow = label_subjects(store, read_task(disease_task(tmp_path)))
    assert [step["rows"] for step in flow] == [1, 1, 0]


def test_a_death_of_a_year_completes_the_follow_up_only_where_it_surely_lies_in_the_window(
    tmp_path: Path,
):
    task = task_file(tmp_path, DISEASE.format(rows="all", end_inclusive=True).replace("3d", "365d"))
    visits = [(subject, "2020-06-01", "VISIT") for subject in (1, 2, 3)]
    deaths = [
        period(1, "2021-01-01", "2021-12-31", "MEDS_DEATH"),
        period(2, "2021-01-01", "2021-01-31", "MEDS_DEATH"),
        period(3, "2020-01-01", "2020-12-31", "MEDS_DEATH"),
    ]
    found = label(write_store(tmp_path, visits + deaths), task)
    assert found == [(2, datetime.fromisoformat("2020-06-01"), False)]


def test_a_store_without_beginnings_can_be_predicted_on_and_not_labelled(tmp_path: Path):
    store = write_store(tmp_path, [(1, time(0), "VISIT"), (1, time(9), "LAB")])
    shard = store / "data" / "0.parquet"
    pq.write_table(pq.read_table(shard).drop_columns(["time_from", "occurred_from"]), shard)
    task = disease_task(tmp_path)
    assert len(prediction_times(store, task)) == 1
    with pytest.raises(
        StoreError, match=r"lacks the columns occurred_from, time_from .* run ingest"
    ):
        label(store, task)


def test_a_day_of_25_hours_is_a_day(tmp_path: Path):
    hours = timedelta(hours=25) - timedelta(seconds=1)
    visit = datetime.fromisoformat("2020-10-25 12:00")
    day = visit + timedelta(hours=10, minutes=59, seconds=59)
    ill = (1, day, "DISEASE", day, None, day - hours, day - hours)
    assert label(write_store(tmp_path, [(1, visit, "VISIT"), ill]), disease_task(tmp_path)) == [
        (1, visit, True)
    ]
