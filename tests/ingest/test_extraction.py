"""Fields are taken out of lines as if each line had been looked through for each of them."""

import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from ingest.extraction import HEAD, UPDATED, _grouped, take_fields
from ingest.fields import INSTANT, SQL, fields_of
from ingest.projection import create_tables
from tests.ingest.exports import ingested, write_ndjson

MANY = 3000  # more than a sample


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        create_tables(con)
        yield con


def lines_of(texts: list[str], *, wrapped: bool = False, guess: str | None = None) -> pa.Table:
    return pa.table(
        {
            "place": pa.array(range(1, len(texts) + 1), pa.int64()),
            "text": pa.array(texts, pa.large_string()),
            "wrapped": pa.repeat(wrapped, len(texts)),
            "guess": pa.array([guess] * len(texts), pa.string()),
        }
    )


def looked_up(content: Any, path: str) -> str | None:
    """Look a path up the slow way."""
    for part in re.findall(r"\w+", path):
        if isinstance(content, list):
            content = content[int(part)] if part.isdigit() and int(part) < len(content) else None
        else:
            content = content.get(part) if isinstance(content, dict) else None
    if content is None or isinstance(content, str):
        return content
    return json.dumps(content, separators=(",", ":"))


def observation(number: int) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "status": "final",
        "subject": {"reference": f"Patient/{number % 7}"},
        "code": {"coding": [{"system": "http://loinc.org", "code": str(number % 5)}]},
        "effectiveDateTime": "2024-03-01T08:00:00Z",
        "valueQuantity": {"value": number, "unit": "mg"},
    }


RARE: list[Callable[[dict[str, Any]], dict[str, Any]]] = [
    lambda o: {**o, "valueRange": {"low": {"value": 1}}},
    lambda o: {**o, "component": [{"code": {"text": "part"}, "valueInteger": 3}]},
    lambda o: {**o, "modifierExtension": [{"url": "http://example.org/not"}]},
    lambda o: {**o, "contained": [{"resourceType": "Patient", "id": "p"}]},
    lambda o: {**o, "effectiveDateTime": "2024-03"},
    lambda o: {
        **o,
        "encounter": {"reference": "Encounter/e"},
        "issued": "2024-03-01T09:00:00+01:00",
    },
    lambda o: {
        **{k: v for k, v in o.items() if k != "subject"},
        "patient": {"reference": "Patient/x"},
    },
    lambda o: {**o, "meta": {"lastUpdated": "2024-03-02T00:00:00Z", "versionId": "3"}},
    lambda o: {**o, "valueQuantity": [{"value": 5}]},
    lambda o: {**o, "valueQuantity": "five"},
    lambda o: {**o, "valueString": 'said "valueTime" aloud'},
]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_field_of_one_line_in_many_is_found(
    con: duckdb.DuckDBPyConnection, seed: int, wrapped: bool
) -> None:
    drawn = random.Random(seed)
    contents = [observation(n) for n in range(MANY)]
    for n in drawn.sample(range(MANY), 25):
        contents[n] = drawn.choice(RARE)(contents[n])
    drawn.shuffle(contents)
    written = [{"resource": c, "fullUrl": "urn:x"} for c in contents] if wrapped else contents
    lines = lines_of([json.dumps(c) for c in written], wrapped=wrapped, guess="Observation")
    taken = take_fields(con, lines)
    head = {row["place"]: row for row in taken.head.to_pylist()}
    fields = {row["place"]: row for row in taken.fields["Observation"].to_pylist()}
    assert len(head) == len(fields) == MANY
    known = fields_of("Observation")
    assert known is not None
    for place, content in enumerate(contents, 1):
        for path in set(HEAD) - {UPDATED}:
            assert head[place].get(path) == looked_up(content, path), path
        updated = head[place].get(f"{UPDATED}{INSTANT}")
        assert (updated is None) is (looked_up(content, UPDATED) is None)
        for path in known.paths():
            text, instant = fields[place].get(path), fields[place].get(f"{path}{INSTANT}")
            expected = looked_up(content, path)
            if path in known.bare and (expected or "").startswith("{"):
                expected = None
            if instant is not None:
                assert text in (None, expected)
                assert expected is not None
                assert expected.startswith("2024-03-0")
            else:
                assert text == expected, path
        assert head[place].get("said.fullUrl") == ("urn:x" if wrapped else None)


