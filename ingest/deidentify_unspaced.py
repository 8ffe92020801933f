"""Find names and addresses in scripts that are written without spaces: Han, kana, Hangul, Thai.

There "患者王小明诉" is one run of letters, so what is known is looked for inside runs, with spaces
and line breaks left out, and katakana as hiragana:

    family and given name, in either order     王小明
    a given or a family name alone             小明, 田中: of two characters and more
    a name of one character with a title       王先生, 김씨, 王さん: by itself 王 is in many words
    an address, and a town without its 市      文三路123号, 杭州

A given name or a place that is a word of many notes (健康, 대장) goes beside the family name or a
title alone. A name in Thai and its neighbours goes alone from four characters. Korean is written
with spaces, but its particles are not. Names in other characters than the record has (traditional
for simplified, 田中 for たなか) or in Latin letters are other names.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ingest.deidentify_fold import Folded, fold_word

__all__ = ["Unspaced", "has_unspaced"]

_THAI = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_HANGUL = r"\u1100-\u11ff\uac00-\ud7ff"
_HAN = r"\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LETTER = re.compile(f"[{_THAI}{_HANGUL}{_HAN}\u3040-\u30ff]")
_ALPHABETIC = re.compile(f"[{_THAI}]")
_WRITTEN_IN_ONE = re.compile(f"[{_HAN}]{{2,4}}|[\uac00-\ud7ff]{{2,4}}")
_FINAL = re.compile("[\u11a8-\u11ff]")  # of a Hangul syllable, which folding takes apart
_HIRAGANA = {n: n - 0x60 for n in range(0x30A1, 0x30F7)}
_TITLES = (
    *("先生", "女士", "小姐", "太太", "夫人", "同志", "某", "氏", "医生", "醫生", "大夫", "护士"),
    *("老师", "老師", "主任", "教授", "さん", "さま", "様", "殿", "くん", "君", "ちゃん", "医師"),
    *("씨", "님", "군", "양", "선생", "환자", "여사", "교수", "의사"),
)
_TOWNS = ("市", "区", "區", "县", "縣", "町", "村", "镇", "鎮", "시", "군", "구", "동")
_SMALL_TOWNS = ("동", "구", "군")  # what is left of two syllables is a word
_CLINICAL = frozenset(
    "大腸 大肠 대장 신장 간장 정상 高峰 細胞 细胞 健康 安定 正常 血管 心臓 心脏".split()  # noqa: SIM905
)
"""Words of any note: as a given name or a place they count beside a name or a title alone."""
_WIDEST_GAP = 3


@dataclass(kw_only=True)
class Unspaced:
    """Hold what is known of one subject in such scripts."""

    tags: dict[str, str] = field(default_factory=dict)
    """What is looked for, as it stands in a text without spaces, with the tag that goes there."""

    begins: dict[str, list[str]] = field(default_factory=dict)
    """The same by its first two characters, the longest first."""

    def __bool__(self) -> bool:
        return bool(self.tags)

    def add_name(self, given: Sequence[str], family: str, tag: str, *, whole: bool = False) -> None:
        """Add a person's name.

        >>> known = Unspaced()
        >>> known.add_name(["小明"], "王", "[NAME]")
        >>> [word in known.tags for word in ("王小明", "小明", "王先生", "王")]
        [True, True, True, False]

        Args:
            given: the given names.
            family: the family name, or a whole one.
            tag: what goes in its place.
            whole: whether it counts only with given and family name side by side.
        """
        firsts = [part for name in given for part in _parts(name)]
        lasts = _parts(family)
        if not firsts and not lasts:
            return
        first = "".join(firsts)
        for last in (*lasts, "".join(lasts)):
            for a in {first, *firsts} - {""}:
                for b in (last + a, a + last, f"{last},{a}"):
                    self._add(b, tag)
        if whole:
            return
        for part in {*firsts, *lasts, first, "".join(lasts)} - {""}:
            self._add_alone(part, tag)
        if not firsts and len(lasts) == 1 and _WRITTEN_IN_ONE.fullmatch(lasts[0]):
            # Where the family name ends is not told: 王小明, 田中太郎, 欧阳明.
            for cut in {1, 2} & set(range(1, len(lasts[0]))):
                self._add_alone(lasts[0][:cut], tag)
                self._add_alone(lasts[0][cut:], tag)

    def add_place(self, words: str, tag: str) -> None:
        """Add an address's line or a town."""
        if _LETTER.search(words) is None:
            return
        words = unicodedata.normalize("NFKC", words)
        town = words[:-1]
        if words not in _CLINICAL:
            self._add(words, tag)
        least = 3 if words.endswith(_SMALL_TOWNS) else 2
        if len(town) >= least and words.endswith(_TOWNS) and town not in _CLINICAL:
            self._add(town, tag)

    def add_met(self, other: "Unspaced", words: Iterable[str]) -> None:
        """Add what of another stands in one of some folded words."""
        for word in words if other else ():
            for _, _, needle in other._found(word.translate(_HIRAGANA)):
                self._keep(needle, other.tags[needle])

    def find(self, text: Folded) -> Iterator[tuple[int, int, str]]:
        """Give where what is known stands in a text, with the tags that go there."""
        places = [n for n, letter in enumerate(text.folded) if not _is_gap(letter)]
        bare = "".join([text.folded[n] for n in places]).translate(_HIRAGANA)
        for start, end, needle in self._found(bare):
            span = places[start:end]
            if all(b - a <= _WIDEST_GAP for a, b in pairwise(span)):
                yield (*text.in_folded(span[0], span[-1] + 1), self.tags[needle])

    def _found(self, bare: str) -> Iterator[tuple[int, int, str]]:
        at = 0
        while at < len(bare) - 1:
            for needle in self.begins.get(bare[at : at + 2], ()):
                end = at + len(needle)
                if bare.startswith(needle, at) and not _FINAL.match(bare, end):
                    yield at, end, needle
                    at = end - 1
                    break
            at += 1

    def _add_alone(self, part: str, tag: str) -> None:
        if len(part) >= (4 if _ALPHABETIC.search(part) else 2) and part not in _CLINICAL:
            self._add(part, tag)
        elif len(part) == 1 or part in _CLINICAL:
            for title in _TITLES:
                self._add(part + title, tag)

    def _add(self, words: str, tag: str) -> None:
        needle = "".join(c for c in fold_word(words) if not _is_gap(c)).translate(_HIRAGANA)
        if len(needle) > 1:
            self._keep(needle, tag)

    def _keep(self, needle: str, tag: str) -> None:
        if needle not in self.tags:
            self.tags[needle] = tag
            listed = self.begins.setdefault(needle[:2], [])
            listed.append(needle)
            listed.sort(key=len, reverse=True)


def has_unspaced(text: str) -> bool:
    """Say whether letters of such a script are in a text.

    >>> has_unspaced("Müller, Иванова"), has_unspaced("Mr 王")
    (False, True)
    """
    return not text.isascii() and _LETTER.search(text) is not None


def _parts(name: str) -> list[str]:
    """List the parts of a name that are in such a script, as composed characters."""
    composed = unicodedata.normalize("NFKC", name)
    return [part for part in re.split(r"[\s,、·・]+", composed) if _LETTER.search(part)]


def _is_gap(letter: str) -> bool:
    return letter.isspace() or letter in "·・"
