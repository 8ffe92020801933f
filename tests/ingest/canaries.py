"""A canary for each type: a record that happened in March and was recorded in June.

`$` in ids and references stands for the patient's id. Where a type has one clock alone, the record
says March wherever else it can.
"""

import base64
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "CANARIES",
    "CANARIES_R5",
    "CODE",
    "JUNE",
    "MARCH",
    "SPAN",
    "STAY",
    "TEXT",
    "Canary",
    "canary",
    "inside",
    "record",
]

HAPPENED, KNOWN = "2020-03-01", "2020-06-01"
MARCH, JUNE = f"{HAPPENED}T08:00:00Z", f"{KNOWN}T08:00:00Z"
SPAN = {"start": MARCH, "end": JUNE}
CODE = {"coding": [{"system": "http://snomed.info/sct", "code": "CANARY"}]}
OTHER = {"coding": [{"system": "http://snomed.info/sct", "code": "OTHER"}]}
STAY = {"encounter": {"reference": "Encounter/$-stay"}}
TEXT = base64.b64encode(b"The canary sang.").decode()


def record(kind: str, **content: Any) -> dict[str, Any]:
    return {"resourceType": kind, "id": "$-canary", **content}


def inside(kind: str, **content: Any) -> dict[str, Any]:
    return {"resourceType": kind, "id": "$-other", **content}


@dataclass(frozen=True, kw_only=True)
class Canary:
    code: str
    planted: list[dict[str, Any]]
    without: list[dict[str, Any]] = field(default_factory=list)
    """What stands in its place where it is not planted, for what others need to be there."""

    two_clocks: bool
    """Whether the type can say that something happened before it was known."""


def canary(code: str, *planted: dict[str, Any], two_clocks: bool, **more: Any) -> Canary:
    return Canary(code=code, planted=list(planted), two_clocks=two_clocks, **more)


STUDY_NOTE = {
    "resourceType": "DocumentReference",
    "id": "$-other",
    "status": "current",
    "type": CODE,
    "date": JUNE,
    "context": {"period": {"start": MARCH, "end": MARCH}},
}
DRUG = {"status": "completed", "medicationCodeableConcept": CODE}
SECOND_STAY = inside("Encounter", status="finished", **{"class": {"code": "IMP"}}, period=SPAN)

