"""Cases of something new that bears on old records: what was there, what is new, what is then."""

import json
import re
from typing import Any

from tests.ingest.exports import PATIENT, observation

WHO = {"reference": "Patient/p"}
STAY = {"reference": "Encounter/e"}
OTHERS = [
    {"resourceType": "Patient", "id": "bystander", "gender": "female"},
    observation("bystander", {"valueInteger": 1}, subject={"reference": "Patient/bystander"}),
]


def stay(end: str | None = None, **more: Any) -> dict[str, Any]:
    period = {"start": "2020-01-01T08:00:00Z"} | ({"end": end} if end else {})
    return {
        "resourceType": "Encounter",
        "id": "e",
        "status": "finished" if end else "in-progress",
        "class": {"code": "IMP"},
        "subject": WHO,
        "period": period,
        **more,
    }


def finding(**more: Any) -> dict[str, Any]:
    """Make a diagnosis without a date of its own: it takes its encounter's end."""
    code = {"coding": [{"system": "http://snomed.info/sct", "code": "44054006"}]}
    return {
        "resourceType": "Condition",
        "id": "c",
        "code": code,
        "subject": WHO,
        "encounter": STAY,
        **more,
    }


def drug(name: str, code: str | None, *parts: str) -> dict[str, Any]:
    made: dict[str, Any] = {"resourceType": "Medication", "id": name}
    if code:
        made["code"] = {"coding": [{"system": "urn:drugs", "code": code}]}
    if parts:
        made["ingredient"] = [{"itemReference": {"reference": f"Medication/{p}"}} for p in parts]
    return made


def order(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest",
        "id": "r",
        "status": "active",
        "intent": "order",
        "subject": WHO,
        "authoredOn": "2020-01-02",
        "medicationReference": {"reference": "Medication/m"},
        **more,
    }


def note(url: str = "Binary/b") -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference",
        "id": "d",
        "status": "current",
        "subject": WHO,
        "date": "2020-01-03T08:00:00Z",
        "type": {"text": "letter"},
        "content": [{"attachment": {"contentType": "text/plain", "url": url}}],
    }


