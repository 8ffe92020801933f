"""Shift dates of other languages than English and German, in their own form.

    4 mai 2020   1er juin   4 de mayo de 2020   4 maggio   4 de maio   4 mei   4 maja   4 мая
    2020年5月4日   5月4日   2020년 5월 4일   2020年5月

French, Spanish, Italian, Portuguese, Dutch, Polish, Swedish, Norwegian, Danish and Russian;
Chinese, Japanese and Korean. A month that is cut short counts with a year of four digits alone
("4 févr. 2020", "5 ene 2020"). Where a weekday stands beside the date, or the year is an emperor's,
all of it is [DATE], for a weekday that stays tells the shift but for whole weeks.
"""

import re
import unicodedata
from collections.abc import Iterator
from datetime import date
from functools import lru_cache

from ingest.deidentify_dates import DATE, MONTH, DateStyle, Found, day_of, shifted
from ingest.deidentify_digits import find_near_digits, lowered
from ingest.deidentify_fold import fold_word

__all__ = [
    "ANY_MONTH",
    "EVENT_WORDS",
    "FOREIGN_MONTHS",
    "FROM_WORDS",
    "ON_WORDS",
    "TO_WORDS",
    "find_foreign_dates",
    "foreign_months",
]

ON_WORDS = (
    r"(?:depuis|dès)(?: le)?|jusqu'au|en date du|desde(?: el)?|hasta el|el d[ií]a"
    r"|(?:no |o )?dia|sinds|vanaf|tot en met|dnia|w dniu|siden|sedan|dall?'?|d\."
)
"""Before days and months alone, in other languages than English and German."""

FROM_WORDS = r"du|de|le|dal|del|van|od|fra|från|den|с|со|от|desde|el|em"
"""Before a range's first day, or before other numbers, too."""

EVENT_WORDS = (
    r"scanner|irm|tdm|radio|échographie|bilan|consultation|courrier|séjour|hospitalisation|examen"
    r"|prélèvement|biopsie|opéré\w{0,2}|entrée|sortie|tac|rmn|eco|analítica|rx|ingreso|alta|visita"
    r"|esame|ricovero|referto|tomografía|badanie|wizyta|przyjęt[ya]|wypisan[ya]|осмотр|выписан\w?"
    r"|opname|ontslag"
)
"""Before days and months alone: what was seen or happened then."""

TO_WORDS = (
    r"(?:jusqu'|fino )?(?:au|al|à|a)|et|ou|y|e|en|tot|t/m|do|i|til|till|og|och|по|и|до|hasta|oraz"
    r"|eller|of"
)
"""Between a range's two ends, or the days of a list."""

_FULL = """
janvier février mars avril mai juin
juillet août septembre octobre novembre décembre
enero febrero marzo abril mayo junio
julio agosto septiembre octubre noviembre diciembre
gennaio febbraio marzo aprile maggio giugno
luglio agosto settembre ottobre novembre dicembre
janeiro fevereiro março abril maio junho
julho agosto setembro outubro novembro dezembro
januari februari maart april mei juni
juli augustus september oktober november december
stycznia lutego marca kwietnia maja czerwca
lipca sierpnia września października listopada grudnia
januari februari mars april maj juni
juli augusti september oktober november december
januar februar mars april mai juni
juli august september oktober november desember
januar februar marts april maj juni
juli august september oktober november december
января февраля марта апреля мая июня
июля августа сентября октября ноября декабря
styczeń luty marzec kwiecień maj czerwiec
lipiec sierpień wrzesień październik listopad grudzień
январь февраль март апрель май июнь
июль август сентябрь октябрь ноябрь декабрь
"""
_SHORT = """
janv févr mars avr mai juin juil août sept oct nov déc
ene feb mar abr may jun jul ago sep oct nov dic
gen feb mar apr mag giu lug ago set ott nov dic
jan fev mar abr mai jun jul ago set out nov dez
jan feb mrt apr mei jun jul aug sep okt nov dec
янв фев мар апр май июн июл авг сен окт ноя дек
"""
_ELSEWHERE = frozenset(
    """
    april juni juli august september oktober november december januar februar mar apr jun jul aug
    sep oct okt nov dec dez jan feb may sept set out
    """.split()  # noqa: SIM905 - one a line would be a page
)
"""Names that English or German has, too: as months in deidentify_dates.py, or as words."""

