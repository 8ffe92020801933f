"""Dates without an hour: both clocks stand at a period's end and say where it begins."""

import calendar
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ingest.projection import SUPPORTED
from ingest.schema import DATASET_COLUMNS, EVENT_SCHEMA
from ingest.store import RecordStore
from ingest.timeline import TIMELINE_COLUMNS
from tests.ingest.exports import ingested, observation, write_ndjson

CODE = {"coding": [{"system": "http://snomed.info/sct", "code": "1"}]}
ABOUT = {"subject": {"reference": "Patient/p"}}
STAY = {**ABOUT, "encounter": {"reference": "Encounter/e"}}
A, B, C = "2020-03-04", "2020-05-06", "2020-07-08"
PERIOD = {"start": A, "end": B}
DRUG = {"medicationCodeableConcept": CODE}
NOTE = {"attachment": {"contentType": "text/plain", "data": "QQ=="}}

RECORDS: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "p", "birthDate": A, "deceasedDateTime": C},
    {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "IMP"},
        "type": [CODE],
        "reasonCode": [CODE],
        "period": PERIOD,
        "location": [{"location": {"display": "Ward"}, "period": PERIOD}],
        **ABOUT,
    },
    *(
        {"resourceType": kind, "code": CODE, **dates, **who}
        for kind, who in (
            ("Condition", STAY),
            ("AllergyIntolerance", {"patient": ABOUT["subject"]}),
        )
        for dates in (
            {"recordedDate": B, "onsetDateTime": A},
            {"recordedDate": C, "onsetPeriod": {"start": B}},
            {"onsetDateTime": C},
            {},
        )
    ),
    *(
        {"resourceType": kind, "status": status, "code": CODE, **more, **dates, **STAY}
        for kind, more in (("Observation", {"valueInteger": 1}), ("DiagnosticReport", {}))
        for status, dates in (
            ("final", {"effectiveDateTime": A}),
            ("final", {"effectivePeriod": PERIOD, "issued": C}),
            ("amended", {"effectiveDateTime": A, "meta": {"lastUpdated": C}}),
            ("amended", {"effectiveDateTime": A}),
            ("final", {}),
        )
    ),
    {**observation("instant", {"valueInteger": 1}), "effectiveDateTime": None, "issued": B},
    observation("timing", {"valueInteger": 1}, effectiveTiming={"event": [B, C, A]})
    | {"effectiveDateTime": None},
    *(
        {"resourceType": "DocumentReference", "status": "current", "content": [NOTE]}
        | dates
        | ABOUT
        for dates in (
            {"date": B, "context": {"period": PERIOD}},
            {"date": A, "docStatus": "amended", "meta": {"lastUpdated": C}},
            {"content": [{"attachment": {**NOTE["attachment"], "creation": A}}]},
            {"content": [{"attachment": {**NOTE["attachment"], "creation": B}}], "date": A}
            | {"docStatus": "amended"},
            {"context": {"period": PERIOD}},
        )
    ),
    {
        "resourceType": "FamilyMemberHistory",
        "status": "completed",
        "patient": ABOUT["subject"],
        "date": A,
        "condition": [{"code": CODE}],
    },
    *(
        {"resourceType": "AdverseEvent", "actuality": "actual", "event": CODE, **dates, **STAY}
        for dates in ({"date": A, "recordedDate": C}, {"date": A, "detected": B}, {})
    ),
    *(
        {"resourceType": "CarePlan", "intent": "plan", "category": [CODE], **more, **STAY}
        for more in (
            {"created": C, "period": PERIOD},
            {"period": {"start": C}},
            {"activity": [{"detail": {"code": CODE}}], "created": A, "meta": {"lastUpdated": C}},
        )
    ),
    *(
        {"resourceType": "ClinicalImpression", "status": "completed", "summary": "well"}
        | dates
        | {"finding": [{"itemCodeableConcept": CODE}], **STAY}
        for dates in ({"date": C, "effectivePeriod": PERIOD}, {"effectiveDateTime": A}, {})
    ),
    *(
        {"resourceType": "Composition", "type": CODE, "text": {"div": "<div>well</div>"}}
        | dates
        | STAY
        for dates in (
            {"status": "final", "date": C, "event": [{"period": PERIOD}]},
            {"status": "amended", "date": A, "meta": {"lastUpdated": C}},
            {"status": "final"},
        )
    ),
    *(
        {"resourceType": "DetectedIssue", "status": "final", "code": CODE, **dates, **ABOUT}
        for dates in ({"identifiedDateTime": A}, {"identifiedPeriod": PERIOD})
    ),
    *(
        {"resourceType": "DeviceUseStatement", "status": status, **dates, **ABOUT}
        | {"device": {"display": "mask"}}
        for status, dates in (
            ("active", {"timingPeriod": PERIOD, "recordedOn": C}),
            ("active", {"timingPeriod": PERIOD}),
            ("completed", {"timingPeriod": PERIOD}),
            ("completed", {"timingTiming": {"event": [B, C, A]}}),
            ("completed", {"timingDateTime": A}),
        )
    ),
    *(
        {"resourceType": "EpisodeOfCare", "status": status, "type": [CODE], "period": PERIOD}
        | {"patient": ABOUT["subject"]}
        for status in ("active", "finished")
    ),
    *(
        {"resourceType": "NutritionOrder", "status": "active", "intent": "order", **dates}
        | {"oralDiet": {"type": [CODE]}, "patient": ABOUT["subject"]}
        | {"encounter": STAY["encounter"]}
        for dates in ({"dateTime": C}, {})
    ),
    {"resourceType": "Flag", "status": "active", "code": CODE, "period": PERIOD, **ABOUT},
    {"resourceType": "Flag", "status": "active", "code": CODE, **STAY},
    {"resourceType": "Goal", "description": CODE, "startDate": A, "statusDate": C, **ABOUT},
    {"resourceType": "Goal", "description": CODE, "statusDate": C, **ABOUT},
    *(
        {"resourceType": "Media", "status": "completed", "modality": CODE, **dates, **STAY}
        for dates in (
            {"createdPeriod": PERIOD, "issued": C},
            {"createdDateTime": A},
            {"content": {"creation": B}},
            {},
        )
    ),
    *(
        {"resourceType": "QuestionnaireResponse", "status": status, **dates, **STAY}
        | {"item": [{"linkId": "1", "answer": [{"valueInteger": 3}]}]}
        for status, dates in (
            ("completed", {"authored": A}),
            ("amended", {"authored": A, "meta": {"lastUpdated": C}}),
            ("completed", {}),
        )
    ),
    {"resourceType": "ServiceRequest", "intent": "order", "code": CODE, "authoredOn": B, **STAY},
    {"resourceType": "ServiceRequest", "intent": "order", "code": CODE, **STAY},
    *(
        {"resourceType": "Specimen", "type": CODE, **dates, **ABOUT}
        for dates in (
            {"collection": {"collectedPeriod": PERIOD}, "receivedTime": C},
            {"collection": {"collectedDateTime": A}},
            {"parent": [{"reference": "Specimen/x"}], "processing": [{"timeDateTime": B}]},
        )
    ),
    {"resourceType": "ImagingStudy", "status": "available", "started": B, **ABOUT},
    {"resourceType": "ImagingStudy", "status": "available", **STAY},
    *(
        {"resourceType": "Immunization", "status": "completed", "vaccineCode": CODE}
        | dates
        | {"patient": ABOUT["subject"], "encounter": STAY["encounter"]}
        for dates in ({"occurrenceDateTime": A}, {"occurrenceDateTime": A, "recorded": C}, {})
    ),
    *(
        {"resourceType": kind, "status": status, **DRUG, **more, **STAY}
        for kind, status, more in (
            ("MedicationAdministration", "completed", {"effectiveDateTime": B}),
            ("MedicationAdministration", "completed", {"effectivePeriod": PERIOD}),
            ("MedicationAdministration", "in-progress", {"effectivePeriod": PERIOD}),
            ("MedicationAdministration", "completed", {"occurenceDateTime": A, "recorded": C}),
            ("MedicationAdministration", "completed", {"occurenceTiming": {"event": [B, A]}}),
            ("MedicationAdministration", "completed", {"recorded": C}),
            ("MedicationAdministration", "completed", {}),
            ("MedicationDispense", "completed", {"whenHandedOver": B, "whenPrepared": A}),
            ("MedicationDispense", "completed", {"whenPrepared": A}),
            ("MedicationDispense", "completed", {"recorded": A}),
            ("MedicationDispense", "completed", {}),
            ("MedicationRequest", "active", {"intent": "order", "authoredOn": C}),
            ("MedicationRequest", "active", {"intent": "order"}),
            ("MedicationStatement", "active", {"dateAsserted": B, "effectiveDateTime": A}),
            ("MedicationStatement", "active", {"effectivePeriod": PERIOD}),
            ("MedicationStatement", "active", {}),
        )
    ),
    *(
        {"resourceType": "Procedure", "status": status, "code": CODE, **dates, **STAY}
        for status, dates in (
            ("completed", {"performedDateTime": C}),
            ("completed", {"performedPeriod": PERIOD}),
            ("in-progress", {"performedPeriod": PERIOD}),
            ("completed", {"occurrencePeriod": PERIOD, "recorded": C}),
            ("completed", {"occurrenceTiming": {"event": [B, A]}, "recorded": A}),
            ("completed", {"recorded": A}),
            ("completed", {}),
        )
    ),
]

