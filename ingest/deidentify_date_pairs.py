"""Find days and months alone, where a word, a clock, a colon or a report makes dates of them.

A pair is a date after a word such as "on", "since", "am", a weekday or "admitted" where what
follows is nothing that is counted so ("on 1/2 tablet"); and after a word that stands before other
pairs as well ("from", "to", "after", "ab") where the sentence rates nothing, either ("power from
3/5 to 4/5"). A number with a point, and no point behind it, is one where a zero or another date
shows it ("bis 04.05", "vom 4.5 bis 9.5."; not "INR 2.5 bis 3.5"). What is joined to such a date is
one, too: "on 3/4 and 3/9". A German pair that ends with a point is one after what has a date ("EKG
4.5.", "Termin 4.5."), in brackets, before a colon, wherever its day has a zero that no measurement
would have ("04.05."), and in a line with others like it ("am 4.5., Fäden ex 14.5.").
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from ingest.deidentify_date_measures import COUNTED, OF_SO_MANY, is_measured, is_rating
from ingest.deidentify_date_numbers import most_show, shown_order
from ingest.deidentify_date_signs import dated_months, find_kin, find_places, find_signed
from ingest.deidentify_dates import (
    DATE,
    ROMAN,
    ROMAN_NUMBER,
    SHORT_WORDS,
    WEEKDAY_PLACE,
    DateStyle,
    Found,
    day_of,
    layout_of,
    orders_of,
    write_date,
)
from ingest.deidentify_digits import find_near_digits, lowered

__all__ = ["PAIR", "find_date_pairs", "find_order"]

PAIR = re.compile(
    r"(?P<a>\d{1,2})(?P<s>[/.])(?P<b>\d{1,2}|" + ROMAN + r")(?P<end>\.?)"
    r"(?![\w]|[.,/:]\d|-\d(?!\d?[./]\d))",
    re.IGNORECASE,
)
_DATE_WORD = re.compile(
    r"\b(?:(?P<sure>d(?=\.)|on|since|until|till|dated|seen|due|born|died|admitted|discharged|am|seit|vom|zum"
    r"|bis|den|dem|geb(?:oren)?|gest(?:orben)?|verstorben|aufgenommen|entlassen|dat(?:e|um)[ ]?:|"
    + "|".join(sorted(WEEKDAY_PLACE, key=len, reverse=True))
    + r")|from|to|by|after|before|between|through|(?:ct|mrt?i?|x-?ray|echo|ekg|ecg|labs?"
    r"|films?|scans?|notes?|visit)[ ]of|ab|von|nach|vor)(?<!\d)[.,]{0,2}[ ]+"
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

_TO_SO_MUCH = frozenset(["to", "von", "nach"])
"""Words behind which so many of so many are more often meant than a day: "to 4/5"."""

_FIRM = re.compile(r"\b(?:am|den|dem|zum|vom|seit|since|d|geb\w*|gest\w*|datum[ ]?:)\b[., ]*\Z")
"""Before a pair that its end point makes a date wherever the sentence ends."""

_SURER = re.compile(r"\b(?:am|den|dem|geb\w*|gest\w*|verstorben|aufgenommen|datum[ ]?:)\b[., ]*\Z")
"""Before a pair that is a date without an end point."""

_RANGE = re.compile(r"\d\.\d{1,2} (?:bis|to|auf|until|till|und|-) \Z")
_ZERO = re.compile(r"(?:0\d\.\d{1,2}|\d\d\.0\d)\b")
_FULL = re.compile(r"\d{1,2}\.\d{1,2}\.(?:\d{4}|\d\d)(?!\d)")
_ENDED = re.compile(r"\d{1,2}\.\d{1,2}\.(?!\d)")
_SENTENCE_END = re.compile(r"\s*\Z|\s+[^\W\d_a-zäöüß]|[ \t]*\n")

_POINTED = re.compile(r"\d\.\d{1,2}\.|(?<!\d)0\d\.[01]\d")
_REPORT = re.compile(
    r"(?<![^\W_])(?:ekg|lzekg|labor\w{0,8}|ct|cct|mrt|mrcp|ercp|rö|röntgen\w{0,8}|sono\w{0,9}|echo|tte|tee"
    r"|(?:ct|mrt|rö|sono)-[^\W\d_]{3,14}|op|re-?op|befund|kontroll\w{1,3}|termin|(?:wieder)?vorstellung|wv|aufnahme|entlassung|visite"
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


_POINT_PAIR = re.compile(
    r"(?<![\w.,/:-])(?P<a>\d{1,2})(?P<s>\.)(?P<b>\d{1,2})(?P<end>\.)(?=[,;)\s]|\Z)"
)
_REVIEW = re.compile(r"(?i)(?<![^\W_])(?:f/?u|follow-?up|rtc|review|appt|appointment)[.:]?[ ]\Z")
_PAST = re.compile(
    r"(?<![^\W_])(?:last|s/p|h/o|hx|history|prior|previous|since|diagnosed|dx)[ ]"
    r"(?:of[ ])?(?:[^\W_][\w-]{0,15}[ ]){0,3}\Z"
)
_LONG_AGO = 10  # years
_LINE_END = re.compile(r"[ \t]*(?:\n|\Z)")
_GOES_ON = re.compile(r"[ ][\da-zäöüß]")
_LEVEL = re.compile(r"\b(?:auf|bei|to|of|was|war|is|ist|[<>=]) ?\Z")
_LATELY = frozenset(["gestern", "heute", "labor", "zuletzt", "morgen", "stand"])
_UP_TO = frozenset("bis von nach ab to until till from".split())  # noqa: SIM905
_DATED = frozenset(["on", "since", "until", "till", "dated", *WEEKDAY_PLACE])
_WORD_BEHIND = re.compile(r"[ ][^\W\d_]")
_WEEKDAY_PAIR = re.compile(
    r"(?<![^\W_])(?P<day>"
    + "|".join(sorted(WEEKDAY_PLACE, key=len, reverse=True))
    + r")[.,:]?[ ](?P<pair>\d/\d)(?![\w/])"
)
_IN_GERMAN = 3  # of deidentify_dates.py's rows of weekdays
_MEASURED = frozenset(
    """
    bis seit vom on since until till to from by after before between through von nach vor ab zum den
    dem am d due seen
    """.split()  # noqa: SIM905
)
"""Words behind which a number with a point may be a measurement."""


def find_date_pairs(text: str, style: DateStyle) -> Iterator[Found]:
    """Give days and months alone with what they become, where they are dates.

    >>> style = DateStyle(days=31, year=2024)
    >>> text = "EKG 4.3.; on 3/13 and 3/14; 4/5 strength, BP 120/80"
    >>> [new for _, _, new in find_date_pairs(text, style)]
    ['4/13', '4/14', '4.4.']
    """
    for m, signed in _pairs(text):
        if signed and _may_be_month_and_year(m, style):
            if style.days or style.in_place:
                yield (*m.span(), DATE)
            continue
        found = _shifted_pair(m, style)
        if found is not None:
            yield found


def find_order(text: str, year: int | None = None) -> bool | None:
    """Say whether the month comes first in a text's dates: as they show, or else as its pairs do.

    What may be a month and a year (`year` is the text's) shows nothing: "CT 4/22".

    >>> find_order("on 3/14 and 3/4"), find_order("on 3/14, 14/3/2024"), find_order("on 3/4")
    (True, False, None)
    """
    shown = shown_order(text)
    if shown is not None:
        return shown
    return most_show(
        (m["a"], m["b"])
        for m, signed in _pairs(text)
        if m["s"] == "/" and m["b"].isdigit() and not (signed and _has_year(m, year))
    )


@lru_cache(maxsize=2)
def _pairs(text: str) -> list[tuple[re.Match[str], bool]]:
    """List the pairs that are dates, and whether they may as well be a month and a year."""
    lower = lowered(text)
    places = [(m.end(), m["sure"] is not None) for m in find_near_digits(_DATE_WORD, lower)]
    places += [(m.end(), True) for m in find_near_digits(_SHOWN, lower, digits=2)]
    if _POINTED.search(text):
        places += [(m.end(), True) for m in find_near_digits(_REPORT, lower, digits=2)]
        places += [(m.end(), True) for m in find_near_digits(_ALONE, text, before=0)]
    known = len(places)
    places += [(place, True) for place in find_places(text)]
    signed = find_signed(text) if "/" in text else frozenset()
    years: set[int] = set()  # where what may be one begins
    lines: set[tuple[int, int]] = set()
    line = (0, -1)
    pairs: dict[int, re.Match[str]] = {}
    for n, (place, sure) in enumerate(places):
        m = PAIR.match(text, place)
        if m is None or not _begins(m, lower, sure=sure):
            continue
        # One that is known was gone on from before.
        while m is not None and m.start() not in pairs and _is_day(m):
            if COUNTED.match(text, m.end()):
                break
            pairs[m.start()] = m
            if n >= known and place in signed:
                years.add(m.start())
            if m["s"] + m["end"] == ".." and not line[0] <= m.start() <= line[1]:
                line = _line_of(text, m.start())
                lines.add(line)
            m = _next_pair(m)
    if _POINTED.search(text):
        for m in _listed(text, lines):
            if _is_day(m):
                pairs.setdefault(m.start(), m)
    for place in find_kin(text, list(pairs.values())):
        m = PAIR.match(text, place)
        if m is not None and _is_day(m):
            if len(years) == len(pairs):
                years.add(place)
            pairs.setdefault(place, m)
    return [(m, m.start() in years) for m in pairs.values()]


def _next_pair(m: re.Match[str]) -> re.Match[str] | None:
    """Give the pair that is joined to one, if it has its form: "on 8/6, 1.4 on 8/8" has a value."""
    joined = _JOINED.match(m.string, m.end())
    pair = PAIR.match(m.string, joined.end()) if joined else None
    if joined is None or pair is None or pair["s"] != m["s"]:
        return None
    bare = pair["s"] == "." and not pair["end"] and pair["b"].isdigit() and not _ZERO.match(pair[0])
    return None if bare and "," in joined[0] else pair


def _is_day(m: re.Match[str]) -> bool:
    """Say whether a pair is a day of some year, in either order, and not round the clock."""
    return m[0] != "24/7" and any(
        day_of(2000, month, day) for day, month in _orders(m, month_first=False)
    )


def _orders(m: re.Match[str], *, month_first: bool) -> list[tuple[int, int]]:
    if not m["b"].isdigit():
        return [(int(m["a"]), ROMAN_NUMBER[m["b"].lower()])]
    return orders_of(int(m["a"]), int(m["b"]), m["s"], month_first)


def _begins(m: re.Match[str], lower: str, *, sure: bool) -> bool:
    """Say whether the pair behind a date's word is a date."""
    before = lower[max(0, m.start() - 24) : m.start()]
    word = re.search(r"([^\W\d_]+)[., ]*(?:(?:the|den|dem|zum)[ ]+)?\Z", before)
    said = word[1] if word else ""
    if m["s"] == "/":
        if m[0] == "24/7":
            return False
        if (
            said in SHORT_WORDS
            and not m.string[m.start() - len(before) + word.start() :][0].isupper()
        ):
            return False  # "O2 sat 3/4"
        small = m["b"].isdigit() and int(m["b"]) in OF_SO_MANY and int(m["a"]) <= int(m["b"])
        if small and said in _TO_SO_MUCH:
            return False
        if m[0] == "2/2" and said not in _DATED and _WORD_BEHIND.match(m.string, m.end()):
            return False  # "secondary to"
        if small and said in WEEKDAY_PLACE:
            if WEEKDAY_PLACE[said][0] == _IN_GERMAN:
                return False  # which has points in its dates
            if is_rating(m) or m[0] in _on_many_days(lower):
                return False
        return sure or not is_rating(m)
    if not m["b"].isdigit():
        return sure or (m["end"] == "." and not is_rating(m))
    if not sure and m["end"] != ".":
        return False
    if not word or said not in _MEASURED:
        # "INR gestern 2.5. Marcumar"
        value = said in _LATELY and m["end"] and _SENTENCE_END.match(m.string, m.end())
        return not (value and is_measured(lower, m.start()))
    if _RANGE.search(before):
        return False
    if _ZERO.match(m[0]):
        return True
    if m["end"]:
        if _FIRM.search(before):
            return True
        if said in _UP_TO and is_measured(lower, m.start()):
            return False  # "INR bis 3.5. toleriert"
        return not _SENTENCE_END.match(m.string, m.end())
    if _SURER.search(before):
        return True
    joined = _JOINED.match(m.string, m.end())
    if joined is None:
        return False
    return _FULL.match(m.string, joined.end()) is not None or (
        said == "vom" and _ENDED.match(m.string, joined.end()) is not None
    )


@lru_cache(maxsize=2)
def _on_many_days(lower: str) -> frozenset[str]:
    """Give the pairs that stand behind several weekdays: half a tablet, since no day is two."""
    days: dict[str, set[str]] = {}
    for m in find_near_digits(_WEEKDAY_PAIR, lower):
        days.setdefault(m["pair"], set()).add(m["day"])
    return frozenset(pair for pair, names in days.items() if len(names) > 1)


def _line_of(text: str, place: int) -> tuple[int, int]:
    end = text.find("\n", place)
    return text.rfind("\n", 0, place) + 1, len(text) if end < 0 else end


def _listed(text: str, lines: set[tuple[int, int]]) -> Iterator[re.Match[str]]:
    """Give German dates that other dates of their line show: "am 4.5., Fäden 6.5., ex 14.5."."""
    inside: dict[tuple[int, int], list[re.Match[str]]] = {}
    last: tuple[int, int] = (0, -1)
    for m in find_near_digits(_POINT_PAIR, text, before=0):
        if not last[0] <= m.start() <= last[1]:
            last = _line_of(text, m.start())
        if not _RANGE.search(text[max(0, m.start() - 12) : m.start()]):
            inside.setdefault(last, []).append(m)
    for line, pairs in inside.items():
        commas = [m for m in pairs if text[m.end() : m.end() + 1] in (",", ";")]
        if line in lines:
            # "CRP am 4.5. 120, 5.5. 80": no sentence begins with a number or in lower case.
            commas += [
                m
                for m in pairs
                if text[: m.start()].endswith((", ", "; ", " und ", " u. "), max(0, m.start() - 5))
                and _GOES_ON.match(text, m.end())
                and m not in commas
            ]
            commas.sort(key=re.Match.start)
        if len(commas) < 2 and not (commas and line in lines):
            continue
        last_pair = pairs[-1]
        ends = _LINE_END.match(text, last_pair.end()) and last_pair not in commas[-1:]
        if ends and not _LEVEL.search(
            text[max(line[0], last_pair.start() - 8) : last_pair.start()]
        ):
            commas.append(last_pair)
        yield from commas


def _has_year(m: re.Match[str], year: int | None) -> bool:
    """Say whether a pair may end with a year of two digits, up to the text's or the next."""
    if m["s"] != "/" or not m["b"].isdigit():
        return False
    return int(m["a"]) <= 12 < int(m["b"]) <= (year or 2025) % 100 + 1


def _may_be_month_and_year(m: re.Match[str], style: DateStyle) -> bool:
    """Say whether a pair behind a word such as "CT" may be no day: "CT 4/22", "s/p CABG 4/22".

    Where the day comes first, it is none. Where the month does, a day is likelier but with a late
    year, or behind what tells of the past.
    """
    if not _has_year(m, style.year) or not style.month_first:
        return _has_year(m, style.year)
    if int(m["a"]) in dated_months(m.string):
        return False
    ago = (style.year or 2025) % 100 - int(m["b"])
    past = _PAST.search(lowered(m.string), max(0, m.start() - 48), m.start()) is not None
    return 0 <= ago <= (_LONG_AGO if past else 1)


def _shifted_pair(m: re.Match[str], style: DateStyle) -> Found | None:
    if not style.month_first and m["b"] in ("7", "12"):
        before = m.string[max(0, m.start() - 16) : m.start()]
        if _REVIEW.search(before):
            return None  # British: in so many weeks or months
    for day, month in _orders(m, month_first=style.month_first):
        stated = day_of(style.year or 2001, month, day)
        if stated:
            return write_date(m, stated, style, layout_of(m, day, style.month_first))
    return None