_WEEKDAYS = """
lundi mardi mercredi jeudi vendredi samedi dimanche
lunes martes miércoles miercoles jueves viernes sábado sabado domingo
lunedì martedì mercoledì giovedì venerdì sabato domenica
segunda terça quarta quinta sexta segunda-feira terça-feira quarta-feira quinta-feira sexta-feira
maandag dinsdag woensdag donderdag vrijdag zaterdag zondag
poniedziałek wtorek środa środę czwartek piątek sobota sobotę niedziela niedzielę
måndag tisdag onsdag torsdag fredag lördag söndag mandag tirsdag lørdag søndag
понедельник вторник среда среду четверг пятница пятницу суббота субботу воскресенье
""".split()  # noqa: SIM905 - one a line would be a page


def _rows(table: str) -> list[tuple[str, ...]]:
    """Give languages by months, each with its accents and without."""
    words = table.split()
    rows = [tuple(words[n : n + 12]) for n in range(0, len(words), 12)]
    return list(dict.fromkeys([*rows, *(tuple(map(_bare, row)) for row in rows)]))


def _bare(word: str) -> str:
    if not word.translate({ord("й"): "и"}).isascii() and "а" <= word[0] <= "я":
        return word
    parts = unicodedata.normalize("NFD", word)
    return "".join(part for part in parts if not unicodedata.combining(part)).replace("ł", "l")


def _places(table: str) -> dict[str, tuple[tuple[str, ...], int]]:
    places: dict[str, tuple[tuple[str, ...], int]] = {}
    for row in _rows(table):
        for number, name in enumerate(row, 1):
            if name not in _ELSEWHERE:
                places.setdefault(name, (row, number))
    return places


_MONTHS = _places(_FULL)
_CUT = {name: place for name, place in _places(_SHORT).items() if name not in _MONTHS}
_ANY = "|".join(sorted(_MONTHS, key=len, reverse=True))
_ANY_CUT = "|".join(sorted(_CUT, key=len, reverse=True))
_NAME = re.compile(rf"(?<![^\W\d_])(?:(?P<m>{_ANY})|(?P<cut>{_ANY_CUT})\.?)(?![^\W\d_])")

_ANY_NAME = "|".join(sorted({*_MONTHS, *_CUT, *_ELSEWHERE}, key=len, reverse=True))
ANY_MONTH = rf"(?:{MONTH}|(?:{_ANY_NAME})(?![^\W\d_])\.?)"
"""A month's name in lower case, in any of the languages, cut short or not."""

FOREIGN_MONTHS = frozenset(fold_word(name) for name in (*_MONTHS, *_CUT))
"""Folded words of which one stands in every such date, unless it is in Chinese signs."""

_YEAR = r"(?P<y>(?:1[6-9]|2[0-3])\d\d)(?![\w])"
_DAY = re.compile(
    r"(?<![\w.:])(?:(?P<weekday>"
    + "|".join(sorted(_WEEKDAYS, key=len, reverse=True))
    + r"),?[ ](?:le |el |il |dia |día |den |dnia |de )?)?"
    r"(?P<d>\d{1,2})(?P<th>er|re|[ºª°.])?[ /-](?:de |del |di |d['’])?\Z"
)
_JOINED_DAY = re.compile(
    r"(?<![\w.,/:-])\d{1,2}(?:er|[ºª°.])?"
    r"(?:[ ]?[-/,&][ ]?|[ ](?:et|au|y|e|a|al|en|tot|t/m|do|i|och|og|til|till|по|и|до|к)[ ])"
    r"(?:le |el |il |l'|de )?\Z"
)
_DAY_BEHIND = re.compile(rf"[ ]\d{{1,2}}(?:,|[ ]del?)?[ ]{_YEAR}")
_YEAR_BEHIND = re.compile(rf"(?:,|[ /-](?:de |del |di )?){_YEAR}")
_WIDTH = 32

_SIGN = "(?:(?:星期|周|週|礼拜|禮拜)[一二三四五六日天]|[月火水木金土日]曜日?|[월화수목금토일]요일)"
_KANJI = re.compile(
    r"(?:(?<![\d.,/:-])|(?<=[日号號일][-,/])|(?<=[日号號일][ ][-/]))"
    r"(?P<era>(?:令和|平成|昭和|大正|民国|民國)(?:\d{1,3}|元)年[ ]?)?"
    r"(?:(?<![\d])(?P<y>(?:1[6-9]|2[0-3])\d\d|\d\d)[ ]?[年년][ ]?)?"
    r"(?P<m>\d{1,2})[ ]?[月월]"
    r"(?:[ ]?(?P<list>\d{1,2}[ ]?[日号號일]?[ ]?[-~〜至到和及与と、,부터][ ]?)?"
    r"(?P<d>\d{1,2})[ ]?[日号號일])?"
    r"(?P<more>[ ]?[-~〜至到和及与と、,부터]{1,2}[ ]?\d{1,2}[ ]?[日号號일])?"
    + rf"(?P<weekday>[ ]?(?:\({_SIGN}\)|{_SIGN})|[ ]?\([月火水木金土日월화수목금토일]\))?"
)
_N = "[一二三四五六七八九十]"
_NUMERALS = re.compile(
    rf"[一二〇○零九][一二三四五六七八九〇○零]{{3}}年(?:{_N}{{1,2}}月)?(?:{_N}{{1,3}}[日号])?"
    rf"|{_N}{{1,2}}月{_N}{{1,3}}[日号]"
)


