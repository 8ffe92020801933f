"""Say what a store holds: a page of text, and a page of HTML with plots that needs no network."""

import html
import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ingest.store import RecordStore

__all__ = ["describe_store", "write_store_page"]

_SYSTEMS = """
SELECT split_part(code, '//', 1) AS system, count(DISTINCT code) AS codes, count(*) AS events,
       count(DISTINCT subject_id) AS subjects
FROM events GROUP BY 1 ORDER BY events DESC, system
"""
_HELD = """
SELECT count(*) AS subjects, count(*) FILTER (notes AND images) AS both,
       count(*) FILTER (notes AND NOT images) AS notes,
       count(*) FILTER (images AND NOT notes) AS images,
       count(*) FILTER (NOT notes AND NOT images) AS neither
FROM (SELECT bool_or(starts_with(code, 'NOTE//')) AS notes,
             bool_or(starts_with(code, 'IMAGE//')) AS images FROM events GROUP BY subject_id)
"""
_DATES = """
SELECT min(time) AS first, max(time) AS last, count(*) AS events,
       count(*) FILTER (time > occurred + INTERVAL '1 day') AS late
FROM events WHERE time IS NOT NULL AND code <> 'MEDS_BIRTH'
"""
_NOTES = """
SELECT count(*) AS n, count(DISTINCT subject_id) AS subjects, median(length(text_value)) AS length
FROM events WHERE starts_with(code, 'NOTE//')
"""
_IMAGES = """
SELECT code, count(*) AS n, count(DISTINCT subject_id) AS subjects
FROM events WHERE starts_with(code, 'IMAGE//') GROUP BY 1 ORDER BY n DESC, code
"""
_MEASURED = """
SELECT any_value(description) AS name, code, count(DISTINCT subject_id) AS subjects,
       count(*) AS n, count(DISTINCT unit) AS units
FROM events JOIN codes USING (code) WHERE numeric_value IS NOT NULL
GROUP BY code ORDER BY subjects DESC, n DESC, code LIMIT 15
"""
_YEARS = """
SELECT year(time) AS year, count(*) AS events, count(DISTINCT subject_id) AS subjects
FROM events WHERE time IS NOT NULL AND code <> 'MEDS_BIRTH' GROUP BY 1 ORDER BY 1
"""
_A_SUBJECT = """
SELECT count(*) AS n FROM events GROUP BY subject_id
"""


def describe_store(store: RecordStore) -> str:
    """Give a page of text: who, when, in which code systems, and what is missing of whom."""
    ask = store.query
    held, dates, notes = ask(_HELD).iloc[0], ask(_DATES).iloc[0], ask(_NOTES).iloc[0]
    people = max(1, int(held["subjects"]))

    def share(n: float) -> str:
        return f"{int(n):,} ({n / people:.0%})"

    lines = [f"{int(held['subjects']):,} subjects"]
    if dates["events"]:
        lines.append(
            f"{int(dates['events']):,} dated events from {dates['first']:%Y-%m-%d} to "
            f"{dates['last']:%Y-%m-%d}; {int(dates['late']):,} were known over a day after they "
            "occurred"
        )
    if notes["n"]:
        lines.append(
            f"{int(notes['n']):,} notes of {share(notes['subjects'])} subjects, "
            f"{int(notes['length']):,} characters in the middle"
        )
    lines += [
        f"with notes and images {share(held['both'])}, notes alone {share(held['notes'])}, "
        f"images alone {share(held['images'])}, neither {share(held['neither'])}",
        "",
    ]
    lines += _table(ask(_SYSTEMS), ["code system", "codes", "events", "subjects"])
    images = ask(_IMAGES)
    if len(images):
        lines += ["", *_table(images, ["images", "n", "subjects"])]
    measured = ask(_MEASURED)
    if len(measured):
        measured["name"] = measured["name"].fillna(measured["code"]).str.slice(0, 44)
        measured["missing"] = [f"{1 - n / people:.0%}" for n in measured["subjects"]]
        shown = measured[["name", "n", "subjects", "missing", "units"]]
        heads = ["measured most", "n", "subjects", "missing of", "units"]
        lines += ["", *_table(shown, heads)]
    report = store.report()
    if said := report.get("deidentified"):
        lines[0] += f"; de-identified, dates {said['dates']}"
        for kind, n in said["burned_in_annotation"].items():
            lines[0] += f"; writing in {n:,} pictures {kind}"
    if report["undated"]:
        left = ", ".join(f"{kind} {n:,}" for kind, n in sorted(report["undated"].items()))
        lines += ["", f"without any date, and so left out: {left}"]
    return "\n".join(lines)


def write_store_page(store: RecordStore, page: Path) -> None:
    """Write the text and three plots as one HTML file: events by year, a subject's, and systems."""
    ask = store.query
    plots = "".join(
        f"<figure>{svg}</figure>" for svg in _plots(ask(_YEARS), ask(_A_SUBJECT), ask(_SYSTEMS))
    )
    words = html.escape(describe_store(store))
    page.write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Record store</title>"
        "<meta name=viewport content='width=device-width'>"
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
        "padding:0 1rem;color:#1c1c1c;background:#fff}pre{overflow-x:auto;font-size:.85rem}"
        "figure{margin:1.5rem 0}svg{max-width:100%;height:auto}</style>"
        f"<h1>What the record store holds</h1>{plots}<pre>{words}</pre></html>\n",
        "utf-8",
    )


def _table(rows: pd.DataFrame, heads: list[str]) -> list[str]:
    cells = [[_cell(value) for value in row] for row in rows.itertuples(index=False)]
    widths = [max(len(row[i]) for row in [heads, *cells]) for i in range(len(heads))]
    return [
        "  ".join(
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [heads, *cells]
    ]


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _plots(years: pd.DataFrame, counts: pd.DataFrame, systems: pd.DataFrame) -> Iterator[str]:
    from matplotlib.figure import Figure

    def svg(figure: Figure) -> str:
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        text = out.getvalue()
        return text[text.index("<svg") :]

    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.bar(years["year"], years["events"], color="#3b6ea8")
    axes.set(title="Events by year in which they were known", xlabel="year", ylabel="events")
    axes.xaxis.get_major_locator().set_params(integer=True)
    yield svg(figure)

    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.hist(counts["n"], bins=40, color="#3b6ea8")
    axes.set(title="Events of a subject", xlabel="events", ylabel="subjects")
    axes.xaxis.get_major_locator().set_params(integer=True)
    yield svg(figure)

    most = systems.head(12).iloc[::-1]
    figure = Figure(figsize=(8, 0.6 + 0.28 * len(most)), layout="constrained")
    axes = figure.subplots()
    axes.barh(most["system"], most["events"], color="#3b6ea8")
    axes.set(title="Events by code system", xlabel="events (log)", xscale="log")
    yield svg(figure)
