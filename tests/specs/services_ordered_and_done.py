from tests.specs.spec import Label, Spec

ECHO = {"coding": [{"system": "http://snomed.info/sct", "code": "40701008"}]}
CT = {"coding": [{"system": "http://snomed.info/sct", "code": "77477000"}]}
ABOUT = {"subject": {"reference": "Patient/p"}}

SPEC = Spec(
    title="A service that was ordered, and one that was not",
    says="""
        An echocardiogram was ordered on the 4th for the 20th and done on the 22nd. The order is
        known when it is written (`authoredOn`), whenever it is to be carried out, and it is an
        `ORDER//`: not the examination. A CT that somebody proposed, planned or drafted was not
        ordered; one that was revoked, is not to be done or was entered in error is none either.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        {
            "resourceType": "ServiceRequest",
            "id": "echo",
            "status": "completed",
            "intent": "order",
            "code": ECHO,
            "authoredOn": "2020-05-04T08:00:00Z",
            "occurrenceDateTime": "2020-05-20",
            **ABOUT,
        },
        {
            "resourceType": "Procedure",
            "id": "echo",
            "status": "completed",
            "code": ECHO,
            "performedDateTime": "2020-05-22T14:00:00Z",
            **ABOUT,
        },
        *(
            {
                "resourceType": "ServiceRequest",
                "id": f"ct-{number}",
                "code": CT,
                "authoredOn": "2020-05-04T08:00:00Z",
                **ABOUT,
                **state,
            }
            for number, state in enumerate(
                (
                    {"status": "active", "intent": "proposal"},
                    {"status": "active", "intent": "plan"},
                    {"status": "draft", "intent": "order"},
                    {"status": "revoked", "intent": "order"},
                    {"status": "active", "intent": "order", "doNotPerform": True},
                    {"status": "entered-in-error", "intent": "order"},
                )
            )
        ),
        {
            "resourceType": "ServiceRequest",
            "id": "undated",
            "status": "active",
            "intent": "order",
            "code": CT,
            **ABOUT,
        },
    ],
    timeline="""
        time                | code
        2020-05-04 08:00:00 | ORDER//SNOMED//40701008
        2020-05-22 14:00:00 | SNOMED//40701008
    """,
    accounts={
        "projected": 3,
        "skipped": {
            "ServiceRequest: intent proposal": 1,
            "ServiceRequest: intent plan": 1,
            "ServiceRequest: draft": 1,
            "ServiceRequest: revoked": 1,
            "ServiceRequest: do not perform": 1,
            "ServiceRequest: entered-in-error": 1,
            "ServiceRequest: undated": 1,
        },
    },
    task="echocardiogram_within_a_month",
    labels=(Label(prediction_time="2020-05-04 08:00:00", value=True),),
)
