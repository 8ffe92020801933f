import csv
import json
from pathlib import Path
from typing import Any

import pytest

from ingest import ucum
from ingest.conventions import CONVENTIONS, Conventions
from ingest.errors import MappingError, StoreError
from ingest.info import describe_store, write_store_page
from ingest.report import describe_report
from ingest.store import RecordStore
from ingest.store_facts import read_facts
from ingest.ucum import KNOWN_UNITS, measure, parse_unit, spell
from ingest.units import PREFERRED_UNITS, change_unit, molar_mass
from tests.ingest.exports import PATIENT, ingested, observation, write_ndjson


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


KNOWN = rows_of(KNOWN_UNITS)
PREFERRED = rows_of(PREFERRED_UNITS)


@pytest.mark.parametrize("row", KNOWN, ids=lambda row: row["unit"])
def test_what_is_known_by_heart_is_what_the_parser_says(row) -> None:
    parsed = parse_unit(row["unit"])
    assert parsed is not None
    assert parsed.kind == row["kind"]
    assert float(row["factor"]) == pytest.approx(parsed.factor, rel=1e-12)
    assert float(row["offset"]) == pytest.approx(parsed.offset, rel=1e-9)


def test_each_unit_is_known_once_and_each_code_preferred_once() -> None:
    for rows, name in ((KNOWN, "unit"), (PREFERRED, "code")):
        names = [row[name] for row in rows]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("row", PREFERRED, ids=lambda row: row["code"])
def test_a_preferred_unit_is_a_unit_and_stays(row) -> None:
    change = change_unit(row["code"], row["unit"])
    assert change is not None
    assert (change.unit, change.factor, change.offset) == (row["unit"], 1.0, 0.0)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("mmHg", "mm[Hg]"),
        ("mm Hg", "mm[Hg]"),
        ("cmH2O", "cm[H2O]"),
        ("bpm", "/min"),
        ("beats/minute", "/min"),
        ("breaths per minute", "/min"),
        ("deg C", "Cel"),
        ("degrees F", "[degF]"),
        ("°F", "[degF]"),
        ("lbs", "[lb_av]"),
        ("inches", "[in_i]"),
        ("K/uL", "10*3/uL"),
        ("K/ul", "10*3/uL"),
        ("UG/ML", "ug/mL"),
        ("M/uL", "10*6/uL"),
        ("x10^3/uL", "10*3/uL"),
        ("10E3/mm3", "10*3/mm3"),
        ("x10(9)/L", "10*9/L"),
        ("thou/mcL", "10*3/uL"),
        ("µg/L", "ug/L"),
        ("mcg", "ug"),
        ("MG", "mg"),
        ("ML", "mL"),
        ("G/DL", "g/dL"),
        ("mg%", "mg/dL"),
        ("uIU/mL", "u[IU]/mL"),
        ("mEq/L", "meq/L"),
        ("kg/m²", "kg/m2"),
        ("mL/min/1.73 m2", "mL/min/{1.73_m2}"),
        ("years", "a"),
        ("/hpf", "/[HPF]"),
        ("mg/(24.h)", "mg/(24.h)"),
        ("mg/{pt}", "mg/{pt}"),
        ("[pt_us]", "[pt_us]"),
        (" mg/dl ", "mg/dl"),
    ],
)
def test_what_people_write_for_a_unit_is_read(written: str, told: str) -> None:
    assert spell(written) == told


@pytest.mark.parametrize(
    "written",
    [
        *("", "K", "M", "T", "G/L", "TAB", "puff", "258813002", "mg PE", "(score)", "unknown"),
        *("x" * 100, "mg//", "[pH", "MD to order daily dose", "½ tablet", "\0"),
    ],
)
def test_what_is_no_unit_or_may_be_two_is_not_guessed(written: str) -> None:
    assert spell(written) is None


def test_common_units_need_no_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes longer to load than one patient's upload may take."""

    def load() -> None:
        raise AssertionError("the parser was loaded")

    monkeypatch.setattr(ucum, "_registry", load)
    for cached in (spell, measure):
        cached.cache_clear()
    for row in PREFERRED:
        assert change_unit(row["code"], row["unit"]) is not None
    for written in ("mmHg", "K/uL", "°F", "beats/min", "mEq/L", "mcg", "TAB", "IU/L", "{score}"):
        spell(written)


