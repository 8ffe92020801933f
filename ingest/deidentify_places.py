"""Write an address in the ways that it is typed: as folded tokens, each way once.

streets       17 Elm Street, 17 Elm St, and without either word as long as the number stands
directions    1200 North Main, 1200 N Main, 1200 Main
saints        St. Louis, Saint Louis; Mt. Vernon, Fort Worth
PO boxes      PO Box 991, P.O. Box 991, POB 991, Post Office Box 991
postal codes  63101-1234, 631011234, 63101; SW1A 2AA, SW1A2AA; D-30916, 30916
"""

import re
from collections.abc import Iterator

from ingest.deidentify_fold import tokens_of

__all__ = ["spell_line", "spell_postal_code", "spell_town"]

_STREETS = {
    "street": "st",
    "avenue": "ave",
    "road": "rd",
    "boulevard": "blvd",
    "lane": "ln",
    "drive": "dr",
    "court": "ct",
    "highway": "hwy",
    "parkway": "pkwy",
    "place": "pl",
    "square": "sq",
    "terrace": "ter",
    "circle": "cir",
    "apartment": "apt",
    "suite": "ste",
    "strasse": "str",
}
_LONG_STREETS = {short: long for long, short in _STREETS.items()}
_SUFFIXES = frozenset([*_STREETS, *_STREETS.values(), "way"]) - {"apartment", "apt", "suite", "ste"}
_DIRECTIONS = {"north": "n", "south": "s", "east": "e", "west": "w"}
_DIRECTIONS |= {"northeast": "ne", "northwest": "nw", "southeast": "se", "southwest": "sw"}
_LONG_DIRECTIONS = {short: long for long, short in _DIRECTIONS.items()}
_SAINTS = {"saint": "st", "sainte": "ste", "mount": "mt", "fort": "ft", "sankt": "st"}
_LONG_SAINTS = {"st": "saint", "ste": "sainte", "mt": "mount", "ft": "fort"}
_FLATS = frozenset(["apt", "apartment", "flat", "floor", "suite", "ste", "unit", "wohnung", "whg"])
_PO_BOX = re.compile(r"(?:po|p o|post office|postal) ?box (\w+)|pob (\w+)|postfach (\w+)")
_BOXES = ("po box", "p o box", "pobox", "pob", "p o b", "post office box", "postal box", "box")

Tokens = tuple[str, ...]


def spell_line(line: str) -> Iterator[tuple[Tokens, bool]]:
    """Give the ways to write an address's line, and of each whether it tells without its number.

    >>> [" ".join(way) for way, _ in spell_line("1200 N. Main St.")][:3]
    ['1200 n main st', '1200 north main st', '1200 n main street']
    >>> [" ".join(way) for way, alone in spell_line("1200 N. Main St.") if not alone]
    ['1200 main st', '1200 main street', '1200 n main', '1200 north main', '1200 main']
    >>> [" ".join(way) for way, _ in spell_line("P.O. Box 991")][:4]
    ['p o box 991', 'po box 991', 'pobox 991', 'pob 991']
    """
    tokens = tokens_of(line)
    box = _PO_BOX.fullmatch(" ".join(tokens))
    if box is not None:
        number = next(filter(None, box.groups()))
        for way in dict.fromkeys([tokens, *((*kind.split(), number) for kind in _BOXES)]):
            yield way, False
        return
    named = [way for flat in (tokens, _without_flat(tokens)) for way in _saints(flat)]
    full = [way for given in named for way in _suffixes(given)]
    whole = dict.fromkeys(way for given in full for way in _directions(given))
    yield from ((way, True) for way in whole)
    bare = [_without_direction(way) for way in full]
    for given in named:
        short = _without_suffix(given)
        bare += [*_directions(short), _without_direction(short)]
    yield from ((way, False) for way in dict.fromkeys(bare) if way and way not in whole)


