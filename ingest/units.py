"""Give each code one unit: the numbers of `projected` in UCUM, the same at training and serving.

Which unit depends on nothing but the code and the unit as received, never on what else is in the
data: one patient's Bundle at serving time must come out as the store did that the model was trained
on. So the unit of a code is

1. what the user's code map says (ingest/code_map.py);
2. else what `preferred_units.csv` says, for the LOINC codes that are measured most;
3. else the one of its dimension (mass concentration mg/dL, pressure mm[Hg], temperature Cel, …),
   where drugs have their own (mg, mL, mL/h).

Between mass and amount of substance only the analyte's molar mass converts; the table states its
formula, and only there is it done (glucose, creatinine, …). Equivalents need a valence, likewise.
A catalytic unit and an international unit are taken for the same where the table or the user says
which of them a code has (an ALT in IU/L, a TSH in mU/L).

Annotations say what is counted, and are dropped where the code's unit has none; two different ones
are two units (D-dimer in {DDU} is half of what it is in {FEU}), and so is one of these two where
the code's unit has none. A factor that no two units of one chart have is taken for a misread unit,
and not applied.

What can't be converted is kept as it was. Percent and scores have no other unit. So a code can come
to have several units (5.5 mmol/L and 99 mg/dL of what has no molar mass here; 0.97 and 97 %), or
numbers without any: the report counts these, code by code.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest.ucum import Measure, measure, spell

__all__ = [
    "CHANGE",
    "CHANGE_TYPE",
    "PREFERRED_UNITS",
    "UNIT_ROWS",
    "Change",
    "change_unit",
    "count_units",
    "make_changes",
    "molar_mass",
]

PREFERRED_UNITS = Path(__file__).resolve().parent / "preferred_units.csv"

_MEASURED = (
    *("kg", "cm", "cm2", "mL", "d", "Cel", "mm[Hg]", "/min", "Hz", "mL/min", "mg/d", "cm/s"),
    *("kg/m2", "mg/dL", "mmol/L", "10*3/uL", "[IU]/L", "U/L", "meq/L", "mosm/kg", "mosm/L"),
    *("mmol", "meq", "U", "[IU]", "mg/g", "mmol/mol", "mg/mmol", "mmol/d", "mmol/kg", "mL/kg"),
    *("mL/kg/h", "L/min/m2", "mL/m2", "mg/kg/h", "mV", "kcal", "[arb'U]/mL", "[CFU]/mL"),
)
_GIVEN = ("mg", "mL", "mL/h", "mg/h", "mg/m2", "mg/kg")
_DRUG = re.compile(r"^(ADMINISTERED|ORDER|DISPENSED|STATED|IMMUNIZATION)//")

_EQUIVALENTS = frozenset({"feu", "ddu"})
"""Annotations of how much, rather than of what: fibrinogen equivalents, or D-dimer itself."""

_ANNOTATIONS = re.compile(r"\{([^{}]*)\}")
_LEAST_FACTOR, _MOST_FACTOR = 0.9e-15, 1.1e9
"""A picogram in kilograms is the smallest that a chart has; nothing in one is so large."""

_SCALES = {
    # The master equation of IFCC and NGSP (Hoelzel et al., Clin Chem 2004; 50: 166).
    ("LOINC//4548-4", "mmol/mol"): ("%", 0.09148, 2.152),
    ("LOINC//17856-6", "mmol/mol"): ("%", 0.09148, 2.152),
}
"""Two scales of one thing that no physics joins: target, factor and offset."""

_WEIGHTS = {
    "H": 1.008,
    "Li": 6.94,
    "C": 12.011,
    "N": 14.007,
    "O": 15.999,
    "Mg": 24.305,
    "P": 30.974,
    "Cl": 35.45,
    "Ca": 40.078,
    "Fe": 55.845,
    "Co": 58.933,
    "I": 126.904,
}
"""Standard atomic weights, abridged (IUPAC, CIAAW 2021), g/mol."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """Say what becomes of a value: `value * factor + offset`, in `unit`."""

    unit: str
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, kw_only=True)
class _Preferred:
    unit: str
    molar_mass: float | None = None
    valence: int | None = None


def change_unit(code: str, unit: str, own: Mapping[str, str] | None = None) -> Change | None:
    """Say how a value of a code in a unit is to be written, or None where it can't be converted.

    >>> change_unit("LOINC//8310-5", "[degF]").unit
    'Cel'
    >>> round(5.5 * change_unit("LOINC//2345-7", "mmol/L").factor, 1)
    99.1
    >>> change_unit("ADMINISTERED//RXNORM//243670", "TAB") is None
    True

    Args:
        code: the event's code.
        unit: as received.
        own: units that the user set, by code.
    """
    ucum = spell(unit)
    found = measure(ucum) if ucum is not None else None
    if ucum is None or found is None:
        return None
    chosen = (own or {}).get(code)
    stated = _preferred().get(code)
    if chosen is None and (code, ucum) in _SCALES:
        target, factor, offset = _SCALES[code, ucum]
        return Change(unit=target, factor=factor, offset=offset)
    if chosen is None and stated is None:
        target = _by_kind(drug=bool(_DRUG.match(code))).get(found.kind)
        if target is None:
            # A percentage or a score stays; of another kind, a code may come in two units.
            return Change(unit=ucum) if _is_plain(found) else None
        return _scale(found, measure(target), target) if _counts_alike(ucum, target) else None
    target = chosen or (stated.unit if stated else "")
    aim = measure(target)
    if aim is None or not _counts_alike(ucum, target):
        return None
    if found.kind == aim.kind:
        return _scale(found, aim, target)
    return _scale(_bridged(found, aim, stated), aim, target)


def _is_plain(found: Measure) -> bool:
    return found.kind == "1" or found.kind in ("percent", "ppm", "ppth")


def _counts_alike(ucum: str, target: str) -> bool:
    """Say whether annotations let the one be written as the other."""
    theirs, ours = _counted(ucum), _counted(target)
    if not theirs or theirs == ours:
        return True
    return not ours and not theirs & _EQUIVALENTS


def _counted(ucum: str) -> frozenset[str]:
    # As people spell them: {1.73_m2}, {1.73m2}, {1.73_sq.m}.
    plain = (re.sub(r"[^a-z0-9]", "", a.lower()) for a in _ANNOTATIONS.findall(ucum))
    return frozenset(a.replace("sqm", "m2") for a in plain)


def _scale(found: Measure | None, aim: Measure | None, target: str) -> Change | None:
    if found is None or aim is None or found.kind != aim.kind:
        return None
    factor = float(f"{found.factor / aim.factor:.12g}")
    if not _LEAST_FACTOR < factor < _MOST_FACTOR:
        return None
    offset = float(f"{(found.offset - aim.offset) / aim.factor:.12g}")
    return Change(unit=target, factor=factor, offset=offset)


def _bridged(found: Measure, aim: Measure, stated: _Preferred | None) -> Measure | None:
    """Give what was found as a measure of the other's kind, where the analyte is known."""
    catalytic, international = "substance time^-1", "international_unit"
    unit = measure("U")
    if unit is not None:
        if found.kind.replace(international, catalytic) == aim.kind:
            return Measure(kind=aim.kind, factor=found.factor * unit.factor)
        if found.kind.replace(catalytic, international) == aim.kind:
            return Measure(kind=aim.kind, factor=found.factor / unit.factor)
    if stated is None:
        return None
    kind, factor = found.kind, found.factor
    if kind.startswith("equivalents") and stated.valence:
        kind, factor = kind.replace("equivalents", "substance", 1), factor / stated.valence
    if kind == aim.kind:
        return Measure(kind=kind, factor=factor)
    if stated.molar_mass is None:
        return None
    kilograms = stated.molar_mass / 1000
    if kind.startswith("substance") and kind.replace("substance", "mass", 1) == aim.kind:
        return Measure(kind=aim.kind, factor=factor * kilograms)
    if kind.startswith("mass") and kind.replace("mass", "substance", 1) == aim.kind:
        return Measure(kind=aim.kind, factor=factor / kilograms)
    return None


