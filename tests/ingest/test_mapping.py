"""Mappings: a CSV with images becomes timelines; what does not fit is named. (Over 400 lines: one
small table a sentence.)"""

import csv
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from textwrap import dedent

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ingest.errors import MappingError
from ingest.mapping import check_mapping, clean_note, project_mapping
from ingest.mapping_file import Note, read_mapping
from tests.ingest.films import land, open_tables

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT / "../shared/data"
HANNOVER = pytest.mark.skipif(
    not (SHARED / "hannover_covid_cxr").is_dir(), reason="no ../shared/data/hannover_covid_cxr"
)
COVID = pytest.mark.skipif(
    not (SHARED / "covid_cxr").is_dir(), reason="no ../shared/data/covid_cxr"
)

PLAN = """
    file: data.csv
    subject: who
    time: {offset: day, negate: true, epoch: 2000-01-01T12:00:00Z}
    sex: {column: sex, map: {f: F, m: M}}
    age_years: age
    codes: [{column: view, code: "VIEW//{value}", map: {ap: AP, pa: PA}}]
    measurements:
      - {column: crp, code: LOINC//1988-5, unit: mg/L, range: [0, 500], below: 0, offset: crp_day}
    notes: [{column: note, code: NOTE//TEXT//note, drop_sentences: [intubat]}]
    image: {column: file, directory: images, code: IMAGE//CR}
    outcomes:
      - {code: ICU_START, offset: icu, at: day_start}
      - {code: MEDS_DEATH, offset: death, at: day_end}
      - {code: OUTCOME//SEVERE, when: {severe: [1]}, days_after_first: 365}
"""
COLUMNS = ("who", "day", "sex", "age", "view", "crp", "crp_day", "note", "file", "icu", "death")
COLUMNS = (*COLUMNS, "severe")


def write_source(folder: Path, rows: Iterable[dict[str, str]]) -> Path:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / "data.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return folder


def run(folder: Path, plan: str = PLAN) -> tuple[duckdb.DuckDBPyConnection, dict]:
    (folder.parent / "plan.yaml").write_text(dedent(plan))
    con, files = open_tables(), land(folder)
    project_mapping(
        con,
        folder.parent / "plan.yaml",
        files,
        folder.parent / "store",
        timezone="UTC",
        progress=False,
    )
    names = {file.id: file.name for file in files}
    found = con.execute("SELECT file, position, status, detail FROM outcome ORDER BY ALL")
    return con, {(names[f], at): (status, why) for f, at, status, why in found.fetchall()}


def events(con: duckdb.DuckDBPyConnection, code: str) -> list[tuple]:
    return con.execute(
        "SELECT subject_key, time, coalesce(numeric_value::VARCHAR, text_value, image, '') "
        "FROM projected WHERE code LIKE ? ORDER BY ALL",
        [code],
    ).fetchall()


def noon(month: int, day: int, year: int = 2000) -> datetime:
    return datetime.fromisoformat(f"{year}-{month:02}-{day:02} 12:00")


def test_a_row_becomes_its_events(tmp_path: Path) -> None:
    source = write_source(
        tmp_path / "in",
        [
            dict(
                zip(
                    COLUMNS,
                    ["p", "-3", "f", "40", "ap", "7", "1", "Fever. Was intubated.", "x.png"],
                    strict=False,
                )
            )
            | {"icu": "-2", "death": "4", "severe": "1.0"}
        ],
    )
    Image.fromarray(np.zeros((4, 4), "u1")).save(source / "images/x.png")
    con, found = run(source)
    assert found == {("data.csv", 1): ("projected", None), ("images/x.png", 1): ("projected", None)}
    film = noon(1, 4)
    assert events(con, "VIEW//AP") == [("p", film, "")]
    assert events(con, "GENDER//F") == [("p", None, "")]
    assert events(con, "LOINC//1988-5") == [("p", noon(1, 5), "7.0")]
    assert events(con, "NOTE//%") == [("p", film, "Fever.")]
    assert events(con, "ICU_START") == [("p", datetime.fromisoformat("2000-01-02 00:00"), "")]
    assert events(con, "MEDS_DEATH") == [
        ("p", datetime.fromisoformat("2000-01-08 23:59:59.999999"), "")
    ]
    assert events(con, "OUTCOME//SEVERE") == [("p", noon(1, 3, 2001), "")]
    assert events(con, "MEDS_BIRTH")[0][1].year in (1959, 1960)
    ((subject, when, image),) = events(con, "IMAGE//CR")
    assert (subject, when) == ("p", film)
    assert (tmp_path / "store" / Path(image).name).is_file()


