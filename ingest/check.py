"""Say on one page what is in a directory, before a long ingest; nothing is left behind.

Every file is read once, in batches that DuckDB counts; memory does not grow with the input.
Images are looked at by their headers, at most a few thousand, evenly spaced.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import duckdb
import pyarrow as pa

from ingest.codes import is_known
from ingest.documents import read_document
from ingest.headers import ImageHeader, acquired_at
from ingest.image_store import ImageStore
from ingest.landing import LandedFile, discover, kind_of, require_timezone
from ingest.opening import TORN, open_bytes
from ingest.projection import SUPPORTED
from ingest.records import read_records

__all__ = ["check"]

_MOST_IMAGES = 2000
_MOST_LINES = 12  # of any one list, so that the page stays one page
_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".dcm")
_DATES = (
    *("effectiveDateTime", "effectiveInstant", "effectivePeriod.start", "effectivePeriod.end"),
    *("issued", "onsetDateTime", "onsetPeriod.start", "recordedDate", "performedDateTime"),
    *("performedPeriod.start", "performedPeriod.end", "period.start", "period.end", "authoredOn"),
    *("dateAsserted", "whenHandedOver", "whenPrepared", "occurrenceDateTime", "recorded", "date"),
    *("started", "context.period.start", "assertedDate"),
)
"""Where resources say when (R4); a resource with none of them has no date of its own."""

_DATED = (
    *("AllergyIntolerance", "Composition", "Condition", "DiagnosticReport", "DocumentReference"),
    *("Encounter", "FamilyMemberHistory", "ImagingStudy", "Immunization", "Observation"),
    *("MedicationAdministration", "MedicationDispense", "MedicationRequest"),
    *("MedicationStatement", "Procedure"),
)
"""Types that become events, and so need a date."""

_HOUSEKEEPING = ("http://terminology.hl7.org/", "https://terminology.hl7.org/")
"""Code systems of statuses and categories: never the code of an event."""

_COUNT = """
CREATE OR REPLACE TEMP TABLE document AS
SELECT
    position,
    CASE
        WHEN wrapped AND json_extract(text, '$.resource') IS NULL
            THEN coalesce(text ->> '$.problem', text ->> '$.skip', 'deleted')
        WHEN NOT json_valid(text) THEN 'not JSON'
        WHEN json_extract_string(text, '$.resourceType') IS NULL AND NOT wrapped
            THEN 'not a FHIR resource: no resourceType'
    END AS problem,
    CASE
        WHEN problem IS NOT NULL THEN NULL
        WHEN wrapped THEN json_extract(text, '$.resource')
        ELSE text::JSON
    END AS body
FROM lines;
CREATE OR REPLACE TEMP TABLE resource AS
SELECT
    position,
    body,
    json_extract_string(body, '$.resourceType') AS type,
    list_filter(json_extract_string(body, ?), lambda x: x IS NOT NULL) AS dates
