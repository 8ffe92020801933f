from typing import Any

from tests.specs.spec import Label, Spec

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ABOUT = {"subject": {"reference": "Patient/p"}}


def drug(code: str) -> dict[str, Any]:
    return {"coding": [{"system": RXNORM, "code": code}]}


def vaccine(name: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Immunization",
        "id": name,
        "status": "completed",
        "vaccineCode": {"coding": [{"system": "http://hl7.org/fhir/sid/cvx", "code": "08"}]},
        "patient": {"reference": "Patient/p"},
        **more,
    }


VACCINES = Spec(
    title="Vaccines of now and of long ago",
    says="""
        A vaccine that was given now is known now. One of long ago is known once somebody told of it
        (`recorded`) and occurred when it was given. One that was not given, or was entered in
        error, is none.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        {
            "resourceType": "Encounter",
            "id": "visit",
            "status": "finished",
            "class": {"code": "AMB"},
            "period": {"start": "2020-05-03T08:00:00Z", "end": "2020-05-04T09:00:00Z"},
            **ABOUT,
        },
        vaccine("now", occurrenceDateTime="2020-05-04T08:00:00Z"),
        vaccine(
            "long-ago", occurrenceDateTime="1990-01-01T08:00:00Z", recorded="2020-06-01T08:00:00Z"
        ),
        vaccine("not-given", status="not-done", occurrenceDateTime="2020-05-04T08:00:00Z"),
        vaccine("mistaken", status="entered-in-error", occurrenceDateTime="2020-05-04T08:00:00Z"),
    ],
    timeline="""
        time                | occurred            | code
        2020-05-03 08:00:00 |                     | ENCOUNTER_START//AMB
        2020-05-04 08:00:00 |                     | IMMUNIZATION//CVX//08
        2020-05-04 09:00:00 |                     | ENCOUNTER_END//AMB
        2020-06-01 08:00:00 | 1990-01-01 08:00:00 | IMMUNIZATION//CVX//08
    """,
    accounts={
        "projected": 4,
        "skipped": {"Immunization: not-done": 1, "Immunization: entered-in-error": 1},
    },
    task="vaccinated_so_far",
    labels=(Label(prediction_time="2020-05-03 08:00:00", value=True),),
)


def dispensed(name: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "MedicationDispense",
        "id": name,
        "status": "completed",
        "medicationCodeableConcept": drug("243670"),
        **ABOUT,
        **more,
    }


def stated(name: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "MedicationStatement",
        "id": name,
        "status": "active",
        "medicationCodeableConcept": drug("6918"),
        **ABOUT,
        **more,
    }


DRUGS = Spec(
    title="Drugs handed out, and drugs that somebody takes",
    says="""
        A drug was handed out when it was (`whenHandedOver`), not when it was prepared; where nobody
        wrote that down, when it was prepared, and in R5 when that was recorded. What is only being
        prepared, or was declined, was not handed out, nor is what is ready for pickup or was
        stopped, unless it says when it was. That the patient takes a drug is known once
        it is told (`dateAsserted`), and not before the taking began; where nobody says when it was
        told, when the taking that is told of ended. Who does not take it, is only to take it, or
        (R5) does not keep to it, does not take it.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        dispensed(
            "handed-over",
            whenPrepared="2020-05-04T08:00:00Z",
            whenHandedOver="2020-05-05T08:00:00Z",
            quantity={"value": 20, "unit": "TAB"},
        ),
        dispensed("prepared", whenPrepared="2020-05-06T08:00:00Z", recorded="2020-05-09T08:00:00Z"),
        {
            **dispensed("recorded", recorded="2020-05-07T08:00:00Z"),  # as R5 writes it
            "medicationCodeableConcept": None,
            "medication": {"concept": drug("243670")},
        },
        dispensed("no-date"),
        *(
            dispensed(f"{status} prepared", status=status, whenPrepared="2020-05-06T08:00:00Z")
            for status in ("in-progress", "stopped", "unknown")
        ),
        {  # as STU3 may write it
            **dispensed("nobody-says", whenPrepared="2020-05-09T08:00:00Z"),
            "status": None,
        },
        dispensed("ready-recorded", status="in-progress", recorded="2020-05-06T08:00:00Z"),
        dispensed("first-part", status="in-progress", whenHandedOver="2020-05-08T08:00:00Z"),
        *(
            dispensed(status, status=status, whenHandedOver="2020-05-05T08:00:00Z")
            for status in ("preparation", "on-hold", "declined", "cancelled", "entered-in-error")
        ),
        stated(
            "told",
            effectivePeriod={"start": "2019-01-01T08:00:00Z"},
            dateAsserted="2020-05-10T08:00:00Z",
        ),
        stated(
            "told-before-it-began",
            effectiveDateTime="2020-05-20T08:00:00Z",
            dateAsserted="2020-05-11T08:00:00Z",
        ),
        stated(
            "nobody-says-when-it-was-told",
            effectivePeriod={"start": "2020-05-12T08:00:00Z", "end": "2020-05-30T08:00:00Z"},
        ),
        *(
            stated(status, status=status, dateAsserted="2020-05-10T08:00:00Z")
            for status in ("not-taken", "intended", "entered-in-error")
        ),
        {  # as R5 writes it
            "resourceType": "MedicationStatement",
            "id": "does-not-keep-to-it",
            "status": "recorded",
            "medication": {"concept": drug("6918")},
            "dateAsserted": "2020-05-10T08:00:00Z",
            "adherence": {"code": {"coding": [{"code": "not-taking"}]}},
            **ABOUT,
        },
    ],
    timeline="""
        time                | occurred            | code                      | value
        2020-05-05 08:00:00 |                     | DISPENSED//RXNORM//243670 | 20 TAB
        2020-05-06 08:00:00 |                     | DISPENSED//RXNORM//243670 |
        2020-05-07 08:00:00 |                     | DISPENSED//RXNORM//243670 |
        2020-05-08 08:00:00 |                     | DISPENSED//RXNORM//243670 |
        2020-05-09 08:00:00 |                     | DISPENSED//RXNORM//243670 |
        2020-05-10 08:00:00 | 2019-01-01 08:00:00 | STATED//RXNORM//6918      |
        2020-05-20 08:00:00 |                     | STATED//RXNORM//6918      |
        2020-05-30 08:00:00 | 2020-05-12 08:00:00 | STATED//RXNORM//6918      |
    """,
    accounts={
        "projected": 9,
        "skipped": {
            "MedicationDispense: preparation": 1,
            "MedicationDispense: on-hold": 1,
            "MedicationDispense: declined": 1,
            "MedicationDispense: cancelled": 1,
            "MedicationDispense: entered-in-error": 1,
            "MedicationDispense: undated": 1,
            "MedicationDispense: not handed over": 4,
            "MedicationStatement: not-taken": 1,
            "MedicationStatement: intended": 1,
            "MedicationStatement: entered-in-error": 1,
            "MedicationStatement: adherence not-taking": 1,
        },
    },
    task="metoprolol_taken_so_far",
    labels=(
        Label(prediction_time="2020-05-05 08:00:00", value=True),
        Label(prediction_time="2020-05-06 08:00:00", value=True),
        Label(prediction_time="2020-05-07 08:00:00", value=True),
        Label(prediction_time="2020-05-08 08:00:00", value=True),
        Label(prediction_time="2020-05-09 08:00:00", value=True),
    ),
)

SPECS = (VACCINES, DRUGS)
