"""Find dates that are [DATE], since shifted one by one or in part they would tell the shift.

    May 4-5, 2020   4 and 5 May   4., 5. und 6. Mai 2020   4./5.5.2020   2020-05-04/06
    5/4, 5/5 and 5/6/2020         several days that share a month or year
    du 04/05 au 09/05/2024        in other languages, too
    8/4/ 23   8 /4/ 2023          spaces in one
    04 05 2020   May, 4 2020   2020 May 4                  odd writings of one day
    May fourth 2020   the fourth of May   am vierten Mai   ordinal words
    KW 19/2020   week 19 2020   Q2 2020                    weeks and quarters
    Mo 4.5.   Do, 04.05.2020                               German weekdays cut short
    Christmas Day 2019   Ostern 2020                       feasts of a year

They are looked for before all others, which would take a part of them.
"""

import re
from collections.abc import Iterator

from ingest.deidentify_date_languages import TO_WORDS
from ingest.deidentify_date_measures import COUNTED, QUANTITY, is_numbered, is_rating
from ingest.deidentify_date_months import VERB_BEHIND
from ingest.deidentify_date_pairs import PAIR
from ingest.deidentify_dates import (
    DATE,
    MONTH,
    ROMAN,
    DateStyle,
    Found,
    day_of,
    month_words,
)
from ingest.deidentify_digits import find_near_digits, lowered
from ingest.deidentify_fold import fold_word

__all__ = ["ORDINALS", "find_date_lists", "find_worded_dates"]

_YEAR = r"(?:1[6-9]|2[0-3])\d\d(?![\w])"
_TH = r"(?:st|nd|rd|th)"
_AND = r"[ ]?(?:[-/&+]|\b(?:and|to|or|through|thru|till|until|und|bis|oder|u\.)(?=[ ]))[ ]?"
_AND_DAY = _AND + r"(?:the |den |dem |zum )?"
_ACROSS = rf"(?:{_AND}|[ ](?:{TO_WORDS})[ ])(?:le |el |il |l')?"
_APART = r"(?<![\w.,/:-])"

_DAYS_BEHIND = re.compile(
    MONTH + rf"[ ](?P<a>\d{{1,2}}){_TH}?(?:,[ ]?\d{{1,2}}{_TH}?){{0,12}}"
    rf"(?:{_AND_DAY}\d{{1,2}}{_TH}?){{0,12}}{_AND_DAY}(?P<b>\d{{1,2}}){_TH}?(?![\w]|[.:/-]\d|,\d)"
    rf"(?P<y>,?[ ]{_YEAR})?"
)
_DAYS_BEFORE = re.compile(
    rf"{_APART}(?P<a>\d{{1,2}})(?P<th>{_TH}|\.)?(?:,[ ]?\d{{1,2}}(?:{_TH}|\.)?)*"
    rf"(?:{_AND_DAY}\d{{1,2}}(?:{_TH}|\.)?)*{_AND_DAY}(?P<b>\d{{1,2}})(?P<end>{_TH}|\.)?"
    r"[ ]?(?:day of |of )?\Z"
)
_MONTH_AND_YEAR = re.compile(MONTH + rf"(?P<y>,?[ ]?{_YEAR})?")
_DAYS_WIDTH = 48
_NTHS_BEHIND = re.compile(
    MONTH
    + rf"[ ](?P<a>\d{{1,2}}){_TH}(?:,[ ]?\d{{1,2}}{_TH}){{0,12}},[ ]?(?P<b>\d{{1,2}}){_TH}(?!\w)"
    rf"(?P<y>,?[ ]{_YEAR})?"
)
"""Aug 4th, 5th: no number of something else has an ending."""

_LAST_NUMBER = re.compile(r"(?P<n>\d{1,2})(?P<point>\.?)")
_TWO_MONTHS = re.compile(
    MONTH
    + rf"[ ](?P<a>\d{{1,2}}){_TH}?(?:,?[ ]{_YEAR})?[ ]?[-–—/][ ]?"
    + MONTH
    + rf"[ ](?P<b>\d{{1,2}}){_TH}?(?![\w]|[.:/-]\d|,\d)(?:,?[ ]{_YEAR})?"
)

