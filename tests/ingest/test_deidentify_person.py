"""What a patient's record says goes from notes: names in any script, phone numbers, addresses."""

import random
import re
import time
from typing import Any

import pytest

from ingest.deidentify_dates import DateStyle
from ingest.deidentify_fold import fold
from ingest.deidentify_people import add_person
from ingest.deidentify_terms import Terms
from ingest.deidentify_text import Scrubber


def scrubber_of(person: dict[str, Any]) -> Scrubber:
    terms = Terms()
    add_person(terms, person, own=True)
    return Scrubber(terms=terms, style=DateStyle(days=-12))


CHINESE = {
    "name": [{"family": "王", "given": ["小明"]}],
    "address": [{"city": "杭州市", "line": ["文三路123号"]}],
}
CHINESE_IN_ONE = {"name": [{"text": "王小明"}]}
JAPANESE = {
    "name": [{"family": "田中", "given": ["太郎"]}, {"family": "タナカ", "given": ["タロウ"]}]
}
IN_A_WORD = {
    "address": [{"city": "대장동", "line": ["正常"]}, {"city": "高峰镇"}, {"city": "细胞"}]
}
NAMED_WITH_A_WORD = {"name": [{"family": "王", "given": ["健康"]}]}
KOREAN = {"name": [{"family": "김", "given": ["철수"]}]}
THAI = {"name": [{"family": "ใจดี", "given": ["สมชาย"]}]}


@pytest.mark.parametrize(
    ("person", "text", "scrubbed"),
    [
        (CHINESE, "患者王小明，女，45岁", "患者[NAME]，女，45岁"),
        (CHINESE, "王小明 来院", "[NAME] 来院"),
        (CHINESE, "小明诉头痛", "[NAME]诉头痛"),
        (CHINESE, "王先生复查，告知王女士", "[NAME]复查，告知[NAME]"),
        (CHINESE, "患者王 小明，王\n小明，王，小明", "患者[NAME]"),
        (CHINESE, "国王的病，王牌", "国王的病，王牌"),
        (CHINESE, "家住杭州市文三路123号，曾住杭州", "家住[ADDRESS]，曾住[ADDRESS]"),
        (CHINESE_IN_ONE, "患者王小明诉，小明曾", "患者[NAME]诉，[NAME]曾"),
        (
            JAPANESE,
            "田中太郎様が来院。田中さんは、太郎は",
            "[NAME]様が来院。[NAME]さんは、[NAME]は",
        ),
        (JAPANESE, "たなかさん、ﾀﾅｶﾀﾛｳ様", "[NAME]さん、[NAME]様"),
        (JAPANESE, "腎臓は正常、田の中", "腎臓は正常、田の中"),
        (
            KOREAN,
            "김철수는 두통, 김 철수 님, 철수가, 김씨는",
            "[NAME]는 두통, [NAME] 님, [NAME]가, [NAME]는",
        ),
        (KOREAN, "김장, 철수염", "김장, [NAME]염"),
        (KOREAN, "기침, 복부 통증", "기침, 복부 통증"),
        (IN_A_WORD, "대장 내시경, 대장동 거주, 신장동", "대장 내시경, [ADDRESS] 거주, 신장동"),
        (IN_A_WORD, "杭高峰镇, 体温高峰, 细胞正常", "杭[ADDRESS], 体温高峰, 细胞正常"),
        (
            NAMED_WITH_A_WORD,
            "王健康，健康状况良好，健康女士，王女士",
            "[NAME]，健康状况良好，[NAME]，[NAME]",
        ),
        (THAI, "ผู้ป่วยสมชายมีไข้", "ผู้ป่วย[NAME]มีไข้"),
    ],
)
def test_a_name_in_a_script_without_word_breaks_goes_inside_its_line(
    person: dict[str, Any], text: str, scrubbed: str
) -> None:
    assert scrubber_of(person).scrub(text) == scrubbed


def test_whole_names_of_staff_in_such_a_script_go_and_their_parts_stay() -> None:
    staff = Terms()
    staff.add_whole_name(["建国"], "李")
    who = Scrubber(terms=Terms(), staff=staff, style=DateStyle(days=0))
    assert who.scrub("医生李建国查房，建国以来") == "医生[NAME]查房，建国以来"


