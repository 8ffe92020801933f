"""Read units: what people write as UCUM, and what a UCUM unit measures.

`spell` turns "mmHg", "K/uL" or "beats/minute" into UCUM, where only one unit can be meant;
`measure` says of a UCUM unit which others it can be converted into, and by how much. The commonest
units stand in `known_units.csv`, so that one patient's upload need not wait for a parser; all
others are parsed by ucumvert with pint's registry, which takes two thirds of a second to load. A
test holds the file against the parser.
"""

import csv
import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["KNOWN_UNITS", "Measure", "measure", "parse_unit", "spell"]

KNOWN_UNITS = Path(__file__).resolve().parent / "known_units.csv"
_LONGEST = 60

_WORDS = {
    "10*3": "thou thousand thousands thous",
    "10*6": "mil million millions mill",
    "10*9": "billion",
    "{count}": "beat beats breath breaths resp cell cells copies count events",
    "[HPF]": "hpf",
    "[LPF]": "lpf",
    "[CFU]": "cfu",
    "[IU]": "iu",
    "k[IU]": "kiu",
    "m[IU]": "miu",
    "u[IU]": "uiu mciu",
    "U": "u unit units",
    "mU": "munit munits",
    "[ft_i]": "ft feet foot",
    "[in_i]": "in inch inches",
    "[lb_av]": "lb lbs pound pounds",
    "[oz_av]": "oz ounce ounces",
    "[degF]": "degf fahrenheit f",
    "Cel": "degc celsius c",
    "a": "year years yr yrs y",
    "mo": "month months",
    "wk": "week weeks wks",
    "d": "day days 24h 24hr 24hrs",
    "h": "hour hours hr hrs",
    "min": "minute minutes mins min",
    "s": "second seconds sec secs",
    "ms": "millisecond milliseconds msec msecs",
    "kg": "kilogram kilograms kgs kg",
    "g": "gram grams gm gms g",
    "mg": "milligram milligrams mgs mg",
    "ug": "microgram micrograms mcg mcgs ug",
    "ng": "nanogram nanograms ng",
    "pg": "pg",
    "L": "liter liters litre litres l",
    "dL": "dl",
    "mL": "milliliter milliliters millilitre millilitres mls cc ml",
    "uL": "ul mcl cumm cmm",
    "cm": "centimeter centimeters centimetre centimetres cms cm",
    "mm": "mm",
    "m2": "m^2 sqm",
    "{1.73_m2}": "1.73m2 1.73m^2 1.73_m2 1.73sqm",
    "mmol": "millimole millimoles mmol",
    "umol": "mcmol umol",
    "nmol": "nmol",
    "pmol": "pmol",
    "meq": "meq meqs",
    "mosm": "mosm mosmol",
    "mm[Hg]": "mmhg torr",
    "cm[H2O]": "cmh2o",
    "%": "percent pct",
    "[pH]": "ph",
}
_WORD = {word: ucum for ucum, words in _WORDS.items() for word in words.split()}
_WHOLE = {
    "bpm": "/min",
    "mg%": "mg/dL",
    "g%": "g/dL",
    "T/L": "10*12/L",
    "mg/{24_h}": "mg/d",
    "g/{24_h}": "g/d",
    "mM": "mmol/L",  # molar, not metres: no chart has the capital in a length
    "uM": "umol/L",
    "nM": "nmol/L",
    "pM": "pmol/L",
}
_AMBIGUOUS = frozenset({"K", "M", "T", "G/L", "G/l", "J"})
"""UCUM would have kelvin, tesla, gauss and joules; a chart may mean thousands, grams, or years
("63 J", Jahre)."""

_CLINICAL = {
    "g": " k m u n p f d c",
    "L l": " m u n p f d c",
    "m": " k c m u n d",
    "mol eq osm": " k m u n p f",
    "U": " k m u n",
    "kat": " m u n p",
    "s": " m u n p",
    "min h d wk mo a Cel % deg dyn atm": " ",
    "bar": " m",
    "Pa": " h k M m",
    "Hz": " k M G",
    "Gy Sv RAD REM": " c m u n",
    "J cal": " k m",
    "W V A": " k m u n p",
    "Ohm S N F": " k M m u n p",
}
_PLAIN_UNITS = frozenset(
    prefix.strip() + unit
    for units, prefixes in _CLINICAL.items()
    for unit in units.split(" ")
    for prefix in prefixes.split(" ")
)
"""The units without brackets that are taken at their word, with the prefixes that they come with.
UCUM has any prefix before any unit, and so a meaning for much that is none: EU (Ehrlich or
endotoxin units) would be exa-units, TU (tuberculin) tera-units, PL petalitres, ct (count) 10 kg, hu
(Hounsfield) a hundred daltons, pc (pieces) parsecs, AU (arbitrary) astronomical units. MU may be a
million units or, in a feed of capitals, mU; it is neither. What is in brackets can be meant as
nothing else."""

