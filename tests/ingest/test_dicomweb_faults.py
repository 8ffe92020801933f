"""What can go wrong between us and a DICOMweb server, each fault done on a real socket."""

import errno
import hashlib
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ingest.dicomweb import Bounds, fetch_dicomweb
from ingest.origins import ForeignOriginError, OutOfReachError, SourceError
from ingest.signing import ClientCredentials
from ingest.study_landing import FetchedStudies
from tests.hospital import ROOT
from tests.servers.dicomweb import DicomHabits, DicomServer, Held, dicom_server
from tests.servers.faults import Answer, Cut, Drop, Fault, Redirect, Slow, Status, Torn
from tests.servers.fetches import quick
from tests.servers.tokens import Tokens

KEPT = "s3cret"


def fetch(server: DicomServer, into: Path, **options: Any) -> FetchedStudies:
    use = {"patience": quick()[0], "workers": 1}
    return fetch_dicomweb(server.url, into, **{**use, **options})


def landed(into: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in into.rglob("*.dcm")}


def named(*held: Held) -> dict[str, bytes]:
    return {f"{hashlib.sha256(one.sop.encode()).hexdigest()}.dcm": one.content for one in held}


def with_token(server: DicomServer, secret: str = KEPT) -> dict[str, Any]:
    auth = ClientCredentials(
        client_id="medweave", secret=secret, token_url=f"{server.origin}/fhir/token"
    )
    return {"auth": auth}


@pytest.mark.parametrize("label", ["studies", "series", "instances", "instance"])
@pytest.mark.parametrize(
    "fault",
    [Status(429), Status(500), Status(503), Status(520), Drop(), Cut(0.5), Torn()],
    ids=["429", "500", "503", "520", "dropped", "cut", "torn"],
)
def test_a_fault_that_passes_loses_nothing_and_doubles_nothing(
    tmp_path: Path, fault: Fault, label: str
) -> None:
    patience, waits = quick()
    with dicom_server() as server:
        films = server.ward(2, 1, 2)
        server.layer.misbehave(label, 1, 2, fault=fault)
        fetched = fetch(server, tmp_path, patience=patience)
    assert landed(tmp_path) == named(*films)
    assert (fetched.fresh, fetched.missing, len(waits)) == (4, {}, 2)


def test_retry_after_is_what_is_waited_for(tmp_path: Path) -> None:
    patience, waits = quick()
    with dicom_server() as server:
        server.ward(1)
        server.layer.misbehave("instance", 2, fault=Status(503, retry_after="42"))
        fetch(server, tmp_path, patience=patience)
    assert 42 <= waits[0] <= 43


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Status(500), "the server went on failing over it"),
        (Cut(0.5), "the server went on failing over it"),
        (Torn(), "the server went on failing over it"),
        (Answer(b"<html>not to be had</html>"), "the server went on failing over it"),
        (Status(404), "answered 404"),
        (Status(406), "answered 406"),
    ],
    ids=["500", "cut", "torn", "HTML", "404", "406"],
)
def test_one_instance_that_cannot_be_had_does_not_keep_the_others(
    tmp_path: Path, fault: Fault, reason: str
) -> None:
    with dicom_server() as server:
        films = server.ward(2)
        attempts = 1 if isinstance(fault, Status) and fault.code < 500 else 3
        numbers = range(3, 3 + attempts)
        server.layer.misbehave("instance", *numbers, fault=fault)
        fetched = fetch(server, tmp_path, patience=quick(attempts=3)[0])
        assert fetched.missing == {f"instance: {reason}": 1}
        assert landed(tmp_path) == named(*films[:2], *films[3:])
        assert not list((tmp_path / ".fetch").glob("*.part"))
        again = fetch(server, tmp_path)
        assert (again.missing, again.fresh) == ({}, 1)
    assert landed(tmp_path) == named(*films)


def test_one_study_that_cannot_be_listed_does_not_keep_the_others(tmp_path: Path) -> None:
    with dicom_server() as server:
        films = server.ward(3)
        server.layer.misbehave("series", 1, 2, 3, fault=Status(500))  # its list and once again
        fetched = fetch(server, tmp_path, patience=quick(attempts=3)[0])
    assert fetched.missing == {"study: the server went on failing over it": 1}
    assert landed(tmp_path) == named(*films[6:])


