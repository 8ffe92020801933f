"""Fetch from Medplum's router: transactions and searches by an implementation that is not ours."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ingest.fhir_server import fetch_fhir
from tests.ingest.exports import ingested, write_ndjson
from tests.servers.fetches import landed_keys, landed_lines, quick
from tests.servers.node import HOME, Medplum, medplum
from tests.servers.ward import note, ward


@pytest.fixture(scope="module")
def server() -> Iterator[Medplum]:
    """Hold three patients, whose ids Medplum chose, and know them by identifier."""
    with medplum() as running:
        made = [*ward(3), note("doc", "p1", "Binary/text"), note("text", "", "", "Clear lungs.")]
        names = [UUID(int=number, version=4).urn for number in range(len(made))]
        text = json.dumps(made)
        for resource, name in zip(made, names, strict=True):
            text = text.replace(f'"{key(resource)}"', f'"{name}"')
        entries = [
            {
                "fullUrl": name,
                "resource": {k: v for k, v in resource.items() if k != "id"},
                "request": {"method": "POST", "url": resource["resourceType"]},
            }
            for name, resource in zip(names, json.loads(text), strict=True)
        ]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        answer = running.send("POST", "", bundle)
        assert {e["response"]["status"] for e in answer["entry"]} == {"201"}, answer
        yield running


TYPES = ("Patient", "Encounter", "Condition", "MedicationRequest", "Observation")


def held(server: Medplum) -> list[dict[str, Any]]:
    """List what the server holds, by its own word."""
    found: list[dict[str, Any]] = []
    for kind in (*TYPES, "DocumentReference", "Location", "Medication", "Binary"):
        bundle = server.send("GET", f"{kind}?_count=1000")
        found += [entry["resource"] for entry in bundle.get("entry", [])]
    assert len(found) == 31
    return found


def key(resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def test_a_cohort_by_identifier_lands_each_resource_once(server: Medplum, tmp_path: Path) -> None:
    patience, _ = quick()
    cohort = [f"urn:mrn|MRN-{number}" for number in (1, 2, 3)]
    fetched = fetch_fhir(server.url, tmp_path / "in", patients=cohort, patience=patience)
    assert landed_keys(fetched) == Counter(key(resource) for resource in held(server))
    assert fetched.missing == {}
    by_key = {key(resource): resource for resource in held(server)}
    assert all(by_key[key(line)] == line for line in landed_lines(fetched))


def test_what_is_fetched_gives_the_store_that_its_own_word_gives(
    server: Medplum, tmp_path: Path
) -> None:
    fetched = fetch_fhir(server.url, tmp_path / "in", patience=quick()[0])
    direct = write_ndjson(tmp_path / "direct.ndjson", *held(server))
    one = ingested(tmp_path / "one", *fetched.files)
    two = ingested(tmp_path / "two", direct)
    assert (one["events"], one["notes"], one["subjects"]) == (
        two["events"],
        two["notes"],
        two["subjects"],
    )
    assert one["notes"] == 1


def test_a_search_of_patients_is_what_medplum_makes_of_it(server: Medplum, tmp_path: Path) -> None:
    fetched = fetch_fhir(server.url, tmp_path, search="Patient?gender=male", patience=quick()[0])
    [patient] = [line for line in landed_lines(fetched) if line["resourceType"] == "Patient"]
    assert patient["identifier"][0]["value"] == "MRN-2"
    assert fetched.landed["Observation"] == 5


def test_a_server_without_next_links_is_caught_giving_less_than_it_counts(
    server: Medplum, tmp_path: Path
) -> None:
    fetched = fetch_fhir(
        server.url,
        tmp_path,
        search="Observation?code=8480-6&_total=accurate",
        page_size=10,
        patience=quick()[0],
    )
    assert fetched.landed == {"Observation": 10}
    assert fetched.missing == {"match: counted by the server and not given": 5}


def test_the_lock_file_names_no_registry() -> None:
    lock = (HOME / "package-lock.json").read_text("utf-8")
    assert "://" not in lock
    assert '"integrity"' in lock
