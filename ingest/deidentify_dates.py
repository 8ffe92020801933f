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

This file says how they are written anew. Numbers are found in deidentify_date_numbers.py, names of
months in deidentify_date_months.py, days and months alone in deidentify_date_pairs.py, what is
[DATE] as a whole in deidentify_date_lists.py and deidentify_date_ranges.py, and other languages in
deidentify_date_languages.py; deidentify_date_measures.py tells what is none. A year alone stays: it
is no part of a day. What is written as a date and is none (`31.02.2024`) is [DATE]. `dateparser`
1.5 was tried: 53 kB a second, and "a 60" was a date.
"""

import hmac
import re
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from ingest.deidentify_digits import find_near_digits, lowered

__all__ = [
    "DATE",
    "MONTH",
    "MONTH_STEMS",
    "ROMAN",
    "ROMAN_NUMBER",
    "SHORT_WORDS",
    "WEEKDAY_PLACE",
    "DateStyle",
    "Found",
    "day_of",
    "layout_of",
    "month_of",
    "month_words",
    "orders_of",
    "shift_days",
    "shift_dicom",
    "shifted",
    "write_date",
    "year_of",
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


@lru_cache(maxsize=2)
def month_words(text: str) -> list[int]:
    """List where the names of English and German months begin, near digits."""
    lower = lowered(text)
    if not any(name in lower for name in MONTH_STEMS):
        return []
    return [m.start() for m in find_near_digits(_MONTH_WORD, lower, before=48)]


def orders_of(a: int, b: int, separator: str, month_first: bool) -> list[tuple[int, int]]:
    """Give the ways to read two numbers as day and month, the likelier first."""
    day_first = [(a, b), (b, a)]
    return day_first[::-1] if month_first and separator != "." else day_first


def layout_of(m: re.Match[str], day: int, month_first: bool) -> str:
    """Say which of two numbers was read as the day: "ab" the first, "ba" the second.

    Of two that are alike ("2/2"), the order that was asked for tells it.
    """
    if m["a"] != m["b"] and m["b"].isdigit() and int(m["a"]) != int(m["b"]):
        return "ab" if day == int(m["a"]) else "ba"
    return "ba" if month_first and m["s"] != "." and m["b"].isdigit() else "ab"


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


def year_of(written: str, style: DateStyle) -> int:
    """Read a year of four digits or two."""
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


def month_of(written: str) -> int:
    """Give the number of an English or German month's name."""
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