def spell_town(town: str) -> Iterator[Tokens]:
    """Give the ways to write a town.

    >>> list(spell_town("St. Louis"))
    [('st', 'louis'), ('saint', 'louis')]
    >>> list(spell_town("Halle (Saale)"))
    [('halle', 'saale'), ('halle',)]
    """
    bare = re.split(r"\s*[(/]", town)[0]
    yield from dict.fromkeys(
        way for name in (town, bare) for way in _saints(tokens_of(name)) if way
    )


def spell_postal_code(code: str) -> Iterator[Tokens]:
    """Give the ways to write a postal code.

    >>> list(spell_postal_code("63101-1234")), list(spell_postal_code("SW1A2AA"))
    ([('63101', '1234'), ('631011234',), ('63101',)], [('sw1a2aa',), ('sw1a', '2aa')])
    """
    tokens = tokens_of(code)
    glued = "".join(tokens)
    ways = [tokens, (glued,)]
    american = re.fullmatch(r"(\d{5})\d{4}", glued)
    country = re.fullmatch(r"[a-z]{1,3}(\d{4,6})", glued)
    ways += [(found[1],) for found in (american, country) if found is not None]
    # British and Canadian codes have three characters at their end, Dutch ones two letters.
    parts = re.fullmatch(r"([a-z]{1,2}\d[a-z\d]?)(\d[a-z]{2}|[a-z]?\d[a-z]\d)", glued)
    parts = parts or re.fullmatch(r"(\d{4})([a-z]{2})", glued)
    if parts is not None:
        ways.append(parts.groups())
    yield from (way for way in dict.fromkeys(ways) if "".join(way))


def _without_flat(tokens: Tokens) -> Tokens:
    """Leave out a flat's number, which stands behind the street or before it."""
    if len(tokens) > 3 and tokens[0] in _FLATS:
        return tokens[2:]
    places = [n for n, token in enumerate(tokens) if token in _FLATS and n > 1]
    return tokens[: places[0]] if places else tokens


def _saints(tokens: Tokens) -> list[Tokens]:
    """Write out or cut short what stands before a saint's name, or a mount's."""
    places = range(len(tokens) - 1)
    return [
        tokens,
        *(
            (*(names.get(tokens[n], tokens[n]) for n in places), *tokens[-1:])
            for names in (_SAINTS, _LONG_SAINTS)
        ),
    ]


def _suffixes(tokens: Tokens) -> list[Tokens]:
    """Write out and cut short what says that it is a street."""
    glued = (re.sub("(?<=[a-z])strasse$", "str", token) for token in tokens)
    short = tuple(_STREETS.get(token, token) for token in glued)
    last = _suffix(tokens)
    glued = (re.sub("(?<=[a-z]{3})str$", "strasse", token) for token in tokens)
    long = tuple(_LONG_STREETS.get(t, t) if n == last else t for n, t in enumerate(glued))
    return [tokens, long, short]


def _suffix(tokens: Tokens) -> int:
    """Find the last word that says so, and does not begin the name; -1 where there is none."""
    first = 2 if tokens and tokens[0][0].isdigit() else 1
    places = [n for n, token in enumerate(tokens) if token in _SUFFIXES and n >= first]
    return max(places, default=-1)


def _directions(tokens: Tokens) -> list[Tokens]:
    """Write out and cut short in which part of a street it is."""
    if not tokens or not tokens[0][0].isdigit():
        return [tokens]
    return [
        tokens,
        tuple(_LONG_DIRECTIONS.get(token, token) for token in tokens),
        tuple(_DIRECTIONS.get(token, token) for token in tokens),
    ]


def _without_suffix(tokens: Tokens) -> Tokens:
    last = _suffix(tokens)
    return _if_named(tokens[:last] + tokens[last + 1 :]) if last > 0 else ()


def _without_direction(tokens: Tokens) -> Tokens:
    kept = (t for t in tokens if t not in _DIRECTIONS and t not in _LONG_DIRECTIONS)
    return _if_named(tuple(kept))


def _if_named(tokens: Tokens) -> Tokens:
    """Give what has a number and a name, or nothing."""
    named = any(token[0].isalpha() and token not in _SUFFIXES for token in tokens)
    return tokens if named and tokens[0][0].isdigit() else ()
