"""A database that was made ready: taken once, by who reads as it was made for; as good as new."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest import database
from ingest.build import ingest
from ingest.conventions import Conventions
from ingest.database import open_database, prepare_database
from tests.ingest.exports import PATIENT, write_ndjson


@pytest.fixture(autouse=True)
def none_ready() -> Iterator[None]:
    yield
    while database._ready:
        database._ready.pop()[1].close()


def test_what_was_made_ready_is_taken_once(tmp_path: Path) -> None:
    prepare_database(Conventions())
    prepare_database(Conventions())
    [(_, made)] = database._ready
    first, second = (open_database(Conventions(), tmp_path) for _ in range(2))
    assert first is made
    assert second is not made
    for con in (first, second):
        [(place,)] = con.execute("SELECT current_setting('temp_directory')").fetchall()
        assert place == str(tmp_path)
        assert con.execute("SELECT count(*) FROM projected").fetchall() == [(0,)]
        con.close()


def test_who_reads_units_another_way_gets_another(tmp_path: Path) -> None:
    prepare_database(Conventions())
    [(_, made)] = database._ready
    con = open_database(Conventions(default_prefix="WARD"), tmp_path)
    assert con is not made
    assert database._ready == []
    con.close()


def test_a_store_is_the_same_with_one_that_was_ready(tmp_path: Path) -> None:
    weight = {
        "resourceType": "Observation",
        "id": "w",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2024-03-01T08:00:00Z",
        "valueQuantity": {"value": 150, "unit": "lb", "code": "[lb_av]"},
    }
    file = write_ndjson(tmp_path / "in.ndjson", PATIENT, weight)
    shards = []
    for name in ("cold", "ready"):
        ingest([file], tmp_path / name, public=True)
        shards.append((tmp_path / name / "data" / "0.parquet").read_bytes())
        prepare_database(Conventions())
    assert shards[0] == shards[1]
