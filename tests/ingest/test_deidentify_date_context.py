"""What stands beside numbers tells a date from a dose, a score or a level, in both directions."""

import time

import pytest

from ingest.deidentify_dates import DateStyle
from ingest.deidentify_terms import Terms
from ingest.deidentify_text import Scrubber


def scrub(text: str, *, month_first: bool) -> str:
    who = Scrubber(terms=Terms(), style=DateStyle(days=59))
    return who.scrub(text, year=2024, month_first=month_first)


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("PMH: COVID-19 March 2020", "PMH: COVID-19 May 2020"),
        ("Covid-19 Dec 2020", "Covid-19 Feb 2021"),
        ("HER-2 Apr 2024 positive", "HER-2 Jun 2024 positive"),
        ("ACDF C5-6 April 2018, L4-5 Mar 2019", "ACDF C5-6 June 2018, L4-5 May 2019"),
        ("Stage 3 Mar 2021, type 2 March 2015", "Stage 3 May 2021, type 2 May 2015"),
        ("CKD 3 Apr 2020, CABG x 3 Mar 2019", "CKD 3 Jun 2020, CABG x 3 May 2019"),
        ("Stage 2-3 Mar 2021; Bcl-2 Mar 10", "Stage 2-3 May 2021; Bcl-2 May 8"),
        ("A1c 7 Mar 2024, Cr 2 Apr 2024", "A1c 7 [DATE], Cr 2 [DATE]"),
        ("Vitamin D 3 Mar 2020, B 12 Apr 2020", "Vitamin D 3 May 2020, B 12 Jun 2020"),
        ("Ca 19-9 Mar 2023: 40, POD 3 May 4", "Ca 19-9 May 2023: 40, POD 3 July 2"),
        ("Visit-4 May 2024", "Visit-4 [DATE]"),
        ("Cr 02 Apr 2024, Hb 4-May-2024", "Cr 31 May 2024, Hb 2-Jul-2024"),
        ("Seen 4 May 2024, CT 4 May 2024", "Seen 2 July 2024, CT 2 July 2024"),
        ("Date-4 May 2024, Stage 3rd Mar 2021", "Date-2 July 2024, Stage 1st May 2021"),
        ("Cr 2 may be repeated, type 2 may progress", "Cr 2 may be repeated, type 2 may progress"),
    ],
)
def test_a_number_before_a_month_is_its_day_only_if_it_is_nothing_else(
    text: str, shifted: str
) -> None:
    assert scrub(text, month_first=True) == shifted


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("DOB=14MAR1950, <14MAR2024>", "DOB=12MAY1950, <12MAY2024>"),
        ("Ca 14MAR2024 9.1, Cr 14Mar2024 1.2", "Ca 12MAY2024 9.1, Cr 12May2024 1.2"),
        ("Vitamin D 04MAY2024: 30, HD 14MAY2024", "Vitamin D 02JULY2024: 30, HD 12JULY2024"),
        ("Hepatitis B 04MAY2024, C1 14MAR2024", "Hepatitis B 02JULY2024, C1 12MAY2024"),
        ("Ca 04-MAY-2024, DOS-14MAY2024", "Ca 02-JUL-2024, DOS-12JULY2024"),
        ("DOB = 14 March 1950, since ~14 May 2024", "DOB = 12 May 1950, since ~12 July 2024"),
        ("Admitted 3 May -> 14 May 2024", "Admitted 1 July -> 12 July 2024"),
        ("COVID 14. März 2020, Hep B 14. Mai 2024", "COVID 12. Mai 2020, Hep B 12. Juli 2024"),
        ("last HD 14 May 2024, Hep B 4 May 2024", "last HD 12 July 2024, Hep B 2 July 2024"),
        ("breast ca 14 March 2021, ca 4 March 2021", "breast ca 12 May 2021, ca 4 [DATE]"),
        ("seit ca 14. Mai 2024, DOB = 4 March 1950", "seit ca 12. Juli 2024, DOB = 2 May 1950"),
        ("Cr = 2 March 2024, Plt <4 Mar 2024", "Cr = 2 [DATE], Plt <4 [DATE]"),
        ("Plt < 14 March 2024, # 4 May 2024", "Plt < 14 [DATE], # 4 [DATE]"),
        ("DOB-14 March 1950, IL-17 Mar 2024", "DOB-14 [DATE], IL-17 [DATE]"),
        ("Stage 3. March 2021 CT, Room 14 May 2024", "Stage 3. [DATE] CT, Room 14 [DATE]"),
        ("hpv 16 Mar 2020, Hosp = 4-6 May 2020", "hpv 16 May 2020, Hosp = [DATE]"),
    ],
)
def test_what_can_only_be_a_day_of_a_month_moves_whatever_stands_before(
    text: str, shifted: str
) -> None:
    assert scrub(text, month_first=True) == shifted


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("Cr 14 May 1.2, WBC 22 March 5.5", "Cr 14 [DATE] 1.2, WBC 22 [DATE] 5.5"),
        ("CRP 14 March: 12, INR 12 March: 2.4", "CRP 14 [DATE]: 12, INR 12 [DATE]: 2.4"),
        ("last HD 22 March, LMP = 4 May", "last HD 20 May, LMP = 2 July"),
        ("Lung CA 14 March, 3 May --> 14 May", "Lung CA 12 May, 1 July --> 12 July"),
        ("CR 2 MAY BE REPEATED. Cr 2 May be", "CR 2 MAY BE REPEATED. Cr 2 May be"),
    ],
)
def test_march_and_may_go_behind_a_level_unless_they_are_verbs(text: str, shifted: str) -> None:
    assert scrub(text, month_first=True) == shifted


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("Admitted May 4 hours after fall", "Admitted [DATE] 4 hours after fall"),
        ("Surgery Jan 5 weeks ago, jan 5 doses", "Surgery [DATE] 5 weeks ago, [DATE] 5 doses"),
        ("Seen on Dec 5 weeks post op", "Seen on [DATE] 5 weeks post op"),
        ("Take. May 4 times daily, may 4 hours", "Take. May 4 times daily, may 4 hours"),
        ("O2 dec 5 days ago, see MAR 2 days", "O2 dec 5 days ago, see MAR 2 days"),
    ],
)
def test_a_month_before_so_many_hours_or_weeks_goes_without_them(text: str, shifted: str) -> None:
    assert scrub(text, month_first=True) == shifted


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("Z.n. COVID-19 März 2020", "Z.n. COVID-19 Mai 2020"),
        ("vom 4. bis zum 9. Mai 2024", "vom [DATE]"),
        ("du 04/05 au 09/05/2024", "du [DATE]"),
        ("с 04.05 по 09.05.2024, od 4.05 do 9.05.2024", "с [DATE], od [DATE]"),
        ("April/Mai 2024, April bis Juni 2024", "[DATE], [DATE]"),
        ("entre mars et juin 2024; de marzo a junio de 2024", "entre [DATE]; de [DATE]"),
        ("da marzo a giugno 2024; van maart tot juni 2024", "da [DATE]; van [DATE]"),
        ("od marca do czerwca 2024; с марта по июнь 2024", "od [DATE]; с [DATE]"),
        ("CRP am 4.5. 120, 5.5. 80, INR 2.5. Dann", "CRP am 2.7. 120, 3.7. 80, INR 2.5. Dann"),
        ("Hb vom 4.5. 10 und 5.5. 9", "Hb vom 2.7. 10 und 3.7. 9"),
        ("Hb 7.5 до 8.05.2024", "Hb 7.5 до 6.07.2024"),
        ("dal 04/05 al 09/05; de 3/5 a 4/5", "dal 02/07 al 07/07; de 3/5 a 4/5"),
        ("AU 4.5.-20.5., Mg 4.5.-6.5. mg", "AU 2.7.-18.7., Mg 4.5.-6.5. mg"),
        ("March 2023 to April 2024", "May 2023 to June 2024"),
    ],
)
def test_no_end_of_a_range_stays_while_the_other_moves(text: str, shifted: str) -> None:
    assert scrub(text, month_first=False) == shifted


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("Hospitalized Aug-Sept 2023", "Hospitalized [DATE]"),
        ("July through September 2023, March and April", "[DATE], March and April"),
        ("March, April and May 2023", "[DATE]"),
        ("8/4/23, 8/5, 8/6: no fever", "10/2/23, 10/3, 10/4: no fever"),
        ("8/4/23, 4/5 strength; 8/4/23, 2/6 SEM", "10/2/23, 4/5 strength; 10/2/23, 2/6 SEM"),
        ("Aug 4th, 5th; Aug 4, 5 mg", "[DATE]; Oct 2, 5 mg"),
        ("since 8/4/23 (8/5 worse, pain 4/10)", "since 10/2/23 (10/3 worse, pain 4/10)"),
        ("D: 08/04/2023T: 08/05/2023", "D: 10/02/2023T: 10/03/2023"),
        ("DATE:08/04/2023TIME:10:15", "DATE:10/02/2023TIME:10:15"),
        ("08/04/2023at 10, 08/04/2023EDT", "10/02/2023at 10, 10/02/2023EDT"),
        ("8/4/2023/8/5/2023", "10/2/2023/10/3/2023"),
        ("d08/04/2023, release v1.2.2020", "d10/02/2023, release v1.2.2020"),
        ("Aug. '23 - Sept. '23, Mar '12", "Oct. '23 - November. '23, May '12"),
        ("8/4/ 23, 8 /4/ 2023; 4 /5 / 10", "[DATE], [DATE]; 4 /5 / 10"),
        ("AUG23, Aug-23; May4, 2024, Aug.4,2023", "[DATE], [DATE]; July2, 2024, Oct.2,2023"),
        ("B12, T10-11, AUG 2023 mg", "B12, T10-11, AUG 2023 mg"),
        ("4/mayo/2024", "2/julio/2024"),
        ("Memorial Day 2024, Good Friday 2024, labor 2024", "[DATE], [DATE], labor 2024"),
    ],
)
def test_dates_that_are_typed_together_move_together(text: str, shifted: str) -> None:
    assert scrub(text, month_first=True) == shifted


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("Mai '24, Fronleichnam 2024, Muttertag 2024", "Juli '24, [DATE], [DATE]"),
        ("Mai 24; Mai 24, 2024; Mai 5", "[DATE]; Juli 22, 2024; Juli 3"),
        ("V.a. TIA 12/23, erneut 01/24", "V.a. TIA [DATE], erneut [DATE]"),
        ("12/23, 03/24, seit 05/24", "[DATE], [DATE], seit [DATE]"),
        ("seit 05/24, Lymphknoten 12/15", "seit [DATE], Lymphknoten 12/15"),
        ("Lymphknoten 12/15", "Lymphknoten 12/15"),
    ],
)
def test_a_month_moves_with_its_year_of_two_digits(text: str, shifted: str) -> None:
    assert scrub(text, month_first=False) == shifted


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("CT 03/24: kein Tumor, MRT 4/24", "CT [DATE]: kein Tumor, MRT [DATE]"),
        ("Echo 11/23: EF 55%, ED 11/22", "Echo [DATE]: EF 55%, ED [DATE]"),
        ("CT 09/23 und 11/23", "CT [DATE] und [DATE]"),
        ("s/p CABG 4/22, last mammogram 10/23", "s/p CABG [DATE], last mammogram [DATE]"),
        ("on 4/23 seen, CT 4/5", "on 6/21 seen, CT 6/3"),
    ],
)
def test_a_month_and_year_is_no_day_where_the_day_comes_first(text: str, shifted: str) -> None:
    assert scrub(text, month_first=False) == shifted


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("s/p CABG 4/22, last mammogram 10/23", "s/p CABG [DATE], last mammogram [DATE]"),
        ("MRI 4/24, CT 4/22", "MRI [DATE], CT 6/20"),
        ("admitted 4/3/2024, CT 4/23", "admitted 6/1/2024, CT 6/21"),
    ],
)
def test_what_is_as_likely_a_month_and_year_goes_where_the_month_comes_first(
    text: str, shifted: str
) -> None:
    assert scrub(text, month_first=True) == shifted


