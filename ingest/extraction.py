"""Take fields out of lines of JSON, parsing each line once.

What is wanted of a line depends on the type of its resource, which only shows once it is parsed; so
the type is guessed first (the lines of a file mostly have one), everything that the guess calls for
is taken out, and the few lines that turn out to be of another type are parsed a second time.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.fields import INSTANT, fields_of
from ingest.instants import read_instants

__all__ = ["HEAD", "SAID", "UPDATED", "Taken", "guess_type", "take_fields"]

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

UPDATED = "meta.lastUpdated"
"""Of the head what is a time; its moment stands beside it as `meta.lastUpdated.instant`."""

SAID = ("fullUrl", "method", "url", "modified", "problem", "skip", "order", "bundle")
"""What a wrapped line says of its resource (records.py)."""

_TYPE = re.compile(rb'"resourceType"\s*:\s*"([A-Za-z]{1,64})"')
_TYPE_TEXT = r'"resourceType"\s*:\s*"(?P<guess>[A-Za-z]{1,64})"'
_RESOURCE_TYPE = "resourceType"
_SAMPLE = 64
_PART = re.compile(r"[A-Za-z]\w*")
_ODD = "odd"


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Hold what was taken out of a batch of lines."""

    head: pa.Table
    """place, bytes, wrapped, broken, and those columns of HEAD and of SAID (as `said.NAME`) that
    any line has; a row for each line."""

    fields: dict[str, pa.Table]
    """By type: `place` and those of its fields that any line has: as text, times that are written
    in a usual way as moments (`NAME.instant`)."""


def guess_type(line: bytes | pa.Buffer) -> str | None:
    """Guess a line's type without parsing it: right for most, and never relied on.

    >>> guess_type(b'{"id": "a", "resourceType": "Patient"}')
    'Patient'
    """
    found = _TYPE.search(line)
    return found[1].decode() if found else None


def take_fields(con: duckdb.DuckDBPyConnection, lines: pa.Table) -> Taken:
    """Take the fields out of lines: `place`, `text`, `wrapped`, and `guess` where there is one."""
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
            # What has no fields of its own is one group, however many types there are.
            known = [kind for kind in pc.unique(guess).to_pylist() if kind and fields_of(kind)]
            guess = pc.if_else(pc.is_in(guess, pa.array(known, pa.string())), guess, None)
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
    """Take the head and a type's fields out of lines; columns without any value are left out.

    Looking for what is not there takes as long as finding what is, and most of what a type may have
    no line of a file has. So a sample says what to look for; a line in which the name of anything
    else stands, too, is looked through for everything.
    """
    known = fields_of(kind) if kind else None
    paths = {name: f"$.{name}" for name in (*HEAD, *(known.paths() if known else ()))}
    if wrapped:
        paths = {name: f"$.resource.{name}" for name in paths}
        paths |= {f"said.{name}": f"$.{name}" for name in SAID}
    bare = known.bare if known else ()
    if len(group) < _SAMPLE * 16:
        return _only_bare(_extract_all(con, group, paths), bare)
    sample = group.take(pa.array(np.linspace(0, len(group) - 1, _SAMPLE).astype(np.int64)))
    there = set(_extract_all(con, sample, paths).column_names)
    seen = "\n".join(sample.column("text").to_pylist())
    likely, signs = {}, set()
    for name, path in paths.items():
        sign = None
        if name not in there:
            sign = next((part for part in _PART.findall(path) if f'"{part}"' not in seen), None)
            sign = sign and f'"{sign}"'
        if name in bare and sign is None:
            sign = rf'"{_PART.findall(path)[-1]}"\s*:\s*[^{{\s]'
        if sign is None:
            likely[name] = path
        else:
            signs.add(sign)
    told = _extract_likely(con, group, likely, signs)
    odd = told.column(_ODD)
    told = told.drop_columns([_ODD])
    if pc.any(odd).as_py():
        # By place: a query's rows come in any order.
        places = told.column("place").filter(odd)
        rest = _extract_all(con, group.filter(pc.is_in(group.column("place"), places)), paths)
        told = pa.concat_tables([told.filter(pc.invert(odd)), rest], promote_options="default")
    told = told.select([name for name in told.column_names if _is_there(told.column(name))])
    return _only_bare(told, bare)


