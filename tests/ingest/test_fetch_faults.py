"""What can go wrong between us and a server, each fault done on a real socket."""

import errno
import os
import random
import resource
import time
import zlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import LimitError
from ingest.fhir_server import fetch_fhir
from ingest.origins import ForeignOriginError, OutOfReachError, SourceError
from ingest.patience import Patience
from tests.servers.child import die_at, kill_after
from tests.servers.faults import Answer, Cut, Drop, Fault, Redirect, Slow, Status, Torn
from tests.servers.fetches import landed_keys, quick
from tests.servers.fhir import FhirServer, Habits, fhir_server
from tests.servers.ward import note, ward

TYPES = ["Patient", "Encounter", "Condition", "MedicationRequest", "Observation"]


def fetch(server: FhirServer, into: Path, **options: Any) -> Any:
    patience, _ = quick()
    use = {"patients": ["p1", "p2"], "types": TYPES, "patience": patience, "workers": 1}
    return fetch_fhir(server.url, into, **{**use, **options})


def once(server: FhirServer) -> Counter[str]:
    return Counter(dict.fromkeys(server.all(), 1))


@pytest.mark.parametrize(
    "fault",
    [Status(429), Status(500), Status(503), Status(520), Drop(), Cut(0.5), Cut(0.0), Torn()],
    ids=["429", "500", "503", "520", "dropped", "cut", "cut at once", "torn JSON"],
)
def test_a_fault_that_passes_loses_nothing_and_doubles_nothing(
    tmp_path: Path, fault: Fault
) -> None:
    patience, waits = quick()
    with fhir_server() as server:
        server.put(*ward(2))
        server.layer.misbehave("everything", 1, 3, 4, fault=fault)
        fetched = fetch(server, tmp_path, patience=patience)
        assert landed_keys(fetched) == once(server)
    assert len(waits) == 3
    assert 0.5 <= waits[0] <= 1.0  # the second failure in a row waits for longer
    assert 1.0 <= waits[2] <= 2.0


def test_retry_after_is_what_is_waited_for_in_seconds_or_until_a_date(tmp_path: Path) -> None:
    patience, waits = quick()
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    with fhir_server() as server:
        server.put(*ward(1))
        server.layer.misbehave("everything", 1, fault=Status(429, retry_after="42"))
        server.layer.misbehave("everything", 2, fault=Status(503, retry_after=then))
        fetch(server, tmp_path, patients=["p1"], patience=patience)
    assert 42 <= waits[0] <= 43
    assert 50 <= waits[1] <= 61


def test_patience_ends_and_the_next_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with fhir_server() as server:
        server.put(*ward(2))
        server.layer.misbehave("everything", *range(3, 20), fault=Status(500))
        patience, waits = quick(attempts=4)
        with pytest.raises(OutOfReachError, match=r"answered 500 .* 4 times; what landed is kept"):
            fetch(server, tmp_path, patience=patience)
        assert len(waits) == 3
        assert not list(tmp_path.glob("*.ndjson"))
        server.layer.plan.clear()
        asked = len(server.layer.seen("everything"))
        fetched = fetch(server, tmp_path)
        assert landed_keys(fetched) == once(server)
        pages = 2 * 4  # two patients of ten resources each, three a page, less what had landed
        assert len(server.layer.seen("everything")) - asked == pages - 2


@pytest.mark.parametrize("code", [400, 501, 505])
def test_what_another_attempt_cannot_mend_is_asked_for_once(tmp_path: Path, code: int) -> None:
    with fhir_server() as server:
        server.put(*ward(1))
        server.layer.misbehave("everything", fault=Status(code))
        with pytest.raises(SourceError, match=f"answered {code}"):
            fetch(server, tmp_path)
        assert len(server.layer.seen("everything")) == 1


def test_a_wait_over_the_limit_is_not_waited_for(tmp_path: Path) -> None:
    patience, waits = quick()
    with fhir_server() as server:
        server.put(*ward(1))
        server.layer.misbehave("everything", fault=Status(429, retry_after="86400"))
        with pytest.raises(OutOfReachError, match=r"asks to wait 864\d\d s .* limit of 300 s"):
            fetch(server, tmp_path, patience=patience)
    assert waits == []


def test_a_server_that_says_nothing_is_asked_again(tmp_path: Path) -> None:
    patience, waits = quick(timeout_s=0.3)
    with fhir_server() as server:
        server.put(*ward(1))
        server.layer.misbehave("everything", 1, fault=Slow(1.0))
        fetched = fetch(server, tmp_path, patients=["p1"], patience=patience)
        assert landed_keys(fetched) == once(server)
    assert len(waits) == 1


