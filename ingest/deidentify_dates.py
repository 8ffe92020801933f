"""Shift dates: one number of days a subject, for records, for what notes say, and for DICOM.

The number comes from the key and the subject's id: uniform over -365 to 365 whole days, and never
0. Whole days keep the time of day; the weekday goes, and a weekday that is written before a date is
written anew with it. Dates in text keep the form that they are written in:

    2024-03-01  2024/3/1  20240301  20240301101500     as they stand
    01.03.2024  1.3.24                                 day, month, year
    3/1/2024  03-01-24                                 month or day first: as other dates of the
                                                       text show, else as the site writes
    March 1st, 2024  1 March 2024  1. März  01-MAR-24  English and German months, cut short or not
    March 2024  03/2024  2024-03                       the middle of the month is shifted
    12.III.1950  12/iii/50                             the month in roman numerals

Days and months alone are in deidentify_date_pairs.py, what is [DATE] as a whole in
deidentify_date_lists.py, and other languages in deidentify_date_languages.py. A year alone stays:
it is no part of a day. What is written as a date and is none (`31.02.2024`) is [DATE]. `dateparser`
1.5 was tried: 53 kB a second, and "a 60" was a date. Over 400 lines, since the forms stand or fall
with each other: what one takes another must not.
"""

import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from ingest.deidentify_digits import find_near_digits, lowered

__all__ = [
    "DATE",
    "MONTH",
    "MONTH_STEMS",
    "QUANTITY",
    "ROMAN",
    "ROMAN_NUMBER",
    "SHORT_WORDS",
    "VERB_BEHIND",
    "WEEKDAY_PLACE",
    "DateStyle",
    "Found",
    "day_of",
    "find_compact_dates",
    "find_dates",
    "find_plain_dates",
    "month_words",
    "most_show",
    "orders_of",
    "shift_days",
    "shift_dicom",
    "shifted",
    "shown_order",
    "write_date",
]

DATE = "[DATE]"
_MOST_DAYS = 365

_MONTHS = (
    ("january", "januar", "jänner", "jan"),
    ("february", "februar", "feber", "feb"),
    ("march", "märz", "maerz", "marz", "mar", "mär", "mrz"),
    ("april", "apr"),
    ("may", "mai"),
    ("june", "juni", "jun"),
    ("july", "juli", "jul"),
    ("august", "aug"),
    ("september", "sept", "sep"),
    ("october", "oktober", "oct", "okt"),
    ("november", "nov"),
    ("december", "dezember", "dec", "dez"),
)
_GERMAN = [names[min(1, len(names) - 1)] for names in _MONTHS]
for _same in (3, 7, 8, 10):  # April, August, September, November
    _GERMAN[_same] = _MONTHS[_same][0]
