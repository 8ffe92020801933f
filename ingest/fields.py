"""Say which fields of a resource a projection takes, as the head of its SQL file states them.

    -- texts: status.reason note        as it is written; of an object or a list its JSON
    -- nested: component                JSON to look into, or null where it is none
    -- bare: valueQuantity              its text where it is a list or words and no object
    -- times: issued                    "issued.first", "issued.last": the moments that it allows;
                                        "issued" is null where it is not there
    -- dates: birthDate                 the same of a date that is in no zone
    -- periods: effectivePeriod         "effectivePeriod.start.first" …, ".ended", ".began"
    -- quantities: dosage.dose          "dosage.dose.value", ".unit"; in ".words" the comparator, or
                                        what stands in the number's place ("<5" is both)
    -- concepts: code                   "code": STRUCT(code, display, parents), see ingest/codes.py

A field is named by its path in the resource (`dosageInstruction[0].doseAndRate[0].doseQuantity`),
and so is its column. All fields of a line are taken out at once (extraction.py), so that a line is
parsed once, however many fields it has; a field that no line of a batch has costs nothing. What a
projection needs only where some line has a field (one of several) stands between `-- if FIELD …`
and `-- end if` (`-- unless FIELD …`: where none has): to plan SQL for what is not there takes most
of the time of one patient's few records.

Where a text holds JSON in place of an object or a list, it counts as what it holds. Of two names
of one thing (R4's and R5's, or two kinds of date) the first that can be read counts, unless a
projection asks whether the first is there.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = ["CONCEPT_TYPE", "INSTANT", "SQL", "Fields", "fields_of", "only_with", "script_of"]

SQL = Path(__file__).resolve().parent / "projections"
"""Where the SQL is: TYPE.sql for each projection, and lower-case files for what is around them."""

CONCEPT_TYPE = "STRUCT(code VARCHAR, display VARCHAR, parents VARCHAR[])"

INSTANT = ".instant"
"""Ends the name of a column of moments that were read already (instants.py)."""

_KINDS = ("texts", "nested", "bare", "times", "dates", "periods", "quantities", "concepts")

_LINE = re.compile(rf"^-- ({'|'.join(_KINDS)}): (.+)$", re.MULTILINE)
_PLACE = r"(\[(\d+|#-1)\])?"  # [#-1] is the last
_PATH = re.compile(rf"\w+{_PLACE}(\.\w+{_PLACE})*")
_ONLY_IF = re.compile(r"^-- (if|unless) (.+)\n((?:.*\n)*?)-- end if\n", re.MULTILINE)

_PERIOD = ("start", "end")
_QUANTITY = ("value", "comparator", "unit", "system", "code")


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Hold the fields that a projection takes, by kind."""

    texts: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    periods: tuple[str, ...] = ()
    quantities: tuple[str, ...] = ()
    concepts: tuple[str, ...] = ()

    def paths(self) -> list[str]:
        """List what must be taken out of a line, each path once."""
        return list(
            dict.fromkeys(
                [
                    *self.texts,
                    *self.nested,
                    *self.bare,
                    *self.moments(),
                    *self.dates,
                    *(f"{name}.{part}" for name in self.quantities for part in _QUANTITY),
                    *self.concepts,
                ]
            )
        )

    def moments(self) -> list[str]:
        """List the paths of all that is a time."""
        return [*self.times, *(f"{name}.{part}" for name in self.periods for part in _PERIOD)]

    def select(self, here: Collection[str], *, source: str) -> str:
        """Write the SELECT that makes the columns of what was taken out, and keeps all others.

        Args:
            here: the columns that there are; other fields are null throughout.
            source: a table or query with a column `zone` and what extraction.py took out, concepts
                named.
        """
        columns, hidden = [], []
        for path in self.moments():
            instant = f'"{path}{INSTANT}"' if f"{path}{INSTANT}" in here else "NULL::TIMESTAMP"
            for which, end in (("start", "first"), ("end", "last")):
                made = f'fhir_{which}("{path}", zone)'
                made = f"coalesce({instant}, {made})" if path in here else instant
                columns.append(f'{made} AS "{path}.{end}"')
            if path not in here:  # whether it is there can be asked for all the same
                columns.append(f"CASE WHEN {instant} IS NOT NULL THEN '' END AS \"{path}\"")
            elif f"{path}{INSTANT}" in here:
                hidden.append(f'"{path}"')
                text = f"CASE WHEN {instant} IS NOT NULL THEN '' ELSE \"{path}\" END"
                columns.append(f'{text} AS "{path}"')
        for path in self.dates:
            for which, end in (("start", "first"), ("end", "last")):
                made = f"fhir_{which}(\"{path}\", 'UTC')" if path in here else "NULL::TIMESTAMP"
                columns.append(f'{made} AS "{path}.{end}"')
        moments = self.moments()
        missing = [p for p in (*self.texts, *self.bare) if p not in here and p not in moments]
        columns += [f'NULL::VARCHAR AS "{path}"' for path in missing]
        hidden += [f'"{path}"' for path in self.nested if path in here]
        for path in self.nested:
            made = f'CASE WHEN json_valid("{path}") THEN "{path}" END' if path in here else "NULL"
            columns.append(f'{made}::VARCHAR AS "{path}"')
        for name in self.quantities:
            value, comparator, unit, system, code = (
                f'"{name}.{part}"' if f"{name}.{part}" in here else "NULL::VARCHAR"
                for part in _QUANTITY
            )
            hidden += [f'"{name}.{part}"' for part in _QUANTITY if f"{name}.{part}" in here]
            columns += [
                f'said_number({value}) AS "{name}.value"',
                f'said_words({value}, {comparator}) AS "{name}.words"',
                f'written_unit({system}, {code}, {unit}) AS "{name}.unit"',
            ]
        for path in self.concepts:
            if path not in here:
                columns.append(f'NULL::{CONCEPT_TYPE} AS "{path}"')
        kept = f"* EXCLUDE ({', '.join(hidden)})" if hidden else "*"
        made = f"SELECT {', '.join([kept, *columns])} FROM {source}"
        if not self.periods:
            return made
        return f"SELECT {', '.join(['*', *map(_period, self.periods)])} FROM ({made})"


