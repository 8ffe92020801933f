import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import canonicalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.errors import LimitError
from ingest.fhir_xml import xml_to_json
from ingest.pages import decimal, line_of
from ingest.safe_xml import XmlCaps, XmlError
from tests.ingest.fhir_writing import plain_markup, write_xml

DATA = Path(__file__).parents[3] / "shared" / "data"
EXAMPLES = sorted((DATA / "hl7_r4_examples").glob("*.json"))
PAIRS = sorted(
    path
    for path in (DATA / "conformance" / "fhirpath" / "input").glob("*.xml")
    if path.with_suffix(".json").exists()
)

OBSERVATION = b"""<?xml version="1.0" encoding="UTF-8"?>
<Observation xmlns="http://hl7.org/fhir">
  <id value="o1"/>
  <text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><p class="x">1 &lt; 2
    <br/>&#160;ok</p></div></text>
  <contained><Patient><id value="p"/><active value="true"/>
    <name><given value="Ann"/><given value="Bea"><extension url="http://x.org/nick">
      <valueBoolean value="false"/></extension></given></name></Patient></contained>
  <status value="final"/>
  <category><coding><code value="laboratory"/></coding></category>
  <code id="c1"><coding><system value="http://loinc.org"/><code value="2951-2"/></coding></code>
  <subject><reference value="#p"/></subject>
  <effectiveDateTime value="2024-03-01T10:15:00Z">
    <extension url="http://x.org/about"><valueInteger value="5"/></extension></effectiveDateTime>
  <valueQuantity><value value="139.50"/><unit value="mmol/L"/></valueQuantity>
  <interpretation><text value=" low "/></interpretation>
</Observation>"""


