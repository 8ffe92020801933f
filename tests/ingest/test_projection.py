"""What each type projects to, value by value; over 400 lines, most of them small resources."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from ingest.store import RecordStore
from tests.ingest.exports import PATIENT, ingested, observation, write_ndjson

SNOMED = "http://snomed.info/sct"


def concept(code: str) -> dict[str, Any]:
    return {"coding": [{"system": SNOMED, "code": code}]}


VALUES = {
    "quantity": (
        {"valueQuantity": {"value": 7.5, "unit": "percent", "code": "%"}},
        (7.5, None, "%"),
    ),
    "comparator": ({"valueQuantity": {"value": 3, "comparator": ">="}}, (3.0, ">=", None)),
    "integer": ({"valueInteger": 3}, (3.0, None, None)),
    "true": ({"valueBoolean": True}, (1.0, None, None)),
    "false": ({"valueBoolean": False}, (0.0, None, None)),
    "words": ({"valueString": "no growth"}, (None, "no growth", None)),
    "number-as-words": ({"valueString": " 0 "}, (0.0, "0", None)),
    "range": (
        {"valueRange": {"low": {"value": 2, "unit": "kg"}, "high": {"value": 4, "unit": "kg"}}},
        (3.0, "2.0..4.0", "kg"),
    ),
    "half-range": ({"valueRange": {"low": {"value": 2, "unit": "kg"}}}, (2.0, "2.0..", "kg")),
    "titre": (
        {"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 128}}},
        (1 / 128, "1.0:128.0", None),
    ),
    "no-denominator": (
        {"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 0}}},
        (None, "1.0:0.0", None),
    ),
    "samples": (
        {
            "valueSampledData": {
                "origin": {"value": 10, "unit": "mV"},
                "factor": 2,
                "data": "1 2 E 3",
            }
        },
        (14.0, '{"origin":{"value":10,"unit":"mV"},"factor":2,"data":"1 2 E 3"}', "mV"),
    ),
    "bound-in-words": ({"valueString": "< 5"}, (5.0, "< 5", None)),
    "exponent-in-words": ({"valueString": "1.5e3"}, (1500.0, "1.5e3", None)),
    "range-in-two-units": (
        {"valueRange": {"low": {"value": 2, "unit": "puff"}, "high": {"value": 4, "unit": "tab"}}},
        (2.0, "2.0 puff..4.0 tab", "puff"),
    ),
    "unit-code-of-another-system": (
        {
            "valueQuantity": {
                "value": 2,
                "unit": "puff",
                "system": "http://snomed.info/sct",
                "code": "415215001",
            }
        },
        (2.0, None, "puff"),
    ),
    "date": ({"valueDateTime": "2020-05-01"}, (None, "2020-05-01", None)),
    "clock": ({"valueTime": "08:30:00"}, (None, "08:30:00", None)),
    "period": ({"valuePeriod": {"start": "2020", "end": "2021"}}, (None, "2020/2021", None)),
    "nothing": ({}, (None, None, None)),
    "wrong-type": ({"valueQuantity": "five"}, (None, "five", None)),
    "bare-number": ({"valueQuantity": 5}, (5.0, None, None)),
    "not-a-number": ({"valueQuantity": {"value": "many"}}, (None, "many", None)),
    "no-finite-number": ({"valueQuantity": {"value": "NaN"}}, (None, "NaN", None)),
    "number-as-text": ({"valueQuantity": {"value": "5.4", "unit": "kg"}}, (5.4, None, "kg")),
    "bound-as-text": ({"valueQuantity": {"value": "<5", "unit": "kg"}}, (5.0, "<", "kg")),
    "bound-and-comparator": (
        {"valueQuantity": {"value": " >= 5", "comparator": ">", "unit": "kg"}},
        (5.0, ">", "kg"),
    ),
    "comma": ({"valueQuantity": {"value": "5,4", "unit": "kg"}}, (None, "5,4", None)),
    "comma-and-comparator": (
        {"valueQuantity": {"value": "5,4", "comparator": "<"}},
        (None, "<5,4", None),
    ),
    "list": (
        {"valueQuantity": [{"value": "<5", "unit": "kilogram", "code": "kg"}]},
        (5.0, "<", "kg"),
    ),
    "list-of-two": (
        {"valueQuantity": [{"value": 5}, {"value": 6}]},
        (None, '[{"value":5},{"value":6}]', None),
    ),
    "empty-list": ({"valueQuantity": []}, (None, None, None)),
    "integer-in-words": ({"valueInteger": "many"}, (None, "many", None)),
    "integer-bound": ({"valueInteger": "<5"}, (5.0, "<", None)),
    "neither-true-nor-false": ({"valueBoolean": "perhaps"}, (None, "perhaps", None)),
    "range-in-words": (
        {"valueRange": {"low": {"value": "few"}}},
        (None, '{"low":{"value":"few"}}', None),
    ),
    "list-of-a-ratio": (
        {"valueRatio": [{"numerator": {"value": 1}}]},
        (None, '[{"numerator":{"value":1}}]', None),
    ),
    "attachment": (
        {
            "valueAttachment": {
                "contentType": "text/html",
                "data": b64encode(b"<p>Sinus <b>rhythm</b></p>").decode(),
            }
        },
        (None, "Sinus rhythm", None),
    ),
    "attached-picture": (
        {"valueAttachment": {"contentType": "image/png", "title": "ECG"}},
        (None, "ECG", None),
    ),
    "reference": (
        {"valueReference": {"reference": "MolecularSequence/7", "display": "BRCA1"}},
        (None, "BRCA1", None),
    ),
    "reference-without-display": (
        {"valueReference": {"reference": "https://kh.example/fhir/MolecularSequence/7"}},
        (None, "MolecularSequence", None),
    ),
    "interpreted": (
        {"interpretation": [{"coding": [{"code": "POS"}]}], "note": [{"text": "Repeat."}]},
        (None, "POS", None),
    ),
    "interpreted-in-words": ({"interpretation": [{"text": "high"}]}, (None, "high", None)),
    "interpreted-as-in-stu3": (
        {"interpretation": {"coding": [{"code": "N"}]}},
        (None, "N", None),
    ),
    "remarked": ({"note": [{"text": "Haemolysed."}]}, (None, "Haemolysed.", None)),
    "value-with-a-remark": (
        {
            "valueQuantity": {"value": 3},
            "interpretation": [{"coding": [{"code": "H"}]}],
            "note": [{"text": "Haemolysed."}],
        },
        (3.0, None, None),
    ),
}

PARTS: dict[str, Any] = {
    "one-component-alone": {"valueQuantity": {"value": 5}},
    "component-with-a-bound": [{"valueQuantity": {"value": "<5", "unit": "kg"}}],
    "component-with-a-comma": [{"valueQuantity": {"value": "5,4"}}],
    "component-with-a-list": [{}, {"valueQuantity": [{"value": 5, "unit": "kg"}]}],
    "component-with-two": [{"valueQuantity": [{"value": 5}, {"value": 6}]}],
    "component-in-words": [{"valueQuantity": "five"}],
    "component-interpreted": [{"interpretation": [{"coding": [{"code": "POS"}]}]}],
    "component-with-a-reference": [{"valueReference": {"display": "BRCA1"}}],
}
OF_PARTS = {
    "one-component-alone": [(5.0, None, None)],
    "component-with-a-bound": [(5.0, "<", "kg")],
    "component-with-a-comma": [(None, "5,4", None)],
    "component-with-a-list": [(None, None, None), (5.0, None, "kg")],
    "component-with-two": [(None, '[{"value":5},{"value":6}]', None)],
    "component-in-words": [(None, "five", None)],
    "component-interpreted": [(None, "POS", None)],
    "component-with-a-reference": [(None, "BRCA1", None)],
}


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, ...]]:
    place = tmp_path_factory.mktemp("values")
    lines = [observation(name, value) for name, (value, _) in VALUES.items()]
    coded = observation("coded", {"valueCodeableConcept": concept("1")})
    absent = observation("sought", {"dataAbsentReason": {"text": "unknown"}})
    worded = observation("worded", {"valueCodeableConcept": {"text": "never smoked"}})
    ingested(place, write_ndjson(place / "in.ndjson", PATIENT, *lines, coded, absent, worded))
    rows = RecordStore(place / "store").events().project("code, numeric_value, text_value, unit")
    return {code.removeprefix("LOINC//"): tuple(rest) for code, *rest in rows.fetchall()}


@pytest.mark.parametrize("name", VALUES)
def test_every_kind_of_value_of_an_observation_is_kept(values, name: str) -> None:
    number, words, unit = VALUES[name][1]
    assert values[name] == (pytest.approx(number) if number is not None else None, words, unit)


def test_an_answer_or_its_absence_stands_in_the_code(values) -> None:
    assert {"coded//SNOMED//1", "sought//ABSENT", "worded//TEXT//NEVER SMOKED"} <= set(values)


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_the_same_among_a_thousand_others(among_many, name: str) -> None:
    """A sample says what to look for in a large file; what is odd is looked for all the same."""
    number, words, unit = VALUES[name][1]
    assert among_many[name] == (pytest.approx(number) if number is not None else None, words, unit)


@pytest.fixture(scope="module")
def among_many(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, ...]]:
    place = tmp_path_factory.mktemp("among")
    usual = [observation(f"usual-{n}", {"valueQuantity": {"value": n}}) for n in range(1500)]
    lines = [observation(name, value) for name, (value, _) in VALUES.items()]
    lines = [*usual[:700], *lines, *usual[700:]]
    ingested(place, write_ndjson(place / "in.ndjson", PATIENT, *lines))
    rows = RecordStore(place / "store").events().project("code, numeric_value, text_value, unit")
    return {code.removeprefix("LOINC//"): tuple(rest) for code, *rest in rows.fetchall()}


def test_every_kind_of_value_of_a_component_is_kept(tmp_path: Path) -> None:
    def coded(name: str, part: dict[str, Any]) -> dict[str, Any]:
        return {"code": {"coding": [{"system": "http://loinc.org", "code": name}]}, **part}

    lines = [
        observation(
            f"of-{name}",
            {
                "component": [coded(name, part) for part in parts]
                if isinstance(parts, list)
                else coded(name, parts)
            },
        )
        for name, parts in PARTS.items()
    ]
    ingested(tmp_path, write_ndjson(tmp_path / "in.ndjson", PATIENT, *lines))
    events = RecordStore(tmp_path / "store").events().filter("code <> 'MEDS_BIRTH'")
    rows = events.project("code, numeric_value, text_value, unit").fetchall()
    found: dict[str, list[tuple[Any, ...]]] = {name: [] for name in OF_PARTS}
    for code, *rest in sorted(rows, key=str):
        found[code.removeprefix("LOINC//")].append(tuple(rest))
    assert found == {name: sorted(values, key=str) for name, values in OF_PARTS.items()}


def test_a_dose_in_words_is_kept_as_such(tmp_path: Path) -> None:
    drug = {"medicationCodeableConcept": concept("1"), "status": "completed", **ABOUT}
    dose = {"value": "5,4", "unit": "mg"}
    at = "2020-01-01T08:00:00Z"
    lines = [
        {"resourceType": "MedicationAdministration", "id": "a", **drug}
        | {"effectiveDateTime": at, "dosage": {"dose": dose}},
        {"resourceType": "MedicationDispense", "id": "d", **drug}
        | {"whenHandedOver": at, "quantity": dose},
        {"resourceType": "MedicationRequest", "id": "r", **drug}
        | {"authoredOn": at, "intent": "order"}
        | {"dosageInstruction": [{"doseAndRate": [{"doseQuantity": dose}]}]},
    ]
    ingested(tmp_path, write_ndjson(tmp_path / "in.ndjson", PATIENT, *lines))
    events = RecordStore(tmp_path / "store").events().filter("code LIKE '%SNOMED%'")
    found = events.project("numeric_value, text_value").fetchall()
    assert found == [(None, "5,4")] * 3


ABOUT = {"subject": {"reference": "Patient/p"}}

STATUSES = {
    "Procedure": ({"code": concept("1"), "performedDateTime": "2020-01-01"}, {"not-done"}),
    "Immunization": (
        {"vaccineCode": concept("1"), "occurrenceDateTime": "2020-01-01"},
        {"not-done", "entered-in-error"},
    ),
    "MedicationStatement": (
        {"medicationCodeableConcept": concept("1"), "dateAsserted": "2020-01-01"},
        {"not-taken", "intended", "entered-in-error"},
    ),
    "MedicationDispense": (
        {"medicationCodeableConcept": concept("1"), "whenHandedOver": "2020-01-01"},
        {"cancelled", "declined", "preparation"},
    ),
    "MedicationRequest": (
        {"medicationCodeableConcept": concept("1"), "authoredOn": "2020-01-01", "intent": "order"},
        {"draft", "cancelled", "entered-in-error"},
    ),
    "Observation": (
        {"code": concept("1"), "effectiveDateTime": "2020-01-01", "valueInteger": 1},
        {"registered", "cancelled", "entered-in-error"},
    ),
    "DiagnosticReport": (
        {"code": concept("1"), "effectiveDateTime": "2020-01-01", "conclusion": "x"},
        {"registered", "cancelled", "entered-in-error"},
    ),
    "Encounter": (
        {"class": {"code": "AMB"}, "period": {"start": "2020-01-01", "end": "2020-01-02"}},
        {"planned", "cancelled", "entered-in-error"},
    ),
    "ImagingStudy": ({"started": "2020-01-01"}, {"registered", "cancelled", "entered-in-error"}),
    "FamilyMemberHistory": (
        {"date": "2020-01-01", "condition": [{"code": concept("1")}]},
        {"entered-in-error", "health-unknown"},
    ),
}


def test_what_did_not_happen_is_never_an_event(tmp_path: Path) -> None:
    lines, expected = [], {}
    for kind, (body, void) in STATUSES.items():
        for status in sorted(void):
            lines.append(
                {
                    "resourceType": kind,
                    "id": status,
                    "status": status,
                    "subject": {"reference": "Patient/p"},
                    **body,
                }
            )
            expected[f"{kind}: {status}"] = 1
        lines.append({**lines[-1], "id": "happened", "status": "completed"})
    modified = {**lines[-1], "id": "negated", "modifierExtension": [{"url": "urn:not"}]}
    source = write_ndjson(tmp_path / "in.ndjson", PATIENT, *lines, modified)
    file = ingested(tmp_path, source)["files"]["in.ndjson"]
    assert file["skipped"] == {**expected, "FamilyMemberHistory: modifier extension": 1}
    assert file["projected"] == 1 + len(STATUSES)


def test_an_encounter_that_goes_on_has_no_end_and_dates_nothing(tmp_path: Path) -> None:
    stay = {
        "resourceType": "Encounter",
        "id": "e",
        "status": "in-progress",
        "class": {"code": "IMP"},
        "subject": {"reference": "Patient/p"},
        "period": {"start": "2020-01-01T08:00:00Z", "end": "2020-01-09T08:00:00Z"},
        "hospitalization": {"dischargeDisposition": {"coding": [{"code": "home"}]}},
    }
    diagnosis = {
        "resourceType": "Condition",
        "id": "c",
        "code": concept("1"),
        "subject": {"reference": "Patient/p"},
        "encounter": {"reference": "Encounter/e"},
    }
    report = ingested(tmp_path, write_ndjson(tmp_path / "in.ndjson", PATIENT, stay, diagnosis))
    codes = [row[0] for row in RecordStore(tmp_path / "store").events().project("code").fetchall()]
    assert codes == ["ENCOUNTER_START//IMP"]
    assert report["undated"] == {"Condition": 1}


def test_a_death_without_a_date_takes_the_stay_that_ended_in_it_or_is_counted(
    tmp_path: Path,
) -> None:
    def dead(name: str, ended: str) -> list[dict[str, Any]]:
        return [
            {"resourceType": "Patient", "id": name, "deceasedBoolean": True},
            {
                "resourceType": "Encounter",
                "id": f"stay-{name}",
                "status": "finished",
                "class": {"code": "IMP"},
                "subject": {"reference": f"Patient/{name}"},
                "period": {"start": "2020-01-01T08:00:00Z", "end": "2020-01-03T08:00:00Z"},
                "hospitalization": {"dischargeDisposition": {"coding": [{"code": ended}]}},
            },
        ]

    lines = [*dead("here", "DIED"), *dead("elsewhere", "home")]
    report = ingested(tmp_path, write_ndjson(tmp_path / "in.ndjson", *lines))
    deaths = RecordStore(tmp_path / "store").events().filter("code = 'MEDS_DEATH'")
    assert [str(row[0]) for row in deaths.project("time").fetchall()] == ["2020-01-03 08:00:00"]
    assert report["undated"] == {"Patient": 1}


def test_a_drug_is_found_by_reference_and_a_mixture_gives_each_of_its_drugs(tmp_path: Path) -> None:
    def drug(name: str, **body: Any) -> dict[str, Any]:
        return {"resourceType": "Medication", "id": name, **body}

    order = {
        "resourceType": "MedicationRequest",
        "id": "o",
        "status": "active",
        "intent": "order",
        "medicationReference": {"reference": "Medication/mix"},
        "subject": {"reference": "Patient/p"},
        "authoredOn": "2020-01-01",
    }
    parts = [{"itemReference": {"reference": f"Medication/{n}"}} for n in ("1", "2")]
    source = write_ndjson(
        tmp_path / "in.ndjson",
        PATIENT,
        drug("1", code=concept("1")),
        drug("2", code=concept("2")),
        drug("mix", ingredient=[*parts, {"itemCodeableConcept": concept("3")}]),
        order,
        {**order, "id": "said", "medicationReference": {"reference": "x", "display": "Aspirin"}},
    )
    ingested(tmp_path, source)
    rows = RecordStore(tmp_path / "store").events().project("code").fetchall()
    assert sorted(row[0] for row in rows) == [
        *(f"ORDER//SNOMED//{n}" for n in (1, 2, 3)),
        "ORDER//TEXT//ASPIRIN",
    ]


def test_a_note_comes_from_a_binary_and_a_report_from_its_form_or_conclusion(
    tmp_path: Path,
) -> None:
    text = b64encode(b"Clear lungs.").decode()
    report = {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": concept("9"),
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2020-01-01T08:00:00Z",
        "issued": "2020-01-01T10:00:00Z",
    }
    letter = {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": concept("8"),
        "subject": {"reference": "Patient/p"},
        "date": "2020-01-02T00:00:00Z",
    }
    form = [{"contentType": "application/rtf", "data": "e1xydGYxfQ=="}]
    url = {"contentType": "text/plain", "url": "https://x.example.org/fhir/Binary/b"}
    source = write_ndjson(
        tmp_path / "in.ndjson",
        PATIENT,
        {"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": text},
        {**letter, "id": "1", "content": [{"attachment": form[0]}, {"attachment": url}]},
        {**letter, "id": "2", "content": [{"attachment": {**url, "url": "Binary/none"}}]},
        {**report, "id": "3", "conclusion": "No fracture."},
        {**report, "id": "4", "presentedForm": form},
        {
            **report,
            "id": "5",
            "presentedForm": [*form, {"contentType": "text/plain", "data": text}],
        },
    )
    counts = ingested(tmp_path, source)
    events = RecordStore(tmp_path / "store").events().filter("code LIKE 'NOTE%'")
    rows = events.order("time, code, text_value").project("time, code, text_value").fetchall()
    assert [(str(time)[:13], code, text) for time, code, text in rows] == [
        ("2020-01-01 10", "NOTE//SNOMED//9", "Clear lungs."),
        ("2020-01-01 10", "NOTE//SNOMED//9", "No fracture."),
        ("2020-01-01 10", "NOTE_UNREAD//application/rtf", "empty"),
        ("2020-01-02 00", "NOTE//SNOMED//8", "Clear lungs."),
        ("2020-01-02 00", "NOTE_UNREAD//text/plain", "not fetched"),
    ]
    assert counts["notes"] == 3


def test_a_history_bundle_keeps_the_newest_and_honours_deletions(tmp_path: Path) -> None:
    def entry(name: str, value: int) -> dict[str, Any]:
        return {"resource": observation(name, {"valueInteger": value})}

    gone = {"request": {"method": "DELETE", "url": "Observation/b/_history/2"}}
    bundle = {
        "resourceType": "Bundle",
        "type": "history",
        "entry": [{"resource": PATIENT}, entry("a", 2), entry("a", 1), gone, entry("b", 1)],
    }
    source = write_ndjson(tmp_path / "history.json", bundle)
    file = ingested(tmp_path, source)["files"]["history.json"]
    rows = RecordStore(tmp_path / "store").events().project("code, numeric_value").fetchall()
    assert rows == [("LOINC//a", 2.0)]
    assert (file["records"], file["superseded"], file["deleted"]) == (5, 1, 2)


def test_rings_and_chains_of_merged_patients_end_at_one(tmp_path: Path) -> None:
    def patient(name: str, other: str, kind: str) -> dict[str, Any]:
        link = {"other": {"reference": f"Patient/{other}"}, "type": kind}
        return {"resourceType": "Patient", "id": name, "link": [link], "gender": "male"}

    source = write_ndjson(
        tmp_path / "in.ndjson",
        patient("a", "b", "replaced-by"),
        patient("b", "c", "replaced-by"),
        {**patient("d", "x", "seealso")},
        patient("c", "b", "replaces"),
        patient("r1", "r2", "replaced-by"),
        patient("r2", "r1", "replaced-by"),
    )
    assert ingested(tmp_path, source)["subjects"] == 3


def test_a_subject_without_a_patient_resource_is_kept_and_one_without_any_is_not(
    tmp_path: Path,
) -> None:
    source = write_ndjson(
        tmp_path / "in.ndjson",
        observation("a", {"valueInteger": 1}),
        observation("b", {"valueInteger": 1}, subject={"display": "somebody"}),
        observation("c", {"valueInteger": 1}, subject={"reference": "Group/herd"}),
    )
    report = ingested(tmp_path, source)
    file = report["files"]["in.ndjson"]
    assert (report["subjects"], file["projected"]) == (1, 1)
    assert file["quarantined"] == {"no subject": 1}
    assert file["skipped"] == {"Observation: subject is no Patient": 1}


def test_a_denied_disease_is_no_event_in_whichever_coding_the_denial_stands(tmp_path: Path) -> None:
    said: list[Any] = [
        {"coding": [{"system": "urn:local", "code": "9"}, {"code": "refuted"}]},
        {"text": "Refuted"},
        "refuted",  # STU3
        {"coding": [{"system": "urn:local", "code": "9"}]},
    ]
    asthma = [
        {
            "resourceType": kind,
            "id": str(place),
            "code": concept("195967001"),
            "patient" if kind == "AllergyIntolerance" else "subject": {"reference": "Patient/p"},
            "recordedDate": "2020-01-01",
            "verificationStatus": status,
        }
        for kind in ("Condition", "AllergyIntolerance")
        for place, status in enumerate(said)
    ]
    report = ingested(tmp_path, write_ndjson(tmp_path / "in.ndjson", PATIENT, *asthma))
    assert report["files"]["in.ndjson"]["skipped"] == {
        "AllergyIntolerance: refuted": 3,
        "Condition: refuted": 3,
    }
    assert report["events"] == 2


def test_a_number_or_a_year_beyond_all_bounds_stops_nothing(tmp_path: Path) -> None:
    report = ingested(
        tmp_path,
        write_ndjson(
            tmp_path / "in.ndjson",
            PATIENT,
            observation("huge", {"valueQuantity": {"value": 1.7976931348623157e308}}),
            observation("never", {"valueInteger": 1}, effectiveDateTime="9999-12-31"),
        ),
    )
    assert report["files"]["in.ndjson"]["skipped"] == {"Observation: undated": 1}
    assert report["events"] == 1


def test_what_was_found_or_amended_at_an_unknown_moment_is_not_dated_too_early(
    tmp_path: Path,
) -> None:
    """An onset is not when a disease was found, nor a measurement's hour that of its amendment."""
    about = {"subject": {"reference": "Patient/p"}, "encounter": {"reference": "Encounter/e"}}
    goes_on = {
        "resourceType": "Encounter",
        "id": "e",
        "status": "in-progress",
        "class": {"code": "IMP"},
        "subject": about["subject"],
        "period": {"start": "2020-05-01T08:00:00Z"},
    }
    found = {
        "resourceType": "Condition",
        "id": "c",
        "code": concept("38341003"),
        "onsetDateTime": "2015",
        **about,
    }
    source = write_ndjson(
        tmp_path / "a.ndjson",
        *(PATIENT, goes_on, found),
        observation("amended", {"valueInteger": 1}, status="amended"),
        observation("issued", {"valueInteger": 1}, status="amended", issued="2020-06-01T00:00:00Z"),
        observation("compact", {"valueInteger": 1}, effectiveDateTime="2020-01-01T10:00:00+0100"),
    )
    report = ingested(tmp_path, source, timezone="America/New_York")
    assert report["undated"] == {"Condition": 1, "Observation": 1}
    events = RecordStore(tmp_path / "store").events().df().set_index("code")["time"]
    assert not [code for code in events.index if "38341003" in code or "amended" in code]
    assert str(events["LOINC//issued"]) == "2020-06-01 00:00:00"
    assert str(events["LOINC//compact"]) == "2020-01-01 09:00:00"
