"""A table of labels becomes a cohort: whose a row is, when it asks, what is left out and why."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusion.train import excluded_codes
from ingest.build import ingest
from ingest.cohort import prediction_times
from ingest.errors import CohortError, InputError, StoreError, UsageError
from ingest.flow import describe_flow
from ingest.label_table import Columns, task_names
from ingest.labels import read_cohort
from ingest.table_cohort import build_table_cohort, describe_table
from ingest.table_task import TableTask, open_task
from tests.ingest.exports import PATIENT, ingested, observation, write_ndjson
from tests.ingest.ward import Ward, labels_of, make_ward, moment, rows_of, write_csv


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Ward:
    return make_ward(tmp_path_factory.mktemp("ward"))


def test_a_subject_is_named_by_the_stores_id_or_as_the_source_had_it(
    ward: Ward, tmp_path: Path
) -> None:
    rows = [("who", "label"), (str(ward.ids["ann"]), "1"), ("bob", "0"), ("w/cyd", "1")]
    flow = ward.cohort(tmp_path, [*rows, ("eve", "1"), ("", "0")], subject="who")
    assert labels_of(ward, tmp_path) == {"ann": 1, "bob": 0, "cyd": 1}
    assert flow["table"]["left_out"] == {
        "row that names no subject": 1,
        "subject that the store does not have": 1,
    }
    assert [(s["rows"], s["subjects"]) for s in flow["tasks"]["label"]][:2] == [(5, 4), (3, 3)]


def test_a_patient_of_fhir_is_named_by_its_id_or_by_its_hospital_number(tmp_path: Path) -> None:
    known = [{**PATIENT, "identifier": [{"value": "MRN-7"}]}, observation("a", {"valueInteger": 1})]
    other = {**observation("b", {"valueInteger": 1}), "subject": {"reference": "Patient/q"}}
    ingested(tmp_path, write_ndjson(tmp_path / "a.ndjson", *known, {**PATIENT, "id": "q"}, other))
    for name in ("p", "Patient/p", "MRN-7"):
        table = write_csv(tmp_path / "t.csv", [("subject_id", "label"), (name, "1"), ("q", "0")])
        flow = build_table_cohort(tmp_path / "store", table, tmp_path / "cohort")
        assert flow["table"]["left_out"] == {}
        assert sorted(labels for *_, labels in rows_of(tmp_path)) == [[0], [1]]


def test_a_name_that_two_patients_have_is_nobodys(tmp_path: Path) -> None:
    twin = [{**PATIENT, "id": name, "identifier": [{"value": "7"}]} for name in ("p", "q", "r")]
    seen = [
        {
            **observation("a", {"valueInteger": 1}),
            "id": name,
            "subject": {"reference": f"Patient/{name}"},
        }
        for name in ("p", "q", "r")
    ]
    ingested(tmp_path, write_ndjson(tmp_path / "a.ndjson", *twin, *seen))
    rows = [("subject_id", "label"), ("7", "1"), ("p", "1"), ("q", "0")]
    table = write_csv(tmp_path / "t.csv", rows)
    flow = build_table_cohort(tmp_path / "store", table, tmp_path / "cohort")
    assert flow["table"]["left_out"] == {"subject that more than one patient is called": 1}


def test_each_label_column_is_a_task_and_what_is_empty_is_a_gap(ward: Ward, tmp_path: Path) -> None:
    rows = [
        ("who", "Pleural Effusion", "ill"),
        ("ann", "Yes", "1"),
        ("bob", "no", ""),
        ("cyd", "", "false"),
        ("dan", "-1", "1.0"),
    ]
    flow = ward.cohort(tmp_path, rows, subject="who", labels=("Pleural Effusion", "ill"))
    cohort = read_cohort(tmp_path / "cohort")
    assert cohort.tasks == ("Pleural_Effusion", "ill")
    found = {subject: labels for subject, _, labels in rows_of(tmp_path)}
    np.testing.assert_equal(found[ward.ids["ann"]], [1, 1])
    np.testing.assert_equal(found[ward.ids["bob"]], [0, np.nan])
    np.testing.assert_equal(found[ward.ids["cyd"]], [np.nan, 0])
    np.testing.assert_equal(found[ward.ids["dan"]], [np.nan, 1])
    assert "1 labels in Pleural Effusion are none of 0, 1, true" in describe_table(flow)
    assert "2 of 4 rows have no known label in the table" in describe_flow(flow)
    task = open_task(tmp_path / "cohort" / "tasks" / "Pleural_Effusion.yaml")
    assert isinstance(task, TableTask)
    assert task.settings.title == task.source.label == "Pleural Effusion"
    assert task.source.sha256 == flow["table"]["sha256"]


def test_two_columns_of_one_task_name_are_refused() -> None:
    with pytest.raises(UsageError, match="gives no task name of its own"):
        task_names(["a b", "a/b"])
    with pytest.raises(UsageError, match=r"'\?!' gives no task name"):
        task_names(["?!"])


def test_a_date_is_its_days_end_and_a_time_that_cannot_be_used_is_counted(
    ward: Ward, tmp_path: Path
) -> None:
    rows = [
        ("who", "when", "label"),
        ("ann", "2024-01-01", "1"),  # known at this day's end
        ("ann", "2024-01-01T12:00:00", "0"),  # and not at noon
        ("bob", "2024-01-10T09:00:00+01:00", "0"),  # the very moment at which he is first heard of
        ("bob", "soon", "1"),
        ("cyd", "", "1"),
    ]
    flow = ward.cohort(tmp_path, rows, subject="who", time="when")
    assert rows_of(tmp_path) == sorted(
        [
            (ward.ids["ann"], moment("2024-01-01T23:59:59.999999"), [1]),
            (ward.ids["bob"], moment("2024-01-10T08:00:00"), [0]),
        ]
    )
    assert flow["table"]["left_out"] == {
        "row without a time": 1,
        "time before anything was known of the subject": 1,
        "time that is not ISO 8601": 1,
    }
    rows = [rows[0], ("ann", "2024-01-02T12:00:00", "0"), ("ann", "2024-01-02", "1")]
    ward.cohort(tmp_path, rows, subject="who", time="when", timezone="America/New_York")
    early, late = (time for _, time, _ in rows_of(tmp_path))
    assert (early, late) == (moment("2024-01-02T17:00:00"), moment("2024-01-03T04:59:59.999999"))
    with pytest.raises(UsageError, match="unknown time zone 'Mars'"):
        ward.cohort(tmp_path, rows, subject="who", time="when", timezone="Mars")


def test_labels_as_meds_writes_them_are_taken_as_they_are(ward: Ward, tmp_path: Path) -> None:
    made = pd.DataFrame(
        {
            "subject_id": [ward.ids["ann"], ward.ids["bob"]],
            "prediction_time": pd.to_datetime(["2024-01-15", "2024-01-20"]),
            "boolean_value": [True, False],
        }
    )
    made.to_parquet(tmp_path / "ill.parquet")
    build_table_cohort(ward.store, tmp_path / "ill.parquet", tmp_path / "cohort")
    found = {subject: (time, labels) for subject, time, labels in rows_of(tmp_path)}
    assert found[ward.ids["ann"]] == (moment("2024-01-15"), [1])  # midnight, and no day's end


def test_without_times_the_last_event_that_a_model_may_see_counts_and_it_is_told(
    ward: Ward, tmp_path: Path
) -> None:
    rows = [("who", "label"), ("ann", "0"), ("bob", "1")]
    flow = ward.cohort(tmp_path, rows, subject="who")
    times = {subject: time for subject, time, _ in rows_of(tmp_path)}
    assert times[ward.ids["bob"]] == moment("2024-03-10T08:00:00")  # the outcome itself
    assert "the last event on record" in describe_flow(flow)
    assert "with --exclude-codes" in describe_table(flow)
    flow = ward.cohort(tmp_path, rows, subject="who", exclude_codes=["^OUTCOME//", "^GOUT"])
    times = {subject: time for subject, time, _ in rows_of(tmp_path)}
    assert times[ward.ids["bob"]] == moment("2024-01-10T08:00:00")
    assert excluded_codes(tmp_path / "cohort") == ["^GOUT", "^OUTCOME//"]
    assert "No code of the store fits --exclude-codes '^GOUT'." in describe_table(flow)
    assert "1 of 5 codes are left out" in describe_table(flow)


def test_a_film_is_named_by_its_file_and_asks_at_its_own_time(ward: Ward, tmp_path: Path) -> None:
    rows = [
        ("film", "label"),
        ("films/ann/1.png", "1"),
        ("ann/2", "0"),
        ("set-1/films/bob/1.png", "1"),
        ("1.png", "0"),
        ("eve.png", "1"),
        ("cyd.png", "0"),
        ("", "0"),
    ]
    flow = ward.cohort(tmp_path, rows, image="film")
    assert rows_of(tmp_path) == sorted(
        [
            (ward.ids["ann"], moment("2024-01-01T23:59:59.999999"), [1]),
            (ward.ids["ann"], moment("2024-02-01T08:00:00"), [0]),
            (ward.ids["bob"], moment("2024-01-10T08:00:00"), [1]),
        ]
    )
    assert flow["table"]["left_out"] == {
        "image file of whose name there are several": 1,
        "image file that had not landed": 1,
        "image whose bytes came as several films; name the subject, too": 1,
        "row that names no image": 1,
    }


def test_beside_a_film_the_subject_and_the_time_are_held_against_it(
    ward: Ward, tmp_path: Path
) -> None:
    rows = [
        ("film", "who", "when", "label"),
        ("cyd.png", "cyd", "2024-01-05T09:00:00Z", "1"),
        ("dan.png", "dan", "2024-01-07", "0"),
        ("ann/2.png", "bob", "2024-03-01", "0"),
        ("ann/2.png", "ann", "2024-01-15", "0"),
    ]
    flow = ward.cohort(tmp_path, rows, image="film", subject="who", time="when")
    assert labels_of(ward, tmp_path) == {"cyd": 1, "dan": 0}
    assert flow["table"]["left_out"] == {
        "image file of another subject": 1,
        "time at which the film was not there yet": 1,
    }


def test_films_can_not_be_named_where_the_raw_zone_is_away(ward: Ward, tmp_path: Path) -> None:
    rows = [("film", "label"), ("cyd.png", "1")]
    with pytest.raises(StoreError, match="give the store's raw zone with --raw"):
        ward.cohort(tmp_path, rows, image="film", raw=tmp_path / "nowhere")
    rows = [("subject_id", "label"), (str(ward.ids["ann"]), "1"), (str(ward.ids["bob"]), "0")]
    ward.cohort(tmp_path, rows, raw=tmp_path / "nowhere")
    assert labels_of(ward, tmp_path) == {"ann": 1, "bob": 0}


def test_rows_that_repeat_a_label_are_one_and_are_counted(ward: Ward, tmp_path: Path) -> None:
    rows = [("who", "label"), ("ann", "1"), ("ann", "1"), ("ann", ""), ("bob", "0")]
    flow = ward.cohort(tmp_path, rows, subject="who")
    assert labels_of(ward, tmp_path) == {"ann": 1, "bob": 0}
    assert flow["table"]["repeats"] == 2
    assert "2 rows repeat a subject and time" in describe_table(flow)


def test_labels_that_contradict_each_other_are_refused_with_their_rows(
    ward: Ward, tmp_path: Path
) -> None:
    rows = [("who", "label"), ("bob", "0"), ("ann", "1"), ("dan", "1"), ("ann", "0")]
    with pytest.raises(CohortError, match=r"labels 1 subjects .* in label \(first in rows 2, 4\)"):
        ward.cohort(tmp_path, rows, subject="who")
    assert not (tmp_path / "cohort").exists()


def test_every_row_of_the_table_is_accounted_for(ward: Ward, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    names = ["ann", "bob", "cyd", "dan", "eve", "", str(ward.ids["dan"])]
    times = ["2024-01-02", "2024-06-01T08:00:00Z", "1990-01-01", "never", ""]
    rows = [("who", "when", "label"), ("ann", "2024-01-02", "1"), ("bob", "2024-06-01", "0")]
    truth = {"ann": "1", "bob": "0", "cyd": "1", "dan": "0"}
    for _ in range(80):
        name = str(rng.choice(names))
        rows.append((name, str(rng.choice(times)), truth.get(name, "0")))
    table = write_csv(tmp_path / "labels.csv", rows)
    table.write_text(table.read_text("utf-8") + "one,field,too,many\n", "utf-8")
    columns = Columns(subject="who", time="when")
    flow = build_table_cohort(ward.store, table, tmp_path / "cohort", columns=columns)
    told = flow["table"]
    kept = len(read_cohort(tmp_path / "cohort").index)
    assert told["rows"] == 83 == kept + told["repeats"] + sum(told["left_out"].values())
    steps = flow["tasks"]["label"]
    assert [s["rows"] for s in steps] == sorted((s["rows"] for s in steps), reverse=True)
    said = json.dumps(flow) + describe_table(flow) + describe_flow(flow)
    assert not re.search(r"\b(ann|bob|cyd|dan|eve)\b", said)  # nobody's name is told


def test_one_row_a_subject_is_chosen_without_looking_at_labels(ward: Ward, tmp_path: Path) -> None:
    rows = [("film", "label"), ("ann/1", ""), ("ann/2", "0"), ("bob/1", "1"), ("dan", "0")]
    table = [
        (*row, who) for row, who in zip(rows, ["who", "ann", "ann", "bob", "dan"], strict=True)
    ]
    ward.cohort(tmp_path, table, image="film", subject="who", rows="first")
    assert labels_of(ward, tmp_path) == {"bob": 1, "dan": 0}
    ward.cohort(tmp_path, table, image="film", subject="who", rows="last")
    assert labels_of(ward, tmp_path) == {"ann": 0, "bob": 1, "dan": 0}


def test_when_a_table_task_asks_of_those_whom_the_table_does_not_name(
    ward: Ward, tmp_path: Path
) -> None:
    def asked(rows: list[tuple[str, ...]], **columns: str) -> pd.DataFrame:
        ward.cohort(tmp_path, rows, **columns)
        return prediction_times(ward.store, tmp_path / "cohort" / "tasks" / "label.yaml")

    films = asked([("film", "label"), ("ann/1", "1"), ("bob/1", "0")], image="film")
    assert len(films) == 5  # each film in the store
    last = asked([("who", "label"), ("ann", "1"), ("bob", "0")], subject="who")
    assert sorted(last["subject_id"]) == sorted(ward.ids.values())
    rows = [("who", "when", "label"), ("ann", "2024-01-15", "1"), ("bob", "2024-01-20", "")]
    rows.append(("dan", "2024-01-20", "0"))
    given = asked(rows, subject="who", time="when")
    assert set(given["subject_id"]) == {ward.ids[name] for name in ("ann", "bob", "dan")}
    one = prediction_times(
        ward.store, tmp_path / "cohort" / "tasks" / "label.yaml", [ward.ids["ann"], 1]
    )
    assert one["prediction_time"].tolist() == [pd.Timestamp("2024-01-15T23:59:59.999999")]


def test_what_is_asked_for_and_not_there_is_named(ward: Ward, tmp_path: Path) -> None:
    rows = [("who", "label"), ("ann", "1"), ("bob", "0")]
    with pytest.raises(InputError, match=r"lacks the column 'when'; it has: who, label"):
        ward.cohort(tmp_path, rows, subject="who", time="when")
    with pytest.raises(UsageError, match=r"with --subject or --image"):
        ward.cohort(tmp_path, rows)
    with pytest.raises(UsageError, match=r"with --label: .* has none called label"):
        ward.cohort(tmp_path, [("who", "y"), ("ann", "1")], subject="who")
    with pytest.raises(CohortError, match=r"no row of labels.csv .* does not have: 1"):
        ward.cohort(tmp_path, [("who", "label"), ("eve", "1")], subject="who")
    with pytest.raises(CohortError, match="label has one class only: 2 positives"):
        ward.cohort(tmp_path, [("who", "label"), ("ann", "1"), ("bob", "1")], subject="who")
    with pytest.raises(CohortError, match=r"column label of labels\.csv has no label on any row"):
        ward.cohort(tmp_path, [("who", "label"), ("ann", "pos"), ("bob", "neg")], subject="who")
    with pytest.raises(UsageError, match=r"'\(' is no regular expression"):
        ward.cohort(tmp_path, rows, subject="who", exclude_codes=["("])
    for name, error in (("gone.csv", InputError), ("labels.txt", UsageError)):
        (tmp_path / "labels.txt").write_text("who,label\n", "utf-8")
        with pytest.raises(error, match=name):
            build_table_cohort(ward.store, tmp_path / name, tmp_path / "cohort")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"torn\.parquet is no Parquet"):
        build_table_cohort(ward.store, tmp_path / "torn.parquet", tmp_path / "cohort")


def test_a_source_s_times_do_not_fit_a_store_whose_dates_are_shifted(tmp_path: Path) -> None:
    other = {**observation("b", {"valueInteger": 1}), "subject": {"reference": "Patient/q"}}
    source = write_ndjson(
        tmp_path / "a.ndjson",
        *(PATIENT, observation("a", {"valueInteger": 1}), {**PATIENT, "id": "q"}, other),
    )
    ingest([source], tmp_path / "store", deidentify=True)
    rows = [("who", "when", "label"), ("p", "2020-06-01", "1"), ("q", "2020-06-01", "0")]
    table = write_csv(tmp_path / "t.csv", rows)
    asked = {"columns": Columns(subject="who", time="when")}
    with pytest.raises(UsageError, match="the store's dates are shifted"):
        build_table_cohort(tmp_path / "store", table, tmp_path / "cohort", **asked)
    columns = Columns(subject="who")
    build_table_cohort(tmp_path / "store", table, tmp_path / "cohort", columns=columns)
    assert len(rows_of(tmp_path)) == 2