EVENTS = 103
"""How many events come of them, the birth apart."""


def dated(digits: int, moment: str = "") -> list[dict[str, Any]]:
    """Cut each date to its first digits; or write it out as the first or last moment of those."""

    def cut(found: re.Match[str]) -> str:
        date = found[0][:digits]
        if moment == "first":
            return f"{date}{'-01-01'[digits - 4 :]}T00:00:00"
        if moment == "last":
            month = f"{date}-12"[:7]
            days = calendar.monthrange(int(month[:4]), int(month[5:]))[1]
            return f"{date if digits == 10 else f'{month}-{days}'}T23:59:59"
        return date

    text = re.sub(r"2020-\d\d-\d\d(?=\")", cut, json.dumps(RECORDS))
    return [
        {"id": "e" if record["resourceType"] == "Encounter" else str(place), **record}
        for place, record in enumerate(json.loads(text))
    ]


def events_of(place: Path, digits: int, moment: str = "") -> pd.DataFrame:
    records = dated(digits, moment)
    # A birth is a date and never an instant.
    records[0]["birthDate"] = A[:digits] if not moment else None
    ingested(place, write_ndjson(place / "in.ndjson", *records), timezone="Europe/Berlin")
    events = RecordStore(place / "store").events().df()
    events["position"] = events["source"].str.partition(":")[2].astype(int)
    events = events[events["code"] != "MEDS_BIRTH"]
    return events.sort_values(["position", "code", "time"]).reset_index(drop=True)


