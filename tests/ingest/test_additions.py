"""What is added to a store is what a full build of the same raw zone gives."""

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingest.fields import SQL
from ingest.store import RecordStore
from tests.ingest.addition_cases import (
    CASES,
    END,
    OTHERS,
    WHO,
    apart,
    bundle,
    drug,
    finding,
    gone,
    order,
    stay,
)
from tests.ingest.deliveries import Hospital, deliver, require_as_built_anew
from tests.ingest.exports import PATIENT, observation, write_ndjson


def events(place: Path, number: int) -> set[str]:
    """Give `SUBJECT CODE` and `CODE`, each with the time, of one case's people."""
    rows = duckdb.execute(
        f"SELECT split_part(subject_key, '/', 2) AS who, code, time"
        f" FROM read_parquet('{place}/store/data/*.parquet')"
        f" JOIN read_parquet('{place}/store.raw/crosswalk.parquet') USING (subject_id)"
    ).fetchall()
    mine = [row for row in rows if row[0].endswith(f".{number}") and "bystander" not in row[0]]
    return {f"{code} @ {time}" for _, code, time in mine} | {
        f"{who.removesuffix(f'.{number}')} {code} @ {time}" for who, code, time in mine
    }


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[list[set[str]]]:
    """Deliver all cases at once: what was there, then what is new; give each case's events."""
    place = tmp_path_factory.mktemp("cases")
    found = []
    for stage in range(2):
        lines = [
            resource
            for number, case in enumerate(CASES.values())
            for resource in apart([*OTHERS, *case[0]] if stage == 0 else case[1], number)
        ]
        added = deliver(place, write_ndjson(place / "in" / f"{stage}.ndjson", *lines))
        assert added == (stage == 1)
        found.append([events(place, number) for number in range(len(CASES))])
    require_as_built_anew(place)
    return found


@pytest.mark.parametrize("name", CASES)
def test_what_something_new_bears_on_changes_with_it(told: list[list[set[str]]], name: str) -> None:
    number = list(CASES).index(name)
    _, _, (code, time), there = CASES[name]
    before, after = (
        any(event.startswith(f"{code} @ {time}") for event in stage[number]) for stage in told
    )
    assert (before, after) == (not there, there)


def test_an_older_version_that_comes_late_replaces_nothing(tmp_path: Path) -> None:
    new, old = ({"meta": {"lastUpdated": f"202{n}-01-01T00:00:00Z"}} for n in (1, 0))
    deliver(tmp_path, write_ndjson(tmp_path / "in" / "a.ndjson", observation("a", {}, **new)))
    late = observation("a", {}, effectiveDateTime="1999-01-01", **old)
    assert deliver(tmp_path, write_ndjson(tmp_path / "in" / "b.ndjson", late))
    [(time,)] = RecordStore(tmp_path / "store").events().project("time").fetchall()
    assert time.year == 2020
    require_as_built_anew(tmp_path)