@pytest.mark.parametrize(
    "text",
    [
        "Actrapid s.c. 12-8-10 IE, Humalog 12-10-11 I.E., NovoRapid 12/10/14 IE",
        "Novolog 10-12-14 units with meals; Insulin 8/10/12; SSI 2/4/6/8/10",
        "24-6-16 IE, Mixtard 24/6/16, Mixtard 24-6-22, 24-6-22 IE",
        "Actrapid 12-8-10, IE 12-8-10; Lantus 0-0-12, 10-0-12-0 IE",
        "ribs 10/11/12 fx, rib fx 8-9-10, Zahn 11-12-13 extrahiert, CRE balloon 10-11-12",
        "lidocaine 1% 10-12-14 cc; Grip strength R 10/12/11; FVC/FEV1 12/10/83",
        "see MAR 2 doses given; O2 dec 2 L to 1 L; dec 10 to 5 mg; WBC dec 12 -> 8",
        "HR dec 20 bpm; IV sept 12 mm; OCT 12 OD and OCT 14 OS; May 2 tabs, May 4 to 6 tabs",
        "Warfarin: Mon 1/2, Tue 1/2; SOB from 2/2 PNA; due 2/2 hypotension; CT 2/2 trauma",
        "on 3/4 limbs, seen 2/3 episodes, on 1/2 dose",
        "Suboxone 8/2 BID, started Suboxone 8/2, started Coveram 10/5; BiPAP 12/5, 10/5",
        "BCx 2/4 GPC, BCx 1/2 positive, pain 6/10 -> 3/10 (4/10), MoCA 11/30, MMSE (12/30)",
        "nodes 3/14 (2/14), 8/12 cores, in 6/12, started 1/2 tab, received 2/3 doses",
        "visual acuity 6/9, 6/12; CT 3/4 of lung; L4/5-5/1, L 4/5-5/1; 1/2-1/4 tab, lotrel 5/10",
        "cath RA 8/10 RV 25/8 PA 25/12; Cath PCWP 12/8; LFTs AST/ALT 22/12; LFTs 12/8",
        "labs BUN/Cr 12/1; Echo E/A 10/8; BiPAP started 15/8; settings (12/6); US 10/12 wks",
        "pathology 2/14 LN; X-ray 1/2 views; recheck 1/2 hr; abx 5/7",
        "completed 4/6 cycles; strength 3/5-4/5; BP 12/7, 12/8; D5 1/2 NS, TA 12/7, 12/8",
    ],
)
@pytest.mark.parametrize("month_first", [False, True])
def test_no_dose_score_or_level_is_changed(text: str, month_first: bool) -> None:
    assert scrub(text, month_first=month_first) == text


