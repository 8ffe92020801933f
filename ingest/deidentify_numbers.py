"""Find known numbers in a text, in whatever groups their digits are typed.

A row of groups may hold several of them ("0049 176 1234567 / 0511 9876543"), so every run of
neighbouring groups is looked up, the longest first. Some groups of a row make a short number by
chance, and count only from seven digits, unless it is the patient's own.

A number that is measured is nobody's: one with a unit right behind it or a lab's name before it.
"""

import re
from collections.abc import Iterator, Mapping, Set

__all__ = ["find_known_numbers", "is_measured"]

_ROW = re.compile(r"\d(?:[\s().\-/]{0,5}\d){4,}")
_GROUP = re.compile(r"\d+")
_MOST_GROUPS = 10
_MOST_DIGITS = 16  # of a phone number, with its country's code
_FEWEST_DIGITS = 5
_BY_CHANCE = 7

_UNIT = re.compile(
    r"[ ]{0,2}(?:"
    r"(?:/|per )[ ]?(?:[uµμmdfn]?[lL]|mcL|mm3|cmm|hpf|lpf|min|kg|g|h|day)"
    r"|(?:[kmuµμnpf]|mc)?(?:g|mol|I?U|Eq|eq|kat)/(?:[uµμmdfn]?[lL]|mcL|mm3|min|kg|g|h|d|day)"
    r"|(?:mg|mcg|[uµμnpk]g|m[lL]|[dµμu][lL]|cm|mm|[mµμnp]mol|mmHg|mEq|IU|IE|units?|copies|cells|bpm"
    r"|kcal|Kopien|Zellen|Einheiten|[xX] ?10(?=[\^*]))"
    r")(?![^\W_])|[ ]?%"
)
_LAB = re.compile(
    r"\b(?:wbc|rbc|anc|plts?|platelets?|(?:nt[ -]?)?(?:pro[ -]?)?bnp|cp?k|ferritin|ldh|ast|alt|"
    r"ggt|lipase|amylase|troponin|d-?dimer|hcg|psa|ca ?-?(?:125|19-9)|cea|afp|viral load|cd4|"
    r"vit(?:amin)? b12|leukocytes|leukozyten|leukos|thrombozyten|thrombos|myoglobin|procalcitonin)"
    r"(?: count| level| of| was| is)?[ :=]{1,3}\Z",
    re.IGNORECASE,
)
_LONGEST_VALUE = 7


def is_measured(text: str, start: int, end: int) -> bool:
    """Say whether a number is a value, with a unit right behind it or a lab's name before it.

    >>> text = "BNP 12345 pg/ml, WBC 36602/uL, CK: 12345; pt 12345 M, 12345 in all"
    >>> [is_measured(text, *m.span()) for m in re.finditer("[0-9]{5}", text)]
    [True, True, True, False, False]
    """
    if end - start > _LONGEST_VALUE or not text[start:end].isdigit():
        return False
    behind = _UNIT.match(text, end)
    return behind is not None or _LAB.search(text, max(0, start - 24), start) is not None


def find_known_numbers(
    plain: str, known: Mapping[str, str], own: Set[str]
) -> Iterator[tuple[int, int, str]]:
    """Give where known numbers stand, with their tags.

    >>> known = {"5550199": "[CONTACT]", "5550147": "[CONTACT]"}
    >>> list(find_known_numbers("5550199 / 555-0147, 120/80", known, set()))
    [(0, 7, '[CONTACT]'), (10, 18, '[CONTACT]')]

    Args:
        plain: the text.
        known: numbers as digits alone, with their tags; of phone numbers, the last ten digits, too.
        own: those that are the patient's own.
    """
    for row in _ROW.finditer(plain):
        groups = [(m[0], *m.span()) for m in _GROUP.finditer(plain, *row.span())]
        first = 0
        while first < len(groups):
            last, tag = _longest(plain, groups, first, known, own)
            if tag:
                start, end = groups[first][1], groups[last][2]
                before = plain[max(0, start - 2) : start]
                opened = before[-1:] == "(" and ")" in plain[start:end]
                start -= 2 if opened and before[0] == "+" else opened or before[-1:] == "+"
                yield start, end, tag
            first = last + 1


def _longest(
    plain: str,
    groups: list[tuple[str, int, int]],
    first: int,
    known: Mapping[str, str],
    own: Set[str],
) -> tuple[int, str]:
    """Give the last group of the longest known number that begins with a group, and its tag."""
    number, found = "", (first, "")
    begin = groups[first][1]
    abroad = groups[first][0][0] in "01" or plain[max(0, begin - 2) : begin].strip("(")[-1:] == "+"
    for last in range(first, min(len(groups), first + _MOST_GROUPS)):
        number += groups[last][0]
        if len(number) < _FEWEST_DIGITS:
            continue
        whole = first == last or (first == 0 and last == len(groups) - 1)
        for part in (number, number.lstrip("0")):
            tag = known.get(part, "")
            if last > first and len(part) < _BY_CHANCE and _is_reading(plain, groups, first, last):
                tag = ""
            if tag and (whole or len(part) >= _BY_CHANCE or part in own):
                found = last, tag
        if len(number) > 10 and (whole or abroad) and len(number) <= _MOST_DIGITS:
            tag = known.get(number[-10:], "")
            if tag:
                found = last, tag
    return found


def _is_reading(plain: str, groups: list[tuple[str, int, int]], first: int, last: int) -> bool:
    """Say whether groups are parted as a measurement's are: 120/80, 120.80."""
    return any(sign in plain[groups[first][2] : groups[last][1]] for sign in "/.")
