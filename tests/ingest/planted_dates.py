"""Write one day in many forms, each of which tells it.

A patient's secret day, and no other, is written in all of them, 370 days and more from that of any
other patient, so that what one day becomes is never what another one was.
"""

import re
from datetime import date, timedelta

_ENGLISH = "January February March April May June July August September October November December"
_GERMAN = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember"
_FRENCH = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre"
_SPANISH = (
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"
)
_ITALIAN = (
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre"
)
_DUTCH = "januari februari maart april mei juni juli augustus september oktober november december"
_RUSSIAN = "января февраля марта апреля мая июня июля августа сентября октября ноября декабря"
_ROMAN = "I II III IV V VI VII VIII IX X XI XII"
_NTH = "thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"


def secret_day(number: int) -> date:
    """Give a patient's secret day: the 13th to 20th of a month."""
    day = date(2030, 1, 15) + timedelta(days=400 * number)
    return day.replace(day=13 + number % 8)


def birth_day(number: int) -> date:
    """Give a patient's birth date."""
    day = date(1989, 6, 15) - timedelta(days=590 * number)
    return day.replace(day=13 + number % 8)


def forms_of(day: date) -> list[str]:
    """Write a day, with its year, in forms that are shifted or go as a whole."""
    d, m, y = day.day, day.month, day.year

    def month(names: str) -> str:
        return names.split()[m - 1]

    english = month(_ENGLISH)
    nth = _NTH.split()[d - 13]
    return [
        f"{y}-{m:02}-{d}",
        f"{y}{m:02}{d}",
        f"{d}.{m:02}.{y}",
        f"{english} {d}th, {y}",
        f"{d}-{english[:3].upper()}-{y}",
        f"{d}.{month(_ROMAN)}.{y}",
        f"{d}. {month(_GERMAN)} {y}",
        f"{d} {month(_FRENCH)} {y}",
        f"{d} de {month(_SPANISH)} de {y}",
        f"{d} {month(_ITALIAN)} {y}",
        f"{d} {month(_DUTCH)} {y}",
        f"{d} {month(_RUSSIAN)} {y}",
        f"{y}年{m}月{d}日",
        f"{y}년 {m}월 {d}일",
        f"{d} {m:02} {y}",
        f"{english}, {d} {y}",
        f"{y} {english} {d}",
        f"{english} {nth} {y}",
        f"the {nth} of {english}, {y}",
        f"{m:02}/{d}/{y},{m:02}/{d + 2}/{y}",
        f"KW {day.isocalendar().week}/{y}",
    ]


def lists_of(day: date) -> list[str]:
    """Write a day and the next one so that they share the month or the year."""
    d, m, y = day.day, day.month, day.year
    english, german = _ENGLISH.split()[m - 1], _GERMAN.split()[m - 1]
    return [
        f"{english} {d}-{d + 1}, {y}",
        f"{english} {d} and {d + 1}, {y}",
        f"{d} and {d + 1} {english} {y}",
        f"{d}. und {d + 1}. {german} {y}",
        f"{d}./{d + 1}.{m}.{y}",
        f"{d}. und {d + 1}.{m}.{y}",
        f"{d}.{m}. und {d + 1}.{m}.{y}",
        f"{y}-{m:02}-{d}/{d + 1}",
        f"{m:02}/{d} and {m:02}/{d + 1}/{y}",
    ]


def halves_of(form: str, day: date) -> tuple[str, str]:
    """Give what of a list tells the shift where the rest is shifted.

    That is what stands up to its first day, and from its second one on.
    """
    first = re.search(rf"(?<!\d){day.day}(?!\d)", form)
    second = re.search(rf"(?<!\d){day.day + 1}(?!\d)", form)
    assert first is not None
    assert second is not None
    return form[: first.end()], form[second.start() :]
