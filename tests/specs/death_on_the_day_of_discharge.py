from tests.specs.spec import Label, Spec

SPEC = Spec(
    title="A death that is dated on the day of discharge, without an hour",
    says="""
        `deceasedDateTime` is often a date alone. The stay of that day says `exp` (expired) as its
        discharge disposition, so it ended in death, and death takes its end: 14:20, not midnight,
        which would be before the last blood pressure, nor the end of the day. The disposition
        belongs to the end, too: nobody knows at admission how a stay will end.
        Without such a stay the death would stand at the end of its date.
    """,
    resources=[
        {
            "resourceType": "Patient",
            "id": "p",
            "gender": "male",
            "birthDate": "1940-11-30",
            "deceasedDateTime": "2021-02-03",
        },
        {
            "resourceType": "Encounter",
            "id": "earlier",
            "status": "finished",
            "class": {"code": "AMB"},
            "subject": {"reference": "Patient/p"},
            "period": {"start": "2021-01-04T09:00:00Z", "end": "2021-01-04T09:30:00Z"},
        },
        {
            "resourceType": "Encounter",
            "id": "last",
            "status": "finished",
            "class": {"code": "IMP"},
            "subject": {"reference": "Patient/p"},
            "period": {"start": "2021-01-30T08:00:00Z", "end": "2021-02-03T14:20:00Z"},
            "hospitalization": {
                "dischargeDisposition": {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/discharge-disposition",
                            "code": "exp",
                        }
                    ]
                }
            },
        },
        {
            "resourceType": "Observation",
            "id": "pulse",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2021-02-03T13:55:00Z",
            "valueQuantity": {"value": 31, "code": "/min"},
        },
    ],
    timeline="""
        time                | code                 | value
                            | GENDER//M            |
        1940-11-30          | MEDS_BIRTH           |
        2021-01-04 09:00:00 | ENCOUNTER_START//AMB |
        2021-01-04 09:30:00 | ENCOUNTER_END//AMB   |
        2021-01-30 08:00:00 | ENCOUNTER_START//IMP |
        2021-02-03 13:55:00 | LOINC//8867-4        | 31 /min
        2021-02-03 14:20:00 | ENCOUNTER_END//IMP   |
        2021-02-03 14:20:00 | DISPOSITION//exp     |
        2021-02-03 14:20:00 | MEDS_DEATH           |
    """,
    task="died_in_hospital",
    labels=(Label(prediction_time="2021-01-31 08:00:00", value=True),),
)
