from tests.specs.spec import Label, Spec

BLOOD = {"coding": [{"system": "http://snomed.info/sct", "code": "119297000"}]}
ISOLATE = {"coding": [{"system": "http://snomed.info/sct", "code": "429951000124103"}]}
TAKEN = {"collectedDateTime": "2020-05-04T07:00:00Z"}
ABOUT = {"subject": {"reference": "Patient/p"}}

SPEC = Spec(
    title="Blood, and what grew from it",
    says="""
        Blood was taken at 07:00 and reached the laboratory at 09:00: it is known from then on, and
        occurred when it was taken. Two days later something had grown from it. That isolate is a
        specimen as well and carries the same time of collection, but there was nothing to see
        before it was there, and that it is there is a finding: it counts from when the laboratory
        received or last processed it. An isolate that says neither is left out.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        {
            "resourceType": "Specimen",
            "id": "blood",
            "type": BLOOD,
            "collection": TAKEN,
            "receivedTime": "2020-05-04T09:00:00Z",
            **ABOUT,
        },
        {
            "resourceType": "Specimen",
            "id": "isolate",
            "type": ISOLATE,
            "parent": [{"reference": "Specimen/blood"}],
            "collection": TAKEN,
            "processing": [
                {"timeDateTime": "2020-05-05T10:00:00Z"},
                {"timePeriod": {"start": "2020-05-06T10:00:00Z", "end": "2020-05-06T15:00:00Z"}},
            ],
            **ABOUT,
        },
        {
            "resourceType": "Specimen",
            "id": "undated",
            "type": ISOLATE,
            "parent": [{"reference": "Specimen/blood"}],
            "collection": TAKEN,
            **ABOUT,
        },
        {
            "resourceType": "Specimen",
            "id": "mistaken",
            "status": "entered-in-error",
            "type": BLOOD,
            "collection": TAKEN,
            **ABOUT,
        },
    ],
    timeline="""
        time                | occurred            | code                              | value
        2020-05-04 09:00:00 | 2020-05-04 07:00:00 | SPECIMEN//SNOMED//119297000       |
        2020-05-06 15:00:00 |                     | SPECIMEN//SNOMED//429951000124103 |
    """,
    accounts={
        "projected": 3,
        "skipped": {"Specimen: undated": 1, "Specimen: entered-in-error": 1},
    },
    task="isolate_within_a_week",
    labels=(Label(prediction_time="2020-05-04 09:00:00", value=True),),
)
