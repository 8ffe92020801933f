"""An index counts only while what it was made of is as it was; else everything is built anew."""

import json
import random
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.build import ingest
from tests.hospital import killed_after
from tests.ingest.deliveries import Hospital, content, deliver, require_as_built_anew
from tests.ingest.exports import PATIENT, observation, write_ndjson

A, B, C = (observation(name, {"valueInteger": 1}) for name in "abc")


def started(place: Path) -> Path:
    """Make a store of two builds; give the index."""
    deliver(place, write_ndjson(place / "in" / "a.ndjson", PATIENT, A))
    assert deliver(place, write_ndjson(place / "in" / "b.ndjson", B))
    return place / "store.raw" / "index"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def any_state(index: Path) -> Path:
    return sorted(index.glob("*/state.parquet"))[0]


def restate(index: Path, **changes: object) -> None:
    said = json.loads((index / "index.json").read_text("utf-8"))
    (index / "index.json").write_text(json.dumps(said | changes), "utf-8")


FAULTS: dict[str, Callable[[Path], object]] = {
    "the list is gone": lambda index: (index / "index.json").unlink(),
    "the list is torn": lambda index: cut(index / "index.json"),
    "the list is of another kind": lambda index: (index / "index.json").write_text("[]", "utf-8"),
    "the list lacks a word": lambda index: (index / "index.json").write_text("{}", "utf-8"),
    "a table is gone": lambda index: any_state(index).unlink(),
    "a table is cut": lambda index: cut(any_state(index)),
    "a bit of a table fell over": lambda index: spoil(any_state(index)),
    "it is of another store": lambda index: restate(index, store="0" * 64),
    "it is of another program": lambda index: restate(index, made_of={}),
    "it is of other files": lambda index: restate(index, landed="0" * 64),
    "it knows more files than there are": lambda index: restate(index, files=99),
    "the crosswalk is another": lambda index: spoil(index.parent / "crosswalk.parquet"),
    "the quarantine is gone": lambda index: (index.parent / "quarantine.parquet").unlink(),
    "a shard is damaged": lambda index: spoil(
        index.parent.with_name("store") / "data" / "0.parquet"
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_index_that_does_not_fit_is_noticed_and_made_anew(tmp_path: Path, fault: str) -> None:
    index = started(tmp_path)
    FAULTS[fault](index)
    source = write_ndjson(tmp_path / "in" / "c.ndjson", C)
    assert not deliver(tmp_path, source)
    require_as_built_anew(tmp_path)


def test_an_index_of_another_raw_zone_does_not_count(tmp_path: Path) -> None:
    mine, theirs = started(tmp_path / "mine"), started(tmp_path / "theirs")
    write_ndjson(tmp_path / "theirs" / "in" / "b.ndjson", C)
    deliver(tmp_path / "theirs", tmp_path / "theirs" / "in" / "b.ndjson")
    for path in [*mine.rglob("*.parquet"), mine / "index.json"]:
        path.unlink()
    for path in theirs.rglob("*"):
        if path.is_file():
            target = mine / path.relative_to(theirs)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    assert not deliver(tmp_path / "mine", write_ndjson(tmp_path / "mine" / "in" / "c.ndjson", C))
    require_as_built_anew(tmp_path / "mine")


def test_a_file_that_changed_since_is_built_in_full(tmp_path: Path) -> None:
    started(tmp_path)
    source = write_ndjson(tmp_path / "in" / "a.ndjson", PATIENT, {**A, "valueInteger": 5})
    assert not deliver(tmp_path, source)
    require_as_built_anew(tmp_path)


def test_another_site_or_other_conventions_are_built_in_full(tmp_path: Path) -> None:
    from ingest.conventions import Conventions

    started(tmp_path)
    source = tmp_path / "in" / "a.ndjson"
    assert deliver(tmp_path, source)
    assert not deliver(tmp_path, source, timezone="Europe/Berlin")
    assert not deliver(tmp_path, source, conventions=Conventions(keep_units=True))
    assert deliver(tmp_path, source)


def test_the_index_is_the_owners_alone_and_sweeps_behind_itself(tmp_path: Path) -> None:
    index = started(tmp_path)
    for number in range(5):
        left = observation(f"more{number}", {"valueInteger": 1})
        assert deliver(tmp_path, write_ndjson(tmp_path / "in" / f"{number}.ndjson", left))
    said = json.loads((index / "index.json").read_text("utf-8"))
    named = {segment["name"] for segment in [*said["segments"], said["whole"]]}
    assert {path.name for path in index.iterdir()} == named | {"index.json"}
    assert len(said["segments"]) < 5
    for path in [index, *index.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    require_as_built_anew(tmp_path)


def kill_and_go_on(place: Path, kills: int) -> None:
    """Kill additions at random moments; each then goes on; hold the end against a rebuild."""
    hospital = Hospital(5)
    deliver(place, *(hospital.file(place / "in") for _ in range(4)))
    rng, killed, added, seconds = random.Random(3), 0, 0, 1.0
    for _ in range(10 * kills):
        source = hospital.file(place / "in")
        begun = time.monotonic()
        if killed_after(rng.uniform(0.05, 1.0) * seconds, deliver, place, source):
            killed += 1
            added += deliver(place, source)
        else:
            seconds = time.monotonic() - begun  # machines are noisy: what it takes now
        if killed == kills:
            break
    assert killed == kills
    assert added >= kills / 3
    require_as_built_anew(place)
    left = sorted(path.name for path in place.iterdir())
    assert left == ["in", "store", "store.raw"], left


def test_an_addition_that_was_killed_goes_on_to_the_same_store(tmp_path: Path) -> None:
    kill_and_go_on(tmp_path, kills=3)


@pytest.mark.slow
def test_an_addition_that_was_killed_thirty_times_goes_on_to_the_same_store(
    tmp_path: Path,
) -> None:
    kill_and_go_on(tmp_path, kills=30)


def test_a_kill_between_the_swap_and_the_index_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst moment: the store is the next one, the index still the last one's."""
    started(tmp_path)
    source = write_ndjson(tmp_path / "in" / "c.ndjson", C)
    monkeypatch.setattr("ingest.build.commit", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        deliver(tmp_path, source)
    monkeypatch.undo()
    assert len(content(tmp_path)["events"]) == 3
    assert not deliver(tmp_path, write_ndjson(tmp_path / "in" / "d.ndjson", {**C, "id": "d"}))
    require_as_built_anew(tmp_path)


def test_a_kill_after_the_crosswalk_was_written_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(tmp_path)
    new = {**C, "id": "d", "subject": {"reference": "Patient/q"}}
    source = write_ndjson(tmp_path / "in" / "c.ndjson", new)
    monkeypatch.setattr("ingest.build._swap", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        deliver(tmp_path, source)
    monkeypatch.undo()
    assert len(content(tmp_path)["events"]) == 2
    assert not deliver(tmp_path, source)
    require_as_built_anew(tmp_path)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_store_that_nobody_adds_to_needs_no_index(tmp_path: Path) -> None:
    source = write_ndjson(tmp_path / "in" / "a.ndjson", PATIENT, A)
    ingest([source], tmp_path / "store", public=True, keep_index=False)
    assert not (tmp_path / "store.raw" / "index").exists()
    started(tmp_path)
    more = write_ndjson(tmp_path / "in" / "more.ndjson", {**C, "id": "more"})
    ingest([more], tmp_path / "store", public=True, keep_index=False)
    assert not deliver(tmp_path, write_ndjson(tmp_path / "in" / "c.ndjson", C))
    require_as_built_anew(tmp_path)