def test_what_two_rows_repeat_is_one_event_and_both_films_share_one_axis(tmp_path: Path) -> None:
    # The value of day 5 stands beside the film of day 3 (two days after) and of day 6 (one before).
    rows = [
        {"who": "p", "day": "-3", "crp": "50", "crp_day": "2", "icu": "-1", "view": "ap"},
        {"who": "p", "day": "-6", "crp": "50", "crp_day": "-1", "icu": "-4", "view": "pa"},
    ]
    con, _ = run(write_source(tmp_path / "in", rows))
    assert events(con, "LOINC//1988-5") == [("p", noon(1, 6), "50.0")]
    assert events(con, "ICU_START") == [("p", datetime.fromisoformat("2000-01-03 00:00"), "")]
    assert [when for _, when, _ in events(con, "VIEW//%")] == [noon(1, 4), noon(1, 7)]


@pytest.mark.parametrize(
    ("written", "expected", "why"),
    [
        ("7.5", ["7.5"], None),
        ("-inf", ["0.0"], None),
        ("inf", [], "crp is no number"),
        ("900", [], "crp outside its range"),
        ("high", [], "crp is no number"),
        ("NaN", [], None),
        ("", [], None),
    ],
)
def test_values_that_cannot_be_are_left_out_and_said(
    tmp_path: Path, written: str, expected: list[str], why: str | None
) -> None:
    rows = [{"who": "p", "day": "0", "crp": written, "crp_day": "0"}]
    con, found = run(write_source(tmp_path / "in", rows))
    assert [value for *_, value in events(con, "LOINC//1988-5")] == expected
    assert found["data.csv", 1] == ("projected", why)


def test_a_value_without_its_day_is_not_put_on_the_films_day(tmp_path: Path) -> None:
    rows = [{"who": "p", "day": "0", "crp": "7"}]
    con, found = run(write_source(tmp_path / "in", rows))
    assert events(con, "LOINC//1988-5") == []
    assert found["data.csv", 1] == ("projected", "crp without its day")


def test_each_row_and_each_image_is_accounted_for(tmp_path: Path) -> None:
    rows = [
        {"who": "p", "day": "0", "file": "good.png"},
        {"who": "", "day": "0"},
        {"who": "q", "day": ""},
        {"who": "q", "day": "0", "file": "missing.png"},
        {"who": "r", "day": "0", "file": "bad.png"},
        {"who": "r", "day": "0", "file": "../../plan.yaml"},
    ]
    source = write_source(tmp_path / "in", rows)
    with (source / "data.csv").open("a") as handle:
        handle.write("too,short\n")
    Image.fromarray(np.zeros((4, 4), "u1")).save(source / "images/good.png")
    Image.fromarray(np.ones((4, 4), "u1")).save(source / "images/unnamed.png")
    (source / "images/bad.png").write_text("text")
    (source / "other.csv").write_text("a,b\n1,2\n3,4\n")
    con, found = run(source)
    assert found == {
        ("data.csv", 1): ("projected", None),
        ("data.csv", 2): ("quarantined", "row without subject"),
        ("data.csv", 3): ("skipped", "row: undated"),
        ("data.csv", 4): ("projected", "image file is not there"),
        ("data.csv", 5): ("projected", "image cannot be read"),
        ("data.csv", 6): ("projected", "image file is not there"),
        ("data.csv", 7): ("quarantined", "row with 2 fields where the header has 12"),
        ("images/good.png", 1): ("projected", None),
        ("images/unnamed.png", 1): ("skipped", "image that no row names"),
        ("images/bad.png", 1): ("quarantined", "not an image"),
        ("other.csv", 1): ("skipped", "CSV that the mapping does not name"),
        ("other.csv", 2): ("skipped", "CSV that the mapping does not name"),
    }
    assert con.execute("SELECT count(*) FROM undated").fetchone() == (1,)


cells = st.sampled_from(["", "p", "q", "0", "1", "-3", "1e300", "inf", "-inf", "nan", "f", "x\ny"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(cells, min_size=len(COLUMNS), max_size=len(COLUMNS)), max_size=6))
def test_whatever_the_cells_each_row_has_one_outcome(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in table]
    _, found = run(write_source(folder / "in", rows))
    assert sorted(found) == [("data.csv", at) for at in range(1, len(rows) + 1)]