def test_failing_over_one_after_the_other_ends_the_fetch_and_the_next_run_goes_on(
    tmp_path: Path,
) -> None:
    with dicom_server() as server:
        films = server.ward(2)
        server.layer.misbehave("instance", *range(3, 99), fault=Status(500))
        with pytest.raises(OutOfReachError, match="answered 500 when asked for an instance, 2 ti"):
            fetch(server, tmp_path, patience=quick(attempts=2)[0])
        assert len(server.layer.seen("instance")) == 2 + 5 * 2
        assert landed(tmp_path) == named(*films[:2])
        lists = len(server.layer.seen("series", "instances", "studies"))
        server.layer.plan.clear()
        fetched = fetch(server, tmp_path)
        assert (fetched.fresh, fetched.missing) == (10, {})
        assert len(server.layer.seen("series", "instances", "studies")) == lists
    assert landed(tmp_path) == named(*films)


def test_a_server_that_is_overloaded_for_long_ends_the_fetch_at_once(tmp_path: Path) -> None:
    patience, waits = quick()
    with dicom_server() as server:
        server.ward(2)
        server.layer.misbehave("instance", fault=Status(429, retry_after="86400"))
        with pytest.raises(OutOfReachError, match=r"asks to wait 864\d\d s for an instance"):
            fetch(server, tmp_path, patience=patience)
        assert len(server.layer.seen("instance")) == 1
    assert waits == []


@pytest.mark.parametrize(
    ("habits", "match"),
    [
        (DicomHabits(boundary="another"), "multipart without the boundary that it names|broke off"),
        (DicomHabits(boundary=""), "multipart without a boundary"),
        (DicomHabits(instead="1.2.840.99.1.1.1"), "another instance than was asked for"),
    ],
    ids=["another boundary", "no boundary", "another instance"],
)
def test_answers_that_are_not_what_was_asked_for_do_not_land(
    tmp_path: Path, habits: DicomHabits, match: str
) -> None:
    with dicom_server(habits=habits) as server:
        films = server.ward(2)
        with pytest.raises(OutOfReachError, match=match):
            fetch(server, tmp_path, patience=quick(attempts=2)[0])
    assert landed(tmp_path).items() <= named(films[0]).items()


def test_an_instance_over_the_cap_is_left_and_counted(tmp_path: Path) -> None:
    with dicom_server() as server:
        films = server.ward(1)
        server.film("1", "1", "9", ImageComments="x" * 10_000)
        fetched = fetch(server, tmp_path, bounds=Bounds(instance_bytes=5000))
        assert len(server.layer.seen("instance")) == len(films) + 1  # it is not tried again
    assert fetched.missing == {"instance: over the cap of 5000 bytes": 1}
    assert landed(tmp_path) == named(*films)
    assert not list((tmp_path / ".fetch").glob("*.part"))


def test_a_redirect_to_another_host_is_refused_and_no_token_goes_there(tmp_path: Path) -> None:
    tokens = Tokens(secret=KEPT)
    with dicom_server() as other, dicom_server(tokens=tokens) as server:
        films = server.ward(1)
        other.held.update(server.held)
        place = f"{other.url}/studies/1.2.840.99.1/series/1.2.840.99.1.1/instances"
        server.layer.misbehave("instance", 1, fault=Redirect(f"{place}/1.2.840.99.1.1.1"))
        with pytest.raises(ForeignOriginError, match="nothing was sent there; if it is to be tru"):
            fetch(server, tmp_path, **with_token(server))
        assert other.layer.seen() == []
        server.layer.counts.clear()
        allowed = frozenset([other.origin])
        fetch(server, tmp_path, **with_token(server), allow_origins=allowed)
        assert [asked.token for asked in other.layer.seen()] == [None]
        # A list comes from the server itself, whoever is allowed to give an instance.
        server.layer.misbehave("series", 1, fault=Redirect(f"{other.url}/studies"))
        server.layer.counts.clear()
        with pytest.raises(ForeignOriginError):
            fetch(server, tmp_path, **with_token(server), allow_origins=allowed)
        assert len(other.layer.seen()) == 1
    assert landed(tmp_path) == named(*films)


def test_a_token_that_ends_is_renewed_and_a_client_that_is_unknown_is_refused(
    tmp_path: Path,
) -> None:
    tokens = Tokens(secret=KEPT)
    with dicom_server(tokens=tokens) as server:
        films = server.ward(1)
        server.layer.misbehave("instance", 3, fault=Status(401))
        fetch(server, tmp_path / "a", **with_token(server))
        assert landed(tmp_path / "a") == named(*films)
        assert len(tokens.given) == 2
        with pytest.raises(SourceError, match="invalid_client"):
            fetch(server, tmp_path / "b", **with_token(server, "wrong"))
        with pytest.raises(SourceError, match="answered 401"):
            fetch(server, tmp_path / "c")


