import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import canonicalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.build import ingest
from ingest.errors import LimitError
from ingest.fhir_xml import _Converter, xml_to_json
from ingest.pages import decimal, line_of
from ingest.safe_xml import XmlCaps, XmlError, parse_xml
from ingest.store import RecordStore
from tests.ingest.fhir_writing import plain_markup, write_xml
from tests.ingest.test_r5 import CASES as R5_CASES
from tests.ingest.test_r5 import PATIENT as R5_PATIENT
from tests.ingest.test_r5 import WHO as R5_WHO

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


HL7 = '<meta><profile value="http://hl7.org/fhir/StructureDefinition'
END = '"/></meta>'
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


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
    "resource",
    [resource for _, said in R5_CASES.values() for resource in said],
    ids=lambda resource: resource["resourceType"],
)
def test_r5_is_told_by_what_only_it_has(resource: dict[str, Any]) -> None:
    wanted = numbers(json.dumps(resource))
    if resource["resourceType"] == "Composition":  # R4 has all its elements: only lists differ
        wanted |= {"subject": wanted["subject"][0]}
    content = write_xml(wanted).encode()
    assert same(xml_to_json(content)) == same(wanted)
    inside = {"resourceType": "Bundle", "type": "batch", "entry": [{"resource": wanted}]}
    assert same(xml_to_json(write_xml(inside).encode())) == same(inside)


@pytest.mark.parametrize(
    "resource",
    [resource for said, _ in R5_CASES.values() for resource in said],
    ids=lambda resource: resource["resourceType"],
)
def test_r4_is_told_beside_r5(resource: dict[str, Any]) -> None:
    wanted = numbers(json.dumps(resource))
    assert same(xml_to_json(write_xml(wanted).encode())) == same(wanted)


@pytest.mark.skipif(not EXAMPLES, reason="HL7's R4 examples are not here")
def test_r4_is_never_taken_for_r5() -> None:
    for path in EXAMPLES:
        content = write_xml(numbers(path.read_text("utf-8"))).encode()
        assert xml_to_json(content) == xml_to_json(content, release="R4B"), path.name
    found = sorted((DATA / "conformance" / "fhirpath" / "input").glob("*.xml"))
    assert len(found) == 7
    for path in found:
        content = path.read_bytes()
        assert xml_to_json(content) == xml_to_json(content, release="R4B"), path.name


@pytest.mark.skipif(not EXAMPLES, reason="HL7's R4 examples are not here")
def test_where_r5_has_a_place_for_all_it_says_the_same_as_r4_but_for_lists() -> None:
    read = 0
    for path in EXAMPLES:
        wanted = numbers(path.read_text("utf-8"))
        content = write_xml(wanted).encode()
        as_r5 = _Converter("R5", Decimal)
        try:
            found = as_r5.resource(parse_xml(content))
        except XmlError:
            continue
        if not as_r5.left_over:
            read += 1
            assert unlisted(found) == unlisted(wanted), path.name
    assert read > 50


def unlisted(value: Any) -> Any:
    """Take lists of one away; the rest as `same` has it."""
    if isinstance(value, list):
        return unlisted(value[0]) if len(value) == 1 else [unlisted(item) for item in value]
    if isinstance(value, dict):
        return {key: unlisted(item) for key, item in value.items() if key != "div"}
    return same(value)


PERFORMED = '<performer><reference value="Practitioner/1"/></performer>'


@pytest.mark.parametrize(
    ("root", "inner", "is_r5"),
    [
        ("", "", False),
        ("", '<fhirVersion value="5.0.0"/>', True),
        ("", f"{HL7}/MedicationRequest|5.0.0{END}", True),
        ("", f"{HL7}/MedicationRequest|4.0.1{END}", False),
        (
            "",
            '<meta><profile value="http://hl7.org/fhir/us/x/StructureDefinition/y|5.0.1"/></meta>',
            False,
        ),
        ("", f"{HL7.replace('fhir/', 'fhir/5.0/')}/MedicationRequest{END}", True),
        (
            f'{XSI} xsi:schemaLocation="http://hl7.org/fhir http://hl7.org/fhir/R5/fhir-all.xsd"',
            "",
            True,
        ),
        (
            f'{XSI} xsi:schemaLocation="http://hl7.org/fhir http://hl7.org/fhir/R4/fhir-all.xsd"',
            "",
            False,
        ),
        # An element that R4 alone has is stronger than what the document states.
        (
            "",
            f'{HL7}/MedicationRequest|5.0.0{END}<reasonReference id="x"/>',
            False,
        ),
    ],
)
def test_what_both_could_be_is_what_it_states_else_r4(root: str, inner: str, is_r5: bool) -> None:
    content = (
        f'<MedicationRequest xmlns="http://hl7.org/fhir" {root}>{inner}{PERFORMED}'
        "</MedicationRequest>"
    )
    assert isinstance(xml_to_json(content.encode())["performer"], list) == is_r5


def test_r5_xml_gives_the_events_of_r5_json(tmp_path: Path) -> None:
    told = []
    for form in ("json", "xml"):
        place = tmp_path / form
        place.mkdir()
        for number, (_, said) in enumerate(R5_CASES.values()):
            for beside, resource in enumerate([R5_PATIENT, *said]):
                path = place / f"{number}-{beside}.{form}"
                named = {"id": f"{number}-{beside}", "subject": R5_WHO} | resource
                path.write_text(
                    write_xml(numbers(json.dumps(named))) if form == "xml" else json.dumps(named),
                    "utf-8",
                )
        ingest([place], tmp_path / f"{form}-store", public=True)
        events = RecordStore(tmp_path / f"{form}-store").events()
        told.append(events.project("* EXCLUDE (source)").order("ALL").fetchall())
    assert told[0] == told[1]
    assert len(told[0]) > 20


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
