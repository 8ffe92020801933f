"""Find what makes a date of a day and a month alone, where no word such as "on" does.

    CT 5/4: no PE   extubated 8/4   Started Zosyn 8/4   f/u 6/12   8/4 CXR: clear   (8/4)
    8/1-8/4   8/4/23, 8/5   8/30-9/2     the same month and a later day, or the next month
    depuis le 04/05   dal 04/05 al 09/05   scanner du 12/04
    AU 4.5.-20.5.   CRP 4.5. 120

What may be so many of so many, or a strength of two medicines, is none without a word beside it:
"Suboxone 8/2", "BCx 2/4", "started 1/2 tab".
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

from ingest.deidentify_date_languages import EVENT_WORDS, FROM_WORDS, ON_WORDS, TO_WORDS
from ingest.deidentify_date_measures import COUNTED, FRACTIONS, OF_SO_MANY, is_rating, is_scored
from ingest.deidentify_dates import day_of
from ingest.deidentify_digits import find_near_digits, lowered

__all__ = ["dated_months", "find_kin", "find_places", "find_signed"]

_SEEN = (
    r"ct|cta|cxr|kub|mr[iat]|echo|tte|tee|ekg|ecg|eeg|emg|labs?|cbc|bmp|cmp|x-?rays?|scans?|films?"
    r"|mammo(?:gram)?|dexa|colonoscopy|egd|ercp|cath|surgery|path|ultrasound"
)
_DONE = (
    r"started|stopped|placed|removed|received|completed|underwent|begun|held|resumed|changed|inserted|given"
    r"|admitted|d/c(?:'?e?d)?|dc'?e?d|transferred|intubated|extubated|s/p|c/w"
)
_EVENTS = (
    rf"{_SEEN}|[ub]?cx|cultures?|adm|admit|admission|d/c(?:'?e?d)?|dc'?e?d|discharged?|lmp|f/?u|rtc|appt"
    r"|appointment|visit|scheduled(?:[ ]for)?|as[ ]of|addendum|dos|doa|dod|doi|edd|consult(?:ed)?"
    r"|follow-?up|intubated|extubated|transferred|transfer|onset|signed|reviewed|updated|recheck"
    r"|call|return|follow[ ]up|pathology|abx|antibiotics"
)
_PAIR = re.compile(
    r"(?=\d)(?<![\w.,:/])(?<!\D-)(?P<a>\d{1,2})/(?P<b>\d{1,2})(?P<y>/(?:(?:19|20)\d\d|\d\d))?"
    r"(?![\w/]|[.,:]\d)"
)
_EVENT = re.compile(
    rf"(?<![^\W_])(?<![-/])(?:{_EVENTS}|(?P<loud>or|us|ua|ed|pet))[.,:]?[ ](?:on[ ])?\Z"
)
_ACT = re.compile(
    rf"(?<![^\W_])(?<![-/])(?:{_SEEN}|{_DONE})(?:[ ][^\W_][\w/-]{{0,15}}){{0,5}}[ ]\Z"
)
_BEGINS = re.compile(r"(?:(?:\A|\n)[ \t*•-]{0,4}|[.;:,][ ])\Z")
_BEHIND = re.compile(rf"[ ]?:?[ ](?:{_EVENTS}|{_DONE})(?![^\W_])")
_JOINED = re.compile(r"[ ]?[-–—][ ]?|[ ](?:to|thru|through|until|till)[ ]")
_LISTED = re.compile(r"[ ]and[ ]|,[ ]?(?:and )?|;?[ ]\(")
_ZERO = re.compile(r"0\d/\d|\d\d/0\d")
_STRENGTHS = frozenset(["10/5", "20/10", "8/2", "4/1", "12/3", "8/5", "5/2", "10/1", "20/5"])
"""Of two medicines in one: "started Coveram 10/5"."""

_NAMED = re.compile(r"[^\W\d_][ ]\Z")
_COURSE = frozenset([5, 7, 10, 14, 21])
_COURSED = re.compile(r"abx|antibiotics")
"""Days of so many: "abx 5/7"."""

_READ = re.compile(
    r"(?<![^\W_])(?:(?:pcwp|wedge|r[av]|l[av]|pa|ao|ast/alt|alt/ast|bun/crea?|bun/cr|e/[ae]'?)[ ]\Z"
    r"|(?:bi-?pap|c-?pap|i-?pap|e-?pap|ventilat\w*|settings?)(?:[ ][^\W_][\w/-]{0,15}){0,2}[ ]\Z)"
)
"""Before two values or pressures that a study or a machine has: "cath RA 8/10"."""

_CULTURE = re.compile(r"[ub]?cx|cultures?")
_ELSEWHERE = re.compile(
    rf"(?<![^\W_])(?:(?:{ON_WORDS})[ ]|(?:{EVENT_WORDS})[ ](?:(?:{FROM_WORDS})[ ])?"
    rf"|(?P<zero>{FROM_WORDS})[ ])\Z"
)
_FROM = re.compile(r"(?<![^\W_])(?:du|dal|del|od|с|со|van|fra|från)[ ]\Z")
_TO = re.compile(rf"[ ](?:{TO_WORDS})[ ]")
_ZERO_POINT = re.compile(r"(?=\d)(?<![\w.,:/-])(?:0\d\.\d\d|\d\d\.0\d)(?![\w]|[.,/:]\d)")
_POINT_RANGE = re.compile(
    r"(?=\d)(?<![\w.,:/-])(?=(?P<a>\d{1,2})\.(?P<b>\d{1,2})\.[ ]?[-–][ ]?"
    r"(?P<c>\d{1,2})\.(?P<d>\d{1,2})\.(?!\d|[ ]?\d{4}))"
)
_POINT_VALUE = re.compile(
    r"(?=\d)(?<![\w.,:/-])\d{1,2}\.\d{1,2}\.[ ]\d{1,4}(?:[.,/]\d{1,3})?(?:[,;]|[ \t]*(?:\n|\Z))"
)
_VALUE = re.compile(
    r"(?<![^\W_])(?:crp|pct|leukos?|thrombos?|temp|rr|ck|ldh|ggt|got|gpt|bnp|quick|ferritin)"
    r"[ :]{1,2}\Z"
)
_APART = 12  # characters between the ends of a range


def find_places(text: str) -> Iterator[int]:
    """Give where days and months alone begin that their neighbours make dates of.

    >>> text = "CT 5/4: no PE, Cr 1.5 (8/4). Suboxone 8/2, BCx 2/4 grew, strength 3/5-4/5; 8/1-8/4"
    >>> sorted(set(find_places(text)))
    [3, 23, 75, 79]
    """
    lower = lowered(text)
    if "/" in text:
        yield from find_signed(text)
        yield from _beside_dates(_found(text), text, lower)
    if "." not in text:
        return
    for m in find_near_digits(_ZERO_POINT, text, before=0, digits=4):
        said = _ELSEWHERE.search(lower, max(0, m.start() - 32), m.start())
        if said is not None and not said["zero"]:
            yield m.start()
    for m in find_near_digits(_POINT_RANGE, text, before=0, digits=4):
        counted = COUNTED.match(text, m.end("d") + 1)
        if not counted and _is_day(m["b"], m["a"]) and _is_day(m["d"], m["c"]):
            yield m.start()
    for m in find_near_digits(_POINT_VALUE, text, before=0, digits=4):
        if _VALUE.search(lower, max(0, m.start() - 16), m.start()):
            yield m.start()


@lru_cache(maxsize=2)
def find_signed(text: str) -> frozenset[int]:
    """Give where pairs begin that a word or a bracket makes dates of: a day, or a month and year.

    >>> sorted(find_signed("CT 5/4: no PE, MRI 4/22 (8/4), 8/1-8/4"))
    [3, 19, 25]
    """
    lower, months = lowered(text), dated_months(text)
    pairs = [m for m in _found(text) if not m["y"] and _is_a_day(m)]
    return frozenset(
        m.start()
        for m in pairs
        if not COUNTED.match(text, m.end())
        and (_follows_word(m, lower) or (not is_scored(m) and _stands_alone(m, lower, months)))
    )


@lru_cache(maxsize=2)
def dated_months(text: str) -> frozenset[int]:
    """Give the first numbers of the dates with slashes and a year, and the months after them."""
    months = {int(m["a"]) for m in _found(text) if m["y"]}
    return frozenset(months | {month % 12 + 1 for month in months})


def find_kin(text: str, dates: Iterable[re.Match[str]]) -> Iterator[int]:
    """Give places of pairs that share a month with a date of their note: "Wt 8/4: 72 kg; 8/5: 71".

    Args:
        text: a note.
        dates: its pairs that are dates.
    """
    if "/" not in text:
        return
    found = _found(text)
    known = [m for m in dates if m["s"] == "/" and m["b"].isdigit()]
    firsts = {int(m["a"]) for m in (*known, *(m for m in found if m["y"]))}
    lasts = {int(m["b"]) for m in known}
    for m in found:
        a, b = int(m["a"]), int(m["b"])
        if m["y"] or not (a in firsts or (b in lasts and a > b)):
            continue
        if m[0] in _STRENGTHS and _NAMED.search(text, max(0, m.start() - 2), m.start()):
            continue
        if _is_a_day(m) and not _is_fraction(m, FRACTIONS) and not _is_so_many(m):
            yield m.start()


@lru_cache(maxsize=2)
def _found(text: str) -> list[re.Match[str]]:
    """List the pairs with a slash, and what has a year behind them, too."""
    return list(find_near_digits(_PAIR, text, before=0))


def _follows_word(m: re.Match[str], lower: str) -> bool:
    """Say whether a word before a pair makes a date of it: "CT 5/4", "depuis le 04/05"."""
    text, start = m.string, m.start()
    if text[start - 1 : start] != " " or is_rating(m):
        return False
    event = _EVENT.search(lower, max(0, start - 24), start)
    if event is not None and (not event["loud"] or text[event.start()].isupper()):
        if _COURSED.match(event[0]) and _is_fraction(m, _COURSE):
            return False
        return not (
            is_scored(m) or (_is_fraction(m, OF_SO_MANY) and _CULTURE.search(event[0]) is not None)
        )
    said = _ELSEWHERE.search(lower, max(0, start - 32), start)
    return said is not None and (not said["zero"] or _ZERO.match(m[0]) is not None)


def _stands_alone(m: re.Match[str], lower: str, months: frozenset[int]) -> bool:
    """Say whether a pair is a date without such a word: "(8/4)", "started Zosyn 8/4"."""
    text, (start, end) = m.string, m.span()
    if is_rating(m):
        return False
    begins = _BEGINS.search(lower, max(0, start - 6), start) is not None
    headed = begins and (_BEHIND.match(lower, end) or text[end : end + 2] in (": ", ":\n"))
    if headed and (int(m["a"]) in months or not _is_fraction(m, OF_SO_MANY)):
        return True
    if _is_fraction(m, FRACTIONS):
        return False
    if (begins and int(m["a"]) in months) or (
        text[start - 1 : start] == "(" and text[end : end + 1] == ")"
    ):
        return True
    return (
        text[start - 1 : start] == " "
        and m[0] not in _STRENGTHS
        and _READ.search(lower, max(0, start - 48), start) is None
        and _ACT.search(lower, max(0, start - 64), start) is not None
    )


def _beside_dates(found: list[re.Match[str]], text: str, lower: str) -> Iterator[int]:
    """Give places of pairs that go on from one another, or from a whole date."""
    for first, last in pairwise(found):
        if last["y"] or last.start() - first.end() > _APART:
            continue
        pairs = [last] if first["y"] else [first, last]
        between = text[first.end() : last.start()]
        listed = _LISTED.fullmatch(between) is not None
        if _TO.fullmatch(lower, first.end(), last.start()):
            ranged = _FROM.search(lower, max(0, first.start() - 8), first.start()) is not None
            if not (ranged and all(_is_a_day(pair) for pair in pairs)):
                continue
        else:
            joined = listed or _JOINED.fullmatch(lower, first.end(), last.start())
            if not joined or not _goes_on(*(int(m[n]) for m in (first, last) for n in "ab")):
                continue
        scores = listed and not first["y"] and all(_is_fraction(m, FRACTIONS) for m in pairs)
        if not scores and not any(_is_so_many(m) for m in pairs):
            yield from (m.start() for m in pairs)


def _goes_on(a: int, b: int, c: int, d: int) -> bool:
    """Say whether two pairs are days that follow: "8/4, 8/6", "8/30-9/2"; no scores have that form.

    Fractions of one ("1/2-1/4 tab") have.
    """
    if a == c:
        return b < d and not (a == 1 and d <= 8) and max(b, d) <= 31 and a <= 12
    return c - a in (1, -11) and d < b and b > 20 and max(a, c) <= 12


def _is_so_many(pair: re.Match[str]) -> bool:
    """Say whether a pair is none by what stands beside it."""
    if COUNTED.match(pair.string, pair.end()) or is_scored(pair):
        return True
    return is_rating(pair)


def _is_fraction(pair: re.Match[str], of: frozenset[int]) -> bool:
    if _ZERO.match(pair[0]):
        return False
    return int(pair["a"]) <= int(pair["b"]) and int(pair["b"]) in of


def _is_a_day(pair: re.Match[str]) -> bool:
    return _is_day(pair["a"], pair["b"]) or _is_day(pair["b"], pair["a"])


def _is_day(month: str, day: str) -> bool:
    return day_of(2000, int(month), int(day)) is not None
