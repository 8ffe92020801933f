"""Find ranges of which one end alone has the year: shifted alone, it would tell the shift.

    Aug-Sept 2023   March and April 2023   April bis Juni 2024   entre mars et juin 2024
    с 04.05 по 09.05.2024   od 4.05 do 9.05.2024

All of a range is [DATE]. They are looked for before all other dates, as are the odd writings of one
day that come with spaces ("8/4/ 23").
"""

import re
from collections.abc import Iterator

from ingest.deidentify_date_languages import ANY_MONTH, FROM_WORDS, TO_WORDS, foreign_months
from ingest.deidentify_date_measures import COUNTED, UNIT, is_scored
from ingest.deidentify_dates import DATE, DateStyle, Found, day_of, month_words
from ingest.deidentify_digits import find_near_digits, lowered

__all__ = ["find_date_ranges"]

_TO = (
    rf"(?:[ ]?[-–—/&+][ ]?|[ ](?:and|to|or|through|thru|until|till|und|bis|oder|{TO_WORDS})[ ]"
    r"(?:zum |de |di |d'|le |el |il |mid-?|early |late |anfang |mitte |ende )?)"
)
_MONTHS = re.compile(
    rf"{ANY_MONTH}(?:,[ ]?{ANY_MONTH}){{0,11}},?{_TO}{ANY_MONTH}"
    r"(?:(?:,|[ ]del?|[ ]di)?[ ](?:(?:1[6-9]|2[0-3])\d\d|['’]\d\d)|/(?:19|20)\d\d)(?!\w)"
)
_POINTS = re.compile(
    rf"(?=\d)(?<![\w.,:/-])(?P<a>\d{{1,2}})\.(?P<b>\d{{1,2}})[ ](?:{TO_WORDS})[ ]"
    r"\d{1,2}\.\d{1,2}\.(?:(?:19|20)\d\d|\d\d)(?![\w]|[.,/-]\d)"
)
_FROM = re.compile(rf"(?<![^\W_])(?:{FROM_WORDS})[ ]\Z")
_SPACED = re.compile(
    r"(?<![\w.,/:-])(?<!\d[ ])(?P<a>\d{1,2})[ ]?/[ ]?(?P<b>\d{1,2})[ ]?/[ ]?"
    r"(?P<y>(?:19|20)\d\d|\d\d" + UNIT + r")(?![\w]|[.,/-]\d|[ ]/|[ ]\d+[ ]?/)",
    re.IGNORECASE,
)
_SINCE = re.compile(
    r"(?<![^\W_])(?:seit|ab|bis|von|vom|erneut|zuletzt|erstmals|wieder)[ ](?:ca\.[ ])?\Z"
)
_MONTH_YEAR = re.compile(r"(?=\d)(?<![\w.,:/-])(?P<a>0[1-9]|1[0-2])/(?P<b>\d\d)(?![\w%]|[.,/:-]\d)")


def find_date_ranges(text: str, style: DateStyle, *, foreign: bool = True) -> Iterator[Found]:
    """Give the ranges of a text, of which all is [DATE].

    >>> text = "March and April 2023; du mars au juin 2024; May 2023 to June 2024; march 2 to 4 may"
    >>> [text[a:b] for a, b, _ in find_date_ranges(text, DateStyle(days=1))]
    ['March and April 2023', 'mars au juin 2024']

    Args:
        text: a note.
        style: how its dates are shifted.
        foreign: whether there may be other languages than English and German.
    """
    if not (style.days or style.in_place):
        return
    lower = lowered(text)
    places = month_words(text)
    if foreign:
        places = [*places, *(m.start() for m in foreign_months(text))]
    for place in places:
        m = _MONTHS.match(lower, place)
        if m is not None:
            yield (*m.span(), DATE)
    for m in find_near_digits(_POINTS, lower, before=0, digits=4):
        from_word = _FROM.search(lower, max(0, m.start() - 8), m.start())
        if from_word and day_of(2000, int(m["b"]), int(m["a"])):
            yield (*m.span(), DATE)
    for m in find_near_digits(_SPACED, text, before=0, digits=4):
        a, b = int(m["a"]), int(m["b"])
        spaces = [len(gap) for gap in re.findall(r"([ ]?)/([ ]?)", m[0]) for gap in gap]
        even = len(set(zip(spaces[::2], spaces[1::2], strict=True))) == 1
        if len(m["y"]) == 2 and sum(spaces) > 1:
            continue
        is_day = day_of(2000, a, b) or day_of(2000, b, a)
        if is_day and not even and not COUNTED.match(text, m.end()):
            yield (*m.span(), DATE)
    yield from _months_and_years(text, lower, style)


def _months_and_years(text: str, lower: str, style: DateStyle) -> Iterator[Found]:
    """Give German months with years of two digits: "seit 05/24, erneut 07/24"."""
    last = (style.year or 2025) % 100 + 1
    found = [
        m
        for m in find_near_digits(_MONTH_YEAR, text, before=0, digits=4)
        if 12 < int(m["b"]) <= last and not (COUNTED.match(text, m.end()) or is_scored(m))
    ]
    if any(_SINCE.search(lower, max(0, m.start() - 16), m.start()) for m in found):
        yield from ((*m.span(), DATE) for m in found)
