"""What goes from a text and what stays; how dates are written anew."""

import random
import re
import time
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.deidentify_dates import DATE, DateStyle, shift_days, shift_dicom
from ingest.deidentify_fold import fold
from ingest.deidentify_people import add_person
from ingest.deidentify_terms import Terms
from ingest.deidentify_text import Scrubber

KEY = b"sixteen bytes and more"


def scrubber(*names: tuple[list[str], str], days: int = -12, ids: tuple[str, ...] = ()) -> Scrubber:
    terms = Terms()
    for first, last in names:
        terms.add_name(first, last)
    for value in ids:
        terms.add_id(value, own=True)
    return Scrubber(terms=terms, style=DateStyle(days=days))


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("Jürgen Müller-Lüdensch", "[NAME]"),
        ("MUELLER-LUEDENSCH, JUERGEN", "[NAME]"),
        ("muller ludensch", "[NAME]"),
        ("Herr Mu\u0308ller", "Herr [NAME]"),
        ("Herr Mül\u00adler", "Herr [NAME]"),
        ("Herr Mül-\n  ler", "Herr [NAME]"),
        ("Herr M Ü L L E R kam", "Herr [NAME] kam"),
        ("Müller\u2019s wife", "[NAME]\u2019s wife"),
        ("J. Müller", "[NAME]"),
        ("Müller, J.", "[NAME]"),
        ("Müller, Jürgen K.", "[NAME]"),
        ("juergenmueller@", "[NAME]@"),
        ("Müller_2", "[NAME]_2"),
        ("Müllers Tochter", "[NAME] Tochter"),
        ("Mül\u2062l\u034fe\ufe0fr", "[NAME]"),
        ("muller19500312", "[NAME]"),
        ("Müllerei", "Müllerei"),
    ],
)
def test_a_name_goes_however_it_is_typed(text: str, scrubbed: str) -> None:
    assert scrubber((["Jürgen"], "Müller-Lüdensch")).scrub(text) == scrubbed


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("Mrs. Long came. The long QT stayed long.", "Mrs. [NAME] came. The long QT stayed long."),
        ("An echo was done on An Long", "An echo was done on [NAME]"),
        ("LONG QT, SEEN: AN LONG", "LONG QT, SEEN: [NAME]"),
        ("an hour, as long as needed", "an hour, as long as needed"),
        ("mrs. long came, not for long", "mrs. [NAME] came, not for long"),
    ],
)
def test_a_name_that_is_a_word_goes_where_it_is_a_name(text: str, scrubbed: str) -> None:
    assert scrubber((["An"], "Long")).scrub(text) == scrubbed


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Stone", "Mrs [Stone] has a renal stone; mrs. [stone] and Mr [Stone] came."),
        ("Stone", "[Stone, Anna] or [Anna Stone] and [STONE, A.] told us. [Stone]'s wife called."),
        ("Stone", "[Stone] denies pain. Told [Stone] of it; with [Stone], 64 y. Name: [STONE]"),
        ("Stone", "Stone in the left ureter. 1. Stone removed\n- Stone 5 mm. Kidney Stone found."),
        ("Stone", "FINDINGS: RENAL STONE, left. CT Stone Protocol. RENAL STONE IS SMALL"),
        ("Stone", "[STONE] DENIES PAIN AND PASSED A STONE; MRS [STONE] AGREED"),
        ("Stone", "[Stone]\nSeen by: [Stone]"),
        ("Stone", "code 'Stone in ureter' (Stone/volume); his wife ([Stone])"),
        ("Long", "Long history of pain. Long-acting insulin, Long QT. We asked [Long] again."),
        ("May", "May be given with food. It may help. Discussed with [May]. Seen: [May], 70 F"),
        ("Jung", "Frau [Jung] kam. [Jung] wurde gesehen. Der Patient ist jung. Jung an Jahren."),
        ("Stein", "Der Stein im Ureter, ein großer Stein. Herr [Stein] klagt. [Stein] klagt auch."),
        (
            "Li",
            "Mr [Li] came, mr. [li] went. [Li] was seen. Told [Li] that. [Li]'s wife. Frau [Li]",
        ),
        (
            "Li",
            "Li 0.8 mmol/l, serum Li, Li level, on Li 450 mg, Li+; [LI] WAS SEEN; [Li, A.] came",
        ),
        ("Ng", "[Ng, Anna]. NG tube in place. Placed an NG tube for [Ng]. pt [Ng]"),
        ("He", "He was seen, he says. An hour. Mr [He] came; [Anna He]"),
        ("Kim", "[Kim] came."),
        ("Kim", "KIM NA 139, [KIM] IS WELL"),
    ],
)
def test_a_name_that_is_a_word_or_short_goes_where_it_names_somebody(name: str, text: str) -> None:
    who = scrubber((["Anna"], name), days=0)
    written = re.sub(r"[\[\]]", "", text)
    assert who.scrub(written) == re.sub(r"\[[^\]]*\]", "[NAME]", text)


