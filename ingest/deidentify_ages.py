"""Find ages of over 89 years, in digits or in words, English and German.

They become 90+ (HIPAA, 45 CFR 164.514(b)(2)(i)(C)). "In her nineties", "nonagenarian" and the like
say no more than that, and stay. A number of years in words is an age only where it is called one:
"a hundred years ago" and "smoked for ninety years" stay.
"""

import re
from collections.abc import Iterator

from ingest.deidentify_digits import find_near_digits, lowered

__all__ = ["find_ages"]

_DIGITS = re.compile(
    r"(?<![\w.,/-])(?P<value>9\d|1[0-2]\d)(?=[ -]?(?:years?|yrs?|y)[ -]?(?:old|o)\b|[ -]?y/?\.?o\b"
    r"|[ -]?y(?:/?\.?o\.?)?[ /]?[mf]\b"
    r"|[ -]?(?:years?|yrs?|jahren?)\b|[ -]?j(?:ä|ae)hr|[mf]\b"
    r"|[ ]?[mf]\b[ ]?(?:with|w/|who)"
    r"|\.[ ](?:geburtstag|lebensjahr))"
    r"|(?<![\w.,/-])(?P<nth>(?:9\d|1[0-2]\d)(?:st|nd|rd|th))(?=[ ](?:birthday|year of life))"
    r"|\b(?:aged?|age[ ]?[:=]|alter[ ]?[:=]?|age of|age is)[ ]?"
    r"(?P<other>9\d|1[0-2]\d)(?![\w/%]|[.,-]\d)"
)
_SEX_OR_YEARS = re.compile(
    r"(?<![\w.,/-])(?P<before>9\d|1[01]\d)/(?:[MFf](?![\w/])"
    r"|m(?=[ ](?:with|w/|who|pt|adm|c/o)))"
    r"|(?<![\w/])[MF]/(?P<behind>9\d|1[01]\d)(?![\w%/]|[.,]\d)"
    # 120 J are joules.
    r"|(?<![\w.,/-])(?P<years>9\d(?=[ ]?[jJ])|1[01]\d(?=[ ]?j))"
    r"(?=[ ]?[jJ]\.?[ ]?(?:[Pp]at|alte?[rns]?\b|Mann|Frau|[mwf]\b))"
)
_FEVER = re.compile(
    r"\b(?:t|temp|temps|temperatures?|tmax|t-max|fevers?|febrile)(?: (?:of|to|up to|was|is|at))?"
    r"[ :=]{0,3}\Z"
)
_GAP = r"[\s-]{1,3}"
_UNIT = "(?:one|two|three|four|five|six|seven|eight|nine)"
_UNITH = "(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)"
_TEEN = (
    "(?:ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
    rf"|twenty(?:{_GAP}{_UNIT})?)"
)
_A_HUNDRED = rf"(?:(?:a|one){_GAP})?hundred"
_AND = rf"{_GAP}(?:and{_GAP})?"
_NUMBER = rf"(?:ninety(?:[\s-]{{0,3}}{_UNIT})?|{_A_HUNDRED}(?:{_AND}(?:{_TEEN}|{_UNIT}))?)"
_NTH = rf"(?:ninet(?:y{_GAP}{_UNITH}|ieth)|{_A_HUNDRED}(?:th|{_AND}(?:{_UNITH}|tenth)))"
_EIN = "(?:ein|zwei|drei|vier|fünf|sechs|sieben|acht|neun)"
_ZEHN = f"(?:{_EIN}|zehn|elf|zwölf|dreizehn|vierzehn|fünfzehn|sechzehn|siebzehn|achtzehn|neunzehn)"
_ZAHL = f"(?:(?:{_EIN}und)?neunzig|(?:ein)?hundert(?:(?:und)?{_ZEHN}s?)?)"
_WORDS = (
    re.compile(
        rf"\b(?P<value>{_NUMBER})(?={_GAP}(?:(?:years?|yrs?|y)[\s-]{{0,3}}(?:olds?|of age|o)"
        r"|y/?\.?o)\b)",
        re.IGNORECASE,
    ),
    re.compile(
        r"\b(?:aged?|age[ ]?(?:[:=]|of|is|was)|at|turn(?:ed|s|ing))\s{1,2}"
        rf"(?P<value>{_NUMBER})(?=\s?(?:[.,;)]|$|years?\b(?!\s(?:ago|later|of))))",
        re.IGNORECASE,
    ),
    re.compile(rf"\b(?P<value>{_NTH})(?=\s(?:birthday|year of (?:life|age)))", re.IGNORECASE),
    re.compile(r"\b(?P<value>(?:super-?)?centenarian)\b", re.IGNORECASE),
    re.compile(
        rf"(?<![^\W_])(?P<value>{_ZAHL})(?=[ -]?j(?:ä|ae|a)hrig|\sjahren?\s(?:alt|jung)\b"
        r"|(?:s?te[rnsm]?)\s(?:geburtstag|lebensjahr))",
        re.IGNORECASE,
    ),
    re.compile(
        rf"\b(?:mit|alter(?:\svon)?[ ]?:?)\s(?P<value>{_ZAHL})(?=\s?(?:[.,;)]|$|jahren?\b))",
        re.IGNORECASE,
    ),
)
_HINTS = ("ninet", "hundred", "centenarian", "neunzig", "hundert")


def find_ages(plain: str) -> Iterator[tuple[int, int, str]]:
    """Give where an age of over 89 stands.

    >>> text = "a ninety-three year old, 95 y/o, who smoked for ninety years, a hundred and one"
    >>> [(text[a:b], tag) for a, b, tag in find_ages(text)]
    [('95', '90+'), ('ninety-three', '90+')]
    """
    lower = lowered(plain)
    found = (
        *find_near_digits(_DIGITS, lower, before=12),
        *find_near_digits(_SEX_OR_YEARS, plain, before=4),
    )
    for m in found:
        start, end = m.span(m.lastgroup or "value")
        fahrenheit = lower.startswith(("f", "/f"), end)
        if not fahrenheit or _FEVER.search(lower, max(0, start - 28), start) is None:
            yield start, end, "90+"
    if any(hint in lower for hint in _HINTS):
        for pattern in _WORDS:
            for m in pattern.finditer(plain):
                yield (*m.span("value"), "90+")