_ISO_LIST = re.compile(
    r"(?<![\w.,:/-])(?:1[6-9]|2[0-3])\d\d([/-])[01]\d\1[0-3]\d"
    rf"(?:(?:/|\.\.|{_AND_DAY}|,[ ]?)[01]\d\1|/|\.\.|[ ]?-[ ]?|[ ](?:to|through|until|bis)[ ])"
    r"[0-3]\d(?![\w]|[-/.:,]\d)"
)
_POINT_AND = rf"(?:{_AND_DAY}(?:am |zum |vom )?|,[ ]?(?:am )?)"
_POINT_LIST = re.compile(
    rf"{_APART}(?P<some>(?:\d{{1,2}}\.(?:(?:\d{{1,2}}|{ROMAN})\.)?{_POINT_AND}){{1,12}}"
    rf"|\d{{1,2}}(?:\.(?:\d{{1,2}}|{ROMAN}))?[ ]?-[ ]?)"
    rf"\d{{1,2}}\.[ ]?(?:\d{{1,2}}|{ROMAN})\.(?:[ ]?(?P<y>{_YEAR}|\d\d(?![\w]|[.,]\d)))?(?!\d)"
)
_POINTED = re.compile(r"\d\.[ ]?(?:\d{1,2}|[ivx]{1,4})\.")
_SLASH_LIST = re.compile(
    rf"{_APART}(?:(?P<some>(?:\d{{1,2}}/\d{{1,2}}"
    rf"(?:(?i:{_ACROSS})(?:on )?|,[ ]?(?:on )?(?:and )?)){{1,12}})"
    rf"\d{{1,2}}/\d{{1,2}}/(?:{_YEAR}|'?\d\d(?![\w]))(?![/.,-]\d)"
    rf"|(?:\d{{1,2}}/\d{{1,2}}-\d{{1,2}}|\d{{1,2}}-\d{{1,2}}/\d{{1,2}})/{_YEAR}(?![/.-]\d))"
)
_ROW = re.compile(r"\d{1,2}(?:/\d{1,2}){3,}")
_PAIR_BEHIND = re.compile(
    rf"{_APART}\d{{1,2}}(?P<s>[./])\d{{1,2}}(?P=s)(?:{_YEAR}|\d\d(?!\d))(?i:{_ACROSS})(?:am |on )?"
    r"(?P<pair>\d{1,2}(?P=s)\d{1,2})(?P<point>\.?)(?![\w]|[./,:-]\d)"
)
_SPACED = re.compile(
    r"(?<![\w.,/:-])(?<!\d[ ])(?:(?P<a>\d{1,2})[ ](?P<b>\d{1,2})[ ]"
    r"|(?=0|\d\d[. ]0)(?P<c>\d{1,2})(?:\.(?P<d>\d\d)\.?[ ]|[ ](?P<e>\d\d)\.))(?:19|20)\d\d"
    r"(?![\w]|[.,/-]\d|[ ]\d(?!\d?:\d\d))"
)
_COMMA = re.compile(MONTH + rf",[ ]?\d{{1,2}}{_TH}?,?[ ]{_YEAR}")
_YEAR_BEFORE = re.compile(r"(?<![\w.,/:-])(?:19|20)\d\d(?:,[ ]?|[ -])\Z")
_MONTH_AND_DAY = re.compile(MONTH + rf"[ -]\d{{1,2}}{_TH}?(?![\w]|[.:/-]\d|,\d)")

_CW_YEAR = r"(?=[ .-]{0,2}\d{1,2}[ ]?[/ -][ ]?(?:of )?(?:19|20)\d\d(?!\w))"  # a code, too
_WEEK = re.compile(
    rf"(?<![^\W_])(?:(?:kw|cw{_CW_YEAR})"
    r"[ .-]{0,2}\d{1,2}(?![\w]|[.,]\d)"
    r"(?:[ ]?[/ -][ ]?(?:of )?(?:19|20)\d\d(?!\w))?"
    r"|(?:week|wk|woche|kalenderwoche)\.?[ ]\d{1,2}(?:[ ]?[/ ,-][ ]?(?:of )?)(?:19|20)\d\d(?!\w)"
    r"|(?:(?:q[1-4]|[1-4]\. quartal)[ /-]{1,2}|(?<![\w.,/:-])[1-4]q[ /-]?)(?:19|20)\d\d(?!\w)"
    r"|(?<![\w.,/:-])(?:19|20)\d\d-w\d\d(?:-\d)?(?!\w))"
)
_WEEKS = tuple("kw cw week wk woche quartal -w q1 q2 q3 q4 1q 2q 3q 4q".split())  # noqa: SIM905
_FEASTS = """
christmas|new year|easter|thanksgiv|memorial day|labor day|halloween|good friday|mother's day
father's day|independence day|veterans day|presidents'? day|columbus day|valentine|st\\.? patrick
juneteenth|boxing day|palm sunday|ash wednesday|hanukkah|passover|ramadan|diwali|mlk day
heilig ?abend|weihnacht|silvester|neujahr|ostern|ostersonntag|ostermontag|karfreitag|pfingst
fronleichnam|muttertag|vatertag|himmelfahrt|christi himmelfahrt|rosenmontag|aschermittwoch
allerheiligen|nikolaus|tag der arbeit|palmsonntag|gründonnerstag|heilige drei könige|fasching
"""
_FEAST = re.compile(
    rf"(?<![^\W_])(?:{'|'.join(_FEASTS.split(chr(10))[1:-1])})\w*(?:'?s)?"
    rf"(?:[ ](?:day|eve|sunday|monday))?,?[ ]{_YEAR}"
)
_WEEKDAY = re.compile(
    r"(?<![^\W_])(?:Mo|Di|Mi|Do|Fr|Sa|So)(?:\.,?|,)?[ ](?:den )?"
    r"(?:\d{1,2}\.[ ]?\d{1,2}\.(?:[ ]?(?:19|20)\d\d|\d\d)?"
    rf"|\d{{1,2}}\.?[ ](?P<m>(?i:{MONTH}))(?P<y>[ ](?:19|20)\d\d)?)(?!\w|[.,]\d)"
)

