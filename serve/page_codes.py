"""What a code is called on the page, and which lane of the timeline it belongs to.

A description from the store comes first; codes that name no concept of a code system (an encounter,
a discharge, an order) get words of their own; what is left is shown as SYSTEM CODE.
"""

from collections.abc import Mapping
from html import escape
from typing import Literal

import pandas as pd

from serve.texts import TEXTS, Language, say

__all__ = ["LANES", "Lane", "amount", "esc", "lane_of", "moment", "name_of", "signed"]

Lane = Literal[
    "encounter",
    "condition",
    "procedure",
    "medicine",
    "measurement",
    "note",
    "image",
    "other",
    "static",
]

LANES: tuple[Lane, ...] = (
    "encounter",
    "condition",
    "procedure",
    "medicine",
    "measurement",
    "note",
    "image",
    "other",
)
"""Lanes of the figure, from top to bottom; what is static is in the table only."""

_LANE_OF_PREFIX: Mapping[str, Lane] = {
    "GENDER": "static",
    "MEDS_BIRTH": "static",
    "ENCOUNTER_START": "encounter",
    "ENCOUNTER_END": "encounter",
    "ENCOUNTER_TYPE": "encounter",
    "DISPOSITION": "encounter",
    "TRANSFER": "encounter",
    "MEDS_DEATH": "encounter",
    "NOTE": "note",
    "REPORT": "note",
    "IMAGE": "image",
    "IMAGING": "image",
    "ORDER": "medicine",
    "ADMINISTERED": "medicine",
    "STATED": "medicine",
    "DISPENSED": "medicine",
    "IMMUNIZATION": "medicine",
    "RXNORM": "medicine",
    "NDC": "medicine",
    "CVX": "medicine",
    "ICD10PCS": "procedure",
    "ICD9PROC": "procedure",
    "CPT": "procedure",
    "HCPCS": "procedure",
    "ICD10CM": "condition",
    "ICD9CM": "condition",
    "ICD10": "condition",
    "ALLERGY": "condition",
    "FAMILY": "condition",
    "SNOMED": "condition",
    "LOINC": "measurement",
}

_WORDED = frozenset(
    {
        "ORDER",
        "ADMINISTERED",
        "STATED",
        "DISPENSED",
        "ALLERGY",
        "IMMUNIZATION",
        "FAMILY",
        "REPORT",
        "ENCOUNTER_TYPE",
        "TRANSFER",
    }
)
"""Prefixes whose concept, the rest of the code, is named within a phrase."""

_ENCOUNTER_CLASSES = frozenset(
    key.removeprefix("class_") for key in TEXTS if key.startswith("class_")
) - {"other"}

# What could open a tag, an attribute or one of the template languages of Gradio's gr.HTML
# (`${…}`, `{{…}}`, `@children`), should a version of it evaluate values too.
_TEMPLATE_SIGNS = str.maketrans(
    {"$": "&#36;", "{": "&#123;", "}": "&#125;", "@": "&#64;", "`": "&#96;"}
)


def esc(text: object) -> str:
    """Make any text safe as HTML content or as a quoted attribute.

    >>> esc('<b title="x">${y}')
    '&lt;b title=&quot;x&quot;&gt;&#36;&#123;y&#125;'
    """
    return escape(str(text), quote=True).translate(_TEMPLATE_SIGNS)


def lane_of(code: str, numeric: bool = False) -> Lane:
    """Say which lane a code belongs to; a number makes an unknown code a measurement.

    >>> lane_of("RXNORM//860975"), lane_of("LOCAL//x"), lane_of("LOCAL//x", numeric=True)
    ('medicine', 'other', 'measurement')
    """
    prefix = code.partition("//")[0]
    lane = _LANE_OF_PREFIX.get(prefix)
    if lane in {None, "condition"} and numeric:
        return "measurement"
    return lane or "other"


