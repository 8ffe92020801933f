"""De-identify projected events: a pass over `projected`, before anything of it is written.

What leaves, and what stays, of each column:

    subject_key         stays here; the store has a keyed number in its place (identity.py)
    time, occurred,     shifted by the subject's days (deidentify_dates.py)
    time_from, …
    text_value          scrubbed (deidentify_text.py); a note's dates are shifted by the same days
    code, parents,      scrubbed: a local code, a ward or words without a code may be an identifier
    display, unit
    numeric_value       gone where its text was scrubbed, and where it is one of the identifiers
    image               named by the hash of its source, and without metadata
    file, position      stay: ids of the raw zone's manifest

Nobody is older than 90: of a subject who is 90 or more at its last event, birth and whatever else
lies more than 90 years before that event comes to stand there, in its order; the birth date is
[DATE] in notes, and an age over 89 is 90. (HIPAA, 45 CFR 164.514(b)(2), asks so. It asks for the
year alone of other dates, so that a store with shifted dates is not de-identified by its Safe
Harbor rule, but may be by an expert's finding, 164.514(b)(1).) A subject's events keep their order:
all move by the same whole days. Weekdays do not stay.

Not found: nicknames, misspelt names and people of whom no resource tells; what is drawn into a
picture. Of very common words, and names of two letters, see deidentify_certainty.py.
"""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ingest.deidentify_choice import FLAGGED, Deidentification
from ingest.deidentify_dates import DateStyle
from ingest.deidentify_fold import tokens_of
from ingest.deidentify_known import gather_known, keep_known, read_staff, read_terms
from ingest.deidentify_terms import Terms
from ingest.deidentify_text import Scrubber
from ingest.errors import LimitError
from ingest.identity import subject_ids
from ingest.landing import LandedFile
from ingest.limits import Caps, LimitedChild

__all__ = ["deidentify_events"]

_BATCH_ROWS = 4096
_MONTH_FIRST = re.compile(  # the zones of the United States, by IANA's zone1970.tab
    "US/|Pacific/Honolulu|America/(New_York|Detroit|Chicago|Menominee|Denver|Boise|Phoenix|Nome|Adak"
    "|Los_Angeles|Anchorage|Juneau|Sitka|Metlakatla|Yakutat|Indiana|Kentucky|Louisville|North_Dakota)"
)
_AGES = (
    *("LOINC//30525-0", "LOINC//21611-9", "LOINC//21612-7", "LOINC//29553-5"),
    *("SNOMED//424144002", "SNOMED//397669002", "SNOMED//445518008"),
)

_OLD = """
CREATE TABLE floor AS
SELECT subject_key, date_trunc('day', last) - INTERVAL 90 YEAR AS floor, birth
FROM (
    SELECT subject_key, max(time) FILTER (code <> 'MEDS_BIRTH') AS last,
        min(time) FILTER (code = 'MEDS_BIRTH') AS birth
    FROM projected GROUP BY subject_key
) WHERE birth < date_trunc('day', last) - INTERVAL 90 YEAR
"""

_TEXTS = """
SELECT subject_key, rowid AS row, code, text_value, file,
       year(coalesce(time, occurred)) AS year
FROM projected WHERE text_value IS NOT NULL ORDER BY subject_key
"""

_WORDS = """
SELECT subject_key, kind, said, display FROM (
    SELECT DISTINCT subject_key, 'code' AS kind, code AS said, display FROM projected
    UNION
    SELECT subject_key, 'code', unnest(parents), display FROM projected
    UNION
    SELECT subject_key, 'words', display, NULL FROM projected
    UNION
    SELECT subject_key, 'words', unit, NULL FROM projected
    UNION
    SELECT subject_key, 'number', CAST(CAST(numeric_value AS BIGINT) AS VARCHAR), NULL
    FROM projected
    WHERE abs(numeric_value) BETWEEN 1000 AND 1e15 AND numeric_value = trunc(numeric_value)
) WHERE said IS NOT NULL ORDER BY subject_key
"""