def test_what_is_on_no_straight_scale_is_not_measured() -> None:
    assert [measure(u) for u in ("[pH]", "B[SPL]", "dB")] == [None] * 3


@pytest.mark.parametrize(
    ("code", "unit", "factor"),
    [
        # Young DS, Huth EJ: SI Units for Clinical Measurement (1998), from SI to conventional.
        ("2345-7", "mmol/L", 18.02),  # glucose
        ("2160-0", "umol/L", 1 / 88.4),  # creatinine
        ("3094-0", "mmol/L", 2.801),  # urea nitrogen
        ("1975-2", "umol/L", 1 / 17.1),  # bilirubin
        ("2093-3", "mmol/L", 38.67),  # cholesterol
        ("2571-8", "mmol/L", 88.57),  # triglycerides
        ("17861-6", "mmol/L", 4.008),  # calcium
        ("17861-6", "meq/L", 2.004),
        ("19123-9", "mmol/L", 2.431),  # magnesium
        ("2777-1", "mmol/L", 3.097),  # phosphate
        ("3084-1", "umol/L", 1 / 59.48),  # urate
        ("718-7", "mmol/L", 1.611),  # haemoglobin, monomer
        ("3026-2", "nmol/L", 1 / 12.87),  # thyroxine
        ("3024-7", "pmol/L", 1 / 12.87),  # free thyroxine
        ("2143-6", "nmol/L", 1 / 27.59),  # cortisol
        ("2132-9", "pmol/L", 1.355),  # cobalamin
        ("2284-8", "nmol/L", 1 / 2.266),  # folate
        ("1989-3", "nmol/L", 1 / 2.496),  # 25-hydroxyvitamin D
        ("10535-3", "nmol/L", 1 / 1.281),  # digoxin
        ("2498-4", "umol/L", 1 / 0.179),  # iron
        ("2951-2", "meq/L", 1.0),  # sodium
        ("3016-3", "uIU/mL", 1.0),  # thyrotropin
        ("3016-3", "mU/L", 1.0),
        ("1742-6", "IU/L", 1.0),  # alanine aminotransferase
        ("1742-6", "ukat/L", 60.0),
    ],
)
def test_amounts_become_masses_by_the_published_factors(code, unit, factor: float) -> None:
    change = change_unit(f"LOINC//{code}", unit)
    assert change is not None
    assert change.factor == pytest.approx(factor, rel=4e-3)


def test_haemoglobin_a1c_follows_the_master_equation() -> None:
    change = change_unit("LOINC//4548-4", "mmol/mol")
    assert change is not None
    assert change.unit == "%"
    assert 53 * change.factor + change.offset == pytest.approx(7.0, abs=0.01)


@pytest.mark.parametrize(
    ("code", "unit"),
    [
        ("LOCAL//GLUCOSE", "mmol/L"),  # stays an amount: whose molar mass?
        ("ADMINISTERED//RXNORM//1191", "[IU]"),
        ("LOCAL//CALCIUM", "meq/L"),
        ("LOCAL//ANY", "%"),
        ("LOCAL//ANY", "{score}"),
    ],
)
def test_what_has_no_stated_analyte_stays_in_its_dimension(code: str, unit: str) -> None:
    change = change_unit(code, unit)
    assert change is not None
    assert (change.unit, change.factor) == (unit, 1.0)


@pytest.mark.parametrize(
    ("unit", "own", "factor"),
    [
        ("10*3", "10*6", 1e-3),
        ("10*6", "10*3", 1e3),
        ("thousands", "1", 1e3),
        ("{score}", "1", 1.0),
        ("1", "{score}", 1.0),
        ("10*3", "10*3", 1.0),
    ],
)
def test_a_pure_number_is_scaled_to_the_users_unit(unit: str, own: str, factor: float) -> None:
    change = change_unit("LOCAL//CELLS", unit, {"LOCAL//CELLS": own})
    assert change is not None
    assert (change.unit, change.factor, change.offset) == (own, factor, 0.0)


def test_what_a_code_cannot_be_in_is_not_converted() -> None:
    assert change_unit("LOINC//2160-0", "mm[Hg]") is None
    assert change_unit("LOINC//2708-6", "1") is None  # 97 of what?
    assert change_unit("LOCAL//SPEED", "m/s2") is None