def name_of(code: str, descriptions: Mapping[str, str], language: Language) -> str:
    """Name a code in plain text, with its raw form only where nothing else is known.

    >>> name_of("LOINC//8480-6", {"LOINC//8480-6": "Systolic blood pressure"}, "zh")
    'Systolic blood pressure'
    >>> name_of("ENCOUNTER_START//IMP", {}, "en"), name_of("LOINC//8480-6", {}, "en")
    ('Start of hospital stay', 'LOINC 8480-6')
    """
    prefix, _, rest = code.partition("//")
    if prefix in {"ENCOUNTER_START", "ENCOUNTER_END"}:
        return _capitalized(say(language, f"code_{prefix}", value=_encounter_class(rest, language)))
    if prefix in {"MEDS_BIRTH", "MEDS_DEATH"}:
        return say(language, f"code_{prefix}")
    if prefix == "GENDER":
        known = f"sex_{rest}" if f"sex_{rest}" in TEXTS else "sex_U"
        return say(language, "code_GENDER", value=say(language, known))
    if prefix == "DISPOSITION":
        known = "disposition_DIED" if rest.upper() in {"DIED", "EXP"} else f"disposition_{rest}"
        value = say(language, known) if known in TEXTS else rest.replace("//", " ").lower()
        return say(language, "code_DISPOSITION", value=value)
    if code in descriptions:
        named = descriptions[code]
        # A description of ORDER//RXNORM//1 may be the drug's: the role must not get lost.
        return say(language, f"code_{prefix}", value=named) if prefix in _WORDED else named
    if prefix in _WORDED:
        concept = descriptions.get(rest) or rest.replace("//", " ")
        return say(language, f"code_{prefix}", value=concept)
    if prefix in {"IMAGE", "IMAGING"}:
        return say(language, f"code_{prefix}", value=rest.replace("//", " · "))
    if prefix == "NOTE":
        return descriptions.get(rest) or say(language, "code_NOTE", value=rest.replace("//", " "))
    value_of = _coded_value(code, descriptions)
    return value_of or code.replace("//", " ")


def amount(value: float) -> str:
    """Write a measured number with at most four significant digits, never in powers of ten.

    >>> amount(7.4000001), amount(120.0), amount(152000.0), amount(0.0213)
    ('7.4', '120', '152,000', '0.0213')
    """
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    text = f"{value:.4g}"
    return f"{value:.6f}".rstrip("0").rstrip(".") if "e" in text else text


def signed(value: float, digits: int = 2) -> str:
    """Write a number with a sign that is as wide as a plus.

    >>> signed(-0.126), signed(0.126, 3), signed(0.0001)
    ('−0.13', '+0.126', '0.00')
    """
    rounded = round(value, digits)
    if rounded == 0:
        return f"{0:.{digits}f}"
    return f"{'+' if rounded > 0 else '−'}{abs(rounded):.{digits}f}"


def moment(time: pd.Timestamp | None) -> str:
    """Write a time to the minute, or as a date where the hour is midnight."""
    if time is None or pd.isna(time):
        return ""
    stamp = pd.Timestamp(time)
    return stamp.strftime("%Y-%m-%d" if stamp == stamp.normalize() else "%Y-%m-%d %H:%M")


def _coded_value(code: str, descriptions: Mapping[str, str]) -> str | None:
    """Name `LOINC//72166-2//SNOMED//266919005` by question and answer, if both are known."""
    parts = code.split("//")
    if len(parts) != 4:
        return None
    question, answer = (descriptions.get("//".join(p)) for p in (parts[:2], parts[2:]))
    return f"{question}: {answer}" if question and answer else None


def _encounter_class(rest: str, language: Language) -> str:
    name = rest.partition("//")[0].upper()
    if name in _ENCOUNTER_CLASSES:
        return say(language, f"class_{name}")
    return say(language, "class_other", value=rest.replace("//", " ").lower() or "?")


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
