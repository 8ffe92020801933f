from dataclasses import replace
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pytest
from PIL import Image

from ingest.imaging import project_images
from tests.ingest.films import fates, land, open_tables, write_film

STUDY = "1.2.840.99.1"
AT_NOON = {"StudyDate": "20240301", "StudyTime": "120000"}


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    con = open_tables()
    con.execute(
        "INSERT INTO imaging_study VALUES ('Patient/a', ?, ['1.2.840.99.1.1'],"
        " ['1.2.840.99.1.1.1'], ['ACC7'], '2024-03-01 13:00', '2024-03-01 11:00')",
        [STUDY],
    )
    con.execute("INSERT INTO patient_identifier VALUES ('Patient/b', 'MRN-2')")
    con.execute("INSERT INTO projected (subject_key, code) VALUES ('Patient/c', 'GENDER//F')")
    return con


def run(con: duckdb.DuckDBPyConnection, source: Path, timezone: str = "UTC") -> dict:
    files = [replace(file, timezone=timezone) for file in land(source)]
    project_images(con, files, source.parent / "store", progress=False)
    return fates(con, files)


def images(con: duckdb.DuckDBPyConnection) -> list[tuple]:
    return con.execute(
        "SELECT subject_key, code, time, occurred, time_from, occurred_from FROM projected "
        "WHERE image IS NOT NULL ORDER BY ALL"
    ).fetchall()