@pytest.mark.parametrize("digits", [4, 7, 10])
def test_a_date_stands_at_the_end_of_its_period_and_says_where_that_begins(
    tmp_path: Path, digits: int
) -> None:
    """Of every type: as if the date had been written as its last, and as its first moment."""
    stated = events_of(tmp_path / "stated", digits)
    assert len(stated) == EVENTS  # an event that is gone would be gone from all three
    first = events_of(tmp_path / "first", digits, "first")
    last = events_of(tmp_path / "last", digits, "last")
    assert (stated["code"] == first["code"]).all()
    for clock in ("time", "occurred"):
        assert (stated[clock] == last[clock]).all(), clock
        begins = stated[f"{clock}_from"].fillna(stated[clock])
        assert (begins == first[clock]).all(), stated[begins != first[clock]]
        assert first[f"{clock}_from"].isna().all()
        assert last[f"{clock}_from"].isna().all()


def test_every_type_that_becomes_an_event_is_among_those_records() -> None:
    tested = {record["resourceType"] for record in RECORDS}
    assert tested == set(SUPPORTED) - {"Binary", "Location", "Medication"}


def test_a_birth_year_begins_in_january(tmp_path: Path) -> None:
    births = [{"resourceType": "Patient", "id": d, "birthDate": d} for d in ("1950", "1960-07-08")]
    ingested(tmp_path, write_ndjson(tmp_path / "in.ndjson", *births))
    events = RecordStore(tmp_path / "store").events().order("time").project("time, time_from")
    assert [[str(at)[:10] for at in row] for row in events.fetchall()] == [
        ["1950-12-31", "1950-01-01"],
        ["1960-07-08", "None"],
    ]


