"""What the next fetch asks for: whatever changed in between lands, whoever asked what before."""

import json
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from ingest.build import ingest
from ingest.errors import InputError, UsageError
from ingest.fhir_server import fetch_fhir, server_time
from ingest.landing import RawZone
from ingest.origins import SourceError
from ingest.remote import Remote, answered_until, land_images, land_records, not_fetched
from serve.cli import main
from tests.servers.faults import Answer, Status
from tests.servers.fhir import FhirServer, Habits, fhir_server

COHORT = {"search": "Patient?gender=female"}


@pytest.fixture(params=[True, False], ids=["everything", "searches"])
def server(request: pytest.FixtureRequest) -> Iterator[FhirServer]:
    """Serve A, and an observation of hers; each test sets the clock."""
    with fhir_server(habits=Habits(everything=request.param, export_polls=0)) as server:
        put(server, 1, patient("A"), observation("a1", "A"))
        yield server


@pytest.fixture
def zone(tmp_path: Path) -> RawZone:
    return RawZone(tmp_path / "zone")


def day(number: int) -> str:
    return f"2024-01-{number:02}T00:00:00+00:00"


def put(server: FhirServer, number: int, *resources: dict[str, Any]) -> None:
    """Write resources on a day."""
    server.put(*({**r, "meta": {"lastUpdated": day(number)}} for r in resources))


def patient(name: str, gender: str = "female") -> dict[str, Any]:
    return {"resourceType": "Patient", "id": name, "gender": gender}


def observation(name: str, of: str) -> dict[str, Any]:
    subject = {"reference": f"Patient/{of}"}
    return {"resourceType": "Observation", "id": name, "status": "final", "subject": subject}


def land(zone: RawZone, server: FhirServer, number: int, **wishes: Any) -> list[str]:
    """Fetch on a day; give what was asked."""
    server.now = day(number)
    asked = len(server.layer.asked)
    wishes = {"types": ("Patient", "Observation"), **wishes}
    land_records(zone, server.url, Remote(**wishes))
    return [unquote(f"{a.path}?{a.query}") for a in server.layer.asked[asked:]]


def landed(zone: RawZone) -> Counter[str]:
    """Count the observations that landed, by id."""
    files = zone.path.glob("fetched/*/Observation*.ndjson")
    return Counter(json.loads(n)["id"] for f in files for n in f.read_text().splitlines())


def test_a_longer_list_of_patients_loses_nothing_of_those_who_stood_on_it_before(
    zone: RawZone, server: FhirServer
) -> None:
    put(server, 1, patient("B"), observation("b1", "B"))
    land(zone, server, 2, patients=("A",))
    put(server, 4, observation("a2", "A"))
    land(zone, server, 6, patients=("A", "B"))
    assert answered_until(zone) == day(2)  # of A, whose answers were recalled
    put(server, 8, observation("a3", "A"), observation("b2", "B"))
    asked = land(zone, server, 10, patients=("A", "B"), since="last")
    assert landed(zone) == Counter(["a1", "a2", "a3", "b1", "b2"])
    assert answered_until(zone) == day(10)
    assert {"2024-01-01T23:55" in a for a in asked if "/A" in a or "=A" in a} == {True}
    assert {"2024-01-05T23:55" in a for a in asked if "/B" in a or "=B" in a} == {True}


def test_who_and_what_is_new_to_the_lists_comes_whole_with_what_changed(
    zone: RawZone, server: FhirServer
) -> None:
    put(server, 1, patient("B"), observation("b1", "B"))
    land(zone, server, 2, patients=("A",), types=("Patient",))
    land(zone, server, 4, patients=("A", "B"), since="last")
    assert landed(zone) == Counter(["a1", "b1"])
    put(server, 5, observation("a2", "A"), observation("b2", "B"))
    asked = land(zone, server, 6, patients=("A", "B"), since="last")
    assert landed(zone) == Counter(["a1", "a2", "b1", "b2"])
    assert {"2024-01-03T23:55" in a for a in asked if "/fhir/metadata" not in a} == {True}


def test_more_types_lose_nothing_of_those_that_were_asked_for_before(zone: RawZone) -> None:
    with fhir_server() as server:
        put(server, 1, patient("A"), observation("a1", "A"))
        land(zone, server, 2, types=("Observation",))
        put(server, 3, observation("a2", "A"))
        land(zone, server, 5, types=("Observation", "Patient"))
        land(zone, server, 8, types=("Observation", "Patient"), since="last")
    assert landed(zone) == Counter(["a1", "a2"])


