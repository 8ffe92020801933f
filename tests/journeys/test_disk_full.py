"""A disk that is really full: one sentence, the old store stands, and with room it goes on."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hospital import Hospital, medweave
from tests.journeys.test_endurance import content_hash, ingest_words
from tests.small_disk import resize, small_disk, used


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as place:
        yield place


def refused(words: list[str]) -> str:
    done = medweave(*words, code=3)
    [line] = done.stderr.strip().splitlines()[-1:]
    assert "Traceback" not in done.stderr
    assert "No space left" in line, done.stderr
    return line


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_with_room_the_same_store_comes_of_it(
    hospital: Hospital, disk: Path
) -> None:
    """Full at once, while it lands, while it decodes, while it writes."""
    words = ingest_words(hospital, disk / "store")
    medweave(*words)
    whole, size = content_hash(disk / "store"), used(disk)
    for share in (0.02, 0.3, 0.6, 0.9):
        shutil.rmtree(disk / "store")
        shutil.rmtree(disk / "store.raw")
        resize(disk, max(8, int(size * share)))
        refused(words)
        assert not (disk / "store").exists()
        resize(disk, 64 * 1024)
        medweave(*words)
        assert content_hash(disk / "store") == whole
        assert sorted(path.name for path in disk.iterdir()) == ["store", "store.raw"]


def test_what_was_there_stands_when_an_addition_finds_no_room(
    hospital: Hospital, disk: Path, tmp_path: Path
) -> None:
    words = ingest_words(hospital, disk / "store")
    records = [word for word in words if not word.endswith("dicom")]
    medweave(*records)
    before = content_hash(disk / "store")
    resize(disk, used(disk) + 64)
    refused(words)
    assert content_hash(disk / "store") == before
    medweave("store", "verify", disk / "store")
    resize(disk, 64 * 1024)
    medweave(*words)
    whole = ingest_words(hospital, tmp_path / "whole")
    medweave(*whole)
    assert content_hash(disk / "store") == content_hash(tmp_path / "whole")