def test_rows_at_one_time_are_put_apart_in_the_files_order(tmp_path: Path) -> None:
    plan = PLAN.replace("negate: true,", "negate: true, missing: 0, spread_seconds: 1,")
    rows = [{"who": "p", "view": "ap"}, {"who": "q", "view": "ap"}, {"who": "p", "view": "pa"}]
    con, _ = run(write_source(tmp_path / "in", rows), plan)
    assert events(con, "VIEW//AP") == [("p", noon(1, 1), ""), ("q", noon(1, 1), "")]
    assert events(con, "VIEW//PA") == [("p", noon(1, 1).replace(second=1), "")]


def test_rows_outside_where_are_skipped_with_the_reason(tmp_path: Path) -> None:
    rows = [{"who": "p", "day": "0", "view": "ap"}, {"who": "p", "day": "0", "view": "lateral"}]
    _, found = run(write_source(tmp_path / "in", rows), PLAN + "    where: {view: [ap, pa]}\n")
    assert found["data.csv", 1] == ("projected", None)
    assert found["data.csv", 2] == ("skipped", "row outside `where: view`")


def test_dates_may_stand_in_place_of_offsets(tmp_path: Path) -> None:
    plan = re.sub(r"time: .*", "time: {column: day}", PLAN)
    rows = [
        {"who": "p", "day": "2024-03-01T10:00+01:00", "view": "ap"},
        {"who": "q", "day": "2024-03-01", "view": "ap"},
    ]
    con, _ = run(write_source(tmp_path / "in", rows), plan)
    assert [when for _, when, _ in events(con, "VIEW//AP")] == [
        datetime.fromisoformat("2024-03-01 09:00"),
        datetime.fromisoformat("2024-03-01 23:59:59.999999"),
    ]


def test_a_subject_prefix_keeps_two_sets_apart(tmp_path: Path) -> None:
    rows = [{"who": "1", "day": "0", "view": "ap"}]
    con, _ = run(write_source(tmp_path / "in", rows), PLAN + "    subject_prefix: site/\n")
    assert events(con, "VIEW//AP")[0][0] == "site/1"


def test_a_compressed_table_is_read_too(tmp_path: Path) -> None:
    import gzip

    source = write_source(tmp_path / "in", [{"who": "p", "day": "0", "view": "ap"}])
    plain = (source / "data.csv").read_bytes()
    (source / "data.csv").unlink()
    (source / "data.csv.gz").write_bytes(gzip.compress(plain))
    con, _ = run(source, PLAN.replace("data.csv", "data.csv.gz"))
    assert len(events(con, "VIEW//AP")) == 1


