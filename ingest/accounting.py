"""Account for each record: what `ingest_report.json` says of each file, and the quarantine.

For each file the records that were read are held against what became of them: projected, skipped,
quarantined, superseded, deleted. They add up, or the build fails; nothing is lost in silence.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from pydantic import ValidationError

from ingest.landing import LandedFile
from ingest.lines import FILE_STEP, Lines, Part, read_lines

__all__ = [
    "MOST_VALIDATED",
    "TALLY",
    "account",
    "make_report",
    "refuse_invalid",
    "require_one_outcome",
    "why_invalid",
    "write_quarantine",
]

_MOST_FAULTS = 3

MOST_VALIDATED = 200
"""Of a batch: fhir.resources is slow; past these the reason stays general."""


def why_invalid(resource_type: str, text: str, *, wrapped: bool = False) -> str | None:
    """Say what makes a resource invalid, in R4 and in R5, without repeating what stands in it.

    Of a `wrapped` line (records.py) it is the resource within.

    >>> why_invalid("Observation", '{"resourceType": "Observation", "status": "final"}')
    'invalid: code: missing'
    >>> why_invalid("Observation", '{"status": "final", "code": {"text": "pulse"}}') is None
    True
    """
    # Here, for it takes a second to import and most builds quarantine nothing.
    from fhir.resources import get_fhir_model_class as r5
    from fhir.resources.R4B import get_fhir_model_class as r4

    reason = _why_not(r4, resource_type, text, wrapped=wrapped)
    if reason is None or _why_not(r5, resource_type, text, wrapped=wrapped) is None:
        return None
    return reason


def _why_not(
    model: Callable[[str], Any], resource_type: str, text: str, *, wrapped: bool
) -> str | None:
    try:
        content = json.loads(text)
        content = content["resource"] if wrapped else content
        model(resource_type).model_validate({"resourceType": resource_type, **content})
    except ValidationError as error:
        # Only places and kinds of fault: pydantic's messages repeat the input.
        faults = [
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['type'].split('.')[-1]}"
            for fault in error.errors(include_input=False, include_context=False, include_url=False)
        ]
        if faults:
            return "invalid: " + "; ".join(dict.fromkeys(faults[:_MOST_FAULTS]))
        return "invalid"
    except (KeyError, LookupError, ValueError, RecursionError, TypeError) as error:
        return f"invalid: {type(error).__name__}"
    return None


def refuse_invalid(con: duckdb.DuckDBPyConnection, parts: Mapping[int, Part]) -> None:
    """Quarantine what was skipped for want of a code and is invalid FHIR, with the reason.

    Looks at `doubtful`, and at no more than MOST_VALIDATED records of a batch.

    Args:
        con: has what the projection left behind.
        parts: the files that were read, by number; their lines are read again.
    """
    rows = con.execute(
        """
        SELECT d.batch, d.place, d.type, l.file
        FROM doubtful d JOIN landed l ON l.number = d.place // $step
        QUALIFY row_number() OVER (PARTITION BY d.batch ORDER BY l.file, d.place) <= $most
        """,
        {"step": FILE_STEP, "most": MOST_VALIDATED},
    ).fetchall()
    # How near a batch came to the limit: another cut of the same records could differ there.
    for n in Counter(batch for batch, *_ in rows).values():
        con.execute("INSERT INTO refusable VALUES (?)", [n])
    wanted: dict[int, dict[int, tuple[str, str]]] = defaultdict(dict)
    for _, place, kind, file in rows:
        wanted[place // FILE_STEP][place % FILE_STEP] = kind, file
    refused: list[tuple[str, int, str]] = []
    for number, about in wanted.items():
        lines = Lines(positions=np.array(sorted(about), np.int64))
        part = parts[number]
        for batch in read_lines(part.path, lines, wrapped=part.file.kind != "ndjson"):
            for position, text, wrapped in zip(
                *(c.to_pylist() for c in batch.columns), strict=True
            ):
                kind, file = about[position]
                reason = why_invalid(kind, text, wrapped=wrapped)
                if reason is not None:
                    refused.append((file, position, f"{kind}: {reason}"))
    if refused:
        con.register("refused", pd.DataFrame(refused, columns=["file", "position", "reason"]))
        con.execute(
            "UPDATE outcome SET status = 'quarantined', detail = refused.reason FROM refused"
            " WHERE outcome.file = refused.file AND outcome.position = refused.position"
        )
        con.unregister("refused")


TALLY = "SELECT file, status, detail, count(*) AS n FROM outcome GROUP BY ALL ORDER BY ALL"
"""How many records of each file came to what, of all that have an outcome."""

_EVENTS = """
SELECT count(DISTINCT subject_key), count(*),
       count(*) FILTER (starts_with(code, 'NOTE//')),
       count(*) FILTER (starts_with(code, 'IMAGE//'))