def test_no_identifier_reaches_a_message_or_a_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    complaint = Status(400, issue="invalid", diagnostics="1.2.840.99.1 of MRN-777")
    with dicom_server() as server:
        server.ward(6, 1, 1)
        said = []
        for number, fault in enumerate([complaint, Status(500), Drop(), Redirect("ftp://x")]):
            for label in ("studies", "series", "instances", "instance"):
                server.layer.always = {label: fault}
                with pytest.raises(SourceError) as caught:
                    fetch(
                        server,
                        tmp_path / f"{label}{number}",
                        search="PatientID=MRN-777&ModalitiesInStudy=DX",
                        patience=quick(attempts=1)[0],
                    )
                said.append(str(caught.value))
    told = [record.getMessage() for record in caplog.records if "asyncio" not in record.name]
    text = "\n".join([*said, *told])
    assert not [word for word in ("MRN-777", "1.2.840.99", "PatientID") if word in text]


def test_a_full_disk_ends_the_fetch_and_the_next_run_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = os.write

    def full(handle: int, content: bytes) -> int:
        written.append(handle)
        if len(written) > 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, content[:200])  # and before that, not all at once

    with dicom_server() as server:
        films = server.ward(1)
        monkeypatch.setattr("ingest.wado.os.write", full)
        with pytest.raises(OSError, match="No space left"):
            fetch(server, tmp_path)
        monkeypatch.undo()
        assert landed(tmp_path).items() < named(*films).items()
        fetch(server, tmp_path)
    assert landed(tmp_path) == named(*films)


_CHILD = """
import os, signal, sys
from pathlib import Path
from ingest.dicomweb import fetch_dicomweb
real, calls, deadly = os.{step}, [], {number}
def counted(*arguments, **named):
    result = real(*arguments, **named)
    calls.append(1)
    if len(calls) == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
os.{step} = counted
fetch_dicomweb(sys.argv[1], Path(sys.argv[2]), workers={workers})
"""


def child(server: DicomServer, into: Path, **how: Any) -> subprocess.Popen[bytes]:
    code = _CHILD.format(**{"step": "replace", "number": 0, "workers": 1, **how})
    return subprocess.Popen([sys.executable, "-c", code, server.url, str(into)], cwd=ROOT)


@pytest.mark.parametrize("moments", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_a_fetch_that_is_killed_goes_on_and_what_landed_is_not_fetched_again(
    tmp_path: Path, moments: int
) -> None:
    chance = random.Random(7)
    with dicom_server() as server:
        films = server.ward(2 * moments, 2, 2)
        server.layer.misbehave("instance", fault=Slow(0.01))
        killed = 0
        for _ in range(moments):
            before, more = len(server.layer.seen("instance")), chance.randint(1, 4)
            process = child(server, tmp_path, workers=2)
            until = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < until:
                if len(server.layer.seen("instance")) - before >= more:
                    break
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.03))
            killed += process.poll() is None
            process.kill()
            process.wait(20)
            assert landed(tmp_path).items() <= named(*films).items()  # what is there is whole
        assert killed >= 0.8 * moments
        fetched = fetch(server, tmp_path)
        assert fetched.missing == {}
        assert fetched.landed == {"DX": len(films)}
        asked = len(server.layer.seen("instance"))
        assert len(films) <= asked <= len(films) + 2 * moments
    assert landed(tmp_path) == named(*films)
    assert not list((tmp_path / ".fetch").glob("*.part"))


@pytest.mark.parametrize(("step", "number"), [("replace", 2), ("fsync", 2), ("write", 3)])
def test_a_fetch_that_dies_between_its_file_and_its_state_has_each_instance_once(
    tmp_path: Path, step: str, number: int
) -> None:
    with dicom_server() as server:
        films = server.ward(1)
        assert child(server, tmp_path, step=step, number=number).wait(60) == -signal.SIGKILL
        there = landed(tmp_path)
        assert there.items() < named(*films).items()
        fetched = fetch(server, tmp_path)
        paths = Counter(asked.path for asked in server.layer.seen("instance"))
        again = 0 if step == "replace" else 1  # the file that has its name is not asked for again
        assert sum(paths.values()) == len(films) + again
        assert fetched.landed == {"DX": len(films)}
    assert landed(tmp_path) == named(*films)
