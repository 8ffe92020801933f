"""Scrub a text: what is known of the patient, what looks like an identifier, and dates.

Each find is a span of the text and what goes there. Where two overlap, the surer one stands, and
what is left of the other goes too. A text in which nothing is found stays as it is, to the byte.

A code is read part by part (`TEXT//SEEN BY DR. DOE`, `LOCAL//12345678`): words as a note is; a code
of a standard system against what is known alone; any other against that and what no code looks
like, since eight digits may well be one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from ingest.deidentify_date_languages import FOREIGN_MONTHS, find_foreign_dates
from ingest.deidentify_date_lists import ORDINALS, find_date_lists, find_worded_dates
from ingest.deidentify_date_numbers import find_compact_dates, find_dates, find_plain_dates
from ingest.deidentify_date_pairs import find_date_pairs, find_order
from ingest.deidentify_date_ranges import find_date_ranges
from ingest.deidentify_dates import DATE, DateStyle
from ingest.deidentify_digits import find_near_digits, has_digits, has_login
from ingest.deidentify_fold import Folded, fold, tokens_of
from ingest.deidentify_patterns import find_after_words, find_likely, find_long_numbers, find_sure
from ingest.deidentify_terms import NAME, Span, Terms
from ingest.deidentify_unspaced import has_unspaced

__all__ = ["Scrubber"]

_STANDARD = frozenset(
    [
        *("LOINC", "SNOMED", "RXNORM", "ICD10CM", "ICD10", "ICD9CM", "ICD9PROC", "ICD10PCS"),
        *("ICD11", "ICD10GM", "OPS", "CVX", "NDC", "CPT", "HCPCS", "ATC", "DCM", "RADLEX", "UNII"),
    ]
)
"""Prefixes of codes.py whose codes are everybody's."""

_WORDS = frozenset(["TEXT", "TRANSFER"])
"""Prefixes behind which stand words, cut after so many characters."""

_CUT = 60
_SHORT = 200  # texts that come again and again are looked at once


@dataclass(kw_only=True)
class Scrubber:
    """Scrub what is written of one subject."""

    terms: Terms
    """What is known of the subject."""

    staff: Terms = field(default_factory=Terms)
    """Whole names of everybody who works there."""

    style: DateStyle

    birth_years: frozenset[int] = frozenset()
    """Years that are hidden, since with them one is known to be over 89."""

    def scrub(self, text: str, *, year: int | None = None, month_first: bool = False) -> str:
        """Scrub free text.

        >>> known = Terms()
        >>> known.add_name(["Jane"], "Doe")
        >>> who = Scrubber(terms=known, style=DateStyle(days=1))
        >>> who.scrub("DOE, Jane, seen 2024-03-01 by Dr. Patel: 5 mg, BP 120/80, MRN 0012345.")
        '[NAME], seen 2024-03-02 by Dr. [NAME]: 5 mg, BP 120/80, MRN [ID].'

        Args:
            text: whatever somebody wrote.
            year: when it was written, for dates without a year.
            month_first: how dates such as `3/4/2024` are read where nothing shows it.
        """
        style = replace(self.style, year=year, month_first=month_first)
        seen = _look(text)
        known = self._find_known(seen)
        if (
            not known
            and not seen.suspicious
            and not (seen.dated and (style.reads or self.birth_years))
        ):
            return text
        return _replaced(text, [*known, *self._find_in_words(seen, style)])

    def is_identifier(self, number: str) -> bool:
        """Say whether a whole number is one of the patient's, or the birth date where dates go."""
        return number in self.terms or (self.style.reads and number in self.terms.births)

    def scrub_coded(self, text: str) -> str:
        """Scrub what is a code or was written by a program."""
        seen = _look(text)
        known = self._find_known(seen)
        return _replaced(text, [*known, *self._find_in_code(seen.folded)])

    def scrub_code(self, code: str, display: str | None) -> str:
        """Scrub a code of the store, part by part; `display` is what it is called.

        A part that is the display in capitals follows it, so that a name that was cut off in the
        code goes with the name.
        """
        seen = _look(code)
        known = self._find_known(seen)
        parts = code.split("//")
        if not known and not seen.has_digits and not _WORDS & set(parts):
            return code
        spans, place = list(known), 0
        for before, part in zip(["", *parts], parts, strict=False):
            end = place + len(part)
            if before in _WORDS:
                spans = [span for span in spans if span[1] <= place or span[0] >= end]
                spans.append((place, end, self._scrub_cut(part, display)))
            elif before in _STANDARD:
                # A resource may have a code for its id, but no patient has.
                if "".join(tokens_of(part)) not in self.terms.own:
                    spans = [span for span in spans if span[1] <= place or span[0] >= end]
            else:
                # Of so many short numbers, one will be the number of some visit or specimen.
                spans = [
                    span
                    for span in spans
                    if span[1] <= place
                    or span[0] >= end
                    or not self._is_chance(code[slice(*span[:2])])
                ]
                folded = fold(part)
                found = self._find_in_code(folded)
                spans += [(place + a, place + b, new) for a, b, new in found]
            place = end + 2
        return _replaced(code, spans)

    def _scrub_cut(self, part: str, display: str | None) -> str:
        """Scrub words of a code as their display is scrubbed, if they are its words."""
        for words in _pieces(display):
            if _shorten(words) == part:
                return _shorten(self.scrub(words))
        if len(part) >= _CUT:
            part = part.rpartition(" ")[0]
        return self.scrub(part).replace("//", "/")

    def _find_known(self, seen: "_Seen") -> list[Span]:
        found: list[Span] = []
        for known in (self.terms, self.staff):
            inside = seen.unspaced and known.unspaced
            if seen.broken or inside or not seen.words.isdisjoint(known.phrases):
                found += known.find(seen.folded)
            elif seen.has_digits and known.digits:
                found += known.find_numbers(seen.folded)
        return found

    def _is_chance(self, text: str) -> bool:
        own = self.terms.own | self.terms.own_numbers
        return text.isdigit() and len(text) < 8 and text not in own

    def _find_in_words(self, seen: "_Seen", style: DateStyle) -> Iterator[Span]:
        text, plain = seen.folded, seen.folded.plain
        dated = style.reads
        for found in (
            find_sure(plain),
            self._find_dates(seen, style) if dated else (),
            find_likely(plain),
            find_compact_dates(plain, style) if dated else (),
            self._find_births(plain) if dated else (),
            find_long_numbers(plain),
        ):
            for start, end, new in found:
                yield (*text.in_plain(start, end), new)

    def _find_dates(self, seen: "_Seen", style: DateStyle) -> Iterator[Span]:
        plain = seen.folded.plain
        order = find_order(plain, style.year)
        if order is not None:  # one order for all dates of a text
            style = replace(style, month_first=order)
        foreign = seen.unspaced or not seen.words.isdisjoint(FOREIGN_MONTHS)
        yield from find_date_ranges(plain, style, foreign=foreign)
        yield from find_date_lists(plain, style)
        if not seen.words.isdisjoint(ORDINALS):
            yield from find_worded_dates(plain, style)
        if foreign:
            yield from find_foreign_dates(plain, style)
        yield from find_dates(plain, style)
        yield from find_date_pairs(plain, style)
        for year in self.birth_years:
            for m in re.finditer(rf"(?<![\w.,-]){year}(?![\w-]|[.,]\d)", plain):
                yield (*m.span(), DATE)

    def _find_births(self, plain: str) -> Iterator[Span]:
        """Give the birth date where it is written as no other date is."""
        for m in find_near_digits(_BIRTH, plain, before=0) if self.terms.births else ():
            if re.sub(r"\D", "", m[0]) in self.terms.births:
                yield (*m.span(), DATE)

    def _find_in_code(self, text: Folded) -> Iterator[Span]:
        plain = text.plain
        dated = self.style.reads
        for found in (
            find_sure(plain, coded=True),
            find_plain_dates(plain, self.style) if dated else (),
            self._find_births(plain) if dated else (),
            find_after_words(plain),
        ):
            for start, end, new in found:
                yield (*text.in_plain(start, end), new)


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """Hold what is worth knowing of a text whosoever it is of."""

    folded: Folded
    words: frozenset[str]
    broken: bool
    """Whether words are broken over lines, spaced out or have digits behind them."""

    unspaced: bool
    """Whether there are letters of a script without word breaks."""

    has_digits: bool
    dated: bool
    """Whether a date may stand there: with digits, or in words."""

    suspicious: bool
    """Whether there is anything that looks like an identifier."""


