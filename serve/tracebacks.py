"""Write an error's traceback without what it says: its text may hold a patient's data.

What stays is where it went (file, line, function) and of what kind each error is, down its causes.
The text of our own errors stays, too, for it is written to be read (ingest/errors.py). Notes on an
error (PEP 678) go, and so do lines of code, of which a notebook's may hold anything.
"""

import traceback
import warnings
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from ingest.errors import MedweaveError

__all__ = ["describe_error", "hide_words_of_warnings"]

_HOME = Path(__file__).resolve().parent.parent


def describe_error(error: BaseException) -> str:
    """Write an error and its causes, the first cause first, as Python does.

    >>> try:
    ...     {}["Jane Roe"]
    ... except KeyError as error:
    ...     print(describe_error(error))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
      <doctest ...>, line 2, in <module>
    KeyError
    """
    return "\n".join(_lines(error, set()))


def hide_words_of_warnings() -> None:
    """Show warnings without their text from here on: it may repeat what could not be read."""
    warnings.formatwarning = _without_words


def _without_words(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    return f"{filename}:{lineno}: {category.__name__}\n"


def _lines(error: BaseException, told: set[int]) -> Iterator[str]:
    told.add(id(error))
    cause = error.__cause__
    joint = "The above exception was the direct cause of the following exception:"
    if cause is None and not error.__suppress_context__:
        cause = error.__context__
        joint = "During handling of the above exception, another exception occurred:"
    if cause is not None and id(cause) not in told:
        yield from _lines(cause, told)
        yield from ("", joint, "")
    yield "Traceback (most recent call last):"
    steps = (
        f"  {_place(step.f_code.co_filename)}, line {line}, in {step.f_code.co_name}"
        for step, line in traceback.walk_tb(error.__traceback__)
    )
    for step, same in groupby(steps):
        yield step
        if more := sum(1 for _ in same) - 1:
            yield f"  [the same {more} more times]"
    words = f": {error}" if isinstance(error, MedweaveError) else ""
    yield type(error).__name__ + words
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from (f"  | {line}" for line in _lines(part, told))


def _place(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(_HOME)) if path.is_relative_to(_HOME) else filename