def bundle(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def gone(what: str, **response: str) -> dict[str, Any]:
    return {"request": {"method": "DELETE", "url": what}, "response": response}


BINARY = {"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": "T2xkLg=="}
PLACE = {"reference": "Location/w"}
WARD = {"resourceType": "Location", "id": "w", "name": "North"}
MOVED = [{"location": PLACE, "period": {"start": "2020-01-01T09:00:00Z"}}]
DEAD = {"hospitalization": {"dischargeDisposition": {"coding": [{"code": "exp"}]}}}
END = "2020-01-09T08:00:00Z"
URL = "https://elsewhere.example.org/fhir/Encounter/other"
MEANT = {"reference": "Patient?identifier=urn:mrn|77"}
KNOWN = {"identifier": [{"system": "urn:mrn", "value": "77"}]}

# What was there, what is new, and an event (code, day known) that then is there, or that is not.
CASES: dict[str, tuple[list[Any], list[Any], tuple[str, str], bool]] = {
    "an encounter ends: what takes its end moves": (
        [PATIENT, stay(), finding()],
        [stay(END)],
        ("SNOMED//44054006", "2020-01-09"),
        True,
    ),
    "an encounter's end is corrected": (
        [PATIENT, stay(END), finding()],
        [stay("2020-01-20T08:00:00Z")],
        ("SNOMED//44054006", "2020-01-20"),
        True,
    ),
    "an encounter comes after its diagnosis": (
        [PATIENT, finding()],
        [stay(END)],
        ("SNOMED//44054006", "2020-01-09"),
        True,
    ),
    "an encounter is deleted": (
        [PATIENT, stay(END), finding()],
        [bundle(gone("Encounter/e"))],
        ("SNOMED//44054006", "2020-01-09"),
        False,
    ),
    "an encounter that is referred to by URL comes": (
        [PATIENT, finding(encounter={"reference": URL})],
        [bundle({"fullUrl": URL, "resource": stay(END)})],
        ("SNOMED//44054006", "2020-01-09"),
        True,
    ),
    "an encounter that is referred to by URL ends, as is told without one": (
        [
            PATIENT,
            bundle({"fullUrl": URL, "resource": stay()}),
            finding(encounter={"reference": URL}),
        ],
        [stay(END)],
        ("SNOMED//44054006", "2020-01-09"),
        True,
    ),
    "a diagnosis is of an encounter of which only the older version had a URL": (
        [PATIENT, bundle({"fullUrl": URL, "resource": stay()}), stay(END)],
        [finding(encounter={"reference": URL})],
        ("SNOMED//44054006", "2020-01-09"),
        True,
    ),
    "a drug comes after its order": (
        [PATIENT, order()],
        [drug("m", "7")],
        ("ORDER//DRUGS//7", "2020-01-02"),
        True,
    ),
    "a drug gets another code": (
        [PATIENT, order(), drug("m", "7")],
        [drug("m", "8")],
        ("ORDER//DRUGS//7", "2020-01-02"),
        False,
    ),
    "a part of a mixture gets another code": (
        [PATIENT, order(), drug("m", None, "a", "b"), drug("a", "1"), drug("b", "2")],
        [drug("b", "3")],
        ("ORDER//DRUGS//3", "2020-01-02"),
        True,
    ),
    "a part of a contained mixture comes": (
        [
            PATIENT,
            order(contained=[drug("in", None, "a")], medicationReference={"reference": "#in"}),
        ],
        [drug("a", "1")],
        ("ORDER//DRUGS//1", "2020-01-02"),
        True,
    ),
    "a ward gets another name": (
        [PATIENT, stay(END, location=MOVED), WARD],
        [{**WARD, "name": "South"}],
        ("TRANSFER//SOUTH", "2020-01-01"),
        True,
    ),
    "a document's bytes come": (
        [PATIENT, note()],
        [BINARY],
        ("NOTE//TEXT//LETTER", "2020-01-03"),
        True,
    ),
    "a report's bytes come": (
        [
            PATIENT,
            {
                "resourceType": "DiagnosticReport",
                "id": "d",
                "status": "final",
                "code": {"text": "film"},
                "subject": WHO,
                "issued": "2020-01-03T08:00:00Z",
                "presentedForm": [{"contentType": "text/plain", "url": "Binary/b"}],
            },
        ],
        [BINARY],
        ("NOTE//TEXT//FILM", "2020-01-03"),
        True,
    ),
    "what is named within its Bundle alone is found again": (
        [
            bundle(
                {"fullUrl": "urn:uuid:1", "resource": PATIENT},
                {"resource": finding(subject={"reference": "urn:uuid:1"})},
            )
        ],
        [stay(END, subject={"reference": "Patient/bystander"})],
        ("p SNOMED//44054006", "2020-01-09"),
        True,
    ),
    "an encounter turns out to have ended in death": (
        [{**PATIENT, "deceasedBoolean": True}, stay(END)],
        [stay(END, **DEAD)],
        ("MEDS_DEATH", "2020-01-09 08:00"),
        True,
    ),
    "two patients become one": (
        [
            PATIENT,
            {**PATIENT, "id": "old"},
            observation("a", {}, subject={"reference": "Patient/old"}),
        ],
        [{**PATIENT, "link": [{"type": "replaces", "other": {"reference": "Patient/old"}}]}],
        ("p LOINC//a", "2020-05-04"),
        True,
    ),
    "a merger is taken back": (
        [
            {**PATIENT, "link": [{"type": "replaces", "other": {"reference": "Patient/old"}}]},
            observation("a", {}, subject={"reference": "Patient/old"}),
        ],
        [PATIENT],
        ("old LOINC//a", "2020-05-04"),
        True,
    ),
    "a chain of mergers gets its middle": (
        [
            {
                **PATIENT,
                "id": "a",
                "link": [{"type": "replaced-by", "other": {"reference": "Patient/b"}}],
            },
            observation("a", {}, subject={"reference": "Patient/a"}),
        ],
        [
            {
                **PATIENT,
                "id": "b",
                "link": [{"type": "replaced-by", "other": {"reference": "Patient/p"}}],
            }
        ],
        ("p LOINC//a", "2020-05-04"),
        True,
    ),
    "a patient who is meant by an identifier comes": (
        [observation("a", {}, subject=MEANT)],
        [{**PATIENT, **KNOWN}],
        ("p LOINC//a", "2020-05-04"),
        True,
    ),
    "an identifier goes to somebody else": (
        [{**PATIENT, **KNOWN}, observation("a", {}, subject=MEANT)],
        [PATIENT, {**PATIENT, "id": "q", **KNOWN}],
        ("q LOINC//a", "2020-05-04"),
        True,
    ),
    "a contained patient's identifier becomes known": (
        [
            observation(
                "a",
                {},
                contained=[{"resourceType": "Patient", "id": "in", **KNOWN}],
                subject={"reference": "#in"},
            )
        ],
        [{**PATIENT, **KNOWN}],
        ("p LOINC//a", "2020-05-04"),
        True,
    ),
    "a death is dated by an encounter that comes later": (
        [{**PATIENT, "deceasedDateTime": "2020-01-09"}],
        [stay(END, **DEAD)],
        ("MEDS_DEATH", "2020-01-09 08:00"),
        True,
    ),
    "a death is no longer dated by an encounter that is another's": (
        [{**PATIENT, "deceasedDateTime": "2020-01-09"}, stay(END, **DEAD)],
        [stay(END, subject={"reference": "Patient/bystander"}, **DEAD)],
        ("MEDS_DEATH", "2020-01-09 08:00"),
        False,
    ),
    "a newer version replaces an old one": (
        [PATIENT, observation("a", {"valueInteger": 1}, effectiveDateTime="2020-05-04")],
        [observation("a", {"valueInteger": 2}, effectiveDateTime="2020-05-05")],
        ("LOINC//a", "2020-05-04"),
        False,
    ),
    "what was deleted comes again": (
        [PATIENT, observation("a", {}), bundle(gone("Observation/a"))],
        [observation("a", {})],
        ("LOINC//a", "2020-05-04"),
        True,
    ),
    "the patient comes after the records": (
        [observation("a", {})],
        [{**PATIENT, "gender": "male"}],
        ("GENDER//M", "None"),
        True,
    ),
}


def apart(resources: list[Any], number: int) -> list[Any]:
    """Give each case people, encounters and identifiers of its own."""
    text = json.dumps(resources).replace(URL, f"{URL}.{number}").replace("77", f"77.{number}")
    text = re.sub(r'"id": "([^"]+)"', rf'"id": "\1.{number}"', text)
    return json.loads(
        re.sub(r'"(reference|url)": "((?:#|[A-Z][A-Za-z]+/)[^"?]+)"', rf'"\1": "\2.{number}"', text)
    )
