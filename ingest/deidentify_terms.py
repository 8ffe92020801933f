"""Find in a text what is known of a patient: names, addresses, numbers, in whatever way typed.

What is known becomes phrases of folded tokens (deidentify_fold.py), looked up by their first token:
no pattern is compiled for anybody, and a text that shares no token with them costs one look. A name
is found in any case, with or without accents (Müller, MUELLER, Muller), hyphenated or not, broken
over lines, spaced out, as "Last, First", with initials beside it, and run together (janedoe, jdoe).

Not every token of a name can go wherever it stands, so there are five degrees of care:

    ANYWHERE   most names, addresses, and numbers of five characters or more
    WHOLE      a given and the family name side by side: with a capital
    CAPITAL    names of three letters: only with a capital, and in a text of capitals only beside
               another name
    CONTEXT    names that are ordinary words (May, Long, Stone) or have two letters (Li): only where
               deidentify_context.py says that somebody is named, or beside another name
    BESIDE     names of one letter, particles (van, de), pronouns and the like (He, An), and
               initials: only beside a name, or after a title

What is shorter than four characters, and has no keyword before it, is not found as an identifier.
"""

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise

from ingest.deidentify_context import FUNCTION_WORDS, names_somebody, stands_after_title
from ingest.deidentify_fold import Folded, Token, fold_word, spellings, tokens_of
from ingest.deidentify_numbers import find_known_numbers
from ingest.deidentify_places import spell_line, spell_postal_code, spell_town
from ingest.deidentify_unspaced import Unspaced
from ingest.deidentify_words import (
    NOBODY,
    ORDINARY,
    PARTICLES,
    TITLES,
    find_eponym,
)

__all__ = ["ADDRESS", "CONTACT", "ID", "NAME", "Span", "Terms"]

NAME, ADDRESS, CONTACT, ID = "[NAME]", "[ADDRESS]", "[CONTACT]", "[ID]"

_ANYWHERE, _WHOLE, _CAPITAL, _CONTEXT, _BESIDE = range(5)
_WIDEST_GAP = 3
_BETWEEN_NAMES = re.compile(r"[\s.,;'\"()/_\-]*")

Span = tuple[int, int, str]
"""Where in the text, and the tag that goes there."""


@dataclass(frozen=True, kw_only=True)
class _Phrase:
    rest: tuple[str, ...]
    tag: str
    care: int


