"""Where the words stand that a model of counted words weighed: shares of characters of notes."""

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import strip_accents_unicode

__all__ = ["counted_words"]

_WORD = re.compile(r"(?u)\b\w\w+\b")  # as scikit-learn's TfidfVectorizer finds them


def counted_words(
    texts: Sequence[str], vocabulary: Sequence[str], idf: np.ndarray, weights: np.ndarray
) -> dict[int, dict[tuple[int, int], float]]:
    """Share out a TF-IDF regression's log odds among the words of one row's notes.

    A word's share is divided equally among the places where it stands; that of a pair of words
    goes to both by halves.

    Args:
        texts: the row's notes, which the model reads as one document.
        vocabulary: words and pairs of words.
        idf: [f] of each.
        weights: [f] of each.

    Returns:
        For each note where a word starts and ends, in characters, and its share.
    """
    position = {term: place for place, term in enumerate(vocabulary)}
    words: list[tuple[int, int, int, str]] = []
    for note, text in enumerate(texts):
        # Read as the vectorizer does, in small letters and without accents; each character of that
        # knows where in the note it comes from.
        plain, origin = [], []
        for place, character in enumerate(text):
            read = strip_accents_unicode(character.lower())
            plain.append(read)
            origin += [place] * len(read)
        for match in _WORD.finditer("".join(plain)):
            start, end = origin[match.start()], origin[match.end() - 1] + 1
            words.append((note, start, end, match.group()))
    places: dict[int, list[list[int]]] = defaultdict(list)
    for number, (*_, word) in enumerate(words):
        if word in position:
            places[position[word]].append([number])
        if number + 1 < len(words):
            pair = f"{word} {words[number + 1][3]}"
            if pair in position:
                places[position[pair]].append([number, number + 1])
    terms = np.array(sorted(places), dtype=np.int64)
    if not len(terms):
        return {}
    counts = np.array([len(places[term]) for term in terms], dtype=np.float64)
    values = (1 + np.log(counts)) * idf[terms]
    shares = values / np.sqrt((values**2).sum()) * weights[terms] / counts
    found: dict[int, dict[tuple[int, int], float]] = defaultdict(dict)
    for term, share in zip(terms.tolist(), shares.tolist(), strict=True):
        for numbers in places[term]:
            for number in numbers:
                note, start, end, _ = words[number]
                here = found[note]
                here[start, end] = here.get((start, end), 0.0) + share / len(numbers)
    return dict(found)
