from tests.specs.spec import Label, Spec

WEIGHT = {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]}

SPEC = Spec(
    title="References as urn:uuid, absolute URL, contained, and by identifier",
    says="""
        One woman, five ways to speak of her. In a Bundle a reference is resolved through the
        entries' `fullUrl`; an absolute URL by its last two parts, `/_history/n` left away; a
        conditional reference through Patient.identifier. A contained resource has no life outside
        its container, and `#id` finds it there: here the drug that was ordered.
    """,
    files={
        "bundle.json": {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {
                    "fullUrl": "urn:uuid:8b5c1b6e-0000-4000-8000-000000000001",
                    "resource": {
                        "resourceType": "Patient",
                        "id": "p",
                        "gender": "other",
                        "identifier": [{"system": "urn:example:mrn", "value": "42"}],
                    },
                    "request": {"method": "POST", "url": "Patient"},
                },
                {
                    "fullUrl": "urn:uuid:8b5c1b6e-0000-4000-8000-000000000002",
                    "resource": {
                        "resourceType": "Observation",
                        "status": "final",
                        "code": WEIGHT,
                        "subject": {"reference": "urn:uuid:8b5c1b6e-0000-4000-8000-000000000001"},
                        "effectiveDateTime": "2020-01-01T00:00:00Z",
                        "valueQuantity": {"value": 61, "code": "kg"},
                    },
                },
            ],
        },
    },
    resources=[
        {
            "resourceType": "Observation",
            "id": "absolute",
            "status": "final",
            "code": WEIGHT,
            "subject": {"reference": "https://fhir.example.org/r4/Patient/p/_history/3"},
            "effectiveDateTime": "2020-01-02T00:00:00Z",
            "valueQuantity": {"value": 62, "code": "kg"},
        },
        {
            "resourceType": "Observation",
            "id": "conditional",
            "status": "final",
            "code": WEIGHT,
            "subject": {"reference": "Patient?identifier=urn:example:mrn|42"},
            "effectiveDateTime": "2020-01-03T00:00:00Z",
            "valueQuantity": {"value": 63, "code": "kg"},
        },
        {
            "resourceType": "Observation",
            "id": "logical",
            "status": "final",
            "code": WEIGHT,
            "subject": {"identifier": {"system": "urn:example:mrn", "value": "42"}},
            "effectiveDateTime": "2020-01-04T00:00:00Z",
            "valueQuantity": {"value": 64, "code": "kg"},
        },
        {
            "resourceType": "MedicationRequest",
            "id": "contained",
            "status": "active",
            "intent": "order",
            "contained": [
                {
                    "resourceType": "Medication",
                    "id": "drug",
                    "code": {
                        "coding": [
                            {
                                "system": "http://www.nlm.nih.gov/research/umls/rxnorm",
                                "code": "243670",
                            }
                        ]
                    },
                }
            ],
            "medicationReference": {"reference": "#drug"},
            "subject": {"reference": "Patient/p"},
            "authoredOn": "2020-01-05T00:00:00Z",
        },
    ],
    timeline="""
        time       | code                  | value
                   | GENDER//O             |
        2020-01-01 | LOINC//29463-7        | 61 kg
        2020-01-02 | LOINC//29463-7        | 62 kg
        2020-01-03 | LOINC//29463-7        | 63 kg
        2020-01-04 | LOINC//29463-7        | 64 kg
        2020-01-05 | ORDER//RXNORM//243670 |
    """,
    task="aspirin_ordered_within_a_week",
    labels=(Label(prediction_time="2020-01-01 00:00:00", value=True),),
)