def test_a_film_is_joined_by_each_identifier(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    cases = [
        ({"StudyInstanceUID": STUDY}, "Patient/a"),
        ({"SeriesInstanceUID": "1.2.840.99.1.1"}, "Patient/a"),
        ({"SOPInstanceUID": "1.2.840.99.1.1.1"}, "Patient/a"),
        ({"AccessionNumber": "ACC7"}, "Patient/a"),
        ({"PatientID": "MRN-2"}, "Patient/b"),
        ({"PatientID": "c"}, "Patient/c"),
        ({"StudyInstanceUID": STUDY, "PatientID": "known to nobody"}, "Patient/a"),
    ]
    for place, (tags, _) in enumerate(cases):
        write_film(tmp_path / f"in/{place}.dcm", **AT_NOON, **tags)
    assert set(run(con, tmp_path / "in").values()) == {("projected", None)}
    names = {file.id: file.name for file in land(tmp_path / "in")}
    joined = con.execute("SELECT file, subject_key FROM projected WHERE image IS NOT NULL")
    found = {names[file]: subject for file, subject in joined.fetchall()}
    assert found == {f"{place}.dcm": subject for place, (_, subject) in enumerate(cases)}


def test_uids_written_as_urn_join_too(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    con.execute("UPDATE imaging_study SET study_uid = 'urn:oid:' || study_uid")
    write_film(tmp_path / "in/x.dcm", StudyInstanceUID=STUDY)
    assert run(con, tmp_path / "in")["x.dcm"][0] == "projected"


def test_a_film_that_joins_nobody_is_quarantined_and_its_picture_not_kept(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    write_film(tmp_path / "in/x.dcm", PatientID="stranger", **AT_NOON)
    assert run(con, tmp_path / "in") == {"x.dcm": ("quarantined", "image joins no patient")}
    assert images(con) == []
    assert list((tmp_path / "store").iterdir()) == []


def test_a_film_whose_study_and_patient_disagree_is_quarantined(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    write_film(tmp_path / "in/x.dcm", StudyInstanceUID=STUDY, PatientID="MRN-2")
    fate = run(con, tmp_path / "in")["x.dcm"]
    assert fate == ("quarantined", "image and its study name different patients")


def test_an_accession_number_of_two_patients_is_settled_by_the_patient_id_or_not_at_all(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    con.execute(
        "INSERT INTO imaging_study VALUES ('Patient/b', '1.9', [], [], ['ACC7'], NULL, NULL)"
    )
    write_film(tmp_path / "in/x.dcm", AccessionNumber="ACC7", PatientID="MRN-2", **AT_NOON)
    write_film(tmp_path / "in/y.dcm", AccessionNumber="ACC7", PatientID="nobody", **AT_NOON)
    found = run(con, tmp_path / "in")
    assert found["x.dcm"] == ("projected", None)
    assert found["y.dcm"] == ("quarantined", "image joins more than one patient")
    assert [row[0] for row in images(con)] == ["Patient/b"]


def test_time_is_the_later_of_taken_and_available(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    early = {"AcquisitionDateTime": "20240301113000", "ViewPosition": "PA"}
    write_film(tmp_path / "in/early.dcm", StudyInstanceUID=STUDY, **early)
    late = {"AcquisitionDateTime": "20240301150000+0100", "ImageLaterality": "L"}
    write_film(tmp_path / "in/late.dcm", StudyInstanceUID=STUDY, **late)
    write_film(tmp_path / "in/none.dcm", StudyInstanceUID=STUDY, Modality="CR")
    run(con, tmp_path / "in")
    assert [(code, *map(clock, times)) for _, code, *times in images(con)] == [
        # By its study alone, which lay at some time between 11:00 and 13:00.
        ("IMAGE//CR", "13:00", "13:00", "11:00", "11:00"),
        ("IMAGE//DX//L", "14:00", "14:00", "", ""),
        ("IMAGE//DX//PA", "13:00", "11:30", "11:30", ""),
    ]


def test_a_code_says_how_a_film_was_taken_and_of_which_side(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    breast = {"Modality": "MG", "ViewPosition": "MLO", "ImageLaterality": "R"}
    hand = {"Modality": "CR", "ViewPosition": "PA", "Laterality": "L"}
    for number, tags in enumerate((breast, hand)):
        write_film(tmp_path / f"in/{number}.dcm", PatientID="c", StudyDate="20240301", **tags)
    run(con, tmp_path / "in")
    assert [code for _, code, *_ in images(con)] == ["IMAGE//CR//PA//L", "IMAGE//MG//MLO//R"]


def clock(time: datetime | None) -> str:
    return f"{time:%H:%M}" if time else ""


def test_a_film_without_hour_is_known_at_the_end_of_the_sites_day_and_may_be_of_its_start(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    write_film(tmp_path / "in/x.dcm", PatientID="c", StudyDate="20240301")
    run(con, tmp_path / "in", timezone="America/New_York")
    [(_, _, *times)] = images(con)
    day = [datetime.fromisoformat(f"2024-03-{at}") for at in ("02 04:59:59.999999", "01 05:00")]
    assert times == [day[0], day[0], day[1], day[1]]


def test_a_film_without_any_date_is_counted_as_undated(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    write_film(tmp_path / "in/x.dcm", PatientID="c")
    assert run(con, tmp_path / "in") == {"x.dcm": ("skipped", "image: undated")}
    assert con.execute("SELECT type FROM undated").fetchall() == [("image",)]


def test_photos_are_joined_by_their_name_or_their_folders(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    for place, name in enumerate((f"{STUDY}.png", "ACC7/front.jpg", "nobody/front.png")):
        file = tmp_path / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((9, 9), place * 50, "u1")).save(file)
    found = run(con, tmp_path / "in")
    assert found["nobody/front.png"] == ("quarantined", "image joins no patient")
    assert [row[:2] for row in images(con)] == [("Patient/a", "IMAGE//OT")] * 2


def test_bad_files_are_named_and_the_rest_goes_on(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    write_film(tmp_path / "in/good.dcm", PatientID="c", **AT_NOON)
    write_film(tmp_path / "in/report.dcm", PatientID="c", Modality="SR")
    write_film(tmp_path / "in/huge.dcm", PatientID="c", Rows=60_000, Columns=60_000)
    whole = (tmp_path / "in/good.dcm").read_bytes()
    (tmp_path / "in/short.dcm").write_bytes(whole[:-100])
    (tmp_path / "in/text.png").write_text("no image")
    found = run(con, tmp_path / "in")
    assert found["good.dcm"] == ("projected", None)
    assert found["report.dcm"] == ("skipped", "DICOM SR")
    assert found["short.dcm"] == ("quarantined", "pixel data cut short (28 of 128 bytes)")
    assert found["text.png"] == ("quarantined", "not an image")
    assert found["huge.dcm"][0] == "quarantined"
    assert "over the cap" in found["huge.dcm"][1]


def test_the_same_image_twice_is_one_event(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    for name in ("a.dcm", "b.dcm"):
        write_film(tmp_path / "in" / name, PatientID="c", **AT_NOON)
    found = run(con, tmp_path / "in")
    assert found["b.dcm"] == ("superseded", "the same image again")
    assert len(images(con)) == 1


def test_what_is_decoded_is_not_decoded_again(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    write_film(tmp_path / "in/x.dcm", PatientID="c", **AT_NOON)
    run(con, tmp_path / "in")
    picture = next((tmp_path / "store").iterdir())
    picture.write_bytes(b"decoded before")
    con.execute("DELETE FROM outcome")
    run(con, tmp_path / "in")
    assert picture.read_bytes() == b"decoded before"
    assert [row[1] for row in images(con)] == ["IMAGE//DX", "IMAGE//DX"]