_PARENTS = """
CREATE TABLE clean_parents AS
WITH parent AS (
    SELECT rowid AS row, subject_key, display, unnest(parents) AS parent FROM projected
),
changed AS (
    SELECT DISTINCT row FROM parent p JOIN clean_words w ON w.kind = 'code'
        AND w.subject_key = p.subject_key AND w.said = p.parent
        AND w.display IS NOT DISTINCT FROM p.display
)
SELECT row, list(coalesce(w.clean, parent)) AS parents
FROM parent p SEMI JOIN changed USING (row)
LEFT JOIN clean_words w ON w.kind = 'code' AND w.subject_key = p.subject_key AND w.said = p.parent
    AND w.display IS NOT DISTINCT FROM p.display
GROUP BY row
"""

_EARLY = """
CREATE TABLE early AS
SELECT p.rowid AS row, dense_rank() OVER (PARTITION BY p.subject_key ORDER BY p.time) AS rank
FROM projected p JOIN floor f USING (subject_key) WHERE p.time < f.floor
"""

# What lies before the floor keeps its order: a microsecond apart.
_TIME = """
CASE WHEN p.time < f.floor THEN f.floor + to_microseconds(e.rank - 1) ELSE p.time END
"""
_APPLY = f"""
CREATE TABLE deidentified AS
SELECT p.* REPLACE (
    {_TIME} + to_days(s.days) AS time,
    CASE WHEN p.occurred IS NOT NULL
         THEN least(greatest(p.occurred, f.floor), {_TIME}) + to_days(s.days) END AS occurred,
    CASE WHEN p.time_from IS NOT NULL
         THEN least(greatest(p.time_from, f.floor), {_TIME}) + to_days(s.days) END AS time_from,
    CASE WHEN p.occurred_from IS NOT NULL
         THEN least(greatest(p.occurred_from, f.floor), greatest(p.occurred, f.floor), {_TIME})
              + to_days(s.days) END AS occurred_from,
    coalesce(c.clean, p.code) AS code,
    coalesce(d.clean, p.display) AS display,
    coalesce(u.clean, p.unit) AS unit,
    coalesce(t.clean, p.text_value) AS text_value,
    coalesce(q.parents, p.parents) AS parents,
    CASE WHEN n.said IS NOT NULL THEN NULL
         WHEN t.clean IS NOT NULL AND try_cast(trim(p.text_value) AS DOUBLE) = p.numeric_value
             THEN NULL
         WHEN p.code IN {_AGES} AND p.numeric_value > 89 THEN 90
         ELSE p.numeric_value END AS numeric_value
)
FROM projected p
JOIN date_shift s ON s.subject_key = p.subject_key
LEFT JOIN floor f ON f.subject_key = p.subject_key
LEFT JOIN early e ON e.row = p.rowid
LEFT JOIN clean_texts t ON t.row = p.rowid
LEFT JOIN clean_parents q ON q.row = p.rowid
LEFT JOIN clean_words c ON c.kind = 'code' AND c.subject_key = p.subject_key AND c.said = p.code
    AND c.display IS NOT DISTINCT FROM p.display
LEFT JOIN clean_words d ON d.kind = 'words' AND d.subject_key = p.subject_key AND d.said = p.display
LEFT JOIN clean_words u ON u.kind = 'words' AND u.subject_key = p.subject_key AND u.said = p.unit
LEFT JOIN clean_words n ON n.kind = 'number' AND n.subject_key = p.subject_key
    AND n.said = CAST(try_cast(p.numeric_value AS BIGINT) AS VARCHAR)
    AND p.numeric_value = trunc(p.numeric_value)
"""

_TEXT_ROWS = pa.schema([("row", pa.int64()), ("clean", pa.large_string())])
_WORD_ROWS = pa.schema(
    [(name, pa.string()) for name in ("subject_key", "kind", "said", "display", "clean")]
)


