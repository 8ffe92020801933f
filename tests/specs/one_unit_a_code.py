from typing import Any

from tests.specs.spec import Label, Spec

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"


def measured(number: int, code: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"{code}-{number}",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": f"2020-05-{number:02}T08:00:00Z",
        **value,
    }


def quantity(value: float, unit: str, **more: Any) -> dict[str, Any]:
    return {"valueQuantity": {"value": value, "unit": unit, **more}}


def between(low: float, its_unit: str, high: float, unit: str) -> dict[str, Any]:
    return {
        "valueRange": {
            "low": {"value": low, "code": its_unit},
            "high": {"value": high, "code": unit},
        }
    }


def ratio(above: float, its_unit: str, below: float, unit: str) -> dict[str, Any]:
    return {
        "valueRatio": {
            "numerator": {"value": above, "code": its_unit},
            "denominator": {"value": below, "code": unit},
        }
    }


EIGHT, TWO_MG_DL = {"value": 8}, {"value": 2, "code": "mg/dL"}
ASPIRIN = {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "1191"}]}

SPEC = Spec(
    title="One unit a code",
    says="""
        A weight in pounds is a weight in kilograms, whatever else is in the data: the unit depends
        on the code alone, so that one patient's record comes out like the records that a model was
        trained on. What people write for a unit is read where only one can be meant. Glucose and
        creatinine are converted from amounts of substance, for their molar mass is known. A
        comparator stays, in a ratio too: a titre of "<1:8" is none of 1:8. The bounds of a range
        are converted with its middle, each in its own unit where it has one; where they can't be,
        both units stay in the text and the number is the lower bound. A ratio as it is written
        keeps its unit; where it is divided by what is a quotient itself, that stands in brackets
        (10 mg to 2 kg/h are no mg/kg/h). Tablets are no unit: they stay, and the report counts
        them. So do Ehrlich units (EU), which UCUM would read as exa-units, two pieces (pc) that
        would be parsecs, and MU/L, which may be milli-units in capitals or millions; a molar
        concentration (mM) is no length. D-dimer units (DDU) are half of fibrinogen equivalents, and
        stay what they are.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        measured(4, "29463-7", quantity(185, "lb", system=UCUM, code="[lb_av]")),
        measured(5, "29463-7", quantity(79, "kg", system=UCUM, code="kg")),
        measured(5, "8310-5", quantity(98.6, "°F")),
        measured(5, "6690-2", quantity(7.5, "K/uL")),
        measured(5, "8480-6", quantity(16, "kPa")),
        measured(5, "2345-7", quantity(5, "mmol/L", comparator="<")),
        measured(5, "2160-0", quantity(88.4017, "umol/L")),
        measured(
            5,
            "1988-5",
            {"valueRange": {"low": {"value": 1, "code": "mg/dL"}, "high": {"value": 2}}},
        ),
        measured(
            5,
            "3298-7",
            {
                "valueRatio": {
                    "numerator": {"value": 3, "code": "g"},
                    "denominator": {"value": 2, "code": "L"},
                }
            },
        ),
        measured(
            5,
            "22461-8",
            {"valueRatio": {"numerator": {"value": 1, "comparator": "<"}, "denominator": EIGHT}},
        ),
        measured(
            6,
            "3298-7",
            {
                "valueRatio": {
                    "numerator": {"value": 3, "comparator": ">=", "code": "g"},
                    "denominator": {"value": 2, "code": "L"},
                }
            },
        ),
        measured(5, "30532-6", ratio(10, "mg", 2, "kg/h")),
        measured(5, "14959-1", ratio(30, "mg/L", 1, "g/L")),
        measured(5, "8061-4", ratio(1, "1", 128, "1")),
        measured(5, "30533-4", ratio(60, "mL/min", 1, "{1.73_m2}")),
        measured(7, "1988-5", between(500, "ug/dL", 2, "mg/dL")),
        measured(5, "9192-6", between(1, "g", 2000, "mg")),
        measured(5, "8331-1", between(36, "Cel", 98.6, "[degF]")),
        measured(5, "74774-1", between(2, "{puff}", 4, "TAB")),
        measured(5, "30525-0", between(2, "kg", 4, "cm")),
        measured(6, "1988-5", {"valueRange": {"low": {"value": 1}, "high": TWO_MG_DL}}),
        measured(5, "72514-3", quantity(3, "{score}", code="{score}")),
        measured(5, "20405-7", quantity(0.2, "EU/dL", system=UCUM, code="EU/dL")),
        measured(5, "3016-3", quantity(2.5, "MU/L")),
        measured(6, "3016-3", quantity(2.5, "UIU/ML")),
        measured(5, "2524-7", quantity(2.1, "mM")),
        measured(5, "48065-7", quantity(250, "ng/mL{DDU}")),
        measured(6, "48065-7", quantity(0.5, "ug/mL FEU")),
        measured(5, "8632-0", quantity(90, "°")),
        measured(6, "30525-0", quantity(63, "J")),
        {
            "resourceType": "MedicationAdministration",
            "id": "given",
            "status": "completed",
            "medicationCodeableConcept": ASPIRIN,
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2020-05-05T08:00:00Z",
            "dosage": {"dose": {"value": 0.1, "unit": "gm"}},
        },
        {
            "resourceType": "MedicationAdministration",
            "id": "given-too",
            "status": "completed",
            "medicationCodeableConcept": ASPIRIN,
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2020-05-06T08:00:00Z",
            "dosage": {"dose": {"value": 1, "unit": "TAB"}},
        },
        {
            "resourceType": "MedicationAdministration",
            "id": "given-again",
            "status": "completed",
            "medicationCodeableConcept": ASPIRIN,
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2020-05-07T08:00:00Z",
            "dosage": {"dose": {"value": 2, "unit": "pc"}},
        },
    ],
    timeline="""
        time                | code                       | value
        2020-05-04 08:00:00 | LOINC//29463-7             | 83.9146 kg
        2020-05-05 08:00:00 | LOINC//29463-7             | 79 kg
        2020-05-05 08:00:00 | LOINC//8310-5              | 37 Cel
        2020-05-05 08:00:00 | LOINC//6690-2              | 7.5 10*3/uL
        2020-05-05 08:00:00 | LOINC//8480-6              | 120.01 mm[Hg]
        2020-05-05 08:00:00 | LOINC//2345-7              | "<" 90.078 mg/dL
        2020-05-05 08:00:00 | LOINC//2160-0              | 1 mg/dL
        2020-05-05 08:00:00 | LOINC//1988-5              | "10..20" 15 mg/L
        2020-05-05 08:00:00 | LOINC//3298-7              | "3.0:2.0 g/L" 1500 ug/mL
        2020-05-05 08:00:00 | LOINC//22461-8             | "<1.0:8.0" 0.125
        2020-05-05 08:00:00 | LOINC//30532-6             | "10.0:2.0" 5 mg/(kg/h)
        2020-05-05 08:00:00 | LOINC//14959-1             | "30.0:1.0" 30 mg/g
        2020-05-05 08:00:00 | LOINC//8061-4              | "1.0:128.0" 0.0078125 1
        2020-05-05 08:00:00 | LOINC//30533-4             | "60.0:1.0" 60 mL/min
        2020-05-06 08:00:00 | LOINC//3298-7              | ">=3.0:2.0 g/L" 1500 ug/mL
        2020-05-07 08:00:00 | LOINC//1988-5              | "5..20" 12.5 mg/L
        2020-05-05 08:00:00 | LOINC//9192-6              | "0.001..0.002" 0.0015 kg
        2020-05-05 08:00:00 | LOINC//8331-1              | "36..37" 36.5 Cel
        2020-05-05 08:00:00 | LOINC//74774-1             | "2.0 {puff}..4.0 TAB" 2 {puff}
        2020-05-05 08:00:00 | LOINC//30525-0             | "2.0 kg..4.0 cm" 2 kg
        2020-05-06 08:00:00 | LOINC//1988-5              | "10..20" 15 mg/L
        2020-05-05 08:00:00 | LOINC//72514-3             | 3 {score}
        2020-05-05 08:00:00 | LOINC//20405-7             | 0.2 EU/dL
        2020-05-05 08:00:00 | LOINC//3016-3              | 2.5 MU/L
        2020-05-06 08:00:00 | LOINC//3016-3              | 2.5 m[IU]/L
        2020-05-05 08:00:00 | LOINC//2524-7              | 2.1 mmol/L
        2020-05-05 08:00:00 | LOINC//48065-7             | 250 ng/mL{DDU}
        2020-05-06 08:00:00 | LOINC//48065-7             | 500 ng/mL{FEU}
        2020-05-05 08:00:00 | LOINC//8632-0              | 90 °
        2020-05-06 08:00:00 | LOINC//30525-0             | 63 J
        2020-05-05 08:00:00 | ADMINISTERED//RXNORM//1191 | 100 mg
        2020-05-06 08:00:00 | ADMINISTERED//RXNORM//1191 | 1 TAB
        2020-05-07 08:00:00 | ADMINISTERED//RXNORM//1191 | 2 pc
    """,
    task="over_80_kg",
    labels=(
        Label(prediction_time="2020-05-04 08:00:00", value=True),
        Label(prediction_time="2020-05-05 08:00:00", value=True),
    ),
)