def test_who_leaves_a_cohort_and_comes_back_lacks_nothing(
    zone: RawZone, server: FhirServer
) -> None:
    put(server, 1, patient("B"))
    land(zone, server, 2, **COHORT)
    put(server, 3, patient("A", "male"), observation("a2", "A"))
    land(zone, server, 4, **COHORT, since="last")
    put(server, 5, patient("A"))
    land(zone, server, 6, **COHORT, since="last")
    land(zone, server, 8, **COHORT, since="last")
    assert landed(zone) == Counter(["a1", "a2"])


@pytest.mark.parametrize("since", ["last", datetime(2024, 1, 4, tzinfo=UTC)])
def test_who_joins_a_cohort_is_asked_since_another_question_was_answered(
    zone: RawZone, server: FhirServer, since: Any
) -> None:
    put(server, 1, patient("A", "male"), patient("B"))
    land(zone, server, 2, patients=("A",))
    land(zone, server, 2, **COHORT)
    put(server, 3, patient("A"), observation("a2", "A"))
    land(zone, server, 4, **COHORT, since=since)
    assert landed(zone) == Counter(["a1", "a2"])


def test_a_clock_that_stands_still_does_not_end_the_updates(
    zone: RawZone, server: FhirServer
) -> None:
    land(zone, server, 2)
    assert land(zone, server, 2, since="last")
    put(server, 3, observation("a2", "A"))
    assert land(zone, server, 2, since="last")
    assert landed(zone) == Counter(["a1", "a2"])
    at = datetime(2024, 1, 2, tzinfo=UTC)
    for name in ("a3", "a4"):
        put(server, 3, observation(name, "A"))
        assert land(zone, server, 2, since=at)
        assert landed(zone)[name] == 1
    at = datetime(2024, 1, 1, tzinfo=UTC)
    assert land(zone, server, 2, since=at)
    assert not land(zone, server, 2, since=at)  # what it asks for is here


def test_an_export_of_the_night_before_does_not_end_the_updates(
    zone: RawZone, server: FhirServer
) -> None:
    wishes = {"export": "system", "types": ()}
    land(zone, server, 2, **wishes)
    assert land(zone, server, 2, **wishes, since="last")
    put(server, 3, observation("a2", "A"))
    assert land(zone, server, 3, **wishes, since="last")
    assert landed(zone)["a2"] == 1
    assert not land(zone, server, 3, **wishes)


@pytest.mark.parametrize("wishes", [{}, {"export": "system"}], ids=["searches", "export"])
def test_a_time_later_than_the_last_answer_leaves_no_gap_behind(
    zone: RawZone, server: FhirServer, wishes: dict[str, Any]
) -> None:
    land(zone, server, 2, **wishes)
    put(server, 3, observation("a2", "A"))
    land(zone, server, 6, **wishes, since=datetime(2024, 1, 5, tzinfo=UTC))
    assert landed(zone)["a2"] == 0
    assert answered_until(zone) == day(2)
    land(zone, server, 9, **wishes, since="last")
    assert landed(zone)["a2"] == 1
    assert answered_until(zone) == day(9)


def test_what_was_fetched_since_a_time_goes_on_from_there_and_is_not_taken_for_all(
    zone: RawZone, server: FhirServer
) -> None:
    put(server, 3, observation("a2", "A"))
    land(zone, server, 4, **COHORT, since=datetime(2024, 1, 2, tzinfo=UTC))
    put(server, 5, observation("a3", "A"))
    land(zone, server, 6, **COHORT, since="last")
    assert landed(zone) == Counter(["a2", "a3"])
    put(server, 7, observation("a4", "A"))
    land(zone, server, 8, patients=("A",))
    land(zone, server, 9, patients=("A",), since="last")
    assert landed(zone) == Counter(["a1", "a2", "a3", "a4"])


def test_what_is_committed_late_with_an_earlier_time_comes_the_next_time(
    zone: RawZone, server: FhirServer
) -> None:
    land(zone, server, 2)
    late = {**observation("a2", "A"), "meta": {"lastUpdated": "2024-01-01T23:57:00Z"}}
    server.put(late)
    land(zone, server, 3, since="last")
    land(zone, server, 4, since="last")
    assert landed(zone) == Counter(["a1", "a2"])


def test_an_empty_list_of_patients_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="the list of patients is empty"):
        fetch_fhir("https://example.org/fhir", tmp_path, patients=[])
    for content, told in ((b"\n \n", "--patients names no patient"), (b"", "names no patient")):
        (tmp_path / "ids").write_bytes(content)
        options = ["--store", str(tmp_path / "s"), "--patients", str(tmp_path / "ids")]
        assert main(["ingest", "http://127.0.0.1:9/fhir", *options]) == 2
        assert told in capsys.readouterr().err