@pytest.mark.parametrize(
    "text",
    [
        "INR seit gestern 2.5. Marcumar pausiert.",
        "INR vom Labor 2.5. Marcumar reduziert",
        "INR bis 3.5. toleriert",
        "K 4.5. 2 Beutel EK. CRP 4.5. Dann 120 mg. Hb 9.5.-10.2",
        "sinds 2.5 jaar, depuis 2.5 ans, fuerza desde 3/5 a 4/5; fracture du 1/3 distal",
        "le 1/2 comprimé, de 3/5 à 4/5, force 4/5 et 5/5, des 2/3 supérieurs",
        "f/u 6/12, review 2/12, appt 3/7",  # British: months and days from now
    ],
)
def test_no_dose_or_score_of_another_country_is_changed(text: str) -> None:
    assert scrub(text, month_first=False) == text


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("insulin since 8/10/12", "insulin since 10/8/12"),
        ("ribs seen 10/11/12, balloon on 10/11/12", "ribs seen 12/09/12, balloon on 12/09/12"),
        ("12/10/14 E. coli", "02/07/15 E. coli"),
        ("Insulin 08/10/12", "Insulin 10/08/12"),
        ("Oct 12 OD", "Dec 10 OD"),
        (
            "May 2 dose raised, Dec 2 L hip, Mar 4 x-ray",
            "June 30 dose raised, Jan 30 L hip, May 2 x-ray",
        ),
        ("Cr 2.1 on 8/6, 1.4 on 8/8", "Cr 2.1 on 10/4, 1.4 on 10/6"),
        ("Mon 1/2, Tue 1/3", "Fri 3/1, Sat 3/2"),
        ("2/2/2024 fever", "4/1/2024 fever"),
        ("Started 8/4, stopped 8/7. 24/7 care.", "Started 10/2, stopped 10/5. 24/7 care."),
        ("on 2/2 fever free; on 3/4 oxygen stopped", "on 4/1 fever free; on 5/2 oxygen stopped"),
    ],
)
def test_a_date_beside_doses_and_levels_moves(text: str, shifted: str) -> None:
    assert scrub(text, month_first=True) == shifted


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("5/14/24 CC: cough, fever x 3 days", "7/12/24 CC: cough, fever x 3 days"),
        ("05/04/24 CC: cough, 5/4/24 cc team", "07/02/24 CC: cough, 7/2/24 cc team"),
        ("5/4/24 tablets refilled", "7/2/24 tablets refilled"),
        ("10/4/23 Units received", "12/2/23 Units received"),
        ("Received 2 units 10/4/23, 1 unit 10/6/23", "Received 2 units 12/2/23, 1 unit 12/4/23"),
        ("started insulin 5/4/24, Lantus 5/4/24", "started insulin 7/2/24, Lantus 7/2/24"),
        ("MRT LWK 5.4.24, Röntgen BWK 15.4.24", "MRT LWK 3.6.24, Röntgen BWK 13.6.24"),
        ("rib fracture 5/14/24, rib fx 12/10/23", "rib fracture 7/12/24, rib fx 02/07/24"),
        ("extracted tooth 5/4/24", "extracted tooth 7/2/24"),
        ("eyes dilated 5/14/24, balloon 5/4/24", "eyes dilated 7/12/24, balloon 7/2/24"),
        ("5/4/24 hrs 0900, at 1/3/24 hrs", "7/2/24 hrs 0900, at 1/3/24 hrs"),
        (
            "12-18-20 IE, Lantus 10-8-20, grip R 20/22/21",
            "12-18-20 IE, Lantus 10-8-20, grip R 20/22/21",
        ),
    ],
)
def test_a_day_with_a_likely_year_moves_beside_a_unit_or_a_row(text: str, shifted: str) -> None:
    assert scrub(text, month_first=True) == shifted


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("CT 5/4: no PE; CXR 5/4 clear", "CT 7/2: no PE; CXR 7/2 clear"),
        ("Echo 8/4: EF 55%, EKG 8/4 NSR", "Echo 10/2: EF 55%, EKG 10/2 NSR"),
        ("MRI brain 8/4: normal, labs 5/4", "MRI brain 10/2: normal, labs 7/2"),
        ("8/4 CXR: clear", "10/2 CXR: clear"),
        ("UCx 5/4: E. coli, BCx 5/4 NGTD", "UCx 7/2: E. coli, BCx 7/2 NGTD"),
        ("Cr 1.2 (8/4) -> 1.5 (8/5)", "Cr 1.2 (10/2) -> 1.5 (10/3)"),
        ("D/c'd 5/9, adm 8/4, discharge 8/9", "D/c'd 7/7, adm 10/2, discharge 10/7"),
        ("Surgery 8/4, s/p lap chole 8/4", "Surgery 10/2, s/p lap chole 10/2"),
        ("Intubated 8/1-8/4, extubated 8/4", "Intubated 9/29-10/2, extubated 10/2"),
        ("PICC placed 8/4, Started Zosyn 8/4", "PICC placed 10/2, Started Zosyn 10/2"),
        ("Vanc 5/4-5/9, abx 8/30-9/2", "Vanc 7/2-7/7, abx 10/28-10/31"),
        ("LMP 4/28, f/u 6/12, RTC 6/12", "LMP 6/26, f/u 8/10, RTC 8/10"),
        ("appt 8/4, scheduled for 8/4, as of 8/4", "appt 10/2, scheduled for 10/2, as of 10/2"),
        ("Addendum 8/4: DOS: 8/4", "Addendum 10/2: DOS: 10/2"),
        (
            "Admit 5/3/2024, OR 5/4, extubated 5/6",
            "Admit 7/1/2024, OR 7/2, extubated 7/4",
        ),
        ("Wt 8/4: 72 kg; 8/5: 71 kg, 8/6 70 kg", "Wt 10/2: 72 kg; 10/3: 71 kg, 10/4 70 kg"),
        ("On 8/4 2 units, T 38.2 8/5, Suboxone 8/2", "On 10/2 2 units, T 38.2 10/3, Suboxone 8/2"),
        ("on 8/4 seen, pain 8/10, 8/5 strength", "on 10/2 seen, pain 8/10, 8/5 strength"),
        ("I/O: 8/4: 1200/800, 8/5: 900/700", "I/O: 10/2: 1200/800, 10/3: 900/700"),
        ("Cath 8/4, Echo 8/4 HR 80, abx 8/4", "Cath 10/2, Echo 10/2 HR 80, abx 10/2"),
        ("BiPAP started on 8/4, CT 8/4 hr 88", "BiPAP started on 10/2, CT 10/2 hr 88"),
        ("Started apixaban 5 mg BID 8/4", "Started apixaban 5 mg BID 10/2"),
        ("D/C 8/7, Dc'd to SNF 8/7, ER 8/8, PR 7/8", "D/C 10/5, Dc'd to SNF 10/5, ER 8/8, PR 7/8"),
        ("5/4/2024: pain 3/10. 5/5: stable. 5/6 d/c", "7/2/2024: pain 3/10. 7/3: stable. 7/4 d/c"),
        ("strength. 5/5: normal", "strength. 5/5: normal"),
        ("CT chest 5/4/24 stable c/w CT 3/2", "CT chest 7/2/24 stable c/w CT 4/30"),
        (
            "8/3/2024: 8/5 fever. 8/4 better, 8/2 tabs; 3/7 of 8/9",
            "10/1/2024: 10/3 fever. 10/2 better, 8/2 tabs; 3/7 of 8/9",
        ),
    ],
)
def test_a_bare_day_beside_what_has_a_date_is_shifted(text: str, shifted: str) -> None:
    assert scrub(text, month_first=True) == shifted


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("scanner du 12/04; scanner du 1/3 distal", "scanner du 10/06; scanner du 1/3 distal"),
        ("depuis le 04/05, desde el 4/5", "depuis le 02/07, desde el 2/7"),
        ("CRP 4.5. 120", "CRP 2.7. 120"),
        ("Rö-Thorax 3.2. o.B.", "Rö-Thorax 2.4. o.B."),
        ("labs 5/4", "labs 3/6"),  # in the order of the store's full dates
    ],
)
def test_a_bare_day_of_another_country_is_shifted(text: str, shifted: str) -> None:
    assert scrub(text, month_first=False) == shifted


@pytest.mark.parametrize(
    "part",
    [
        *("8/4, ", "8/4-8/5-", "CT ", "Started a b ", "Stage 2-", "insulin s.c. ", "(8/4) "),
        *(
            "March, ",
            "mars et ",
            "March and ",
            "8 / 4 /",
            "4.5.-5.5.",
            "8/4/2023/",
            "x 3 Mar ",
            "1/",
        ),
    ],
)
def test_signs_without_an_end_take_time_in_proportion_to_their_length(part: str) -> None:
    def steps(n: int) -> float:
        text = part * n
        start = time.process_time()
        scrub(text, month_first=True)
        return time.process_time() - start

    steps(100)
    assert steps(8_000) < 60 * max(steps(400), 0.005)
