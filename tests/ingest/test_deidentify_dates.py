"""Dates of a note are shifted or go as a whole, whatever their form: no true day stays."""

import base64
import time
from pathlib import Path

import pandas as pd
import pytest

from ingest.build import ingest
from ingest.deidentify_dates import DATE, DateStyle
from ingest.deidentify_terms import Terms
from ingest.deidentify_text import Scrubber
from ingest.store import RecordStore
from tests.ingest.exports import write_ndjson


def scrub(text: str, *, month_first: bool = False, days: int = -12) -> str:
    who = Scrubber(terms=Terms(), style=DateStyle(days=days))
    return who.scrub(text, year=2020, month_first=month_first)


@pytest.mark.parametrize(
    "text",
    [
        *("May 4-5, 2020", "May 4-5", "May 4/5", "May 4 and 5, 2020", "May 4, 5 and 6, 2020"),
        *("4 and 5 May 2020", "4th and 5th of May", "4., 5. und 6. Mai 2020", "4-6 May 2020"),
        *("4./5.5.2020", "4. und 5.5.2020", "4./5.5.", "04.-06.05.", "4.5. und 6.5.2020"),
        *("4.5., 6.5. und 8.5.20", "4-9.5.2020", "10.-12.V.2020"),
        *("2020-05-04/06", "2020-05-04 to 06", "2020-05-04/05-06"),
        *("5/4, 5/5 and 5/6/2020", "5/4 and 5/6/20", "5/4-6/2020", "4-6/5/2020"),
        *("04 05 2020", "4 5 2020", "04.05 2020", "May, 4 2020", "2020 May 4", "2020, May 4th"),
        *("May fourth 2020", "May the fourth, 2020", "fourth of May", "twenty-first of May 2020"),
        *("vierten Mai 2020", "einundzwanzigsten Mai", "KW 19/2020", "KW 19", "week 19 2020"),
        *("2020-W19-1", "Q2 2020", "2. Quartal 2020"),
        *("Mo 4.5.", "Mo., 4.5.", "Mo 04.05.2020", "Mi, den 6.5.20"),
        *("lundi 4 mai 2020", "lunes, 4 de mayo de 2020", "понедельник 4 мая 2020"),
        *("2020年5月4日 (月)", "2020年5月4日星期一", "2020년 5월 4일 월요일", "令和2年5月4日"),
        *("4 et 5 mai 2020", "4 al 6 de mayo de 2020", "4 e 5 maggio 2020", "4 по 6 мая 2020"),
        *("2020年5月4日至6日", "5月4-6日", "5月4日、6日", "4-6 mei 2020"),
        *("04/05/2020 - 06/05", "4.5.2020 - 6.5.", "4.5.2020 und 6.5.", "Mo 4. Mai 2020"),
        *("Christmas Day 2019", "Ostern 2020", "New Year's Eve 2019", "Easter Monday, 2020"),
        *("二〇二〇年五月四日", "五月四日", "mayo 4 de 2020"),
        *("April 29 - May 4, 2020", "Apr 29-May 4", "April 29th - May 4th", "April 29 / May 4"),
        *("Sept 28-Oct 3, 2020", "Dec 30, 2019 - Jan 2, 2020", "CW 12/2020"),
        *("29.4.20 (Mo)", "29.4.20, Mo.", "29.04.2020 (Mo.)", "2020-04-29 (Mo)", "29. April (Mo)"),
        *("2020-05-04 - 06", "2020-05-04..06", "2020-05-04, 05-06"),
    ],
)
def test_what_cannot_be_shifted_part_by_part_goes_as_a_whole(text: str) -> None:
    assert scrub(text) == DATE
    # In a sentence of more than 200 characters, too, which is looked at in another way.
    words = "The patient walked well and slept well. " * 6
    assert scrub(f"{words}Seen ({text}) again.") == f"{words}Seen ({DATE}) again."


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("4.5.2020,6.5.2020", "22.4.2020,24.4.2020"),
        ("4.5.20,6.5.20", "22.4.20,24.4.20"),
        ("2020-05-04,2020-05-06", "2020-04-22,2020-04-24"),
        ("EKG 04.05. o.B.", "EKG 22.04. o.B."),
        ("Labor 04.05.: Hb 12", "Labor 22.04.: Hb 12"),
        ("on 3/4 oxygen stopped, am 4.5. T 38", "on 22/3 oxygen stopped, am 22.4. T 38"),
        ("Labor 4.5.", "Labor 22.4."),
        ("CRP (04.05.) 12", "CRP (22.04.) 12"),
        ("heute (4.5.) besser", "heute (22.4.) besser"),
        ("Wiedervorstellung: 4.5.", "Wiedervorstellung: 22.4."),
        ("Abdomen 14.05. unauffällig", "Abdomen 02.05. unauffällig"),
        ("04.05.-06.05.", "22.04.-24.04."),
        ("vu le 4 mai 2020", "vu le 22 avril 2020"),
        ("le 13 mai et le 14 Juin", "le 1er mai et le 2 Juin"),
        ("4 février, 4 FEVRIER 2020", "23 janvier, 23 JANVIER 2020"),
        ("el 4 de mayo de 2020", "el 22 de abril de 2020"),
        ("4 maggio 2020", "22 aprile 2020"),
        ("4 de maio de 2020", "22 de abril de 2020"),
        ("4 mei 2020, 04 mrt. 2020", "22 april 2020, 21 feb. 2020"),
        ("4 maja 2020", "22 kwietnia 2020"),
        ("4 мая 2020 г., 4 Мая, май 2020", "22 апреля 2020 г., 22 Апреля, май 2020"),
        ("4 maj 2020, 4 mars 2020, 4 augusti 2020", "22 april 2020, 21 février 2020, 23 juli 2020"),
        ("4 marts 2020, 4 desember 2020", "21 februar 2020, 22 november 2020"),
        ("5 ene 2020", "24 dic 2019"),
        ("2020年5月4日, 5月4日", "2020年4月22日, 4月22日"),
        ("2020年05月04日", "2020年04月22日"),
        ("2020년 5월 4일", "2020년 4월 22일"),
        ("May. 4, 2020", "April. 22, 2020"),
        (
            "4 May 2020 (Monday), 5/14/2020, a Thursday",
            "22 April 2020 (Wednesday), 5/2/2020, a Saturday",
        ),
        ("Tues 5/19/2020, Weds, May 20, 2020", "Thurs 5/7/2020, Fri, May 8, 2020"),
        ("04.05.2020 (Montag)", "22.04.2020 (Mittwoch)"),
        ("MAY2020, 04MAY2020", "MAY2020, 22APRIL2020"),
        ("2020-05-04, 16 French", "2020-04-22, 16 French"),
        ("2020-05-04, 12 lead EKG", "2020-04-22, 12 lead EKG"),
        ("2020-05-04 and 12 more", "2020-04-22 and 12 more"),
        ("O2 sat 3/4/2020 95%, SpO2 Sat 3/4/2020", "O2 sat 22/3/2020 95%, SpO2 Sat 22/3/2020"),
        ("Sat 3/4/2020", "Sun 22/3/2020"),
        ("5月14日-5月19日, 5月14日—5月19日", "5月2日-5月7日, 5月2日—5月7日"),
        ("5月14日,5月19日; 2020年5月14日-5月19日", "5月2日,5月7日; 2020年5月2日-5月7日"),
        ("am 4.5., 1. Verband 6.5., Fäden ex 14.5.", "am 22.4., 1. Verband 24.4., Fäden ex 2.5."),
        ("d. 4.5., 5.5., 6.5.", "d. 22.4., 23.4., 24.4."),
        ("vom 4.5 bis 9.5., vom 4.5 bis 9.5.2020", "vom 22.4 bis 27.4., vom 22.4 bis 27.4.2020"),
        ("seit 4.5. Fieber, am 4.5 operiert", "seit 22.4. Fieber, am 22.4 operiert"),
        ("bis 04.05 stationär, bis 9.5., dann", "bis 22.04 stationär, bis 27.4., dann"),
        ("on 4 may seen, since 2 march", "on 22 april seen, since 19 february"),
        ("4.5.2020 Do. 10 Uhr", "[DATE] 10 Uhr"),
        ("4 May, 2nd of May, 2. Mai, 3 March", "22 April, 20th of April, 20. April, 20 February"),
        ("Apgar seen 3/4/20, Score 03.04.12", "Apgar seen 22/3/20, Score 22.03.12"),
        ("from 3/4 and to rehab by 3/10", "from 22/3 and to rehab by 21/9"),
    ],
)
def test_a_date_of_another_form_or_language_is_shifted_in_it(text: str, shifted: str) -> None:
    assert scrub(text) == shifted


