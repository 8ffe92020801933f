"""Tell by its context whether a word that may be a name is one.

A name that is an ordinary word (Stone, Long, May, Stein) or has two letters (Li) and has no other
name beside it is one

    after a title or a label    Mrs Stone, Frau Jung, Herr Li, "Name: Stone", "pt Li"
    with a possessive's s       Stone's wife, Li's
    before what people do       Li was seen, Stone denies pain, Jung kam; in capitals, too
    with a capital in a         told Stone, with Li
    sentence's middle

and is none in lower case without a title, and

    at a sentence's beginning   Stone in the ureter, Long discussion, May be given, Stone 5 mm; but
                                one that ends there, as in "Seen by: Stone", goes
    in a line of capitals       RENAL STONE
    after an article, where     der Stein im Ureter
    nouns have capitals
    beside its clinical words   Kidney Stone, Stone Protocol; serum Li, Li 0.8 mmol/l

What is left is in doubt, and goes where it is a word ("Stone was seen in the ureter", too) and
stays where it has two letters. Pronouns, articles and prepositions (He, An, Do) are names beside
other names and after a title alone, since they begin a sentence in every note.
"""

import re

__all__ = [
    "FUNCTION_WORDS",
    "is_shouted",
    "names_somebody",
    "stands_after_label",
    "stands_after_title",
]

FUNCTION_WORDS = frozenset(
    """
    ah ab al am an as at be by da do du eh em er es go ha he hi if im in is it ja la me my na no nu
    of oh ok on or ob pa so to um un up us we wo ye zu
    """.split()  # noqa: SIM905 - one a line would be a page
)
_TITLE = re.compile(
    r"(?<![^\W_])(?:(?i:mrs|miss|frau|herrn?|frl)\.?|Mr\.?|mr\.|MR\.|Ms\.?|ms\.|MS\."
    r"|(?:Dh|H)r\.|Mevr\.|(?<!\d)(?<!\d[ ])Fr\.)[ ]{1,2}\Z"
)
_LABEL = re.compile(
    r"(?<![^\W_])(?:(?i:dr|prof|sir|madam|patient(?:in|en)?|pat|pt|(?:(?:sur|last|first|family|nach"
    r"|vor)[ ]?)?name|family|familie|n[eé]e|geb(?:orene?)?|dear|by|von|signed)[.:]{0,2}|M[RSX])"
    r"\s{1,2}\Z"
)
_POSSESSIVE = re.compile(r"['\u2019\u02bc][sS](?![^\W_])")
_ACTS = r"""
    asks? asked answers? answered admits? admitted agrees? agreed arrives? arrived attends? attended
    calls called claims claimed comes came complains complained consents consented declines declined
    denies denied describes described developed discharged doing does did drinks drank endorses
    endorsed expired eats feels felt feeling gets got goes went has had hopes hoped informs informed
    is isn lives lived looks looked mentions mentioned needs needed notes notices noticed prefers
    presents presented presenting received refuses refused rejects remembers reports reported
    requests requested requires required resting returns returned said says sees seen smokes smoked
    sleeps slept speaks spoke states stated stopped suffers suffered takes taking thinks thought
    told tolerated tolerates transferred underwent understands undergoes uses used visited walks
    walked wants wanted was wasn who whose will wishes wished works worked would
    afebrile alert ambulating asleep awake comfortable conscious stable unresponsive unwell well
    bat befand berichtet berichtete bittet erhält erhielt fühlt fühlte gab geht gibt ging hat hatte
    hatten ist kam kann kommt konnte klagt klagte lebt lehnt lehnte leidet litt möchte nahm nimmt
    raucht sagt sagte stellt stellte trinkt trägt verneint verneinte verstarb wird wohnt wollte
    wünscht wurde war
"""
_ACT = re.compile(
    r"\s{1,2}(?:also |then |now |again |still |\(?(?:she|he|er|sie)\)? )?(?:"
    + "|".join(_ACTS.split())
    + r")(?![^\W_])",
    re.IGNORECASE,
)
_AGED = re.compile(
    r"[ ]?,?[ ]?(?:an? |is |is an? |ist )?\(?\d{1,3}[ -]?(?:y|j(?:ahre|ähr|aehr)|[mf]\b)"
    r"|,[ ]?[A-Z]\.",
    re.IGNORECASE,
)
# What words such as "stone" do, too, when a whole line is in capitals.
_IS = re.compile(
    r"(?i)[ ]{1,2}(?:is|was|had|has|will|would|did|seen|received|used|stable|called|taking|notes"
    r"|looks?|ist|war|hat|hatte|wird|wurde|kann|konnte)\b"
)
_BEGINNING = re.compile(
    r"(?:(?:\A|[.!?:;\n\r•*])[\s\"'(\[•*\-–—>#]*(?:\d{1,2}[.)][ ]+)?|[\s>(][\"'\[(])\Z"
)
_LOWER_NEXT = re.compile(r"[ ]{1,2}[^\W\d_A-ZÄÖÜ]|[-/][^\W\d_A-ZÄÖÜ]")
_CLINICAL_NEXT = re.compile(
    r"[ ]{1,2}(?:(?!(?:MRN|DOB|MD|RN|NP|PA|SSN|ID|AGE|DNR)\b)[A-Z]{2,}(?![^\W_])"
    r"|[\d.,]+[ ]?(?i:x|mm|cm|m|mg|mcg|g|kg|ml|l|%|mmol|meq|units?|days?|weeks?)(?![^\W_])"
    r"|(?i:protocol|disease|syndrome|pain|fracture|surgery|exam\w*|cells?|count|x-?ray|clinic\w*"
    r"|burden|size|removal|extraction|analysis|test\w*|therapy|acting|term|qt)(?![^\W_]))"
    r"|[ ]?[+\[]"
)
_CLINICAL_BEFORE = re.compile(
    r"(?i)(?<![^\W_])(?:renal|kidney|ureter(?:al|ic)?|bladder|gall|bile|salivary|left|right|acute"
    r"|chronic|upper|lower|distal|proximal|bilateral|mild|severe|no|serum|plasma|history of"
    r"|links|linke|rechte|rechts|akute|chronische)[ ]{1,2}\Z"
)
_ARTICLE = re.compile(
    r"(?i)(?<![^\W_])(?:der|die|das|des|dem|den|ein|eine[mnrs]?|kein|keine[mnrs]?|im|ins|am|ans|zum|zur"
    r"|vom|beim|diese[mnrs]?|jede[mnrs]?|sein\w{0,2}|ihr\w{0,2})[ ](?:[a-zäöüß]{3,}e[mnrs]?[ ])?\Z"
)
_NUMBER_NEXT = re.compile(r"(?i)[ ]{0,2}[:=]?[ ]{0,2}(?:\d|level|spiegel|conc|carbonate)|[+\-/]")
_WINDOW = 28