def test_a_list_of_patients_may_begin_with_a_byte_order_mark(
    tmp_path: Path, server: FhirServer
) -> None:
    (tmp_path / "ids").write_text("A\r\n", "utf-8-sig")
    options = ["--store", str(tmp_path / "s"), "--patients", str(tmp_path / "ids"), "--public"]
    assert main(["ingest", server.url, *options, "--quiet"]) == 0
    assert any("Patient/A" in a.path or "_id=A" in a.query for a in server.layer.asked)


@pytest.mark.parametrize("wishes", [{}, COHORT, {"export": "system"}], ids=["all", "search", "job"])
def test_a_server_that_had_nothing_is_asked_again(zone: RawZone, wishes: dict[str, Any]) -> None:
    with fhir_server(habits=Habits(export_polls=0)) as server:
        with pytest.raises(InputError, match="gave no record"):
            land(zone, server, 2, **wishes)
        assert answered_until(zone) is None
        with pytest.raises(UsageError, match="no fetch from this server"):
            land(zone, server, 3, **wishes, since="last")
        put(server, 1, patient("A"), observation("a1", "A"))
        land(zone, server, 4, **wishes)
    assert landed(zone) == Counter(["a1"])
    assert answered_until(zone) == day(4)


@pytest.mark.parametrize("since", ["last", None, datetime(2024, 1, 3, tzinfo=UTC)])
def test_a_patient_who_was_withheld_comes_whole_once_allowed(
    zone: RawZone, server: FhirServer, since: Any
) -> None:
    put(server, 1, patient("B"), observation("b1", "B"))
    server.withheld.add("B")
    for number in (2, 3):
        land(zone, server, number, patients=("A", "B"))
        assert not_fetched(zone) == {"patient: answered 403": 1}
    server.withheld.clear()
    land(zone, server, 4, patients=("A", "B"), since=since)
    assert landed(zone) == Counter(["a1", "b1"])
    assert not_fetched(zone) == {}
    assert not land(zone, server, 5, patients=("A", "B"))


def test_a_type_that_is_withheld_comes_whole_once_allowed_and_the_others_are_not_asked_again(
    zone: RawZone,
) -> None:
    with fhir_server(habits=Habits(everything=False)) as server:
        put(server, 1, patient("A"), observation("a1", "A"))
        server.withheld.add("Observation")
        land(zone, server, 2, patients=("A",))
        asked = land(zone, server, 3, patients=("A",))
        assert [a.partition("?")[0] for a in asked] == ["/fhir/Observation"]
        server.withheld.clear()
        land(zone, server, 4, patients=("A",), since=datetime(2024, 1, 3, tzinfo=UTC))
    assert landed(zone) == Counter(["a1"])
    assert not_fetched(zone) == {}


def test_a_patient_who_was_unknown_comes_whole_once_known(
    zone: RawZone, server: FhirServer
) -> None:
    put(server, 1, observation("b1", "B"))
    land(zone, server, 2, patients=("A", "B"))
    assert sum(not_fetched(zone).values()) == 1
    put(server, 1, patient("B"), observation("b2", "B"))
    land(zone, server, 4, patients=("A", "B"), since="last")
    assert landed(zone) == Counter(["a1", "b1", "b2"])
    assert not_fetched(zone) == {}


