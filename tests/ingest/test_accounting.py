import gzip
import json
import shutil
import zlib
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.accounting import why_invalid
from ingest.documents import is_ndjson
from ingest.report import describe_report
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


COUNTED = "urn:uuid:00000000-0000-0000-0000-00000000000"
"""Of transactions whose resources have no id yet, and that all count from 1."""

POSTED = [
    {"fullUrl": f"{COUNTED}1", "resource": {"resourceType": "Patient", "gender": "male"}},
    *(
        {"fullUrl": f"{COUNTED}{n}", "resource": observation("a", {"valueInteger": n}) | changed}
        for n in (2, 3)
        for changed in [{"id": None, "subject": {"reference": f"{COUNTED}1"}}]
    ),
]


def cut_short(content: bytes, share: float) -> tuple[bytes, int]:
    """Compress and cut; give the bytes and the number of whole lines that can be read of them."""
    whole = gzip.compress(content)
    kept = whole[: 1 + int(share * (len(whole) - 2))]
    read = zlib.decompressobj(wbits=31).decompress(kept)
    return kept, sum(bool(line.strip()) for line in read.split(b"\n")[:-1])


# An ingest takes a second, so an example is a directory of many files.
@given(
    st.lists(st.lists(lines(), max_size=8), min_size=12, max_size=12),
    st.lists(st.tuples(st.lists(JUNK, max_size=4), st.integers(0, 400)), min_size=6, max_size=6),
    st.lists(st.integers(1, len(RECORDS)), min_size=6, max_size=6),
    st.lists(st.floats(0, 1), min_size=12, max_size=12),
)
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_each_record_of_broken_files_is_accounted_for(
    broken: list[list[bytes]],
    bundles: list[tuple[list[Any], int]],
    torn: list[int],
    shares: list[float],
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
            kept, whole = cut_short(b"\n".join([*ndjson, *more_lines(index)]), shares[index])
            (source / f"{index}.ndjson.gz").write_bytes(kept)
            expected[f"{index}.ndjson.gz"] = whole + 1
        for index, n in enumerate(torn):
            first, *rest = (json.dumps(record) for record in [RECORDS[-1], *RECORDS[:n]])
            (source / f"torn-{index}.json").write_text("\n".join([first[: -1 - index], *rest]))
            expected[f"torn-{index}.json"] = 1 + n
        for index, (junk, cut) in enumerate(bundles):
            inside = [*junk, *({"resource": record} for record in RECORDS), *POSTED]
            bundle = {"resourceType": "Bundle", "type": "collection", "entry": inside}
            (source / f"{index}.json").write_text(json.dumps(bundle), "utf-8")
            (source / f"cut-{index}.json").write_text(json.dumps(bundle)[: -1 - cut], "utf-8")
            expected |= {f"{index}.json": len(inside), f"cut-{index}.json": 1}
        report = ingested(place, source)
        assert added_up(report) == expected


def more_lines(seed: int) -> list[bytes]:
    """Make lines that compress badly, so that a cut can leave any number of them."""
    names = [sha256(b"%d %d" % (seed, n)).hexdigest() for n in range(40)]
    return [json.dumps(observation(name, {"valueInteger": 1})).encode() for name in names]


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
        ("d.ndjson.gz", 1, "torn: the gzip stream is damaged"),
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
    said = "ends early" if damage == "cut short" else "is damaged"
    assert file["quarantined"] == {f"torn: the gzip stream {said}": 1}
    assert (file["projected"] > 6000) == (damage == "cut short")
    [(position,)] = duckdb.sql(
        f"SELECT position FROM '{tmp_path}/store.raw/quarantine.parquet'"
    ).fetchall()
    assert position == file["records"]


def test_a_torn_first_line_of_a_json_file_does_not_hide_the_lines_after_it(tmp_path: Path) -> None:
    first, second = (json.dumps(observation(name, {"valueInteger": 1})) for name in "ab")
    source = write_ndjson(tmp_path / "in.json", first[10:], second[:-9], PATIENT, first, second)
    file = ingested(tmp_path, source)["files"]["in.json"]
    assert (file["records"], file["projected"], file["quarantined"]) == (5, 3, {"not JSON": 2})
    rows = duckdb.sql(f"SELECT position FROM '{tmp_path}/store.raw/quarantine.parquet'").fetchall()
    assert sorted(rows) == [(1,), (2,)]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('{"resourceType": "Pat\n{"resourceType": "Patient"}', True),
        ('tient"}\n{"resourceType": "Patient"}\nrest\n', True),
        ('{"resourceType": "Patient"}\n{"resourceType": "Pat', True),
        ("[\n" + ",\n".join(['{"resourceType": "Patient"}'] * 2) + "\n]", False),
        (json.dumps({"resourceType": "Bundle", "entry": [{"resource": PATIENT}]}, indent=1), False),
        ('{"resourceType": "Bundle", "entry": [\n{"resource": {"resourceType": "Patient"}}', False),
        # A document that is torn after a resource on a line of its own is one record all the same.
        ('{\n"contained": [\n{"resourceType": "Patient"}\n],\n"code": ', False),
        ('"Patient"\n"Patient"', False),
    ],
)
def test_lines_are_told_from_a_document(text: str, lines: bool) -> None:
    assert is_ndjson(text.encode()) == lines


def test_a_damaged_json_gz_keeps_what_comes_before_and_says_that_it_is_torn(tmp_path: Path) -> None:
    names = [sha256(b"%d" % n).hexdigest() for n in range(400)]
    lines = [json.dumps(observation(name, {"valueInteger": 1})) for name in names]
    whole = {
        "lines.json.gz": "\n".join([json.dumps(PATIENT), *lines]),
        "bundle.json.gz": json.dumps(
            {"resourceType": "Bundle", "entry": [{"resource": line} for line in lines]}
        ),
        "one.json.gz": json.dumps({**PATIENT, "id": "q"}),
    }
    (tmp_path / "in").mkdir()
    for name, text in whole.items():
        packed = gzip.compress(text.encode())
        (tmp_path / "in" / name).write_bytes(packed[: 8000 if len(packed) > 9000 else -8])
    files = ingested(tmp_path, tmp_path / "in")["files"]
    early = {"torn: the gzip stream ends early": 1}
    assert [file["quarantined"] for file in files.values()] == [early] * 3
    assert files["lines.json.gz"]["projected"] > 50
    assert files["bundle.json.gz"]["records"] == 1  # of a Bundle that is torn nothing can be read
    assert files["one.json.gz"]["projected"] == 1


def test_why_a_resource_is_invalid_never_repeats_what_stands_in_it() -> None:
    text = '{"resourceType": "Patient", "birthDate": "Mrs Smith", "name": "Mrs Smith", "Smith": 1}'
    reason = why_invalid("Patient", text)
    assert reason is not None
    assert "birthDate" in reason
    assert "Mrs" not in reason


def test_files_of_no_kind_that_is_read_are_named(tmp_path: Path) -> None:
    source = write_ndjson(tmp_path / "in" / "a.ndjson", PATIENT)
    for name in "bcdefg":
        shutil.copy(source, source.with_name(f"{name}.fhir"))
    said = describe_report(ingested(tmp_path, source.parent))
    assert "files of no kind that is read: 6 (b.fhir, c.fhir, d.fhir, e.fhir, f.fhir, …)\n" in said
    assert "no kind" not in describe_report(ingested(tmp_path / "other", source))
