"""Names of several words: with particles, and where a long one is in doubt."""

import re

import pytest

from ingest.deidentify_dates import DateStyle
from ingest.deidentify_terms import Terms
from ingest.deidentify_text import Scrubber


def scrubber(first: list[str], last: str) -> Scrubber:
    terms = Terms()
    terms.add_name(first, last)
    return Scrubber(terms=terms, style=DateStyle(days=0))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("van den Berg", "Patient [van den Berg] was seen; told [van den Berg] of it."),
        (
            "van den Berg",
            "[P. van den Berg]; Dhr. [van den Berg] or [VAN DEN BERG]; pt [van den berg]",
        ),
        ("van der Berg", "Dhr. [van der Berg]"),
        ("von Stein", "Fr. [von Stein]. Patientin [von Stein] wurde aufgenommen. [U. von Stein]"),
        ("von Stein", "Patientin [Stein], Fr. [Stein] und [von Stein, Anna]"),
        ("Stein", "Fr. [Stein] und Hr. [Stein] kamen. Foley 12 Fr. Stein im Ureter"),
        ("von Stein", "Der Stein im Ureter ist ein Stein von steinharter Art, von stein zu stein."),
        ("von Berg", "Pat. [von Berg] klagt"),
        (
            "von Lang",
            "Hr. [von Lang] or [VON LANG]; pt [von lang]; ein von lang her bestehender Husten",
        ),
        (
            "De Young",
            "Pt [de Young]; pt [de young] or [DE YOUNG] was; De young adults; de novo, young",
        ),
        ("la Rosa", "Pt [la Rosa], Mr [La Rosa]; via la rosa"),
        ("de Li", "Pt [de Li] and Mr [De Li] had Li 0.8 mmol/l"),
    ],
)
def test_a_name_of_a_particle_and_a_word_goes_whole(name: str, text: str) -> None:
    who = scrubber(["Anna"], name)
    written = re.sub(r"[\[\]]", "", text)
    assert who.scrub(written) == re.sub(r"\[[^\]]*\]", "[NAME]", text)


def test_a_long_name_that_is_none_there_does_not_hide_a_shorter_one() -> None:
    who = scrubber(["Long"], "Stone")
    assert who.scrub("mr. long stone; Mrs Stone") == "mr. [NAME]; Mrs [NAME]"
    assert who.scrub("told Long stone is gone") == "told [NAME] is gone"
    assert who.scrub("a long stone in it") == "a long stone in it"


@pytest.mark.parametrize(
    "words", ["Anna van den Berg", "van den Berg, Anna", "Frau Anna van den Berg, MD"]
)
def test_a_particle_is_the_family_names_in_a_name_that_is_written_in_one(words: str) -> None:
    terms = Terms()
    terms.add_words_of_name(words)
    who = Scrubber(terms=terms, style=DateStyle(days=0))
    assert (
        who.scrub("told van den Berg of it, den Berg hinauf")
        == "told [NAME] of it, den Berg hinauf"
    )
