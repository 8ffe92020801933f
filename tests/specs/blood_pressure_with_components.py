from tests.specs.spec import Label, Spec

SPEC = Spec(
    title="A blood pressure with components",
    says="""
        A panel has no value of its own: its components are the measurements. A component whose
        value is absent says so in its code (`//ABSENT`): that it was looked for in vain is not a
        measurement. Its text says why: one that was not done is not one that was masked or refused.
        A coded answer stands in the code, so that its presence can be learnt from.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        {
            "resourceType": "Observation",
            "id": "pressure",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2020-05-04T08:00:00Z",
            "component": [
                {
                    "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
                    "valueQuantity": {"value": 107, "unit": "mmHg", "code": "mm[Hg]"},
                },
                {
                    "code": {"coding": [{"system": "http://loinc.org", "code": "8462-4"}]},
                    "dataAbsentReason": {"coding": [{"code": "not-performed"}]},
                },
            ],
        },
        {
            "resourceType": "Observation",
            "id": "smoking",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "72166-2"}]},
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2020-05-04T08:00:00Z",
            "valueCodeableConcept": {
                "coding": [{"system": "http://snomed.info/sct", "code": "266919005"}]
            },
        },
        {
            "resourceType": "Observation",
            "id": "drinks",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "74013-4"}]},
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2020-05-04T08:00:00Z",
            "dataAbsentReason": {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason",
                        "code": "asked-declined",
                        "display": "Asked But Declined",
                    }
                ]
            },
        },
        {
            "resourceType": "Observation",
            "id": "height",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "8302-2"}]},
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2020-05-04T08:00:00Z",
            "dataAbsentReason": {"text": "would not stand"},
        },
        {
            "resourceType": "Observation",
            "id": "troponin",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "67151-1"}]},
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2020-05-04T08:00:00Z",
            "valueQuantity": {"value": 3, "comparator": "<", "unit": "ng/L"},
        },
    ],
    timeline="""
        time                | code                              | value
        2020-05-04 08:00:00 | LOINC//8480-6                     | 107 mm[Hg]
        2020-05-04 08:00:00 | LOINC//8462-4//ABSENT             | "not-performed"
        2020-05-04 08:00:00 | LOINC//74013-4//ABSENT            | "asked-declined"
        2020-05-04 08:00:00 | LOINC//8302-2//ABSENT             | "would not stand"
        2020-05-04 08:00:00 | LOINC//72166-2//SNOMED//266919005 |
        2020-05-04 08:00:00 | LOINC//67151-1                    | "<" 3 ng/L
    """,
    task="low_pressure",
    labels=(Label(prediction_time="2020-05-04 08:00:00", value=True),),
)