def molar_mass(formula: str) -> float:
    """Add up a formula's atomic weights in g/mol; a number is taken as it is.

    >>> round(molar_mass("C6H12O6"), 2), molar_mass("16114.5")
    (180.16, 16114.5)
    """
    if formula[0].isdigit():
        return float(formula)
    parts = re.findall(r"([A-Z][a-z]?)(\d*)", formula)
    return sum(_WEIGHTS[element] * int(times or 1) for element, times in parts)


@lru_cache(maxsize=1)
def _preferred() -> dict[str, _Preferred]:
    with PREFERRED_UNITS.open(encoding="utf-8", newline="") as lines:
        return {
            row["code"]: _Preferred(
                unit=row["unit"],
                molar_mass=molar_mass(row["formula"]) if row["formula"] else None,
                valence=int(row["valence"]) if row["valence"] else None,
            )
            for row in csv.DictReader(lines)
        }


@lru_cache(maxsize=2)
def _by_kind(*, drug: bool) -> dict[str, str]:
    units = (*_MEASURED, *_GIVEN) if drug else _MEASURED
    return {found.kind: unit for unit in units if (found := measure(unit)) is not None}


CHANGE_TYPE = "STRUCT(unit VARCHAR, factor DOUBLE, shift DOUBLE)"
CHANGE = pa.struct(
    [
        pa.field("unit", pa.string()),
        pa.field("factor", pa.float64()),
        pa.field("shift", pa.float64()),
    ]
)