FROM document WHERE problem IS NULL
"""


@dataclass(kw_only=True)
class _Found:
    kinds: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    undated: Counter[str] = field(default_factory=Counter)
    systems: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    """Identifiers that an image can be joined by."""

    listed: set[str] = field(default_factory=set)
    """File names that stand in a CSV."""

    images: list[tuple[Path, str, str]] = field(default_factory=list)
    fates: Counter[str] = field(default_factory=Counter)
    first: str = "9999"
    last: str = "0000"

    def span(self, low: str | None, high: str | None) -> None:
        self.first = min(self.first, low or "9999")
        self.last = max(self.last, high or "0000")


def check(path: Path, *, timezone: str = "UTC") -> str:
    """Describe a file or directory: what there is, and what ingest would stumble over.

    Raises:
        InputError: it is not there or holds no file.
        UsageError: an unknown time zone.
    """
    require_timezone(timezone)
    found = _Found()
    con = duckdb.connect(config={"threads": 2})
    for file, name in discover(path):
        kind = kind_of(file)
        size = file.stat().st_size
        if kind in ("ndjson", "resource"):
            kind = _count_fhir(con, file, name, kind, found)
        elif kind == "csv":
            found.tables.append(_describe_table(file, name, found.listed))
        elif kind in ("dicom", "image"):
            found.images.append((file, name, kind))
        found.kinds[kind] += 1
        found.sizes[kind] += size
    con.close()
    sample = _spread(found.images, _MOST_IMAGES)
    _check_images(sample, found, timezone)
    return "\n".join(_page(path, found, len(sample))) + "\n"


def _count_fhir(
    con: duckdb.DuckDBPyConnection, file: Path, name: str, kind: str, found: _Found
) -> str:
    with ExitStack() as stack:
        lines = file
        if kind == "resource":
            landed = stack.enter_context(NamedTemporaryFile("w", encoding="utf-8"))
            kind = read_document(file, landed)
            landed.flush()
            lines = file if kind == "ndjson" else Path(landed.name)
        for batch in read_records(lines, wrapped=kind != "ndjson"):
            if batch.num_rows:
                _count_batch(con, pa.Table.from_batches([batch]), name, found)
    return kind


def _count_batch(con: duckdb.DuckDBPyConnection, lines: pa.Table, name: str, found: _Found) -> None:
    con.register("lines", lines)
    document, resource = _COUNT.split(";")
    con.execute(document)
    con.execute(resource, [[f"$.{place}" for place in _DATES]])
    con.unregister("lines")
    for problem, n, positions in con.execute(
        "SELECT problem, count(*), list(position ORDER BY position)[:3] FROM document "
        "WHERE problem IS NOT NULL GROUP BY problem"
    ).fetchall():
        found.problems[problem] += n
        found.places.setdefault(problem, []).extend(f"{name}:{at}" for at in positions)
    for kind, n, undated, low, high in con.execute(
        "SELECT type, count(*), count(*) FILTER (len(dates) = 0), "
        "min(list_min(dates))[:10], max(list_max(dates))[:10] FROM resource GROUP BY type"
    ).fetchall():
        found.types[kind] += n
        if kind in _DATED:
            found.undated[kind] += undated
            found.span(low, high)
    found.systems.update(
        dict(
            con.execute(
                "SELECT coalesce(system, ''), count(*) FROM (SELECT unnest(json_extract_string("
                "body, '$..coding[*].system')) AS system FROM resource "
                "WHERE list_contains(?, type)) GROUP BY 1",
                [list(SUPPORTED)],
            ).fetchall()
        )
    )
    for place, kind in (
        ("$.content[*].attachment.contentType", "DocumentReference"),
        ("$.presentedForm[*].contentType", "DiagnosticReport"),
    ):
        counts = con.execute(
            "SELECT mime, count(*) FROM (SELECT unnest(json_extract_string(body, ?)) AS mime "
            "FROM resource WHERE type = ?) GROUP BY 1",
            [place, kind],
        ).fetchall()
        for mime, n in counts:
            kind = str(mime).partition(";")[0].strip().lower()
            found.notes[kind] += n
    _keep_names(con, found)


def _keep_names(con: duckdb.DuckDBPyConnection, found: _Found) -> None:
    places = {
        "Patient": ("$.id", "$.identifier[*].value"),
        "ImagingStudy": ("$.identifier[*].value", "$.series[*].uid", "$.series[*].instance[*].uid"),
    }
    for kind, wanted in places.items():
        for place in wanted:
            names = con.execute(
                "SELECT json_extract_string(body, ?) FROM resource WHERE type = ?", [place, kind]
            ).fetchall()
            for (value,) in names:
                values = value if isinstance(value, list) else [value]
                found.names.update(_bare(one) for one in values if one)


def _check_images(sample: list[tuple[Path, str, str]], found: _Found, timezone: str) -> None:
    if not sample:
        return
    files = [
        LandedFile(id="", path=file, name=name, kind=kind, size=file.stat().st_size, sha256="")
        for file, name, kind in sample
    ]
    with ImageStore(None) as store:
        for file, header in store.describe(files):
            if isinstance(header, ImageHeader):
                reason = _join(header, file.name, file.kind, found)
                moment = acquired_at(header, timezone)
                found.span(_day(moment), _day(moment))
            else:
                _, reason = header
            found.fates[reason] += 1


def _join(header: ImageHeader, name: str, kind: str, found: _Found) -> str:
    if kind == "dicom":
        keys = [header.sop_uid, header.series_uid, header.study_uid, header.accession]
        keys.append(header.patient_id)
    else:
        keys = [Path(name).stem, Path(name).parent.name]
    if any(_bare(key) in found.names for key in keys if key):
        return "join a patient"
    if Path(name).name in found.listed:
        return "named in a CSV"
    alone = kind == "dicom" and header.patient_id and not found.types
    return "films alone, each its own PatientID's" if alone else "join no patient"


def _bare(identifier: str) -> str:
    return identifier.strip().removeprefix("urn:oid:")


def _day(moment: datetime | None) -> str | None:
    return moment.date().isoformat() if moment else None


def _spread(files: list[Any], most: int) -> list[Any]:
    """Take at most so many, evenly spaced, so that the answer is the same each time."""
    if len(files) <= most:
        return files
    return [files[place * len(files) // most] for place in range(most)]


def _describe_table(file: Path, name: str, listed: set[str]) -> str:
    rows, header = 0, []
    csv.field_size_limit(2**24)
    try:
        with open_bytes(file) as handle:
            text = io.TextIOWrapper(handle, "utf-8-sig", errors="replace", newline="")
            reader = csv.reader(text, delimiter="\t" if ".tsv" in name.lower() else ",")
            header = next(reader, [])
            for rows, row in enumerate(filter(None, reader), 1):  # noqa: B007 - counted
                listed.update(
                    cell.strip().rpartition("/")[2]
                    for cell in row
                    if cell.strip().lower().endswith(_IMAGE_ENDINGS)
                )
    except (csv.Error, *TORN):
        return f"{name}: not CSV after {rows:,} rows"
    columns = ", ".join(header)
    return (
        f"{name}: {rows:,} rows; columns {columns if len(columns) < 400 else columns[:400] + ' …'}"
    )


def _page(path: Path, found: _Found, looked_at: int) -> Iterator[str]:
    total = sum(found.sizes.values())
    yield f"{path}: {sum(found.kinds.values()):,} files, {_size(total)}"
    yield ""
    yield from _table("files", found.kinds, lambda kind: _size(found.sizes[kind]))
    yield from _table(
        "FHIR resources",
        found.types,
        lambda kind: "" if kind in SUPPORTED else "counted, not used",
    )
    known = Counter({s: n for s, n in found.systems.items() if is_known(s)})
    unknown = Counter(
        {
            system or "(none given)": n
            for system, n in found.systems.items()
            if not is_known(system) and not system.startswith(_HOUSEKEEPING)
        }
    )
    yield from _table("code systems known, by codings", known)
    yield from _table("code systems unknown (kept under the last part of their URL)", unknown)
    yield from _table(
        "resources without a date of their own",
        +found.undated,
        lambda kind: f"of {found.types[kind]:,}",
    )
    yield from _table("notes and reports by MIME type", found.notes)
    if found.images:
        title = "images"
        if looked_at < len(found.images):
            title += f" ({looked_at:,} of {len(found.images):,} looked at)"
        yield from _table(title, found.fates)
    if found.tables:
        yield from [
            "CSV files (ingest needs --mapping for them)",
            *(f"  {t}" for t in found.tables),
        ]
        yield ""
    yield from _table(
        "records that cannot be used",
        found.problems,
        lambda problem: "at " + ", ".join(found.places[problem][:3]),
    )
    if found.first <= found.last:
        yield f"dates from {found.first} to {found.last}"


def _table(
    title: str, counts: Counter[str], remark: Callable[[str], str] | None = None
) -> Iterator[str]:
    if not counts:
        return
    yield title
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = _MOST_LINES if len(ranked) > _MOST_LINES + 1 else len(ranked)
    for name, n in ranked[:shown]:
        words = remark(name) if remark else ""
        yield f"  {n:>11,}  {name}" + (f"  ({words})" if words else "")
    rest = ranked[shown:]
    if rest:
        yield f"  {sum(n for _, n in rest):>11,}  in {len(rest)} more"
    yield ""


def _size(size: int) -> str:
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_:
            return f"{size / bytes_:.1f} {unit}"
    return f"{size} bytes"