CANARIES = {
    "AdverseEvent": canary(
        "ADVERSE_EVENT//SNOMED//CANARY",
        record("AdverseEvent", actuality="actual", event=CODE, date=MARCH, recordedDate=JUNE),
        two_clocks=True,
    ),
    "AllergyIntolerance": canary(
        "ALLERGY//SNOMED//CANARY",
        record("AllergyIntolerance", code=CODE, onsetDateTime=MARCH, recordedDate=JUNE),
        two_clocks=True,
    ),
    "Binary": canary(
        "NOTE//SNOMED//CANARY",
        record("Binary", contentType="text/plain", data=TEXT),
        STUDY_NOTE
        | {"content": [{"attachment": {"contentType": "text/plain", "url": "Binary/$-canary"}}]},
        two_clocks=True,
    ),
    "CarePlan": canary(
        "CARE_PLAN//SNOMED//CANARY",
        record(
            "CarePlan",
            status="active",
            intent="plan",
            category=[CODE],
            activity=[{"detail": {"code": CODE, "status": "completed"}}],
            period={"start": MARCH},
            created=JUNE,
        ),
        two_clocks=False,
    ),
    "ClinicalImpression": canary(
        "IMPRESSION//SNOMED//CANARY",
        record(
            "ClinicalImpression",
            status="completed",
            effectiveDateTime=MARCH,
            date=JUNE,
            finding=[{"itemCodeableConcept": CODE}],
            summary="The canary sang.",
        ),
        two_clocks=True,
    ),
    "Composition": canary(
        "NOTE//SNOMED//CANARY",
        record(
            "Composition",
            status="final",
            type=CODE,
            event=[{"period": {"start": MARCH, "end": MARCH}}],
            date=JUNE,
            section=[{"title": "Song", "text": {"div": "<div>The canary sang.</div>"}}],
        ),
        two_clocks=True,
    ),
    "Condition": canary(
        "SNOMED//CANARY",
        record("Condition", code=CODE, onsetDateTime=MARCH, recordedDate=JUNE),
        two_clocks=True,
    ),
    "DetectedIssue": canary(
        "ISSUE//SNOMED//CANARY",
        record("DetectedIssue", status="final", code=CODE, identifiedPeriod=SPAN),
        two_clocks=True,
    ),
    "DeviceUseStatement": canary(
        "DEVICE//TEXT//CANARY",
        record(
            "DeviceUseStatement",
            status="completed",
            device={"display": "canary"},
            timingDateTime=MARCH,
            recordedOn=JUNE,
        ),
        two_clocks=True,
    ),
    "DiagnosticReport": canary(
        "REPORT//SNOMED//CANARY",
        record(
            "DiagnosticReport",
            status="final",
            code=CODE,
            conclusionCode=[OTHER],
            conclusion="The canary sang.",
            effectiveDateTime=MARCH,
            issued=JUNE,
        ),
        two_clocks=True,
    ),
    "DocumentReference": canary(
        "NOTE//SNOMED//CANARY",
        STUDY_NOTE | {"content": [{"attachment": {"contentType": "text/plain", "data": TEXT}}]},
        two_clocks=True,
    ),
    "Encounter": canary(
        "REASON//SNOMED//CANARY",
        SECOND_STAY
        | {
            "reasonCode": [CODE],
            "serviceType": OTHER,
            "hospitalization": {"dischargeDisposition": OTHER},
        },
        without=[SECOND_STAY],
        two_clocks=True,
    ),
    "EpisodeOfCare": canary(
        "EPISODE_END//SNOMED//CANARY",
        record("EpisodeOfCare", status="finished", type=[CODE], period={"end": JUNE}),
        two_clocks=False,
    ),
    "FamilyMemberHistory": canary(
        "FAMILY//SNOMED//CANARY",
        record(
            "FamilyMemberHistory",
            status="completed",
            date=JUNE,
            condition=[{"code": CODE, "onsetString": HAPPENED}],
        ),
        two_clocks=False,
    ),
    "Flag": canary(
        "FLAG//SNOMED//CANARY",
        record("Flag", status="active", code=CODE, period={"start": JUNE}, **STAY),
        two_clocks=False,
    ),
    "Goal": canary(
        "GOAL//SNOMED//CANARY",
        record("Goal", lifecycleStatus="active", description=CODE, startDate=KNOWN),
        two_clocks=False,
    ),
    "ImagingStudy": canary(
        "IMAGING//CR",
        record("ImagingStudy", status="available", modality=[{"code": "CR"}], **STAY),
        two_clocks=False,
    ),
    "Immunization": canary(
        "IMMUNIZATION//SNOMED//CANARY",
        record(
            "Immunization",
            status="completed",
            vaccineCode=CODE,
            occurrenceDateTime=MARCH,
            recorded=JUNE,
        ),
        two_clocks=True,
    ),
    "Location": canary(
        "TRANSFER//CANARY WARD",
        record("Location", name="Canary ward"),
        SECOND_STAY
        | {
            "location": [
                {"location": {"reference": "Location/$-canary"}, "period": {"start": JUNE}}
            ]
        },
        without=[SECOND_STAY],
        two_clocks=False,
    ),
    "Media": canary(
        "MEDIA//SNOMED//CANARY",
        record(
            "Media",
            status="completed",
            modality=CODE,
            createdDateTime=MARCH,
            issued=JUNE,
            content={"contentType": "image/png"},
        ),
        two_clocks=True,
    ),
    "Medication": canary(
        "ADMINISTERED//SNOMED//CANARY",
        record("Medication", code=CODE),
        inside(
            "MedicationAdministration",
            status="completed",
            medicationReference={"reference": "Medication/$-canary"},
            effectivePeriod=SPAN,
        ),
        two_clocks=True,
    ),
    "MedicationAdministration": canary(
        "ADMINISTERED//SNOMED//CANARY",
        record("MedicationAdministration", **DRUG, effectivePeriod=SPAN),
        two_clocks=True,
    ),
    "MedicationDispense": canary(
        "DISPENSED//SNOMED//CANARY",
        record("MedicationDispense", **DRUG, whenPrepared=MARCH, whenHandedOver=JUNE),
        two_clocks=False,
    ),
    "MedicationRequest": canary(
        "ORDER//SNOMED//CANARY",
        record("MedicationRequest", **DRUG, intent="order", authoredOn=JUNE, **STAY),
        two_clocks=False,
    ),
    "MedicationStatement": canary(
        "STATED//SNOMED//CANARY",
        record("MedicationStatement", **DRUG, effectiveDateTime=MARCH, dateAsserted=JUNE),
        two_clocks=True,
    ),
    "NutritionOrder": canary(
        "ORDER//SNOMED//CANARY",
        record(
            "NutritionOrder",
            status="active",
            intent="order",
            oralDiet={"type": [CODE]},
            **STAY,
        ),
        two_clocks=False,
    ),
    "Observation": canary(
        "SNOMED//CANARY",
        record(
            "Observation",
            status="final",
            code=CODE,
            effectiveDateTime=MARCH,
            issued=JUNE,
            valueQuantity={"value": 5, "comparator": "<", "code": "mg/dL"},
        ),
        two_clocks=True,
    ),
    "Patient": canary(
        "MEDS_DEATH",
        {"resourceType": "Patient", "id": "$", "gender": "female", "deceasedDateTime": JUNE},
        without=[{"resourceType": "Patient", "id": "$", "gender": "female"}],
        two_clocks=False,
    ),
    "Procedure": canary(
        "SNOMED//CANARY",
        record("Procedure", status="completed", code=CODE, performedPeriod=SPAN),
        two_clocks=True,
    ),
    "QuestionnaireResponse": canary(
        "ANSWER//SONGS//1//SNOMED//CANARY",
        record(
            "QuestionnaireResponse",
            status="completed",
            questionnaire="http://kh.example/Questionnaire/songs",
            authored=JUNE,
            item=[{"linkId": "1", "answer": [{"valueCoding": CODE["coding"][0]}]}],
            **STAY,
        ),
        two_clocks=False,
    ),
    "ServiceRequest": canary(
        "ORDER//SNOMED//CANARY",
        record(
            "ServiceRequest",
            status="active",
            intent="order",
            code=CODE,
            occurrenceDateTime=MARCH,
            authoredOn=JUNE,
        ),
        two_clocks=False,
    ),
    "Specimen": canary(
        "SPECIMEN//SNOMED//CANARY",
        record("Specimen", type=CODE, collection={"collectedDateTime": MARCH}, receivedTime=JUNE),
        two_clocks=True,
    ),
}