_DRUG_FORMS = """
    amp ampule app appl applicator bag bottle cap caplet capful caps capsule capsules dose doses
    drop drops drp ea each enema film inh inhalation kit loz neb opdrop packet patch piece pill pkt
    ptch puff puffs ring spray sprays spry stck stick strip supp suppository syringe tab tablet
    tablets tabs troc troche tube vagtab vial vials waf wafer"""
_FORMS = frozenset(_DRUG_FORMS.split())
"""No units: known, so that the parser need not be loaded to refuse them."""

_TEN = re.compile(r"^x?10(?:\^|\*\*?|e|exp)?\(?(3|6|9|12)\)?$", re.IGNORECASE)
_BETWEEN = re.compile(r"[/.()]+")
_NUMBER = re.compile(r"\d+(?:[*^]-?\d+)?")
_BRACKETED = re.compile(r"[kmunp]?\[[^\[\]]+\]|[cmk]?m\[(?:Hg|H2O)\]")
_DEGREES = re.compile(
    r"(?:°|\bdeg(?:rees?)?\b\.?)\s*(?=(?:[CF]|celsius|fahrenheit)$)", re.IGNORECASE
)
_EQUIVALENT = re.compile(r"(?<=[A-Za-z])[ (]+(FEU|DDU)\)?$")
_ANNOTATION = re.compile(r"[/.]?\{[^{}]*\}")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Say what a unit measures: `value * factor + offset` is the value in the kind's own unit."""

    kind: str
    """What is of one kind can be converted: dimensions above and below the line. Arbitrary units,
    equivalents, percent and the like are each of their own kind."""

    factor: float
    offset: float = 0.0


@lru_cache(maxsize=1 << 14)
def spell(unit: str) -> str | None:
    """Give the UCUM of a unit as it was written, or None where that is none or not sure.

    >>> [spell(u) for u in ("mmHg", "K/uL", "beats/minute", "x10^9/L", "° F", "mg/dl", "TAB")]
    ['mm[Hg]', '10*3/uL', '/min', '10*9/L', '[degF]', 'mg/dl', None]
    >>> spell("G/L") is None  # grams or 10*9?
    True
    """
    written = unit.strip()
    if not written or len(written) > _LONGEST or written in _AMBIGUOUS:
        return None
    if written.lower() in _FORMS:
        return None
    if written in _WHOLE or _is_known(written):
        return _WHOLE.get(written, written)
    plain = written.replace("μ", "u").replace("µ", "u").replace("²", "2").replace("³", "3")
    plain = _DEGREES.sub("", plain)
    plain = _EQUIVALENT.sub(r"{\1}", plain)
    plain = re.sub(r"\bper\b", "/", plain)
    plain = re.sub(
        r"(?<=1\.73) (?=m)|(?<=mm) (?=Hg)|(?<=cm) (?=H2O)", "", plain, flags=re.I
    ).strip()
    if plain in _WHOLE:
        return _WHOLE[plain]
    parts = [part.strip().rstrip(".") for part in plain.split("/")]
    if len(parts) > 1:
        parts[0] = {"K": "10*3", "M": "10*6"}.get(parts[0], parts[0])
    found = [_spell_part(part) for part in parts]
    if None not in found:
        told = "/".join(part for part in found if part is not None)
        told = told.replace("{count}/", "/", 1)
        if is_clinical(told) and measure(told) is not None:
            return told
    return written if is_clinical(written) and measure(written) is not None else None


def is_clinical(ucum: str) -> bool:
    """Say whether each unit in this is one that a chart means when it writes so.

    >>> [is_clinical(u) for u in ("ng/mL{DDU}", "m[IU]/L", "mL/(min.m2)", "EU/mL", "pc")]
    [True, True, True, False, False]
    """
    return all(map(_is_plain_unit, _BETWEEN.split(_ANNOTATION.sub("", ucum))))


def _is_plain_unit(part: str) -> bool:
    if not part or _NUMBER.fullmatch(part):
        return True
    alone = part if part.endswith("]") else part.rstrip("0123456789").rstrip("+-")
    return alone in _PLAIN_UNITS or _BRACKETED.fullmatch(alone) is not None


def _spell_part(part: str) -> str | None:
    ten = _TEN.match(part.replace(" ", ""))
    if ten:
        return f"10*{ten[1]}"
    if part in _WHOLE:  # mM/L: mmol/L, or mM?
        return None
    return part if not part or _is_known(part) else _WORD.get(part.lower())


