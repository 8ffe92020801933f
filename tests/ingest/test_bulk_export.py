"""Bulk Data export, against a server that does it and that fails in every way it can."""

import gzip
import json
import random
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ingest.bulk_export import export_bulk
from ingest.errors import LimitError, UsageError
from ingest.origins import ForeignOriginError, OutOfReachError, SourceError
from ingest.signing import ClientCredentials
from tests.ingest.exports import ingested, write_ndjson
from tests.servers.bulk import TRANSACTION_TIME
from tests.servers.child import kill_after
from tests.servers.faults import Answer, Cut, Drop, Fault, Slow, Status, Torn
from tests.servers.fetches import landed_keys, landed_lines, owner_only, quick
from tests.servers.fhir import FhirServer, Habits, fhir_server
from tests.servers.tokens import Tokens
from tests.servers.ward import note, ward

SHARED = "s3cret"
SECRET = ClientCredentials(client_id="medweave", secret=SHARED)


def export(server: FhirServer, into: Path, **options: Any) -> Any:
    return export_bulk(server.url, into, **{"patience": quick()[0], "workers": 1, **options})


def once(server: FhirServer) -> Counter[str]:
    return Counter(dict.fromkeys(server.all(), 1))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("level", ["system", "patient", "group/ward-7"])
def test_an_export_lands_whole_and_once_at_each_level(
    tmp_path: Path, level: str, packed: bool
) -> None:
    with fhir_server(habits=Habits(gzip=packed)) as server:
        server.put(*ward(3))
        fetched = export(server, tmp_path, level=level, workers=3)
        assert landed_keys(fetched) == once(server)
        assert fetched.as_of == datetime.fromisoformat(TRANSACTION_TIME)
        assert {job.level for job in server.jobs.values()} == set()  # deleted when it was done
        asked = server.layer.seen("export")[0]
        assert asked.headers["prefer"] == "respond-async"
        path = {"system": "", "patient": "/Patient", "group/ward-7": "/Group/ward-7"}[level]
        assert asked.path == f"/fhir{path}/$export"
    assert all(path.name.endswith(".gz") is packed for path in fetched.files)
    assert owner_only(tmp_path)


def test_polling_waits_as_long_as_the_server_asks(tmp_path: Path) -> None:
    patience, waits = quick()
    with fhir_server(habits=Habits(export_polls=5)) as server:
        server.put(*ward(1))
        export(server, tmp_path, patience=patience)
    assert waits == [7.0] * 5


def test_polling_ends_at_its_limit_and_the_next_run_waits_on(tmp_path: Path) -> None:
    with fhir_server(habits=Habits(export_polls=12)) as server:
        server.put(*ward(1))
        with pytest.raises(SourceError, match="has not finished its export after 70 s"):
            export(server, tmp_path, patience=quick(longest_export_s=69)[0])
        fetched = export(server, tmp_path)
        assert landed_keys(fetched) == once(server)
        assert len(server.layer.seen("export")) == 1


def test_running_twice_sends_nothing_and_another_export_adds_files(tmp_path: Path) -> None:
    with fhir_server() as server:
        server.put(*ward(1))
        first = export(server, tmp_path, types=["Patient", "Condition"])
        assert set(first.landed) == {"Patient", "Condition"}
        again = export(server, tmp_path, types=["Condition", "Patient"])
        assert (again.requests, again.fresh, again.files) == (0, 0, first.files)
        changed = {"lastUpdated": "2024-06-01T00:00:00Z"}
        server.put({**server.resources["Patient"]["p1"], "meta": changed})
        later = export(server, tmp_path, types=["Patient"], since=first.as_of)
        assert later.fresh == 1
        assert set(later.files) - set(first.files) == {tmp_path / "Patient-0002.ndjson"}
        queries = [asked.query for asked in server.layer.seen("export")]
        assert queries[0] == "_type=Condition,Patient"
        assert queries[1] == "_type=Patient&_since=2024-05-06T08%3A00%3A00%2B00%3A00"


def test_deleted_resources_are_deleted_at_the_time_of_the_export(tmp_path: Path) -> None:
    old = [p for p in ward(1) if p["id"] in ("p1", "p1-c", "p1-o0")]
    for resource in old:
        resource["meta"] = {"lastUpdated": "2024-05-01T00:00:00Z"}
    with fhir_server() as server:
        server.put(*ward(1))
        del server.resources["Condition"]["p1-c"]
        server.gone |= {"Condition/p1-c", "Observation/p1-o0"}
        # Deleted before the export, and made anew after it was begun.
        anew = {**old[-1], "meta": {"lastUpdated": "2024-05-07T00:00:00Z"}}
        server.put(anew)
        fetched = export(server, tmp_path / "in")
    bundle = json.loads((tmp_path / "in" / "deleted-0001.ndjson").read_text("utf-8"))
    assert {e["response"]["lastModified"] for e in bundle["entry"]} == {TRANSACTION_TIME}
    assert fetched.outcomes == {"warning": 1}
    ingested(tmp_path, write_ndjson(tmp_path / "old.ndjson", *old))
    report = ingested(tmp_path, *fetched.files)
    files = report["files"]
    assert files["old.ndjson"]["deleted"] == 1  # the condition; the observation is superseded
    assert files["old.ndjson"]["superseded"] >= 1