def deidentify_events(
    con: duckdb.DuckDBPyConnection,
    fhir: list[tuple[LandedFile, Path]],
    files: list[LandedFile],
    store: Path,
    secret: bytes,
    choice: Deidentification,
    *,
    raw: Path | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Replace `projected` by what may stay of it; give what the report says of that.

    Args:
        con: has `projected`, `outcome`, `resolved` and `merged`.
        fhir: the FHIR files, each with its NDJSON.
        files: all that landed.
        store: where the list of images with burned-in annotation is written.
        secret: the key of the pseudonyms.
        choice: whether dates are shifted.
        raw: the raw zone, where what is known is kept for an export of films.
        progress: whether to show bars on stderr.
    """
    gather_known(con, fhir, progress=progress)
    flagged = _gather_films(con, files, progress=progress)
    if raw is not None:
        keep_known(con, raw)
    _choose_shifts(con, secret, choice)
    con.execute(_OLD if choice.shifts_dates else _OLD + " AND false")
    con.execute("CREATE TABLE clean_texts (row BIGINT, clean VARCHAR)")
    columns = ", ".join(f"{name} VARCHAR" for name in _WORD_ROWS.names)
    con.execute(f"CREATE TABLE clean_words ({columns})")
    month_first = {file.id for file in files if _MONTH_FIRST.match(file.timezone)}
    reasons, everybody = _read_reasons(con), Terms()
    met = (everybody, {token for text in reasons for token in tokens_of(text)})
    use: dict[str, Any] = {"in_place": choice.in_place, "progress": progress}
    counts = _scrub_all(con, month_first, met, **use)
    for statement in (_PARENTS, _EARLY, _APPLY):
        con.execute(statement)
    con.execute("DROP TABLE projected")
    con.execute("ALTER TABLE deidentified RENAME TO projected")
    _clean_reasons(con, reasons, everybody)
    [(old,)] = con.execute("SELECT count(*) FROM floor").fetchall()
    for name in (
        *("known", "known_staff", "date_shift", "floor", "early"),
        *("clean_texts", "clean_words", "clean_parents"),
    ):
        con.execute(f"DROP TABLE {name}")
    _write_flagged(store / FLAGGED, flagged)
    burned = [kind for _, kind in flagged]
    return {
        **choice.stated(),
        "texts_changed": counts,
        "subjects_over_89": old,
        "burned_in_annotation": {
            kind: burned.count(kind) for kind in ("stated", "suspected") if kind in burned
        },
    }


def _choose_shifts(con: duckdb.DuckDBPyConnection, secret: bytes, choice: Deidentification) -> None:
    keys = [k for (k,) in con.execute("SELECT DISTINCT subject_key FROM projected").fetchall()]
    ids = subject_ids(sorted(keys), secret)
    days = [choice.days_of(n, secret) for n in ids.values()]
    shifts = pa.table(
        {"subject_key": pa.array(ids, pa.string()), "days": pa.array(days, pa.int64())}
    )
    con.register("shifts", shifts)
    con.execute("CREATE TABLE date_shift AS SELECT * FROM shifts")
    con.unregister("shifts")


def _scrub_all(
    con: duckdb.DuckDBPyConnection,
    month_first: set[str],
    met: tuple[Terms, set[str]],
    *,
    in_place: bool,
    progress: bool,
) -> int:
    """Scrub every text and every code, subject by subject; give how many texts changed.

    What is known of anybody and begins with one of the words of `met` is added to its terms.
    """
    everybody, met_words = met
    staff = read_staff(con)
    texts, words = (
        _Changes(con, "clean_texts", _TEXT_ROWS),
        _Changes(con, "clean_words", _WORD_ROWS),
    )
    with (
        closing(con.cursor()) as people,
        closing(con.cursor()) as writing,
        closing(con.cursor()) as coding,
        closing(con.cursor()) as knowing,
    ):
        subjects = people.execute(
            "SELECT subject_key, days, birth FROM date_shift LEFT JOIN floor USING (subject_key)"
            " ORDER BY subject_key"
        )
        known = _Grouped(read_terms(knowing))
        said = _Grouped(_groups(writing.execute(_TEXTS)))
        coded = _Grouped(_groups(coding.execute(_WORDS)))
        bar = tqdm(desc="de-identifying", unit="subject", disable=not progress)
        for key, days, birth in _rows(subjects):
            hidden = frozenset([birth.date()] if birth else [])
            style = DateStyle(days=days, hidden=hidden, in_place=in_place)
            years, terms = frozenset(day.year for day in hidden), known.take(key) or Terms()
            scrubber = Scrubber(terms=terms, staff=staff, style=style, birth_years=years)
            everybody.add_met(scrubber.terms, met_words)
            for _, row, code, text, file, year in said.take(key) or ():
                if code.startswith("NOTE_UNREAD//"):
                    new = scrubber.scrub_coded(text)
                else:
                    new = scrubber.scrub(text, year=year, month_first=file in month_first)
                if new != text:
                    texts.add(row=row, clean=new)
            for _, kind, word, display in coded.take(key) or ():
                if kind == "number":
                    new = "" if scrubber.is_identifier(word.lstrip("-")) else word
                elif kind == "code":
                    new = scrubber.scrub_code(word, display)
                else:
                    new = scrubber.scrub(word)
                if new != word:
                    words.add(subject_key=key, kind=kind, said=word, display=display, clean=new)
            bar.update()
        bar.close()
    words.flush()
    texts.flush()
    return texts.count


class _Grouped:
    """Take groups by key, in the keys' order, from an iterator of pairs; keys may be missing."""

    def __init__(self, pairs: Iterator[tuple[str, Any]]) -> None:
        self._pairs = pairs
        self._next = next(pairs, None)

    def take(self, key: str) -> Any:
        """Give the group of a key, or None; keys must be asked for in order."""
        while self._next is not None and self._next[0] < key:
            self._next = next(self._pairs, None)
        if self._next is None or self._next[0] != key:
            return None
        return self._next[1]


class _Changes:
    """Append rows to a table, many at once."""

    def __init__(self, con: duckdb.DuckDBPyConnection, table: str, schema: pa.Schema) -> None:
        self._con, self._table, self._schema = con, table, schema
        self._rows: list[dict[str, Any]] = []
        self._size = 0
        self.count = 0

    def add(self, **row: Any) -> None:
        self._rows.append(row)
        self._size += len(row["clean"])
        self.count += 1
        if len(self._rows) >= _BATCH_ROWS or self._size > 16 << 20:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._con.register("rows_to_add", pa.Table.from_pylist(self._rows, self._schema))
            self._con.execute(f"INSERT INTO {self._table} SELECT * FROM rows_to_add")
            self._con.unregister("rows_to_add")
        self._rows, self._size = [], 0


def _rows(reader: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := reader.fetchmany(_BATCH_ROWS):
        yield from rows


def _groups(reader: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, Any]]:
    return ((key, group) for key, group in groupby(_rows(reader), itemgetter(0)))


def _gather_films(
    con: duckdb.DuckDBPyConnection, files: list[LandedFile], *, progress: bool
) -> list[tuple[str, str]]:
    """Add what films' headers say to `known`; give the images that have writing in the picture."""
    films = {file.sha256: file for file in files if file.kind == "dicom"}
    slices = {file.id: file for file in films.values()}  # a volume's source is one of its slices
    images = con.execute(
        "SELECT DISTINCT image, subject_key, file FROM projected WHERE image IS NOT NULL"
        " ORDER BY ALL"
    ).fetchall()
    flagged: list[tuple[str, str]] = []
    rows: list[dict[str, str]] = []
    with LimitedChild("ingest.dicom_profile:read_identity", Caps()) as child:
        for image, key, file in tqdm(images, "headers", unit="film", disable=not progress):
            film = films.get(Path(image).stem) or slices.get(file)
            if film is None:
                continue
            try:
                told, _ = child.call(path=str(film.path))
            except LimitError:  # nobody knows what is in it
                flagged.append((image, "suspected"))
                continue
            burned = told.pop("burned_in")
            if burned:
                flagged.append((image, burned))
            rows.append({"subject_key": key, "kind": "film", "value": json.dumps(told)})
    if rows:
        con.register("said_by_films", pa.Table.from_pylist(rows))
        con.execute("INSERT INTO known SELECT subject_key, kind, value FROM said_by_films")
        con.unregister("said_by_films")
    return sorted(set(flagged))


def _read_reasons(con: duckdb.DuckDBPyConnection) -> list[str]:
    rows = con.execute("SELECT DISTINCT detail FROM outcome WHERE detail IS NOT NULL").fetchall()
    return [text for (text,) in rows]


def _clean_reasons(con: duckdb.DuckDBPyConnection, reasons: list[str], everybody: Terms) -> None:
    """Scrub the reasons in the account: one may repeat what a stranger named a field."""
    scrubber = Scrubber(terms=everybody, style=DateStyle(days=0))
    for text in reasons:
        new = scrubber.scrub_coded(text)
        if new != text:
            con.execute("UPDATE outcome SET detail = ? WHERE detail = ?", [new, text])


def _write_flagged(target: Path, flagged: list[tuple[str, str]]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "image": pa.array([image for image, _ in flagged], pa.string()),
        "burned_in": pa.array([kind for _, kind in flagged], pa.string()),
    }
    pq.write_table(pa.table(columns), target)
