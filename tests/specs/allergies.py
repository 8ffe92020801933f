from typing import Any

from tests.specs.spec import Label, Spec


def snomed(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://snomed.info/sct", "code": code}]}


def verified(status: str) -> dict[str, Any]:
    return {"verificationStatus": {"coding": [{"code": status}]}}


PENICILLIN, NUTS, LATEX, NONE = "91936005", "91935009", "300916003", "716186003"


def allergy(name: str, code: str | None, **more: Any) -> dict[str, Any]:
    named = {"code": snomed(code)} if code else {}
    return {
        "resourceType": "AllergyIntolerance",
        "id": name,
        "patient": {"reference": "Patient/p"},
        **named,
        **more,
    }


def stay(name: str, status: str, **period: str) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "id": name,
        "status": status,
        "class": {"code": "AMB"},
        "period": period,
        "subject": {"reference": "Patient/p"},
    }


OVER = {"encounter": {"reference": "Encounter/over"}}

SPEC = Spec(
    title="Allergies",
    says="""
        An allergy is known once it is recorded, though the patient has had it since childhood. Who
        wrote no `recordedDate` wrote it in the stay: it is known at its end, or at the last
        reaction if that came later; while the stay goes on there is no saying when, and it is left
        out. What was refuted or entered in error is none; unconfirmed stays, for nearly every
        allergy in a record is as the patient told it. That there is no known allergy is a code of
        its own. Without a code, what the first reaction was to names it.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        stay("over", "finished", start="2020-05-04T08:00:00Z", end="2020-05-04T12:00:00Z"),
        stay("goes-on", "in-progress", start="2020-06-01T08:00:00Z"),
        allergy(
            "recorded",
            PENICILLIN,
            onsetDateTime="1990-01-01T00:00:00Z",
            lastOccurrence="2020-05-01T08:00:00Z",
            recordedDate="2020-05-04T09:00:00Z",
            **verified("unconfirmed"),
            **OVER,
        ),
        allergy("told-in-the-stay", NUTS, onsetDateTime="1991-01-01T00:00:00Z", **OVER),
        allergy(
            "began-after",
            None,
            reaction=[{"substance": snomed("111088007")}],
            onsetPeriod={"start": "2020-05-10T08:00:00Z"},
            **OVER,
        ),
        allergy("came-again", LATEX, lastOccurrence="2020-05-20T08:00:00Z", **OVER),
        allergy(
            "told-in-a-stay-that-goes-on",
            LATEX,
            onsetDateTime="2020-05-05T08:00:00Z",
            encounter={"reference": "Encounter/goes-on"},
        ),
        allergy("none", NONE, recordedDate="2020-04-01T08:00:00Z"),
        allergy("refuted", NUTS, recordedDate="2020-04-01T08:00:00Z", **verified("refuted")),
        allergy(
            "mistaken", NUTS, recordedDate="2020-04-01T08:00:00Z", **verified("entered-in-error")
        ),
    ],
    timeline="""
        time                | occurred            | code                       | value
        2020-04-01 08:00:00 |                     | ALLERGY//SNOMED//716186003 |
        2020-05-04 08:00:00 |                     | ENCOUNTER_START//AMB       |
        2020-05-04 09:00:00 | 1990-01-01 00:00:00 | ALLERGY//SNOMED//91936005  |
        2020-05-04 12:00:00 |                     | ENCOUNTER_END//AMB         |
        2020-05-04 12:00:00 | 1991-01-01 00:00:00 | ALLERGY//SNOMED//91935009  |
        2020-05-10 08:00:00 |                     | ALLERGY//SNOMED//111088007 |
        2020-05-20 08:00:00 |                     | ALLERGY//SNOMED//300916003 |
        2020-06-01 08:00:00 |                     | ENCOUNTER_START//AMB       |
    """,
    accounts={
        "projected": 8,
        "skipped": {
            "AllergyIntolerance: undated": 1,
            "AllergyIntolerance: refuted": 1,
            "AllergyIntolerance: entered-in-error": 1,
        },
    },
    task="nut_allergy_so_far",
    labels=(
        Label(prediction_time="2020-05-04 08:00:00", value=True),
        Label(prediction_time="2020-06-01 08:00:00", value=True),
    ),
)
