"""Tell what looks like a date and is so much or so many of something: a dose, a score, a level.

Three signs tell it: a unit behind ("12-8-10 IE", "Dec 2 L"), a word before that numbers belong to
("Humalog 12-10-11", "ribs 8-9-10", "Stage 3", "Suboxone 8/2"), and more parts than a date has
("2/4/6/8/10"). A wrong dose is worse than a day that stays, so in doubt the number stands.
"""

import re

from ingest.deidentify_digits import lowered

__all__ = [
    "COUNTED",
    "DOSED",
    "FRACTIONS",
    "NO_UNIT",
    "NUMBERED",
    "NUMBERED_PERHAPS",
    "OF_SO_MANY",
    "QUANTITY",
    "UNIT",
    "has_unit",
    "is_counted",
    "is_measured",
    "is_numbered",
    "is_rating",
    "is_scheme",
    "is_scored",
]

QUANTITY = re.compile(
    r"[ ]?(?:%|(?:mg|mcg|µg|g|kg|ml|l|cm|mm|mmol|iu|ie|i\.e|u|kcal|cal|units?|einheiten)\b)",
    re.IGNORECASE,
)
"""Behind what is so much of something, and no year."""

_SURE_UNIT = r"mg|mcg|µg|g|kg|ml|l|cm|mm|mmol|h|hours?|days?|weeks?|months?|std"
_LIKELY_UNIT = (
    r"ie|i\.e|iu|units?|einheiten|cc|fr|french|lbs?|db|mmhg|bpm|meq|puffs?|tab\w*|caps\w*|tbl|hub"
    r"|hrs?"
)
NO_UNIT = rf"(?![ ]?(?:%|(?:{_SURE_UNIT})\b|e\b(?!\.?[ -]?(?:coli|faec))))"
UNIT = rf"{NO_UNIT}(?![ ]?(?:{_LIKELY_UNIT})\b)"
"""A year of two digits has none of these behind it; `NO_UNIT` leaves out words with other senses.

Those are units or something else: "5/14/24 CC: cough", "10/4/23 Units received".
"""

_DOSES = (
    r"(?:%|(?:mg|mcg|µg|ug|ml|g(?![ -]?tube)|kg|lpm|mm|cm|cc(?!:)|mmol|meq|iu|ie|units|einheiten"
    r"|bpm|mmhg|x(?!-?ray)|tabs?|tablets?|tabletten|tbl|capsules?|kapseln?|pills?|puffs?|hub|doses"
    r"|dosen|drops|tropfen|gtts?|sprays|lit(?:er|re)s?|vials|hours|days|weeks|times"
    r"|episodes|attacks|seizures|beats"
    r"|l(?=[ ]?(?:\Z|[.,;)/\n]|->|→|(?:to|nc|via|o2|on|per)\b)))\b)"
)
DOSED = re.compile(
    rf"[ -]?{_DOSES}|[ ]?(?:->|-->|=>|→)[ ]?\d|[ ](?:to|auf)[ ]\d+(?:\.\d+)?[ ]?{_DOSES}",
    re.IGNORECASE,
)
"""Behind a number that is no day, though it stands beside a month: "May 2 tabs", "dec 12 -> 8"."""

COUNTED = re.compile(
    r"[ -]?(?:%|(?:mg|mcg|g|kg|ml|l|[cm]?m[²³23]?|mmol|h|t(?=[ -]mr)|of|ago|daily|twice|bid|tid|qid"
    r"|qd|od|prn|ns|hpf|fach|std|lpm|cores?|sem|gpc|gnr|at rest|in ruhe|x(?![\w-])"
    r"|gpcs|wks?|hrs?(?![ :]+\d)|lns?)\b"
    r"|(?:view|lit(?:er|re)|tab|tbl|pill|cap|comprim|puff|unit|dos[ei]|cup|pack|inch|pint|strip|night|day"
    r"|week|month|hour|year|yr|jahr|uhr|ratio|carb|cycles|zykl|time|murmur|systol|diastol|power"
    r"|strength|motor|pain|reflex|pulse|bottle|positiv|limb|extremit|episode|attempt|node|lymph|lobe"
    r"|vessel|quadrant|biops|specimen|sample|segment"
    r"|inférieur|supérieur|moyen|distal|proxim|cultur|criteri|point|vision|visus|saline|kraft|schmerz|punkt|stück|nächt|tag|woche|monat"
    r"|stunde)\w*)",
    re.IGNORECASE,
)
"""Behind so many of so many, and no day of a month."""