def test_a_name_that_is_written_with_escapes_is_found(con: duckdb.DuckDBPyConnection) -> None:
    texts = [json.dumps(observation(n)) for n in range(MANY)]
    texts[7] = texts[7].replace('"status"', '"\\u0069ssued": "2024-03-01", "status"')
    taken = take_fields(con, lines_of(texts, guess="Observation"))
    issued = {r["place"]: r["issued"] for r in taken.fields["Observation"].to_pylist()}
    assert {place: text for place, text in issued.items() if text} == {8: "2024-03-01"}


@pytest.mark.parametrize("guess", ["Observation", "Condition", "Nonsense", None])
@pytest.mark.parametrize("many", [40, MANY])
def test_a_wrong_guess_loses_nothing(
    con: duckdb.DuckDBPyConnection, guess: str | None, many: int
) -> None:
    condition = {"resourceType": "Condition", "recordedDate": "2024-03", "code": {"text": "ache"}}
    texts = [json.dumps(condition if n % 3 else observation(n)) for n in range(many)]
    texts[5] = '{"resourceType": "Condition"'
    texts[6] = "[1, 2]"
    texts[9] = '{"resourceType": "Basic", "status": "odd"}'
    taken = take_fields(con, lines_of(texts, guess=guess))
    assert len(taken.head) == many
    broken = {r["place"] for r in taken.head.to_pylist() if r["broken"]}
    assert broken == {6}
    assert {kind: len(rows) for kind, rows in taken.fields.items()} == {
        "Condition": sum(n % 3 > 0 for n in range(many)) - 1,
        "Observation": sum(n % 3 == 0 for n in range(many)) - 2,
    }
    assert set(taken.fields["Condition"].column("recordedDate").to_pylist()) == {"2024-03"}
    kinds = {r["place"]: r["resourceType"] for r in taken.head.to_pylist()}
    assert [kinds[n] for n in (6, 7, 10)] == [None, None, "Basic"]


def test_each_projection_takes_just_the_fields_that_it_speaks_of() -> None:
    for file in sorted(SQL.glob("[A-Z]*.sql")):
        text = file.read_text("utf-8")
        fields = fields_of(file.stem)
        assert fields is not None
        sql = re.sub(r"--.*", "", text)
        spoken = {re.sub(r"\.(first|last)$", "", name) for name in re.findall(r'"([^"\s]+)"', sql)}
        spoken = {re.sub(r"\.(start|end)?\.?(ended|began)(_from)?$", "", name) for name in spoken}
        for name in fields.paths():
            stem = re.sub(r"\.(start|end|value|comparator|unit|system|code)$", "", name)
            elsewhere = file.stem in ("DocumentReference", "DiagnosticReport", "ImagingStudy") or (
                file.stem.startswith("Medication") and name.startswith("medication")
            )
            assert elsewhere or any(s == name or s.startswith(stem) for s in spoken), (file, name)


