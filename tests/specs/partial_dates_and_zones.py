from tests.specs.spec import Label, Spec

PNEUMONIA = {"coding": [{"system": "http://snomed.info/sct", "code": "233604007"}]}
ASTHMA = {"coding": [{"system": "http://snomed.info/sct", "code": "195967001"}]}
WEIGHT = {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]}

SPEC = Spec(
    title="Partial dates, and times without a zone",
    says="""
        All times are UTC. A time that carries no zone is in the site's (here Berlin: one hour ahead
        in winter, two in summer), and so are dates. A date, a month or a year is a period, and what
        is dated with it may have been known only at its end: its last second. Where the period
        begins is kept beside it. A birth date is a date in no zone; a birth month stands at its
        last day. An onset of "2019" that was recorded in March 2020 was known in March 2020.
    """,
    timezone="Europe/Berlin",
    resources=[
        {"resourceType": "Patient", "id": "p", "birthDate": "1950-06"},
        {
            "resourceType": "Condition",
            "id": "day",
            "code": PNEUMONIA,
            "subject": {"reference": "Patient/p"},
            "onsetDateTime": "2019",
            "recordedDate": "2020-03-15",
        },
        {
            "resourceType": "Condition",
            "id": "month",
            "code": ASTHMA,
            "subject": {"reference": "Patient/p"},
            "recordedDate": "2020-06",
        },
        {
            "resourceType": "Observation",
            "id": "no-zone",
            "status": "final",
            "code": WEIGHT,
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2020-07-01T10:00:00",
            "valueQuantity": {"value": 71, "unit": "kg"},
        },
        {
            "resourceType": "Observation",
            "id": "zone",
            "status": "final",
            "code": WEIGHT,
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2020-07-01T10:00:00-05:00",
            "valueQuantity": {"value": 72, "unit": "kg"},
        },
        {
            "resourceType": "Observation",
            "id": "year",
            "status": "final",
            "code": WEIGHT,
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2020",
            "valueQuantity": {"value": 73, "unit": "kg"},
        },
    ],
    timeline="""
        time                | from                | occurred            | code              | value
        1950-06-30          | 1950-06-01          |                     | MEDS_BIRTH        |
        2020-03-15 22:59:59 | 2020-03-14 23:00:00 | 2019-12-31 22:59:59 | SNOMED//233604007 |
        2020-06-30 21:59:59 | 2020-05-31 22:00:00 |                     | SNOMED//195967001 |
        2020-07-01 08:00:00 |                     |                     | LOINC//29463-7    | 71 kg
        2020-07-01 15:00:00 |                     |                     | LOINC//29463-7    | 72 kg
        2020-12-31 22:59:59 | 2019-12-31 23:00:00 |                     | LOINC//29463-7    | 73 kg
    """,
    task="pneumonia_before_2020",
    labels=(Label(prediction_time="1950-06-30 00:00:00", value=True),),
)
