"""Say what a store holds: a page of text, and a page of HTML with plots that needs no network."""

import html
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ingest.store_facts import StoreFacts

__all__ = ["describe_store", "write_store_page"]

_MOST_LINES = 10


def describe_store(facts: StoreFacts) -> str:
    """Give a page of text: who, when, in which code systems, and what is missing of whom."""
    dated, notes, held = facts.dated, facts.notes, facts.held
    people = max(1, facts.subjects)

    def share(n: int) -> str:
        return f"{n:,} ({n / people:.0%})"

    lines = [f"{facts.subjects:,} subjects"]
    if said := facts.deidentified:
        lines[0] += f"; de-identified, dates {said['dates']}"
        for kind, n in said["burned_in_annotation"].items():
            lines[0] += f"; writing in {n:,} pictures {kind}"
    if dated["events"]:
        lines.append(
            f"{dated['events']:,} dated events from {dated['first'][:10]} to "
            f"{dated['last'][:10]}; {dated['late']:,} were known over a day after they occurred"
        )
    if notes["notes"]:
        lines.append(
            f"{notes['notes']:,} notes of {share(notes['subjects'])} subjects, "
            f"{notes['median_characters']:,} characters in the middle"
        )
    lines += [
        f"with notes and images {share(held['both'])}, notes alone {share(held['notes'])}, "
        f"images alone {share(held['images'])}, neither {share(held['neither'])}",
        "",
    ]
    systems = [
        (row["system"], row["codes"], row["events"], row["subjects"]) for row in facts.systems
    ]
    lines += _table(systems, ["code system", "codes", "events", "subjects"])
    if facts.images:
        images = [(row["code"], row["images"], row["subjects"]) for row in facts.images]
        lines += ["", *_table(images, ["images", "n", "subjects"])]
    if facts.measured:
        measured = [
            (
                (row["name"] or row["code"])[:44],
                row["values"],
                row["subjects"],
                f"{1 - row['subjects'] / people:.0%}",
                row["units"],
            )
            for row in facts.measured
        ]
        heads = ["measured most", "n", "subjects", "missing of", "units"]
        lines += ["", *_table(measured, heads)]
    if facts.several_units:
        lines += ["", "codes whose numbers have several units:"]
        lines += _most(
            (sum(units.values()), f"{code}  {', '.join(f'{u} {n:,}' for u, n in units.items())}")
            for code, units in facts.several_units.items()
        )
    if facts.without_unit:
        lines += ["", "numbers without a unit, of codes that have one elsewhere:"]
        lines += _most((n, f"{code}  {n:,}") for code, n in facts.without_unit.items())
    if facts.undated:
        left = ", ".join(f"{kind} {n:,}" for kind, n in facts.undated.items())
        lines += ["", f"without any date, and so left out: {left}"]
    return "\n".join(lines)


def write_store_page(facts: StoreFacts, page: Path) -> None:
    """Write the text and three plots as one HTML file: events by year, a subject's, and systems."""
    plots = "".join(f"<figure>{svg}</figure>" for svg in _plots(facts))
    words = html.escape(describe_store(facts))
    page.write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Record store</title>"
        "<meta name=viewport content='width=device-width'>"
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
        "padding:0 1rem;color:#1c1c1c;background:#fff}pre{overflow-x:auto;font-size:.85rem}"
        "figure{margin:1.5rem 0}svg{max-width:100%;height:auto}</style>"
        f"<h1>What the record store holds</h1>{plots}<pre>{words}</pre></html>\n",
        "utf-8",
    )


def _most(told: Iterable[tuple[int, str]]) -> list[str]:
    """Give the lines with the largest numbers, and how many more there are."""
    lines = [line for _, line in sorted(told, key=lambda row: (-row[0], row[1]))]
    more = len(lines) - _MOST_LINES
    return lines[:_MOST_LINES] + ([f"and {more:,} more codes"] if more > 0 else [])


def _table(rows: Sequence[Sequence[object]], heads: list[str]) -> list[str]:
    cells = [[_cell(value) for value in row] for row in rows]
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


def _plots(facts: StoreFacts) -> Iterator[str]:
    from matplotlib.figure import Figure

    def svg(figure: Figure) -> str:
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        text = out.getvalue()
        return text[text.index("<svg") :]

    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.subplots()
    years = [row["year"] for row in facts.years]
    axes.bar(years, [row["events"] for row in facts.years], color="#3b6ea8")
    axes.set(title="Events by year in which they were known", xlabel="year", ylabel="events")
    axes.xaxis.get_major_locator().set_params(integer=True)
    yield svg(figure)

    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.subplots()
    counts = facts.events_of_a_subject
    axes.stairs(counts["subjects"], counts["edges"], fill=True, color="#3b6ea8")
    axes.set(title="Events of a subject", xlabel="events", ylabel="subjects")
    axes.xaxis.get_major_locator().set_params(integer=True)
    yield svg(figure)

    most = facts.systems[:12][::-1]
    figure = Figure(figsize=(8, 0.6 + 0.28 * len(most)), layout="constrained")
    axes = figure.subplots()
    names = [row["system"] for row in most]
    axes.barh(names, [row["events"] for row in most], color="#3b6ea8")
    axes.set(title="Events by code system", xlabel="events (log)", xscale="log")
    yield svg(figure)
