from tests.specs.spec import Label, Spec

SPEC = Spec(
    title="An amended laboratory value",
    says="""
        Blood was drawn at 07:00 and the result issued at 09:00. Two days later the laboratory
        corrected it. The corrected value was not known before: it counts from its amendment on
        (`meta.lastUpdated` or `issued`, whichever is later), but it occurred when blood was drawn.
        The value before the correction is a superseded version where it comes at all, and is not
        in the timeline. A value that was not amended is known when it is issued.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        {
            "resourceType": "Observation",
            "id": "potassium",
            "meta": {"versionId": "1", "lastUpdated": "2020-05-04T09:00:00Z"},
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "2823-3"}]},
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2020-05-04T07:00:00Z",
            "issued": "2020-05-04T09:00:00Z",
            "valueQuantity": {"value": 7.1, "code": "mmol/L"},
        },
        {
            "resourceType": "Observation",
            "id": "potassium",
            "meta": {"versionId": "2", "lastUpdated": "2020-05-06T11:30:00Z"},
            "status": "amended",
            "code": {"coding": [{"system": "http://loinc.org", "code": "2823-3"}]},
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2020-05-04T07:00:00Z",
            "issued": "2020-05-04T09:00:00Z",
            "valueQuantity": {"value": 4.1, "code": "mmol/L"},
        },
        {
            "resourceType": "Observation",
            "id": "sodium",
            "meta": {"lastUpdated": "2024-01-01T00:00:00Z"},
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "2951-2"}]},
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2020-05-04T07:00:00Z",
            "issued": "2020-05-04T09:00:00Z",
            "valueQuantity": {"value": 139, "code": "mmol/L"},
        },
    ],
    timeline="""
        time                | occurred            | code          | value
        2020-05-04 09:00:00 | 2020-05-04 07:00:00 | LOINC//2951-2 | 139 mmol/L
        2020-05-06 11:30:00 | 2020-05-04 07:00:00 | LOINC//2823-3 | 4.1 mmol/L
    """,
    accounts={"projected": 3, "superseded": 1},
    task="high_potassium",
    labels=(Label(prediction_time="2020-05-04 09:00:00", value=False),),
)
