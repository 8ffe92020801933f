import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.changes import changes_since, describe_changes
from ingest.errors import StoreError
from tests.hospital import medweave
from tests.ingest.deliveries import deliver
from tests.ingest.exports import PATIENT, observation, write_ndjson

OLD = datetime(2026, 11, 1, tzinfo=UTC)
NEW = datetime(2026, 11, 8, tzinfo=UTC)
BETWEEN = datetime(2026, 11, 5)  # noqa: DTZ001 - a moment without a zone is UTC
OTHER = {"reference": "Patient/other"}


class _Clock(datetime):
    moment = OLD

    @classmethod
    def now(cls, tz: object = None) -> datetime:
        return cls.moment


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a store of two deliveries, a week apart."""
    for module in ("landing", "indexing"):
        monkeypatch.setattr(f"ingest.{module}.datetime", _Clock)
    monkeypatch.setattr(_Clock, "moment", OLD)
    first = [PATIENT, {**PATIENT, "id": "twin"}, {"resourceType": "Organization", "id": "o"}]
    first += [observation(name, {"valueInteger": 1}) for name in ("kept", "changed", "gone")]
    deliver(tmp_path, write_ndjson(tmp_path / "in" / "a.ndjson", *first, "{torn"))
    monkeypatch.setattr(_Clock, "moment", NEW)
    entries = [
        {"resource": observation("changed", {"valueInteger": 2})},
        {"resource": observation("new", {"valueInteger": 3})},
        {"resource": observation("theirs", {"valueInteger": 3}, subject=OTHER)},
        {"resource": {**PATIENT, "id": "twin", "link": [_REPLACED]}},
        {"resource": {"resourceType": "Basic", "id": "s", "subject": OTHER}},
        {"request": {"method": "DELETE", "url": "Observation/gone"}},
        {"resource": {"no": "resource"}},
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    assert deliver(tmp_path, write_ndjson(tmp_path / "in" / "b.ndjson", bundle))
    return tmp_path


_REPLACED = {"type": "replaced-by", "other": {"reference": "Patient/p"}}


@pytest.mark.parametrize("rebuilt", [False, True])
def test_what_changed_since_is_told_by_type_and_person(place: Path, rebuilt: bool) -> None:
    if rebuilt:  # the same answer of an index that was made in one go
        assert not deliver(place, place / "in" / "b.ndjson", rebuild=True)
    found = changes_since(place / "store", place / "store.raw", BETWEEN)
    assert found.files == 1
    assert found.resources == {
        "Basic": {"new": 1, "updated": 0, "deleted": 0},
        "Observation": {"new": 2, "updated": 1, "deleted": 1},
        "Patient": {"new": 0, "updated": 1, "deleted": 0},
    }
    assert found.merged == 1
    assert found.skipped == {"Basic": 1}
    assert found.quarantined == {"not a FHIR resource: no resourceType": 1}
    assert (found.subjects_new, found.subjects_touched) == (1, 1)
    assert [build["whole"] for build in found.ingests][:1] == [False]
    assert found.ingests[0]["at"] == NEW.isoformat()


def test_since_the_beginning_everything_is_new_and_since_now_nothing(place: Path) -> None:
    store, raw = place / "store", place / "store.raw"
    begun = changes_since(store, raw, datetime(2000, 1, 1, tzinfo=UTC))
    assert begun.resources["Observation"] == {"new": 4, "updated": 0, "deleted": 0}
    assert begun.subjects_new == 2
    assert begun.skipped == {"Basic": 1, "Organization": 1}
    later = changes_since(store, raw, datetime(2027, 1, 1, tzinfo=UTC))
    assert later.resources == {}
    assert (later.files, later.merged, later.subjects_new, later.subjects_touched) == (0, 0, 0, 0)
    assert "0 files of records landed" in describe_changes(later)


def test_the_command_says_what_changed(place: Path) -> None:
    told = medweave("store", "info", str(place / "store"), "--since", "2026-11-05").stdout
    assert "ingest of 2026-11-08T00:00:00+00:00: 1 files, 7 records; added" in told
    assert "subjects: 1 new, 1 with something new, 1 merged into another" in told
    assert "Observation" in told


def test_what_changed_is_json_too(place: Path) -> None:
    asked = ("store", "info", str(place / "store"), "--since", "2026-11-05", "--json")
    told = json.loads(medweave(*asked).stdout)
    assert told == asdict(changes_since(place / "store", place / "store.raw", BETWEEN))
    assert told["since"] == "2026-11-05T00:00:00+00:00"
    assert told["ingests"][0].keys() == {"at", "files", "records", "whole"}
    assert told["resources"]["Observation"] == {"new": 2, "updated": 1, "deleted": 1}


def test_a_store_without_an_index_of_its_own_says_so(place: Path) -> None:
    (place / "store.raw" / "index" / "index.json").unlink()
    with pytest.raises(StoreError, match=r"has no index of .*; ingest into the store again"):
        changes_since(place / "store", place / "store.raw", BETWEEN)
    with pytest.raises(StoreError, match="is no raw zone; --since needs it"):
        changes_since(place / "store", place / "elsewhere", BETWEEN)
