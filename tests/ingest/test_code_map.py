import json
from pathlib import Path
from typing import Any

import pytest

from ingest.code_map import make_code_map, read_code_map
from ingest.codes import Naming, name_coding, name_concept, system_prefix
from ingest.conventions import Conventions
from ingest.errors import MappingError
from ingest.store import RecordStore
from serve.cli import main
from tests.ingest.exports import ingested, observation, write_ndjson

LAB = "urn:oid:1.2.276.0.76.9.9"
CSV = f"""\
system,code,prefix,dotting,standard,unit
{LAB},,LAB,,,
https://kh.example/icd,,ICD10GM,,,
https://kh.example/old-icd/,,OLD,icd9,,
{LAB},NA,,,LOINC//2951-2,
{LAB},CRP,,,,mg/dL
,HB,,,LOINC//718-7,g/L
"""
YAML = f"""
- {{system: "{LAB}", prefix: LAB}}
- {{system: "https://kh.example/icd", prefix: ICD10GM}}
- {{system: "https://kh.example/old-icd/", prefix: OLD, dotting: icd9}}
- {{system: "{LAB}", code: NA, standard: LOINC//2951-2}}
- {{system: "{LAB}", code: CRP, unit: mg/dL}}
- {{code: HB, standard: LOINC//718-7, unit: g/L}}
"""


def write(place: Path, text: str, name: str = "map.csv") -> Path:
    (place / name).write_text(text, "utf-8")
    return place / name


@pytest.fixture
def naming(tmp_path: Path) -> Naming:
    return make_code_map(read_code_map(write(tmp_path, CSV))).naming


@pytest.mark.parametrize(
    ("system", "code", "name", "parents"),
    [
        (LAB, "K", "LAB//K", ()),
        ("1.2.276.0.76.9.9", "K", "LAB//K", ()),
        (LAB, "NA", "LOINC//2951-2", ("LAB//NA",)),
        (LAB, "na", "LAB//na", ()),
        ("http://kh.example/icd/", "I509", "ICD10GM//I50.9", ()),
        ("https://kh.example/old-icd", "4280", "OLD//428.0", ()),
        (None, "HB", "LOINC//718-7", ("LOCAL//HB",)),
        ("http://snomed.info/sct", "NA", "SNOMED//NA", ()),
        ("http://kh.example/other", "NA", "OTHER//NA", ()),
    ],
)
def test_a_map_names_systems_and_codes(naming, system, code, name, parents) -> None:
    concept = name_coding({"system": system, "code": code}, naming)
    assert (concept.code, concept.parents) == (name, parents)


def test_yaml_says_the_same_as_csv(tmp_path: Path) -> None:
    rules = read_code_map(write(tmp_path, YAML, "map.yaml"))
    expected = read_code_map(write(tmp_path, CSV))
    assert rules[:-1] == expected[:-1]
    assert rules[-1] == expected[-1]
    assert make_code_map(rules).units == {"LAB//CRP": "mg/dL", "LOINC//718-7": "g/L"}


def test_what_was_sent_goes_before_what_was_mapped_to(naming) -> None:
    sent = {"system": "http://loinc.org", "code": "2947-0"}
    local = {"system": LAB, "code": "NA", "display": "Natrium"}
    concept = name_concept(json.dumps({"coding": [local, sent]}), naming)
    assert concept.code == "LOINC//2947-0"
    assert concept.parents == ("LOINC//2951-2", "LAB//NA")
    unknown = {"system": "http://kh.example/more", "code": "1"}
    concept = name_concept(json.dumps({"coding": [unknown, local]}), naming)
    assert (concept.code, concept.display) == ("LOINC//2951-2", "Natrium")


def test_what_is_mapped_to_a_system_of_ones_own_goes_before_other_local_codes() -> None:
    rules = [{"system": "urn:a", "code": "1", "standard": "KH//ONE"}]
    naming = make_code_map(rules).naming
    codings = [{"system": "urn:b", "code": "2"}, {"system": "urn:a", "code": "1"}]
    concept = name_concept(json.dumps({"coding": codings}), naming)
    assert (concept.code, concept.parents) == ("KH//ONE", ("A//1", "B//2"))


