import gzip
import json
from pathlib import Path

import pytest

from ingest.errors import InputError, StoreError
from ingest.landing import RawZone, discover, kind_of
from tests.ingest.exports import PATIENT, observation, write_ndjson


def landed(place: Path, *sources: Path, zone: str = "UTC") -> RawZone:
    raw = RawZone(place / "raw")
    with raw.locked():
        raw.register(list(sources), timezone=zone, mapping=None)
    return raw


def test_a_file_is_what_its_name_or_its_first_bytes_say(tmp_path: Path) -> None:
    for name, content, kind in (
        ("a.ndjson", b"", "ndjson"),
        ("a.NDJSON.gz", b"", "ndjson"),
        ("a.jsonl", b"", "ndjson"),
        ("a.json", b"", "resource"),
        ("a.PNG", b"", "image"),
        ("a.csv", b"", "csv"),
        ("no-extension", b"\0" * 128 + b"DICM", "dicom"),
        ("a.txt", b"DICM", "other"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert kind_of(path) == kind, name


def test_a_bundle_lands_as_ndjson_with_full_url_and_method(tmp_path: Path) -> None:
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"fullUrl": "urn:uuid:1", "resource": PATIENT, "request": {"method": "PUT"}},
            {"request": {"method": "DELETE", "url": "Observation/1"}},
        ],
    }
    raw = landed(tmp_path, write_ndjson(tmp_path / "b.json", bundle))
    [file] = raw.files()
    lines = [json.loads(line) for line in raw.ndjson(file).read_text("utf-8").splitlines()]
    assert file.kind == "bundle"
    assert lines == [
        {"fullUrl": "urn:uuid:1", "resource": PATIENT},
        {"method": "DELETE", "url": "Observation/1", "modified": None},
    ]


def test_json_that_is_lines_is_read_as_lines_and_gzip_is_opened(tmp_path: Path) -> None:
    lines = write_ndjson(tmp_path / "in" / "lines.json", PATIENT, observation("a", {}))
    packed = lines.with_name("packed.json.gz")
    packed.write_bytes(gzip.compress(json.dumps(PATIENT).encode()))
    kinds = {file.name: file.kind for file in landed(tmp_path, lines.parent).files()}
    assert kinds == {"lines.json": "ndjson", "packed.json.gz": "resource"}


def test_ndjson_is_registered_where_it_lies(tmp_path: Path) -> None:
    source = write_ndjson(tmp_path / "a.ndjson", PATIENT)
    raw = landed(tmp_path, source)
    [file] = raw.files()
    assert raw.ndjson(file) == source
    assert not (raw.path / "landed").exists()
    assert (len(file.id), file.size) == (8, source.stat().st_size)


def test_copies_of_a_file_have_ids_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_ndjson(tmp_path / "in" / f"{name}.ndjson", PATIENT)
    files = landed(tmp_path, tmp_path / "in").files()
    assert len({file.id for file in files}) == 3
    assert len({file.sha256 for file in files}) == 1


def test_a_manifest_is_read_back_and_a_damaged_one_refused(tmp_path: Path) -> None:
    raw = landed(tmp_path, write_ndjson(tmp_path / "a.ndjson", PATIENT), zone="Asia/Tokyo")
    again = RawZone(raw.path)
    assert again.files() == raw.files()
    assert again.files()[0].timezone == "Asia/Tokyo"
    (raw.path / "manifest.json").write_text("{", "utf-8")
    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        RawZone(raw.path)


def test_hidden_files_are_left_out_and_emptiness_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.json").write_text("{}", "utf-8")
    with pytest.raises(InputError, match="holds no file"):
        discover(tmp_path)


def test_two_ingests_at_once_are_refused(tmp_path: Path) -> None:
    first, second = RawZone(tmp_path / "raw"), RawZone(tmp_path / "raw")
    with (
        first.locked(),
        pytest.raises(StoreError, match="another ingest is at work"),
        second.locked(),
    ):
        pass