def test_a_reason_that_names_somebody_in_such_a_script_is_known_to_all() -> None:
    met = Terms()
    met.add_met(scrubber_of(CHINESE).terms, {"字段王小明不明"})
    assert Scrubber(terms=met, style=DateStyle(days=0)).scrub_coded("王小明") == "[NAME]"


PHONES = {
    "telecom": [
        *({"value": number} for number in ("0176 1234567", "0511 9876543")),
        *({"value": number} for number in ("(314) 555-0199", "+1 212 555 0147")),
    ],
    "identifier": [{"value": "4711223344"}],
}


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("0049 176 1234567 / 0511 9876543", "[CONTACT]"),
        ("5550199 / 5550147", "[CONTACT] / [CONTACT]"),
        ("0176 1234567 0511 9876543", "[CONTACT]"),
        ("314 555 0199 212 555 0147", "[CONTACT]"),
        ("0049 176 1234567 / 176-1234567", "[CONTACT] / [CONTACT]"),
        ("room 12 5550199", "room 12 [CONTACT]"),
        ("pt 4711 22 33 44 5550147", "pt [ID] [CONTACT]"),
        ("0511\n9876543", "[CONTACT]"),
        ("+49 (0)176 1234567", "[CONTACT]"),
        ("120/80 72 37.2 98 16 5 10", "120/80 72 37.2 98 16 5 10"),
        ("5550198 / 5550146", "5550198 / 5550146"),
    ],
)
def test_each_known_number_of_a_row_goes(text: str, scrubbed: str) -> None:
    assert scrubber_of(PHONES).scrub(text) == scrubbed


def test_neighbouring_values_make_no_short_number_of_somebody_elses() -> None:
    who = scrubber_of(PHONES)
    who.terms.add_id("12080")  # of some record
    assert who.scrub("5 120 80 7") == "5 120 80 7"


@pytest.mark.parametrize("text", ["BP 120/80", "120.80", "BP 120 / 80 mmHg"])
def test_a_reading_is_no_short_number_of_the_patients_own(text: str) -> None:
    who = scrubber_of(PHONES)
    who.terms.add_id("12080", own=True)
    assert who.scrub(text) == text
    assert who.scrub("pt 12080, 120-80, 120 80") == "pt [ID], [ID], [ID]"


def test_a_note_full_of_digits_takes_time_in_proportion_to_its_length() -> None:
    who, rng = scrubber_of(PHONES), random.Random(3)

    def steps(n: int) -> float:
        text = " ".join(str(rng.randrange(200)) for _ in range(n))
        start = time.process_time()
        who.terms.find_numbers(fold(text))
        return time.process_time() - start

    steps(100)
    assert steps(40_000) < 40 * max(steps(4_000), 0.01)


PLACES = {
    "address": [
        {
            "line": ["PO Box 991", "1200 N. Main St."],
            "city": "St. Louis",
            "state": "MO",
            "postalCode": "63101-1234",
        },
        {"line": ["12 Elm Street", "Bonner Str. 5", "5 Long Road"], "postalCode": "SW1A 2AA"},
        {
            "line": ["P.O. Box 4415", "Flat 2, 10 Wendling Street"],
            "city": "Fort Worth",
            "postalCode": "D-30916",
        },
    ]
}


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("MO 63101; ZIP 63101", "MO [ADDRESS]; ZIP [ADDRESS]"),
        ("63101-1234; 631011234", "[ADDRESS]"),
        ("in SW1A2AA, in SW1A 2AA", "in [ADDRESS], in [ADDRESS]"),
        ("from 30916", "from [ADDRESS]"),
        (
            "at P.O. Box 991, at POB 991, at Post Office Box 991",
            "at [ADDRESS]" + ", at [ADDRESS]" * 2,
        ),
        ("at PO Box 4415", "at [ADDRESS]"),
        ("a Saint Louis man", "a [ADDRESS] man"),
        ("a Ft. Worth man", "a [ADDRESS] man"),
        ("at 1200 N Main, at 1200 North Main Street", "at [ADDRESS], at [ADDRESS]"),
        ("at 1200 Main", "at [ADDRESS]"),
        ("at Bonner Straße 5", "at [ADDRESS]"),
        ("at 12 Elm", "at [ADDRESS]"),
        ("at 10 Wendling", "at [ADDRESS]"),
        ("at 5 Long Rd", "at [ADDRESS]"),
        ("5 long bones, the main problem, a box", "5 long bones, the main problem, a box"),
        ("63102; box 992; 1201 main", "63102; box 992; 1201 main"),
    ],
)
def test_an_address_goes_in_the_ways_that_it_is_typed(text: str, scrubbed: str) -> None:
    assert scrubber_of(PLACES).scrub(text) == scrubbed