def find_foreign_dates(text: str, style: DateStyle) -> Iterator[Found]:
    """Give dates of other languages with what they become.

    >>> style = DateStyle(days=31, year=2020)
    >>> text = "vu le 4 mai 2020, el 4 de Mayo, 4 мая 2020 г., 2020年5月4日 (月)"
    >>> [new for _, _, new in find_foreign_dates(text, style)]
    ['[DATE]', '4 juin 2020', '4 de Junio', '4 июня 2020']
    """
    if not text.isascii():
        if "月" in text or "월" in text:
            for m in find_near_digits(_KANJI, text):
                if m["y"] or m["d"] or m["era"]:  # a month alone is no part of a day
                    yield _written_in_signs(m, style)
        if "年" in text or "月" in text:
            for m in _NUMERALS.finditer(text):
                yield (*m.span(), DATE)
    lower = lowered(text)
    for name in foreign_months(text):
        found = _beside(text, lower, name, style)
        if found is not None:
            yield found


@lru_cache(maxsize=2)
def foreign_months(text: str) -> list[re.Match[str]]:
    """List the names of months of other languages than English and German, near digits."""
    return list(find_near_digits(_NAME, lowered(text), before=48))


def _beside(text: str, lower: str, name: re.Match[str], style: DateStyle) -> Found | None:
    """Read the day before a month's name, or behind it, and the year behind."""
    said = name["m"] or name["cut"]
    row, month = (_MONTHS if name["m"] else _CUT)[said]
    if said == "mai" and text[name.start()].isupper():
        return None  # German
    day = _DAY.search(lower, max(0, name.start() - _WIDTH), name.start())
    year = _YEAR_BEHIND.match(lower, name.end())
    if day is not None and day["th"] == "." and said == "mai":
        return None
    if name["cut"] and year is None:
        return None
    if day is None:
        behind = _DAY_BEHIND.match(lower, name.end())
        if behind is None and name["cut"]:
            return None  # "Mag 2000 mg", "FEV 1800 mL": no part of a day, besides
        if behind is not None:
            return name.start(), behind.end(), DATE
        if year is None:
            return None
    start = day.start() if day else name.start()
    end = year.end() if year else name.end()
    stated = day_of(
        int(year["y"]) if year else style.year or 2001, month, int(day["d"]) if day else 15
    )
    moved = shifted(stated, style)
    if moved is None and not year and day and not 1 <= int(day["d"]) <= 31:
        return None
    # "4 et 5 mai": the first of the days would stay.
    joined = _JOINED_DAY.search(lower, max(0, start - _WIDTH), start) if day else None
    if joined is not None:
        return joined.start(), end, DATE
    if moved is None or (day and day["weekday"]):
        return start, end, DATE
    written = text[name.start() : name.start() + len(said)]
    new = _like(written, row[moved.month - 1]) + text[name.start() + len(said) : name.end()]
    if day:
        th, at = day["th"] or "", day.end("th") if day["th"] else day.end("d")
        if th in ("er", "re") or (not th and row[0] == "janvier"):
            th = "er" if moved.day == 1 else ""
        new = _padded(day["d"], moved.day) + th + text[at : name.start()] + new
    if year:
        new += text[name.end() : year.start("y")] + f"{moved.year:04}"
    return start, end, new


def _written_in_signs(m: re.Match[str], style: DateStyle) -> Found:
    start, end = m.span()
    year = int(m["y"]) if m["y"] and len(m["y"]) == 4 else style.year or 2001
    moved: date | None = shifted(day_of(year, int(m["m"]), int(m["d"] or 15)), style)
    if (
        moved is None
        or m["era"]
        or m["list"]
        or m["more"]
        or m["weekday"]
        or (m["y"] and len(m["y"]) == 2)
    ):
        return start, end, DATE
    out, at = "", start
    for part, number in (("y", moved.year), ("m", moved.month), ("d", moved.day)):
        if m[part]:
            out += m.string[at : m.start(part)] + _padded(m[part], number)
            at = m.end(part)
    return start, end, out + m.string[at:end]


def _padded(written: str, number: int) -> str:
    return f"{number:02}" if written[0] == "0" else str(number)


def _like(written: str, new: str) -> str:
    return new.upper() if written.isupper() else new.capitalize() if written[0].isupper() else new
