"""Find days and months alone, where a word, a clock, a colon or a report makes dates of them.

A pair is a date after a word such as "on", "since", "am", a weekday or "admitted" where what
follows is nothing that is counted so ("on 1/2 tablet"); and after a word that stands before other
pairs as well ("from", "to", "after", "ab") where the sentence rates nothing, either ("power from
3/5 to 4/5"). What is joined to such a date is one, too: "on 3/4 and 3/9". A German pair that ends
with a point is one after what has a date ("EKG 4.5.", "Termin 4.5."), in brackets, before a colon,
and wherever its day has a zero that no measurement would have ("04.05.").
"""

import re
from collections.abc import Iterator

from ingest.deidentify_dates import (
    ROMAN,
    ROMAN_NUMBER,
    WEEKDAY_PLACE,
    DateStyle,
    Found,
    day_of,
    orders_of,
    write_date,
)
from ingest.deidentify_digits import find_near_digits, lowered

__all__ = ["COUNTED", "PAIR", "find_date_pairs", "is_rating"]

PAIR = re.compile(
    r"(?P<a>\d{1,2})(?P<s>[/.])(?P<b>\d{1,2}|" + ROMAN + r")(?P<end>\.?)"
    r"(?![\w]|[.,/:]\d|-\d(?!\d?[./]\d))",
    re.IGNORECASE,
)
_DATE_WORD = re.compile(
    r"\b(?:(?P<sure>on|since|until|till|dated|seen|due|born|died|admitted|discharged|am|seit|vom|zum"
    r"|bis|den|dem|geb(?:oren)?|gest(?:orben)?|verstorben|aufgenommen|entlassen|dat(?:e|um)[ ]?:|"
    + "|".join(sorted(WEEKDAY_PLACE, key=len, reverse=True))
    + r")|from|to|by|after|before|between|through|of|ab|von|nach|vor)(?<!\d)[.,]{0,2}[ ]+"
    r"(?:the |den |dem |zum )?(?=\d)"
)
_JOINED = re.compile(
    r"[ ]?(?:[-–—,&+]|\b(?:and|or|to|until|till|through|und|oder|bis)\b)[ ]?"
    r"(?:on |the |am |zum |den )?(?=\d)",
    re.IGNORECASE,
)
_SHOWN = re.compile(
    r"(?:^[ \t*•-]*(?=\d{1,2}[/.]\d{1,2}\.?[ ]?:(?!\d))"
    r"|(?<![\w.,:/-])(?=\d{1,2}[/.]\d{1,2}\.?,?[ ](?:at |um |@[ ]?)?(?:[01]?\d|2[0-3]):[0-5]\d\b))",
    re.MULTILINE,
)
"""Before what a clock or a colon makes a date of, at the beginning of a line."""

COUNTED = re.compile(
    r"[ -]?(?:%|(?:mg|mcg|g|kg|ml|l|cm|mm|mmol|h|of|ago|daily|twice|bid|od|prn|ns|hpf|fach)\b"
    r"|(?:lit(?:er|re)|tab|tbl|pill|cap|puff|unit|dos[ei]|cup|pack|inch|pint|strip|night|day|week"
    r"|month|hour|time|murmur|systol|diastol|power|strength|motor|pain|reflex|pulse|bottle|positiv"
    r"|cultur|criteri|point|vision|visus|saline|kraft|schmerz|punkt|stück|nächt|tag|woche|monat"
    r"|stunde)\w*)",
    re.IGNORECASE,
)
_RATED = re.compile(
    r"\b(?:murmur|systol|diastol|power|strength|motor|pain|reflex|pulse|kraft|schmerz|scor|scale|skala"
    r"|grad|rat|nrs|vas|mrc|gcs|apgar|reduc|decreas|increas|cut|halv|improv|worsen|fell|rose|drop"
    r"|declin|tab|pill|criteri|total|visus|vision)\w*",
    re.IGNORECASE,
)
_OF_SO_MANY = frozenset([2, 3, 4, 5, 6, 8, 10])
_SENTENCE = 60  # characters to look for what is rated