def make_changes(codes: pa.Array, units: pa.Array, own: Mapping[str, str]) -> pa.Array:
    """Answer `change_unit` for columns of codes and units: what SQL calls as `unit_change`."""
    pairs = zip(codes.to_pylist(), units.to_pylist(), strict=True)
    found = [None if None in pair else change_unit(*pair, own) for pair in pairs]
    rows = [c and {"unit": c.unit, "factor": c.factor, "shift": c.offset} for c in found]
    return pa.array(rows, CHANGE)


UNIT_ROWS = """
SELECT code, unit, {measured} AS measured, {n}::BIGINT AS n FROM {table}
WHERE unit IS NOT NULL OR {measured} GROUP BY ALL ORDER BY ALL
"""
"""What `count_units` reads, of a table with a row an event or one that has counted them."""


def count_units(
    rows: Iterable[tuple[str, str | None, bool, int]], own: Mapping[str, str], *, converted: bool
) -> dict[str, Any]:
    """Say for the report what units the events have.

    >>> found = count_units([("LOINC//1", "%", True, 5), ("LOINC//1", None, True, 2)], {},
    ...                     converted=True)
    >>> found["without_unit"]
    {'LOINC//1': 2}

    Args:
        rows: code, unit, whether a number is there, and how many events are so, in a fixed order.
        own: units that the user set, by code.
        converted: whether units were converted at all.

    Returns:
        `converted`; `kept_as_received`, events by code and unit that are no UCUM or can't be
        converted; `several_units`, numbers by code and unit of the codes with more than one; and
        `without_unit`, numbers by code of the codes that have a unit elsewhere.
    """
    kept: dict[str, dict[str, int]] = {}
    units: dict[str, dict[str, int]] = {}
    bare: dict[str, int] = {}
    for code, unit, measured, n in rows:
        if unit is None:
            bare[code] = n
            continue
        if converted and change_unit(code, unit, own) is None:
            by_unit = kept.setdefault(code, {})
            by_unit[unit] = by_unit.get(unit, 0) + n
        if measured:
            units.setdefault(code, {})[unit] = n
    return {
        "converted": converted,
        "kept_as_received": kept,
        "several_units": {code: by_unit for code, by_unit in units.items() if len(by_unit) > 1},
        "without_unit": {code: n for code, n in bare.items() if code in units},
    }
