"""What is read part by part lands as what is read whole: the same lines, the same reasons."""

import gzip
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.documents import read_document
from ingest.landing import RawZone
from tests.ingest.bombs import landing_cost
from tests.ingest.exports import PATIENT, observation
from tests.ingest.test_accounting import SPOILERS

WORDS = st.text(st.sampled_from('a"\\{}[],:\n\u00e9\u2028\U0001f600\ud83d'), max_size=6)
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | WORDS
    | st.just({"reference": "Patient/p"}),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.just("entry"), inner, max_size=3)
    ),
    max_leaves=6,
)
SPACE = st.sampled_from(["", "", " ", "\n", "\r\n\t"])


@st.composite
def entries(draw: st.DrawFn, depth: int = 2) -> Any:
    match draw(st.sampled_from(["resource", "resource", "deleted", "bundle", "junk"])):
        case "deleted":
            return {"request": {"method": "DELETE", "url": draw(WORDS)}, "response": draw(JUNK)}
        case "bundle" if depth:
            inner = draw(st.lists(entries(depth - 1), max_size=3))
            kind = draw(st.sampled_from(["searchset", "history"]))
            inside = {"resourceType": "Bundle", "type": kind, "entry": inner}
            return {"fullUrl": draw(WORDS), "resource": inside}
        case "junk":
            return draw(JUNK)
    return {"fullUrl": draw(WORDS), "resource": {**PATIENT, "x": draw(JUNK)}}


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """Write a Bundle, or what could be taken for one, in any order and layout."""
    listed = st.lists(entries(), max_size=5)
    members = [
        ("resourceType", draw(st.sampled_from(["Bundle"] * 6 + ["List", 7]))),
        ("type", draw(st.sampled_from(["collection", "history"]))),
        ("entry", draw(listed)),
    ]
    names = st.sampled_from(["entry", "type", "resourceType", "link"])
    members += draw(st.lists(st.tuples(names, listed | JUNK), max_size=2))
    members = draw(st.permutations(members))
    unicode, indent = draw(st.booleans()), draw(st.sampled_from([None, None, 0, 1]))

    def write(value: Any) -> str:
        text = json.dumps(value, ensure_ascii=not unicode, indent=indent)
        return draw(SPACE) + text + draw(SPACE)

    inside = ",".join(f"{draw(SPACE)}{write(name)}:{write(value)}" for name, value in members)
    return f"{draw(SPACE)}{{{inside}}}{draw(SPACE)}".encode("utf-8", "surrogatepass")


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    content = draw(documents())
    at = draw(st.integers(0, len(content)))
    match draw(st.sampled_from(["whole", "whole", "cut", "spoil", "mark", "line", "lines"])):
        case "cut":
            return content[:at]
        case "spoil":
            return content[:at] + draw(SPOILERS) + content[at:]
        case "mark":
            return b"\xef\xbb\xbf" + content
        case "line":
            return content + b"\n" + draw(st.sampled_from([b" ", b"x", b"{}"]))
        case "lines":
            return content[at:] + b"\n" + b'{"resourceType": "Patient"}\n' * 9
    return content


def landed(path: Path, part: int | None = None) -> tuple[str, list[Any]]:
    """Read a document, in parts of so many bytes unless whole; give its kind and lines."""
    out = io.StringIO()
    sizes = (part, part) if part else (1 << 40, 1 << 20)
    with (
        patch("ingest.documents._WHOLE_BYTES", sizes[0]),
        patch("ingest.long_json._PART_BYTES", sizes[1]),
    ):
        kind = read_document(path, out)
    return kind, out.getvalue().splitlines()


# Of what is no object at all less is said, since it is not read to its end.
@given(spoilt(), st.sampled_from([4, 5, 7, 40, 1000]), st.booleans())
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_document_read_in_parts_lands_as_one_read_whole(
    content: bytes, part: int, packed: bool
) -> None:
    with TemporaryDirectory() as name:
        path = Path(name) / ("a.json.gz" if packed else "a.json")
        path.write_bytes(gzip.compress(content, 1) if packed else content)
        whole = landed(path)
        in_parts = landed(path, part)
    if in_parts[1] and "does not begin as an object" in in_parts[1][0]:
        assert "problem" in json.loads(whole[1][0])
        assert not content.lstrip(b"\xef\xbb\xbf \n\r\t").startswith(b"{")
    else:
        assert in_parts == whole


@given(documents(), st.floats(0, 1), st.sampled_from([4, 40, 1000]))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_torn_document_read_in_parts_lands_as_one_read_whole(
    content: bytes, share: float, part: int
) -> None:
    with TemporaryDirectory() as name:
        path = Path(name) / "a.json.gz"
        packed = gzip.compress(content)
        path.write_bytes(packed[: int(share * len(packed))])
        assert landed(path, part) == landed(path)


def write_bundle(path: Path, mebibytes: int, each: int) -> int:
    """Write a Bundle of Observations, each of so many bytes; give how many."""
    filling = "x, [{}] \\u00e9" * (each // 13)
    count = (mebibytes << 20) // each
    with path.open("w", encoding="utf-8") as out:
        out.write('{"resourceType": "Bundle", "type": "collection", "entry": [')
        for number in range(count):
            entry = {"resource": observation(f"o{number}", {"valueInteger": number})}
            text = json.dumps(entry).removesuffix("}}")
            out.write(f'{"," * bool(number)}{text}, "note": [{{"text": "{filling}"}}]}}}}\n')
        out.write("]}")
    return count


@pytest.mark.parametrize(
    ("mebibytes", "each"),
    [(40, 20_000), pytest.param(150, 20_000, marks=pytest.mark.slow)],
)
def test_a_bundle_of_any_size_is_landed_in_the_memory_of_a_few_entries(
    tmp_path: Path, mebibytes: int, each: int
) -> None:
    large = tmp_path / "large.json"
    count = write_bundle(large, mebibytes, each)
    _, taken = landing_cost(tmp_path, large)
    assert taken < 50
    raw = RawZone(tmp_path / "landed.raw")
    [file] = raw.files()
    with raw.ndjson(file).open("rb") as lines:
        assert (file.kind, sum(1 for _ in lines)) == ("bundle", count)
