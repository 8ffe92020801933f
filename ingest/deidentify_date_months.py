"""Find dates that name an English or a German month: "March 1st, 2024", "1. März", "May 2024"."""

import re
from collections.abc import Iterator

from ingest.deidentify_date_measures import DOSED, QUANTITY, is_counted
from ingest.deidentify_dates import (
    DATE,
    MONTH,
    DateStyle,
    Found,
    day_of,
    month_of,
    month_words,
    write_date,
    year_of,
)

__all__ = ["VERB_BEHIND", "find_month_dates"]

_TH = r"(?:st|nd|rd|th|\.)?"
_DAY_FIRST = re.compile(
    r"(?<![\w.'’])(?P<d>\d{1,2})(?P<nth>"
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

_NAME = re.compile(MONTH, re.IGNORECASE)
_NTHS = frozenset(["st", "nd", "rd", "th"])
_DAY_WIDTH = len("31st of - ")
_MONTH_FIRST = re.compile(
    r"(?<![^\W_])(?P<m>" + MONTH + r")(?P<g1>[ -]{1,2}(?:the )?)(?P<d>\d{1,2})(?P<th>st|nd|rd|th)?"
    r"(?![\w]|[.:/]\d|,\d(?!\d{3}(?!\d)))"
    r"(?:(?P<g2>(?:,|,?[- ]{1,2})'?)(?P<y>(?:1[6-9]|2[0-3])\d\d|(?<=')\d\d)(?![\w]))?",
    re.IGNORECASE,
)
_MONTH_YEAR = re.compile(
    r"(?<![^\W_])(?P<m>"
    + MONTH
    + r")(?P<g1>,?[ /-]{0,2}(?:of )?['’]?)(?P<y>(?:1[6-9]|2[0-3])\d\d|(?<=['’])\d\d)"
    r"(?![\w])",
    re.IGNORECASE,
)
_TIGHT = re.compile(
    r"(?<![^\W_])(?P<m>" + MONTH + r")(?P<g1>)(?P<d>\d{1,2})(?P<th>st|nd|rd|th)?"
    r"(?P<g2>,[ ]?)(?P<y>(?:1[6-9]|2[0-3])\d\d)(?!\w)",
    re.IGNORECASE,
)
_STUCK = re.compile(r"[A-Z]{3}\d\d(?!\w|[.,:/-]\d)")
"""AUG23, whose number is a day or a year."""

_GERMAN_ALONE = re.compile(
    r"(?:januar|jänner|februar|feber|m(?:är|ae?r)z|mai|juni|juli|oktober|dezember|mrz|mär|okt|dez)\.?",
    re.IGNORECASE,
)
"""Months behind which German has a year, and never a day."""

_OTHER_WORDS = frozenset(["may", "march", "mar", "dec", "oct", "sep", "sept"])
_TIMED = re.compile(r"[ -]?(?:hours|days|weeks)\b", re.IGNORECASE)
_WITHIN = re.compile(r"[^\W_][ ]\Z")
_EYE = re.compile(r"[ ](?:OD|OS|OU)\b")
_FALLS = re.compile(r"[ ](?:to|->|-->)[ ]?\d")
_ON = re.compile(r"(?<![^\W_])(?:on|since|until|from|dated)[ ](?:the )?\Z", re.IGNORECASE)


def find_month_dates(text: str, style: DateStyle) -> Iterator[Found]:
    """Give the dates with a month's name, with what they become.

    >>> text = "4 May 2024; COVID-19 March 2020; Cr 2 Apr 2024; Dec 2 tabs"
    >>> [new for _, _, new in find_month_dates(text, DateStyle(days=31))]
    ['4 June 2024', 'April 2020', '[DATE]']
    """
    for place in month_words(text):
        before = _day_before(text, place)
        whose = "" if before is None or before["nth"] in _NTHS else _whose_number(before)
        m = before if before is not None and not whose else None
        m = m or _MONTH_FIRST.match(text, place) or _TIGHT.match(text, place)
        if m is None:
            yield from _months_alone(text, place, style, doubtful=whose == "perhaps")
            continue
        first = m.start("m") == m.start()
        if not m["y"] and (_is_verb(m, first=first) or (first and _is_dosed(m))):
            if first and _is_month_of_dose(m):
                yield (*m.span("m"), DATE)
            continue
        day = int(m["d"])
        year = year_of(m["y"], style) if m["y"] else style.year or 2001
        stated = day_of(year, month_of(m["m"]), day)
        if first and not m["y"] and _may_be_year(m):
            yield (*m.span(), DATE)
        elif stated is not None or m["y"] or 1 <= day <= 31:
            yield write_date(m, stated, style, "ymd" if m["y"] else "md")


def _months_alone(text: str, place: int, style: DateStyle, *, doubtful: bool) -> Iterator[Found]:
    """Give a month that has no day: one in doubt goes, since a day may stand before it."""
    m = _MONTH_YEAR.match(text, place)
    if m is not None and not QUANTITY.match(text, m.end()):
        if doubtful:
            yield (*m.span(), DATE)
        else:
            stated = day_of(year_of(m["y"], style), month_of(m["m"]), 15)
            yield write_date(m, stated, style, "ym")
    elif m is None and doubtful:
        named = _NAME.match(text, place)
        verb = named is not None and named[0].lower().rstrip(".") in ("may", "march", "mar")
        if named is not None and not (
            verb and (named[0].islower() or VERB_BEHIND.match(text, named.end()))
        ):
            yield place, named.end(), DATE
    stuck = _STUCK.match(text, place)
    if stuck is not None:
        yield (*stuck.span(), DATE)


def _whose_number(m: re.Match[str]) -> str:
    """Say whether the number before a month may be another's: "surely", "perhaps" or ""."""
    gaps = m["g1"] + (m["g2"] or "")
    if " " not in gaps and "/" not in m["g1"] and (m["y"] or m["nth"] != "."):
        return ""  # 14MAR2024, 14-MAR
    shown = m["d"][0] == "0" or m["nth"] == "." or m["g1"].strip() != ""
    return is_counted(m.string, m.start(), first=m.start() - 40, by_word=shown)


def _is_dosed(m: re.Match[str]) -> bool:
    """Say whether a number behind a month's name is a dose: "May 2 tabs", "dec 12 -> 8"."""
    if m["th"]:
        return False
    if DOSED.match(m.string, m.end("d")):
        return True
    if m["m"] == "OCT" and _EYE.match(m.string, m.end("d")):
        return True
    return m["m"] == "dec" and _FALLS.match(m.string, m.end("d")) is not None


def _is_month_of_dose(m: re.Match[str]) -> bool:
    """Say whether a month's name before a dose is no other word: "Surgery Jan 5 weeks ago"."""
    name = m["m"].rstrip(".")
    if name.lower() not in _OTHER_WORDS:
        return True
    if name.islower() or (name.isupper() and len(name) < 4):
        return False  # "see MAR 2 times", "OCT 12 OD"
    within = _WITHIN.search(m.string, max(0, m.start() - 2), m.start()) is not None
    return within and _TIMED.match(m.string, m.end("d")) is not None


def _may_be_year(m: re.Match[str]) -> bool:
    """Say whether the number behind a month may be a year's: "Mai 24", "Aug-23"."""
    if m["th"] or len(m["d"]) < 2:
        return False
    return m["g1"] == "-" or _GERMAN_ALONE.fullmatch(m["m"]) is not None


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


def _day_before(text: str, month: int) -> re.Match[str] | None:
    """Match a date whose month's name stands at a place, and whose day before it."""
    for start in range(max(0, month - _DAY_WIDTH), month):
        if text[start].isdigit():
            m = _DAY_FIRST.match(text, start)
            if m is not None and m.start("m") == month:
                return m
    return None
