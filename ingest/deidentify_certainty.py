"""Decide which of the words that may be a patient's are: the degrees of care, and neighbours.

Not every token of a name can go wherever it stands, so there are five degrees of care:

    ANYWHERE   most names, addresses, and numbers of five characters or more
    WHOLE      a given and the family name side by side, a particle and its name (von Stein), and
               places of several words: with a capital of a word that is no particle
    CAPITAL    names of three letters: only with a capital, and in a text of capitals only beside
               another name; of towns, those that are no word that is known of
    CONTEXT    names that are ordinary words (May, Long, Stone) or have two letters (Li): only where
               deidentify_context.py says that somebody is named, or beside another name; of towns,
               those of three letters, too, where deidentify_town_context.py says that a place is
    BESIDE     names of one letter, particles (van, de), pronouns and the like (He, An), and
               initials: only beside a name, or after a title
"""

import re

from ingest.deidentify_context import (
    FUNCTION_WORDS,
    names_somebody,
    stands_after_label,
    stands_after_title,
)
from ingest.deidentify_fold import fold_word
from ingest.deidentify_town_context import names_place
from ingest.deidentify_towns import ends_like_a_town, is_rarely_a_word, is_word_and_town
from ingest.deidentify_words import ORDINARY, PARTICLES

__all__ = [
    "ADDRESS",
    "ANYWHERE",
    "BESIDE",
    "CAPITAL",
    "CONTACT",
    "CONTEXT",
    "ID",
    "NAME",
    "WHOLE",
    "WIDEST_GAP",
    "Hit",
    "Span",
    "care_of",
    "care_of_place",
    "settle",
]

NAME, ADDRESS, CONTACT, ID = "[NAME]", "[ADDRESS]", "[CONTACT]", "[ID]"

ANYWHERE, WHOLE, CAPITAL, CONTEXT, BESIDE = range(5)
WIDEST_GAP = 3

Span = tuple[int, int, str]
"""Where in the text, and the tag that goes there."""

Hit = tuple[int, int, str, int]
"""A span that may go, and with what care."""

_BETWEEN_NAMES = re.compile(r"[\s.,;'\"()/_\-]*")
_WORD = re.compile(r"[^\W_]+")
_ROMANCE = frozenset(["de", "van"])
"""Particles of which two in a row, and a word behind them, are a name in lower case, too."""


def care_of(tokens: tuple[str, ...]) -> int:
    """Say with what care a name's folded tokens are taken.

    >>> [care_of(tokens) for tokens in (("doering",), ("von", "stein"), ("stein",), ("van",))]
    [0, 1, 3, 4]
    """
    if len(tokens) != 1:
        # Two ordinary words in a row ("long day") are no name unless they have capitals.
        if not all(t in ORDINARY or t in PARTICLES or len(t) < 3 for t in tokens):
            return ANYWHERE
        if tokens[0] not in PARTICLES or tokens[-1] in PARTICLES or len(tokens[-1]) < 3:
            return CAPITAL
        return ANYWHERE if tokens[0] in _ROMANCE and tokens[1] in PARTICLES else WHOLE
    token = tokens[0]
    if len(token) < 2 or token in PARTICLES or token in FUNCTION_WORDS:
        return BESIDE
    if len(token) == 2 or token in ORDINARY:
        return CONTEXT
    return CAPITAL if len(token) == 3 else ANYWHERE


def care_of_place(tokens: tuple[str, ...], *, town: bool) -> int:
    """Say with what care a town's or a street's folded tokens are taken.

    >>> [care_of_place((name,), town=True) for name in ("potsdam", "york", "normal", "ulm")]
    [0, 2, 3, 3]
    """
    if len(tokens) != 1 or not town:
        return WHOLE if care_of(tokens) == CAPITAL else care_of(tokens)
    [token] = tokens
    if len(token) < 3 or care_of(tokens) == BESIDE:
        return BESIDE
    if not token.isalpha():
        return BESIDE if len(token) < 4 else ANYWHERE
    if len(token) == 3:
        return CONTEXT
    if is_rarely_a_word(token):
        return CAPITAL
    if care_of(tokens) != ANYWHERE or is_word_and_town(token):
        return CONTEXT
    return ANYWHERE if len(token) > 5 or ends_like_a_town(token) else CAPITAL


def settle(text: str, hits: list[Hit]) -> list[Span]:
    """Decide on what needs a capital or a neighbour, and put a name's parts together.

    Args:
        text: where the hits stand.
        hits: sorted; where a long phrase is in doubt, its words are hits, too.
    """
    shouted = not any(letter.islower() for letter in text)
    sure = [_is_sure(text, *hit, shouted=shouted) for hit in hits]
    order = [*range(1, len(hits)), *reversed(range(len(hits) - 1)), *range(1, len(hits))]
    for index in order:  # a neighbour makes sure, and its own neighbour in turn
        for other in (index - 1, index + 1):
            if 0 <= other < len(hits) and sure[other] and not sure[index]:
                first, second = sorted((hits[index], hits[other]))
                alike = hits[index][2] == hits[other][2] and not _repeats(text, first, second)
                # An initial has a point; behind any other one, a sentence begins.
                apart = first[1] - first[0] > 2 and text.startswith(". ", first[1])
                sure[index] = alike and not apart and _near(text, first[1], second[0])
    spans: list[Span] = []
    for (start, end, tag, _), taken in zip(hits, sure, strict=True):
        if not taken:
            continue
        if spans and start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]), spans[-1][2])
        elif spans and tag == spans[-1][2] != ID and _near(text, spans[-1][1], start):
            spans[-1] = (spans[-1][0], end, tag)
        else:
            spans.append((start, end, tag))
    return spans


def _is_sure(text: str, start: int, end: int, tag: str, care: int, *, shouted: bool) -> bool:
    if care == ANYWHERE or (tag == NAME and stands_after_title(text, start)):
        return True
    if tag == ADDRESS and text[start].isdigit():
        return care == CAPITAL and text[start:end].lstrip("0123456789 ")[:1].isupper()
    if care == BESIDE:
        return False
    if tag == ADDRESS and care in (CAPITAL, CONTEXT):
        return names_place(text, start, end, ordinary=care == CONTEXT)
    particle, capital = _begins(text[start:end])
    if not capital:
        return tag == NAME and particle and stands_after_label(text, start)
    if care == CAPITAL:
        return not shouted or names_somebody(text, start, end, ordinary=False)
    return care == WHOLE or names_somebody(text, start, end)


def _repeats(text: str, first: Hit, second: Hit) -> bool:
    """Say whether a town stands there twice, of which neither tells of the other."""
    same = fold_word(text[first[0] : first[1]]) == fold_word(text[second[0] : second[1]])
    return same and first[2] == ADDRESS


def _begins(words: str) -> tuple[bool, bool]:
    """Say whether a particle comes first, and whether what is none begins with a capital."""
    found = _WORD.findall(words) or [words]
    bare = [word for word in found[:-1] if fold_word(word) not in PARTICLES] + found[-1:]
    return len(found) > 1 and bare[0] != found[0], bare[0][:1].isupper()


def _near(text: str, end: int, start: int) -> bool:
    return (
        start - end <= WIDEST_GAP
        and _BETWEEN_NAMES.fullmatch(text, end, max(start, end)) is not None
    )
