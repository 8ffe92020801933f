from base64 import b64encode
from typing import Any

from tests.specs.spec import Label, Spec


def snomed(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://snomed.info/sct", "code": code}]}


DRUG = {"status": "completed", "medicationCodeableConcept": snomed("387458008")}
TEXT = b64encode(b"Sore.").decode()

UNDATED: list[dict[str, Any]] = [
    {"resourceType": "AdverseEvent", "actuality": "actual", "event": snomed("1912002")},
    {"resourceType": "AllergyIntolerance", "code": snomed("300916003")},
    {
        "resourceType": "ClinicalImpression",
        "status": "completed",
        "code": snomed("312850006"),
        "finding": [{"itemCodeableConcept": snomed("271594007")}],
        "summary": "Unsteady.",
    },
    {"resourceType": "DiagnosticReport", "status": "final", "code": snomed("104177005")},
    {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": snomed("371530004"),
        "content": [{"attachment": {"contentType": "text/plain", "data": TEXT}}],
    },
    {"resourceType": "Flag", "status": "active", "code": snomed("129839007")},
    {"resourceType": "ImagingStudy", "status": "available", "modality": [{"code": "CT"}]},
    {"resourceType": "Immunization", "status": "completed", "vaccineCode": snomed("871751006")},
    {"resourceType": "Media", "status": "completed", "modality": snomed("260386001")},
    {"resourceType": "MedicationAdministration", **DRUG},
    {"resourceType": "MedicationDispense", **DRUG},
    {"resourceType": "MedicationStatement", **DRUG},
    {
        "resourceType": "Observation",
        "status": "final",
        "code": snomed("75367002"),
        "valueInteger": 1,
    },
    {"resourceType": "Procedure", "status": "completed", "code": snomed("80146002")},
    {
        "resourceType": "QuestionnaireResponse",
        "status": "completed",
        "item": [{"linkId": "pain", "answer": [{"valueInteger": 3}]}],
    },
]


def within(stay: str) -> list[dict[str, Any]]:
    about = {
        "subject": {"reference": "Patient/p"},
        "patient": {"reference": "Patient/p"},
        "encounter": {"reference": f"Encounter/{stay}"},
    }
    return [
        {"id": f"{stay}-{n}", **record, **about}
        | (
            {"context": {"reference": f"Encounter/{stay}"}}
            if record["resourceType"].startswith("Medication")
            else {}
        )
        for n, record in enumerate(UNDATED)
    ]


SPEC = Spec(
    title="What bears no date",
    says="""
        A record without any date of its own was known when its stay was over, not earlier: what
        happened in it could be written down at any hour of it. While the stay goes on nobody can
        say when that was, and so it is left out, and counted as undated.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        {
            "resourceType": "Encounter",
            "id": "over",
            "status": "finished",
            "class": {"code": "IMP"},
            "period": {"start": "2020-05-04T08:00:00Z", "end": "2020-05-07T10:00:00Z"},
            "subject": {"reference": "Patient/p"},
        },
        {
            "resourceType": "Encounter",
            "id": "goes-on",
            "status": "in-progress",
            "class": {"code": "IMP"},
            "period": {"start": "2020-06-01T08:00:00Z"},
            "subject": {"reference": "Patient/p"},
        },
        *within("over"),
        *within("goes-on"),
    ],
    timeline="""
        time                | code                            | value
        2020-05-04 08:00:00 | ENCOUNTER_START//IMP            |
        2020-05-07 10:00:00 | ADMINISTERED//SNOMED//387458008 |
        2020-05-07 10:00:00 | ADVERSE_EVENT//SNOMED//1912002  |
        2020-05-07 10:00:00 | ALLERGY//SNOMED//300916003      |
        2020-05-07 10:00:00 | ANSWER//UNKNOWN//pain           | 3
        2020-05-07 10:00:00 | DISPENSED//SNOMED//387458008    |
        2020-05-07 10:00:00 | ENCOUNTER_END//IMP              |
        2020-05-07 10:00:00 | FLAG//SNOMED//129839007         |
        2020-05-07 10:00:00 | IMAGING//CT                     |
        2020-05-07 10:00:00 | IMMUNIZATION//SNOMED//871751006 |
        2020-05-07 10:00:00 | IMPRESSION//SNOMED//271594007   |
        2020-05-07 10:00:00 | MEDIA//SNOMED//260386001        |
        2020-05-07 10:00:00 | NOTE//SNOMED//312850006         | "Unsteady."
        2020-05-07 10:00:00 | NOTE//SNOMED//371530004         | "Sore."
        2020-05-07 10:00:00 | REPORT//SNOMED//104177005       |
        2020-05-07 10:00:00 | SNOMED//75367002                | 1
        2020-05-07 10:00:00 | SNOMED//80146002                |
        2020-05-07 10:00:00 | STATED//SNOMED//387458008       |
        2020-06-01 08:00:00 | ENCOUNTER_START//IMP            |
    """,
    accounts={
        "projected": 18,
        "skipped": {f"{record['resourceType']}: undated": 1 for record in UNDATED},
    },
    sees={"2020-05-07 09:59:59": {"events"}, "2020-05-07 10:00:00": {"events", "notes"}},
    task="appendectomy_by_the_next_stay",
    labels=(
        Label(prediction_time="2020-05-04 08:00:00", value=False),
        Label(prediction_time="2020-06-01 08:00:00", value=True),
    ),
)
