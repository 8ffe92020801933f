"""Look with slow patterns only where they can match: around a text's digits.

Most of a note has none, and a date, a phone number or an age has one within a few characters. So
the runs of digits are found once, and a pattern is tried in windows around them. Lookbehinds and
word boundaries see across a window's beginning, and a window ends well behind what they look at.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

__all__ = ["find_near_digits", "has_digits", "has_login", "lowered"]

_DIGIT = re.compile(r"\d")
_CLUSTER = re.compile(r"\d+(?:[\W_]{1,5}\d+)*")
_RUN = re.compile(r"\d+")
_LETTER_AND_DIGIT = re.compile(r"[^\W\d_]\d")


def has_digits(plain: str) -> bool:
    """Say whether there is a digit, of any script."""
    return _DIGIT.search(plain) is not None or (
        not plain.isascii() and any(letter.isdigit() for letter in plain)
    )


def has_login(folded: str) -> bool:
    """Say whether a word of four letters or more has up to eight digits behind it.

    >>> has_login("doering2 came"), has_login("b12 2024"), has_login("doering123456789")
    (True, False, False)
    """
    return _LETTER_AND_DIGIT.search(folded) is not None and any(
        m.end() - m.start() <= 8
        and m.start() >= 4
        and folded[m.start() - 4 : m.start()].isalpha()
        and not folded[m.end() : m.end() + 1].isalnum()
        for m in _RUN.finditer(folded)
    )


@lru_cache(maxsize=2)
def lowered(plain: str) -> str:
    """Put a text in lower case, each character at its place: patterns that know no case are slow.

    >>> lowered("Am \u0130 MAI")
    'am \u0130 mai'
    """
    low = plain.lower()
    if len(low) == len(plain):
        return low
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in plain)


def find_near_digits(
    pattern: re.Pattern[str], plain: str, *, before: int = 24, after: int = 32, digits: int = 1
) -> Iterator[re.Match[str]]:
    """Give the matches of a pattern that can match near digits alone.

    Args:
        pattern: each of its matches has a digit.
        plain: the text.
        before: by how many characters at most a match begins before a group of digits.
        after: by how many it ends, or looks, behind one.
        digits: how many a group has at least, in runs that no letter parts.
    """
    if _most_digits(plain) >= digits:
        for start, end in _windows(plain, before, after, digits):
            yield from pattern.finditer(plain, start, end)


@lru_cache(maxsize=4)
def _most_digits(plain: str) -> int:
    """Give how many digits the largest group has: in most notes, a year's four."""
    return max((count for _, _, count in _clusters(plain)), default=0)


@lru_cache(maxsize=32)
def _windows(plain: str, before: int, after: int, digits: int) -> list[tuple[int, int]]:
    """List the windows, none of which overlaps another."""
    windows: list[tuple[int, int]] = []
    for start, end, count in _clusters(plain):
        if count < digits:
            continue
        first, last = max(0, start - before), min(len(plain), end + after)
        if windows and first <= windows[-1][1]:
            windows[-1] = (windows[-1][0], last)
        else:
            windows.append((first, last))
    return windows


@lru_cache(maxsize=4)
def _clusters(plain: str) -> list[tuple[int, int, int]]:
    """List the groups of digits with nothing but a few signs between them: place and count."""
    return [
        (*m.span(), sum(map(str.isdigit, m[0])) if m.end() - m.start() > 4 else m.end() - m.start())
        for m in _CLUSTER.finditer(plain)
    ]