_BIRTH = re.compile(r"(?<![\d.,])\d{1,4}[ ._/-]?\d\d[ ._/-]?\d{2,4}(?!\d|[.,]\d)")


def _look(text: str) -> _Seen:
    return _look_again(text) if len(text) <= _SHORT else _look_once(text)


def _look_once(text: str) -> _Seen:
    folded = fold(text)
    words = folded.words()
    digits, unspaced = has_digits(folded.plain), has_unspaced(folded.folded)
    # What is long comes once, and is looked through when it is scrubbed.
    finders = (find_sure, find_likely, find_long_numbers)
    return _Seen(
        folded=folded,
        words=frozenset(words | {word[:-1] for word in words if word[-1] == "s"}),
        broken=bool(folded.joined_tokens()) or has_login(folded.folded),
        unspaced=unspaced,
        has_digits=digits,
        dated=digits or unspaced or not words.isdisjoint(ORDINALS),
        suspicious=len(text) > _SHORT or any(True for find in finders for _ in find(folded.plain)),
    )


_look_again = lru_cache(maxsize=1 << 14)(_look_once)


def _pieces(display: str | None) -> Iterator[str]:
    """Give a display, and of "question: answer" each of the two."""
    if display:
        yield display
        for m in re.finditer(": ", display):
            yield display[: m.start()]
            yield display[m.end() :]


def _shorten(words: str) -> str:
    """Write words as codes.py and Encounter.sql do."""
    return " ".join(words.split())[:_CUT].upper().replace("//", "/")


def _replaced(text: str, spans: list[Span]) -> str:
    """Put each span's words in its place; the first of two that overlap stands."""
    if not spans:
        return text
    taken = bytearray(len(text))
    chosen: list[Span] = []
    for start, end, new in spans:
        if not any(taken[start:end]):
            chosen.append((start, end, new))
        elif new != NAME:
            # What is left of a number or an address is still a part of one.
            tag = new if new.startswith("[") else DATE
            chosen += [(a, b, tag) for a, b in _gaps(taken, start, end) if _says(text[a:b])]
        taken[start:end] = b"\1" * (end - start)
    out, at, last = [], 0, ""
    for start, end, new in sorted(chosen):
        if start > at or new != last or not new.startswith("["):  # one tag for parts side by side
            out += [text[at:start], new]
        at, last = end, new
    return "".join(out) + text[at:]


def _gaps(taken: bytearray, start: int, end: int) -> Iterator[tuple[int, int]]:
    at = start
    while at < end:
        begin = taken.find(b"\0", at, end)
        if begin < 0:
            return
        at = taken.find(b"\1", begin, end)
        at = end if at < 0 else at
        yield begin, at


def _says(text: str) -> bool:
    return any(letter.isalnum() for letter in text)
