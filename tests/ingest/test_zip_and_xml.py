import json
import zipfile
from pathlib import Path

import pandas as pd

from ingest.store import RecordStore
from tests.ingest.fhir_writing import write_xml
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
