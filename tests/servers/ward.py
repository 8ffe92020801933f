"""A small ward for the tests' servers: made-up patients, their records, a note, a drug, a place."""

import base64
from typing import Any

__all__ = ["note", "ward"]

Resource = dict[str, Any]


def ward(patients: int = 3, observations: int = 5) -> list[Resource]:
    """Give each patient an encounter, observations, a condition and a drug; all share a place."""
    made: list[Resource] = [
        {"resourceType": "Location", "id": "ward", "name": "Ward 7"},
        {"resourceType": "Medication", "id": "drug", "code": _code("RxNorm", "6809")},
    ]
    for number in range(1, patients + 1):
        name = f"p{number}"
        subject = {"subject": {"reference": f"Patient/{name}"}}
        made += [
            {
                "resourceType": "Patient",
                "id": name,
                "gender": "female" if number % 2 else "male",
                "birthDate": "1950-01-01",
                "identifier": [{"system": "urn:mrn", "value": f"MRN-{number}"}],
            },
            {
                "resourceType": "Encounter",
                "id": f"{name}-stay",
                "status": "finished",
                "class": {"code": "IMP"},
                "period": {"start": "2020-05-04T08:00:00Z", "end": "2020-05-06T08:00:00Z"},
                "location": [{"location": {"reference": "Location/ward"}}],
                **subject,
            },
            {
                "resourceType": "Condition",
                "id": f"{name}-c",
                "code": _code("SNOMED", "44054006"),
                "recordedDate": "2020-05-05",
                **subject,
            },
            {
                "resourceType": "MedicationRequest",
                "id": f"{name}-m",
                "status": "active",
                "intent": "order",
                "authoredOn": "2020-05-05",
                "medicationReference": {"reference": "Medication/drug"},
                **subject,
            },
        ]
        made += [
            {
                "resourceType": "Observation",
                "id": f"{name}-o{turn}",
                "status": "final",
                "code": _code("LOINC", "8480-6"),
                "effectiveDateTime": f"2020-05-0{4 + turn % 2}T0{turn % 10}:00:00Z",
                "valueQuantity": {"value": 120 + turn, "code": "mm[Hg]"},
                **subject,
            }
            for turn in range(observations)
        ]
    return made


def note(name: str, patient: str, url: str, text: str = "", kind: str = "text/plain") -> Resource:
    """Give a document whose text is at a URL; with `text`, the Binary that holds it."""
    if text:
        data = base64.b64encode(text.encode()).decode()
        return {"resourceType": "Binary", "id": name, "contentType": kind, "data": data}
    return {
        "resourceType": "DocumentReference",
        "id": name,
        "status": "current",
        "date": "2020-05-05T08:00:00Z",
        "subject": {"reference": f"Patient/{patient}"},
        "content": [{"attachment": {"contentType": kind, "url": url}}],
    }


def _code(system: str, code: str) -> Resource:
    systems = {
        "LOINC": "http://loinc.org",
        "SNOMED": "http://snomed.info/sct",
        "RxNorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    }
    return {"coding": [{"system": systems[system], "code": code}]}
