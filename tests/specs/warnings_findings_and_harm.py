from tests.specs.spec import Label, Spec


def snomed(code: str) -> dict[str, object]:
    return {"coding": [{"system": "http://snomed.info/sct", "code": code}]}


ABOUT = {"subject": {"reference": "Patient/p"}}

SPEC = Spec(
    title="Warnings, findings, photographs and harm",
    says="""
        A flag is known from when it was put on the chart. An assessment's finding is what somebody
        thought of: `IMPRESSION//`, not a diagnosis, and known once it was written down; its summary
        is a note. A photograph is an event (`MEDIA//`), known when it was issued. A fall is known
        when it was recorded, and occurred before; one that nearly happened did not happen.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        {
            "resourceType": "Flag",
            "id": "falls",
            "status": "inactive",
            "code": snomed("129839007"),
            "period": {"start": "2020-05-04T08:00:00Z", "end": "2020-08-01T08:00:00Z"},
            **ABOUT,
        },
        {
            "resourceType": "ClinicalImpression",
            "id": "ward-round",
            "status": "completed",
            "code": snomed("312850006"),
            "effectiveDateTime": "2020-05-05T09:00:00Z",
            "date": "2020-05-05T17:00:00Z",
            "finding": [
                {"itemCodeableConcept": snomed("271594007")},
                {"itemReference": {"reference": "Condition/elsewhere"}},
            ],
            "summary": "Unsteady.",
            **ABOUT,
        },
        {
            "resourceType": "Media",
            "id": "photograph",
            "status": "completed",
            "modality": {"coding": [{"system": "urn:media", "code": "photo"}]},
            "createdDateTime": "2020-05-06T09:00:00Z",
            "issued": "2020-05-06T12:00:00Z",
            "content": {"contentType": "image/jpeg", "url": "https://kh.example/photo.jpg"},
            **ABOUT,
        },
        {
            "resourceType": "AdverseEvent",
            "id": "fall",
            "actuality": "actual",
            "event": snomed("1912002"),
            "date": "2020-05-20T03:00:00Z",
            "recordedDate": "2020-05-25T10:00:00Z",
            **ABOUT,
        },
        {
            "resourceType": "AdverseEvent",
            "id": "nearly",
            "actuality": "potential",
            "event": snomed("1912002"),
            "date": "2020-05-10T03:00:00Z",
            **ABOUT,
        },
        *(
            {"resourceType": kind, "id": "mistaken", "status": "entered-in-error", **more, **ABOUT}
            for kind, more in (
                ("Flag", {"code": snomed("129839007"), "period": {"start": "2020-05-04"}}),
                ("ClinicalImpression", {"date": "2020-05-05", "summary": "Another patient."}),
                ("Media", {"createdDateTime": "2020-05-06", "content": {}}),
            )
        ),
    ],
    timeline="""
        time                | occurred            | code                           | value
        2020-05-04 08:00:00 |                     | FLAG//SNOMED//129839007        |
        2020-05-05 17:00:00 | 2020-05-05 09:00:00 | IMPRESSION//SNOMED//271594007  |
        2020-05-05 17:00:00 | 2020-05-05 09:00:00 | NOTE//SNOMED//312850006        | "Unsteady."
        2020-05-06 12:00:00 | 2020-05-06 09:00:00 | MEDIA//LOCAL_MEDIA//photo            |
        2020-05-25 10:00:00 | 2020-05-20 03:00:00 | ADVERSE_EVENT//SNOMED//1912002 |
    """,
    accounts={
        "projected": 5,
        "skipped": {
            "AdverseEvent: potential": 1,
            "Flag: entered-in-error": 1,
            "ClinicalImpression: entered-in-error": 1,
            "Media: entered-in-error": 1,
        },
    },
    task="fall_within_a_month",
    labels=(Label(prediction_time="2020-05-04 08:00:00", value=True),),
)
