"""Take fields out of lines of JSON, parsing each line once.

What is wanted of a line depends on the type of its resource, which only shows once it is parsed; so
the type is guessed first (the lines of a file mostly have one), everything that the guess calls for
is taken out, and the few lines that turn out to be of another type are parsed a second time.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ingest.fields import INSTANT, fields_of

__all__ = ["HEAD", "SAID", "Taken", "guess_type", "take_fields"]

HEAD = (
    *("resourceType", "id", "meta.lastUpdated", "meta.versionId", "status"),
    *("subject.reference", "patient.reference"),
    *("subject.identifier.system", "subject.identifier.value"),
    *("patient.identifier.system", "patient.identifier.value"),
    *("encounter.reference", "context.reference", "context.encounter[0].reference"),
    *("modifierExtension[0].url", "contained", "medicationReference.reference"),
    *("subject[0].reference", "context[0].reference", "medication.reference.reference"),  # R5
)
"""What is needed of every resource, whatever its type."""

SAID = ("fullUrl", "method", "url", "modified", "problem", "skip", "order", "bundle")
"""What a wrapped line says of its resource (records.py)."""

_TYPE = re.compile(rb'"resourceType"\s*:\s*"([A-Za-z]{1,64})"')
_TYPE_TEXT = r'"resourceType"\s*:\s*"(?P<guess>[A-Za-z]{1,64})"'
_RESOURCE_TYPE = "resourceType"


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Hold what was taken out of a batch of lines."""

    head: pa.Table
    """place, bytes, wrapped, broken, and those columns of HEAD and of SAID (as `said.NAME`) that
    any line has; a row for each line."""

    fields: dict[str, pa.Table]
    """By type: `place` and those of its fields that any line has: as text, times that are written in
    a usual way as moments (`NAME.instant`)."""


def guess_type(line: bytes | pa.Buffer) -> str | None:
    """Guess a line's type without parsing it: right for most, and never relied on.

    >>> guess_type(b'{"id": "a", "resourceType": "Patient"}')
    'Patient'
    """
    found = _TYPE.search(line)
    return found[1].decode() if found else None


def take_fields(con: duckdb.DuckDBPyConnection, lines: pa.Table) -> Taken:
    """Take the fields out of lines: `place`, `text`, `wrapped` and `guess`, null where there is none."""
    heads: list[pa.Table] = []
    fields: dict[str, list[pa.Table]] = {}
    for wrapped, guess, group in _grouped(lines):
        told = _take(con, group, wrapped=wrapped, kind=guess)
        heads.append(_head_of(told, wrapped=wrapped))
        for kind, rows in _sorted_out(con, group, told, wrapped=wrapped, guess=guess):
            fields.setdefault(kind, []).append(rows)
    join = {"promote_options": "default"}
    return Taken(
        head=pa.concat_tables(heads, **join),
        fields={kind: pa.concat_tables(rows, **join) for kind, rows in sorted(fields.items())},
    )


def _grouped(lines: pa.Table) -> Iterator[tuple[bool, str | None, pa.Table]]:
    """Part lines by whether they are wrapped and by the guess; most batches are one group."""
    for wrapped in pc.unique(lines.column("wrapped")).to_pylist():
        those = _only(lines, "wrapped", wrapped)
        if wrapped:  # from Bundles: each line may be of another type
            found = pc.extract_regex(those.column("text"), _TYPE_TEXT)
            guess = pc.struct_field(found, "guess").cast(pa.string())
            those = those.set_column(those.schema.get_field_index("guess"), "guess", guess)
        for guess in pc.unique(those.column("guess")).to_pylist():
            yield wrapped, guess, _only(those, "guess", guess)


def _only(table: pa.Table, name: str, value: object) -> pa.Table:
    column = table.column(name)
    mask = pc.is_null(column) if value is None else pc.fill_null(pc.equal(column, value), False)
    return table if pc.all(mask).as_py() else table.filter(mask)


def _take(
    con: duckdb.DuckDBPyConnection, group: pa.Table, *, wrapped: bool, kind: str | None
) -> pa.Table:
    """Take the head and a type's fields out of lines; columns that are null throughout are left out."""
    known = fields_of(kind) if kind else None
    names = list(dict.fromkeys([*HEAD, *(known.paths() if known else ())]))
    paths = [f"$.resource.{name}" if wrapped else f"$.{name}" for name in names]
    if wrapped:
        names += [f"said.{name}" for name in SAID]
        paths += [f"$.{name}" for name in SAID]
    moments = set(known.moments()) - {*HEAD, *known.texts} if known else set()
    columns = []
    for n, name in enumerate(names, 1):
        if name in moments:  # most are written in one of two ways; of those the text is let go of
            columns.append(f'quick_instant(h[{n}]) AS "{name}{INSTANT}"')
            text = f'CASE WHEN "{name}{INSTANT}" IS NULL THEN h[{n}] END'
            columns.append(f'{text} AS "{name}"')
        else:
            columns.append(f'h[{n}] AS "{name}"')
    con.register("line", group)
    select = (
        "SELECT place, strlen(text)::UINTEGER AS bytes, h IS NULL AS broken,"
        f" {', '.join(columns)} FROM (SELECT place, text, {{}} AS h FROM line)"
    )
    asked = "json_extract_string(text, $paths)"
    try:
        told = con.sql(select.format(asked), params={"paths": paths}).to_arrow_table()
    except duckdb.Error:  # some line is no JSON: TRY costs a third more
        told = con.sql(select.format(f"TRY({asked})"), params={"paths": paths}).to_arrow_table()
    con.unregister("line")
    return told.select([name for name in told.column_names if _is_there(told.column(name))])


def _is_there(column: pa.ChunkedArray) -> bool:
    return column.null_count < len(column) or not len(column)


def _head_of(told: pa.Table, *, wrapped: bool) -> pa.Table:
    names = {"place", "bytes", "broken", *HEAD, *(f"said.{name}" for name in SAID)}
    head = told.select([name for name in told.column_names if name in names])
    return head.append_column("wrapped", pa.repeat(wrapped, len(head)))


def _sorted_out(
    con: duckdb.DuckDBPyConnection,
    group: pa.Table,
    told: pa.Table,
    *,
    wrapped: bool,
    guess: str | None,
) -> Iterator[tuple[str, pa.Table]]:
    """Give the fields of each type that has any; take anew what the guess was wrong about."""
    if _RESOURCE_TYPE not in told.column_names:
        return
    for kind in pc.unique(told.column(_RESOURCE_TYPE)).to_pylist():
        known = fields_of(kind) if kind else None
        if kind is None or known is None:
            continue
        rows = _only(told, _RESOURCE_TYPE, kind)
        if kind != guess:
            again = group.filter(pc.is_in(group.column("place"), rows.column("place")))
            rows = _only(_take(con, again, wrapped=wrapped, kind=kind), _RESOURCE_TYPE, kind)
        wanted = {"place", *known.paths(), *(f"{name}{INSTANT}" for name in known.moments())}
        yield kind, rows.select([name for name in rows.column_names if name in wanted])
