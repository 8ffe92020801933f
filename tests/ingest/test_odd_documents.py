"""Documents on the edge: the same fate as a file, as a line and in a Bundle, small or long."""

import gzip
import io
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from ingest.check import check
from ingest.depth import DEEPEST
from ingest.documents import read_document
from ingest.records import read_records
from tests.ingest.exports import PATIENT, ingested, observation, write_ndjson

EMPTY = {"resourceType": "Bundle", "type": "searchset", "total": 0}


def bundle(*resources: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", "entry": list(resources)}


def records(file: dict[str, Any]) -> int:
    told = sum(sum(file[kind].values()) for kind in ("skipped", "quarantined"))
    return file["projected"] + file["superseded"] + file["deleted"] + told


@pytest.mark.parametrize("whole_bytes", [8 << 20, 1], ids=["small", "long"])
def test_entries_before_a_damage_are_kept_though_one_of_them_is_bad(
    tmp_path: Path, whole_bytes: int
) -> None:
    entries = [{"resource": {"resourceType": "Patient", "id": str(n)}} for n in range(3)]
    content = json.dumps(bundle(*entries, "bad")).encode()
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(content) + b"no gzip")
    out = io.StringIO()
    with patch("ingest.documents._WHOLE_BYTES", whole_bytes):
        assert read_document(tmp_path / "a.json.gz", out) == "bundle"
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line.get("resource", {}).get("id") for line in lines] == ["0", "1", "2", None, None]
    assert [line.get("problem") for line in lines[3:]] == [
        "Bundle.entry is not an object",
        "torn: the gzip stream is damaged",
    ]


@pytest.mark.parametrize("whole_bytes", [8 << 20, 1], ids=["small", "long"])
def test_an_empty_bundle_is_one_skipped_record_as_a_file_as_a_line_and_in_another(
    tmp_path: Path, whole_bytes: int
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(EMPTY))
    (tmp_path / "b.json").write_text(json.dumps(bundle({"resource": EMPTY})))
    write_ndjson(tmp_path / "c.ndjson", EMPTY)
    (tmp_path / "d.xml").write_text(
        '<Bundle xmlns="http://hl7.org/fhir"><total value="0"/></Bundle>'
    )
    write_ndjson(tmp_path / "patients.ndjson", PATIENT)
    sources = [tmp_path / name for name in ("a.json", "b.json", "c.ndjson", "d.xml")]
    with patch("ingest.documents._WHOLE_BYTES", whole_bytes):
        report = ingested(tmp_path, *sources, tmp_path / "patients.ndjson")
    for source in sources:
        file = report["files"][source.name]
        assert (file["records"], file["skipped"]) == (1, {"Bundle: without entries": 1}), source


@pytest.mark.parametrize(("levels", "kept"), [(DEEPEST, True), (DEEPEST + 1, False)])
def test_how_deep_a_record_may_be_depends_on_nothing_around_it(
    tmp_path: Path, levels: int, kept: bool
) -> None:
    value: Any = 1
    for _ in range(levels - 1):  # the record is the first level
        value = [value]
    deep = [observation(name, {"valueInteger": 1}, deep=value) for name in "abc"]
    (tmp_path / "a.json").write_text(json.dumps(deep[0]))
    (tmp_path / "b.json").write_text(json.dumps(bundle({"resource": deep[1]})))
    write_ndjson(tmp_path / "c.ndjson", PATIENT, deep[2])
    report = ingested(tmp_path, *(tmp_path / name for name in ("a.json", "b.json", "c.ndjson")))
    for name, file in report["files"].items():
        assert bool(file["quarantined"]) is not kept, name
        assert records(file) == file["records"]


def test_a_long_document_in_xml_that_nests_without_end_is_one_bad_record(tmp_path: Path) -> None:
    (tmp_path / "deep.xml").write_text('<Patient xmlns="http://hl7.org/fhir">' + "<a>" * 2000)
    write_ndjson(tmp_path / "b.ndjson", PATIENT, observation("b", {"valueInteger": 1}))
    with patch("ingest.documents._WHOLE_BYTES", 4096):
        report = ingested(tmp_path, tmp_path / "deep.xml", tmp_path / "b.ndjson")
    assert sum(report["files"]["deep.xml"]["quarantined"].values()) == 1
    assert report["files"]["b.ndjson"]["projected"] == 2
    assert not list((tmp_path / "store.raw").rglob("*.partial"))


def test_what_ends_a_landing_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(PATIENT))
    with (
        patch("ingest.landing.read_document", side_effect=RuntimeError("stop")),
        pytest.raises(RuntimeError, match="stop"),
    ):
        ingested(tmp_path, tmp_path / "a.json")
    assert not list((tmp_path / "store.raw").rglob("*.partial"))


def test_an_entry_of_too_many_values_is_refused_before_it_fills_the_memory(
    tmp_path: Path,
) -> None:
    many = {"resourceType": "Parameters", "parameter": [{"a": 1}] * 300}
    (tmp_path / "a.json").write_text(json.dumps(bundle({"resource": PATIENT}, {"resource": many})))
    out = io.StringIO()
    with (
        patch("ingest.documents._WHOLE_BYTES", 1),
        patch.multiple("ingest.long_json", _PART_BYTES=64, _MOST_VALUES=200),
    ):
        read_document(tmp_path / "a.json", out)
    [line] = map(json.loads, out.getvalue().splitlines())
    assert line == {"problem": "an entry or another element of over 200 values"}


def test_the_names_of_a_document_count_for_its_size(tmp_path: Path) -> None:
    content = {"resourceType": "Basic", **{f"{n:0100}": 1 for n in range(100)}}
    (tmp_path / "a.json").write_text(json.dumps(content))
    out = io.StringIO()
    with (
        patch("ingest.documents._WHOLE_BYTES", 1),
        patch.multiple("ingest.long_json", _PART_BYTES=64, LONGEST_LINE=4096),
    ):
        read_document(tmp_path / "a.json", out)
    [line] = map(json.loads, out.getvalue().splitlines())
    assert line["problem"].startswith("a document of over")


def test_a_long_bundle_on_a_line_is_refused_and_the_lines_around_it_are_read(
    tmp_path: Path,
) -> None:
    long = bundle(*({"resource": observation(str(n), {"valueInteger": n})} for n in range(40)))
    other = observation("o", {"valueString": 'a "Bundle" of ' + "straw " * 900})
    file = write_ndjson(tmp_path / "a.ndjson", PATIENT, long, other)
    with patch("ingest.records._LONGEST_BUNDLE", 4096):
        batches = list(read_records(file, wrapped=False))
    texts = [text for batch in batches for text in batch.column("text").to_pylist()]
    assert len(texts) == 3
    assert "a Bundle of over 0 MiB on a line" in texts[1]
    assert json.loads(texts[2])["id"] == "o"


def test_check_counts_notes_of_one_kind_together(tmp_path: Path) -> None:
    def note(name: str, kind: str) -> dict[str, Any]:
        attachment = {"contentType": kind, "data": "eA=="}
        return {
            "resourceType": "DocumentReference",
            "id": name,
            "status": "current",
            "subject": {"reference": "Patient/p"},
            "date": "2024-03-01T08:00:00Z",
            "content": [{"attachment": attachment}],
        }

    plain = [note(f"a{n}", "text/plain") for n in range(5)]
    marked = [note(f"b{n}", "text/plain; charset=utf-8") for n in range(3)]
    told = check(write_ndjson(tmp_path / "a.ndjson", PATIENT, *plain, *marked))
    assert "8 text/plain" in [" ".join(line.split()) for line in told.splitlines()], told
