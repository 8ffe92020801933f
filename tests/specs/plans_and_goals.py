from tests.specs.spec import Label, Spec


def snomed(code: str) -> dict[str, object]:
    return {"coding": [{"system": "http://snomed.info/sct", "code": code}]}


REHABILITATION, EXERCISE, REST = snomed("52052004"), snomed("229065009"), snomed("183051005")
ACTIVE = snomed("408580007")
ABOUT = {"subject": {"reference": "Patient/p"}}

SPEC = Spec(
    title="A plan and its goals",
    says="""
        A plan of rehabilitation was made on 4 May. Its category is known since then; that exercise
        belongs to it stands in a version of 11 May, and nothing says that it did before. An
        activity that was cancelled or must not be done is none. A goal is known when it is set
        (`startDate`); whether it was reached comes later and is not taken. What was only proposed
        is neither plan nor goal. A goal without a date can't be placed.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        {
            "resourceType": "CarePlan",
            "id": "plan",
            "meta": {"lastUpdated": "2020-05-11T10:00:00Z"},
            "status": "active",
            "intent": "plan",
            "category": [REHABILITATION],
            "created": "2020-05-04T08:00:00Z",
            "period": {"start": "2020-05-01"},
            "activity": [
                {"detail": {"code": EXERCISE, "status": "in-progress"}},
                {"detail": {"code": REST, "status": "scheduled", "doNotPerform": True}},
                {"detail": {"code": REST, "status": "cancelled"}},
                {"reference": {"reference": "ServiceRequest/elsewhere"}},
            ],
            **ABOUT,
        },
        {
            "resourceType": "CarePlan",
            "id": "proposed",
            "status": "active",
            "intent": "proposal",
            "category": [REST],
            "created": "2020-05-04T08:00:00Z",
            **ABOUT,
        },
        {
            "resourceType": "CarePlan",
            "id": "empty",
            "status": "active",
            "intent": "plan",
            "created": "2020-05-04T08:00:00Z",
            **ABOUT,
        },
        {
            "resourceType": "Goal",
            "id": "goal",
            "lifecycleStatus": "completed",
            "achievementStatus": snomed("390801006"),
            "description": ACTIVE,
            "startDate": "2020-05-05",
            "statusDate": "2020-09-01",
            **ABOUT,
        },
        {
            "resourceType": "Goal",
            "id": "proposed",
            "lifecycleStatus": "proposed",
            "description": ACTIVE,
            "startDate": "2020-05-05",
            **ABOUT,
        },
        {
            "resourceType": "Goal",
            "id": "undated",
            "lifecycleStatus": "active",
            "description": ACTIVE,
            **ABOUT,
        },
    ],
    timeline="""
        time                | code
        2020-05-04 08:00:00 | CARE_PLAN//SNOMED//52052004
        2020-05-05 23:59:59 | GOAL//SNOMED//408580007
        2020-05-11 10:00:00 | CARE_PLAN//SNOMED//229065009
    """,
    accounts={
        "projected": 3,
        "skipped": {
            "CarePlan: intent proposal": 1,
            "CarePlan: no code": 1,
            "Goal: proposed": 1,
            "Goal: undated": 1,
        },
    },
    task="rehabilitation_planned_so_far",
    labels=(Label(prediction_time="2020-05-05 23:59:59", value=True),),
)