_RATED = re.compile(
    r"\b(?:murmur|systol|diastol|power|strength|motor|pain|reflex|pulse|kraft|schmerz|scor|scale|skala"
    r"|grad|rat|nrs|vas|mrc|gcs|apgar|reduc|decreas|increas|cut|halv|improv|worsen|fell|rose|drop"
    r"|declin|tab|pill|criteri|total|visus|vision|o?edema|ödem|hyporeflex|hyperreflex|janda|tit(?:er|re)|ratio"
    r"|verhältnis|hearing|acuity|deauville|force|fuerza|forza|força|kracht|siła|сил|douleur|dolor|échelle|escala"
    r"|warfarin|coumadin|marcumar|phenprocoumon|falithrom|dose|dosis)\w*",
    re.IGNORECASE,
)
OF_SO_MANY = frozenset([2, 3, 4, 5, 6, 8, 10])
FRACTIONS = OF_SO_MANY | {7, 9, 12, 14, 15, 18, 20, 21, 23, 24, 25, 27, 28, 30}
"""Denominators of scores, of biopsies and bottles, of sights and of doses of two medicines."""

_SENTENCE = 60  # characters to look for what is rated

_SCORED = re.compile(
    r"(?<![/-])\b(?:nodes?|ln|lymph\w*|lk|cores?|biops\w*|moca|mmse|mmst|phq(?:-?\d)?|gad(?:-?7)?|gds|gcs|epds"
    r"|audit|cage|braden|norton|tinetti|barthel|sofa|apache|bishop|nihss|apgars?|pain|murmur"
    r"|strength|power|motor|reflex\w*|dtrs?|va|visus|vision|acuity|ta|rr|pa|tension|od|os|ou|pupils?|iop|bp|bi-?pap|c-?pap"
    r"|i-?pap|e-?pap|peep|psv?|vent|suboxone|subutex|buprenorphine|bup|naloxone|zubsolv|norco"
    r"|percocet|vicodin|lortab|lotrel|vytorin|caduet|azor|benicar|zestoretic|prinzide|lotensin"
    r"|sinemet|targin\w*|tilidin\w*|valoron|exforge|tribenzor|inegy|score|index|skala|scale|ratio|settings?"
    r"|n-?pi|janda|kraft|mrc|nrs|vas|ecog|asa|mrs|sight|[lct]|lws|hws|levels?|g|gravida|para|ga|wks?|ssw)"
    r"[ :=(,]{0,3}(?:(?:of|was|is|war|ist|l|r|li|re|left|right|at|auf|now|tab|film|sl)[ ]){0,2}\Z"
)
"""Directly before a pair that is a score or a strength of two medicines."""

NUMBERED = re.compile(
    r"(?:(?<![^\W_])(?:stages?|stadium|types?|typ|grades?|class|klasse|stufe|phase|ckd|nyha|asa"
    r"|ecog|gold|child|gcs|nihss|mrs|meld|gleason|para|gravida|factor|faktor|mody|hpv|hsv|hhv"
    r"|covid|sars-cov|cov|her|bcl|x|[cltsg]\d{1,2}|th\d{1,2}|cin|ain|pod|hd|dol|b|ca|omega"
    r"|vit(?:amin|\.)?[ ][a-k]|room|bay|bed|zimmer|bett|group|gruppe|(?:pi|bi|ti|li)-?rads"
    r"|no\.|nr\.)[ :-]{1,2}|[#×][ ]?|(?<![-=])[<>≥≤][ ]?)"
    r"(?P<more>\d{1,2}[ ]?(?:[-/,&]|and|und|to|bis|or|oder)[ ]?)?\Z"
)
"""Before a number that is no day of the month behind it: "Stage 3 Mar 2021"."""

_MOST = 10  # the most that such a number is, but for the words below
_WIDE = re.compile(
    r"(?<![^\W_])(?:room|bay|bed|zimmer|bett|no\.|nr\.|gcs|nihss|meld|pod|dol|group|gruppe)[ :-]|#"
)
"""Before what may be more than `_MOST`, as a day may."""

_DOUBTFUL = re.compile(r"(?<![^\W_])(?:ca|hd)[ :-]{1,2}\Z|[<>≥≤][ ]?\Z")
"""Before a number of the kind that may as well be a day: "breast ca 4 March 2021"."""

_NO_NUMBER = re.compile(r"(?<![^\W_])(?:covid|sars-cov|b)[ :-]{1,2}\Z")
"""Before a day, unless the two are a name: "COVID 4 May 2020"."""

_NAMES = re.compile(
    r"(?<![^\W_])(?:(?:covid|sars-cov)[ :-]{1,2}(?:19|2)|hpv[ :-]{1,2}(?:1[168]|3[13])"
    r"|th?\d{1,2}-1[12]|(?<!hep[ ])(?<!titis[ ])b[ :-]{1,2}(?:12|[1-9])"
    r"|fa[ck]tor[ :-]{1,2}1[0-3])\Z"
)
"""Names that end with a number."""