@pytest.mark.parametrize(
    "text",
    [
        "BP 120/80, 130/85 and 140/90; strength 4/5, 5/5 and 5/5; 2/6 murmur; T4N1M0",
        "grade 2 and 3, T1 2 3, 1./2. Grad, am 4. und 5. Tag, Stadium 1.-2., 2.-3. Zehe",
        "may 4-5 mg be given, march 4/5; the first may be, the second may be given, first march",
        "5 10 2000 ml, 10 20 30 mg, 1 2 3 4 2020, GCS 3-4-5, at 10:15, 10.15 Uhr",
        "EKG 4.5 mm, OP 3.5 h, Labor: 4.5, CT 4.5 cm, CT: 05.10 cm, Labor 12,3, Tag 4.5. mg",
        "INR was 2.5. Next (INR 2.5.) and Hb 12.10. Kalium 4.10. Then 3.5.",
        "week 19 of pregnancy, 5 kW, 20 kw, KWS 12, q4-6h, Q2 h, Q3 2000 mg",
        "Do 3.5 mg, So 4.5 mg, 5 set, 2 out of 3, 2 gen, quarta 4 mg, 04.05 mg, 1-2/5",
        "3个月, 5月, 3か月, 体重45kg, 血圧 120/80, 3 mois, 4 maand, 5 meses",
        "1. Rest. 2. May shower in 48 hours. 3. May drive. Level 3 march test, grade 2 mar",
        "Lesions 1 and 2 may represent cysts; type 2 may progress. So 2 may be enough",
        "LESIONS 1 AND 2 MAY REPRESENT CYSTS; TYPE 2 MAY PROGRESS; seen 29 - May be discharged",
        "Ziel-INR 2.5 bis 3.5. INR 2.5 to 3.5. Kalium 3.5 bis 5.1, vom 1.2 auf 3.4",
        "INR 2.5 bis 3.5., Ziel-INR 2.5 bis 3.5",
        "Hb bis 7.5 toleriert, on 2.5 lpm, Tumor bis 4.5 groß; rose from 7.1. To 8.2",
        "seit 1.5 Jahren, since 2.5 years, seit 2.5 Std., bis 9.10 Uhr, bis 3.5 cm², bis 1.5 x",
        "to 4/5; hyperreflexia to 3/4; edema to 2/4 from 3/4; from L3 to 4/5; hearing to 2/6",
        "Pain on 9/10 at rest; Janda von 3/5 nach 4/5; Titer von 1/8 nach 1/4",
        "of 5/6 sites, of 2/3 nodes, on 1/10 ratio, on 24/7 oxygen, on 24/7, on 3/6 cycles",
        "Montag 1/2, Dienstag 3/4; SpO2 sat. 3/5, O2 sat 5/6",
        "Apgar 8/9/10, 9/9/10; Apgar-Werte: 8/9/10; Gleason 4/3/07; NIBP 12/10/08",
        "dilution 1/10/20, Score 3.4.12",
        "Mag 2000 mg IV; FEV 1800 mL; FEV 2100 (70%); Gen 1600 mg; per MAR 2000 units",
        "Week 2, 2000 IU daily; week 1 2000 kcal; CW 12",
    ],
)
def test_measurements_are_no_dates(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("03/2020-05/2020, 03.2020-05.2020", "04/2020-06/2020, 04.2020-06.2020"),
        ("03/2020 - 05/2020, 2020-03 to 2020-05", "04/2020 - 06/2020, 2020-04 to 2020-06"),
        ("2020-03/2020-05", "2020-04/2020-06"),  # as a period has it, and what follows
        ("2020-03-01/2020-05", "2020-04-10/2020-06"),
        ("2020-03/2020-05-01T10:00:00", "2020-04/2020-06-10T10:00:00"),
        ("2020/2020-05", "2020/2020-06"),
        ("2020-03/", "2020-04/"),
        ("/2020-05", "/2020-06"),
    ],
)
def test_both_months_of_a_period_move(text: str, shifted: str) -> None:
    assert scrub(text, days=40) == shifted


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("on 5/14. Seen 5/4/2020", "on 5/2. Seen 4/22/2020"),
        ("on 5/4, on 5/14", "on 4/22, on 5/2"),
        ("since 14/5, since 4/5", "since 2/5, since 22/4"),
        ("on 5/14/2020, on 5/4", "on 5/2/2020, on 4/22"),
        (
            "on 5/4/2020, 5/16/2020, 5/17/2020, 18/5/2020",
            "on 4/22/2020, 5/4/2020, 5/5/2020, 6/5/2020",
        ),
        ("on 5/4, BP 120/80, 5/16 strength", "on 24/3, BP 120/80, 5/16 strength"),
    ],
)
def test_all_dates_of_a_text_are_read_in_one_order(text: str, shifted: str) -> None:
    assert scrub(text) == shifted


