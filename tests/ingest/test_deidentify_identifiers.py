"""Numbers: what is called an identifier, what is the patient's, ages, and values that stay."""

import re
from pathlib import Path

import pytest

from ingest.build import ingest
from ingest.deidentify_dates import DateStyle
from ingest.deidentify_terms import Terms
from ingest.deidentify_text import Scrubber
from ingest.store import RecordStore
from tests.ingest.exports import observation, write_ndjson


def scrubber(*ids: str) -> Scrubber:
    terms = Terms()
    for value in ids:
        terms.add_id(value, own=True)
    return Scrubber(terms=terms, style=DateStyle(days=0))


@pytest.mark.parametrize("value", ["00445566", "445566", "MRN-00445566"])
def test_an_identifier_is_known_as_a_number_without_its_zeros(value: str) -> None:
    who = scrubber(value, "00000005", "0120")
    assert who.is_identifier("445566")
    assert not any(who.is_identifier(number) for number in ("5", "120", "445567", "44556"))
    assert who.scrub("pt 445566, 00445566; 5 mg, 120/80") == "pt [ID], [ID]; 5 mg, 120/80"


@pytest.mark.parametrize(
    "text",
    [
        "MR# [123456]",
        "MRN[123456]",
        "mrn#[123456]",
        "Med. Rec. No.: [123456]",
        "Unit No: [123456]",
        "Hosp # [123456]",
        "Pt# [123456]",
        "FIN: [1234567]",
        "HAR [123456]",
        "Enc# [123456]",
        "DL# [S123-4567-8901]",
        "MBI [1EG4-TE5-MK73]",
        "VIN [1HGCM82633A004352]",
        "KVNR [A123456789]",
        "Vers.-Nr. [123456]",
        "Aufnahmenummer: [7001234]",
        "Histo-Nr. [H24-12345]",
        "IBAN [DE89370400440532013000]",
        "Konto [DE89 3704 0044 0532 0130 00]",
        "SVNR [12 120350 W 012]",
        "SV-Nr. [1234 010180]",
        "called 617/555-1234, 617 5551234",
    ],
)
def test_a_number_that_is_called_an_identifier_goes_though_no_record_has_it(text: str) -> None:
    written = re.sub(r"[\[\]]", "", text)
    tagged = re.sub(r"\[[^\]]*\]", "[ID]", text)
    assert scrubber().scrub(written) == re.sub(r"617.555-?1234", "[CONTACT]", tagged)


@pytest.mark.parametrize(
    "text",
    [
        "Mr 4711, Mr. 1234; MR 2019, MR angiography 2020, MR: 1500",
        "10 units 1200, unit 4 North, unit no 3, Hosp 2019, hosp day 3, DL 1234, rec 5, record 10",
        "in Fall 2019, hospital 2019, case 2020, pt 1950",
        "PID 2019, enc to rest, a fin, har, vin, versus 1234, Vers 12, Konto, Histo 2019, Pass 4",
        "BP 120/80, 617/555, 120 5551234, vital 12 120350, Nr. 4, Labor 1200 mg, 1E6 cells",
        "L4-L5, T12 120 W, code DE89, 1A2B3C4",
    ],
)
def test_words_that_may_stand_before_an_identifier_stay_with_their_numbers(text: str) -> None:
    assert scrubber().scrub(text) == text


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("93yoF, 93 yo F, 93 y/F, 93yF", "90+yoF, 90+ yo F, 90+ y/F, 90+yF"),
        ("93/F, M/101, F/93, 93/f, 95/m with pain", "90+/F, M/90+, F/90+, 90+/f, 90+/m with pain"),
        ("94j. Pat., 94jähr. Pat., 94 j. alt", "90+j. Pat., 90+jähr. Pat., 90+ j. alt"),
        ("83yoF, 83/F, F/83, 84j. Pat.", "83yoF, 83/F, F/83, 84j. Pat."),
        ("HR 93/min, 120/F, F/93%, 120 J. Patient, BP 93/60", None),
        ("93 yards, T 101F, temp 101/F, fever to 102F, temp: 99F, 100J. Patient shocked", None),
    ],
)
def test_an_age_of_over_89_goes_in_its_short_forms(text: str, scrubbed: str | None) -> None:
    assert scrubber().scrub(text) == (scrubbed or text)


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("WBC 36602/uL, WBC 36602, platelets: 36602", None),
        ("BNP 12345 pg/ml, ferritin 12345, CK 12345 U/L", None),
        ("12345 copies/ml, 12345 units, 36602 mm, 36602 cells/mm3", None),
        ("pt 12345, MRN 12345 M 64, 12345 in 2020", "pt [ID], MRN [ID] M 64, [ID] in 2020"),
        ("MO 36602; ZIP 36602.", "MO [ADDRESS]; ZIP [ADDRESS]."),
    ],
)
def test_a_value_that_is_the_patients_number_by_chance_stays(
    text: str, scrubbed: str | None
) -> None:
    who = scrubber("12345")
    who.terms.add_place(postal_code="36602")
    assert who.scrub(text) == (scrubbed or text)


def test_an_identifier_that_is_a_value_goes_from_the_store_and_other_values_stay(
    tmp_path: Path,
) -> None:
    person = {
        "resourceType": "Patient",
        "id": "p",
        "name": [{"family": "van den Berg", "given": ["Anna"]}],
        "identifier": [{"value": "00445566"}, {"value": "5"}],
        "address": [{"city": "Normal", "state": "IL", "postalCode": "61761"}],
    }
    note = "Patient van den Berg of Normal, IL has normal lungs. WBC 61761/uL, MR# 778899"
    values = {
        "1-1": {"valueInteger": 445566},
        "1-2": {"valueQuantity": {"value": 445566}},
        "1-3": {"valueQuantity": {"value": 5}},
        "1-4": {"valueQuantity": {"value": 445567}},
        "1-5": {"valueString": note},
    }
    records = [observation(name, value) for name, value in values.items()]
    source = write_ndjson(tmp_path / "a.ndjson", person, *records)
    ingest([source], tmp_path / "store", deidentify=True)
    found = RecordStore(tmp_path / "store").events().df()
    numbers = found.dropna(subset="numeric_value").set_index("code")["numeric_value"]
    assert numbers.to_dict() == {"LOINC//1-3": 5, "LOINC//1-4": 445567}
    assert list(found["text_value"].dropna()) == [
        "Patient [NAME] of [ADDRESS], IL has normal lungs. WBC 61761/uL, MR# [ID]"
    ]
