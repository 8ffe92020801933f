from typing import Any

from tests.specs.spec import Label, Spec


def snomed(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://snomed.info/sct", "code": code}]}


ABOUT = {"subject": {"reference": "Patient/p"}}
OVER = {**ABOUT, "encounter": {"reference": "Encounter/over"}}
GOES_ON = {**ABOUT, "encounter": {"reference": "Encounter/goes-on"}}
PLANNED = "2020-04-20T08:00:00Z"
WITHIN = "2020-05-04T10:00:00Z"
AFTER = "2020-05-09T08:00:00Z"
APPENDECTOMY, SCAN, BATH, DRESSING = (snomed(c) for c in ("80146002", "77477000", "1", "2"))
DRUG = snomed("387458008")
EVENTS = ["2020-05-06T08:00:00Z", "2020-05-05T08:00:00Z"]


def stay(name: str, status: str, **period: str) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "id": name,
        "status": status,
        "class": [{"coding": [{"code": "IMP"}]}],
        "actualPeriod": period,
        **ABOUT,
    }


def procedure(name: str, code: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"resourceType": "Procedure", "id": name, "status": "completed", "code": code, **more}


def drug(kind: str, name: str, **more: Any) -> dict[str, Any]:
    about = {"resourceType": kind, "id": name, "status": "completed"}
    return {**about, "medication": {"concept": DRUG}, **more}


SPEC = Spec(
    title="R5: recorded long before it was done",
    says="""
        R5 says of `recorded` that it was captured first, whatever the status: of what was planned
        in April and done in May it may say April. So where nobody wrote down when something was
        done, it is known once its stay was over, and not before it was recorded; while the stay
        goes on nobody can say when, as of what bears no date at all. Outside a stay there is no
        better date than `recorded`. Of what was done several times, in whichever order that is
        written (`occurrenceTiming`), all was known with the last time, and it began with the first.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        stay("over", "completed", start="2020-05-04T08:00:00Z", end="2020-05-07T10:00:00Z"),
        stay("goes-on", "in-progress", start="2020-06-01T08:00:00Z"),
        procedure("removed", APPENDECTOMY, recorded=PLANNED, **OVER),
        procedure("told-later", SCAN, recorded=AFTER, **OVER),
        procedure("no-stay", SCAN, recorded=PLANNED, **ABOUT),
        procedure("stay-goes-on", SCAN, recorded=PLANNED, **GOES_ON),
        procedure("baths", BATH, occurrenceTiming={"event": EVENTS}, recorded=PLANNED, **OVER),
        procedure("baths-told-later", BATH, occurrenceTiming={"event": EVENTS}, recorded=AFTER)
        | ABOUT,
        procedure("dressed", DRESSING, occurrenceTiming={"event": EVENTS}, **GOES_ON)
        | {"status": "in-progress"},
        drug("MedicationAdministration", "given", recorded=WITHIN, **OVER),
        drug("MedicationAdministration", "given-in-no-stay", recorded=WITHIN, **ABOUT),
        drug("MedicationAdministration", "stay-goes-on", recorded=WITHIN, **GOES_ON),
        drug("MedicationAdministration", "given-twice", occurenceTiming={"event": EVENTS})
        | {"recorded": WITHIN, **OVER},
        drug("MedicationDispense", "handed-out", recorded=WITHIN, **OVER),
        drug("MedicationDispense", "handed-out-in-no-stay", recorded=WITHIN, **ABOUT),
        drug("MedicationDispense", "stay-goes-on", recorded=WITHIN, **GOES_ON),
    ],
    timeline="""
        time                | occurred            | code
        2020-04-20 08:00:00 |                     | SNOMED//77477000
        2020-05-04 08:00:00 |                     | ENCOUNTER_START//IMP
        2020-05-04 10:00:00 |                     | ADMINISTERED//SNOMED//387458008
        2020-05-04 10:00:00 |                     | DISPENSED//SNOMED//387458008
        2020-05-05 08:00:00 |                     | SNOMED//2
        2020-05-06 08:00:00 | 2020-05-05 08:00:00 | ADMINISTERED//SNOMED//387458008
        2020-05-06 08:00:00 | 2020-05-05 08:00:00 | SNOMED//1
        2020-05-07 10:00:00 |                     | ADMINISTERED//SNOMED//387458008
        2020-05-07 10:00:00 |                     | DISPENSED//SNOMED//387458008
        2020-05-07 10:00:00 |                     | ENCOUNTER_END//IMP
        2020-05-07 10:00:00 |                     | SNOMED//80146002
        2020-05-09 08:00:00 | 2020-05-05 08:00:00 | SNOMED//1
        2020-05-09 08:00:00 |                     | SNOMED//77477000
        2020-06-01 08:00:00 |                     | ENCOUNTER_START//IMP
    """,
    accounts={
        "projected": 14,
        "skipped": {
            "Procedure: undated": 1,
            "MedicationAdministration: undated": 1,
            "MedicationDispense: undated": 1,
        },
    },
    task="appendectomy_by_the_next_stay",
    labels=(
        Label(prediction_time="2020-05-04 08:00:00", value=False),
        Label(prediction_time="2020-06-01 08:00:00", value=True),
    ),
)