NUMBERED_PERHAPS = re.compile(
    r"(?<![^\W_])(?:a1c|hba1c|cr|crea|krea\w*|creatinine|inr|k|na|hb|hgb|wbc|crp|psa|tsh|bnp|ef|bmi"
    r"|egfr|plt|lactate|laktat|bun|glucose|ph|bili|alt|ast|trop\w*|ldh|hct|mg|phos|dose|dosis|tag|day|zyklus|cycle|level|score)"
    r"[ :=~<>≥≤]{1,3}\Z"
)
"""Before a number that may be a value as well as the day of the month behind: "Cr 2 Apr 2024"."""

_ATTACHED = re.compile(r"(?<![^\W_])[^\W\d_]\w{0,11}[-/–]\Z")
_MEASURE = re.compile(
    r"(?<![^\W_])(?:inr|quick|hb|hkt|kalium|natrium|krea|kreatinin|crp|leukos?|temp|ph|laktat|lactate|bz"
    r"|glukose|hba1c|tsh|ptt|ck|ldh|bnp|bili|k|na|hgb|wbc|potassium|sodium|creatinine)(?![\w-])"
)

_INSULIN = (
    r"actrapid|humalog|novo[ -]?rapid|novolog|insulin\w*|apidra|lispro|aspart|glulisin\w*|fiasp"
    r"|liprolog|berlinsulin|huminsulin|humulin|insuman|nph|protaphan\w*|mixtard|novomix|lantus"
    r"|levemir|toujeo|tresiba|admelog|lyumjev|novolin|normalinsulin|altinsulin|ssi|sliding scale"
)
_ROW_BEFORE = re.compile(
    rf"(?<![^\W_])(?:(?:{_INSULIN})(?:[ ](?:s\.?c\.?|pen|junior|flex\w*|kwikpen|n|r|mix|u-?100|[ck]"
    r"|schema|scheme|scale|with meals|tid|zu den mahlzeiten))*"
    r"|ribs?(?:[ ](?:fx|frx?|fractures?))?|rippen?\w*|zahn|zähne|tooth|teeth|dents?|balloon|ballon"
    r"|ie|i\.e\.|einheiten|units|dilat\w*(?:[ ]to)?|vertebra\w*|[bhl]wk"
    r"|grip(?:[ ]strength)?|handkraft|jamar|dynamometer"
    r"|fvc/fev1|fev1/fvc)[ :=(#]{0,3}(?:(?:r|l|re|li|left|right|links|rechts)[ :]{1,2})?\Z"
)
_UNIT_BEHIND = re.compile(rf"[ ]?(?:{_LIKELY_UNIT})\b", re.IGNORECASE)
_INSULIN_UNIT = re.compile(r"[ ]?(?:ie|i\.e|iu|units?|einheiten)\b", re.IGNORECASE)
_INSULIN_WORD = re.compile(rf"(?<![^\W_])(?:{_INSULIN})[^\d]{{0,20}}\Z")
_HOURS = re.compile(r"[ ]?hrs?\b", re.IGNORECASE)
_MORE = re.compile(r"[ :]{1,2}\d")
_SCORE = re.compile(
    r"(?:apgar|gleason|nibp|dilution|verdünnung|score|titer|titre)[\w-]{0,8}[ :=(]{0,3}"
    r"(?:(?:of|was|were|von|is|war)[ ])?"
    r"(?:\d{1,2}/\d{1,2}/\d{1,2}(?:,[ ]?|[ ]und[ ]|[ ]and[ ])){0,3}\Z",
    re.IGNORECASE,
)


def has_unit(m: re.Match[str]) -> bool:
    """Say whether what may be a unit stands behind a match."""
    return _UNIT_BEHIND.match(m.string, m.end()) is not None


def _is_row(a: int, b: int, c: int, *, now: int) -> bool:
    """Say whether three numbers are like doses or levels rather than a day with its year.

    Days have a year near the text's, as 5-14-24 has; 8-9-10 follow one another.

    Args:
        a: the first number, and so on.
        b: the second.
        c: the third: a year of two digits, if any.
        now: the year of the text.
    """
    years = (now - c) % 100  # before the text
    follow = b - a == c - b and abs(b - a) == 1
    if follow or 9 < years < 99:
        return True
    recent = years <= 1 or years == 99
    return max(a, b, c) <= 3 * min(a, b, c) and not (recent and c >= 20)