@dataclass(kw_only=True)
class Terms:
    """Hold what is known of one subject."""

    phrases: dict[str, dict[tuple[str, ...], _Phrase]] = field(default_factory=dict)
    """By first token and by what follows it."""

    lengths: dict[str, list[int]] = field(default_factory=dict)
    """How many tokens follow a first one, the most first."""

    digits: dict[str, str] = field(default_factory=dict)
    """Numbers of five digits and more, whatever groups they come in, with their tags."""

    own: set[str] = field(default_factory=set)
    """The patient's own identifiers: what they are in any place, even as a standard code."""

    own_numbers: set[str] = field(default_factory=set)
    """The longest numbers in them: "MRN-445566" is written 445566, too."""

    births: set[str] = field(default_factory=set)
    """Birth dates without separators, in any order of day, month and year."""

    initials: set[str] = field(default_factory=set)

    unspaced: Unspaced = field(default_factory=Unspaced)
    """What is written without word breaks."""

    def add_name(self, given: Sequence[str] = (), family: str = "") -> None:
        """Add a person's name; either part may be missing."""
        self.unspaced.add_name(given, family, NAME)
        firsts = [part for name in given for part in spellings(name)]
        lasts = spellings(family)
        for spelled in (*firsts, *lasts):
            self._add_words(spelled, NAME)
        for first in firsts:
            a = tokens_of(first)
            self.initials.update(part[0] for part in a if part[0].isalpha())
            for last in lasts:
                b = tokens_of(last)
                care = min(_care_of(a + b), _WHOLE) if a and b else _BESIDE
                self._add(a + b, NAME, care)
                self._add(b + a, NAME, care)
                for family in {b, *((part,) for part in b)} if a else ():
                    self._add_glued("".join(a), "".join(family))
        self.initials.update(part[0] for last in lasts for part in tokens_of(last)[:1])

    def add_whole_name(self, given: Sequence[str], family: str) -> None:
        """Add a name that counts only with its given and family name side by side."""
        self.unspaced.add_name(given[:1], family, NAME, whole=True)
        first, last = [], []
        if given:
            first = [tokens_of(spelled) for spelled in spellings(given[0])]
        last = [tokens_of(spelled) for spelled in spellings(family)]
        for a in filter(None, first):
            for b in filter(None, last):
                self._add(a + b, NAME, _care_of(a + b))
                self._add(b + a, NAME, _care_of(b + a))

    def add_words_of_name(self, words: str) -> None:
        """Add a name that is written in one piece, with or without titles."""
        bare = [
            part for part in re.split(r"[\s,]+", words) if fold_word(part).strip(".") not in TITLES
        ]
        if bare:
            self.add_name(bare[:-1], bare[-1]) if "," not in words else self.add_name(
                bare[1:], bare[0]
            )

    def add_place(self, lines: Iterable[str] = (), city: str = "", postal_code: str = "") -> None:
        """Add an address; state and country stay, as they tell little."""
        for line in lines:
            self.unspaced.add_place(line, ADDRESS)
            for spelled in spellings(line):
                for way, alone in spell_line(spelled):
                    self._add_line(way, alone=alone)
        self.unspaced.add_place(city, ADDRESS)
        for spelled in spellings(city):
            for tokens in spell_town(spelled):
                short = len(tokens) == 1 and len(tokens[0]) < 4
                self._add(tokens, ADDRESS, _BESIDE if short else _care_of(tokens))
        for code in spell_postal_code(postal_code):
            self._add(code + tokens_of(city), ADDRESS, _ANYWHERE if city else _BESIDE)
            self._add(code, ADDRESS, _ANYWHERE if len("".join(code)) >= 5 else _BESIDE)

    def add_contact(self, value: str) -> None:
        """Add a phone number, an e-mail address or a URL."""
        number = re.sub(r"\D", "", re.split(r"(?i)\s*(?:e?xt?\b|,|;|#|x\d)", value)[0])
        if "@" not in value and "//" not in value and len(number) >= 7:
            self._add_number(number)  # of "tel:+1 555 810 7203" and "… ext. 12", too
        if "@" in value or any(letter.isalpha() for letter in value.lower().partition("x")[0]):
            tokens = tokens_of(value)
            self._add(tokens, CONTACT, _ANYWHERE)
            mailbox = tokens_of(value.partition("@")[0])
            if "@" in value and len("".join(mailbox)) >= 5:
                self._add(mailbox, CONTACT, _care_of(mailbox))
        elif len(number) >= 5:
            self._add(tokens_of(value), CONTACT, _ANYWHERE)
            self._add_number(number)

    def _add_number(self, number: str) -> None:
        parts = {number, number.lstrip("0"), number[-10:], number[-7:]}
        self.digits |= {p: self.digits.get(p, CONTACT) for p in parts if len(p) >= 6}

    def add_birth(self, stated: str) -> None:
        """Add a birth date, for where it is written as no date usually is: `120350`, `DOB19500312`.

        >>> terms = Terms()
        >>> terms.add_birth("1950-03-12")
        >>> "12031950" in terms.births, "500312" in terms.births, "1950" in terms.births
        (True, True, False)
        """
        read = re.match(r"(\d{4})-(\d\d)-(\d\d)", stated)
        if read is not None:
            year, month, day = read.groups()
            for y in (year, year[2:]):
                self.births |= {y + month + day, day + month + y, month + day + y}

    def add_id(self, value: str, *, own: bool = False) -> None:
        """Add an identifier; one without a digit only where it is the patient's own."""
        value = value.strip().removeprefix("urn:uuid:").removeprefix("urn:oid:")
        value = value.rstrip("/").rpartition("/")[2] if "://" in value else value
        tokens = tokens_of(value)
        whole = "".join(tokens)
        if len(whole) < (5 if whole.isdigit() or whole.isalpha() else 4):
            return
        if whole.isalpha() and (not own or whole in ORDINARY):
            return
        if whole.isdigit():
            for part in (whole, whole.lstrip("0")):
                if len(part) >= 5:
                    self.digits[part] = ID
        if own:
            self.own.add(whole)
            number = max(re.findall(r"\d+", value), key=len, default="")
            if len(number) >= 6:
                self.own_numbers.add(number)
                self.digits[number] = ID
                self._add((number,), ID, _ANYWHERE)
        self._add(tokens, ID, _ANYWHERE)
        self._add((whole,), ID, _ANYWHERE)

    def add_met(self, other: "Terms", words: Set[str]) -> None:
        """Add the phrases of another that begin with one of some words."""
        for word in words & other.phrases.keys():
            for phrase in other.phrases[word].values():
                self._add((word, *phrase.rest), phrase.tag, phrase.care)
        self.unspaced.add_met(other.unspaced, words)

    def __bool__(self) -> bool:
        return bool(self.phrases or self.digits)

    def __contains__(self, number: object) -> bool:
        """Say whether a whole number is one of the identifiers.

        A short one must be the patient's own: one of thousands of records is numbered as a
        platelet count is, and "1200 Elm Street" makes no identifier of 1200.

        >>> terms = Terms()
        """
        said = str(number)
        if said in self.own or said in self.own_numbers:
            return True
        alone = () in self.phrases.get(said, ())
        return len(said) >= 7 and (said in self.digits or alone)

    def find(self, text: Folded) -> list[Span]:
        """List where what is known stands in a text, sorted, with the tags that go there."""
        tokens = text.tokens
        hits: list[tuple[int, int, str, int]] = []
        named = False
        phrases, done = self.phrases, 0
        for index, (word, start, after) in enumerate(tokens):
            # Most words begin nothing; those that end like a genitive or a login may hide a name.
            if word not in phrases and not (
                word[-1] in "0123456789" or (word[-1] == "s" and word[:-1] in phrases)
            ):
                continue
            found = self._longest(tokens, index) if index >= done else None
            if found is None:
                continue
            length, tag, care = found
            if length == 1 and tag == NAME and find_eponym(word, text.text, after):
                continue
            hits.append((start, tokens[index + length - 1][2], tag, care))
            named = named or tag == NAME or care == _BESIDE
            done = index + length
        for word, start, end in text.joined_tokens():
            phrase = self.phrases.get(word, {}).get(())
            if phrase is not None and phrase.care < _BESIDE:
                hits.append((start, end, phrase.tag, _ANYWHERE))
        hits += [(*span, _ANYWHERE) for span in self.find_numbers(text)]
        if self.unspaced:
            hits += [(*span, _ANYWHERE) for span in self.unspaced.find(text)]
        if named:
            hits += self._find_initials(text.text, tokens)
        return _settle(text.text, sorted(hits)) if hits else []

    def find_numbers(self, text: Folded) -> list[Span]:
        """List where known numbers stand, in whatever groups their digits are."""
        if not self.digits:
            return []
        found = find_known_numbers(text.plain, self.digits, self.own | self.own_numbers)
        return [(*text.in_plain(start, end), tag) for start, end, tag in found]

    def _longest(self, tokens: Sequence[Token], index: int) -> tuple[int, str, int] | None:
        word = tokens[index][0]
        listed = self.phrases.get(word)
        lengths = self.lengths.get(word, ())
        if listed is None:
            bare = word.rstrip("0123456789")  # a login: doe2
            if bare == word and word.endswith("s"):  # Müllers Tochter, the Millers
                bare = word[:-1]
            if 4 <= len(bare) < len(word) <= len(bare) + 8:
                phrase = self.phrases.get(bare, {}).get(())
                if phrase is not None and phrase.care == _ANYWHERE:
                    return 1, phrase.tag, phrase.care
            return None
        for length in lengths:
            run = tokens[index : index + length + 1]
            if len(run) <= length:
                continue
            phrase = listed.get(tuple(token[0] for token in run[1:]))
            if phrase is not None and all(
                after[1] - before[2] <= _WIDEST_GAP for before, after in pairwise(run)
            ):
                return length + 1, phrase.tag, phrase.care
        return None

    def _find_initials(self, text: str, tokens: Sequence[Token]) -> list[tuple[int, int, str, int]]:
        return [
            (start, end + (text[end : end + 1] == "."), NAME, _BESIDE)
            for word, start, end in tokens
            if len(word) == 1
            and text[start].isupper()
            and (word in self.initials or text[end : end + 1] == ".")
        ]

    def _add_words(self, words: str, tag: str) -> None:
        tokens = tokens_of(words)
        if not tokens:
            return
        if len(tokens) > 1:
            self._add(tokens, tag, _care_of(tokens))
            glued = "".join(tokens)
            if len(glued) >= 4 and glued not in ORDINARY:
                self._add((glued,), tag, _ANYWHERE)
        for token in tokens:
            if token not in NOBODY:  # "Patient_10000032"
                self._add((token,), tag, _care_of((token,)))

    def _add_glued(self, a: str, b: str) -> None:
        for glued in (a + b, b + a, a[:1] + b, b + a[:1]):
            if len(glued) >= 5 and glued not in ORDINARY:
                self._add((glued,), NAME, _ANYWHERE)

    def _add_line(self, tokens: tuple[str, ...], *, alone: bool) -> None:
        street = tuple(token for token in tokens if not token[0].isdigit())
        if len(tokens) > 1:
            # "12 Elm" is an address and "5 long" is none; "1200 elm" is one.
            plain = not alone and len(tokens[0]) < 3 and _care_of(street) != _ANYWHERE
            self._add(tokens, ADDRESS, _CAPITAL if plain else _ANYWHERE)
        if not alone:
            return
        if len(street) > 1 or (street and len(street[0]) >= 6):
            self._add(street, ADDRESS, _care_of(street))

    def _add(self, tokens: tuple[str, ...], tag: str, care: int) -> None:
        if not tokens or (len(tokens) == 1 and tokens[0].isdigit() and tag == NAME):
            return
        word, rest = tokens[0], tokens[1:]
        listed = self.phrases.setdefault(word, {})
        other = listed.get(rest)
        if other is None or care < other.care:
            listed[rest] = _Phrase(rest=rest, tag=tag, care=care)
        lengths = self.lengths.setdefault(word, [])
        if len(rest) not in lengths:
            lengths.append(len(rest))
            lengths.sort(reverse=True)