def numbers(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def same(value: Any) -> Any:
    """Make numbers comparable by their digits, and narratives by what XML takes for the same."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, Decimal)):
        return ("number", str(value))
    if isinstance(value, list):
        return [same(item) for item in value]
    if isinstance(value, dict):
        return {
            key: canonicalize(plain_markup(item)) if key == "div" else same(item)
            for key, item in value.items()
        }
    return value


def test_each_part_of_the_xml_comes_where_json_has_it() -> None:
    found = xml_to_json(OBSERVATION)
    div = found["text"].pop("div")
    assert canonicalize(div) == canonicalize(
        '<div xmlns="http://www.w3.org/1999/xhtml"><p class="x">1 &lt; 2\n    <br/>\xa0ok</p></div>'
    )
    assert found == {
        "resourceType": "Observation",
        "id": "o1",
        "text": {"status": "generated"},
        "contained": [
            {
                "resourceType": "Patient",
                "id": "p",
                "active": True,
                "name": [
                    {
                        "given": ["Ann", "Bea"],
                        "_given": [
                            None,
                            {"extension": [{"url": "http://x.org/nick", "valueBoolean": False}]},
                        ],
                    }
                ],
            }
        ],
        "status": "final",
        "category": [{"coding": [{"code": "laboratory"}]}],
        "code": {"id": "c1", "coding": [{"system": "http://loinc.org", "code": "2951-2"}]},
        "subject": {"reference": "#p"},
        "effectiveDateTime": "2024-03-01T10:15:00Z",
        "_effectiveDateTime": {"extension": [{"url": "http://x.org/about", "valueInteger": 5}]},
        "valueQuantity": {"value": Decimal("139.50"), "unit": "mmol/L"},
        "interpretation": [{"text": " low "}],
    }


def test_a_line_of_ndjson_keeps_a_decimal_s_digits() -> None:
    assert b'"value":139.50,' in line_of(xml_to_json(OBSERVATION, decimal=decimal))


@pytest.mark.skipif(not EXAMPLES, reason="HL7's R4 examples are not here")
def test_hl7_s_examples_come_out_of_xml_as_they_went_in() -> None:
    odd = {}
    for path in EXAMPLES:
        wanted = numbers(path.read_text("utf-8"))
        found = xml_to_json(write_xml(wanted).encode())
        if same(found) != same(wanted):
            odd[path.name] = found
    assert len(EXAMPLES) > 200
    assert odd == {}


@pytest.mark.skipif(not PAIRS, reason="the conformance files are not here")
@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_hl7_s_xml_gives_hl7_s_json(path: Path) -> None:
    # The two files of these pairs differ: one lacks an element, or has other white space.
    differing = {
        "codesystem-example": {"text", "description"},
        "observation-example": {"extension"},
    }.get(path.stem, set())
    wanted = numbers(path.with_suffix(".json").read_text("utf-8"))
    found = xml_to_json(path.read_bytes())
    assert set(wanted) ^ set(found) <= differing
    for name in set(wanted) - differing:
        assert same(found[name]) == same(wanted[name])


@pytest.mark.skipif(not DATA.exists(), reason="the Synthea Bundles are not here")
def test_a_synthea_bundle_comes_out_of_xml_as_it_went_in() -> None:
    path = min((DATA / "synthea_r4_bundles").glob("*_*.json"), key=lambda path: path.stat().st_size)
    wanted = numbers(path.read_text("utf-8"))
    assert same(xml_to_json(write_xml(wanted).encode())) == same(wanted)


def test_what_the_models_do_not_know_is_kept_as_it_stands() -> None:
    found = xml_to_json(
        b'<Patient xmlns="http://hl7.org/fhir"><new value="1"/><more><a value="x"/></more>'
        b'<more><a value="y"/></more><active value="yes"/></Patient>'
    )
    assert found == {
        "resourceType": "Patient",
        "new": "1",
        "more": [{"a": "x"}, {"a": "y"}],
        "active": "yes",
    }


def test_r5_has_its_own_lists() -> None:
    content = (
        b'<Encounter xmlns="http://hl7.org/fhir"><class><coding><code value="IMP"/></coding>'
        b"</class></Encounter>"
    )
    assert xml_to_json(content, release="R5")["class"] == [{"coding": [{"code": "IMP"}]}]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not XML: line 1 column 0"),
        (b'{"resourceType": "Patient"}', "not XML: line 1 column 0"),
        (b'<Patient xmlns="http://hl7.org/fhir"><active', "not XML: line 1 column"),
        (b'<Patient xmlns="urn:hl7-org:v3"/>', "not FHIR: another namespace"),
        (b'<Human xmlns="http://hl7.org/fhir"/>', "not FHIR: no resource of that name"),
        (b'<HumanName xmlns="http://hl7.org/fhir"/>', "not FHIR: no resource of that name"),
        (
            b'<Patient xmlns="http://hl7.org/fhir"><a xmlns="urn:x"/></Patient>',
            "not FHIR: an element of another namespace",
        ),
        (
            b'<!DOCTYPE Patient [<!ENTITY n "x">]><Patient xmlns="http://hl7.org/fhir">'
            b'<language value="&n;"/></Patient>',
            "XML with a document type declaration",
        ),
        (
            b'<!DOCTYPE Patient SYSTEM "http://evil.example/x.dtd"><Patient/>',
            "XML with a document type declaration",
        ),
        (b'<?xml version="1.0" encoding="utf-7"?><a/>', "not XML: an encoding that is not known"),
    ],
)
def test_what_is_no_fhir_or_could_swell_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(XmlError, match=reason):
        xml_to_json(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<a>" * 100_000, "nested deeper than the cap of 100"),
        (b"<a>" + b"<b/>" * 2_000, "more than the cap of 1000 elements"),
        (b"<a " + b" ".join(b'b%d=""' % i for i in range(2_000)) + b"/>", "of 1000 elements"),
        (b" " * 400_000, "over the cap of 300000"),
    ],
)
def test_caps_hold_for_bytes_elements_and_depth(content: bytes, reason: str) -> None:
    with pytest.raises(LimitError, match=reason):
        xml_to_json(content, caps=XmlCaps(content_bytes=300_000, elements=1000, depth=100))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_mutated_xml_is_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(OBSERVATION)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            del content[at : at + data.draw(st.integers(1, 60))]
        else:
            content[at : at + 1] = data.draw(st.binary(max_size=8))
        content = content or bytearray(b" ")
    try:
        found = xml_to_json(bytes(content))
    except (XmlError, LimitError):
        return
    assert found["resourceType"]
    json.dumps(found, default=str)
