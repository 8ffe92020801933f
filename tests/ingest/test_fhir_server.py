"""What lands from a FHIR server that does as it should; what goes wrong is in test_fetch_faults.

Over 400 lines, so that all that can be asked of one server is read in one place.
"""

import json
import logging
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from ingest import errors
from ingest.answers import parse_json
from ingest.errors import StoreError, UsageError
from ingest.fhir_server import fetch_fhir
from ingest.origins import SourceError
from ingest.page_landing import PageLanding
from ingest.pages import decimal, read_page
from tests.ingest.exports import ingested, write_ndjson
from tests.servers.faults import Slow, Status
from tests.servers.fetches import landed_keys, landed_lines, owner_only, quick
from tests.servers.fhir import FhirServer, Habits, fhir_server
from tests.servers.ward import note, ward

PATIENTS = ["p1", "Patient/p2", "urn:mrn|MRN-3"]


def fetch(server: FhirServer, into: Path, **options: Any) -> Any:
    patience, _ = quick()
    return fetch_fhir(server.url, into, **{"patience": patience, **options})


def once(server: FhirServer) -> Counter[str]:
    return Counter(dict.fromkeys(server.all(), 1))


@pytest.mark.parametrize(
    "habits",
    [
        Habits(),
        Habits(everything=False),
        Habits(everything=False, includes=False),
        Habits(twice=True),
        Habits(page_size=1000),
    ],
    ids=["everything", "searches", "no includes", "every page twice", "one page"],
)
def test_each_resource_of_each_patient_lands_once(tmp_path: Path, habits: Habits) -> None:
    with fhir_server(habits=habits) as server:
        server.put(*ward(3))
        fetched = fetch(server, tmp_path, patients=PATIENTS)
        assert landed_keys(fetched) == once(server)
        assert fetched.missing == {}
        assert sum(fetched.landed.values()) == fetched.fresh == len(server.all())


def test_only_the_patients_asked_for_land(tmp_path: Path) -> None:
    with fhir_server() as server:
        server.put(*ward(3))
        fetched = fetch(server, tmp_path / "named", patients=["p2"])
        assert {k for k in landed_keys(fetched) if k.startswith("Patient/")} == {"Patient/p2"}
        found = fetch(server, tmp_path / "found", search="Patient?gender=female")
        assert {k for k in landed_keys(found) if k.startswith("Patient/")} == {
            "Patient/p1",
            "Patient/p3",
        }
        assert found.landed["Observation"] == 10


def test_without_patients_every_supported_type_is_searched(tmp_path: Path) -> None:
    with fhir_server() as server:
        server.put(*ward(2), {"resourceType": "Claim", "id": "not-supported"})
        fetched = fetch(server, tmp_path)
        assert landed_keys(fetched) == once(server) - Counter(["Claim/not-supported"])
        assert "Procedure" in fetched.unasked
        assert "Observation" not in fetched.unasked


def test_a_search_of_another_type_lands_what_it_finds(tmp_path: Path) -> None:
    with fhir_server() as server:
        server.put(*ward(2))
        search = "MedicationRequest?patient=p1&_include=MedicationRequest:medication"
        fetched = fetch(server, tmp_path, search=search)
        assert landed_keys(fetched) == Counter(["MedicationRequest/p1-m", "Medication/drug"])


def asked_for(server: FhirServer, word: str) -> set[tuple[str, str]]:
    """Give type and value of each parameter of a name in the searches that the server saw."""
    return {
        (asked.path.rpartition("/")[2], value)
        for asked in server.layer.seen("search")
        for name, value in parse_qsl(asked.query)
        if name == word
    }


@pytest.mark.parametrize("able", [True, False], ids=["given", "ignored"])
def test_drugs_and_places_are_asked_for_as_includes_and_read_where_they_do_not_come(
    tmp_path: Path, able: bool
) -> None:
    with fhir_server(habits=Habits(everything=False, includes=able)) as server:
        server.put(*ward(1))
        fetched = fetch(server, tmp_path, patients=["p1"])
        assert landed_keys(fetched) == once(server)
        own = {
            ("Encounter", "Encounter:location"),
            ("MedicationRequest", "MedicationRequest:medication"),
        }
        assert asked_for(server, "_include") == own
        assert len(server.layer.seen("read")) == (0 if able else 2)