def _only_bare(told: pa.Table, bare: Collection[str]) -> pa.Table:
    """Let go of what is an object, and so no bare value."""
    for name in bare:
        if name in told.column_names:
            texts = told.column(name)
            kept = pc.if_else(pc.starts_with(texts, "{"), None, texts)
            at = told.schema.get_field_index(name)
            told = told.set_column(at, name, kept) if _is_there(kept) else told.remove_column(at)
    return told


def _extract_all(
    con: duckdb.DuckDBPyConnection, lines: pa.Table, paths: Mapping[str, str]
) -> pa.Table:
    """Take paths out of lines; columns that are null throughout are left out."""
    told = _run(con, lines, f"{_HEAD_COLUMNS}, h", {"paths": list(paths.values())})
    lists = told.column("h").combine_chunks()
    told = told.drop_columns(["h"])
    if not len(lists):
        return told
    if lists.null_count:  # of broken lines
        values = [pc.list_element(lists, n) for n in range(len(paths))]
    else:  # one list has all, row by row
        flat, width = lists.flatten(), len(paths)
        there = flat.is_valid().to_numpy(zero_copy_only=False).reshape(-1, width).any(axis=0)
        every = [np.arange(n, len(flat), width) for n in range(width)]
        values = [flat.take(pa.array(at)) if there[n] else None for n, at in enumerate(every)]
    for name, column in zip(paths, values, strict=True):
        if column is not None and column.null_count < len(column):
            told = told.append_column(name, column)
    return told


def _extract_likely(
    con: duckdb.DuckDBPyConnection,
    lines: pa.Table,
    paths: Mapping[str, str],
    signs: Collection[str],
) -> pa.Table:
    """Take paths out of lines, and say of each line whether any of `signs` is in it (`odd`).

    Signs are regular expressions.
    """
    columns = [f'h[{n}] AS "{name}"' for n, name in enumerate(paths, 1)]
    values: dict[str, Any] = {"paths": list(paths.values())}
    odd = "false"
    if signs:  # a name may be written with escapes, too
        odd = "contains(text, '\\u') OR regexp_matches(text, $signs)"
        values["signs"] = "|".join(sorted(signs))
    return _run(con, lines, ", ".join([_HEAD_COLUMNS, *columns, f"{odd} AS {_ODD}"]), values)


_HEAD_COLUMNS = "place, strlen(text)::UINTEGER AS bytes, h IS NULL AS broken"


def _run(
    con: duckdb.DuckDBPyConnection, lines: pa.Table, columns: str, values: dict[str, Any]
) -> pa.Table:
    select = f"SELECT {columns} FROM (SELECT place, text, {{}} AS h FROM line)"
    asked = "json_extract_string(text, $paths)"
    con.register("line", lines)
    try:
        return con.sql(select.format(asked), params=values).to_arrow_table()
    except (duckdb.Error, UnicodeDecodeError):
        # Some line is no JSON: TRY costs a third more. DuckDB quotes the line in its message, and
        # may cut it within a character; then the message can't be decoded, and that is raised.
        return con.sql(select.format(f"TRY({asked})"), params=values).to_arrow_table()
    finally:
        con.unregister("line")


def _is_there(column: pa.ChunkedArray) -> bool:
    return column.null_count < len(column) or not len(column)


def _head_of(told: pa.Table, *, wrapped: bool) -> pa.Table:
    names = {"place", "bytes", "broken", *HEAD, *(f"said.{name}" for name in SAID)}
    head = told.select([name for name in told.column_names if name in names])
    head = _with_instants(head, [UPDATED])
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
        wanted = {"place", *known.paths()}
        rows = rows.select([name for name in rows.column_names if name in wanted])
        yield kind, _with_instants(rows, [n for n in known.moments() if n not in known.texts])


def _with_instants(rows: pa.Table, moments: Iterable[str]) -> pa.Table:
    """Read the times that are written in a usual way; of those the text is let go of."""
    for name in moments:
        if name not in rows.column_names:
            continue
        texts = rows.column(name)
        instants = read_instants(texts)
        rows = rows.append_column(f"{name}{INSTANT}", instants)
        if instants.null_count == texts.null_count:
            rows = rows.drop_columns([name])
    return rows