def test_no_moment_is_before_its_own_beginning_and_instants_have_none(tmp_path: Path) -> None:
    """A stay that began at ten and ended on that day ended at ten or later."""
    stay = {
        "resourceType": "Encounter",
        "id": "e",
        "status": "finished",
        "class": {"code": "AMB"},
        "period": {"start": "2020-05-04T10:00:00Z", "end": "2020-05-04"},
        **ABOUT,
    }
    late = {"resourceType": "Condition", "id": "c", "code": CODE, "recordedDate": "2020-02-01"}
    late |= {"onsetDateTime": "2020", **ABOUT}
    ingested(tmp_path, write_ndjson(tmp_path / "in.ndjson", stay, late))
    columns = "code, time, time_from, occurred, occurred_from"
    events = RecordStore(tmp_path / "store").events().order("time").project(columns)
    told = [[str(at)[5:16] for at in row[1:]] for row in events.fetchall()]
    assert told == [
        # The onset lies in the year, and not after it was recorded.
        ["02-01 23:59", "02-01 00:00", "02-01 23:59", "01-01 00:00"],
        ["05-04 10:00", "", "05-04 10:00", ""],
        ["05-04 23:59", "05-04 10:00", "05-04 23:59", "05-04 10:00"],
    ]


def test_the_beginnings_are_declared_and_no_model_is_given_them(tmp_path: Path) -> None:
    ingested(tmp_path, write_ndjson(tmp_path / "in.ndjson", *dated(4)))
    store = RecordStore(tmp_path / "store")
    dataset = json.loads((store.path / "metadata" / "dataset.json").read_text("utf-8"))
    assert dataset["other_extension_columns"] == ["occurred", "time_from", "occurred_from"]
    declared = [name for columns in DATASET_COLUMNS.values() for name in columns]
    assert set(declared) < set(EVENT_SCHEMA.names)
    assert not {"occurred", "time_from", "occurred_from"} & set(TIMELINE_COLUMNS)
    index = pd.DataFrame(
        {"subject_id": store.subjects(), "prediction_time": pd.Timestamp("2021-01-01")}
    )
    given = store.timelines(index).events
    assert set(given.columns) == set(TIMELINE_COLUMNS)
    assert not given.empty


MAPPING = """
file: rows.csv
subject: who
time: {column: when}
age_years: age
measurements:
  - {column: pulse, code: PULSE}
  - {column: late, code: LATE, offset: days}
outcomes:
  - {code: SAME, offset: days}
  - {code: DAY_START, offset: days, at: day_start}
  - {code: DAY_END, offset: days, at: day_end}
  - {code: YEAR, when: {bad: [1]}, days_after_first: 365}
"""


@pytest.mark.parametrize("when", ["2020-05-04", "2020-05-04T10:00:00"])
def test_what_a_csv_dates_without_an_hour_lies_within_that_day(tmp_path: Path, when: str) -> None:
    (tmp_path / "in").mkdir()
    table = f"who,when,age,pulse,late,days,bad\n1,{when},50,70,80,2,1\n"
    (tmp_path / "in" / "rows.csv").write_text(table, "utf-8")
    (tmp_path / "mapping.yaml").write_text(MAPPING, "utf-8")
    ingested(tmp_path, tmp_path / "in", mapping=tmp_path / "mapping.yaml")
    events = RecordStore(tmp_path / "store").events()
    same = "time_from IS NOT DISTINCT FROM occurred_from"
    rows = events.project(f"code, time, time_from, {same}").order("code").fetchall()
    assert all(row[3] for row in rows)
    found = {row[0]: tuple(str(at)[5:16] if at else "" for at in row[1:3]) for row in rows}
    birth = found.pop("MEDS_BIRTH")
    assert birth[1] == ""
    hours = ("23:59", "00:00") if len(when) == 10 else ("10:00", "")

    def on(day: str) -> tuple[str, str]:
        return f"{day} {hours[0]}", hours[1] and f"{day} {hours[1]}"

    assert found == {
        "PULSE": on("05-04"),
        "LATE": on("05-06"),
        "SAME": on("05-06"),
        "DAY_START": ("05-06 00:00", ""),
        "DAY_END": ("05-06 23:59", "05-06 00:00"),
        "YEAR": on("05-04"),
    }
