import hashlib
import json
import stat
from pathlib import Path

import pytest

from ingest.build import ingest
from ingest.errors import InputError, MappingError, StoreError, UsageError
from ingest.store import RecordStore
from tests.ingest.exports import PATIENT, ingested, observation, write_ndjson

A = observation("a", {"valueInteger": 1})
B = observation("b", {"valueInteger": 2})


def hashes(store: Path) -> dict[str, str]:
    return {
        path.relative_to(store).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }


def codes(place: Path) -> list[str]:
    rows = RecordStore(place / "store").events().project("code").order("code").fetchall()
    return [code for (code,) in rows]


def test_running_twice_adds_nothing_and_changes_no_byte(tmp_path: Path) -> None:
    source = write_ndjson(tmp_path / "in" / "in.ndjson", PATIENT, A, B).parent
    write_ndjson(source / "one.json", {**A, "id": "single"})
    first = ingested(tmp_path, source)
    before = hashes(tmp_path / "store")
    assert ingested(tmp_path, source) == first
    assert hashes(tmp_path / "store") == before


def test_sources_add_up_whenever_they_come(tmp_path: Path) -> None:
    a = write_ndjson(tmp_path / "a.ndjson", PATIENT, A)
    b = write_ndjson(tmp_path / "b.ndjson", PATIENT, B)
    ingested(tmp_path / "one", a)
    ingested(tmp_path / "one", b)
    ingested(tmp_path / "both", a, b)
    assert codes(tmp_path / "one") == codes(tmp_path / "both") == ["LOINC//a", "LOINC//b"]


def test_a_failed_ingest_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch) -> None:
    source = write_ndjson(tmp_path / "a.ndjson", PATIENT, A)
    ingested(tmp_path, source)
    before = hashes(tmp_path / "store")

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("ingest.additions.rewrite_shards", fail)
    monkeypatch.setattr("ingest.build.write_store", fail)
    with pytest.raises(OSError, match="disk full"):
        ingested(tmp_path, write_ndjson(tmp_path / "b.ndjson", PATIENT, B))
    assert hashes(tmp_path / "store") == before
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["store", "store.raw"]


def test_a_swap_that_was_killed_half_way_is_put_right(tmp_path: Path) -> None:
    source = write_ndjson(tmp_path / "a.ndjson", PATIENT, A)
    ingested(tmp_path, source)
    (tmp_path / "store").rename(tmp_path / ".store.old")
    ingested(tmp_path, source)
    assert codes(tmp_path) == ["LOINC//a"]


def test_a_file_that_changed_or_went_since_it_landed_is_noticed(tmp_path: Path) -> None:
    a = write_ndjson(tmp_path / "a.ndjson", PATIENT, A)
    b = write_ndjson(tmp_path / "b.ndjson", PATIENT, B)
    ingested(tmp_path, a)
    write_ndjson(a, PATIENT, {**A, "valueInteger": 5})
    with pytest.raises(InputError, match="changed since it landed"):
        ingested(tmp_path, b)
    ingested(tmp_path, a, b)
    assert codes(tmp_path) == ["LOINC//a", "LOINC//b"]
    a.unlink()
    with pytest.raises(InputError, match="had landed and is gone"):
        ingested(tmp_path, b)


def test_a_store_is_never_written_over_something_else(tmp_path: Path) -> None:
    precious = tmp_path / "store" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("mine", "utf-8")
    with pytest.raises(StoreError, match="holds something that is no store"):
        ingested(tmp_path, write_ndjson(tmp_path / "a.ndjson", PATIENT, A))
    assert precious.read_text("utf-8") == "mine"