def test_a_type_that_ingest_learns_to_read_comes_whole(
    zone: RawZone, server: FhirServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.projection.SUPPORTED", ("Patient",))
    land(zone, server, 2, types=())
    monkeypatch.setattr("ingest.projection.SUPPORTED", ("Patient", "Observation"))
    land(zone, server, 5, types=(), since="last")
    assert landed(zone) == Counter(["a1"])


def test_a_type_that_the_server_learns_to_give_comes_whole(zone: RawZone) -> None:
    with fhir_server(habits=Habits(everything=False)) as server:
        put(server, 1, patient("A"))
        land(zone, server, 2)
        put(server, 1, observation("a1", "A"))
        land(zone, server, 5, since="last")
    assert landed(zone) == Counter(["a1"])


def test_a_server_that_says_no_zone_means_gmt(monkeypatch: pytest.MonkeyPatch) -> None:
    for zone in ("GMT", "-0000", ""):
        said = httpx.Headers({"Date": f"Mon, 06 May 2024 08:00:30 {zone}".strip()})
        assert server_time(said) == "2024-05-06T08:00:30+00:00"
    for said in ("Mon, 06 May 99999 08:00:30 GMT", "yesterday", ""):
        now = datetime.fromisoformat(server_time(httpx.Headers({"Date": said})))
        assert abs((datetime.now(UTC) - now).total_seconds()) < 60


def test_images_of_the_same_base_url_leave_the_last_time_and_what_is_missing_as_they_are(
    zone: RawZone, server: FhirServer
) -> None:
    server.withheld.add("B")
    land(zone, server, 2, patients=("A", "B"))
    before = not_fetched(zone)
    server.layer.misbehave("search", fault=Answer(b"[]"))
    land_images(zone, Remote(images=server.url, image_search="PatientID=1"), [])
    assert answered_until(zone) == day(2)
    assert not_fetched(zone) == before
    server.layer.always.clear()
    put(server, 3, observation("a2", "A"))
    land(zone, server, 4, patients=("A", "B"), since="last")
    assert landed(zone) == Counter(["a1", "a2"])


def test_updates_that_break_off_go_on_and_lose_nothing(zone: RawZone, server: FhirServer) -> None:
    land(zone, server, 2, **COHORT)
    put(server, 3, patient("B"), *(observation(f"a{number}", "A") for number in range(2, 9)))
    label = "everything" if server.habits.everything else "search"
    begun = server.layer.counts[label]
    server.layer.misbehave(label, begun + 3, fault=Status(422))
    with pytest.raises(SourceError):
        land(zone, server, 4, **COHORT, since="last")
    put(server, 5, observation("a9", "A"), observation("b1", "B"))
    land(zone, server, 6, **COHORT, since="last")
    land(zone, server, 7, **COHORT, since="last")
    assert landed(zone) == Counter([*(f"a{number}" for number in range(1, 10)), "b1"])


def test_what_an_older_version_fetched_is_asked_for_whole_once(
    zone: RawZone, server: FhirServer
) -> None:
    land(zone, server, 2, **COHORT)
    [state] = zone.path.glob("fetched/*/.fetch/state.sqlite")
    with sqlite3.connect(state) as db:
        db.executescript("DROP TABLE asked; DROP TABLE answered; DROP TABLE refused;")
    db.close()
    put(server, 1, observation("a2", "A"))
    assert not [a for a in land(zone, server, 3, **COHORT) if "metadata" not in a]
    land(zone, server, 4, **COHORT, since="last")
    assert landed(zone) == Counter(["a1", "a2"])
    put(server, 5, observation("a3", "A"))
    asked = land(zone, server, 6, **COHORT, since="last")
    assert landed(zone) == Counter(["a1", "a2", "a3"])
    assert any("2024-01-03T23:55" in a for a in asked)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_asked_and_changes_in_between_the_last_answer_has_all_that_there_is(
    zone: RawZone, server: FhirServer, seed: int
) -> None:
    chance = random.Random(seed)
    questions: list[dict[str, Any]] = [
        COHORT,
        {"patients": ("A",)},
        {"patients": ("A", "B")},
        {"patients": ("B", "C")},
    ]
    answered: list[int] = []
    for number in range(2, 16):
        for name in chance.sample("ABC", 2):
            put(server, number, patient(name, chance.choice(["female", "male"])))
            put(server, number, observation(f"{name}{chance.randint(1, 3)}", name))
        place = chance.randrange(4)
        since = None
        if place in answered and chance.random() < 0.8:
            since = chance.choice(["last", "last", datetime(2024, 1, number - 1, tzinfo=UTC)])
        server.withheld = {"C"} if chance.random() < 0.3 else set()
        with suppress(SourceError, InputError):
            land(zone, server, number, **questions[place], since=since)
            answered.append(place)
    server.withheld.clear()
    for place in {*answered}:
        land(zone, server, 20, **questions[place], since="last")
        members = {r["id"] for r in server.resources["Patient"].values() if r["gender"] == "female"}
        members = set(questions[place].get("patients", members))
        held = server.resources["Observation"].values()
        there = {r["id"]: r["meta"]["lastUpdated"] for r in held if r["id"][0].upper() in members}
        files = zone.path.glob("fetched/*/Observation*.ndjson")
        lines = [json.loads(line) for f in files for line in f.read_text().splitlines()]
        got = {(r["id"], r["meta"]["lastUpdated"]) for r in lines}
        assert set(there.items()) <= got


def test_a_patient_goes_and_comes_back_and_goes_as_often_as_the_server_says(tmp_path: Path) -> None:
    subjects = []
    with fhir_server(habits=Habits(everything=True, export_polls=0)) as server:
        for number in range(1, 5):
            known = [patient("B")] if number % 2 == 0 else [patient("A"), patient("B")]
            put(server, number, *({**who, "birthDate": "1950-01-01"} for who in known))
            if number % 2 == 0:
                server.gone.add("Patient/A")
                server.resources["Patient"].pop("A")
            else:
                server.gone.discard("Patient/A")
            server.now = day(number)
            asked = Remote(patients=("A", "B"), since="last" if number > 1 else None)
            report = ingest([server.url], tmp_path / "store", public=True, remote=asked)
            subjects.append(report["subjects"])
    assert subjects == [2, 1, 2, 1]
