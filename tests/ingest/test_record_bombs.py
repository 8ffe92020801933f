"""Records that swell, or that nest without end: refused by name, soon, in little memory."""

import gzip
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest import chunks
from ingest.chunks import read_chunks
from tests.ingest.bombs import cost_of, write_gzip
from tests.ingest.exports import PATIENT, ingested, observation, write_ndjson

HEARD = json.dumps(observation("b", {"valueInteger": 2})).encode()
SWOLLEN = "over a cap: inflates more than 200 times; if it is meant so, unpack it first"


BOMBS = {
    "blanks.ndjson.gz": (HEARD + b"\n", b" "),
    "line-ends.ndjson.gz": (HEARD + b"\n", b"\n"),
    "blanks.json.gz": (b"", b" "),
    "entries.json.gz": (b'{"resourceType": "Bundle", "entry": [', b"{},"),
    "blanks.xml.gz": (b'<Patient xmlns="http://hl7.org/fhir">', b" "),
}


def test_gz_files_that_swell_are_refused_soon_in_little_memory_and_their_neighbours_are_read(
    tmp_path: Path,
) -> None:
    files = [write_gzip(tmp_path / name, *content, 400) for name, content in BOMBS.items()]
    cost = cost_of(tmp_path, *files)
    assert cost.quarantined == dict.fromkeys(BOMBS, SWOLLEN)
    assert cost.projected["neighbours.ndjson"] == 2
    # Of lines, what stands before the swelling is kept.
    assert cost.projected["blanks.ndjson.gz"] + cost.projected["line-ends.ndjson.gz"] == 1
    assert cost.seconds < 2
    assert cost.mebibytes < 300


@pytest.mark.parametrize("name", ["a.ndjson", "a.ndjson.gz"])
def test_a_line_over_the_longest_is_one_bad_record_and_the_lines_around_it_are_read(
    tmp_path: Path, name: str
) -> None:
    long = observation("long", {"valueString": "x" * 9000})
    lines = write_ndjson(tmp_path / "a", PATIENT, long, observation("a", {"valueInteger": 1}))
    content = lines.read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with patch.multiple(chunks, LONGEST_LINE=4 << 10, CHUNK_BYTES=1 << 10):
        file = ingested(tmp_path, tmp_path / name)["files"][name]
    assert (file["records"], file["projected"]) == (3, 2)
    assert file["quarantined"] == {"a line of over 0 MiB": 1}


@given(st.lists(st.integers(0, 60), max_size=9), st.booleans(), st.booleans(), st.integers(1, 12))
@example(lengths=[20], ended=False, packed=False, most=1)
@example(lengths=[20], ended=True, packed=False, most=1)
@example(lengths=[21], ended=False, packed=False, most=30)
@settings(deadline=None, max_examples=1000)
def test_chunks_hold_each_line_once_but_those_that_are_too_long(
    lengths: list[int], ended: bool, packed: bool, most: int
) -> None:
    lines = [bytes([97 + n]) * length for n, length in enumerate(lengths)]
    content = b"\n".join(lines) + b"\n" * ended
    with TemporaryDirectory() as name:
        path = Path(name) / ("a.ndjson.gz" if packed else "a.ndjson")
        path.write_bytes(gzip.compress(content) if packed else content)
        with patch.multiple(chunks, LONGEST_LINE=20, CHUNK_BYTES=most):
            found: list[bytes | None] = []
            for chunk, why in read_chunks(path):
                found += bytes(chunk).splitlines()
                found += [None] if why else []
    expected = [line if len(line) <= 20 else None for line in content.splitlines()]
    assert [line for line in found if line != b""] == [line for line in expected if line != b""]


def test_a_long_line_is_read_in_time_that_grows_with_its_length(tmp_path: Path) -> None:
    seconds = []
    with patch.multiple(chunks, CHUNK_BYTES=1 << 12):
        for mebibytes in (4, 16):
            path = tmp_path / f"{mebibytes}.ndjson"
            path.write_bytes(b'"' + b"x" * (mebibytes << 20))
            begun = time.process_time()
            assert sum(len(chunk) for chunk, _ in read_chunks(path)) == path.stat().st_size
            seconds.append(time.process_time() - begun)
    assert seconds[1] < 10 * seconds[0]  # quadratic is 16


def deep(levels: int) -> str:
    inside = "[" * levels + "]" * levels
    return json.dumps(observation("deep", {"valueInteger": 1}, x=0)).replace(
        '"x": 0', f'"x": {inside}'
    )


@pytest.mark.parametrize("levels", [600, 100_000])
@pytest.mark.parametrize("shape", ["a.json", "a.ndjson", "Bundle on a line", "Bundle"])
def test_what_nests_without_end_is_refused_soon_in_whatever_shape(
    tmp_path: Path, levels: int, shape: str
) -> None:
    bundle = '{"resourceType": "Bundle", "type": "collection", "entry": [{"resource": DEEP}]}'
    text = deep(levels) if shape.startswith("a.") else bundle.replace("DEEP", deep(levels))
    source = tmp_path / "source"
    write_ndjson(source / "well.ndjson", PATIENT, observation("a", {"valueInteger": 1}))
    name = "a.json" if shape in ("a.json", "Bundle") else "a.ndjson"
    write_ndjson(source / name, text)
    begun = time.process_time()
    files = ingested(tmp_path, source)["files"]
    assert time.process_time() - begun < 4  # an ingest of nothing takes half of it
    assert files["well.ndjson"]["projected"] == 2
    [(reason, count)] = files[name]["quarantined"].items()
    assert (count, files[name]["records"]) == (1, 1)
    assert "nested deeper than 500 levels" in reason or "nesting beyond any limit" in reason


def test_brackets_in_text_and_many_in_a_row_are_no_depth(tmp_path: Path) -> None:
    many = [{"url": "u", "valueString": '"\\[{' * 3} for _ in range(2000)]
    record = observation("a", {"valueInteger": 1}, extension=many, note=[{"text": "[" * 2000}])
    file = ingested(tmp_path, write_ndjson(tmp_path / "a.ndjson", PATIENT, record))["files"]
    assert file["a.ndjson"]["projected"] == 2


def test_a_file_of_nothing_but_empty_objects_is_accounted_for(tmp_path: Path) -> None:
    file = ingested(tmp_path, write_ndjson(tmp_path / "a.ndjson", *["{}"] * 2000))["files"]
    reason = "not a FHIR resource: no resourceType"
    assert file["a.ndjson"]["quarantined"] == {reason: 2000}
