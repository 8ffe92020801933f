from tests.specs.spec import Label, Spec

SPEC = Spec(
    title="A family history",
    says="""
        The father had a heart attack. That is no heart attack of the patient's, so the code gets
        the role `FAMILY//`, both from a FamilyMemberHistory and from a Condition that is coded as
        family history (ICD-10 Z80 to Z84, or said so in its words).
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        {
            "resourceType": "FamilyMemberHistory",
            "id": "father",
            "status": "completed",
            "patient": {"reference": "Patient/p"},
            "date": "2018-03-18",
            "relationship": {"coding": [{"code": "FTH"}]},
            "condition": [
                {
                    "code": {"coding": [{"system": "http://snomed.info/sct", "code": "22298006"}]},
                    "onsetAge": {"value": 54, "code": "a"},
                }
            ],
        },
        {
            "resourceType": "Condition",
            "id": "coded-as-family-history",
            "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "Z82.49"}]},
            "subject": {"reference": "Patient/p"},
            "recordedDate": "2018-03-18",
        },
        {
            "resourceType": "Condition",
            "id": "said-to-be-family-history",
            "code": {
                "coding": [
                    {
                        "system": "http://snomed.info/sct",
                        "code": "312824007",
                        "display": "Family history of cancer of colon",
                    }
                ]
            },
            "subject": {"reference": "Patient/p"},
            "recordedDate": "2018-03-18",
        },
    ],
    timeline="""
        time                | code
        2018-03-18 23:59:59 | FAMILY//SNOMED//22298006
        2018-03-18 23:59:59 | FAMILY//ICD10CM//Z82.49
        2018-03-18 23:59:59 | FAMILY//SNOMED//312824007
    """,
    task="heart_attack_so_far",
    labels=(Label(prediction_time="2018-03-18 23:59:59", value=False),),
)