_ONLY_GERMAN = {*_GERMAN, *("jänner", "feber", "maerz", "marz", "mär", "mrz", "okt", "dez")}
_ONLY_GERMAN -= {names[0] for names in _MONTHS}
_MONTH_NUMBER = {name: n for n, names in enumerate(_MONTHS, 1) for name in names}
_WEEKDAYS = (
    ("mon", "tues", "weds", "thurs", "fri", "sat", "sun"),
    ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    ("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
    ("montag", "dienstag", "mittwoch", "donnerstag", "freitag", "samstag", "sonntag"),
)
WEEKDAY_PLACE = {
    name: (row, n) for row, names in enumerate(_WEEKDAYS) for n, name in enumerate(names)
}

SHORT_WORDS = frozenset(["mon", "wed", "fri", "sat", "sun"])
"""Weekdays that count with a capital alone: "O2 sat", "sun burns"."""

MONTH_STEMS = sorted({name[:3] for name in _MONTH_NUMBER})
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii")
ROMAN_NUMBER = {name: n for n, name in enumerate(_ROMAN, 1)}
ROMAN = "(?:" + "|".join(sorted(_ROMAN, key=len, reverse=True)) + r")(?![^\W\d_])"

MONTH = "(?:" + "|".join(sorted(_MONTH_NUMBER, key=len, reverse=True)) + r")(?![^\W\d_])\.?"
_WEEKDAY_BEHIND = re.compile(
    r"(?:[ ]?\(|,[ ](?:an? |ein )?)(?P<weekday>"
    + "|".join(sorted(WEEKDAY_PLACE, key=len, reverse=True))
    + r")(?![^\W_])(?!\.?,?[ ](?:the |den |dem )?(?:\d|"
    + MONTH
    + r"[ ]\d))",
    re.IGNORECASE,
)
_CUT_BEHIND = re.compile(
    r"[ ]?\((?:Mo|Di|Mi|Do|Fr|Sa|So)\.?\)"
    r"|,?[ ](?:Mo|Di|Mi|Do|Fr|Sa|So)(?:\.(?![ ]?\d{1,2}\.)|(?=[,;)]|\Z))"
    r"|,[ ](?:Mo|Di|Mi|Fr|Sa)(?![\w.-])(?![ ]?\d{1,2}\.)"
)
"""German weekdays cut short behind a date, which is then no longer shifted but goes."""
_WEEKDAY_BEFORE = re.compile(
    r"(?<![^\W_])(?<!o2[ ])(?<!oxygen[ ])(?P<weekday>"
    + "|".join(sorted(WEEKDAY_PLACE, key=len, reverse=True))
    + r")(?:\.?,?[ ]+(?:the |den |dem )?)$",
    re.IGNORECASE,
)
_MONTH_WORD = re.compile(r"(?<![^\W\d_])" + MONTH)
_TH = r"(?:st|nd|rd|th|\.)?"
# What stands before or behind may be another date: 04.03.2024-09.03.2024, 04.03.2024,09.03.2024.
_BEFORE = r"(?<![^\W_])(?:(?<!\d[.,:/-])|(?<=[./]\d{4}[,-])|(?<=[./]\d\d[,-]))"
_AFTER = r"(?![^\W_])(?![./]?\d)(?![,-]\d(?!\d?[./]\d{1,2}[./]\d\d))"
_NO_UNIT = r"(?![ ]?(?:%|(?:mg|mcg|µg|g|kg|ml|l|cm|mm|mmol|h|hours?|days?|weeks?|months?)\b))"
_SCORE = re.compile(
    r"(?:apgar|gleason|nibp|dilution|verdünnung|score|titer|titre)[\w-]{0,8}[ :=(]{0,3}"
    r"(?:(?:of|was|were|von|is|war)[ ])?"
    r"(?:\d{1,2}/\d{1,2}/\d{1,2}(?:,[ ]?|[ ]und[ ]|[ ]and[ ])){0,3}\Z",
    re.IGNORECASE,
)
_MORE = re.compile(r"[ :]{1,2}\d")
_ON = re.compile(r"(?<![^\W_])(?:on|since|until|from|dated)[ ](?:the )?\Z", re.IGNORECASE)
QUANTITY = re.compile(
    r"[ ]?(?:%|(?:mg|mcg|µg|g|kg|ml|l|cm|mm|mmol|iu|ie|i\.e|u|kcal|cal|units?|einheiten)\b)",
    re.IGNORECASE,
)
"""Behind what is so much of something, and no year."""
_TIME_AFTER = r"(?=T\d\d:|(?![^\W_])(?!-?\d))(?!\.\d|,\d(?!\d{3}-))"

_ISO = re.compile(
    r"(?<![^\W_])(?:(?<!\d[.,:-])|(?<=-\d\d[,-]))"
    + r"(?P<y>(?:1[6-9]|2[0-3])\d\d)(?P<s>[-/._])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})"
    + _TIME_AFTER,
    re.IGNORECASE,
)
_NUMBERS = re.compile(
    _BEFORE
    + r"(?P<a>\d{1,2})(?P<g>[ ]?)(?P<s>[-/.])(?P<gap>[ ]?)(?P<b>\d{1,2})(?P=g)(?P=s)(?P=gap)"
    r"(?P<y>(?:(?:1[6-9]|2[0-3])\d\d)|'?\d\d" + _NO_UNIT + ")" + _AFTER,
    re.IGNORECASE,
)
_COMPACT = re.compile(
    r"(?<![\w.,-])(?P<y>(?:19|20)\d\d)(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])"
    r"(?:T?(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?(?:\.\d+)?(?:Z|[+-]\d{4})?)?(?!\w|[.,-]\d)"
)
_DAY_FIRST = re.compile(
    r"(?<![\w.])(?P<d>\d{1,2})(?P<nth>"
    + _TH
    + ")"
    + r"(?P<g1>[ ]?(?:of )?[-./ ]?[ ]?)(?P<m>"
    + MONTH
    + r")(?:(?P<g2>,?[-./ ]?[ ]?'?)(?P<y>(?:1[6-9]|2[0-3])\d\d|(?<=['/-])\d\d)(?![\w]))?",
    re.IGNORECASE,
)
VERB_BEHIND = re.compile(
    r"[ ](?:be|have|not|also|need|take|show|represent|progress|require|repeat|cause|help|occur)\b",
    re.IGNORECASE,
)
"""Behind "may" as a verb."""

_DAY_WIDTH = len("31st of - ")
_MONTH_FIRST = re.compile(
    r"(?<![^\W_])(?P<m>" + MONTH + r")(?P<g1>[ -]{1,2}(?:the )?)(?P<d>\d{1,2})(?P<th>st|nd|rd|th)?"
    r"(?![\w]|[.:/]\d|,\d(?!\d{3}(?!\d))|[ ]?(?:mg|mcg|ml|g|kg|%|mmol|units?|x)\b)"
    r"(?:(?P<g2>(?:,|,?[- ]{1,2})'?)(?P<y>(?:1[6-9]|2[0-3])\d\d|(?<=')\d\d)(?![\w]))?",
    re.IGNORECASE,
)
_MONTH_YEAR = re.compile(
    r"(?<![^\W_])(?P<m>"
    + MONTH
    + r")(?P<g1>,?[ /-]{0,2}(?:of )?)(?P<y>(?:1[6-9]|2[0-3])\d\d)(?![\w])",
    re.IGNORECASE,
)
_NUMBER_YEAR = re.compile(
    r"(?:(?<![\w.,/:-])|(?<=[/.]\d{4}-)|(?<=\d{4}-\d\d[/-])|(?<=-\d\d-\d\d/)"
    r"|(?<=(?<!\d)\d{4}/)|(?<=\A/))"
    r"(?:(?P<m>0?[1-9]|1[0-2])(?P<s>[/.])(?P<y>(?:19|20)\d\d)"
    r"|(?P<y2>(?:19|20)\d\d)-(?P<m2>0[1-9]|1[0-2]))"
    r"(?![^\W_]|[.,]\d|/\d(?!\d{3}(?:-\d\d(?!\d)|(?![\w/.-])))|-\d(?!\d?[/.]\d{4}|\d{3}-\d\d(?![\d-])))"
)
_ROMAN_MONTH = re.compile(
    _BEFORE + r"(?P<d>\d{1,2})(?:(?P<s>[ ]?[./-][ ]?)(?P<m>" + ROMAN + r")(?P=s)"
    r"(?P<y>(?:1[6-9]|2[0-3])\d\d|'?\d\d" + _NO_UNIT + r")"
    r"|\.?[ ](?P<m2>" + ROMAN + r")\.?[ ](?P<y2>(?:1[6-9]|2[0-3])\d\d))" + _AFTER,
    re.IGNORECASE,
)
Found = tuple[int, int, str]
"""Where a date stands in the text, and what is to stand there."""


@dataclass(frozen=True, kw_only=True)
class DateStyle:
    """Say how the dates of one text are read and shifted."""

    days: int
    """By how many days; 0 leaves them, unless they are read `in_place`."""

    month_first: bool = False
    """How `3/4/2024` is read where the text itself does not show it."""

    year: int | None = None
    """That of the text: for dates without a year, and to tell 24 from 1924."""

    hidden: frozenset[date] = frozenset()
    """Dates that are [DATE] rather than shifted: a birth that would tell an age over 89."""

    in_place: bool = False
    """Read and write dates as if they were shifted, though by no day."""

    @property
    def reads(self) -> bool:
        """Whether dates are looked for at all."""
        return bool(self.days or self.hidden or self.in_place)


def shift_days(subject_id: int, secret: bytes) -> int:
    """Give a subject's shift: whole days from -365 to 365, never 0, by the key alone.

    >>> shift_days(1, b"k" * 16) == shift_days(1, b"k" * 16) != 0
    True
    """
    digest = hmac.digest(secret, f"medweave date shift {subject_id}".encode(), "sha256")
    place = int.from_bytes(digest[:8]) % (2 * _MOST_DAYS)
    return place - _MOST_DAYS if place < _MOST_DAYS else place - _MOST_DAYS + 1


def find_dates(text: str, style: DateStyle) -> Iterator[Found]:
    """Give the dates of a text with what they become, the surest form first; they may overlap.

    >>> style = DateStyle(days=31, year=2024)
    >>> text = "Seen 2024-03-01, again on March 5th, 2024; 31.02.2024"
    >>> [new for _, _, new in find_dates(text, style)][:3]
    ['2024-04-01', '[DATE]', 'April 5th, 2024']
    """
    for m in find_near_digits(_ISO, text, before=0, digits=6):
        yield write_date(m, day_of(int(m["y"]), int(m["m"]), int(m["d"])), style, "ymd")
    yield from _find_numbers(text, style)
    yield from _find_months(text, style)
    for m in find_near_digits(_NUMBER_YEAR, text, before=0, digits=5):
        year, month = m["y"] or m["y2"], m["m"] or m["m2"]
        yield write_date(m, day_of(int(year), int(month), 15), style, "ym")
    for m in find_near_digits(_ROMAN_MONTH, text, before=0):
        month, year = ROMAN_NUMBER[(m["m"] or m["m2"]).lower()], _year(m["y"] or m["y2"], style)
        yield write_date(m, day_of(year, month, int(m["d"])), style, "ymd")


def find_plain_dates(text: str, style: DateStyle) -> Iterator[Found]:
    """Give dates that have a year of four digits, as codes may have: no number is taken for one.

    >>> [new for _, _, new in find_plain_dates("VISIT_2024-03-01 10-12-14", DateStyle(days=1))]
    ['2024-03-02']
    """
    for m in find_near_digits(_ISO, text, before=0, digits=6):
        yield write_date(m, day_of(int(m["y"]), int(m["m"]), int(m["d"])), style, "ymd")
    for start, end, new in _find_numbers(text, style):
        if re.search(r"\d{4}$", text[start:end]):
            yield start, end, new


def find_compact_dates(text: str, style: DateStyle) -> Iterator[Found]:
    """Give dates without separators: what is no identifier may be one.

    >>> list(find_compact_dates("20240301101500", DateStyle(days=1)))
    [(0, 14, '20240302101500')]
    """
    for m in find_near_digits(_COMPACT, text, before=0, digits=8):
        yield write_date(m, day_of(int(m["y"]), int(m["m"]), int(m["d"])), style, "ymd")


def shift_dicom(text: str, days: int) -> str | None:
    """Shift a DICOM DA or DT; give None where it is no date.

    >>> shift_dicom("20240229101500.5+0100", 1), shift_dicom("202402", 20), shift_dicom("soon", 1)
    ('20240301101500.5+0100', '202403', None)
    """
    read = re.fullmatch(r"\s*(\d{4})[.]?(\d\d)?[.]?(\d\d)?([\d.]*(?:[+-]\d{4})?)\s*", text)
    if read is None:
        return None
    year, month, day, rest = read.groups()
    stated = day_of(int(year), int(month or 6), int(day or 15))
    moved = stated and _move(stated, days)
    if moved is None:
        return None
    parts = (
        f"{moved.year:04}",
        f"{moved.month:02}" if month else "",
        f"{moved.day:02}" if day else "",
    )
    return "".join(parts) + rest


def _find_months(text: str, style: DateStyle) -> Iterator[Found]:
    for place in month_words(text):
        m = _day_before(text, place) or _MONTH_FIRST.match(text, place)
        if m is None:
            m = _MONTH_YEAR.match(text, place)
            if m is not None and not QUANTITY.match(text, m.end()):
                yield write_date(m, day_of(int(m["y"]), _month(m["m"]), 15), style, "ym")
            continue
        first = m.start("m") == m.start()
        if not m["y"] and _is_verb(m, first=first):
            continue
        day = int(m["d"])
        year = _year(m["y"], style) if m["y"] else style.year or 2001
        stated = day_of(year, _month(m["m"]), day)
        if stated is not None or m["y"] or 1 <= day <= 31:
            yield write_date(m, stated, style, "ymd" if m["y"] else "md")


def _is_verb(m: re.Match[str], *, first: bool) -> bool:
    """Say whether "may" or "march" is a verb rather than a month: "may 5", "2 may", "2. May"."""
    name = m["m"].rstrip(".")
    if name.lower() not in ("may", "march", "mar"):
        return False
    if first:
        return name.islower()
    if "of" in m["g1"].lower() or m["nth"] in ("st", "nd", "rd", "th"):
        return False
    if VERB_BEHIND.match(m.string, m.end()):
        return True
    if m["g1"].strip() in ("-", "/", ".") and " " not in m["g1"] and m["nth"] != ".":
        return False
    if _ON.search(m.string, max(0, m.start() - 12), m.start()):
        return False
    # German has a point there, but its May is "Mai".
    return name.islower() or m["nth"] == "." or m["g1"].strip() != ""


@lru_cache(maxsize=2)
def month_words(text: str) -> list[int]:
    """List where the names of English and German months begin, near digits."""
    lower = lowered(text)
    if not any(name in lower for name in MONTH_STEMS):
        return []
    return [m.start() for m in find_near_digits(_MONTH_WORD, lower)]


def _day_before(text: str, month: int) -> re.Match[str] | None:
    """Match a date whose month's name stands at a place, and whose day before it."""
    for start in range(max(0, month - _DAY_WIDTH), month):
        if text[start].isdigit():
            m = _DAY_FIRST.match(text, start)
            if m is not None and m.start("m") == month:
                return m
    return None


def _find_numbers(text: str, style: DateStyle) -> Iterator[Found]:
    matches = list(find_near_digits(_NUMBERS, text, before=0, digits=4))
    shown = _shown_by(matches)
    month_first = style.month_first if shown is None else shown
    for m in matches:
        year = _year(m["y"], style)
        if len(m["y"]) < 4 and m["a"][0] != "0" and _is_score(m):
            continue
        for day, month in orders_of(int(m["a"]), int(m["b"]), m["s"], month_first):
            stated = day_of(year, month, day)
            if stated is not None:
                # Which of the two comes first is how it was read.
                yield write_date(m, stated, style, "ab" if day == int(m["a"]) else "ba")
                break
        else:
            if len(m["y"]) == 4:  # `20/30/40` may be anything
                yield (*m.span(), DATE)


def shown_order(text: str) -> bool | None:
    """Say whether the month comes first in most dates of a text that show it, or None.

    >>> shown_order("3/14/2024 and 3/4/2024"), shown_order("3/4/2024")
    (True, None)
    """
    return _shown_by(find_near_digits(_NUMBERS, text, before=0, digits=4))


def _shown_by(matches: Iterable[re.Match[str]]) -> bool | None:
    return most_show((m["a"], m["b"]) for m in matches if m["s"] != ".")


def most_show(pairs: Iterable[tuple[str, str]]) -> bool | None:
    """Say whether the month comes first in most pairs of two numbers, as those over 12 show."""
    votes = 0
    for a, b in pairs:
        if (int(a) > 12) != (int(b) > 12) and max(int(a), int(b)) <= 31:
            votes += 1 if int(b) > 12 else -1
    return votes > 0 if votes else None


def _is_score(m: re.Match[str]) -> bool:
    """Say whether three numbers stand behind a word for such: "Apgar 8/9/10"."""
    before = m.string[max(0, m.start() - 40) : m.start()]
    return _SCORE.search(before) is not None and not _MORE.match(m.string, m.end())


def orders_of(a: int, b: int, separator: str, month_first: bool) -> list[tuple[int, int]]:
    """Give the ways to read two numbers as day and month, the likelier first."""
    day_first = [(a, b), (b, a)]
    return day_first[::-1] if month_first and separator != "." else day_first


def write_date(m: re.Match[str], stated: date | None, style: DateStyle, parts: str) -> Found:
    """Write the shifted date into the match, in its own form."""
    start, end = m.span()
    moved = shifted(stated, style)
    if moved is None:
        return start, end, DATE
    groups = m.groupdict()
    new: dict[str, str] = {}
    for name in ("y", "y2"):
        if groups.get(name):
            new[name] = _year_like(groups[name], moved.year)
    if "d" in parts and groups.get("d"):
        new["d"] = _like(groups["d"], moved.day, m)
    for name in ("m", "m2"):
        if groups.get(name):
            written = groups[name]
            new[name] = (
                _like(written, moved.month, m)
                if written.isdigit()
                else _month_like(
                    written, moved.month, tight=(groups.get("g1") or "").strip() == "-"
                )
            )
    if parts in ("ab", "ba"):
        day, month = ("a", "b") if parts == "ab" else ("b", "a")
        new[day], new[month] = (
            _like(groups[day], moved.day, m),
            _like(groups[month], moved.month, m),
        )
        for name in ("a", "b"):
            if not groups[name].isdigit():
                new[name] = _month_like(groups[name], moved.month)
    if groups.get("th"):
        new["th"] = _ordinal(moved.day)
    out, at = [], start
    for name, said in sorted(new.items(), key=lambda item: m.start(item[0])):
        out += [m.string[at : m.start(name)], said]
        at = m.end(name)
    text = "".join(out) + m.string[at:end]
    if "th" not in groups and "g1" in groups and "d" in new:
        text = re.sub(r"(?<=\d)(?:st|nd|rd|th)(?=[ ])", _ordinal(moved.day), text, count=1)
    cut = _CUT_BEHIND.match(m.string, end) if parts != "ym" else None
    if cut is not None:
        return start, cut.end(), DATE
    behind = _WEEKDAY_BEHIND.match(m.string, end) if parts != "ym" else None
    if behind is not None:
        text += m.string[end : behind.start("weekday")] + _weekday_like(behind["weekday"], moved)
        end = behind.end()
    named = _WEEKDAY_BEFORE.search(m.string, max(0, start - 16), start)
    if named is not None and named["weekday"] not in SHORT_WORDS and parts != "ym":
        weekday = _weekday_like(named["weekday"], moved)
        return named.start(), end, weekday + m.string[named.end("weekday") : start] + text
    return start, end, text


def day_of(year: int, month: int, day: int) -> date | None:
    """Give a day of the calendar, or None."""
    try:
        return date(year, month, day)
    except ValueError:
        return None


def shifted(stated: date | None, style: DateStyle) -> date | None:
    """Shift a day; give None where it is none, is hidden, or lies outside of the calendar."""
    if stated is None or stated in style.hidden:
        return None
    return _move(stated, style.days)


def _move(stated: date, days: int) -> date | None:
    try:
        return stated + timedelta(days=days)
    except OverflowError:
        return None


def _year(written: str, style: DateStyle) -> int:
    if len(written) == 4:
        return int(written)
    short, now = int(written.strip("'")), style.year or 2025
    year = now - now % 100 + short
    return year if year <= now + 1 else year - 100


def _year_like(written: str, year: int) -> str:
    if len(written) == 4:
        return f"{year:04}"
    return written[:-2] + f"{year % 100:02}"


def _like(written: str, number: int, m: re.Match[str]) -> str:
    """Write a number with a zero before it where the date that it stands in would have one."""
    fields = [m[name] for name in ("a", "b", "d", "m", "m2") if m.groupdict().get(name)]
    named = any(not field.isdigit() for field in fields)
    padded = written[0] == "0" or (not named and all(len(field) == 2 for field in fields))
    return f"{number:02}" if padded else str(number)


def _month(written: str) -> int:
    return _MONTH_NUMBER[written.lower().rstrip(".")]


@lru_cache(maxsize=1024)
def _month_like(written: str, month: int, *, tight: bool = False) -> str:
    """Name a month in the language, length and case of another.

    >>> _month_like("MÄRZ", 5), _month_like("Mar.", 12), _month_like("march", 1)
    ('MAI', 'Dec.', 'january')
    """
    bare = written.rstrip(".")
    name = bare.lower()
    if name in ROMAN_NUMBER:
        roman = _ROMAN[month - 1]
        return roman.upper() if bare.isupper() else roman
    full = (_GERMAN if name in _ONLY_GERMAN else [names[0] for names in _MONTHS])[month - 1]
    short = len(name) <= 3 and (tight or name not in ("may", "mai"))  # 01-May-2024
    new = full[:3] if short else full
    new = new.upper() if bare.isupper() else new.capitalize() if bare[0].isupper() else new
    return new + written[len(bare) :]


def _weekday_like(written: str, moved: date) -> str:
    row, _ = WEEKDAY_PLACE[written.lower()]
    new = _WEEKDAYS[row][moved.weekday()]
    return new.upper() if written.isupper() else new.capitalize() if written[0].isupper() else new


def _ordinal(day: int) -> str:
    return "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
