from typing import Any

from tests.specs.spec import Label, Spec


def condition(name: str, verification: str | None) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": name,
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "233604007"}]},
        "subject": {"reference": "Patient/p"},
        "recordedDate": "2020-05-04T10:00:00Z",
        **({"verificationStatus": {"coding": [{"code": verification}]}} if verification else {}),
    }


SPEC = Spec(
    title="Conditions that were refuted, entered in error, or not confirmed yet",
    says="""
        Five records of pneumonia on one day. One was refuted and one entered in error: neither is
        an event, for presence of a code must mean presence of the disease. A provisional one keeps
        its status in its code, so that a model can learn from the suspicion, and a label never
        mistakes it for the disease. Confirmed, and without any status, is the disease.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        condition("refuted", "refuted"),
        condition("mistaken", "entered-in-error"),
        condition("suspected", "provisional"),
        condition("confirmed", "confirmed"),
        condition("plain", None),
    ],
    timeline="""
        time                | code
        2020-05-04 10:00:00 | PROVISIONAL//SNOMED//233604007
        2020-05-04 10:00:00 | SNOMED//233604007
        2020-05-04 10:00:00 | SNOMED//233604007
    """,
    accounts={
        "projected": 4,
        "skipped": {"Condition: refuted": 1, "Condition: entered-in-error": 1},
    },
    task="pneumonia_so_far",
    labels=(Label(prediction_time="2020-05-04 10:00:00", value=True),),
)
