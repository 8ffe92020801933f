"""What was taken out of lines comes back as it was, from memory and from disk."""

from pathlib import Path

import pyarrow as pa
import pytest

from ingest.extracts import Extract, Extracts


@pytest.mark.parametrize("held", [1 << 30, 0])
def test_extracts_come_back_in_order_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    monkeypatch.setattr("ingest.extracts._HELD_BYTES", held)
    tables = [pa.table({"place": [n], "status": [f"s{n}"]}) for n in range(3)]
    with Extracts(tmp_path / "room") as extracts:
        for n, table in enumerate(tables):
            extracts.add(Extract(number=n * 10, fields={"Observation": table, "Goal": table}))
        extracts.add(Extract(number=99, fields={}))
        assert len(extracts) == 4
        for _ in range(2):
            back = list(extracts)
            assert [e.number for e in back] == [0, 10, 20, 99]
            assert [e.fields.get("Goal") for e in back] == [*tables, None]
        assert (tmp_path / "room").exists() is (held == 0)
    assert not list(tmp_path.rglob("*.arrow"))


def test_an_extract_on_disk_is_its_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.extracts._HELD_BYTES", 0)
    with Extracts(tmp_path) as extracts:
        extracts.add(Extract(number=1, fields={"Goal": pa.table({"place": [1]})}))
        [folder] = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