def _care_of(tokens: tuple[str, ...]) -> int:
    if len(tokens) != 1:
        # Two ordinary words in a row ("long day") are no name unless they have capitals.
        plain = all(t in ORDINARY or t in PARTICLES or len(t) < 3 for t in tokens)
        return _CAPITAL if plain else _ANYWHERE
    token = tokens[0]
    if len(token) < 2 or token in PARTICLES or token in FUNCTION_WORDS:
        return _BESIDE
    if len(token) == 2 or token in ORDINARY:
        return _CONTEXT
    return _CAPITAL if len(token) == 3 else _ANYWHERE


def _settle(text: str, hits: list[tuple[int, int, str, int]]) -> list[Span]:
    """Decide on what needs a capital or a neighbour, and put a name's parts together."""
    shouted = not any(letter.islower() for letter in text)
    sure = [_is_sure(text, *hit, shouted=shouted) for hit in hits]
    order = [*range(1, len(hits)), *reversed(range(len(hits) - 1)), *range(1, len(hits))]
    for index in order:  # a neighbour makes sure, and its own neighbour in turn
        for other in (index - 1, index + 1):
            if 0 <= other < len(hits) and sure[other] and not sure[index]:
                first, second = sorted((hits[index], hits[other]))
                alike = hits[index][2] == hits[other][2]
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
    if care == _ANYWHERE or (tag == NAME and stands_after_title(text, start)):
        return True
    if tag == ADDRESS and text[start].isdigit():
        return care == _CAPITAL and text[start:end].lstrip("0123456789 ")[:1].isupper()
    if not text[start].isupper() or care == _BESIDE:
        return False
    if care == _CAPITAL:
        return not shouted or names_somebody(text, start, end, ordinary=False)
    return care == _WHOLE or names_somebody(text, start, end)


def _near(text: str, end: int, start: int) -> bool:
    return (
        start - end <= _WIDEST_GAP
        and _BETWEEN_NAMES.fullmatch(text, end, max(start, end)) is not None
    )