def test_a_head_that_is_not_written_right_is_refused(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Thing.sql").write_text("-- Thing\n-- times: a..b\nSELECT 1\n")
    monkeypatch.setattr("ingest.fields.SQL", tmp_path)
    with pytest.raises(ValueError, match=r"a field is a path such as code.text; got 'a..b'"):
        fields_of("Thing")


ODD = [
    {
        "resourceType": "QuestionnaireResponse",
        "status": "completed",
        "item": [None, {"linkId": "1"}],
    },
    {"resourceType": "QuestionnaireResponse", "status": "completed", "item": "[null]"},
    {"resourceType": "A" * 300},
    {"resourceType": "../Patient"},
    {"resourceType": "Observation", "component": "[1", "valueRange": "{", "effectiveTiming": [1]},
    {"resourceType": "Observation", "code": 7, "valueQuantity": [], "valuePeriod": {"start": {}}},
    {"resourceType": "Encounter", "type": "x", "location": {"location": 3}, "reasonCode": [[1]]},
    {"resourceType": "Condition", "verificationStatus": ["x"], "category": {"coding": 3}},
    {"resourceType": "Patient", "link": "other", "birthDate": 1950, "deceasedBoolean": "yes"},
    {"resourceType": "DocumentReference", "status": "current", "content": [None, {"format": {}}]},
    {"resourceType": "DiagnosticReport", "presentedForm": "[[", "conclusionCode": [None]},
    {"resourceType": "NutritionOrder", "supplement": [None, 1], "oralDiet": [{"type": "x"}]},
    {"resourceType": "EpisodeOfCare", "status": "finished", "type": [None], "period": "2020"},
    {"resourceType": "CarePlan", "activity": [None, {"detail": None}], "category": [None]},
    {"resourceType": "Specimen", "parent": [None], "processing": ["x", None]},
    {"resourceType": "Composition", "section": [None, "x", {"section": {}}], "text": []},
    {"resourceType": "ImagingStudy", "series": [None], "modality": "CT", "identifier": {}},
]


@pytest.mark.parametrize("bundled", [False, True])
def test_what_has_another_shape_than_it_should_have_never_ends_an_ingest(
    tmp_path, bundled: bool
) -> None:
    about = {"subject": {"reference": "Patient/p"}, "patient": {"reference": "Patient/p"}}
    odd = [{"id": f"r{n}", **about, **resource} for n, resource in enumerate(ODD)]
    patient = {"resourceType": "Patient", "id": "p", "gender": "female"}
    if bundled:
        entries = [{"resource": resource} for resource in (patient, *odd)]
        source = tmp_path / "in.json"
        source.write_text(
            json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries})
        )
    else:
        source = write_ndjson(tmp_path / "in.ndjson", patient, *odd)
    ingested(tmp_path, source)
    [account] = json.loads((tmp_path / "store" / "ingest_report.json").read_text())[
        "files"
    ].values()
    assert account["records"] == len(ODD) + 1
    assert account["projected"] >= 2
    assert account["quarantined"]


def test_a_document_without_an_attachment_is_no_event(tmp_path) -> None:
    bare = {
        "resourceType": "DocumentReference",
        "id": "d",
        "status": "current",
        "date": "2020-01-01",
    }
    bare |= {"subject": {"reference": "Patient/p"}, "content": [{"format": {"code": "x"}}]}
    ingested(
        tmp_path,
        write_ndjson(
            tmp_path / "in.ndjson", {"resourceType": "Patient", "id": "p", "gender": "male"}, bare
        ),
    )
    [account] = json.loads((tmp_path / "store" / "ingest_report.json").read_text())[
        "files"
    ].values()
    assert account["skipped"] == {"DocumentReference: no attachment": 1}


def test_many_types_without_a_projection_are_one_group(con: duckdb.DuckDBPyConnection) -> None:
    kinds = [f"Thing{'abcdefghij'[n % 10]}{'klmnopqrst'[n // 10]}" for n in range(100)]
    texts = [json.dumps({"resource": {"resourceType": kind, "id": kind}}) for kind in kinds]
    lines = lines_of([*texts, json.dumps({"resource": observation(1)})], wrapped=True)
    groups = [(guess, len(group)) for _, guess, group in _grouped(lines)]
    assert sorted(groups, key=str) == [("Observation", 1), (None, 100)]
    assert len(take_fields(con, lines).head) == 101


def test_a_message_that_cannot_be_decoded_ends_nothing(con: duckdb.DuckDBPyConnection) -> None:
    """DuckDB quotes a broken line in its message and may cut the quote within a character."""
    long = "\u00da\U0002af23" * 40
    broken = [f'{{"resourceType": "Patient", "id": "{"a" * n}{long}", ' for n in range(120)]
    undecoded = 0
    for text in broken:
        lines = lines_of([text, '{"resourceType": "Patient", "id": "p"}'])
        con.register("line", lines)
        try:
            con.sql("SELECT json_extract_string(text, '$.id') FROM line").fetchall()
        except UnicodeDecodeError:
            undecoded += 1
        except duckdb.Error:
            pass
        head = take_fields(con, lines).head.sort_by("place")
        assert head.column("broken").to_pylist() == [True, False]
        assert head.column("id").to_pylist() == [None, "p"]
    assert undecoded, "no message was cut within a character: the test shows nothing"