DRUG_R5 = {"status": "completed", "medication": {"concept": CODE}}
CHANGED = {"meta": {"lastUpdated": JUNE}}

CANARIES_R5 = {
    "Procedure": canary(
        "SNOMED//CANARY",
        record("Procedure", status="completed", code=CODE, occurrenceDateTime=MARCH, recorded=JUNE),
        two_clocks=True,
    ),
    "MedicationAdministration": canary(
        "ADMINISTERED//SNOMED//CANARY",
        record(
            "MedicationAdministration",
            **DRUG_R5,
            occurencePeriod={"start": MARCH, "end": MARCH},
            recorded=JUNE,
        ),
        two_clocks=True,
    ),
    "MedicationDispense": canary(
        "DISPENSED//SNOMED//CANARY",
        record("MedicationDispense", **DRUG_R5, recorded=JUNE),
        two_clocks=False,
    ),
    "Composition": canary(
        "NOTE//SNOMED//CANARY",
        record(
            "Composition",
            status="corrected",
            type=CODE,
            event=[{"period": {"start": MARCH, "end": MARCH}}],
            date=MARCH,
            section=[{"title": "Song", "text": {"div": "<div>The canary sang.</div>"}}],
            **CHANGED,
        ),
        two_clocks=True,
    ),
    "DocumentReference": canary(
        "NOTE//SNOMED//CANARY",
        record(
            "DocumentReference",
            status="current",
            docStatus="appended",
            type=CODE,
            date=MARCH,
            period={"start": MARCH, "end": MARCH},
            content=[{"attachment": {"contentType": "text/plain", "data": TEXT}}],
            **CHANGED,
        ),
        two_clocks=True,
    ),
    "DiagnosticReport": canary(
        "REPORT//SNOMED//CANARY",
        record(
            "DiagnosticReport",
            status="modified",
            code=CODE,
            conclusion="The canary sang.",
            effectiveDateTime=MARCH,
            issued=MARCH,
            **CHANGED,
        ),
        two_clocks=True,
    ),
}
"""Of the types that say it in R5 by what R4 has not."""
