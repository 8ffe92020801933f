"""The command `explain`: its options, what it prints, and the page that it writes."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.errors import UsageError
from ingest.schema import Modality
from serve.encoder_options import add_encoders, encoders_asked
from serve.servers import moment

if TYPE_CHECKING:
    from serve.explained import Explained

__all__ = ["add_explain", "run_explain"]

_SHOWN = 12
"""Events, words and cells that are printed."""


def add_explain(sub: argparse.ArgumentParser) -> None:
    """Add the options of `explain`."""
    sub.add_argument("run_directory", type=Path, metavar="run", help="run directory")
    sub.add_argument("--subject", type=int, required=True, help="subject_id in the store")
    sub.add_argument("--store", type=Path, help="record store (default: as trained)")
    sub.add_argument("--at", type=moment, help="prediction time, ISO 8601 (default: the task's)")
    sub.add_argument("--task", help="one of the run's tasks (default: all)")
    sub.add_argument("--model", help="one of the run's models (default: each task's champion)")
    sub.add_argument(
        "--what-if",
        nargs="+",
        action="extend",
        default=[],
        metavar="CHANGE",
        help="CODE=VALUE, +CODE, or -CODE (with the option's = where it begins with -: "
        "--what-if=-notes): the risk of such a record beside",
    )
    add_encoders(sub, trained=True)
    sub.add_argument("--page", type=Path, help="write a page of HTML with words and images marked")
    sub.add_argument("--json", action="store_true", help="print JSON, without words of the notes")


def run_explain(a: argparse.Namespace) -> None:
    """Explain, print, and write the page.

    Raises:
        UsageError: a task, a model or a change that there isn't.
    """
    from fusion.run import read_json
    from fusion.what_if import Edit
    from serve.explained_page import write_page
    from serve.predictor import Predictor

    edits = [Edit.parse(text) for text in a.what_if]
    store = a.store or Path(read_json(a.run_directory / "sources.json", "store")["store"])
    predictor = Predictor(a.run_directory, store, **encoders_asked(a))
    for what, asked, known in (
        ("task", a.task, predictor.served.tasks),
        ("model", a.model, predictor.served.names),
    ):
        if asked is not None and asked not in known:
            raise UsageError(f"--{what} must be one of {', '.join(known)}; got {asked}")
    found = predictor.explain(a.subject, a.at, task=a.task, model=a.model, edits=edits)
    if a.json:
        print(json.dumps([one.to_json() for one in found], indent=2, sort_keys=True))
    else:
        print("\n\n".join("\n".join(describe(one)) for one in found))
    if a.page:
        write_page(a.page, found)
        if not a.json:
            print(f"\n{a.page} written: it holds the patient's notes and images")


def describe(one: "Explained") -> Iterator[str]:
    """Give what is said of one task for a terminal, without a word of the notes."""
    from serve.page_risk import percent  # not before it is needed: it brings pandas

    found = one.explanation
    time = f"{one.time:%Y-%m-%d %H:%M} UTC"
    yield f"{found.task}: {percent(found.risk)} by {found.model}, at {time}"
    yield f"  of somebody of whom nothing is known it says {percent(one.base_risk)}"
    for edit, risk in one.what_if:
        yield f"  with {edit}: {percent(risk)}"
    yield ""
    yield _row("log odds", "in it", "being there", "")
    for modality in Modality:
        share, there = found.modalities[modality], found.being_there[modality]
        word = str(modality) if one.has(modality) else f"{modality} (none)"
        yield _row(f"{share:+.3f}", f"{share - there:+.3f}", f"{there:+.3f}", word)
    if found.events:
        yield ""
        yield _row("log odds", "", "value", "events")
        for code, share in list(found.events.items())[:_SHOWN]:
            yield _row(f"{share:+.3f}", "", one.value(code), one.name(code))
    for note in found.notes:
        yield ""
        count = len(note.sentences)
        read = f", {count} sentences" if count else ""
        words = f"note {note.number + 1}{read} (its {'words' if note.words else 'text'}: --page)"
        yield _row(f"{note.log_odds:+.3f}", "", "", words)
    for image in found.images:
        yield ""
        words = f"image {image.number + 1} (where: --page)"
        yield _row(f"{image.log_odds:+.3f}", "", "", words)


def _row(*cells: str) -> str:
    *numbers, words = cells
    return "".join(f"{cell:>13}" for cell in numbers) + f"  {words}"
