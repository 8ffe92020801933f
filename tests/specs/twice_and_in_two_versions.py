from typing import Any

from tests.specs.spec import Label, Spec

PATIENT = {"resourceType": "Patient", "id": "p", "gender": "female"}


def weight(name: str, kilograms: float, **meta: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": name,
        "meta": meta,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2020-05-04T08:00:00Z",
        "valueQuantity": {"value": kilograms, "code": "kg"},
    }


SPEC = Spec(
    title="The same resource twice, in two versions, deleted, and one patient under two ids",
    says="""
        Exports overlap. Of one `Type/id` the newest counts, by `meta.lastUpdated`, then by
        `versionId` as a number (10 is newer than 9), then what landed last. The others are
        superseded. A deletion, which a Bundle can carry, takes all versions away. A patient who was
        entered twice and then merged through `link` is one subject.
    """,
    resources=[
        PATIENT,
        weight("by-date", 70, lastUpdated="2020-05-04T09:00:00Z", versionId="2"),
        weight("by-date", 71, lastUpdated="2020-05-05T09:00:00Z", versionId="1"),
        weight("by-version", 80, versionId="10"),
        weight("by-version", 81, versionId="9"),
        weight("deleted", 90),
        {
            "resourceType": "Patient",
            "id": "same-woman",
            "active": False,
            "birthDate": "1960-01-02",
            "link": [{"other": {"reference": "Patient/p"}, "type": "replaced-by"}],
        },
        {**weight("of-the-other-id", 60), "subject": {"reference": "Patient/same-woman"}},
    ],
    files={
        "second-export.ndjson": [PATIENT],
        "withdrawn.json": {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [{"request": {"method": "DELETE", "url": "Observation/deleted"}}],
        },
    },
    timeline="""
        time                | code           | value
                            | GENDER//F      |
        1960-01-02          | MEDS_BIRTH     |
        2020-05-04 08:00:00 | LOINC//29463-7 | 60 kg
        2020-05-04 08:00:00 | LOINC//29463-7 | 71 kg
        2020-05-04 08:00:00 | LOINC//29463-7 | 80 kg
    """,
    accounts={"projected": 5, "superseded": 3, "deleted": 2},
    task="over_80_kg",
    labels=(Label(prediction_time="2020-05-04 08:00:00", value=False),),
)
