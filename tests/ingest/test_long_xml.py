"""A long Bundle in XML is read entry by entry, and lands as one that is read whole."""

import gzip
import io
import json
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from ingest.documents import read_document
from ingest.errors import LimitError
from ingest.fhir_xml import is_xml_bundle, read_xml_bundle
from ingest.safe_xml import XmlCaps
from tests.ingest.exports import PATIENT, observation
from tests.ingest.fhir_writing import write_xml

R5 = {
    "resourceType": "MedicationRequest",
    "id": "m",
    "status": "active",
    "intent": "order",
    "medication": {"concept": {"text": "aspirin"}},
    "subject": {"reference": "Patient/p"},
}
ENTRIES = [
    {"fullUrl": "urn:uuid:1", "resource": PATIENT},
    {"resource": observation("a", {"valueQuantity": {"value": 1.50, "unit": "<&>"}})},
    {"request": {"method": "DELETE", "url": "Observation/1"}},
    {"response": {"status": "404"}},
    {"resource": R5},
]


def bundle(kind: str, entries: list[dict[str, Any]]) -> str:
    return write_xml(
        {"resourceType": "Bundle", "id": "b", "type": kind, "total": 7, "entry": entries}
    )


def landed(path: Path, *, in_parts: bool) -> tuple[str, list[Any]]:
    out = io.StringIO()
    with (
        patch("ingest.documents._WHOLE_BYTES", 300 if in_parts else 1 << 40),
        patch("ingest.long_xml._PART_BYTES", 50),
    ):
        kind = read_document(path, out)
    return kind, [json.loads(line) for line in out.getvalue().splitlines()]


NESTED = {"resource": {"resourceType": "Bundle", "type": "searchset", "entry": ENTRIES[:2]}}
WHOLE = bundle("collection", ENTRIES)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("collection", WHOLE),
        ("with a declaration and a comment", f'<?xml version="1.0"?>\n<!-- a -->{WHOLE}\n'),
        ("history", bundle("history", [*ENTRIES, NESTED])),
        ("Bundle in a Bundle", bundle("batch-response", [NESTED, *ENTRIES])),
        ("without entries", bundle("searchset", []) + " " * 400),
        ("cut", WHOLE[:-40]),
        ("more behind it", WHOLE + "<a/>"),
        ("no resource", WHOLE.replace("Patient>", "Patience>")),
        ("another namespace", WHOLE.replace("<entry>", '<entry xmlns="urn:x">', 1)),
        ("no Bundle", write_xml(observation("a", {"valueString": "x" * 500}))),
    ],
)
def test_xml_read_in_parts_lands_as_xml_read_whole(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(text, "utf-8")
    whole = landed(path, in_parts=False)
    assert landed(path, in_parts=True) == whole, name
    assert whole[1] or name == "without entries"


def test_a_torn_xml_bundle_is_one_bad_record(tmp_path: Path) -> None:
    names = [sha256(b"%d" % n).hexdigest() for n in range(99)]
    entries = [{"resource": observation(name, {"valueInteger": 1})} for name in names]
    packed = gzip.compress(bundle("collection", entries).encode())
    path = tmp_path / "a.xml.gz"
    path.write_bytes(packed[: len(packed) // 2])
    torn = ("resource", [{"problem": "torn: the gzip stream ends early"}])
    assert landed(path, in_parts=True) == landed(path, in_parts=False) == torn


def test_the_caps_hold_for_an_entry_and_not_for_the_bundle() -> None:
    caps = XmlCaps(content_bytes=100_000, elements=100, depth=30)
    entry = {"resource": observation("a", {"valueString": "x" * 1000})}
    many = bundle("collection", [entry] * 1000).encode()
    parts = [many[at : at + 5000] for at in range(0, len(many), 5000)]
    found = [value for name, value in read_xml_bundle(parts, caps=caps) if name == "entry"]
    assert found == [entry] * 1000
    long = {"resource": observation("a", {"valueString": "x" * 300_000})}
    with pytest.raises(LimitError, match="over the cap of 100000 bytes"):
        list(read_xml_bundle([bundle("collection", [entry, long]).encode(), b" "], caps=caps))
    wide = {"resource": observation("a", {"note": [{"text": "x"}] * 100})}
    with pytest.raises(LimitError, match="more than the cap of 100 elements"):
        list(read_xml_bundle([bundle("collection", [entry, wide]).encode()], caps=caps))


def test_a_bundle_is_known_by_its_beginning() -> None:
    assert is_xml_bundle(WHOLE[:60].encode())
    assert is_xml_bundle(WHOLE[:60].encode("utf-16"))
    assert not is_xml_bundle(write_xml(PATIENT).encode())
    assert not is_xml_bundle(b"<!DOCTYPE Bundle><Bundle xmlns='http://hl7.org/fhir'>")