def test_a_default_prefix_is_for_codes_without_a_system() -> None:
    naming = Naming(default_prefix="KH")
    assert system_prefix(None, naming) == system_prefix("///", naming) == "KH"
    assert system_prefix("http://loinc.org", naming) == "LOINC"
    assert name_concept('{"text": "pulse"}', naming).code == "TEXT//PULSE"
    assert system_prefix(None) == "LOCAL"


HEAD = "system,code,prefix,dotting,standard,unit\n"
MISTAKES = {
    "unknown column": ("system,prefix,colour\nurn:x,X,red\n", "unknown column 'colour'"),
    "no head": ("urn:x,X\n", "unknown column 'urn:x'"),
    "twice": ("system,prefix,prefix\nurn:x,X,X\n", "a column stands twice"),
    "only system": ("system\nurn:x\n", "the first line names the columns"),
    "empty file": ("", "the first line names the columns"),
    "too many cells": (HEAD + "urn:x,,X,,,,\n", "line 2: 7 cells under 6 names"),
    "quotes": (HEAD + '"urn:x"y,,X,,,\n', "is not CSV"),
    "neither": (HEAD + ",,X,,,\n", "rule 1: it has neither a system nor a code"),
    "no prefix": (HEAD + "urn:x,,,icd10,,\n", "rule 1: a system needs a prefix"),
    "bad prefix": (HEAD + "urn:x,,my lab,,,\n", "rule 1: 'my lab' can't be a prefix"),
    "taken": (HEAD + "urn:x,,NOTE,,,\n", "rule 1: NOTE can't be a prefix"),
    "dotting": (HEAD + "urn:x,,X,icd-10,,\n", "dotting must be one of none, icd10,"),
    "unit of a system": (HEAD + "urn:x,,X,,,mg\n", "a standard code or a unit is of one code"),
    "prefix of a code": (HEAD + "urn:x,1,X,,,\n", "prefix and dotting are of a whole system"),
    "nothing said": (HEAD + "urn:x,1,,,,\n", "a code needs a standard code or a unit"),
    "standard": (HEAD + "urn:x,1,,,2951-2,\n", "a standard code is SYSTEM//CODE"),
    "standard of three": (HEAD + "urn:x,1,,,LOINC//1//2,\n", "a standard code is SYSTEM//CODE"),
    "standard of a role": (HEAD + "urn:x,1,,,ORDER//1,\n", "a standard code is SYSTEM//CODE"),
    "unit": (HEAD + "urn:x,1,,,,furlong\n", "rule 1: 'furlong' is no UCUM unit"),
    "two prefixes": (HEAD + "urn:x,,X,,,\nurn:x/,,Y,,,\n", "rule 2: an earlier rule gives urn:x/"),
    "two standards": (
        HEAD + "urn:x,1,,,LOINC//1-8,\nurn:x,1,,,LOINC//2-6,\n",
        "rule 2: an earlier rule maps this code",
    ),
    "two units": (
        HEAD + "urn:x,1,,,,mg\nurn:x,1,,,,g\n",
        "rule 2: an earlier rule gives X//1 another unit",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_in_a_map_is_told_in_one_sentence(tmp_path: Path, name: str) -> None:
    text, words = MISTAKES[name]
    with pytest.raises(MappingError) as refusal:
        read_code_map(write(tmp_path, text))
    assert words in str(refusal.value)
    assert str(refusal.value).startswith(str(tmp_path / "map.csv"))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- system: [", "line 1 is not YAML"),
        ("system: urn:x", "is a list of rules"),
        ("- 5", "is a list of rules"),
        ("- {code: 0123, standard: LOINC//1-8}", "rule 1: put the code in quotes"),
        ("- {colour: red}", "rule 1: unknown column 'colour'"),
    ],
)
def test_each_mistake_in_yaml_is_told_in_one_sentence(tmp_path: Path, text, words: str) -> None:
    with pytest.raises(MappingError) as refusal:
        read_code_map(write(tmp_path, text, "map.yml"))
    assert words in str(refusal.value)


def test_a_map_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="is not there"):
        read_code_map(tmp_path / "map.csv")
    (tmp_path / "map.csv").write_bytes(b"\xff\xfe\0")
    with pytest.raises(MappingError, match="is not UTF-8 text"):
        read_code_map(tmp_path / "map.csv")


