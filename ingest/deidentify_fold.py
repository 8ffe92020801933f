"""Fold a text so that one name is found however it is typed, and say where in the text it stands.

Two views of a text, each with the places of its characters in the text itself:

    plain    typography made plain: no soft hyphens or zero-width signs, one kind of dash, quote,
             space and digit; upper and lower case and accents stay
    folded   plain in lower case without accents: "MÜLLER" and "müller" are both "muller"

A token is a run of letters and digits in the folded view.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

__all__ = ["Folded", "Token", "fold", "fold_word", "spellings", "tokens_of"]

_TOKEN = re.compile(r"[^\W_]+")
_BROKEN_WORD = re.compile(r"-\s{1,4}(?=[^\W\d_])")
_SPACED_WORD = re.compile(r"(?<![^\W_])(?:[^\W\d_][ .\-]{1,2}){3,}[^\W\d_](?![^\W_])")
_PIECE = re.compile(r"[\x00-\x7f]+|[^\x00-\x7f]")
_VARIANTS = frozenset(map(chr, [0x34F, 0x180E, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))
"""Signs that change how their neighbour looks, and are no format characters (Cf)."""
_PLAIN = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-"),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u02b9\u00b4\u2032\uff07`", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"'),
}
_LETTERS = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th"}
_LETTERS["ı"] = "i"
_UMLAUTS = (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("Ä", "Ae"), ("Ö", "Oe"), ("Ü", "Ue"))


Token = tuple[str, int, int]
"""What a token says, and where it begins and ends in the text itself."""


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Hold the two views of a text; of plain ASCII, places are the characters' own."""

    text: str
    plain: str
    folded: str
    plain_places: Sequence[int] | None
    """Where each character of `plain` stands in `text`, and the length of `text` at the end."""

    folded_places: Sequence[int] | None

    def in_plain(self, start: int, end: int) -> tuple[int, int]:
        """Turn a span of `plain` into one of `text`."""
        return _span(self.plain_places, start, end)

    def in_folded(self, start: int, end: int) -> tuple[int, int]:
        """Turn a span of `folded` into one of `text`."""
        return _span(self.folded_places, start, end)

    @cached_property
    def tokens(self) -> list[Token]:
        """List the tokens, in order."""
        found = _TOKEN.finditer(self.folded)
        if self.folded_places is None:
            return [(m[0], m.start(), m.end()) for m in found]
        return [(m[0], *self.in_folded(*m.span())) for m in found]

    def words(self) -> set[str]:
        """Give what the tokens say; a tenth of the work where nothing of it is looked for."""
        return set(_TOKEN.findall(self.folded))

    def joined_tokens(self) -> list[Token]:
        r"""List words that are broken over lines or spaced out, put together.

        >>> [word for word, _, _ in fold("Mrs. Med-\nhurst, S M I T H").joined_tokens()][:2]
        ['medhurst', 'smith']
        """
        found: list[Token] = []
        for broken in _BROKEN_WORD.finditer(self.folded):
            if not self.folded[max(0, broken.start() - 1) : broken.start()].isalpha():
                continue
            before, after = _word_before(self.folded, broken.start()), broken.end()
            rest = _TOKEN.match(self.folded, after)
            if rest is not None:
                word = self.folded[before : broken.start()] + rest[0]
                found.append((word, *self.in_folded(before, rest.end())))
        for spaced in _SPACED_WORD.finditer(self.folded):
            places = [n for n in range(*spaced.span()) if self.folded[n].isalpha()]
            # A letter of its own may stand before or behind: "Jane's S M I T H", "J. S M I T H".
            for first, last in ((0, 0), (1, 0), (2, 0), (0, 1), (1, 1)):
                kept = places[first : len(places) - last]
                word = "".join(self.folded[n] for n in kept)
                found.append((word, *self.in_folded(kept[0], kept[-1] + 1)))
        return found


