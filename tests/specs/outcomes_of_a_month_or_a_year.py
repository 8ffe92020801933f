from typing import Any

from tests.specs.spec import Label, Spec

PNEUMONIA = "233604007"
ASTHMA = "195967001"
VISIT = {
    "resourceType": "Encounter",
    "id": "visit",
    "status": "finished",
    "class": {"code": "AMB"},
    "subject": {"reference": "Patient/p"},
    "period": {"start": "2021-06-01T09:00:00Z", "end": "2021-06-01T10:00:00Z"},
}


def diagnosis(code: str, **dates: str) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": code,
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": code}]},
        "subject": {"reference": "Patient/p"},
        **dates,
    }


def asked(value: bool | None) -> tuple[Label, ...]:
    return (Label(prediction_time="2021-06-01 10:00:00", value=value),)


SPECS = [
    Spec(
        title="A patient who is last heard of in a year",
        says="""
            A diagnosis that was recorded in "2022" stands at the end of that year, since a model
            must not see it earlier. But it may have been recorded in January: `time_from` says so,
            and nothing shows that the patient was followed up to June. So whether pneumonia came
            within a year of the visit is not known: no label, and never a negative one.
        """,
        resources=[VISIT, diagnosis(ASTHMA, recordedDate="2022")],
        timeline="""
            time                | from       | code
            2021-06-01 09:00:00 |            | ENCOUNTER_START//AMB
            2021-06-01 10:00:00 |            | ENCOUNTER_END//AMB
            2022-12-31 23:59:59 | 2022-01-01 | SNOMED//195967001
        """,
        accounts={"projected": 2},
        task="pneumonia_within_a_year",
        labels=asked(None),
    ),
    Spec(
        title="An outcome in the year of the prediction",
        says="""
            Pneumonia that began "in 2021" came before the visit in June or after it, and nobody can
            tell. The patient was seen for years afterwards, so without it the label would be
            negative; with it there is none. To predict is possible all the same: at the visit the
            pneumonia was not on record.
        """,
        resources=[
            VISIT,
            diagnosis(PNEUMONIA, onsetDateTime="2021", recordedDate="2023-02-01T08:00:00Z"),
        ],
        timeline="""
            time                | occurred            | occurred from | code
            2021-06-01 09:00:00 |                     |               | ENCOUNTER_START//AMB
            2021-06-01 10:00:00 |                     |               | ENCOUNTER_END//AMB
            2023-02-01 08:00:00 | 2021-12-31 23:59:59 | 2021-01-01    | SNOMED//233604007
        """,
        accounts={"projected": 2},
        task="pneumonia_within_a_year",
        labels=asked(None),
    ),
    Spec(
        title="An outcome in a month that lies within the window",
        says="""
            Pneumonia "in August 2021" came within a year of a visit in June, whichever day it was:
            the label is positive.
        """,
        resources=[
            VISIT,
            diagnosis(PNEUMONIA, onsetDateTime="2021-08", recordedDate="2021-09-01T08:00:00Z"),
        ],
        timeline="""
            time                | occurred            | occurred from | code
            2021-06-01 09:00:00 |                     |               | ENCOUNTER_START//AMB
            2021-06-01 10:00:00 |                     |               | ENCOUNTER_END//AMB
            2021-09-01 08:00:00 | 2021-08-31 23:59:59 | 2021-08-01    | SNOMED//233604007
        """,
        accounts={"projected": 2},
        task="pneumonia_within_a_year",
        labels=asked(True),
    ),
]
