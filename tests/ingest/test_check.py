import gzip
import json
from pathlib import Path

import pytest

from ingest.check import check
from ingest.errors import InputError, UsageError
from tests.ingest.films import write_film

MIMIC = Path(__file__).resolve().parents[2] / "../shared/data/mimic_iv_demo_fhir"


def line(kind: str, **content: object) -> str:
    return json.dumps({"resourceType": kind, **content}) + "\n"


def coded(system: str) -> dict:
    return {"coding": [{"system": system, "code": "1"}]}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    lines = [
        line("Patient", id="a", identifier=[{"value": "MRN-1"}]),
        line("Condition", code=coded("http://snomed.info/sct")),
        line("Condition", code=coded("http://ward.example/codes"), recordedDate="2024-02-03"),
        line("Observation", code=coded("http://loinc.org"), effectiveDateTime="2019-05-06T10:00Z"),
        line("Claim", created="1999-01-01"),
        '{"resourceType": "Observation", "effectiveDateTi\n',
        "\n",
        line(
            "DocumentReference", date="2020", content=[{"attachment": {"contentType": "text/RTF"}}]
        ),
    ]
    (folder / "all.ndjson.gz").write_bytes(gzip.compress("".join(lines).encode()))
    entry = {"resource": json.loads(line("ImagingStudy", identifier=[{"value": "urn:oid:1.2.9"}]))}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [entry, entry]}
    (folder / "bundle.json").write_text(json.dumps(bundle))
    (folder / "torn.json").write_text('{"resourceType": "Bundle", "entry": [')
    (folder / "table.csv").write_text("who,file\np,x.png\n")
    write_film(folder / "joins.dcm", StudyInstanceUID="1.2.9", StudyDate="20251231")
    write_film(folder / "alone.dcm", PatientID="stranger")
    (folder / "notes.dcm").write_text("no image")
    return folder


def test_the_page_says_what_is_there_and_what_would_be_stumbled_over(source: Path) -> None:
    page = check(source)
    for expected in (
        "7 files",
        "1  ndjson",
        "2  Condition",
        "2  ImagingStudy",
        "1  Claim  (counted, not used)",
        "1  http://loinc.org",
        "1  http://snomed.info/sct",
        "1  http://ward.example/codes",
        "1  Condition  (of 2)",
        "2  ImagingStudy  (of 2)",
        "1  text/rtf",
        "1  join a patient",
        "1  join no patient",
        "1  not an image",
        "table.csv: 1 rows; columns who, file",
        "1  not JSON  (at all.ndjson.gz:6)",
        "1  not JSON: line 1 column 38  (at torn.json:1)",
        "dates from 2019-05-06 to 2025-12-31",
    ):
        assert expected in page, expected
    known, unknown = page.index("code systems known"), page.index("code systems unknown")
    assert known < page.index("http://loinc.org") < unknown < page.index("http://ward.example")
    assert len(page.splitlines()) < 60


def test_nothing_is_written_beside_the_sources(source: Path) -> None:
    before = sorted((p, p.stat().st_mtime_ns) for p in source.parent.rglob("*"))
    check(source)
    assert sorted((p, p.stat().st_mtime_ns) for p in source.parent.rglob("*")) == before


def test_no_identifier_reaches_the_page(source: Path) -> None:
    page = check(source)
    assert "MRN-1" not in page
    assert "stranger" not in page


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there"):
        check(tmp_path / "nowhere")


@pytest.mark.skipif(not MIMIC.is_dir(), reason="no ../shared/data/mimic_iv_demo_fhir")
def test_mimic_is_counted_in_full() -> None:
    page = check(MIMIC)
    for expected in (
        "37,626  MedicationAdministration",
        "65  Patient",
        "3,443  Condition  (of 3,443)",
    ):
        assert expected in page, expected
    assert "split.json:1" in page


def test_a_time_zone_that_there_is_not_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text("{}\n", "utf-8")
    with pytest.raises(UsageError, match="unknown time zone 'Mars'"):
        check(tmp_path, timezone="Mars")