_UNITS = "first second third fourth fifth sixth seventh eighth ninth"
_TEENS = """
tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth
twentieth thirtieth
"""
_ERST = """
erst zweit dritt viert fünft sechst siebt siebent acht neunt zehnt elft zwölft dreizehnt vierzehnt
fünfzehnt sechzehnt siebzehnt achtzehnt neunzehnt zwanzigst dreißigst dreissigst einunddreißigst
einunddreissigst einundzwanzigst zweiundzwanzigst dreiundzwanzigst vierundzwanzigst fünfundzwanzigst
sechsundzwanzigst siebenundzwanzigst achtundzwanzigst neunundzwanzigst
"""
_UNIT = "|".join(_UNITS.split())
_NTH = rf"(?:(?:twenty|thirty)[ -](?:{_UNIT})|{_UNIT}|{'|'.join(_TEENS.split())})"
_WORDED = re.compile(
    rf"(?<![^\W_])(?:(?P<m>{MONTH})(?:,?[ ]the|,)?[ ]{_NTH}(?![\w-])"
    rf"|{_NTH}[ ](?P<of>(?:day )?of )?(?P<m2>{MONTH})"
    rf"|(?:{'|'.join(_ERST.split())})e[nr]?[ ](?P<m3>{MONTH}))(?P<y>,?[ ]{_YEAR})?(?![\w])"
)
ORDINALS = frozenset([*_UNITS.split(), *_TEENS.split()])
ORDINALS |= {fold_word(word + end) for word in _ERST.split() for end in ("e", "en", "er")}
"""Folded words of which one stands in every date that is in words."""

_VERBS = frozenset(["may", "march", "mar"])


def find_date_lists(text: str, style: DateStyle) -> Iterator[Found]:
    """Give what is [DATE] as a whole.

    >>> text = "May 4 and 5, 2020; 4./5.5.2020; 4/5 and 5/5 strength"
    >>> [text[a:b] for a, b, _ in find_date_lists(text, DateStyle(days=1))]
    ['May 4 and 5, 2020', '4./5.5.2020']
    """
    if not (style.days or style.in_place):
        return
    lower = lowered(text)
    for place in month_words(text):
        yield from _beside_month(text, lower, place)
    if _POINTED.search(lower):
        for m in find_near_digits(_POINT_LIST, lower):
            if _is_list(m["some"], has_year=m["y"] is not None):
                yield (*m.span(), DATE)
    for m in find_near_digits(_ISO_LIST, text, before=0, digits=6):
        if not COUNTED.match(text, m.end()):
            yield (*m.span(), DATE)
    for m in find_near_digits(_SLASH_LIST, text, before=0):
        if _ROW.fullmatch(m[0]):
            continue  # "SSI 2/4/6/8/10"
        places = re.finditer(r"\d+/", m["some"] or "")
        pairs = [PAIR.match(text, m.start() + place.start()) for place in places]
        if all(pair is None or not is_rating(pair) for pair in pairs):
            yield (*m.span(), DATE)
    for m in find_near_digits(_PAIR_BEHIND, text, before=0, digits=4):
        pair = PAIR.match(text, m.start("pair"))
        rated = pair is None or is_rating(pair) or COUNTED.match(text, m.end())
        if not rated and (m["s"] == "/" or m["point"]):
            yield (*m.span(), DATE)
    for m in find_near_digits(_SPACED, text, before=0, digits=4):
        a, b = int(m["a"] or m["c"]), int(m["b"] or m["d"] or m["e"])
        if (day_of(2000, a, b) or day_of(2000, b, a)) and not COUNTED.match(text, m.end()):
            yield (*m.span(), DATE)
    for m in find_near_digits(_WEEKDAY, text):
        if m["m"] is None or m["y"] or m["m"] not in _VERBS:
            yield (*m.span(), DATE)
    for m in find_near_digits(_FEAST, lower, before=48):
        yield (*m.span(), DATE)
    for m in find_near_digits(_WEEK, lower) if any(word in lower for word in _WEEKS) else ():
        if not (COUNTED.match(text, m.end()) or QUANTITY.match(text, m.end())):
            yield (*m.span(), DATE)


