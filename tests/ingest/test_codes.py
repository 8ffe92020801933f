import json
from pathlib import Path

import pytest

from ingest.build import ingest
from ingest.codes import name_coding, name_concept, system_prefix
from ingest.store import RecordStore
from tests.ingest.exports import PATIENT, write_ndjson

MIMIC = "http://mimic.mit.edu/fhir/mimic/CodeSystem/"


@pytest.mark.parametrize(
    ("system", "code", "name"),
    [
        ("http://hl7.org/fhir/sid/icd-10-cm", "I509", "ICD10CM//I50.9"),
        ("http://hl7.org/fhir/sid/icd-10-cm", "I50.9", "ICD10CM//I50.9"),
        ("http://hl7.org/fhir/sid/icd-10-cm", "I10", "ICD10CM//I10"),
        (MIMIC + "mimic-diagnosis-icd9", "4280", "ICD9CM//428.0"),
        (MIMIC + "mimic-diagnosis-icd9", "E8844", "ICD9CM//E884.4"),
        (MIMIC + "mimic-diagnosis-icd9", "V08", "ICD9CM//V08"),
        (MIMIC + "mimic-procedure-icd9", "5491", "ICD9PROC//54.91"),
        (MIMIC + "mimic-procedure-icd10", "02100Z9", "ICD10PCS//02100Z9"),
        (MIMIC + "mimic-lab-fluid", "Blood", "MIMIC_LAB_FLUID//Blood"),
        ("http://snomed.info/sct/731000124108", "1", "SNOMED//1"),
        ("https://loinc.org/", "8480-6", "LOINC//8480-6"),
        ("urn:oid:2.16.840.1.113883.6.90", "I509", "ICD10CM//I50.9"),
        ("urn:oid:1.2.3.4", "x", "1.2.3.4//x"),
        (None, " a  b ", "LOCAL//a b"),
        ("", "a//b", "LOCAL//a/b"),
        (None, 5, "LOCAL//5"),
    ],
)
def test_a_coding_is_named_by_system_and_code(system, code, name: str) -> None:
    assert name_coding({"system": system, "code": code}).code == name


@pytest.mark.parametrize("coding", [None, [], "x", {}, {"code": ""}, {"code": True}, {"code": {}}])
def test_what_is_no_coding_has_no_name(coding) -> None:
    assert name_coding(coding) is None


def test_the_best_known_system_names_a_concept_and_the_others_are_parents() -> None:
    codings = [
        {"system": "urn:local", "code": "BP"},
        {"system": "http://snomed.info/sct", "code": "271649006", "display": "Systolic"},
        {"system": "http://loinc.org", "code": "8480-6"},
    ]
    concept = name_concept(json.dumps({"coding": codings, "text": "Systolic pressure"}))
    assert concept.code == "LOINC//8480-6"
    assert concept.display == "Systolic pressure"
    assert concept.parents == ("SNOMED//271649006", "LOCAL//BP")


def test_what_a_person_calls_a_concept_comes_from_whichever_coding_says_it() -> None:
    codings = [
        {"system": "http://loinc.org", "code": "2951-2"},
        {"system": "urn:local", "code": "NA", "display": "Sodium"},
        {"system": "http://snomed.info/sct", "code": "25197003", "display": "Sodium measurement"},
    ]
    concept = name_concept(json.dumps({"coding": codings}))
    assert (concept.code, concept.display) == ("LOINC//2951-2", "Sodium measurement")
    assert name_concept(json.dumps({"coding": codings[:2]})).display == "Sodium"
    assert name_concept(json.dumps({"coding": codings[:2], "text": "Na"})).display == "Na"
    own = [{**codings[0], "display": "Sodium [Moles/volume]"}, codings[1]]
    assert name_concept(json.dumps({"coding": own, "text": "Na"})).display == own[0]["display"]
    assert name_concept(json.dumps({"coding": codings[:1]})).display is None


@pytest.mark.parametrize(
    "text", ["", "null", "5", "[]", '"x"', "{", '{"coding": 5}', '{"coding": [5]}']
)
def test_a_concept_that_is_none_has_no_code(text: str) -> None:
    assert name_concept(text).code is None


def test_long_words_are_cut_and_a_display_stands_in_for_words() -> None:
    assert name_concept(json.dumps({"text": "x" * 99})).code == "TEXT//" + "X" * 60
    assert name_concept('{"coding": [{"display": "Heart  attack"}]}').code == "TEXT//HEART ATTACK"


def test_a_system_without_a_name_is_local() -> None:
    assert system_prefix("///") == "LOCAL"


@pytest.mark.parametrize("role", ["note", "image", "Family", "order", "GENDER", "meds-birth"])
def test_a_system_is_never_called_what_an_event_is(role: str) -> None:
    named = role.upper().replace("-", "_")
    assert system_prefix(f"http://kh.example/codes/{role}") == f"LOCAL_{named}"
    assert system_prefix(f"http://terminology.hl7.org/CodeSystem/{role}") == f"HL7_{named}"
    assert system_prefix(role) == f"LOCAL_{named}"


def test_a_local_system_that_ends_like_a_known_one_is_not_that() -> None:
    coding = {"system": "http://kh.example/loinc", "code": "2951-2"}
    assert name_coding(coding).code == "LOCAL_LOINC//2951-2"
    assert name_coding({**coding, "system": "LOINC"}).code == "LOINC//2951-2"


def test_a_value_of_a_system_called_note_is_no_note(tmp_path: Path) -> None:
    value = {
        "resourceType": "Observation",
        "id": "o",
        "status": "final",
        "code": {"coding": [{"system": "http://kh.example/note", "code": "1"}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2024-03-01T08:00:00Z",
        "valueQuantity": {"value": 5, "unit": "mg", "code": "mg"},
    }
    ingest([write_ndjson(tmp_path / "in.ndjson", PATIENT, value)], tmp_path / "s", public=True)
    store = RecordStore(tmp_path / "s")
    assert store.notes().fetchall() == []
    assert ("LOCAL_NOTE//1",) in store.events().select("code").fetchall()
