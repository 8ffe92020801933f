from tests.specs.spec import Label, Spec


def snomed(code: str) -> dict[str, object]:
    return {"coding": [{"system": "http://snomed.info/sct", "code": code}]}


PATIENT = {"patient": {"reference": "Patient/p"}}

SPEC = Spec(
    title="Devices, diets, episodes of care and detected issues",
    says="""
        That a patient uses a device is known once it was told, and not before it began. A diet is
        an order like any other. An episode of care is two events, as a stay is, and one that goes
        on has no end, whatever its period says. A danger that a pharmacist sees between two drugs
        is known when it was seen. Plans, drafts and mistakes are none of these.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        {
            "resourceType": "DeviceUseStatement",
            "id": "cpap",
            "status": "active",
            "subject": {"reference": "Patient/p"},
            "timingPeriod": {"start": "2020-03-01T20:00:00Z"},
            "recordedOn": "2020-05-04T09:00:00Z",
            "device": {"display": "CPAP mask"},
        },
        {
            "resourceType": "DeviceUseStatement",
            "id": "stick",
            "status": "completed",
            "subject": {"reference": "Patient/p"},
            "timingPeriod": {"start": "2020-05-05T10:00:00Z", "end": "2020-05-08T10:00:00Z"},
            "device": {
                "identifier": {"system": "urn:devices", "value": "W-17"},
                "display": "Stick",
            },
        },
        {
            "resourceType": "DeviceUseStatement",
            "id": "some-day",
            "status": "intended",
            "subject": {"reference": "Patient/p"},
            "recordedOn": "2020-05-04T09:00:00Z",
            "device": {"display": "Wheelchair"},
        },
        {
            "resourceType": "NutritionOrder",
            "id": "diet",
            "status": "active",
            "intent": "order",
            "dateTime": "2020-05-06T07:00:00Z",
            "oralDiet": {"type": [snomed("160670007"), snomed("1055202006")]},
            "supplement": [{"type": snomed("444331000124106")}],
            "enteralFormula": {"baseFormulaType": snomed("443651000124105")},
            **PATIENT,
        },
        {  # as R5 writes it
            "resourceType": "NutritionOrder",
            "id": "drink",
            "status": "active",
            "intent": "order",
            "dateTime": "2020-05-06T07:30:00Z",
            "supplement": [{"type": {"concept": snomed("442991000124104")}}],
            "enteralFormula": {"baseFormulaType": {"concept": snomed("443111000124101")}},
            "subject": {"reference": "Patient/p"},
        },
        {
            "resourceType": "NutritionOrder",
            "id": "idea",
            "status": "active",
            "intent": "proposal",
            "dateTime": "2020-05-06T07:00:00Z",
            "oralDiet": {"type": [snomed("160670007")]},
            **PATIENT,
        },
        {
            "resourceType": "NutritionOrder",
            "id": "empty",
            "status": "active",
            "intent": "order",
            "dateTime": "2020-05-06T07:00:00Z",
            **PATIENT,
        },
        {
            "resourceType": "EpisodeOfCare",
            "id": "dialysis",
            "status": "finished",
            "type": [snomed("265764009")],
            "period": {"start": "2020-05-07T08:00:00Z", "end": "2020-06-07T08:00:00Z"},
            **PATIENT,
        },
        {
            "resourceType": "EpisodeOfCare",
            "id": "palliative",
            "status": "active",
            "period": {"start": "2020-05-09T08:00:00Z", "end": "2021-05-09T08:00:00Z"},
            **PATIENT,
        },
        {
            "resourceType": "EpisodeOfCare",
            "id": "waiting",
            "status": "waitlist",
            "period": {"start": "2020-05-09T08:00:00Z"},
            **PATIENT,
        },
        {
            "resourceType": "DetectedIssue",
            "id": "interaction",
            "status": "final",
            "code": snomed("182817000"),
            "severity": "high",
            "identifiedDateTime": "2020-05-10T15:00:00Z",
            **PATIENT,
        },
        {
            "resourceType": "DetectedIssue",
            "id": "mistake",
            "status": "entered-in-error",
            "code": snomed("182817000"),
            "identifiedDateTime": "2020-05-10T15:00:00Z",
            **PATIENT,
        },
        {
            "resourceType": "DetectedIssue",
            "id": "some-time",
            "status": "final",
            "code": snomed("182817000"),
            **PATIENT,
        },
    ],
    timeline="""
        time                | occurred            | code                                  | value
        2020-05-04 09:00:00 | 2020-03-01 20:00:00 | DEVICE//TEXT//CPAP MASK               |
        2020-05-06 07:00:00 |                     | ORDER//SNOMED//1055202006             |
        2020-05-06 07:00:00 |                     | ORDER//SNOMED//160670007              |
        2020-05-06 07:00:00 |                     | ORDER//SNOMED//443651000124105        |
        2020-05-06 07:00:00 |                     | ORDER//SNOMED//444331000124106        |
        2020-05-06 07:30:00 |                     | ORDER//SNOMED//442991000124104        |
        2020-05-06 07:30:00 |                     | ORDER//SNOMED//443111000124101        |
        2020-05-07 08:00:00 |                     | EPISODE_START//SNOMED//265764009      |
        2020-05-08 10:00:00 | 2020-05-05 10:00:00 | DEVICE//TEXT//STICK                   |
        2020-05-09 08:00:00 |                     | EPISODE_START//UNKNOWN                |
        2020-05-10 15:00:00 |                     | ISSUE//SNOMED//182817000              | "high"
        2020-06-07 08:00:00 |                     | EPISODE_END//SNOMED//265764009        |
    """,
    accounts={
        "projected": 8,
        "skipped": {
            "DeviceUseStatement: intended": 1,
            "NutritionOrder: intent proposal": 1,
            "NutritionOrder: nothing ordered": 1,
            "EpisodeOfCare: waitlist": 1,
            "DetectedIssue: entered-in-error": 1,
            "DetectedIssue: undated": 1,
        },
    },
    task="issue_within_a_month",
    labels=(Label(prediction_time="2020-05-06 07:00:00", value=True),),
)