def test_a_rated_pair_beside_a_date_stays() -> None:
    assert scrub("strength 4/5, 5/16/2020", month_first=True) == "strength 4/5, 5/4/2020"
    assert scrub("Take 1 or 2. May repeat").startswith("Take 1 or")


@pytest.mark.parametrize(
    "part",
    [
        "1., ",
        "1/2, ",
        "1-",
        "4.5., ",
        "May 1, ",
        "4 5 ",
        "1.2. und ",
        "2020-05-04,",
        "4 et ",
        "5月4日、",
    ],
)
def test_a_list_without_an_end_takes_time_in_proportion_to_its_length(part: str) -> None:
    def steps(n: int) -> float:
        text = part * n
        start = time.process_time()
        scrub(text)
        return time.process_time() - start

    steps(100)
    assert steps(8_000) < 60 * max(steps(400), 0.005)


@pytest.mark.parametrize(
    ("timezone", "month"),
    [("America/New_York", 3), ("America/Sao_Paulo", 4), ("Europe/Berlin", 4), ("UTC", 4)],
)
def test_a_days_order_is_that_of_the_sites_country(
    tmp_path: Path, timezone: str, month: int
) -> None:
    note = {
        "resourceType": "DocumentReference",
        "id": "d",
        "status": "current",
        "subject": {"reference": "Patient/p"},
        "date": "2024-06-01T00:00:00Z",
        "content": [{"attachment": {"contentType": "text/plain", "data": ""}}],
    }
    note["content"][0]["attachment"]["data"] = base64.b64encode(b"Seen 3/4/2024.").decode()
    source = write_ndjson(tmp_path / "a.ndjson", {"resourceType": "Patient", "id": "p"}, note)
    store, key = tmp_path / "store", tmp_path / "key"
    key.write_bytes(b"a key of our own, and long enough")
    ingest([source], store, timezone=timezone, key=key, deidentify=True)
    [row] = RecordStore(store).notes().df().to_dict("records")
    moved = row["time"].replace(tzinfo=None).normalize() - pd.Timestamp("2024-06-01")
    day = pd.Timestamp(2024, month, 7 - month) + moved
    order = f"{day.month}/{day.day}" if month == 3 else f"{day.day}/{day.month}"
    assert row["text"] == f"Seen {order}/{day.year}."
