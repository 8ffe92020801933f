from base64 import b64encode
from typing import Any

from tests.specs.spec import Label, Spec


def loinc(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://loinc.org", "code": code}]}


def measured(day: int, code: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"{code}-{day}",
        "status": "final",
        "code": loinc(code),
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": f"2020-05-{day:02}T08:00:00Z",
        **value,
    }


WEIGHT, GROWTH = "29463-7", "600-7"
PRESSURE = {"code": loinc("8480-6"), "valueQuantity": {"value": "<60", "unit": "mmHg"}}
LETTER = {"contentType": "text/plain", "data": b64encode(b"No growth.").decode()}

SPEC = Spec(
    title="Values as they came",
    says="""
        Feeds write what FHIR does not allow, and what they meant is kept where only one thing can
        be meant: "<60" in a number's place is a number with a comparator, a list of one quantity is
        that quantity, and a component without a list around it is a component. What may be two
        things stays in words: "81,5" may be 81.5 or 815 to whoever left out the point. R5 has
        attachments and references as values; of these the words are kept. Who gives no value may
        say what it means (`interpretation`), or why not (`note`): that is the text then.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        measured(4, WEIGHT, {"valueQuantity": {"value": "81.5", "unit": "kg"}}),
        measured(5, WEIGHT, {"valueQuantity": {"value": "81,5", "unit": "kg"}}),
        measured(6, WEIGHT, {"valueQuantity": [{"value": 82, "unit": "kg"}]}),
        measured(7, WEIGHT, {"valueQuantity": "refused"}),
        measured(4, "85354-9", {"component": PRESSURE}),
        measured(4, GROWTH, {"valueAttachment": LETTER}),
        measured(5, GROWTH, {"valueReference": {"display": "Sequence 7"}}),
        measured(6, GROWTH, {"interpretation": [{"coding": [{"code": "POS"}]}]}),
        measured(7, GROWTH, {"note": [{"text": "Haemolysed."}]}),
    ],
    timeline="""
        time                | code           | value
        2020-05-04 08:00:00 | LOINC//29463-7 | 81.5 kg
        2020-05-05 08:00:00 | LOINC//29463-7 | "81,5"
        2020-05-06 08:00:00 | LOINC//29463-7 | 82 kg
        2020-05-07 08:00:00 | LOINC//29463-7 | "refused"
        2020-05-04 08:00:00 | LOINC//8480-6  | "<" 60 mm[Hg]
        2020-05-04 08:00:00 | LOINC//600-7   | "No growth."
        2020-05-05 08:00:00 | LOINC//600-7   | "Sequence 7"
        2020-05-06 08:00:00 | LOINC//600-7   | "POS"
        2020-05-07 08:00:00 | LOINC//600-7   | "Haemolysed."
    """,
    task="over_80_kg",
    labels=(
        Label(prediction_time="2020-05-04 08:00:00", value=True),
        Label(prediction_time="2020-05-05 08:00:00", value=True),
        Label(prediction_time="2020-05-06 08:00:00", value=True),
        Label(prediction_time="2020-05-07 08:00:00", value=True),
    ),
)
