from tests.specs.spec import Label, Spec

ASPIRIN = {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "243670"}]}
HEPARIN = {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "5224"}]}

SPEC = Spec(
    title="An order that was never given",
    says="""
        Aspirin was ordered and given. Heparin was ordered, and the nurse wrote that it was not
        given: the order stays, since a physician did order it, but there is no administration. A
        plan to give aspirin is not an order, and a cancelled order is none any more.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        {
            "resourceType": "MedicationRequest",
            "id": "order-1",
            "status": "completed",
            "intent": "order",
            "medicationCodeableConcept": ASPIRIN,
            "subject": {"reference": "Patient/p"},
            "authoredOn": "2020-05-04T08:00:00Z",
        },
        {
            "resourceType": "MedicationAdministration",
            "id": "given",
            "status": "completed",
            "medicationCodeableConcept": ASPIRIN,
            "subject": {"reference": "Patient/p"},
            "effectivePeriod": {"start": "2020-05-04T08:30:00Z", "end": "2020-05-04T08:35:00Z"},
            "dosage": {"dose": {"value": 100, "unit": "milligram", "code": "mg"}},
        },
        {
            "resourceType": "MedicationRequest",
            "id": "order-2",
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": HEPARIN,
            "subject": {"reference": "Patient/p"},
            "authoredOn": "2020-05-04T08:00:00Z",
        },
        {
            "resourceType": "MedicationAdministration",
            "id": "not-given",
            "status": "not-done",
            "medicationCodeableConcept": HEPARIN,
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2020-05-04T08:30:00Z",
        },
        {
            "resourceType": "MedicationRequest",
            "id": "plan",
            "status": "active",
            "intent": "plan",
            "medicationCodeableConcept": ASPIRIN,
            "subject": {"reference": "Patient/p"},
            "authoredOn": "2020-05-05T08:00:00Z",
        },
        {
            "resourceType": "MedicationRequest",
            "id": "cancelled",
            "status": "cancelled",
            "intent": "order",
            "medicationCodeableConcept": ASPIRIN,
            "subject": {"reference": "Patient/p"},
            "authoredOn": "2020-05-05T08:00:00Z",
        },
    ],
    timeline="""
        time                | occurred            | code                         | value
        2020-05-04 08:00:00 |                     | ORDER//RXNORM//243670        |
        2020-05-04 08:00:00 |                     | ORDER//RXNORM//5224          |
        2020-05-04 08:35:00 | 2020-05-04 08:30:00 | ADMINISTERED//RXNORM//243670 | 100 mg
    """,
    accounts={
        "projected": 4,
        "skipped": {
            "MedicationAdministration: not-done": 1,
            "MedicationRequest: intent plan": 1,
            "MedicationRequest: cancelled": 1,
        },
    },
    task="heparin_within_half_an_hour",
    labels=(Label(prediction_time="2020-05-04 08:00:00", value=False),),
)
