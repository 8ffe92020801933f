import gzip
import json
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.accounting import why_invalid
from tests.ingest.exports import PATIENT, ingested, observation, write_ndjson

RECORDS = [
    PATIENT,
    observation("a", {"valueInteger": 1}),
    observation("a", {"valueInteger": 2}),
    {"resourceType": "Specimen", "id": "s", "subject": {"reference": "Patient/p"}},
    {
        "resourceType": "Encounter",
        "id": "e",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/p"},
        "period": {"start": "2020-01-01", "end": "2020-01-02"},
    },
    {
        "resourceType": "Condition",
        "id": "c",
        "code": {"text": "Åsthma"},
        "subject": {"reference": "Patient/p"},
    },
]

# What can befall a line on its way: cut, doubled, spoilt, or of another type where one was due.
SPOILERS = st.sampled_from(
    [b"\x00", b"\xff\xfe", b'"', b"}", b"{", b"\\", b"[" * 300, b"\\ud800", b"NaN", b"1e999", b"\r"]
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    record = dict(draw(st.sampled_from(RECORDS)))
    if draw(st.booleans()):
        record[draw(st.sampled_from(sorted({*record, "contained", "link", "component"})))] = draw(
            JUNK
        )
    line = json.dumps(record, ensure_ascii=draw(st.booleans())).encode()
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(line)))
        match draw(st.sampled_from(["cut", "spoil"])):
            case "cut":
                line = line[:at]
            case _:
                line = line[:at] + draw(SPOILERS) + line[at:]
    return line


def added_up(report: dict[str, Any]) -> dict[str, int]:
    for file in report["files"].values():
        parts = [file["projected"], file["superseded"], file["deleted"]]
        parts += [*file["skipped"].values(), *file["quarantined"].values()]
        assert sum(parts) == file["records"], file
    return {name: file["records"] for name, file in report["files"].items()}


# An ingest takes a second, so an example is a directory of many files.
@given(
    st.lists(st.lists(lines(), max_size=8), min_size=12, max_size=12),
    st.lists(st.tuples(st.lists(JUNK, max_size=4), st.integers(0, 400)), min_size=6, max_size=6),
)
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_each_record_of_broken_files_is_accounted_for(
    broken: list[list[bytes]], bundles: list[tuple[list[Any], int]]
) -> None:
    expected: dict[str, int] = {"whole.ndjson": 1}
    with TemporaryDirectory() as name:
        place = Path(name)
        source = place / "source"
        source.mkdir()
        (source / "whole.ndjson").write_bytes(json.dumps(PATIENT).encode() + b"\n")
        for index, ndjson in enumerate(broken):
            content = b"\n".join(ndjson)
            (source / f"{index}.ndjson").write_bytes(content)
            expected[f"{index}.ndjson"] = sum(bool(line.strip()) for line in content.split(b"\n"))
        for index, (junk, cut) in enumerate(bundles):
            inside = [*junk, *({"resource": record} for record in RECORDS)]
            bundle = {"resourceType": "Bundle", "type": "collection", "entry": inside}
            (source / f"{index}.json").write_text(json.dumps(bundle), "utf-8")
            (source / f"cut-{index}.json").write_text(json.dumps(bundle)[: -1 - cut], "utf-8")
            expected |= {f"{index}.json": len(inside), f"cut-{index}.json": 1}
        report = ingested(place, source)
        assert added_up(report) == expected


def test_the_quarantine_names_file_position_and_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    source = tmp_path / "source"
    whole = observation("a", {"valueInteger": 1})
    cut = json.dumps(whole)[:60]
    write_ndjson(source / "a.ndjson", PATIENT, cut, whole, '{"no": "resource"}')
    write_ndjson(source / "b.json", json.dumps({"resourceType": "Bundle"})[:20])
    write_ndjson(
        source / "c.json", {"resourceType": "Observation", "subject": {"reference": "Patient/p"}}
    )
    (source / "d.ndjson.gz").write_bytes(b"no gzip at all")
    (source / "readme.txt").write_text("nothing of ours", "utf-8")
    report = ingested(tmp_path, source)
    added_up(report)
    assert report["ignored"] == ["readme.txt"]
    assert report["files"]["a.ndjson"]["projected"] == 2
    rows = duckdb.sql(
        f"SELECT name, position, reason FROM '{tmp_path}/store.raw/quarantine.parquet'"
    ).fetchall()
    assert rows == [
        ("a.ndjson", 2, "not JSON"),
        ("a.ndjson", 4, "not a FHIR resource: no resourceType"),
        ("b.json", 1, "not JSON: line 1 column 21"),
        ("c.json", 1, "Observation: invalid: code: missing"),
        ("d.ndjson.gz", 1, "not JSON"),
    ]


def test_a_line_that_is_a_bundle_gives_its_entries(tmp_path: Path) -> None:
    bundle = {
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": [{"resource": PATIENT}, {"resource": observation("a", {"valueInteger": 1})}],
    }
    outer = {
        "resourceType": "Bundle",
        "type": "batch-response",
        "entry": [{"resource": bundle}, {}],
    }
    report = ingested(tmp_path, write_ndjson(tmp_path / "in.ndjson", bundle, PATIENT, outer))
    assert added_up(report) == {"in.ndjson": 6}
    file = report["files"]["in.ndjson"]
    assert (file["projected"], file["superseded"]) == (2, 3)
    assert file["skipped"] == {"Bundle: entry without a resource": 1}


def test_a_search_that_found_nothing_is_a_record_too(tmp_path: Path) -> None:
    empty = {"resourceType": "Bundle", "type": "searchset", "total": 0}
    outer = {"resourceType": "Bundle", "type": "batch-response", "entry": [{"resource": empty}]}
    report = ingested(tmp_path, write_ndjson(tmp_path / "in.ndjson", PATIENT, empty, outer))
    assert added_up(report) == {"in.ndjson": 3}
    assert report["files"]["in.ndjson"]["skipped"] == {"Bundle: without entries": 2}


@pytest.mark.parametrize("damage", ["cut short", "overwritten"])
def test_what_stands_before_the_damage_of_a_gzip_file_is_kept(tmp_path: Path, damage: str) -> None:
    lines = [observation(sha256(b"%d" % i).hexdigest(), {"valueInteger": i}) for i in range(9999)]
    whole = gzip.compress(write_ndjson(tmp_path / "in.ndjson", PATIENT, *lines).read_bytes())
    (tmp_path / "in.ndjson").unlink()
    kept = whole[: len(whole) * 3 // 4]
    # A block of type 3 is none: zlib says so with an error of its own.
    torn = kept if damage == "cut short" else whole[:10] + b"\xff" * 100
    (tmp_path / "in.ndjson.gz").write_bytes(torn)
    report = ingested(tmp_path, tmp_path / "in.ndjson.gz")
    file = report["files"]["in.ndjson.gz"]
    added_up(report)
    assert file["quarantined"] == {"not JSON": 1}
    assert (file["projected"] > 6000) == (damage == "cut short")


def test_why_a_resource_is_invalid_never_repeats_what_stands_in_it() -> None:
    text = '{"resourceType": "Patient", "birthDate": "Mrs Smith", "name": "Mrs Smith", "Smith": 1}'
    reason = why_invalid("Patient", text)
    assert reason is not None
    assert "birthDate" in reason
    assert "Mrs" not in reason