def _is_known(ucum: str) -> bool:
    plain = _ANNOTATION.sub("", ucum) if "{" in ucum else ucum
    return plain in ("", "1") or plain in _known()


@lru_cache(maxsize=1 << 14)
def measure(ucum: str) -> Measure | None:
    """Say what a UCUM unit measures, or None where it is not UCUM or on no straight scale (pH).

    Annotations say what is counted, not how much of it: `{beats}/min` is `/min`.

    >>> cel, fahrenheit = measure("Cel"), measure("[degF]")
    >>> cel.kind == fahrenheit.kind
    True
    >>> measure("mg/dL").kind == measure("mmol/L").kind
    False
    """
    plain = _ANNOTATION.sub("", ucum) if "{" in ucum else ucum
    if plain.startswith(("*", "^")) or plain in ("", "1"):
        return Measure(kind="1", factor=1.0) if plain in ("", "1") else None
    known = _known().get(plain)
    return known if known is not None else parse_unit(plain)


@lru_cache(maxsize=1)
def _known() -> dict[str, Measure]:
    with KNOWN_UNITS.open(encoding="utf-8", newline="") as lines:
        return {
            row["unit"]: Measure(
                kind=row["kind"], factor=float(row["factor"]), offset=float(row["offset"])
            )
            for row in csv.DictReader(lines)
        }


_parser_lock = threading.Lock()  # batches are projected side by side, and pint is for one thread


def parse_unit(ucum: str) -> Measure | None:
    """Say what a UCUM unit measures, by ucumvert and pint alone."""
    with _parser_lock:
        return _parse(ucum)


@lru_cache(maxsize=1)
def _registry() -> Any:
    # Here, for it takes two thirds of a second, and most units are in the file.
    from ucumvert import PintUcumRegistry

    return PintUcumRegistry()


def _parse(ucum: str) -> Measure | None:
    if not ucum.isascii() or ucum.isdigit() or any(c.isspace() for c in ucum):
        return None  # of a number, a code of another system was written where the unit belongs
    registry = _registry()
    try:
        quantity = registry.from_ucum(ucum)
        units = dict(quantity._units.items())  # as written, nothing cancelled
        factor = float(quantity.magnitude)
        if list(units.values()) == [1]:
            alone = _alone(registry, next(iter(units)))
            if alone is not None:
                return Measure(
                    kind=alone.kind, factor=_neat(factor * alone.factor), offset=_neat(alone.offset)
                )
        above, below = {}, {}
        for name, power in units.items():
            if not float(power).is_integer():
                return None
            alone = _alone(registry, name)
            if alone is None or alone.offset:
                return None
            factor *= alone.factor ** int(power)
            if alone.kind != "1":
                side = above if power > 0 else below
                for dimension, times in _powers(alone.kind):
                    side[dimension] = side.get(dimension, 0) + times * abs(int(power))
    except Exception:  # a stranger's text: whatever the parser says of it, it is no unit
        return None
    kind = "/".join(filter(None, (_kind(above) or "1", _kind(below))))
    return Measure(kind=kind, factor=_neat(factor))


def _neat(number: float) -> float:
    """Drop what binary fractions leave behind: 0.009999999999999997 is 0.01."""
    return float(f"{number:.13g}")


def _alone(registry: Any, name: str) -> Measure | None:
    """Measure one unit of pint's, or None where it is on no straight scale."""
    (prefix, unit, _), *_ = registry.parse_unit_name(name)
    times = float(registry.Quantity(1, name).to(unit).magnitude) if prefix else 1.0
    if unit in ("equivalents", "osmole", "drop"):
        return Measure(kind=unit, factor=times)
    if registry._units[unit].is_logarithmic:  # bel, pH: no straight scale
        return None
    values = [registry.Quantity(n, unit).to_base_units() for n in (0.0, 1000.0)]
    none, some = (float(value.magnitude) for value in values)
    factor = (some - none) / 1000
    kind = _kind({d.strip("[]"): int(n) for d, n in values[0].dimensionality.items()})
    if not kind:
        if unit in ("_10", "count"):
            return Measure(kind="1", factor=times * factor)
        return Measure(kind=unit, factor=times)
    return Measure(kind=kind, factor=times * factor, offset=none)


def _kind(dimensions: dict[str, int]) -> str:
    return " ".join(
        name if power == 1 else f"{name}^{power}"
        for name, power in sorted(dimensions.items())
        if power
    )


def _powers(kind: str) -> list[tuple[str, int]]:
    return [
        (name, int(power or 1))
        for name, _, power in (part.partition("^") for part in kind.split(" "))
    ]