@pytest.mark.parametrize(
    "text",
    [
        "metoprolol 5 mg, BP 120/80 mmHg, 3/5 strength, EF 55-60 %, INR 2.0-3.0, WBC 4.5-10.2",
        "E11.9, I10, C34.1, LOINC 8480-6, SNOMED 73211009x, T4N1M0, L4-L5, C3/4, grade 2/6 murmur",
        "insulin 30 UNT/ML, 1,250,000 copies/ml, 250000 platelets, pH 7.35, 1:128, 37.2 C",
        "twice a day for 10-14 days; 2-3 weeks; q4-6h; 0.9% saline; 500 ml/24 h; NYHA II-III",
        "Parkinson's disease, Crohn's, Glasgow Coma Scale 15, Foley 12 Fr, Apgar 9/10",
        "a 64-year-old, 72 kg, 181 cm, pack-years 30, case 3, order 5 mg, visit 2",
        "NDC 0002-1433-80, ratio 1/2, 20/40 vision, TNM 1.2.3, at rest 10:15",
        "may 5 mg be given? march on the spot; dec. dose",
        "at 12-24-36 months, 10-20-30 mg, 05-10-15 ml",
        "BP 120/80, on 120/80, 2/6 murmur, 1/2 tablet, 4/5 power, on 1/2 tablet daily, by 1/2",
        "power from 3/5 to 4/5, pain from 3/10 to 7/10, reduced by 1/3, a murmur of 2/6",
        "from 3.4 to 5.6, after 3.4 mmol/L, II.3, 2.II, NYHA III/IV, factor V 2000 units",
        "on 2/3 nights, since 2/4 bottles grew, score of 3/4; positive on 2/3 of strips",
        "ninety minutes, a hundred units, a hundred years ago, smoked for ninety years",
        "at ninety degrees, one hundred and twenty over eighty, in her nineties, neunzig Jahre her",
    ],
)
def test_clinical_words_and_numbers_stay(text: str) -> None:
    assert scrubber((["Jane"], "Doe"), ids=("A1234567",)).scrub(text) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Parkinson", "Parkinson's disease of [NAME]'s mother"),
        ("Still", "Still's disease; Dr. [NAME] came"),
        ("Graves", "GRAVES' DISEASE"),
        ("Bell", "Bell palsy, not of [NAME]"),
        ("Doering", "[NAME]'s disease"),
        ("Smith", "a Smith fracture, a distal Smith fracture; Mr. [NAME]'s fracture of [NAME]"),
        ("Smith", "[NAME] fracture clinic; [NAME]'s fracture"),
        ("Hill", "a Hill-Sachs lesion of Mr [NAME]"),
    ],
)
def test_a_disease_keeps_its_name_whoever_has_it(name: str, text: str) -> None:
    assert scrubber((["Ann"], name)).scrub(text.replace("[NAME]", name)) == text


PERSON = {
    "birthDate": "1950-03-12",
    "identifier": [{"value": "MRN-445566"}],
    "telecom": [{"value": "tel:+15558107203"}, {"value": "(555) 222-7204 ext. 12"}],
    "address": [
        {"line": ["17 Rosengarten Road Apt 3"], "city": "Ulm", "postalCode": "8004"},
        {"line": ["Musterstraße 5"], "_line": [{"extension": [{"valueString": "Hagelkreuz"}]}]},
        {"text": "Kiesweg 12, 3000 Wennigsen, Utopia", "country": "Utopia"},
    ],
}


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("pt 445566; 445566 9", "pt [ID]; [ID] 9"),
        ("810-7203 or 222-7204", "[CONTACT] or [CONTACT]"),
        ("near Rosengarten Rd", "near [ADDRESS]"),
        ("Musterstr 5", "[ADDRESS]"),
        ("in Hagelkreuz, 8004 Ulm", "in [ADDRESS]"),
        ("Kiesweg 12; in Wennigsen, Utopia", "[ADDRESS]; in [ADDRESS], Utopia"),
        ("12 03 1950, 120350, DOB12.03.1950", "[DATE], [DATE], DOB[DATE]"),
        ("born 12.03.1950, 19500312", "born 28.02.1950, 19500228"),
    ],
)
def test_what_a_resource_says_goes_in_other_writings(text: str, scrubbed: str) -> None:
    terms = Terms()
    add_person(terms, PERSON, own=True)
    assert Scrubber(terms=terms, style=DateStyle(days=-12)).scrub(text) == scrubbed