def test_what_is_not_there_and_what_cannot_be_is_refused(tmp_path: Path) -> None:
    source = write_ndjson(tmp_path / "a.ndjson", PATIENT, A)
    with pytest.raises(InputError, match="is not there"):
        ingested(tmp_path, tmp_path / "nothing")
    with pytest.raises(UsageError, match="unknown time zone 'Mars/Base'"):
        ingested(tmp_path, source, timezone="Mars/Base")
    with pytest.raises(UsageError, match="nothing to ingest"):
        ingested(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no file"):
        ingested(tmp_path, tmp_path / "empty")
    mapping = Path(__file__).parents[2] / "ingest" / "mappings" / "covid_cxr.yaml"
    with pytest.raises(MappingError, match="the sources hold none"):
        ingested(tmp_path, source, mapping=mapping)
    assert not (tmp_path / "store").exists()


def test_a_mapping_stays_with_its_source(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "rows.csv").write_text("who,when,pulse\n1,2020-01-01,70\n2,2020-01-02,80\n", "utf-8")
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(
        "file: rows.csv\nsubject: who\n"
        "time: {column: when}\n"
        "measurements: [{column: pulse, code: LOINC//8867-4, unit: /min}]\n",
        "utf-8",
    )
    first = ingested(tmp_path, folder, mapping=mapping)
    assert first["events"] == 2
    assert ingested(tmp_path, folder) == first


def test_files_of_one_name_from_two_sites_are_told_apart(tmp_path: Path) -> None:
    for site in ("north", "south"):
        write_ndjson(tmp_path / site / "Patient.ndjson", {**PATIENT, "id": site, "gender": "male"})
    report = ingested(tmp_path, tmp_path / "north", tmp_path / "south")
    assert set(report["files"]) == {"Patient.ndjson", "south/Patient.ndjson"}
    assert report["subjects"] == 2


def test_a_store_inside_its_source_does_not_eat_itself(tmp_path: Path) -> None:
    write_ndjson(tmp_path / "a.ndjson", PATIENT, A)
    first = ingested(tmp_path, tmp_path)
    assert ingested(tmp_path, tmp_path) == first
    assert list(first["files"]) == ["a.ndjson"]


def test_the_raw_zone_is_the_owners_alone_and_holds_the_key(tmp_path: Path) -> None:
    source = write_ndjson(tmp_path / "a.ndjson", PATIENT, A)
    ingest([source], tmp_path / "store")
    raw = tmp_path / "store.raw"
    assert stat.S_IMODE(raw.stat().st_mode) == 0o700
    assert stat.S_IMODE((raw / "key").stat().st_mode) == 0o600
    ids = RecordStore(tmp_path / "store").subjects().tolist()
    ingest([source], tmp_path / "store")
    assert RecordStore(tmp_path / "store").subjects().tolist() == ids
    ingest([source], tmp_path / "other")
    assert RecordStore(tmp_path / "other").subjects().tolist() != ids


def test_a_store_never_changes_its_key(tmp_path: Path) -> None:
    source = write_ndjson(tmp_path / "a.ndjson", PATIENT, A)
    key = tmp_path / "my.key"
    key.write_bytes(b"a secret of some length")
    ingest([source], tmp_path / "store", key=key)
    assert not (tmp_path / "store.raw" / "key").exists()
    with pytest.raises(UsageError, match="began with a key of your own"):
        ingest([source], tmp_path / "store")
    with pytest.raises(UsageError, match="began with another key"):
        ingest([source], tmp_path / "store", public=True)
    with pytest.raises(UsageError, match="exclude each other"):
        ingest([source], tmp_path / "store", key=key, public=True)
    key.write_bytes(b"short")
    with pytest.raises(InputError, match="too short for a key: 5 bytes"):
        ingest([source], tmp_path / "other", key=key)


def test_public_ids_are_the_same_everywhere(tmp_path: Path) -> None:
    source = write_ndjson(tmp_path / "a.ndjson", PATIENT, A)
    for place in ("one", "two"):
        ingested(tmp_path / place, source)
    assert hashes(tmp_path / "one/store/data") == hashes(tmp_path / "two/store/data")


def test_no_name_or_identifier_of_a_patient_is_in_the_store(tmp_path: Path) -> None:
    patient = {
        **PATIENT,
        "id": "secret-id",
        "name": [{"family": "Featherstonehaugh"}],
        "identifier": [{"system": "urn:mrn", "value": "MRN-778899"}],
        "birthDate": "1950-01-01",
    }
    ingested(tmp_path, write_ndjson(tmp_path / "Featherstonehaugh.ndjson", patient))
    words = (b"Featherstonehaugh", b"MRN-778899", b"secret-id")
    for path in (tmp_path / "store").rglob("*"):
        if path.is_file() and path.name != "ingest_report.json":
            assert not [word for word in words if word in path.read_bytes()], path
    rows = RecordStore(tmp_path / "store").events().fetchall()
    assert "Featherstonehaugh" not in json.dumps(rows, default=str)


def test_a_mapping_that_does_not_fit_leaves_no_trace(tmp_path: Path) -> None:
    table = tmp_path / "cohort" / "table.csv"
    table.parent.mkdir()
    table.write_text("who,when\n1,2020\n", "utf-8")
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("file: table.csv\nsubject: patient\ntime: {column: when}\n", "utf-8")
    with pytest.raises(MappingError):
        ingested(tmp_path, table.parent, mapping=mapping)
    ingested(tmp_path, write_ndjson(tmp_path / "a.ndjson", PATIENT, A))


def test_what_a_killed_build_left_is_swept_away(tmp_path: Path) -> None:
    source = write_ndjson(tmp_path / "a.ndjson", PATIENT, A)
    ingested(tmp_path, source)
    left = tmp_path / ".store.killed"
    left.mkdir()
    (left / "half").write_text("x", "utf-8")
    ingested(tmp_path, source)
    assert not left.exists()