@pytest.mark.parametrize(
    ("options", "include"),
    [
        ({"patients": ["p1"]}, "Observation:device"),
        ({"patients": ["p1"]}, "_include:iterate=Observation:device"),
        ({"search": "Patient?gender=female"}, "Observation:device"),
        ({"search": "Observation?patient=p1"}, "Observation:device"),
        ({}, "_include=Observation:device"),
        ({"patients": ["p1"]}, "Patient:organization"),
        ({"patients": ["urn:mrn|MRN-1"]}, "Patient:organization"),
        ({"search": "Patient?gender=female"}, "Patient:organization"),
        ({"search": "Patient"}, "Patient:organization"),
    ],
)
def test_an_include_lands_what_nothing_else_would_bring(
    tmp_path: Path, options: dict[str, Any], include: str
) -> None:
    with fhir_server() as server:
        server.put(*ward(1))
        kind, name = include.rpartition("=")[2].split(":")
        for held in server.resources[kind].values():
            held[name] = {"reference": "Device/d"}
        server.put({"resourceType": "Device", "id": "d"})
        assert landed_keys(fetch(server, tmp_path / "without", **options))["Device/d"] == 0
        fetched = fetch(server, tmp_path / "with", include=[include], **options)
        asked = "_include:iterate" if "iterate" in include else "_include"
        assert (kind, f"{kind}:{name}") in asked_for(server, asked)
        if asked == "_include":
            assert landed_keys(fetched)["Device/d"] == 1


def test_includes_backward_are_asked_of_their_type(tmp_path: Path) -> None:
    with fhir_server() as server:
        server.put(*ward(1))
        target = [{"reference": "Observation/p1-o0"}]
        server.put({"resourceType": "Provenance", "id": "v", "target": target})
        backward = "_revinclude=Provenance:target:Observation"
        fetched = fetch(server, tmp_path, patients=["p1"], include=[backward])
        assert landed_keys(fetched)["Provenance/v"] == 1
        asked = [a for a in server.layer.seen("search") if "_revinclude" in a.query]
        assert {a.path for a in asked} == {"/fhir/Observation"}


@pytest.mark.parametrize("workers", [1, 3])
def test_as_many_questions_are_asked_at_a_time_as_there_are_workers(
    tmp_path: Path, workers: int
) -> None:
    with fhir_server(habits=Habits(page_size=100)) as server:
        server.put(*ward(6))
        server.layer.misbehave("everything", fault=Slow(0.2))
        patients = [f"p{number}" for number in range(1, 7)]
        fetched = fetch(server, tmp_path, patients=patients, workers=workers)
        assert landed_keys(fetched) == once(server)
        assert server.layer.most_in_flight == workers


def test_running_twice_sends_nothing_and_adds_nothing(tmp_path: Path) -> None:
    with fhir_server() as server:
        server.put(*ward(2))
        first = fetch(server, tmp_path, patients=["p1", "p2"])
        before = {path: path.read_bytes() for path in first.files}
        again = fetch(server, tmp_path, patients=["p1", "p2"])
        assert (again.requests, again.fresh) == (0, 0)
        assert {path: path.read_bytes() for path in again.files} == before
        assert (again.landed, again.as_of) == (first.landed, first.as_of)


@pytest.mark.parametrize("everything", [True, False], ids=["everything", "searches"])
def test_since_brings_only_what_changed_and_into_files_of_its_own(
    tmp_path: Path, everything: bool
) -> None:
    with fhir_server(habits=Habits(everything=everything)) as server:
        server.put(*ward(1))
        first = fetch(server, tmp_path, patients=["p1"])
        amended = {**server.resources["Observation"]["p1-o1"], "status": "amended"}
        server.put({**amended, "meta": {"lastUpdated": "2024-01-01T00:00:00Z"}})
        since = datetime(2023, 1, 1, tzinfo=UTC)
        again = fetch(server, tmp_path, patients=["p1"], since=since)
        assert again.fresh == 1
        assert set(again.files) - set(first.files) == {tmp_path / "Observation-0002.ndjson"}
        assert landed_keys(again)["Observation/p1-o1"] == 2
        assert again.missing == {}


