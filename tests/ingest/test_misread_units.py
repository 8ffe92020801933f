"""What UCUM would take for another unit than a chart means."""

import pytest

from ingest.ucum import measure, spell
from ingest.units import change_unit
from tests.ingest.test_units import KNOWN


@pytest.mark.parametrize("written", ["AU", "au", "pt", "Pt", "PT", "st", "at", "as", "ar", "Ps"])
def test_what_charts_abbreviate_is_no_astronomical_unit_nor_picotonne(written: str) -> None:
    assert measure(written) is not None, "UCUM has it"
    assert written not in {row["unit"] for row in KNOWN}
    for unit in (written, f" {written} ", f"{written}/mL", f"g/{written}", f"10*3 {written}"):
        assert spell(unit) is None
        assert change_unit("LOCAL//ANY", unit) is None


@pytest.mark.parametrize(
    "written",
    [
        *("EU/dL", "EU/mL", "TU", "PU", "GU", "MU", "MU/L", "MU/mL", "M[IU]/L", "mu/L"),
        *("hu", "pc", "ct", "J", "ly", "u[Hg]", "PL", "EL", "EV", "eV", "t", "b", "Oe", "MBq"),
        *("das", "ks", "hm", "Ym", "erg", "''", "10*3.TU", "g/ct", "mM/L"),
    ],
)
def test_what_only_ucum_would_take_for_exaunits_parsecs_or_daltons_is_no_unit(written: str) -> None:
    assert spell(written) is None
    assert change_unit("LOCAL//ANY", written) is None


@pytest.mark.parametrize("written", ["°", "90 °", "degrees", "°/s", "deg/s°"])
def test_degrees_of_what_nobody_says_are_not_dropped(written: str) -> None:
    assert spell(written) is None


@pytest.mark.parametrize("prefix", ["E", "P", "T", "G", "M", "Y", "Z", "a", "z", "y", "h", "da"])
def test_no_unit_of_a_chart_has_a_prefix_that_no_chart_uses(prefix: str) -> None:
    for unit in ("U", "g", "L", "m", "mol", "kat", "s", "eq", "[IU]"):
        found = spell(f"{prefix}{unit}/L")
        assert found is None or not found.startswith(prefix)


def test_molar_is_no_length() -> None:
    for written, unit in (("mM", "mmol/L"), ("µM", "umol/L"), ("nM", "nmol/L")):
        assert spell(written) == unit
    for code in ("LOINC//2524-7", "LOCAL//LACTATE"):
        change = change_unit(code, "mM")
        assert change is not None
        assert (change.unit, change.factor) == ("mmol/L", 1.0)


@pytest.mark.parametrize(
    ("code", "written", "factor"),
    [
        ("48065-7", "ng/mL{FEU}", 1.0),
        ("48065-7", "ng/mL", 1.0),
        ("48065-7", "ug/mL FEU", 1e3),
        ("48065-7", "ng{FEU}/mL", 1.0),
        ("48065-7", "ng/mL{DDU}", None),
        ("48065-7", "ng/mL DDU", None),
        ("48066-5", "ng/mL (DDU)", 1.0),
        ("48066-5", "ng/mL{FEU}", None),
        ("33914-3", "mL/min/{1.73_sq.m}", 1.0),
        ("33914-3", "mL/min/{BSA}", None),
        ("8867-4", "{beats}/min", 1.0),
        ("local", "ng/mL{DDU}", None),
        ("local", "ng/mL{total}", 1e-4),
    ],
)
def test_two_different_annotations_are_two_units(code, written, factor: float | None) -> None:
    change = change_unit(f"LOINC//{code}", written)
    assert (change and change.factor) == factor


def test_a_factor_that_no_two_units_of_a_chart_have_is_not_applied() -> None:
    assert change_unit("LOCAL//ANY", "kg/fL") is None
    assert change_unit("LOCAL//ANY", "fg") is None
    assert change_unit("LOCAL//ANY", "pg") is not None
