from tests.specs.spec import Label, Spec

PNEUMONIA = {"coding": [{"system": "http://snomed.info/sct", "code": "233604007"}]}
ABOUT = {"subject": {"reference": "Patient/p"}, "patient": {"reference": "Patient/p"}}

SPEC = Spec(
    title="Types that are left out",
    says="""
        A RiskAssessment is another model's opinion: who learns from it learns that model, and it is
        what Medweave itself puts out. Claims and statements of benefits are written for money,
        weeks after. A Device, Coverage or Organization has no date at which something was known of
        the patient. They are counted by type, so that nobody wonders where they went.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        {
            "resourceType": "Condition",
            "id": "suspected",
            "code": PNEUMONIA,
            "verificationStatus": {"coding": [{"code": "provisional"}]},
            "recordedDate": "2020-05-04T08:00:00Z",
            **ABOUT,
        },
        {
            "resourceType": "RiskAssessment",
            "id": "score",
            "status": "final",
            "occurrenceDateTime": "2020-05-04T08:00:00Z",
            "prediction": [{"outcome": PNEUMONIA, "probabilityDecimal": 0.9}],
            **ABOUT,
        },
        *(
            {"resourceType": kind, "id": "x", "status": "active", **ABOUT}
            for kind in ("Claim", "Coverage", "Device", "ExplanationOfBenefit", "Organization")
        ),
    ],
    timeline="""
        time                | code
        2020-05-04 08:00:00 | PROVISIONAL//SNOMED//233604007
    """,
    accounts={
        "projected": 2,
        "skipped": {
            "RiskAssessment": 1,
            "Claim": 1,
            "Coverage": 1,
            "Device": 1,
            "ExplanationOfBenefit": 1,
            "Organization": 1,
        },
    },
    task="pneumonia_so_far",
    labels=(Label(prediction_time="2020-05-04 08:00:00", value=False),),
)
