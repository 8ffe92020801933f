import gzip
import json
import zipfile
from pathlib import Path

import pandas as pd

from ingest.store import RecordStore
from tests.ingest.bombs import cost_of, write_swollen_zip
from tests.ingest.fhir_writing import write_xml
from tests.ingest.films import write_film
from tests.ingest.test_projection import PATIENT, ingested, observation


def test_xml_in_a_zip_gives_the_events_of_ndjson_and_each_member_is_accounted_for(
    tmp_path: Path,
) -> None:
    records = [PATIENT, observation("a", {"valueQuantity": {"value": 1.5, "code": "mg"}})]
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "in.ndjson").write_text("".join(json.dumps(r) + "\n" for r in records))
    ingested(plain, plain / "in.ndjson")
    zipped = tmp_path / "zipped"
    zipped.mkdir()
    with zipfile.ZipFile(zipped / "in.zip", "w") as archive:
        for number, record in enumerate(records):
            archive.writestr(f"a/{number}.xml", write_xml(record))
        archive.writestr("bad.xml", '<Patient xmlns="http://hl7.org/fhir"><a></Patient>')
        archive.writestr("x.zip", b"PK")
    for _ in range(2):  # the second time adds nothing
        ingested(zipped, zipped / "in.zip")
    columns = "time, code, numeric_value, unit"
    rows = [
        sorted(RecordStore(p / "store").events().project(columns).fetchall(), key=str)
        for p in (plain, zipped)
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 1
    quarantined = pd.read_parquet(zipped / "store.raw" / "quarantine.parquet")
    assert dict(zip(quarantined["name"], quarantined["reason"], strict=True)) == {
        "in.zip": "member 4 of the zip: an archive within an archive",
        "in.zip/bad.xml": "not XML: line 1 column 42",
    }


def test_xml_gz_and_members_that_are_gz_or_dicom_are_read_as_what_they_hold(tmp_path: Path) -> None:
    source = tmp_path / "source"
    film = write_film(tmp_path / "film.dcm", PatientID="p", StudyDate="20200504")
    source.mkdir()
    first, second, third = (observation(name, {"valueInteger": 1}) for name in "abc")
    (source / "patient.xml.gz").write_bytes(gzip.compress(write_xml(PATIENT).encode()))
    with zipfile.ZipFile(source / "in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        lines = (json.dumps(first) + "\n" + json.dumps(second) + "\n").encode()
        archive.writestr("a.ndjson.gz", gzip.compress(lines))
        archive.writestr("b.xml.gz", gzip.compress(write_xml(third).encode()))
        archive.write(film, "films/1.dcm")
    report = ingested(tmp_path, source)
    told = {name: (file["records"], file["projected"]) for name, file in report["files"].items()}
    assert told.pop("in.zip", (0, 0)) == (0, 0)
    assert told == {
        "patient.xml.gz": (1, 1),
        "in.zip/a.ndjson.gz": (2, 2),
        "in.zip/b.xml.gz": (1, 1),
        "in.zip/films/1.dcm": (1, 1),
    }
    assert (report["subjects"], report["images"]) == (1, 1)


def test_a_zip_of_gigabytes_and_xml_with_entities_cost_little_and_say_what_they_are(
    tmp_path: Path,
) -> None:
    swollen = write_swollen_zip(tmp_path / "swollen.zip", "Observation.ndjson", 160)
    assert swollen.stat().st_size < 4e6
    entities = "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' if n else '<!ENTITY e0 "lol">' for n in range(10)
    )
    xml = tmp_path / "entities.xml"
    family = '<name><family value="&e9;"/></name>'
    xml.write_text(
        f"<!DOCTYPE Patient [{entities}]>"
        f'<Patient xmlns="http://hl7.org/fhir"><id value="q"/>{family}</Patient>'
    )
    cost = cost_of(tmp_path, swollen, xml)
    assert cost.quarantined == {
        "swollen.zip": "member 2 of the zip: over a cap: inflates more than 200 times",
        "entities.xml": "XML with a document type declaration",
    }
    assert cost.projected["swollen.zip/well.ndjson"] == 1
    assert cost.projected["neighbours.ndjson"] == 2
    assert cost.seconds < 2
    assert cost.mebibytes < 300