@pytest.mark.parametrize("everything", [True, False], ids=["everything", "searches"])
def test_who_belongs_to_a_cohort_does_not_depend_on_since(tmp_path: Path, everything: bool) -> None:
    with fhir_server(habits=Habits(everything=everything)) as server:
        server.put(*ward(2))
        new = {**server.resources["Observation"]["p1-o1"], "id": "new"}
        server.put({**new, "meta": {"lastUpdated": "2024-01-01T00:00:00Z"}})
        since = datetime(2023, 1, 1, tzinfo=UTC)
        fetched = fetch(server, tmp_path, search="Patient?gender=female", since=since)
        assert landed_keys(fetched) == Counter(["Patient/p1", "Observation/new"])


@pytest.mark.parametrize("everything", [True, False], ids=["everything", "searches"])
@pytest.mark.parametrize(
    "cohort",
    [{"search": "Patient?gender=female"}, {"patients": ["urn:mrn|MRN-1", "urn:mrn|MRN-3"]}],
    ids=["search", "identifiers"],
)
def test_who_joins_a_cohort_later_comes_whole_and_the_others_as_they_changed(
    tmp_path: Path, cohort: dict[str, Any], everything: bool
) -> None:
    with fhir_server(habits=Habits(everything=everything)) as server:
        server.put(*ward(1))
        first = fetch(server, tmp_path, **cohort)
        before, asked = once(server), len(server.layer.asked)
        server.put(*ward(3))  # none of it said to be new
        died = {"deceasedDateTime": "2024-06-01", "meta": {"lastUpdated": "2024-06-02T00:00:00Z"}}
        server.put({**server.resources["Patient"]["p1"], **died})
        for _ in range(2):  # the second time, nothing is left to ask
            again = fetch(server, tmp_path, **cohort, since=first.as_of)
            third = Counter(key for key in once(server) if "/p3" in key)
            assert len(third) == 9
            assert landed_keys(again) == before + third + Counter(["Patient/p1"])
        queries = [a for a in server.layer.asked[asked:] if "p1" in a.path + a.query]
        assert queries
        assert all("_since" in a.query or "_lastUpdated" in a.query for a in queries)
        asked = len(server.layer.asked)
        fetch(server, tmp_path, **cohort, since=datetime(2024, 7, 1, tzinfo=UTC))
        queries = [a for a in server.layer.asked[asked:] if "p3" in a.path + a.query]
        assert queries
        assert all("_since" in a.query or "_lastUpdated" in a.query for a in queries)


def test_what_is_fetched_gives_the_same_store_as_the_file_it_came_from(tmp_path: Path) -> None:
    with fhir_server() as server:
        server.put(*ward(3), note("doc", "p1", "Binary/b"), note("b", "", "", "Clear lungs."))
        fetched = fetch(server, tmp_path / "fetched", patients=["p1", "p2", "p3"])
        direct = write_ndjson(tmp_path / "direct" / "all.ndjson", *server.all().values())
    reports = [
        ingested(tmp_path / "one", *fetched.files),
        ingested(tmp_path / "two", direct),
    ]
    for key in ("events", "subjects", "records"):
        assert reports[0].get(key) == reports[1].get(key), key


@pytest.mark.parametrize("raw", [False, True], ids=["as FHIR", "as content"])
def test_a_binary_that_a_document_refers_to_lands_and_is_its_note(
    tmp_path: Path, raw: bool
) -> None:
    with fhir_server(habits=Habits(raw_binaries=raw, everything=False)) as server:
        server.put(*ward(1), note("doc", "p1", "Binary/b"))
        binary = note("b", "", "", "No effusion.")
        server.put({**binary, "content": b"No effusion."})
        fetched = fetch(server, tmp_path / "in", patients=["p1"])
    assert landed_keys(fetched)["Binary/b"] == 1
    report = ingested(tmp_path, *fetched.files)
    assert "No effusion." in notes_of(tmp_path / "store"), report


