"""R5 says the same as R4 by other names; what comes of a record is the same.

Over 400 lines, so that each pair stands side by side.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from fhir.resources import get_fhir_model_class as model_r5
from fhir.resources.R4B import get_fhir_model_class as model_r4

from ingest.accounting import why_invalid
from ingest.build import ingest
from ingest.store import RecordStore
from tests.ingest.exports import write_ndjson

WHO = {"reference": "Patient/p"}
STAY = {"reference": "Encounter/stay"}
SPAN = {"start": "2020-01-01T08:00:00Z", "end": "2020-01-05T09:00:00Z"}
PATIENT = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1950-03-01"}


def coded(code: str, system: str = "http://snomed.info/sct") -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


DRUG = coded("161", "http://www.nlm.nih.gov/research/umls/rxnorm")
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">well</div>'
EXPIRED = coded("exp", "http://terminology.hl7.org/CodeSystem/discharge-disposition")

CASES: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "encounter": (
        [
            {
                "resourceType": "Encounter",
                "status": "finished",
                "class": {"system": ACT, "code": "IMP"},
                "type": [coded("32485007")],
                "serviceType": coded("394579002"),
                "period": SPAN,
                "reasonCode": [coded("84114007")],
                "hospitalization": {"admitSource": coded("1"), "dischargeDisposition": EXPIRED},
            }
        ],
        [
            {
                "resourceType": "Encounter",
                "status": "completed",
                "class": [{"coding": [{"system": ACT, "code": "IMP"}]}],
                "type": [coded("32485007")],
                "serviceType": [{"concept": coded("394579002")}],
                "actualPeriod": SPAN,
                "reason": [{"value": [{"concept": coded("84114007")}]}],
                "admission": {"admitSource": coded("1"), "dischargeDisposition": EXPIRED},
            }
        ],
    ),
    "encounter-on-hold": (
        [
            {
                "resourceType": "Encounter",
                "status": "onleave",
                "class": {"system": ACT, "code": "IMP"},
                "period": SPAN,
            }
        ],
        [
            {
                "resourceType": "Encounter",
                "status": "on-hold",
                "class": [{"coding": [{"system": ACT, "code": "IMP"}]}],
                "actualPeriod": SPAN,
            }
        ],
    ),
    "order": (
        [
            {
                "resourceType": "MedicationRequest",
                "status": "active",
                "intent": "order",
                "medicationCodeableConcept": DRUG,
                "authoredOn": "2020-01-02T08:00:00Z",
            }
        ],
        [
            {
                "resourceType": "MedicationRequest",
                "status": "active",
                "intent": "order",
                "medication": {"concept": DRUG},
                "authoredOn": "2020-01-02T08:00:00Z",
            }
        ],
    ),
    "administration-by-reference": (
        [
            {
                "resourceType": "MedicationAdministration",
                "status": "completed",
                "medicationReference": {"reference": "Medication/m"},
                "effectivePeriod": SPAN,
                "dosage": {"dose": {"value": 5, "unit": "mg"}},
            },
            {"resourceType": "Medication", "id": "m", "code": DRUG},
        ],
        [
            {
                "resourceType": "MedicationAdministration",
                "status": "completed",
                "medication": {"reference": {"reference": "Medication/m"}},
                "occurencePeriod": SPAN,
                "dosage": {"dose": {"value": 5, "unit": "mg"}},
            },
            {"resourceType": "Medication", "id": "m", "code": DRUG},
        ],
    ),
    "administration-of-a-mixture": (
        [
            {
                "resourceType": "MedicationAdministration",
                "status": "completed",
                "medicationReference": {"reference": "Medication/mix"},
                "effectiveDateTime": "2020-01-02T08:00:00Z",
            },
            {
                "resourceType": "Medication",
                "id": "mix",
                "ingredient": [
                    {"itemCodeableConcept": coded("1", "http://hl7.org/fhir/sid/ndc")},
                    {"itemReference": {"reference": "Medication/m"}},
                ],
            },
            {"resourceType": "Medication", "id": "m", "code": DRUG},
        ],
        [
            {
                "resourceType": "MedicationAdministration",
                "status": "completed",
                "medication": {"reference": {"reference": "Medication/mix"}},
                "occurenceDateTime": "2020-01-02T08:00:00Z",
            },
            {
                "resourceType": "Medication",
                "id": "mix",
                "ingredient": [
                    {"item": {"concept": coded("1", "http://hl7.org/fhir/sid/ndc")}},
                    {"item": {"reference": {"reference": "Medication/m"}}},
                ],
            },
            {"resourceType": "Medication", "id": "m", "code": DRUG},
        ],
    ),
    "statement": (
        [
            {
                "resourceType": "MedicationStatement",
                "status": "active",
                "medicationCodeableConcept": DRUG,
                "dateAsserted": "2020-01-02",
            }
        ],
        [
            {
                "resourceType": "MedicationStatement",
                "status": "recorded",
                "medication": {"concept": DRUG},
                "dateAsserted": "2020-01-02",
            }
        ],
    ),
    "statement-not-taken": (
        [
            {
                "resourceType": "MedicationStatement",
                "status": "not-taken",
                "medicationCodeableConcept": DRUG,
                "dateAsserted": "2020-01-02",
            }
        ],
        [
            {
                "resourceType": "MedicationStatement",
                "status": "recorded",
                "medication": {"concept": DRUG},
                "dateAsserted": "2020-01-02",
                "adherence": {"code": {"coding": [{"code": "not-taking"}]}},
            }
        ],
    ),
    "dispense": (
        [
            {
                "resourceType": "MedicationDispense",
                "status": "completed",
                "medicationCodeableConcept": DRUG,
                "whenHandedOver": "2020-01-02T08:00:00Z",
            }
        ],
        [
            {
                "resourceType": "MedicationDispense",
                "status": "completed",
                "medication": {"concept": DRUG},
                "whenHandedOver": "2020-01-02T08:00:00Z",
            }
        ],
    ),
    "procedure": (
        [
            {
                "resourceType": "Procedure",
                "status": "completed",
                "code": coded("80146002"),
                "performedPeriod": SPAN,
            }
        ],
        [
            {
                "resourceType": "Procedure",
                "status": "completed",
                "code": coded("80146002"),
                "occurrencePeriod": SPAN,
            }
        ],
    ),
    "document-of-a-stay": (
        [
            {
                "resourceType": "DocumentReference",
                "status": "current",
                "type": coded("18842-5", "http://loinc.org"),
                "context": {"encounter": [STAY], "period": SPAN},
                "content": [{"attachment": {"contentType": "text/plain", "data": "d2VsbA=="}}],
            }
        ],
        [
            {
                "resourceType": "DocumentReference",
                "status": "current",
                "type": coded("18842-5", "http://loinc.org"),
                "context": [STAY],
                "period": SPAN,
                "content": [{"attachment": {"contentType": "text/plain", "data": "d2VsbA=="}}],
            }
        ],
    ),
    "imaging-study": (
        [
            {
                "resourceType": "ImagingStudy",
                "status": "available",
                "started": "2020-01-02T08:00:00Z",
                "modality": [{"system": "http://dicom.nema.org", "code": "DX"}],
                "series": [{"uid": "1.2.3.4.5", "modality": {"code": "CT"}}],
            }
        ],
        [
            {
                "resourceType": "ImagingStudy",
                "status": "available",
                "started": "2020-01-02T08:00:00Z",
                "modality": [coded("DX", "http://dicom.nema.org")],
                "series": [{"uid": "1.2.3.4.5", "modality": {"coding": [{"code": "CT"}]}}],
            }
        ],
    ),
    "service-request": (
        [
            {
                "resourceType": "ServiceRequest",
                "status": "active",
                "intent": "order",
                "code": coded("399208008"),
                "authoredOn": "2020-01-02T08:00:00Z",
            }
        ],
        [
            {
                "resourceType": "ServiceRequest",
                "status": "active",
                "intent": "order",
                "code": {"concept": coded("399208008")},
                "authoredOn": "2020-01-02T08:00:00Z",
            }
        ],
    ),
    "adverse-event": (
        [
            {
                "resourceType": "AdverseEvent",
                "actuality": "actual",
                "event": coded("304386008"),
                "date": "2020-01-02T08:00:00Z",
            }
        ],
        [
            {
                "resourceType": "AdverseEvent",
                "status": "completed",
                "actuality": "actual",
                "code": coded("304386008"),
                "occurrenceDateTime": "2020-01-02T08:00:00Z",
            }
        ],
    ),
    "clinical-impression": (
        [
            {
                "resourceType": "ClinicalImpression",
                "status": "completed",
                "date": "2020-01-02T08:00:00Z",
                "finding": [{"itemCodeableConcept": coded("850000")}],
            }
        ],
        [
            {
                "resourceType": "ClinicalImpression",
                "status": "completed",
                "date": "2020-01-02T08:00:00Z",
                "finding": [{"item": {"concept": coded("850000")}}],
            }
        ],
    ),
    "composition": (
        [
            {
                "resourceType": "Composition",
                "status": "final",
                "type": coded("18842-5", "http://loinc.org"),
                "date": "2020-01-02T08:00:00Z",
                "title": "Discharge",
                "author": [{"display": "ward"}],
                "section": [{"title": "Course", "text": {"status": "generated", "div": DIV}}],
            }
        ],
        [
            {
                "resourceType": "Composition",
                "status": "final",
                "type": coded("18842-5", "http://loinc.org"),
                "date": "2020-01-02T08:00:00Z",
                "title": "Discharge",
                "author": [{"display": "ward"}],
                "section": [{"title": "Course", "text": {"status": "generated", "div": DIV}}],
                "subject": [WHO],
            }
        ],
    ),
}
ENCOUNTERS = {
    "r4": {
        "resourceType": "Encounter",
        "id": "stay",
        "status": "finished",
        "class": {"system": ACT, "code": "AMB"},
        "period": SPAN,
        "subject": WHO,
    },
    "r5": {
        "resourceType": "Encounter",
        "id": "stay",
        "status": "completed",
        "class": [{"coding": [{"system": ACT, "code": "AMB"}]}],
        "actualPeriod": SPAN,
        "subject": WHO,
    },
}


def completed(resources: list[dict[str, Any]], version: str) -> list[dict[str, Any]]:
    whole = []
    for number, resource in enumerate(resources):
        about = {} if resource["resourceType"] == "Medication" else {"subject": WHO}
        whole.append({"id": f"r{number}", **about, **resource})
    return [PATIENT, ENCOUNTERS[version], *whole]


def events(place: Path, resources: list[dict[str, Any]]) -> list[Any]:
    write_ndjson(place / "fhir" / "all.ndjson", *resources)
    report = ingest([place / "fhir"], place / "store", public=True)
    [counts] = report["files"].values()
    rows = RecordStore(place / "store").query("SELECT * EXCLUDE (source) FROM events").to_numpy()
    return [counts["projected"], sorted(map(str, rows.tolist()))]


@pytest.mark.parametrize("name", CASES)
def test_r5_gives_the_events_that_r4_gives(name: str, tmp_path: Path) -> None:
    both = CASES[name]
    found = []
    for version, resources, model in zip(("r4", "r5"), both, (model_r4, model_r5), strict=True):
        whole = completed(resources, version)
        for resource in whole:
            model(resource["resourceType"]).model_validate(resource)  # it is what it says it is
        found.append(events(tmp_path / version, whole))
    assert found[0] == found[1]
    assert (len(found[0][1]) > 4) == (name != "statement-not-taken")


def test_what_is_valid_in_either_version_is_not_called_invalid() -> None:
    r4, r5 = CASES["encounter"]
    assert why_invalid("Encounter", json.dumps(r4[0])) is None
    assert why_invalid("Encounter", json.dumps(r5[0])) is None
    assert why_invalid("Encounter", '{"status": "completed", "period": 3}') is not None