@pytest.mark.parametrize(
    "code", ["LOCAL//ANY", "ADMINISTERED//ANY", *(r["code"] for r in PREFERRED)]
)
def test_converting_what_was_converted_changes_nothing(code: str) -> None:
    for row in KNOWN:
        change = change_unit(code, row["unit"])
        if change is not None:
            again = change_unit(code, change.unit)
            assert again is not None
            assert (again.unit, again.factor, again.offset) == (change.unit, 1.0, 0.0)


def test_a_molar_mass_is_the_sum_of_its_atoms() -> None:
    # IUPAC's abridged atomic weights, by hand: 12.011 × 6 + 1.008 × 12 + 15.999 × 6.
    assert molar_mass("C6H12O6") == pytest.approx(180.156)
    assert molar_mass("16114.5") == 16114.5


def value(number: float, unit: str, **more: Any) -> dict[str, Any]:
    return {"valueQuantity": {"value": number, "unit": unit, **more}}


def values(place: Path) -> list[tuple[Any, ...]]:
    events = RecordStore(place / "store").events().filter("numeric_value IS NOT NULL")
    return sorted(
        events.project("code, round(numeric_value::DOUBLE, 3), text_value, unit").fetchall()
    )


WEIGHTS = [
    PATIENT,
    observation("29463-7", value(200, "lb")),
    observation("29463-7", value(80, "kg")) | {"id": "kg"},
    observation("strange", value(2, "bits")),
    observation("strange", value(3, "bits")) | {"id": "more"},
    observation("antibody", value(5, "AU")),
]


def test_what_cannot_be_converted_is_kept_and_counted(tmp_path: Path) -> None:
    report = ingested(tmp_path, write_ndjson(tmp_path / "in.ndjson", *WEIGHTS))
    assert values(tmp_path) == [
        ("LOINC//29463-7", 80.0, None, "kg"),
        ("LOINC//29463-7", 90.718, None, "kg"),
        ("LOINC//antibody", 5.0, None, "AU"),
        ("LOINC//strange", 2.0, None, "bits"),
        ("LOINC//strange", 3.0, None, "bits"),
    ]
    assert report["units"] == {
        "converted": True,
        "kept_as_received": {"LOINC//antibody": {"AU": 1}, "LOINC//strange": {"bits": 2}},
        "several_units": {},
        "without_unit": {},
    }


BARE = {"valueQuantity": {"value": 96}}
MIXED = [
    PATIENT,
    *(
        observation(code, value) | {"id": f"{code}-{n}"}
        for code, values in {
            "sugar": (value(5.5, "mmol/L"), value(99, "mg/dL"), value(1, "g/L")),
            "saturation": (value(0.97, "1"), value(97, "%"), {"valueInteger": 97}, BARE),
            "pulse": ({"valueInteger": 70}, {"valueString": "none"}),
            "words": (value(70, "/min"), {"valueString": "none"}, {"valueString": "3"}),
        }.items()
        for n, value in enumerate(values)
    ),
]


def test_codes_that_come_to_several_units_or_to_numbers_without_are_counted(tmp_path: Path) -> None:
    report = ingested(tmp_path, write_ndjson(tmp_path / "in.ndjson", *MIXED))
    assert report["units"] == {
        "converted": True,
        "kept_as_received": {},
        "several_units": {
            "LOINC//saturation": {"%": 1, "1": 1},
            "LOINC//sugar": {"mg/dL": 2, "mmol/L": 1},
        },
        "without_unit": {"LOINC//saturation": 2, "LOINC//words": 1},
    }
    assert "codes whose numbers have several units: 2;" in describe_report(report)
    assert "that have one elsewhere: 3 (" in describe_report(report)
    facts = read_facts(RecordStore(tmp_path / "store"))
    words = describe_store(facts).splitlines()
    assert "LOINC//sugar  mg/dL 2, mmol/L 1" in words
    assert words.index("LOINC//saturation  2") < words.index("LOINC//words  1")
    write_store_page(facts, tmp_path / "page.html")
    assert "LOINC//sugar  mg/dL 2, mmol/L 1" in (tmp_path / "page.html").read_text("utf-8")