FROM projected
"""


def account(
    con: duckdb.DuckDBPyConnection, files: list[LandedFile], counts: dict[str, int]
) -> dict[str, Any]:
    """Make the report of a build from `outcome`, `undated` and `projected`.

    `counts` says how many records were read from the FHIR files; other files' records are counted
    by their own projection, one outcome each.

    Raises:
        RuntimeError: a record has no outcome, or two: a defect of a projection.
    """
    require_one_outcome(con)
    [events] = con.execute(_EVENTS).fetchall()
    undated = con.execute("SELECT type, count(*) FROM undated GROUP BY ALL ORDER BY ALL").fetchall()
    return make_report(files, counts, con.execute(TALLY).fetchall(), events, dict(undated))


def require_one_outcome(con: duckdb.DuckDBPyConnection) -> None:
    """Refuse that a record of `outcome` has two.

    Raises:
        RuntimeError: one has.
    """
    [(doubles,)] = con.execute(
        "SELECT count(*) - count(DISTINCT (file, position)) FROM outcome"
    ).fetchall()
    if doubles:
        raise RuntimeError(f"{doubles} records have two outcomes; each must have one")


def make_report(
    files: list[LandedFile],
    counts: dict[str, int],
    tally: Iterable[tuple[str, str, str | None, int]],
    events: tuple[int, ...],
    undated: dict[str, int],
) -> dict[str, Any]:
    """Make a report of sums: file, status, detail and count; subjects, events, notes and images.

    Raises:
        RuntimeError: of a file in `counts` other than so many records are accounted for.
    """
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    details: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for file, status, detail, n in tally:
        sums[file][status] += n
        if status in ("skipped", "quarantined"):
            details[file, status][detail or "no reason"] = n
    report: dict[str, Any] = {"files": {}, "ignored": []}
    for file in files:
        accounted = sum(sums[file.id].values())
        records = counts.get(file.id, accounted)
        if records != accounted:
            raise RuntimeError(
                f"file {file.id}: {records} records were read and {accounted} accounted for"
            )
        if not accounted and file.id not in counts:
            report["ignored"].append(file.name)
            continue
        report["files"][file.name] = {
            "records": records,
            "projected": sums[file.id]["projected"],
            "skipped": details[file.id, "skipped"],
            "quarantined": details[file.id, "quarantined"],
            "superseded": sums[file.id]["superseded"],
            "deleted": sums[file.id]["deleted"],
        }
    report |= dict(zip(("subjects", "events", "notes", "images"), events, strict=True))
    report["undated"] = undated
    return report


def write_quarantine(
    con: duckdb.DuckDBPyConnection,
    files: list[LandedFile],
    target: Path,
    *,
    stay: str = "SELECT NULL, NULL, NULL, NULL WHERE false",
) -> None:
    """Write file, name, position and reason of each quarantined record as Parquet.

    `stay` gives such rows of records that are not in `outcome`.
    """
    names = pd.DataFrame({"file": [f.id for f in files], "name": [f.name for f in files]})
    con.register("file_name", names)
    partial = target.with_suffix(".partial")
    path = str(partial).replace("'", "''")
    con.execute(
        "COPY (SELECT file, name, position, detail AS reason"
        " FROM outcome JOIN file_name USING (file) WHERE status = 'quarantined'"
        f" UNION ALL {stay} ORDER BY name, position) TO '{path}' (FORMAT parquet)"
    )
    con.unregister("file_name")
    partial.replace(target)