def test_a_table_without_the_mapped_column_is_refused_by_name(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in", [{"who": "p", "day": "0"}])
    with pytest.raises(MappingError) as caught:
        run(source, PLAN.replace("column: crp,", "column: c_reactive,"))
    assert str(caught.value) == (
        "data.csv lacks the column 'c_reactive' that the mapping names at measurements.0.column; "
        f"it has: {', '.join(COLUMNS)}"
    )
    assert caught.value.exit_code == 4


def test_a_mapping_can_be_held_against_its_source_before_anything_lands(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in", [{"who": "p", "day": "0"}])
    (tmp_path / "plan.yaml").write_text(dedent(PLAN))
    check_mapping(tmp_path / "plan.yaml", [source])
    (tmp_path / "plan.yaml").write_text(dedent(PLAN.replace("column: crp,", "column: cpr,")))
    with pytest.raises(MappingError, match="lacks the column 'cpr'"):
        check_mapping(tmp_path / "plan.yaml", [source])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("    subject: who\n", ""), "subject is missing"),
        (("subject: who\n", "subject: who\n    subjekt: x\n"), "subjekt is no key of a mapping"),
        (("map: {f: F", "map: {f: female"), "sex: sex must map to F, M, O or U; got female"),
        (("[intubat]", "['(']"), "is no regular expression"),
        (("code: NOTE//", "code: REPORT//"), "notes.0.code"),
        (("offset: icu,", ""), "give either `offset` or `days_after_first`"),
        (("when: {severe: [1]}, ", ""), "needs `when`, else everyone has the outcome"),
        (("offset: day, ", "offset: day, column: date, "), "give either `column`"),
        (("{f: F", "{no: F"), "quotes"),
        (("file: data.csv", "file: [data.csv"), r"is not YAML \(line"),
        (("file: data.csv", "file: other.csv"), "has 0 of them .CSV files there: data.csv."),
    ],
)
def test_a_wrong_mapping_is_refused_in_one_sentence(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    source = write_source(tmp_path / "in", [{"who": "p", "day": "0"}])
    assert change[0] in PLAN
    with pytest.raises(MappingError, match=message):
        run(source, PLAN.replace(*change))


def test_sentences_are_dropped_whole_and_abbreviations_do_not_end_them() -> None:
    note = Note(column="c", code="NOTE//X", drop=("Discussion:.*",), drop_sentences=("ICU", "died"))
    text = "Cough. Seen by Dr. Roe in the ICU of the town. Clear\nlungs. Discussion: he\nlived."
    assert clean_note(text, note) == "Cough. Clear lungs."
    assert clean_note("He died.", note) == ""


@pytest.mark.parametrize("name", ["covid_cxr", "hannover_covid_cxr"])
def test_the_projects_own_mappings_can_be_read(name: str) -> None:
    assert read_mapping(ROOT / f"ingest/mappings/{name}.yaml").outcomes


@pytest.fixture(scope="module")
def covid(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[duckdb.DuckDBPyConnection, dict[str, int]]:
    return project_shared("covid_cxr", tmp_path_factory.mktemp("covid"))


def project_shared(name: str, store: Path) -> tuple[duckdb.DuckDBPyConnection, dict[str, int]]:
    con, files = open_tables(), land(SHARED / name)
    plan = ROOT / f"ingest/mappings/{name}.yaml"
    project_mapping(con, plan, files, store, timezone="UTC", progress=False)
    counts = con.execute("SELECT status, count(*) FROM outcome GROUP BY 1").fetchall()
    return con, dict(counts)


@HANNOVER
def test_hannovers_films_and_values_land_on_one_axis_a_patient(tmp_path: Path) -> None:
    con, counts = project_shared("hannover_covid_cxr", tmp_path)
    assert counts == {"projected": 328}  # 164 rows and 164 images
    n = con.execute("SELECT count(*) FROM projected WHERE code = 'IMAGE//CR'").fetchone()
    assert n == (164,)
    stays = con.execute(
        "SELECT code, count(*), count(DISTINCT subject_key) FROM projected "
        "WHERE code IN ('ICU_START', 'ICU_END', 'MEDS_DEATH') GROUP BY 1 ORDER BY 1"
    ).fetchall()
    # Were the offsets read otherwise, each film would give its patient another stay.
    assert stays == [("ICU_END", 19, 19), ("ICU_START", 19, 19), ("MEDS_DEATH", 3, 3)]
    before = con.execute(
        "SELECT count(*) FROM projected i JOIN projected s USING (subject_key) "
        "WHERE i.code = 'IMAGE//CR' AND s.code = 'ICU_START' AND i.time < s.time"
    ).fetchone()
    assert before == (7,)  # so the set tells of the present, not of the future
    doubled = con.execute(
        "SELECT count(*) FROM (SELECT subject_key, code, time, numeric_value FROM projected "
        "WHERE numeric_value IS NOT NULL GROUP BY ALL HAVING count(*) > 1)"
    ).fetchone()
    assert doubled == (0,)
    # The same from the CSV alone.
    with (SHARED / "hannover_covid_cxr/data.csv").open() as handle:
        table = list(csv.DictReader(handle))
    values = {
        (r["patient_id"], float(r["crp_offset"]) - float(r["admission_offset"]), r["crp_val"])
        for r in table
        if r["crp_offset"]
    }
    crp = con.execute("SELECT count(*) FROM projected WHERE code = 'LOINC//1988-5'").fetchone()
    assert crp == (len(values),)


GIVEAWAYS = re.compile(
    r"intubat|\bicu\b|intensive|ventilat|\bdied?\b|death|deceas|expired|surviv|discharg|recover"
    r"|\becmo\b|critical|endotrach|\bett\b",
    re.IGNORECASE,
)


@COVID
def test_no_note_of_covid_cxr_gives_the_outcome_away(
    covid: tuple[duckdb.DuckDBPyConnection, dict[str, int]],
) -> None:
    con, counts = covid
    assert counts == {"projected": 310}  # 155 rows and 155 images
    notes = [text for *_, text in events(con, "NOTE//TEXT//clinical_notes")]
    assert len(notes) > 140
    assert [text for text in notes if GIVEAWAYS.search(text)] == []
    with (SHARED / "covid_cxr/metadata.csv").open(errors="replace") as handle:
        table = list(csv.DictReader(handle))
    flagged = [r["clinical_notes"] for r in table if r["note_mentions_outcome_words"] == "1"]
    assert sum(bool(GIVEAWAYS.search(text)) for text in flagged) == len(flagged) == 28
    outcomes = con.execute(
        "SELECT code, count(DISTINCT subject_key) FROM projected WHERE code LIKE 'OUTCOME//%' "
        "GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert outcomes == [("OUTCOME//NOT_SEVERE", 19), ("OUTCOME//SEVERE", 21)]
    early = con.execute(
        "SELECT count(*) FROM projected o JOIN projected e USING (subject_key) "
        "WHERE o.code LIKE 'OUTCOME//%' AND e.code NOT LIKE 'OUTCOME//%' AND e.time >= o.time"
    ).fetchone()
    assert early == (0,)


@COVID
def test_covid_cxr_gives_each_patient_one_first_film(
    covid: tuple[duckdb.DuckDBPyConnection, dict[str, int]],
) -> None:
    con, _ = covid
    films = con.execute(
        "SELECT count(*) FROM (SELECT subject_key, time FROM projected WHERE code = 'IMAGE//CR' "
        "GROUP BY ALL HAVING count(*) > 1)"
    ).fetchone()
    assert films == (0,)
    codes = {code for (code,) in con.execute("SELECT DISTINCT code FROM projected").fetchall()}
    assert not any(re.search("FINDING|SURVIV|INTUB|ICU", code, re.IGNORECASE) for code in codes)


FILMS = """
    file: data.csv
    subject: who
    time: {epoch: 2000-01-01T12:00:00Z, spread_seconds: 1}
    optional: [sex, age, projection]
    sex: {column: sex, map: {f: F}}
    age_years: age
    codes: [{column: projection, code: "VIEW//{value}"}]
    image: {column: file, directory: images, code: IMAGE//OT}
"""


def test_a_table_without_times_stands_at_its_epoch_a_film_a_second_apart(tmp_path: Path) -> None:
    films = ("b.png", "a.png", "b.png")  # findings of a film are often rows of their own
    source = write_source(tmp_path / "in", [{"who": "p", "file": name} for name in films])
    for number, name in enumerate(("a.png", "b.png")):
        Image.fromarray(np.full((4, 4), number, "u1")).save(source / "images" / name)
    con, found = run(source, FILMS)
    assert {fate for fate, _ in found.values()} == {"projected"}
    shown = [moment for _, moment, _ in events(con, "IMAGE//OT")]
    assert shown == [noon(1, 1), noon(1, 1) + timedelta(seconds=1)]


def test_what_is_optional_may_be_lacking_and_nothing_else(tmp_path: Path) -> None:
    row = {"who": "p", "sex": "f", "age": "40"}
    con, _ = run(write_source(tmp_path / "a" / "in", [row]), FILMS)  # has no `projection`
    assert [when for _, when, _ in events(con, "GENDER//F")] == [None]
    assert events(con, "MEDS_BIRTH")[0][1].year in (1959, 1960)
    for plan, words in (
        (FILMS.replace("[sex, age, projection]", "[sex]"), "lacks the column 'projection'"),
        (FILMS.replace("[sex, age, projection]", "[who]"), "who can't be optional"),
        (FILMS.replace("[sex, age, projection]", "[ward]"), "optional names ward"),
        (FILMS.replace("{epoch: 2000-01-01T12:00:00Z, ", "{"), "an `epoch` alone"),
    ):
        with pytest.raises(MappingError, match=words):
            run(write_source(tmp_path / "b" / "in", [row]), plan)


def test_the_mapping_of_films_reads_a_table_of_two_columns(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "labels.csv").write_text("image,subject,ill\nx.png,p,1\n", "utf-8")
    Image.fromarray(np.zeros((4, 4), "u1")).save(tmp_path / "in" / "x.png")
    con, _ = run(tmp_path / "in", (ROOT / "ingest" / "mappings" / "films.yaml").read_text("utf-8"))
    rows = con.execute("SELECT subject_key, time, code FROM projected").fetchall()
    assert rows == [("p", noon(1, 1), "IMAGE//OT")]  # a label is no part of the record