def test_an_attachment_lands_as_a_binary_that_its_document_finds(tmp_path: Path) -> None:
    with fhir_server() as server:
        server.attachments["letter.html"] = ("text/html", b"<p>Old <b>infarct</b>.</p>")
        server.put(
            *ward(1), note("doc", "p1", f"{server.origin}/files/letter.html", kind="text/html")
        )
        server.put(note("lost", "p1", "/files/gone.txt"))
        fetched = fetch(server, tmp_path / "in", patients=["p1"])
    assert fetched.missing == {"attachment: answered 404": 1}
    ingested(tmp_path, *fetched.files)
    assert "Old infarct." in notes_of(tmp_path / "store")


def notes_of(store: Path) -> str:
    import pyarrow.parquet as pq

    texts = [pq.read_table(p)["text_value"].to_pylist() for p in store.glob("data/**/*.parquet")]
    return "\n".join(text for part in texts for text in part if text)


def test_drugs_refer_to_drugs_and_all_are_followed(tmp_path: Path) -> None:
    with fhir_server(habits=Habits(everything=False)) as server:
        server.put(*ward(1))
        part = {"itemReference": {"reference": f"{server.url}/Medication/part/_history/3"}}
        server.put({"resourceType": "Medication", "id": "drug", "ingredient": [part]})
        server.put({"resourceType": "Medication", "id": "part"})
        fetched = fetch(server, tmp_path, patients=["p1"])
        assert landed_keys(fetched) == once(server)


def test_an_outcome_is_counted_and_does_not_land(tmp_path: Path) -> None:
    with fhir_server() as server:
        server.put(*ward(2))
        fetched = fetch(server, tmp_path, patients=["p1", "p2"])
    assert fetched.outcomes == {"information": 2}
    assert not [n for n in landed_lines(fetched) if n["resourceType"] == "OperationOutcome"]


def test_patients_who_are_unknown_are_counted_and_one_who_is_gone_is_deleted(
    tmp_path: Path,
) -> None:
    with fhir_server() as server:
        server.put(*ward(1))
        server.gone.add("Patient/p9")
        fetched = fetch(server, tmp_path / "in", patients=["p1", "p8", "p9"])
    assert fetched.missing == {"patient: answered 404": 1}
    assert fetched.landed["deleted"] == 1
    old = write_ndjson(tmp_path / "a" / "Patient.ndjson", {"resourceType": "Patient", "id": "p9"})
    ingested(tmp_path, old)
    report = ingested(tmp_path, *fetched.files)
    assert "deleted" in json.dumps(report)


def test_a_server_that_knows_none_of_the_patients_is_an_error(tmp_path: Path) -> None:
    with fhir_server() as server, pytest.raises(SourceError, match="no patient that was asked for"):
        fetch(server, tmp_path, patients=["p8", "p9"])


def test_fewer_matches_than_the_server_counts_are_reported(tmp_path: Path) -> None:
    with fhir_server(habits=Habits(next_links=False, everything=False)) as server:
        server.put(*ward(1, observations=5))
        fetched = fetch(server, tmp_path, patients=["p1"])
    assert fetched.landed["Observation"] == 3
    assert fetched.missing == {"match: counted by the server and not given": 2}


def test_numbers_keep_their_digits_and_full_urls_that_say_more_are_kept(tmp_path: Path) -> None:
    page = (
        '{"resourceType": "Bundle", "type": "searchset", "entry": ['
        '{"fullUrl": "urn:uuid:1-2", "resource": {"resourceType": "Patient"}},'
        '{"fullUrl": "http://elsewhere/fhir/Patient/7", "resource": '
        '{"resourceType": "Patient", "id": "7", "x": [1.50, 1e400, 3.14159265358979323846, 5]}}]}'
    )
    lines = dict(enumerate(read_page(parse_json(page.encode(), "", decimal), "b/", "").lines))
    assert lines[1][1].endswith(b'"x":[1.50,1e400,3.14159265358979323846,5]}')
    assert json.loads(lines[0][1])["entry"][0]["fullUrl"] == "urn:uuid:1-2"


