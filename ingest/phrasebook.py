"""Word the simulated notes: the same states in many words, and words that mean no state.

A note is told which findings it affirms, which it denies and which it leaves open, and words each
in one of many ways, alone or in a list. Around these stand distractors that say nothing of the
present state but use its words: what a relative had, what the patient had years ago, and complaints
that have nothing to do with it, denied or not. So the words of a finding come up whether it is
there or not, and only reading them in their sentence tells.
"""

import html
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ingest.errors import MappingError
from ingest.world import FINDINGS, World, merge

__all__ = ["Phrasebook", "as_html", "read_phrasebook", "write_note"]

_FILE = Path(__file__).resolve().parent / "phrasebook.yaml"
_WORDS = (60, 150)

Phrases = Annotated[list[str], Field(min_length=1)]


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Finding(_Block):
    place: Literal["history", "examination"]
    names: Phrases
    affirmed: Phrases
    denied: Phrases
    hedged: Phrases
    historical: Phrases


class _Listed(_Block):
    affirmed: Phrases
    denied: Phrases


class _Headings(_Block):
    reason: Phrases
    history: Phrases
    past: Phrases
    family: Phrases
    social: Phrases
    examination: Phrases
    plan: Phrases


class Phrasebook(_Block):
    """Hold all phrases; `phrasebook.yaml` says what each kind is."""

    findings: dict[str, _Finding]
    listed: _Listed
    family: Phrases
    no_family: Phrases
    reasons: Phrases
    history: Phrases
    past: Phrases
    social: Phrases
    examination: Phrases
    plan: Phrases
    headings: _Headings
    fills: dict[str, Phrases]


def read_phrasebook(world: World) -> Phrasebook:
    """Read the phrases, those of the world's `notes.wording` put over those of phrasebook.yaml.

    Raises:
        MappingError: the world's wording has an unknown field, or a phrase with an unknown slot;
            the message names it.
    """
    content = merge(_default(), world.notes.wording)
    try:
        book = Phrasebook.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(
            f"notes.wording.{'.'.join(str(part) for part in e['loc'])}: {e['msg']}"
            for e in error.errors()
        )
        raise MappingError(f"world {world.name}: {problems}") from None
    if set(book.findings) != set(FINDINGS):
        raise MappingError(
            f"world {world.name}: notes.wording.findings must be {', '.join(FINDINGS)}; "
            f"got {', '.join(book.findings)}"
        )
    known = dict.fromkeys(book.fills, "") | {"list": ""}
    for phrase in _strings(content):
        try:
            phrase.format_map(known)
        except (KeyError, ValueError, IndexError, AttributeError):
            raise MappingError(
                f"world {world.name}: notes.wording: the phrase {phrase!r} has a slot that is none "
                f"of {', '.join(sorted(known))}"
            ) from None
    return book


def write_note(
    book: Phrasebook,
    world: World,
    stated: np.ndarray,
    hedged: np.ndarray,
    rng: np.random.Generator,
) -> str:
    """Word one note of 60 to 150 words in sections.

    Args:
        book: the phrases.
        world: how often distractors come.
        stated: [f] 1 affirmed, -1 denied, 0 neither, in the order of FINDINGS.
        hedged: [f] true where a finding that is neither is mentioned nevertheless.
        rng: decides the words.
    """
    notes = world.notes
    pick = _Picker(book, rng)
    parts: dict[str, list[str]] = {name: [] for name in _Headings.model_fields}
    parts["reason"].append(pick.one(book.reasons))
    for place in ("history", "examination"):
        parts[place] = _findings(pick, world, place, stated, hedged)
    if rng.random() < notes.historical:
        old = FINDINGS[rng.integers(len(FINDINGS))]
        parts["past"].append(pick.one(book.findings[old].historical))
    told = rng.random() < notes.family
    parts["family"].append(pick.one(book.family if told else book.no_family))
    # Everything that means nothing, in random order, until the note is long enough.
    spare = [
        (place, phrase)
        for place, phrases in (
            ("history", book.history),
            ("past", book.past),
            ("social", book.social),
            ("examination", book.examination),
            ("plan", book.plan),
        )
        for phrase in phrases
    ]
    wanted = int(rng.integers(_WORDS[0] + 15, _WORDS[1] - 30))
    for i in rng.permutation(len(spare)):
        words = sum(len(text.split()) + 1 for part in parts.values() for text in part)
        if words >= wanted and parts["plan"]:
            break
        place, phrase = spare[i]
        if words < wanted or place == "plan":
            parts[place].append(pick.fill(phrase))
    lines = []
    for place, sentences in parts.items():
        if sentences:
            heading = pick.one(getattr(book.headings, place))
            order = rng.permutation(len(sentences))
            lines.append(f"{heading}: " + " ".join(sentences[i] for i in order))
    return "\n".join(lines) + "\n"


def as_html(note: str) -> str:
    r"""Give a note as the HTML that some records systems write: a heading and a paragraph a line.

    >>> as_html("Plan: A & B.\n")
    '<html><body><h4>Plan</h4><p>A &amp; B.</p></body></html>'
    """
    body = ""
    for line in note.strip().split("\n"):
        heading, _, text = line.partition(": ")
        body += f"<h4>{html.escape(heading)}</h4><p>{html.escape(text)}</p>"
    return f"<html><body>{body}</body></html>"


class _Picker:
    """Pick phrases and fill their slots."""

    def __init__(self, book: Phrasebook, rng: np.random.Generator) -> None:
        self.book, self.rng = book, rng

    def one(self, phrases: list[str], **given: str) -> str:
        return self.fill(phrases[self.rng.integers(len(phrases))], **given)

    def fill(self, phrase: str, **given: str) -> str:
        if "{" not in phrase:
            return phrase
        slots = {n: some[self.rng.integers(len(some))] for n, some in self.book.fills.items()}
        text = phrase.format_map(slots | given)
        return text[0].upper() + text[1:]


def _findings(
    pick: _Picker, world: World, place: str, stated: np.ndarray, hedged: np.ndarray
) -> list[str]:
    """Word the findings of one section."""
    book, rng = pick.book, pick.rng
    here = [i for i, name in enumerate(FINDINGS) if book.findings[name].place == place]
    sentences = []
    for state, kind in ((1, "affirmed"), (-1, "denied")):
        some = [i for i in here if stated[i] == state]
        if len(some) > 1 and place == "history" and rng.random() < world.notes.grouped:
            rng.shuffle(some)
            names = [pick.one(book.findings[FINDINGS[i]].names) for i in some]
            joint = " and " if state > 0 else " or "
            text = ", ".join(names[:-1]) + joint + names[-1]
            sentences.append(pick.one(getattr(book.listed, kind), list=text))
        else:
            sentences += [pick.one(getattr(book.findings[FINDINGS[i]], kind)) for i in some]
    sentences += [
        pick.one(book.findings[FINDINGS[i]].hedged) for i in here if hedged[i] and not stated[i]
    ]
    return sentences


@cache
def _default() -> dict[str, Any]:
    return yaml.safe_load(_FILE.read_text("utf-8"))


def _strings(content: Any) -> list[str]:
    if isinstance(content, dict):
        return [text for value in content.values() for text in _strings(value)]
    if isinstance(content, list):
        return [text for value in content for text in _strings(value)]
    return [content] if isinstance(content, str) else []