def test_the_parts_of_one_address_leave_one_tag() -> None:
    person = {"address": [{"city": "Springfield", "postalCode": "63101-1234"}]}
    assert scrubber_of(person).scrub("in Springfield, MO 63101.") == "in [ADDRESS]."


@pytest.mark.parametrize(
    ("town", "text"),
    [
        (
            "Normal",
            "lungs normal; Normal sinus rhythm; Heart: Normal; LUNGS NORMAL; in Normal limits",
        ),
        (
            "Normal",
            "from [Normal], IL; lives in [Normal]. LIVES IN [NORMAL], IL; Normal CT of head",
        ),
        ("Normal", "[Normal], IL [61761]; moved to [Normal] last year; converted to Normal Sinus"),
        (
            "Normal",
            "at [normal], il [61761]; lives in [normal] with his wife; within normal limits",
        ),
        (
            "Mobile",
            "pt is mobile; from [Mobile], AL; lives in mobile home; PT IS MOBILE; Mobile: yes",
        ),
        ("Bend", "able to bend knee; moved to [Bend]; from [Bend]. Bend the knee"),
        ("Independence", "functional independence; resides in [Independence], Missouri"),
        (
            "Buffalo",
            "buffalo hump; Buffalo hump; a resident of [Buffalo]; in [Buffalo] with his son",
        ),
        (
            "Reading",
            "Home BP Reading: 150/90; from [Reading], PA. He has trouble in Reading glasses",
        ),
        ("Orange", "Orange urine; lives in [Orange], NJ; an orange"),
        ("Temple", "left temple; Temple pain; from [Temple], TX"),
        ("Hope", "we hope. Hope fades. [Hope], AR"),
        ("Cushing", "Cushing syndrome; Cushing's disease; lives in [Cushing]"),
        ("Feucht", "Haut warm, Feucht; wohnt in [Feucht]; aus [Feucht]. feucht"),
        ("Essen", "nach dem Essen; Essen schmeckt; wohnhaft in [Essen], aus [Essen]."),
        (
            "Boise",
            "[Boise] clinic; [BOISE]; from [boise] or [boise], id; a [boise] resident; the boise",
        ),
        ("Boise", "[boise]"),
        ("Boise", "Ort: [boise], wife ([boise]), the boise"),
        ("Halle (Saale)", "wohnt in [Halle], aus [Halle (Saale]); in der Halle"),
        ("Springfield", "[springfield], seen at [Springfield]"),
        ("Long Beach", "in [Long Beach] or [LONG BEACH]; a long beach walk"),
    ],
)
def test_a_town_that_is_a_word_goes_where_it_is_a_place(town: str, text: str) -> None:
    who = scrubber_of({"address": [{"city": town, "postalCode": "61761"}]})
    expected = re.sub(r"\[[^\]]*\](?:, IL \[61761\])?", "[ADDRESS]", text)
    assert who.scrub(re.sub(r"[\[\]]", "", text)) == expected


