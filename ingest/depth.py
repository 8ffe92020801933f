"""Say how deeply a line of JSON is nested, at a cost that no ordinary line notices.

DuckDB reads a line of any depth without harm, and Python's JSON gives up at a depth that depends on
who calls it. So that one and the same record meets one and the same fate as a file, as a line and
in a Bundle, there is a limit of our own, below Python's; FHIR nests some ten levels.
"""

import re

import numpy as np

__all__ = ["DEEPEST", "TOO_DEEP", "any_deep", "is_deep"]

DEEPEST = 500
"""Objects and lists inside one another."""

TOO_DEEP = f"JSON nested deeper than {DEEPEST} levels"

_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_LOWER = 0x20  # turns [ into { and ] into }
_OPEN, _CLOSE, _QUOTE = b'{}"'
_BLOCK_BYTES = 1 << 20
_LONG_BYTES = 4 << 20


def any_deep(data: np.ndarray, offsets: np.ndarray, *, wrapped: bool = False) -> bool:
    """Say whether any of these lines is nested deeper than DEEPEST.

    Args:
        data: Lines one behind the other: [bytes] uint8.
        offsets: Where each begins, and where the last ends: [lines + 1] int64.
        wrapped: Whether each is in a line of ours, which is one level more.
    """
    # A line must close what it opens; one that does not is no JSON anyway.
    lengths = np.diff(offsets)
    longest = int(lengths.max(initial=0))
    if longest <= 2 * DEEPEST:
        return False
    begins = data | _LOWER
    begins = np.equal(begins, _OPEN, out=begins.view(np.bool_))
    if longest > _LONG_BYTES or 4 * np.count_nonzero(begins) > len(data):
        # These are not records, and the sums below would take many times their bytes.
        lines = np.flatnonzero(lengths > 2 * DEEPEST)
    else:
        # So many in fewer bytes than the longest line has: hardly ever.
        opens = np.flatnonzero(begins)
        near = np.flatnonzero(opens[DEEPEST:] - opens[:-DEEPEST] < longest)
        lines = np.searchsorted(offsets, opens[near], side="right") - 1
        lines = np.unique(lines[opens[near + DEEPEST] < offsets[lines + 1]])
    cuts = (data[offsets[n] : offsets[n + 1]] for n in lines.tolist())
    return any(is_deep(cut.tobytes(), wrapped=wrapped) for cut in cuts)


def is_deep(line: bytes | bytearray, *, wrapped: bool = False) -> bool:
    r"""Say whether a line is nested deeper than DEEPEST.

    >>> is_deep(b"[" * 501 + b"]" * 501), is_deep(b'["\\"' + b"[" * 501 + b'"]')
    (True, False)
    """
    if len(line) <= 2 * DEEPEST or line.count(b"{") + line.count(b"[") <= DEEPEST:
        return False
    data = np.frombuffer(_ESCAPE.sub(b"", line) if b"\\" in line else line, np.uint8)
    depth = quotes = 0
    for start in range(0, len(data), _BLOCK_BYTES):  # the sums take eight times the bytes
        block = data[start : start + _BLOCK_BYTES]
        low = block | _LOWER
        marks = low[(low == _OPEN) | (low == _CLOSE) | (block == _QUOTE)]
        quoted = np.cumsum(marks == _QUOTE) + quotes
        steps = np.where(marks == _OPEN, 1, -1)
        steps[(marks == _QUOTE) | (quoted % 2 == 1)] = 0
        depths = np.cumsum(steps) + depth
        if len(marks):
            if depths.max() > DEEPEST + wrapped:
                return True
            depth, quotes = int(depths[-1]), int(quoted[-1])
    return False
