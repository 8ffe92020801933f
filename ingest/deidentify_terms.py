"""Find in a text what is known of a patient: names, addresses, numbers, in whatever way typed.

What is known becomes phrases of folded tokens (deidentify_fold.py), looked up by their first token:
no pattern is compiled for anybody, and a text that shares no token with them costs one look. A name
is found in any case, with or without accents (Müller, MUELLER, Muller), hyphenated or not, broken
over lines, spaced out, as "Last, First", with initials beside it, and run together (janedoe, jdoe).

With what care each goes is told in deidentify_certainty.py.

What is shorter than four characters, and has no keyword before it, is not found as an identifier.
"""

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise

from ingest.deidentify_certainty import (
    ADDRESS,
    ANYWHERE,
    BESIDE,
    CAPITAL,
    CONTACT,
    ID,
    NAME,
    WHOLE,
    WIDEST_GAP,
    Hit,
    Span,
    care_of,
    care_of_place,
    settle,
)
from ingest.deidentify_fold import Folded, Token, fold_word, spellings, tokens_of
from ingest.deidentify_numbers import find_known_numbers, is_measured
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
                care = min(care_of(a + b), WHOLE) if a and b else BESIDE
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
                self._add(a + b, NAME, care_of(a + b))
                self._add(b + a, NAME, care_of(b + a))

    def add_words_of_name(self, words: str) -> None:
        """Add a name that is written in one piece, with or without titles."""
        family, _, given = (_without_titles(part) for part in words.partition(","))
        if not given:  # "Jane Doe, MD"
            first = len(family) - 1
            while first > 0 and family[first - 1] == (lower := family[first - 1].lower()):
                if lower not in PARTICLES:
                    break
                first -= 1
            given, family = family[:first], family[first:]
        if family:
            self.add_name(given, " ".join(family))

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
                self._add(tokens, ADDRESS, care_of_place(tokens, town=True))
        for code in spell_postal_code(postal_code):
            self._add(code + tokens_of(city), ADDRESS, ANYWHERE if city else BESIDE)
            self._add(code, ADDRESS, ANYWHERE if len("".join(code)) >= 5 else BESIDE)

    def add_contact(self, value: str) -> None:
        """Add a phone number, an e-mail address or a URL."""
        number = re.sub(r"\D", "", re.split(r"(?i)\s*(?:e?xt?\b|,|;|#|x\d)", value)[0])
        if "@" not in value and "//" not in value and len(number) >= 7:
            self._add_number(number)  # of "tel:+1 555 810 7203" and "… ext. 12", too
        if "@" in value or any(letter.isalpha() for letter in value.lower().partition("x")[0]):
            tokens = tokens_of(value)
            self._add(tokens, CONTACT, ANYWHERE)
            mailbox = tokens_of(value.partition("@")[0])
            if "@" in value and len("".join(mailbox)) >= 5:
                self._add(mailbox, CONTACT, care_of(mailbox))
        elif len(number) >= 5:
            self._add(tokens_of(value), CONTACT, ANYWHERE)
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
            if whole.isdigit() and len(whole.lstrip("0")) >= 5:
                self.own_numbers.add(whole.lstrip("0"))
            number = max(re.findall(r"\d+", value), key=len, default="")
            for part in (number, number.lstrip("0")):
                if len(part) >= 6:
                    self.own_numbers.add(part)
                    self.digits[part] = ID
                    self._add((part,), ID, ANYWHERE)
        self._add(tokens, ID, ANYWHERE)
        self._add((whole,), ID, ANYWHERE)

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
        platelet count is, and "1200 Elm Street" makes no identifier of 1200. Zeros at its
        beginning are no part of a number, and without them it has five digits at least: who has
        the number 5 keeps all values of 5.

        >>> terms = Terms()
        >>> terms.add_id("00445566", own=True)
        >>> terms.add_id("00000005", own=True)
        >>> [number in terms for number in (445566, 5)]
        [True, False]
        """
        said = str(number)
        if said in self.own or said in self.own_numbers:
            return True
        alone = () in self.phrases.get(said, ())
        return len(said) >= 7 and (said in self.digits or alone)

    def find(self, text: Folded) -> list[Span]:
        """List where what is known stands in a text, sorted, with the tags that go there."""
        tokens = text.tokens
        hits: list[Hit] = []
        named = False
        phrases, done = self.phrases, 0
        for index, (word, start, after) in enumerate(tokens):
            # Most words begin nothing; those that end like a genitive or a login may hide a name.
            if word not in phrases and not (
                word[-1] in "0123456789" or (word[-1] == "s" and word[:-1] in phrases)
            ):
                continue
            for length, tag, care in self._found_at(tokens, index) if index >= done else ():
                if length == 1 and tag in (NAME, ADDRESS) and find_eponym(word, text.text, after):
                    continue
                hits.append((start, tokens[index + length - 1][2], tag, care))
                named = named or tag == NAME or care == BESIDE
                if care == ANYWHERE:  # else its words are looked for, too
                    done = index + length
        for word, start, end in text.joined_tokens():
            phrase = self.phrases.get(word, {}).get(())
            if phrase is not None and phrase.care < BESIDE:
                hits.append((start, end, phrase.tag, ANYWHERE))
        hits += [(*span, ANYWHERE) for span in self.find_numbers(text)]
        if self.unspaced:
            hits += [(*span, ANYWHERE) for span in self.unspaced.find(text)]
        if named:
            hits += self._find_initials(text.text, tokens)
        kept = [hit for hit in hits if hit[2] == NAME or not is_measured(text.text, *hit[:2])]
        return settle(text.text, sorted(kept)) if kept else []

    def find_numbers(self, text: Folded) -> list[Span]:
        """List where known numbers stand, in whatever groups their digits are."""
        if not self.digits:
            return []
        found = find_known_numbers(text.plain, self.digits, self.own | self.own_numbers)
        spans = [(*text.in_plain(start, end), tag) for start, end, tag in found]
        return [span for span in spans if not is_measured(text.text, *span[:2])]

    def _found_at(self, tokens: Sequence[Token], index: int) -> Iterator[tuple[int, str, int]]:
        """Give what begins at a token, the longest first, down to what is beyond doubt."""
        word = tokens[index][0]
        listed = self.phrases.get(word)
        lengths = self.lengths.get(word, ())
        if listed is None:
            bare = word.rstrip("0123456789")  # a login: doe2
            if bare == word and word.endswith("s"):  # Müllers Tochter, the Millers
                bare = word[:-1]
            if 4 <= len(bare) < len(word) <= len(bare) + 8:
                phrase = self.phrases.get(bare, {}).get(())
                if phrase is not None and phrase.care == ANYWHERE:
                    yield 1, phrase.tag, phrase.care
            return
        for length in lengths:
            run = tokens[index : index + length + 1]
            if len(run) <= length:
                continue
            phrase = listed.get(tuple(token[0] for token in run[1:]))
            if phrase is not None and all(
                after[1] - before[2] <= WIDEST_GAP for before, after in pairwise(run)
            ):
                yield length + 1, phrase.tag, phrase.care
                if phrase.care == ANYWHERE:
                    return

    def _find_initials(self, text: str, tokens: Sequence[Token]) -> list[Hit]:
        return [
            (start, end + (text[end : end + 1] == "."), NAME, BESIDE)
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
            self._add(tokens, tag, care_of(tokens))
            glued = "".join(tokens)
            if len(glued) >= 4 and glued not in ORDINARY:
                self._add((glued,), tag, ANYWHERE)
        for token in tokens:
            if token not in NOBODY:  # "Patient_10000032"
                self._add((token,), tag, care_of((token,)))

    def _add_glued(self, a: str, b: str) -> None:
        for glued in (a + b, b + a, a[:1] + b, b + a[:1]):
            if len(glued) >= 5 and glued not in ORDINARY:
                self._add((glued,), NAME, ANYWHERE)

    def _add_line(self, tokens: tuple[str, ...], *, alone: bool) -> None:
        street = tuple(token for token in tokens if not token[0].isdigit())
        if len(tokens) > 1:
            # "12 Elm" is an address and "5 long" is none; "1200 elm" is one.
            plain = not alone and len(tokens[0]) < 3 and care_of(street) != ANYWHERE
            self._add(tokens, ADDRESS, CAPITAL if plain else ANYWHERE)
        if not alone:
            return
        if len(street) > 1 or (street and len(street[0]) >= 6):
            self._add(street, ADDRESS, care_of_place(street, town=False))

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


def _without_titles(words: str) -> list[str]:
    parts = re.split(r"[\s,]+", words)
    return [part for part in parts if part and fold_word(part).strip(".") not in TITLES]
