"""Read the instants that are written as most are, many at once; leave the others to macros.sql.

FHIR writes an instant as `2024-03-01T08:30:00+01:00`, with `Z` for UTC, with or without fractions
of a second. What is written with seconds, none or three digits of a fraction, and a zone, is read
here in a few steps a column; whatever is not plainly that (a date alone, no zone, hour 24) is left
to SQL, which says the same of these (a property test holds the two together).
"""

import numpy as np
import pyarrow as pa

__all__ = ["read_instants"]

_FORMS = {
    20: "dddd-dd-ddTdd:dd:ddZ",
    24: "dddd-dd-ddTdd:dd:dd.dddZ",
    25: "dddd-dd-ddTdd:dd:dd±dd:dd",
    29: "dddd-dd-ddTdd:dd:dd.ddd±dd:dd",
}
"""By length: d is a digit, ± either sign, anything else is itself."""

_EPOCH_MONTH = 1970 * 12


def read_instants(texts: pa.ChunkedArray) -> pa.Array:
    """Read a column of times [n] as UTC in microseconds, null where that takes a closer look.

    >>> read_instants(pa.chunked_array([["2024-03-01T08:30:00+01:00", "2024-03-01", None]]))[0]
    <pyarrow.TimestampScalar: '2024-03-01T07:30:00.000000'>
    """
    column = texts.cast(pa.large_string()).combine_chunks()
    _, offsets_buffer, data_buffer = column.buffers()
    size = len(column)
    found, read = np.zeros(size, np.int64), np.zeros(size, bool)
    if offsets_buffer is not None and data_buffer is not None and size:
        offsets = np.frombuffer(offsets_buffer, np.int64)[column.offset : column.offset + size + 1]
        data = np.frombuffer(data_buffer, np.uint8)
        lengths = np.diff(offsets)
        there = column.is_valid().to_numpy(zero_copy_only=False)
        for length, form in _FORMS.items():
            rows = np.flatnonzero(there & (lengths == length))
            if len(rows):
                letters = data[offsets[rows][:, None] + np.arange(length)]
                found[rows], read[rows] = _read_form(letters, form)
    return pa.array(found, mask=~read).cast(pa.timestamp("us"))


def _read_form(letters: np.ndarray, form: str) -> tuple[np.ndarray, np.ndarray]:
    """Read texts of one form, [n l] bytes: microseconds since 1970 [n], and which are right [n]."""
    good = np.ones(len(letters), bool)
    for at, sign in enumerate(form):
        if sign == "±":
            good &= (letters[:, at] == ord("+")) | (letters[:, at] == ord("-"))
        elif sign != "d":
            good &= letters[:, at] == ord(sign)
    at = [n for n, sign in enumerate(form) if sign == "d"]
    digits = letters[:, at] - ord("0")  # wraps round below "0", and is over 9 then, too
    good &= (digits <= 9).all(axis=1)

    def number(first: int, count: int) -> np.ndarray:
        value = np.zeros(len(digits), np.int64)
        for n in range(first, first + count):
            value = value * 10 + digits[:, n]
        return value

    year, month, day = number(0, 4), number(4, 2), number(6, 2)
    hour, minute, second = number(8, 2), number(10, 2), number(12, 2)
    good &= (year >= 1700) & (year < 2400) & (month >= 1) & (month <= 12)
    good &= (day >= 1) & (hour <= 23) & (minute <= 59) & (second <= 59)
    months = (year * 12 + month - 1 - _EPOCH_MONTH) * good
    first_day = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    next_first = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    good &= first_day + day <= next_first
    seconds = (first_day + day - 1) * 86_400 + hour * 3_600 + minute * 60 + second
    micros = seconds * 1_000_000
    fraction = "." in form
    if fraction:
        micros += number(14, 3) * 1_000
    if "±" in form:
        first = 17 if fraction else 14
        hours, minutes = number(first, 2), number(first + 2, 2)
        good &= (hours <= 14) & (minutes <= 59)
        west = letters[:, form.index("±")] == ord("-")
        micros += np.where(west, 1, -1) * (hours * 3_600 + minutes * 60) * 1_000_000
    return micros * good, good
