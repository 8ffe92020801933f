from tests.specs.spec import Label, Spec


def div(words: str) -> dict[str, str]:
    return {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{words}</div>',
    }


LETTER = {"coding": [{"system": "http://loinc.org", "code": "18842-5"}]}
ABOUT = {"subject": {"reference": "Patient/p"}, "encounter": {"reference": "Encounter/e"}}

SPEC = Spec(
    title="A letter in sections",
    says="""
        A Composition is a note: the narrative of its sections in their order, sections within
        sections among them, each under its title. It counts from its `date`, when the author last
        changed what stands there; what it is about (`event.period`) occurred before. An attester
        vouches for the text and does not change it. An amended letter counts from its amendment on.
        A letter that was entered in error is none, and one without text says nothing.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        {
            "resourceType": "Encounter",
            "id": "e",
            "status": "finished",
            "class": {"code": "IMP"},
            "period": {"start": "2020-05-04T08:00:00Z", "end": "2020-05-07T10:00:00Z"},
            "subject": {"reference": "Patient/p"},
        },
        {
            "resourceType": "Composition",
            "id": "letter",
            "status": "final",
            "type": LETTER,
            "date": "2020-05-08T16:00:00Z",
            "attester": [{"mode": "legal", "time": "2020-06-01T09:00:00Z"}],
            "event": [{"period": {"start": "2020-05-04T09:00:00Z", "end": "2020-05-07T10:00:00Z"}}],
            "section": [
                {
                    "title": "Course",
                    "text": div("Short of breath &amp; wheezing."),
                    "section": [{"title": "Day < 2", "text": div("<p>Better.</p>")}],
                },
                {"title": "Medication", "text": div("<ul><li>Salbutamol</li></ul>")},
                {"title": "Only entries", "entry": [{"reference": "Condition/none"}]},
            ],
            **ABOUT,
        },
        {
            "resourceType": "Composition",
            "id": "amended",
            "meta": {"lastUpdated": "2020-05-20T12:00:00Z"},
            "status": "amended",
            "type": {"text": "Consult"},
            "date": "2020-05-05T16:00:00Z",
            "text": div("No asthma after all."),
            **ABOUT,
        },
        {
            "resourceType": "Composition",
            "id": "mistaken",
            "status": "entered-in-error",
            "type": LETTER,
            "date": "2020-05-05T16:00:00Z",
            "text": div("Another patient's."),
            **ABOUT,
        },
        {
            "resourceType": "Composition",
            "id": "empty",
            "status": "final",
            "type": LETTER,
            "date": "2020-05-05T16:00:00Z",
            **ABOUT,
        },
    ],
    timeline="""
        time                | occurred            | code                  | value
        2020-05-04 08:00:00 |                     | ENCOUNTER_START//IMP  |
        2020-05-07 10:00:00 |                     | ENCOUNTER_END//IMP    |
        2020-05-08 16:00:00 | 2020-05-04 09:00:00 | NOTE//LOINC//18842-5  | WORDS
        2020-05-20 12:00:00 |                     | NOTE//TEXT//CONSULT   | "No asthma after all."
    """.replace(
        "WORDS",
        r'"Course\n\nShort of breath & wheezing.\n\nDay < 2\n\nBetter.\n\nMedication\n\nSalbutamol'
        r'\n\nOnly entries"',
    ),
    accounts={
        "projected": 4,
        "skipped": {"Composition: entered-in-error": 1, "Composition: no text": 1},
    },
    sees={"2020-05-08 12:00:00": {"events"}, "2020-05-08 16:00:00": {"events", "notes"}},
    task="discharge_letter_within_a_week",
    labels=(Label(prediction_time="2020-05-04 08:00:00", value=True),),
)