def test_a_server_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    with fhir_server() as server:
        url = server.url
    with pytest.raises(OutOfReachError, match="could not be reached when asked for its Capability"):
        fetch_fhir(url, tmp_path, patience=quick(attempts=2)[0])


def test_next_links_in_a_ring_are_refused(tmp_path: Path) -> None:
    with fhir_server(habits=Habits(ring=True)) as server:
        server.put(*ward(1))
        with pytest.raises(SourceError, match="go round in a ring"):
            fetch(server, tmp_path, patients=["p1"])
        assert len(server.layer.seen("everything")) == 5  # the first page twice, under two URLs


def test_a_page_that_comes_for_ever_under_new_links_is_refused(tmp_path: Path) -> None:
    with fhir_server(habits=Habits(endless=True)) as server:
        server.put(*ward(1))
        with pytest.raises(SourceError, match="the same page again and again"):
            fetch(server, tmp_path, patients=["p1"])
        assert len(server.layer.seen("everything")) == 4 + 100


def test_a_next_link_to_another_host_is_refused_and_nothing_is_sent_there(tmp_path: Path) -> None:
    with fhir_server() as other, fhir_server(habits=Habits(next_origin=other.origin)) as server:
        server.put(*ward(1))
        with pytest.raises(ForeignOriginError, match=f"another origin, {other.origin}"):
            fetch(server, tmp_path, patients=["p1"], allow_origins=frozenset([other.origin]))
        assert other.layer.seen() == []


def test_a_redirect_to_another_host_is_refused_and_one_within_is_followed(tmp_path: Path) -> None:
    with fhir_server() as other, fhir_server() as server:
        server.put(*ward(1))
        within = f"{server.url}/Patient/p1/$everything?_count=200"
        server.layer.misbehave("everything", 1, fault=Redirect(within))
        server.layer.misbehave("everything", 3, fault=Redirect(f"{other.url}/Patient/p1"))
        with pytest.raises(ForeignOriginError, match="nothing was sent there"):
            fetch(server, tmp_path, patients=["p1"])
        assert other.layer.seen() == []
        assert len(server.layer.seen("everything")) == 3


def test_redirects_in_a_ring_end(tmp_path: Path) -> None:
    with fhir_server() as server:
        server.layer.misbehave("metadata", fault=Redirect("metadata"))
        with pytest.raises(SourceError, match="redirects in a ring"):
            fetch(server, tmp_path)
        assert len(server.layer.seen()) == 6


def test_an_attachment_elsewhere_is_fetched_only_where_its_origin_is_allowed(
    tmp_path: Path,
) -> None:
    with fhir_server() as other, fhir_server() as server:
        other.attachments["note.txt"] = ("text/plain", b"Stable.")
        server.put(*ward(1), note("doc", "p1", f"{other.origin}/files/note.txt"))
        fetched = fetch(server, tmp_path, patients=["p1"])
        assert fetched.missing == {"attachment: at another origin": 1}
        assert other.layer.seen() == []
        allowed = frozenset([other.origin])
        fetched = fetch(server, tmp_path, patients=["p1"], allow_origins=allowed)
        assert (fetched.missing, fetched.fresh, fetched.landed["Binary"]) == ({}, 1, 1)


def test_an_attachment_that_fails_does_not_end_the_fetch_and_is_tried_again(
    tmp_path: Path,
) -> None:
    with fhir_server() as server:
        server.attachments["a.txt"] = ("text/plain", b"Stable.")
        server.put(*ward(1), note("doc", "p1", "/files/a.txt"), note("odd", "p1", "urn:uuid:1"))
        server.layer.misbehave("attachment", fault=Status(500))
        fetched = fetch(server, tmp_path, patients=["p1"])
        assert fetched.missing == {
            "attachment: answered 500": 1,
            "attachment: cannot be asked for": 1,
        }
        server.layer.always.clear()
        again = fetch(server, tmp_path, patients=["p1"])
        assert again.missing == {"attachment: cannot be asked for": 1}
        assert (again.fresh, again.requests) == (1, 1)


def test_a_next_link_that_has_expired_starts_its_question_anew_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    with fhir_server() as server:
        server.put(*ward(1))
        server.layer.misbehave("everything", 3, fault=Status(410))
        fetched = fetch(server, tmp_path, patients=["p1"])
        assert landed_keys(fetched) == once(server)
        assert len(server.layer.seen("everything")) == 3 + 4