@pytest.mark.parametrize("label", ["export", "status", "file"])
@pytest.mark.parametrize(
    "fault",
    [Status(429, retry_after="3"), Status(503), Status(520), Drop()],
    ids=["429", "503", "520", "dropped"],
)
def test_a_fault_that_passes_loses_nothing_and_doubles_nothing(
    tmp_path: Path, label: str, fault: Fault
) -> None:
    with fhir_server() as server:
        server.put(*ward(2))
        server.layer.misbehave(label, 1, 2, fault=fault)
        fetched = export(server, tmp_path)
        assert landed_keys(fetched) == once(server)


@pytest.mark.parametrize("workers", [1, 3])
def test_as_many_files_are_downloaded_at_a_time_as_there_are_workers(
    tmp_path: Path, workers: int
) -> None:
    with fhir_server(habits=Habits(export_polls=0)) as server:
        server.put(*ward(4))
        server.layer.misbehave("file", fault=Slow(0.2))
        fetched = export(server, tmp_path, workers=workers)
        assert landed_keys(fetched) == once(server)
        assert server.layer.most_in_flight == workers


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_download_that_breaks_off_goes_on_where_it_broke(tmp_path: Path, packed: bool) -> None:
    with fhir_server(habits=Habits(gzip=packed)) as server:
        server.put(*ward(1, observations=400))
        server.layer.misbehave("file", 1, 2, 3, fault=Cut(0.5))
        fetched = export(server, tmp_path, types=["Observation"])
        assert landed_keys(fetched) == once_of(server, "Observation")
        ranges = [asked.headers.get("range") for asked in server.layer.seen("file")]
    begins = [int(r.removeprefix("bytes=").rstrip("-")) for r in ranges[1:4] if r]
    assert ranges[0] is None
    assert len(begins) == 3
    assert begins == sorted(set(begins))


@pytest.mark.parametrize("fault", [Cut(0.5), Torn()], ids=["cut", "torn"])
def test_without_ranges_what_breaks_off_is_fetched_again(tmp_path: Path, fault: Fault) -> None:
    with fhir_server(habits=Habits(ranges=False)) as server:
        server.put(*ward(2))
        server.layer.misbehave("file", 2, 3, fault=fault)
        fetched = export(server, tmp_path)
        assert landed_keys(fetched) == once(server)
        assert not [asked for asked in server.layer.seen("file") if "range" in asked.headers]


def test_a_file_that_always_breaks_off_at_the_same_byte_is_given_up(tmp_path: Path) -> None:
    with fhir_server(habits=Habits(ranges=False)) as server:
        server.put(*ward(1))
        server.layer.misbehave("file", fault=Cut(0.5))
        with pytest.raises(OutOfReachError, match="dropped the connection when asked for a file"):
            export(server, tmp_path)
        assert len(server.layer.seen("file")) == 6


def once_of(server: FhirServer, kind: str) -> Counter[str]:
    return Counter({f"{kind}/{name}": 1 for name in server.resources[kind]})


def test_fewer_lines_than_the_manifest_counts_are_fetched_again(tmp_path: Path) -> None:
    with fhir_server(habits=Habits(ranges=False)) as server:
        server.put(*ward(1))
        short = b'{"resourceType": "Observation", "id": "p1-o0"}\n'
        server.layer.misbehave("file", 1, fault=Answer(short))
        fetched = export(server, tmp_path, types=["Observation"])
        assert landed_keys(fetched) == once_of(server, "Observation")


@pytest.mark.parametrize(("code", "word"), [(404, "expired"), (410, "expired"), (500, "failed")])
def test_a_job_that_is_no_more_is_told_so_and_the_next_run_begins_anew(
    tmp_path: Path, code: int, word: str
) -> None:
    with fhir_server() as server:
        server.put(*ward(1))
        server.layer.misbehave("status", *range(2, 8), fault=Status(code))
        with pytest.raises(SourceError, match=rf"answered {code} .*{word}.* begin a new one"):
            export(server, tmp_path)
        server.layer.plan.clear()
        fetched = export(server, tmp_path)
        assert landed_keys(fetched) == once(server)
        assert len(server.layer.seen("export")) == 2


def test_a_job_is_still_there_where_the_line_to_it_is_not(tmp_path: Path) -> None:
    with fhir_server() as server:
        server.put(*ward(1))
        server.layer.misbehave("status", *range(2, 8), fault=Status(520))
        with pytest.raises(OutOfReachError, match="answered 520"):
            export(server, tmp_path)
        fetched = export(server, tmp_path)
        assert landed_keys(fetched) == once(server)
        assert len(server.layer.seen("export")) == 1


def test_files_that_have_expired_are_told_so_and_none_of_the_old_export_stays(
    tmp_path: Path,
) -> None:
    with fhir_server() as server:
        server.put(*ward(2))
        server.layer.misbehave("file", 4, fault=Status(404))
        with pytest.raises(SourceError, match="the export has expired or failed"):
            export(server, tmp_path)
        left = {path.name for path in (tmp_path / ".fetch").iterdir()}
        assert left <= {"lock", "state.sqlite", "state.sqlite-wal", "state.sqlite-shm"}
        fetched = export(server, tmp_path)
        assert landed_keys(fetched) == once(server)
        assert sum(fetched.landed.values()) == len(server.all())