def test_what_lands_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with fhir_server() as server:
            server.put(*ward(1), note("doc", "p1", "Binary/none"))
            fetch(server, tmp_path / "in", patients=["p1"])
    finally:
        os.umask(before)
    assert owner_only(tmp_path / "in")


def test_no_error_and_no_log_names_a_patient(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with fhir_server() as server:
        server.put(*ward(1))
        problem = Status(400, issue="processing", diagnostics="Erika Mustermann, MRN-1")
        server.layer.misbehave("everything", fault=problem)
        with pytest.raises(SourceError) as caught:
            fetch(server, tmp_path, patients=["p1", "urn:mrn|MRN-1"])
    assert "answered 400 (processing) when asked for a page of Patient/$everything" in str(
        caught.value
    )
    ours = [r.getMessage() for r in caplog.records if r.name.startswith(("httpx", "httpcore"))]
    for told in (str(caught.value), *ours):
        for secret in ("p1", "MRN-1", "Erika", "127.0.0.1/"):
            assert secret not in told


def test_wishes_that_cannot_be_are_refused(tmp_path: Path) -> None:
    for options, message in (
        ({"patients": ["1"], "search": "Patient"}, "exclude each other"),
        ({"patients": ["1", "Erika Mustermann"]}, "patient 2 is neither an id nor"),
        ({"search": "http://elsewhere/Patient?x"}, "relative to the server"),
        ({"include": ["medication"]}, "'medication' is no include"),
        (
            {"include": ["_revinclude=Provenance:target"]},
            "write _revinclude=Provenance:target:Type",
        ),
        ({"include": ["Claim:item"]}, "'Claim:item' goes with a search of Claim, and none is made"),
        ({"include": ["Binary:x"], "types": ["Binary"]}, "goes with a search of Binary"),
        ({"include": ["Medication:form"], "patients": ["1"]}, "goes with a search of Medication"),
        (
            {"include": ["Observation:device"], "search": "Encounter?patient=1"},
            "goes with a search of Observation",
        ),
        (
            {"include": ["Patient:organization"], "patients": ["1"], "types": ["Condition"]},
            "goes with a search of Patient",
        ),
        ({"since": datetime(2024, 1, 1)}, "needs a time zone"),  # noqa: DTZ001
    ):
        with pytest.raises(UsageError, match=message):
            fetch_fhir("https://example.org/fhir", tmp_path, **options)
    for url in ("ftp://example.org", "https://me:secret@example.org/fhir", "https://x.org/?a=b"):
        with pytest.raises(UsageError) as caught:
            fetch_fhir(url, tmp_path)
        assert "secret" not in str(caught.value)


def test_a_servers_trouble_has_an_exit_code_of_its_own() -> None:
    known = [getattr(errors, name) for name in errors.__all__]
    assert SourceError.exit_code not in {getattr(it, "exit_code", it) for it in known}


def test_what_is_no_fhir_server_is_told_so(tmp_path: Path) -> None:
    with fhir_server() as server, pytest.raises(SourceError, match="answered 404"):
        fetch_fhir(server.origin, tmp_path, patience=quick()[0])


def test_two_fetches_into_one_directory_and_another_server_are_refused(tmp_path: Path) -> None:
    with fhir_server() as server:
        server.put(*ward(1))
        fetch(server, tmp_path, patients=["p1"])
        with PageLanding(tmp_path, f"{server.url}/"), pytest.raises(StoreError, match="at work on"):
            fetch(server, tmp_path, patients=["p1"])
    with pytest.raises(UsageError, match="what another server gave"):
        fetch_fhir("https://example.org/fhir", tmp_path)