def local(
    name: str, system: str | None, code: str, value: dict[str, Any], **more: str
) -> dict[str, Any]:
    return observation(name, value, code={"coding": [{"system": system, "code": code, **more}]})


RECORDS = [
    {"resourceType": "Patient", "id": "p"},
    local("1", LAB, "NA", {"valueQuantity": {"value": 139, "unit": "mEq/L"}}, display="Natrium"),
    local("2", LAB, "CRP", {"valueQuantity": {"value": 30, "unit": "mg/L"}}),
    local("3", None, "HB", {"valueQuantity": {"value": 14, "unit": "g/dL"}}, display="Hb"),
    local("4", None, "OTHER", {"valueInteger": 1}),
]
MAPPED = {
    ("LAB//CRP", 3.0, "mg/dL"),
    ("LOINC//2951-2", 139.0, "mmol/L"),
    ("LOINC//718-7", 140.0, "g/L"),
}


def events(place: Path) -> set[tuple[Any, ...]]:
    found = RecordStore(place / "store").events()
    return set(found.project("code, numeric_value, unit").fetchall())


@pytest.fixture
def mapped(tmp_path: Path) -> Path:
    rules = write(tmp_path, CSV)
    source = write_ndjson(tmp_path / "in.ndjson", *RECORDS)
    command = ["ingest", str(source), "--store", str(tmp_path / "store"), "--public", "--quiet"]
    assert main([*command, "--code-map", str(rules), "--default-prefix", "KH"]) == 0
    rules.unlink()
    return source


def test_a_store_is_built_with_the_map_and_remembers_it(mapped: Path) -> None:
    assert events(mapped.parent) == MAPPED | {("KH//OTHER", 1.0, None)}
    codes = RecordStore(mapped.parent / "store").codes().set_index("code")
    assert list(codes.loc["LOINC//2951-2", "parent_codes"]) == ["LAB//NA"]
    said = codes["description"].dropna().to_dict()
    assert said == {"LOINC//2951-2": "Natrium", "LOINC//718-7": "Hb"}
    more = local("5", LAB, "K", {"valueInteger": 4})
    ingested(mapped.parent, write_ndjson(mapped.with_name("more.ndjson"), more))
    assert events(mapped.parent) == MAPPED | {("KH//OTHER", 1.0, None), ("LAB//K", 4.0, None)}


def test_what_is_asked_for_anew_replaces_that_alone(mapped: Path) -> None:
    command = ["ingest", str(mapped), "--store", str(mapped.parent / "store"), "--public"]
    assert main([*command, "--quiet", "--default-prefix", "ANEW"]) == 0
    assert events(mapped.parent) == MAPPED | {("ANEW//OTHER", 1.0, None)}
    assert main([*command, "--quiet", "--keep-units"]) == 0
    assert ("LOINC//2951-2", 139.0, "mEq/L") in events(mapped.parent)
    assert main([*command, "--quiet", "--no-keep-units"]) == 0
    assert events(mapped.parent) == MAPPED | {("ANEW//OTHER", 1.0, None)}
    empty = write(mapped.parent, HEAD, "empty.csv")
    assert main([*command, "--quiet", "--code-map", str(empty)]) == 0
    assert ("ANEW//HB", 14000.0, "mg/dL") in events(mapped.parent)


def test_a_wrong_map_leaves_the_store_as_it_was(mapped: Path, capsys) -> None:
    before = events(mapped.parent)
    wrong = write(mapped.parent, HEAD + "urn:x,,NOTE,,,\n")
    command = ["ingest", str(mapped), "--store", str(mapped.parent / "store"), "--public"]
    assert main([*command, "--quiet", "--code-map", str(wrong)]) == MappingError.exit_code
    assert "NOTE can't be a prefix" in capsys.readouterr().err
    assert events(mapped.parent) == before


def test_conventions_come_back_from_json(tmp_path: Path) -> None:
    rules = tuple(read_code_map(write(tmp_path, CSV)))
    stated = Conventions(rules=rules, default_prefix="KH", keep_units=True)
    assert Conventions.of_json(json.loads(json.dumps(stated.to_json()))) == stated
