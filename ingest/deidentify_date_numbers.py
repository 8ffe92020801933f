"""Find dates that are written in numbers; see deidentify_dates.py for their forms."""

import re
from collections.abc import Iterable, Iterator

from ingest.deidentify_date_measures import NO_UNIT, UNIT, has_unit, is_scheme
from ingest.deidentify_date_months import find_month_dates
from ingest.deidentify_dates import (
    DATE,
    ROMAN,
    ROMAN_NUMBER,
    DateStyle,
    Found,
    day_of,
    layout_of,
    orders_of,
    write_date,
    year_of,
)
from ingest.deidentify_digits import find_near_digits

__all__ = ["find_compact_dates", "find_dates", "find_plain_dates", "most_show", "shown_order"]

# What stands before or behind may be another date: 04.03.2024-09.03.2024, 04.03.2024,09.03.2024,
# 8/4/2023/8/5/2023. A date with slashes and a year of four digits is one beside letters, too.
_BEFORE = r"(?<![^\W_])(?:(?<!\d[.,:/-])|(?<=[./]\d{4}[,-])|(?<=[./]\d\d[,-]))"
_AFTER = r"(?![^\W_])(?![./]?\d)(?![,-]\d(?!\d?[./]\d{1,2}[./]\d\d))"
_BEFORE_FULL = (
    r"(?=\d)(?<!\d)(?:(?<![./:,-])|(?<!\d[./:,-])|(?<=[./]\d{4}[,-])|(?<=[./]\d\d[,-])|(?<=/\d{4}/))"
    r"(?:(?<![^\W_])|(?<=[^\W\d_])(?=\d{1,2}/))"
)
_AFTER_FULL = (
    r"(?:(?![^\W_])|(?<=/\d{4})(?=[^\W\d_]))(?!\d|[.]\d|/\d(?!\d?/\d{1,2}/\d{4}))"
    r"(?![,-]\d(?!\d?[./]\d{1,2}[./]\d\d))"
)
_TIME_AFTER = r"(?=T\d\d:|(?![^\W_])(?!-?\d))(?!\.\d|,\d(?!\d{3}-))"

_ISO = re.compile(
    r"(?<![^\W_])(?:(?<!\d[.,:-])|(?<=-\d\d[,-]))(?<!\d/\d/)(?<!\d/\d\d/)"
    + r"(?P<y>(?:1[6-9]|2[0-3])\d\d)(?P<s>[-/._])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})"
    + _TIME_AFTER,
    re.IGNORECASE,
)
_NUMBERS = re.compile(
    _BEFORE_FULL
    + r"(?P<a>\d{1,2})(?P<g>[ ]?)(?P<s>[-/.])(?P<gap>[ ]?)(?P<b>\d{1,2})(?P=g)(?P=s)(?P=gap)"
    r"(?P<y>(?:(?:1[6-9]|2[0-3])\d\d)" + _AFTER_FULL + r"|'?\d\d" + NO_UNIT + _AFTER + ")",
    re.IGNORECASE,
)
_COMPACT = re.compile(
    r"(?<![\w.,-])(?P<y>(?:19|20)\d\d)(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])"
    r"(?:T?(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?(?:\.\d+)?(?:Z|[+-]\d{4})?)?(?!\w|[.,-]\d)"
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
    r"(?P<y>(?:1[6-9]|2[0-3])\d\d|'?\d\d" + UNIT + r")"
    r"|\.?[ ](?P<m2>" + ROMAN + r")\.?[ ](?P<y2>(?:1[6-9]|2[0-3])\d\d))" + _AFTER,
    re.IGNORECASE,
)


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
    yield from find_month_dates(text, style)
    for m in find_near_digits(_NUMBER_YEAR, text, before=0, digits=5):
        year, month = m["y"] or m["y2"], m["m"] or m["m2"]
        yield write_date(m, day_of(int(year), int(month), 15), style, "ym")
    for m in find_near_digits(_ROMAN_MONTH, text, before=0):
        month, year = ROMAN_NUMBER[(m["m"] or m["m2"]).lower()], year_of(m["y"] or m["y2"], style)
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


def _find_numbers(text: str, style: DateStyle) -> Iterator[Found]:
    matches = list(find_near_digits(_NUMBERS, text, before=0, digits=4))
    shown = _shown_by(matches)
    month_first = style.month_first if shown is None else shown
    for m in matches:
        year = year_of(m["y"], style)
        short = len(m["y"]) < 4 and m["a"][0] != "0"
        if short and is_scheme(m, now=style.year or 2025):
            continue
        for day, month in orders_of(int(m["a"]), int(m["b"]), m["s"], month_first):
            stated = day_of(year, month, day)
            if stated is not None:
                yield write_date(m, stated, style, layout_of(m, day, month_first))
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
    return most_show((m["a"], m["b"]) for m in matches if m["s"] != "." and not has_unit(m))


def most_show(pairs: Iterable[tuple[str, str]]) -> bool | None:
    """Say whether the month comes first in most pairs of two numbers, as those over 12 show."""
    votes = 0
    for a, b in pairs:
        if (int(a) > 12) != (int(b) > 12) and max(int(a), int(b)) <= 31:
            votes += 1 if int(b) > 12 else -1
    return votes > 0 if votes else None