def test_a_value_goes_only_if_it_is_the_patients_own_number() -> None:
    terms = Terms()
    add_person(terms, PERSON, own=True)
    terms.add_id("250000")  # of some record
    terms.add_place(["1200 Elm Street"])
    numbers = ["445566", "19500312", "250000", "1200"]
    shifted, kept = (Scrubber(terms=terms, style=DateStyle(days=days)) for days in (5, 0))
    assert [shifted.is_identifier(n) for n in numbers] == [True, True, False, False]
    assert [kept.is_identifier(n) for n in numbers] == [True, False, False, False]
    assert shifted.scrub_code("LOCAL//19500312", None) == "LOCAL//[DATE]"
    assert shifted.scrub_code("LOCAL//445566", None) == "LOCAL//[ID]"


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("mail jane@example.org", "mail [CONTACT]"),
        ("see https://example.org/a?b=1 now", "see [CONTACT] now"),
        ("from 192.168.10.17", "from [CONTACT]"),
        ("SSN 078-05-1120", "SSN [ID]"),
        ("tel. 0511 532-0", "tel. [CONTACT]"),
        ("+49 511 5320123", "[CONTACT]"),
        ("(555) 810-7203", "[CONTACT]"),
        ("MRN: 4711-08", "MRN: [ID]"),
        ("Fall-Nr. 123456", "Fall-Nr. [ID]"),
        ("1.2.840.113619.2.62.994044785528", "[ID]"),
        ("123456789012", "[ID]"),
        ("Dr. Patel agreed", "Dr. [NAME] agreed"),
        ("Frau von Adlershof", "Frau [NAME]"),
        ("12 Elm Grove Road", "[ADDRESS]"),
        ("Lindenstraße 5, 30625 Hannover", "[ADDRESS]"),
        ("a 93-year-old", "a 90+-year-old"),
        ("93F, 93 y.o., at 93 years, 93 Jahre", "90+F, 90+ y.o., at 90+ years, 90+ Jahre"),
        ("a ninety-three year old", "a 90+ year old"),
        ("Ninety-Three-Year-Old man", "90+-Year-Old man"),
        ("a hundred and one years old", "90+ years old"),
        ("she is one hundred\nyears old", "she is 90+\nyears old"),
        ("aged ninety-five, died at ninety six.", "aged 90+, died at 90+."),
        ("her 93rd birthday, her ninety-third birthday", "her 90+ birthday, her 90+ birthday"),
        ("aged 98, or 97: age: 95.", "aged 90+, or 97: age: 90+."),
        ("a centenarian", "a 90+"),
        ("dreiundneunzigjährige Patientin", "90+jährige Patientin"),
        (
            "hundertzwei Jahre alt, im Alter von neunzig Jahren",
            "90+ Jahre alt, im Alter von 90+ Jahren",
        ),
        ("id c0ffee00-1234-4abc-8def-001122334455", "id [ID]"),
    ],
)
def test_what_looks_like_an_identifier_goes(text: str, scrubbed: str) -> None:
    assert scrubber().scrub(text) == scrubbed


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("2024-03-10", "2024-02-27"),
        ("2024-03-10T10:15:00Z", "2024-02-27T10:15:00Z"),
        ("2024-01-01/2024-02-01", "2023-12-20/2024-01-20"),
        ("04.03.2024-09.03.2024", "21.02.2024-26.02.2024"),
        ("03/14/2024-03/19/2024", "03/02/2024-03/07/2024"),
        ("14.3.24-19.3.24", "2.3.24-7.3.24"),
        ("March 14,2024", "March 2,2024"),
        ("scan_2024_03_10.pdf", "scan_2024_02_27.pdf"),
        ("20240310101500", "20240227101500"),
        ("10.03.2024", "27.02.2024"),
        ("1.3.24", "18.2.24"),
        ("30/11/2024 and 3/4/2024", "18/11/2024 and 22/3/2024"),
        ("11/30/2024 and 3/4/2024", "11/18/2024 and 2/21/2024"),
        ("Friday, March 10th, 2024", "Tuesday, February 27th, 2024"),
        ("10-MAR-24", "27-FEB-24"),
        ("01MAR2024", "18FEB2024"),
        ("Montag, den 4. März 2024", "Mittwoch, den 21. Februar 2024"),
        ("on 3/14", "on 3/2"),
        ("the 3rd of May", "the 21st of April"),
        ("31.02.2024", DATE),
        ("from March 4 - 9, 2024 on", f"from {DATE} on"),
        ("4.-9.3.2024", DATE),
        ("vom 4. - 9. März 2024", f"vom {DATE}"),
        ("2024-13-45", DATE),
        ("in 2019", "in 2019"),
        ("12.III.1950", "28.II.1950"),
        ("10.III.1950, 10. III. 1950", "26.II.1950, 26. II. 1950"),
        ("10/iii/24 or 10-III-24", "27/ii/24 or 27-II-24"),
        ("10 III 2024", "27 II 2024"),
        ("vom 10.-12.III.2024 und 10.3.-14.3.2024", f"vom {DATE} und {DATE}"),
        ("am 10.III. und am 14.3.", "am 27.II. und am 2.3."),
        ("since 3/14, on Monday 3/18", "since 3/2, on Wednesday 3/6"),
        ("seit dem 14.3., vom 14/3 bis zum 16/3", "seit dem 2.3., vom 2/3 bis zum 4/3"),
        ("from 3/14 to 3/18, and on 3/20 and 3/21", "from 3/2 to 3/6, and on 3/8 and 3/9"),
        ("on 3/14-3/18", "on 3/2-3/6"),
        ("chest pain from 3/14 on, CT of 14/3", "chest pain from 3/2 on, CT of 2/3"),
        ("3/14: no pain\n3/15 10:15 pain", "3/2: no pain\n3/3 10:15 pain"),
        ("am 31.2. oder 31.II.2024", f"am 31.2. oder {DATE}"),
    ],
)
def test_a_date_is_shifted_in_its_own_form(text: str, shifted: str) -> None:
    assert scrubber().scrub(text, year=2024) == shifted