def fold(text: str) -> Folded:
    """Give a text's two views.

    >>> seen = fold("Frau Mu\u0308l\u00adler, geb. Groß")
    >>> seen.plain, seen.folded
    ('Frau Müller, geb. Groß', 'frau muller, geb. gross')
    >>> [seen.text[a:b] == "Mu\u0308l\u00adler" for _, a, b in seen.tokens][1]
    True
    """
    if text.isascii():
        same = text.replace("`", "'")
        return Folded(
            text=text, plain=same, folded=same.lower(), plain_places=None, folded_places=None
        )
    plain: list[str] = []
    plain_places: list[int] = []
    folded: list[str] = []
    folded_places: list[int] = []
    for piece in _PIECE.finditer(text):
        place, words = piece.start(), piece[0]
        if words.isascii():
            plain.append(words.replace("`", "'"))
            folded.append(plain[-1].lower())
            plain_places.extend(range(place, piece.end()))
            folded_places.extend(range(place, piece.end()))
            continue
        said, lower = _views_of(words)
        if said and plain and plain[-1] and unicodedata.combining(words):
            # An accent that is typed by itself joins the letter that it stands on.
            both = unicodedata.normalize("NFC", plain[-1][-1] + words)
            if len(both) == 1:
                plain[-1] = plain[-1][:-1] + both
                continue
        plain.append(said)
        folded.append(lower)
        plain_places.extend([place] * len(said))
        folded_places.extend([place] * len(lower))
    plain_places.append(len(text))
    folded_places.append(len(text))
    return Folded(
        text=text,
        plain="".join(plain),
        folded="".join(folded),
        plain_places=plain_places,
        folded_places=folded_places,
    )


def fold_word(word: str) -> str:
    """Fold a word or a name.

    >>> fold_word("O\u2019Keéfe")
    "o'keefe"
    """
    return fold(word).folded


def tokens_of(words: str) -> tuple[str, ...]:
    """List the folded tokens of a few words.

    >>> tokens_of("O'Keefe-Müller")
    ('o', 'keefe', 'muller')
    """
    return tuple(_TOKEN.findall(fold_word(words)))


def spellings(words: str) -> list[str]:
    """Give a name as it is and as it is typed without umlauts, and the other way round.

    >>> spellings("Müller"), spellings("Mueller")
    (['Müller', 'Mueller'], ['Mueller', 'Muller'])
    """
    if not words.strip():
        return []
    spelled = words
    for letter, typed in _UMLAUTS:
        spelled = spelled.replace(letter, typed)
    back = re.sub("(?i)(a|o|u)e", r"\1", words)
    return list(dict.fromkeys([words, spelled, back]))


@lru_cache(maxsize=1 << 16)
def _views_of(letter: str) -> tuple[str, str]:
    if letter in _VARIANTS or unicodedata.category(letter) == "Cf":
        return "", ""
    if letter in _PLAIN:
        return _PLAIN[letter], _PLAIN[letter]
    if letter.isspace():
        kept = letter if letter in "\t\n\r" else "\n" if letter in "\u2028\u2029\x85\v\f" else " "
        return kept, kept
    plain = unicodedata.normalize("NFKC", letter)
    if letter.isdigit() and not plain.isascii():
        plain = str(unicodedata.digit(letter))
    parts = unicodedata.normalize("NFKD", plain.lower())
    bare = "".join(part for part in parts if not unicodedata.combining(part))
    return plain, "".join(_LETTERS.get(part, part) for part in bare)


def _span(places: Sequence[int] | None, start: int, end: int) -> tuple[int, int]:
    if places is None:
        return start, end
    # Up to where the next one begins, so that an accent or soft hyphen goes with its letter.
    return places[start], places[end] if places[end] > places[end - 1] else places[end - 1] + 1


def _word_before(text: str, end: int) -> int:
    start = end
    while start and (text[start - 1].isalnum()):
        start -= 1
    return start