def is_scheme(m: re.Match[str], *, now: int) -> bool:
    r"""Say whether three numbers are a scheme, a score or levels: "Insulin 8-10-12".

    >>> found = re.compile(r"(?P<a>\d+)(?P<s>-)(?P<b>\d+)-(?P<y>\d+)")
    >>> texts = ("Insulin 8-10-12", "insulin since 8-10-12", "rib fracture 5-14-24")
    >>> [is_scheme(found.search(text), now=2024) for text in texts]
    [True, False, False]

    Args:
        m: the numbers `a`, `b` and `y`, with `s` between them.
        now: the year of the text.
    """
    text, low = m.string, lowered(m.string)
    before = text[max(0, m.start() - 40) : m.start()]
    if _SCORE.search(before) is not None and not _MORE.match(text, m.end()):
        return True
    beside = has_unit(m) or _ROW_BEFORE.search(low, max(0, m.start() - 48), m.start())
    a, b, c = int(m["a"]), int(m["b"]), int(m["y"].strip("'"))
    if not beside or m["s"] == ".":
        return False
    insulin = _INSULIN_UNIT.match(text, m.end()) or _INSULIN_WORD.search(
        low, max(0, m.start() - 48), m.start()
    )
    if insulin and (m["s"] == "-" or c < 20):  # "24-6-16 IE" is a day of 2016, too
        return True
    return _is_row(a, b, c, now=now) or (a < b < c and _HOURS.match(text, m.end()) is not None)


def is_counted(text: str, start: int, *, first: int, by_word: bool = False) -> str:
    """Say whether a number before a month belongs to what stands before it.

    Args:
        text: all of it.
        start: where the number begins.
        first: where to look from.
        by_word: whether its form ("3rd", "03", "3-May") shows that it is a day if anything.

    Returns:
        "surely", "perhaps" or "".
    """
    low = lowered(text)
    first = max(0, first)
    number = _NUMBER.match(text, start)
    attached = _ATTACHED.search(low, first, start)
    if attached is not None and not _IS_TIME.match(attached[0]):
        word = text[attached.start() : start - 1]
        shouted = len(word) < 4 or not word.isalpha() or word.isupper()
        if not shouted and not NUMBERED.search(low, first, start):
            return "perhaps"
        if number is None or _NAMES.search(low, first, number.end("n")):
            return "surely"
        return "perhaps" if int(number["n"]) > _MOST + 2 or number["point"] else "surely"
    numbered = is_numbered(text, start, number=number)
    if numbered:
        return numbered
    if not by_word and NUMBERED_PERHAPS.search(low, first, start):
        return "perhaps"
    return ""


_NUMBER = re.compile(r"(?P<n>\d{1,2})(?P<point>\.?)")


def is_numbered(text: str, start: int, *, number: re.Match[str] | None) -> str:
    """Say whether a number before a month belongs to a word before a place, such as "Stage".

    Args:
        text: all of it.
        start: where the word ends.
        number: the number, as `n`, and a `point` behind it.

    Returns:
        "surely", "perhaps" or "": a large number and one with a point are days if they can be.
    """
    low, first = lowered(text), max(0, start - 40)
    named = NUMBERED.search(low, first, start)
    if named is None or number is None:
        return "" if named is None else "surely"
    large = int(number["n"]) > _MOST
    if _NAMES.search(low, first, number.end("n")):
        return "perhaps" if number["point"] else "surely"
    if _WIDE.match(named[0]):
        doubtful = large or number["point"] or number["n"][0] == "0" or named[0][0] == "#"
        return "perhaps" if doubtful else "surely"
    if large or number["n"][0] == "0" or _NO_NUMBER.search(low, first, start):
        return ""
    either = not named["more"] and _DOUBTFUL.search(low, first, start)
    return "perhaps" if number["point"] or either else "surely"


_IS_TIME = re.compile(
    r"\d{0,2}(?:jan|feb|mar|mär|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez|mon|tue|wed|thu|fri"
    r"|sat|sun|date|datum|on|am|since|seit|from|to|vom|bis)"
)


def is_measured(lower: str, start: int) -> bool:
    """Say whether the sentence before a place names what is measured: "INR bis 3.5."."""
    before = re.split(r"[.;,\n(][ \n]", lower[max(0, start - 40) : start])[-1]
    return _MEASURE.search(before) is not None


def is_rating(m: re.Match[str]) -> bool:
    """Say whether a pair is so many of so many, in a sentence that counts or rates something."""
    if not m["b"].isdigit() or int(m["b"]) not in OF_SO_MANY or int(m["a"]) > int(m["b"]):
        return False
    before = re.split(r"[.;\n]", m.string[max(0, m.start() - _SENTENCE) : m.start()])[-1]
    behind = re.split(r"[;\n]|\.[ ]", m.string[m.end() : m.end() + _SENTENCE])[0]
    return _RATED.search(before) is not None or _RATED.search(behind) is not None


def is_scored(m: re.Match[str]) -> bool:
    """Say whether a score's or a medicine's name stands before a pair: "MoCA 11/30"."""
    low = lowered(m.string)
    return _SCORED.search(low, max(0, m.start() - 40), m.start()) is not None