def test_a_full_disk_ends_the_fetch_and_the_next_run_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = os.pwrite

    def full(handle: int, content: bytes, offset: int) -> int:
        written.append(offset)
        if len(written) > 9:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, content[:40], offset)  # and before that, not all at once

    with fhir_server() as server:
        server.put(*ward(2))
        monkeypatch.setattr("os.pwrite", full)
        with pytest.raises(OSError, match="No space left"):
            fetch(server, tmp_path)
        monkeypatch.undo()
        fetched = fetch(server, tmp_path)
        assert landed_keys(fetched) == once(server)
        assert sum(fetched.landed.values()) == len(server.all())


def test_json_of_any_depth_and_pages_of_any_size_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.fhir_server.PAGE_CAP_BYTES", 1 << 20)
    with fhir_server() as server:
        server.put({"resourceType": "Patient", "id": "p1", "text": "x" * (2 << 20)})
        with pytest.raises(LimitError, match="over the cap of 1 MiB"):
            fetch(server, tmp_path / "a", patients=["p1"])
        deep = b'{"resourceType": "Bundle", "entry": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        server.layer.misbehave("everything", fault=Answer(deep))
        with pytest.raises(SourceError, match="nesting beyond any limit"):
            fetch(server, tmp_path / "b", patients=["p1"])


def test_a_page_that_unpacks_to_gigabytes_is_refused_within_its_cap(tmp_path: Path) -> None:
    packer, block = zlib.compressobj(wbits=31), b" " * (1 << 20)
    first, again = (packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    bomb = first + again * 4095
    assert len(bomb) < 5 << 20
    with fhir_server() as server:
        server.layer.misbehave("metadata", fault=Answer(bomb, "gzip"))
        began, most = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(LimitError, match="over the cap of 128 MiB"):
            fetch(server, tmp_path)
        assert time.monotonic() - began < 2
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most < 300 << 10  # kB
        server.layer.misbehave("metadata", fault=Answer(b"", "br"))
        with pytest.raises(SourceError, match="in a way that it was not asked for"):
            fetch(server, tmp_path)


@pytest.mark.parametrize("moments", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_a_fetch_that_is_killed_goes_on_with_nothing_doubled_and_nothing_missing(
    tmp_path: Path, moments: int
) -> None:
    chance = random.Random(7)
    cohort = [f"p{number}" for number in range(1, 4 * moments)]
    with fhir_server() as server:
        server.put(*ward(len(cohort) - 2))  # two are unknown
        server.attachments["a.txt"] = ("text/plain", b"Stable.")
        server.put(note("doc", "p1", "/files/a.txt"))
        server.layer.misbehave("everything", fault=Slow(0.01))
        options = {"patients": cohort, "types": TYPES, "workers": 2}
        pages = sum(-(-len(server.compartment(name)) // 3) or 1 for name in cohort)
        killed = 0
        for _ in range(moments):
            use = {"call": "fetch_fhir", "url": server.url, "into": tmp_path, "options": options}
            use["later_s"] = chance.uniform(0, 0.03)
            killed += kill_after(server.layer, chance.randint(1, 4), "everything", **use)
        assert killed >= moments * 0.8
        fetched = fetch_fhir(server.url, tmp_path, patience=Patience(timeout_s=10), **options)
        assert fetched.missing == {"patient: answered 404": 2}
        expected = once(server)
        keys = landed_keys(fetched)
        binary = {key for key in keys if key.startswith("Binary/")}
        assert len(binary) == 1
        assert keys == expected + Counter(binary)
        # What landed was not asked for again: each kill cost what its two workers had in flight.
        assert pages <= len(server.layer.seen("everything")) <= pages + 2 * moments
        assert len(server.layer.seen("attachment")) == 1


@pytest.mark.parametrize(("step", "number"), [("fsync", 1), ("fsync", 7), ("truncate", 2)])
def test_a_fetch_that_dies_between_its_bytes_and_its_state_leaves_no_trace_of_the_page(
    tmp_path: Path, step: str, number: int
) -> None:
    with fhir_server() as server:
        server.put(*ward(2))
        options = {"patients": ["p1", "p2"], "types": TYPES, "workers": 1}
        use = {"call": "fetch_fhir", "url": server.url, "into": tmp_path, "options": options}
        die_at(step, number, **use)
        if step == "fsync":
            # What was written last is no longer there: the page is now a shorter one.
            for kind in ("Observation", "Patient"):
                server.resources[kind] = dict(list(server.resources[kind].items())[:1])
            server.resources["Encounter"].clear()
        fetched = fetch(server, tmp_path, patients=["p1"])
        keys = landed_keys(fetched)
        assert set(keys.values()) == {1}
        assert {f"{r['resourceType']}/{r['id']}" for r in server.compartment("p1")} <= set(keys)
        assert fetched.landed == Counter(key.partition("/")[0] for key in keys)