def _period(name: str) -> str:
    """Write what a period says: when all of it was known, and when it began.

    Its end is when all of it was known; one that is still open is known from its start.
    """
    first = {part: f'"{name}.{part}.first"' for part in _PERIOD}
    last = {part: f'"{name}.{part}.last"' for part in _PERIOD}
    return (
        f'coalesce({last["end"]}, {last["start"]}) AS "{name}.ended",'
        f' greatest({first["start"]}, {first["end"]}) AS "{name}.ended_from",'
        f' coalesce(least({last["start"]}, {last["end"]}), {last["end"]}) AS "{name}.began",'
        f' least({first["start"]}, {first["end"]}) AS "{name}.began_from"'
    )


def fields_of(kind: str) -> Fields | None:
    """Give what the projection of a resource type takes; None where the type has no projection.

    Raises:
        ValueError: its head is not written as above: a defect of ours.
    """
    # By the list, for a stranger's type is anything: no name of a file, or too long for one.
    return _read_fields(SQL / f"{kind}.sql") if kind in _projected(SQL) else None


@lru_cache
def _projected(place: Path) -> frozenset[str]:
    return frozenset(file.stem for file in place.glob("[A-Z]*.sql"))


@lru_cache
def _read_fields(file: Path) -> Fields:
    stated: dict[str, tuple[str, ...]] = {}
    for found in _LINE.finditer(file.read_text("utf-8")):
        paths = tuple(found[2].split())
        for path in paths:
            if not _PATH.fullmatch(path):
                raise ValueError(f"{file.name}: a field is a path such as code.text; got {path!r}")
        stated[found[1]] = (*stated.get(found[1], ()), *paths)
    return Fields(**stated)


def script_of(kind: str, here: Collection[str]) -> str:
    """Give the SQL of a type's projection without what is only for fields that are not `here`."""
    return only_with((SQL / f"{kind}.sql").read_text("utf-8"), here)


def only_with(text: str, here: Collection[str]) -> str:
    r"""Leave out of SQL what stands between `-- if NAME …` and `-- end if`, unless one is `here`.

    >>> only_with("1\n-- if a b\n2\n-- end if\n-- unless a b\n3\n-- end if\n", {"b"})
    '1\n2\n'
    """

    def kept(found: re.Match[str]) -> str:
        there = any(name in here for name in found[2].split())
        return found[3] if there is (found[1] == "if") else ""

    return _ONLY_IF.sub(kept, text)