def test_files_elsewhere_are_refused_unless_allowed_and_get_no_token(tmp_path: Path) -> None:
    with (
        fhir_server() as other,
        fhir_server(tokens=Tokens(secret=SHARED), habits=Habits(requires_token=False)) as server,
    ):
        server.put(*ward(1))
        server.habits.file_origin = other.origin
        with pytest.raises(ForeignOriginError, match=f"allow {other.origin} by name"):
            export(server, tmp_path, auth=SECRET)
        assert other.layer.seen() == []
        lines = b"".join(json.dumps(r).encode() + b"\n" for r in ward(1, observations=0))
        other.layer.misbehave("file", fault=Answer(lines))
        export(server, tmp_path, auth=SECRET, allow_origins=frozenset([other.origin]))
        assert {asked.token for asked in other.layer.seen()} == {None}
        assert all(asked.token for asked in server.layer.seen("export", "status", "delete"))


@pytest.mark.parametrize("required", [True, False])
def test_files_are_asked_with_a_token_only_where_the_manifest_says_so(
    tmp_path: Path, required: bool
) -> None:
    given = Tokens(secret=SHARED)
    with fhir_server(tokens=given, habits=Habits(requires_token=required)) as server:
        server.put(*ward(1))
        if required:
            export(server, tmp_path, auth=SECRET)
        else:
            with pytest.raises(SourceError, match="answered 401 when asked for a file"):
                export(server, tmp_path, auth=SECRET)
        assert {bool(asked.token) for asked in server.layer.seen("file")} == {required}


def test_what_an_export_refers_to_and_lacks_is_fetched(tmp_path: Path) -> None:
    with fhir_server() as server:
        server.attachments["a.txt"] = ("text/plain", b"Stable.")
        server.put(*ward(2), note("doc", "p1", f"{server.origin}/files/a.txt"))
        types = ["Patient", "Encounter", "MedicationRequest", "DocumentReference"]
        fetched = export(server, tmp_path, types=types)
        keys = landed_keys(fetched)
        assert keys["Medication/drug"] == keys["Location/ward"] == fetched.landed["Binary"] == 1
        assert len(server.layer.seen("read")) == 2


def test_a_file_that_unpacks_to_one_endless_line_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.bulk_download._LINE_CAP_BYTES", 1 << 20)
    with fhir_server() as server:
        server.put(*ward(1))
        server.layer.misbehave("file", fault=Answer(gzip.compress(b" " * (8 << 20)), "gzip"))
        with pytest.raises(LimitError, match="a line of the export is over the cap of 1 MiB"):
            export(server, tmp_path)


def test_a_manifest_that_breaks_the_standard_and_a_level_that_is_none_are_refused(
    tmp_path: Path,
) -> None:
    with fhir_server() as server:
        server.put(*ward(1))
        server.layer.misbehave("status", fault=Answer(b'{"output": [{"url": "x"}]}'))
        with pytest.raises(SourceError, match="breaks the standard"):
            export(server, tmp_path)
        server.layer.misbehave("export", fault=Answer(b"{}"))
        with pytest.raises(SourceError, match=r"answered 200 .* and not 202"):
            export(server, tmp_path, types=["Patient"])
        with pytest.raises(UsageError, match="group/ID; got 'ward'"):
            export(server, tmp_path, level="ward")
        with pytest.raises(UsageError, match="'patient' is no resource type"):
            export(server, tmp_path, types=["patient"])
        with pytest.raises(UsageError, match="needs a time zone"):
            export(server, tmp_path, since=datetime(2024, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("moments", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_an_export_that_is_killed_goes_on_with_nothing_doubled_and_nothing_missing(
    tmp_path: Path, moments: int
) -> None:
    chance = random.Random(7)
    with fhir_server(habits=Habits(export_polls=0)) as server:
        server.put(*ward(4))
        for number in range(moments * 3):
            # One a file: the more files, the more moments.
            kind = f"Kind{chr(65 + number // 26)}{chr(65 + number % 26)}"
            server.put({"resourceType": kind, "id": "one"})
        server.layer.misbehave("file", fault=Slow(0.02))
        killed = 0
        for moment in range(moments):
            label = "status" if moment == 0 else "file"
            use = {"call": "export_bulk", "url": server.url, "into": tmp_path}
            use["later_s"] = chance.uniform(0, 0.05)
            least = 1 if label == "status" else chance.randint(1, 3)
            options = {"workers": 2}
            killed += kill_after(server.layer, least, label, options=options, **use)
        assert killed >= moments * 0.8
        fetched = export(server, tmp_path, workers=2)
        assert landed_keys(fetched) == once(server)
        assert len(server.layer.seen("export")) == 1
        files = len(landed_lines(fetched)) and len(fetched.files)
        assert files <= len(server.layer.seen("file")) <= files + 2 * moments