@settings(deadline=None)
@given(st.dates(date(1950, 1, 1), date(2090, 1, 1)), st.integers(-365, 365).filter(bool))
def test_every_written_form_of_a_date_moves_by_the_same_days(day: date, days: int) -> None:
    moved = day + timedelta(days=days)
    who = scrubber(days=days)
    for form in ("%Y-%m-%d", "%d.%m.%Y", "%d %B %Y", "%B %d, %Y", "%d-%b-%Y"):
        scrubbed = who.scrub(f"on {day:{form}}.")
        assert re.sub(r"\b0", "", scrubbed) == re.sub(r"\b0", "", f"on {moved:{form}}.")
    assert who.scrub(f"{day:%Y%m%d}") == f"{moved:%Y%m%d}"
    assert shift_dicom(f"{day:%Y%m%d}", days) == f"{moved:%Y%m%d}"


def test_shifts_are_keyed_spread_and_never_nothing() -> None:
    shifts = [shift_days(subject, KEY) for subject in range(20_000)]
    assert shifts == [shift_days(subject, KEY) for subject in range(20_000)]
    assert shifts != [shift_days(subject, KEY + b"!") for subject in range(20_000)]
    assert set(shifts) == set(range(-365, 366)) - {0}


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_scrubbing_never_fails_and_twice_is_once_for_names(text: str) -> None:
    who = scrubber((["Jane"], "Doering"), days=0, ids=("A1234567",))
    once = who.scrub(text + " Jane Doering " + text)
    assert "Doering" not in once
    assert "Doering" not in who.scrub(once)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_places_of_a_folded_text_lie_in_the_text(text: str) -> None:
    seen = fold(text)
    for word, start, end in seen.tokens:
        assert 0 <= start < end <= len(text)
        assert word in fold(text[start:end]).folded


def test_a_long_text_takes_time_in_proportion_to_its_length() -> None:
    rng = random.Random(3)
    parts = ["2024-03-10 ", "Doering ", "a-", "1.2.3.4.", "(((", "0511 ", "@", "x" * 50, "I V X L "]
    who = scrubber((["Jane"], "Doering"))

    def steps(n: int) -> float:
        text = "".join(rng.choice(parts) for _ in range(n))
        start = time.process_time()
        who.scrub(text, year=2024)
        return time.process_time() - start

    steps(100)
    assert steps(40_000) < 40 * max(steps(4_000), 0.01)


def test_a_code_cut_off_in_a_name_goes_with_its_display() -> None:
    words = "the very long answer that is cut off in the middle of Doering"
    code = "LOINC//1-8//TEXT//" + words.upper()[:60]
    who = scrubber((["Jane"], "Doering"))
    assert code.endswith("DOERIN")
    assert who.scrub_code(code, f"Question: {words}").endswith("MIDDLE OF [NAME]")
    assert who.scrub_code(code, "another display").endswith("MIDDLE OF")
    assert who.scrub_code("LOINC//8480-6", "Systolic") == "LOINC//8480-6"
    assert who.scrub_code("NDC//00002143380", None) == "NDC//00002143380"
    assert re.search("Doe", who.scrub_code("LOCAL//WARD-DOERING", None), re.IGNORECASE) is None