def find_worded_dates(text: str, style: DateStyle) -> Iterator[Found]:
    """Give days that are words; there are none but where there are `ORDINALS`.

    >>> text = "May fourth, 2020; the fourth of May; the second may be given"
    >>> [text[a:b] for a, b, _ in find_worded_dates(text, DateStyle(days=1))]
    ['May fourth, 2020', 'fourth of May']
    """
    for m in _WORDED.finditer(lowered(text)) if style.days or style.in_place else ():
        named = m["m"] or m["m2"] or m["m3"]
        if m["y"] or m["of"] or m["m3"] or named.rstrip(".") not in _VERBS:
            yield (*m.span(), DATE)


def _beside_month(text: str, lower: str, place: int) -> Iterator[Found]:
    """Give lists and odd writings of days around a month's name."""
    m = _TWO_MONTHS.match(lower, place)
    if m is not None and 1 <= int(m["a"]) <= 31 and 1 <= int(m["b"]) <= 31:
        yield place, m.end(), DATE
    m = _DAYS_BEHIND.match(lower, place)
    if m is not None and _are_days(m, text, lower, m.end(), place, year=m["y"]):
        yield place, m.end(), DATE
    m = _NTHS_BEHIND.match(lower, place)
    if m is not None and int(m["a"]) <= 31 and int(m["b"]) <= 31:
        yield place, m.end(), DATE
    m, named = (
        _DAYS_BEFORE.search(lower, max(0, place - _DAYS_WIDTH), place),
        _MONTH_AND_YEAR.match(lower, place),
    )
    if m is not None and named is not None and not _is_numbered(m):
        # "1 or 2. May repeat" is a sentence's beginning.
        sentence = m["end"] == "." and not m["th"] and _is_verb(lower, place)
        if (named["y"] or not sentence) and _are_days(
            m, text, lower, named.end(), place, named["y"]
        ):
            yield m.start(), named.end(), DATE
    m = _COMMA.match(lower, place)
    if m is not None:
        yield place, m.end(), DATE
    m, day = (
        _YEAR_BEFORE.search(lower, max(0, place - 6), place),
        _MONTH_AND_DAY.match(lower, place),
    )
    if m is not None and day is not None and not COUNTED.match(lower, day.end()):
        yield m.start(), day.end(), DATE


def _is_numbered(m: re.Match[str]) -> bool:
    """Say whether two numbers belong to a word before: "Stage 2-3 Mar 2021"."""
    number = _LAST_NUMBER.match(m.string, m.start("b"))
    return is_numbered(m.string, m.start(), number=number) != ""


def _are_days(
    m: re.Match[str], text: str, lower: str, end: int, place: int, year: str | None
) -> bool:
    """Say whether two numbers beside a month are days of it."""
    first, last = int(m["a"]), int(m["b"])
    if not (1 <= first <= 31 and 1 <= last <= 31):
        return False
    verb = _is_verb(lower, place) and (text[place].islower() or VERB_BEHIND.match(lower, end))
    return year is not None or (first < last and not verb and not COUNTED.match(text, end))


def _is_verb(lower: str, place: int) -> bool:
    word = re.compile(r"[^\W\d_]+").match(lower, place)
    return word is not None and word[0] in _VERBS


def _is_list(some: str, *, has_year: bool) -> bool:
    """Say whether dates with points stand or fall with the last: "4. und ", "4.5. und " if a year.

    "4.5. und 6.5.", without one, is two dates that can be shifted.
    """
    pairs = re.findall(r"(\d+)\.(\d+)\.", some)
    if any(day_of(2000, int(month), int(day)) is None for day, month in pairs):
        return False
    return has_year or re.search(r"(?<![.\d])\d{1,2}\.(?![\divx])", some) is not None