@pytest.mark.parametrize(
    ("town", "text"),
    [
        ("Essen", "[Essen], den 03.04.2024"),
        ("Essen", "[Essen], 03.04.2024"),
        ("Essen", "Befund\n[Essen], den [DATE]"),
        ("Essen", "[Essen], den 3. April 2024"),
        ("Essen", "ESSEN VERTRAGEN; UNIKLINIK [ESSEN]; WOHNORT: [ESSEN]"),
        ("Essen", "Uniklinik [Essen], Reha-Klinik [Essen], Universitätsklinikum [Essen]"),
        ("Essen", "in der Uniklinik [Essen] vorgestellt, Krankenhaus Essen verweigert"),
        ("Essen", "Wohnort: [Essen]; Ort: [Essen]; [Hauptstr. 5], [Essen]"),
        ("Essen", "aus [Essen] kommend; Verlegung am 03.04. nach [Essen]; Umzug nach [Essen]"),
        ("Essen", "wurde nach [Essen] verlegt, Schmerzen nach Essen, Nach Essen Beschwerden"),
        ("Essen", "Essen und Trinken, beim Essen, zum Essen, vor dem Essen; Essen: gut"),
        ("Essen", "Hilfe bei Essen und Trinken; Husten bei Essen; Essen, 3 Mahlzeiten"),
        ("Essen", "Hausarzt: Dr. X, [Essen]; Klinik für Neurologie, [Essen]; Trinken, Essen gut"),
        ("Essen", "wohnhaft in [Essen]. Essen und Trinken selbständig"),
        ("Halle", "Krankenhaus [Halle], Landkreis [Halle]; liegt in der Halle"),
        ("Worms", "Worms in stool; Gesundheitsamt [Worms]; gegen Worms, 2 x daily"),
        ("Siegen", "Klinikum [Siegen] und bis [Siegen]"),
        ("Ulm", "[Ulm], den 3. April 2024; wohnhaft in [Ulm]; Uniklinik [Ulm] mit ULM"),
        ("Reading", "[Reading] Hospital; at [Reading] Medical Center; from [Reading] ER"),
        ("Reading", "Home: [Reading]; City: [Reading]; she of [12 Elm St], [Reading]"),
        ("Reading", "works in [Reading] as a nurse; came from [Reading] today; to [Reading], UK"),
        (
            "Reading",
            "[Reading] PA; Reading PA pressure 40/20; trouble in Reading, now [Reading], PA",
        ),
        ("Reading", "[Reading], England; a [Reading] PA native; in Reading room"),
        (
            "Reading",
            "resides at [Reading] nursing home; SEEN IN [READING], THEN HOME; READING HIGH",
        ),
        ("Buffalo", "seen at [Buffalo] Medical Center, the [Buffalo] area; visited [Buffalo]"),
        ("Normal", "from [Normal] originally; Home: [Normal]; after a Normal hospital course"),
        (
            "Normal",
            "Normal, 3/4/2024; Normal PA and lateral; CXR: Normal PA. SEEN IN NORMAL LIMITS",
        ),
        ("Normal", "64 slice CT, Normal. Changed from Normal to High, returned to Normal."),
        ("Mobile", "PT FROM [MOBILE], RETIRED. LIVES IN MOBILE HOME. MOBILE"),
        ("Mobile", "from [mobile], al; pt is mobile, in bed; from [Mobile], Ala.; from mobile, or"),
        ("Mobile", "[Mobile] Infirmary; Mobile clinic visit; Mobile CT; lives in Mobile home"),
        ("Orange", "[Orange] County; Orange juice"),
        ("York", "[York] County, [York] Hospital, seen in [York]; New York Heart Association"),
        ("Paris", "came from [Paris]; Plaster of Paris; Paris classification; plaster of paris"),
        ("Lima", "CABG with LIMA to LAD, LIMA graft; [Lima], Peru; from [Lima] last year"),
        ("Aurora", "a cook in [Aurora] on an Aurora kinase inhibitor"),
    ],
)
def test_a_town_that_is_a_word_goes_from_letterheads_labels_and_hospitals(
    town: str, text: str
) -> None:
    terms = Terms()
    add_person(terms, {"address": [{"city": town}]}, own=True)
    who = Scrubber(terms=terms, style=DateStyle(days=0))
    plain = re.sub(r"\[(?!DATE)([^\]]*)\]", r"\1", text)
    assert who.scrub(plain) == re.sub(r"\[(?!DATE)[^\]]*\]", "[ADDRESS]", text)