_POINTED = re.compile(r"\d\.\d{1,2}\.|(?<!\d)0\d\.[01]\d")
_REPORT = re.compile(
    r"(?<![^\W_])(?:ekg|lzekg|labor\w{0,8}|ct|cct|mrt|mrcp|ercp|rö|röntgen\w{0,8}|sono\w{0,9}|echo|tte|tee"
    r"|op|re-?op|befund|kontroll\w{1,3}|termin|(?:wieder)?vorstellung|wv|aufnahme|entlassung|visite"
    r"|anruf|heute|gestern|morgen|zuletzt|datum|tag|biopsie|histo\w{0,6}|abstrich|gastro\w{0,7}"
    r"|kolo\w{0,7}|ögd|angio\w{0,8}|pet|szinti\w{0,6}|punktion|konsil|brief|bericht|impfung|geburt"
    r"|unfall|sturz|stand|z\.n\.)\.?[ ]?[:(]?[ ]?(?<![a-zäöü.])"
    r"(?=\d{1,2}\.\d{1,2}\.(?!\d)|0\d\.[01]\d(?![\d]|[.,]\d))"
)
_ALONE = re.compile(
    r"(?<![\w.,/:-])(?:(?=0[1-9]\.[01]\d\.(?!\d))|(?=\d{1,2}\.\d{1,2}\.:)"
    r"|(?<=\()(?=\d{1,2}\.\d{1,2}\.\))|(?=[1-3]\d\.0[1-9]\.(?:[ ][a-zäöüß]|[;,](?!\d))))"
)
"""Before German dates that are none of a measurement, which has no zero there and no point."""


def find_date_pairs(text: str, style: DateStyle) -> Iterator[Found]:
    """Give days and months alone with what they become, where they are dates.

    >>> style = DateStyle(days=31, year=2024)
    >>> text = "EKG 4.3.; on 3/13 and 3/14; 4/5 strength, BP 120/80"
    >>> [new for _, _, new in find_date_pairs(text, style)]
    ['4/13', '4/14', '4.4.']
    """
    words = find_near_digits(_DATE_WORD, lowered(text))
    places = [(m.end(), m["sure"] is not None) for m in words]
    places += [(m.end(), True) for m in find_near_digits(_SHOWN, lowered(text), digits=2)]
    if _POINTED.search(text):
        places += [(m.end(), True) for m in find_near_digits(_REPORT, lowered(text), digits=2)]
        places += [(m.end(), True) for m in find_near_digits(_ALONE, text, before=0)]
    for place, sure in places:
        m = PAIR.match(text, place)
        # A number with a point is one, unless a point ends it, too: "from 3.4 to 5.6".
        if m is None or not (sure or (m["s"] + m["end"] != "." and not is_rating(m))):
            continue
        while m is not None and not COUNTED.match(text, m.end()):
            found = _shifted_pair(m, style)
            if found is None:
                break
            yield found
            joined = _JOINED.match(text, m.end())
            m = PAIR.match(text, joined.end()) if joined else None


def is_rating(m: re.Match[str]) -> bool:
    """Say whether a pair is so many of so many, in a sentence that counts or rates something."""
    if not m["b"].isdigit() or int(m["b"]) not in _OF_SO_MANY or int(m["a"]) > int(m["b"]):
        return False
    before = re.split(r"[.;\n]", m.string[max(0, m.start() - _SENTENCE) : m.start()])[-1]
    behind = re.split(r"[;\n]|\.[ ]", m.string[m.end() : m.end() + _SENTENCE])[0]
    return _RATED.search(before) is not None or _RATED.search(behind) is not None


def _shifted_pair(m: re.Match[str], style: DateStyle) -> Found | None:
    first, second = int(m["a"]), m["b"]
    if not second.isdigit():
        orders = [(first, ROMAN_NUMBER[second.lower()])]
    else:
        orders = orders_of(first, int(second), m["s"], style.month_first)
    for day, month in orders:
        stated = day_of(style.year or 2001, month, day)
        if stated:
            return write_date(m, stated, style, "ab" if day == first else "ba")
    return None