def test_an_addition_counts_units_as_a_full_build_does(tmp_path: Path) -> None:
    """What changed from one unit to another, or to none, leaves no count behind."""
    first, more = MIXED[:3], MIXED[3:]
    changed = [
        observation("sugar", BARE) | {"id": "sugar-0", "meta": {"versionId": "2"}},
        observation("saturation", value(96, "%")) | {"id": "saturation-2"},
    ]
    sources = [
        write_ndjson(tmp_path / f"{n}.ndjson", *lines)
        for n, lines in enumerate((first, more, changed))
    ]
    added = [ingested(tmp_path, source) for source in sources][-1]
    whole = ingested(tmp_path / "whole", *sources)
    index = json.loads((tmp_path / "store.raw" / "index" / "index.json").read_text("utf-8"))
    assert [build["whole"] for build in index["builds"]] == [True, False, False]
    assert added["units"] == whole["units"]
    assert added["units"]["several_units"] == {"LOINC//saturation": {"%": 2, "1": 1}}
    assert added["units"]["without_unit"] == {
        "LOINC//saturation": 1,
        "LOINC//sugar": 1,
        "LOINC//words": 1,
    }


def test_units_are_kept_on_request_and_the_next_ingest_remembers(tmp_path: Path) -> None:
    source = write_ndjson(tmp_path / "in.ndjson", *WEIGHTS)
    first = ingested(tmp_path, source, conventions=Conventions(keep_units=True))
    kept = values(tmp_path)
    assert ("LOINC//29463-7", 200.0, None, "lb") in kept
    assert first["units"] == {
        "converted": False,
        "kept_as_received": {},
        "several_units": {"LOINC//29463-7": {"kg": 1, "lb": 1}},
        "without_unit": {},
    }
    ingested(tmp_path, source)
    assert values(tmp_path) == kept
    ingested(tmp_path, source, conventions=Conventions())
    assert ("LOINC//29463-7", 90.718, None, "kg") in values(tmp_path)


def test_the_unit_does_not_depend_on_what_else_is_in_the_data(tmp_path: Path) -> None:
    """One patient's record is read at serving time as it was among all others."""
    units = ("mmol/L", "mg/dL", "g/L", "umol/L", "mg/L")
    people = [
        [
            {"resourceType": "Patient", "id": unit},
            *(
                observation(code, value(5, unit))
                | {"id": f"{code}-{unit}", "subject": {"reference": f"Patient/{unit}"}}
                for code in ("2345-7", "local")
            ),
        ]
        for unit in units
    ]
    together = [line for person in people for line in person]
    ingested(tmp_path, write_ndjson(tmp_path / "all.ndjson", *together))
    alone = []
    for number, person in enumerate(people):
        place = tmp_path / str(number)
        ingested(place, write_ndjson(place / "in.ndjson", *person))
        alone += values(place)
    assert values(tmp_path) == sorted(alone)


def test_a_mapped_csv_is_converted_too(tmp_path: Path) -> None:
    folder = tmp_path / "csv"
    folder.mkdir()
    (folder / "data.csv").write_text("patient,day,temp\np,0,98.6\n", "utf-8")
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(
        "file: data.csv\nsubject: patient\ntime: {offset: day}\nmeasurements:\n"
        "  - {column: temp, code: LOINC//8310-5, unit: '[degF]'}\n",
        "utf-8",
    )
    ingested(tmp_path, folder, mapping=mapping)
    assert values(tmp_path) == [("LOINC//8310-5", 37.0, None, "Cel")]


def test_damaged_conventions_are_named(tmp_path: Path) -> None:
    source = write_ndjson(tmp_path / "in.ndjson", *WEIGHTS)
    ingested(tmp_path, source)
    kept = tmp_path / "store.raw" / CONVENTIONS
    whole = json.loads(kept.read_text("utf-8"))
    assert whole == Conventions().to_json()
    for damaged in ("", "[]", "{}", json.dumps({**whole, "default_prefix": "no prefix"})):
        kept.write_text(damaged, "utf-8")
        with pytest.raises(StoreError, match=r"conventions\.json is damaged"):
            ingested(tmp_path, source)


def test_a_prefix_that_says_what_an_event_is_is_refused() -> None:
    with pytest.raises(MappingError, match="Medweave's own codes begin with it"):
        Conventions(default_prefix="ORDER")
    with pytest.raises(MappingError, match="capitals, digits"):
        Conventions(default_prefix="a b")