def stands_after_title(text: str, start: int) -> bool:
    """Say whether a title stands before a place: after it, a name is one in lower case, too.

    >>> text = "mrs. long came; a Mr Long, the MR long"
    >>> [stands_after_title(text, m.start()) for m in re.finditer("(?i)long", text)]
    [True, True, False]
    """
    return _TITLE.search(text, max(0, start - _WINDOW), start) is not None


def stands_after_label(text: str, start: int) -> bool:
    """Say whether what stands before a place says that somebody is named.

    >>> text = "pt la rosa, Dr. la rosa; via la rosa"
    >>> [stands_after_label(text, m.start()) for m in re.finditer("la rosa", text)]
    [True, True, False]
    """
    return _LABEL.search(text, max(0, start - _WINDOW), start) is not None


def names_somebody(text: str, start: int, end: int, *, ordinary: bool = True) -> bool:
    """Say whether a word with a capital, which stands alone, is somebody's name there.

    Args:
        text: where it stands.
        start: its first character.
        end: behind its last one.
        ordinary: whether it is a word of the language.

    >>> def names(text: str) -> list[bool]:
    ...     return [names_somebody(text, *m.span()) for m in re.finditer("(?i)stone|li", text)]
    >>> names("Stone was seen. Stone in the ureter. Told Stone of it. Kidney Stone. Stone's wife")
    [True, False, True, False, True]
    >>> names("Li was seen. Li 0.8 mmol/l, serum Li; told Li of it. Li")
    [True, False, False, True, False]
    """
    from_start = max(0, start - _WINDOW)
    if (
        _TITLE.search(text, from_start, start)
        or _LABEL.search(text, from_start, start)
        or _POSSESSIVE.match(text, end)
        or _AGED.match(text, end)
    ):
        return True
    short = end - start < 3
    if is_shouted(text, start, end):
        act = _ACT.match(text, end)
        return act is not None and (short or not ordinary or not _IS.match(text, end))
    if _ACT.match(text, end):
        return True
    if _CLINICAL_BEFORE.search(text, from_start, start) or _CLINICAL_NEXT.match(text, end):
        return False
    begins = _BEGINNING.search(text, from_start, start) is not None
    if short:
        spaced = start > 0 and (text[start - 1].isspace() or text[start - 1] in "\"'(")
        plain = spaced and text[start + 1 : end].islower()
        return plain and not begins and not _NUMBER_NEXT.match(text, end)
    if begins:
        return not _LOWER_NEXT.match(text, end)
    return _ARTICLE.search(text, from_start, start) is None


def is_shouted(text: str, start: int, end: int) -> bool:
    """Say whether a word and its neighbours are in capitals, so that capitals tell nothing.

    >>> text = "FINDINGS: RENAL STONE in the ureter of STONE"
    >>> [is_shouted(text, m.start(), m.end()) for m in re.finditer("STONE", text)]
    [True, False]
    """
    if not text[start:end].isupper():
        return False
    before = re.search(r"([^\W\d_]+)[ ,]{1,2}\Z", text[max(0, start - _WINDOW) : start])
    behind = re.match(r"[ ,]{1,2}([^\W\d_]+)", text[end : end + _WINDOW])
    beside = [m[1] for m in (before, behind) if m is not None]
    if beside:
        capitals = [word for word in beside if word.isupper()]
        return capitals == beside or any(len(word) > 1 for word in capitals)
    return not any(letter.islower() for letter in text)
