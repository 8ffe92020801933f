from tests.specs.spec import Label, Spec

SPEC = Spec(
    title="A discharge diagnosis without a date",
    says="""
        Hospitals code diagnoses when a stay is over, and often give them no date. Such a diagnosis
        was not known at admission: it takes the end of its encounter. So does anything else that
        has no date of its own. What has neither a date nor an encounter that ended is left out of
        the timeline, and counted.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1950-03-01"},
        {
            "resourceType": "Encounter",
            "id": "stay",
            "status": "finished",
            "class": {"code": "IMP"},
            "subject": {"reference": "Patient/p"},
            "period": {"start": "2020-01-01T10:00:00Z", "end": "2020-01-05T16:00:00Z"},
        },
        {
            "resourceType": "Condition",
            "id": "with-encounter",
            "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "I50.9"}]},
            "subject": {"reference": "Patient/p"},
            "encounter": {"reference": "Encounter/stay"},
        },
        {
            "resourceType": "Condition",
            "id": "with-nothing",
            "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "E11.9"}]},
            "subject": {"reference": "Patient/p"},
        },
    ],
    timeline="""
        time                | code
                            | GENDER//F
        1950-03-01          | MEDS_BIRTH
        2020-01-01 10:00:00 | ENCOUNTER_START//IMP
        2020-01-05 16:00:00 | ENCOUNTER_END//IMP
        2020-01-05 16:00:00 | ICD10CM//I50.9
    """,
    accounts={"projected": 3, "skipped": {"Condition: undated": 1}},
    task="heart_failure_by_discharge",
    labels=(Label(prediction_time="2020-01-02 10:00:00", value=True),),
)