@pytest.mark.parametrize("seed", range(6))
def test_random_deliveries_give_the_store_that_a_full_build_gives(
    tmp_path: Path, seed: int
) -> None:
    require_random_deliveries(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_many_random_deliveries_give_the_store_that_a_full_build_gives(
    tmp_path: Path, seed: int
) -> None:
    require_random_deliveries(tmp_path, seed)


def require_random_deliveries(place: Path, seed: int) -> None:
    """Deliver in two to five batches, each of which must have been added, not built in full."""
    hospital = Hospital(seed)
    for number in range(hospital.rng.randint(2, 5)):
        files = [hospital.file(place / "in") for _ in range(hospital.rng.randint(1, 4))]
        assert deliver(place, *files) == (number > 0)
    require_as_built_anew(place)


def test_who_is_not_touched_stays_in_the_file_that_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.shards.FULL_ENOUGH", 1)
    deliver(tmp_path, write_ndjson(tmp_path / "in" / "a.ndjson", *OTHERS))
    data = tmp_path / "store" / "data"
    first = (data / "0.parquet").stat().st_ino
    assert deliver(
        tmp_path, write_ndjson(tmp_path / "in" / "b.ndjson", PATIENT, order(), drug("m", "7"))
    )
    assert deliver(tmp_path, write_ndjson(tmp_path / "in" / "c.ndjson", observation("a", {})))
    assert (data / "0.parquet").stat().st_ino == first
    assert sorted(file.name for file in data.iterdir()) == ["0.parquet", "1.parquet"]
    require_as_built_anew(tmp_path)


def test_small_additions_share_a_file(tmp_path: Path) -> None:
    deliver(tmp_path, write_ndjson(tmp_path / "in" / "a.ndjson", *OTHERS))
    for n in range(4):
        who = {"reference": f"Patient/{n}"}
        source = write_ndjson(
            tmp_path / "in" / f"{n}.ndjson", observation("a", {}, id=f"{n}", subject=who)
        )
        assert deliver(tmp_path, source)
    assert len(list((tmp_path / "store" / "data").iterdir())) == 1
    require_as_built_anew(tmp_path)


def test_a_subject_without_an_event_is_none(tmp_path: Path) -> None:
    deliver(tmp_path, write_ndjson(tmp_path / "in" / "a.ndjson", *OTHERS, observation("a", {})))
    assert len(RecordStore(tmp_path / "store").subjects()) == 2
    assert deliver(
        tmp_path, write_ndjson(tmp_path / "in" / "b.json", bundle(gone("Observation/a")))
    )
    assert len(RecordStore(tmp_path / "store").subjects()) == 1
    require_as_built_anew(tmp_path)


def test_lines_of_a_large_file_are_read_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.surroundings._SMALL_FILE", 0)
    source = write_ndjson(tmp_path / "in" / "a.ndjson", *OTHERS, PATIENT, stay(), finding())
    spoilt = tmp_path / "in" / "b.ndjson"
    spoilt.write_text("\n\n" + json.dumps(finding(id="second")) + "\n", "utf-8")
    deliver(tmp_path, source, spoilt)
    read: list[bool] = []
    from ingest.lines import read_lines

    def watched(path: Path, lines: Any, **how: Any) -> Any:
        read.append(lines.starts is not None)
        return read_lines(path, lines, **how)

    monkeypatch.setattr("ingest.projection.read_lines", watched)
    assert deliver(tmp_path, write_ndjson(tmp_path / "in" / "c.ndjson", stay(END)))
    assert set(read) == {True, False}  # blank lines: no line is where the sum says
    times = RecordStore(tmp_path / "store").query(
        "SELECT time FROM events WHERE code LIKE 'SNOMED//%'"
    )
    assert list(times["time"].dt.date.astype(str)) == ["2020-01-09"] * 2
    require_as_built_anew(tmp_path)


def test_too_many_records_without_a_code_are_built_in_full(tmp_path: Path) -> None:
    bare = [{"resourceType": "Observation", "id": f"{n}", "subject": WHO} for n in range(199)]
    deliver(tmp_path, write_ndjson(tmp_path / "in" / "a.ndjson", PATIENT, observation("a", {})))
    assert deliver(tmp_path, write_ndjson(tmp_path / "in" / "b.ndjson", *bare[:150]))
    assert not deliver(tmp_path, write_ndjson(tmp_path / "in" / "c.ndjson", *bare[150:], *bare[:1]))
    require_as_built_anew(tmp_path)


def test_what_a_projection_looks_up_is_kept_of_the_first_reading() -> None:
    """A record whose references the first reading does not see would not change with them."""
    read, trace = ((SQL / f"{name}.sql").read_text("utf-8") for name in ("read", "trace"))
    whole = re.search(r'"resourceType" IN \(([^)]*)\)', read)
    assert whole is not None
    looked_at = set(re.findall(r"'(\w+)'", whole[1]))
    for script in SQL.glob("[A-Z]*.sql"):
        text = script.read_text("utf-8")
        if "ref_key(" in text:
            assert script.stem in looked_at, script.name
        if re.search(r"JOIN note\b", text):
            needs = re.findall(
                r"-- needs: (.*)\nINSERT INTO (cited_reference|depend)\n", read + trace
            )
            named = [into for types, into in needs if script.stem in types.split()]
            assert sorted(named) == ["cited_reference", "depend"], script.name
