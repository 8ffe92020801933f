"""A store that is whole passes; each way of damaging it is named."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingest.checksums import CHECKSUMS, write_checksums
from ingest.errors import StoreError, UsageError
from ingest.info import describe_store, write_store_page
from ingest.store import RecordStore
from ingest.store_facts import StoreFacts, read_facts
from ingest.verify import verify_store
from tests.hospital import Hospital, medweave


@pytest.fixture
def copy(hospital: Hospital, tmp_path: Path) -> Path:
    return Path(shutil.copytree(hospital.store, tmp_path / "store"))


def rewrite(file: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(file)), file)


def first_shard(store: Path) -> Path:
    return sorted((store / "data").glob("*.parquet"))[0]


def test_a_store_as_it_was_written_has_no_fault(hospital: Hospital) -> None:
    assert verify_store(hospital.store) == []


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_bit_that_turned_over_is_found_in_every_file(copy: Path) -> None:
    kinds = {path.suffix: path for path in sorted(copy.rglob("*")) if path.is_file()}
    assert {".parquet", ".json", ".png"} <= kinds.keys()
    for path in kinds.values():
        if path.name == CHECKSUMS:
            continue
        whole = path.read_bytes()
        flip(path)
        name = path.relative_to(copy).as_posix()
        assert verify_store(copy) == [f"{name} was changed or damaged"]
        path.write_bytes(whole)
    assert verify_store(copy) == []


def test_a_file_that_went_or_came_is_found(copy: Path) -> None:
    image = sorted((copy / "images").iterdir())[0]
    image.rename(copy / "images" / "stranger.png")
    assert verify_store(copy) == [
        f"images/{image.name} is gone",
        "images/stranger.png is not the store's own",
    ]


def shuffle(store: Path) -> None:
    rewrite(first_shard(store), lambda t: t.take(pa.array(range(t.num_rows - 1, -1, -1))))


def lose_an_event(store: Path) -> None:
    rewrite(first_shard(store), lambda t: t.slice(0, t.num_rows - 1))


def lose_a_code(store: Path) -> None:
    rewrite(store / "metadata" / "codes.parquet", lambda t: t.slice(1))


def lose_a_split(store: Path) -> None:
    rewrite(store / "metadata" / "subject_splits.parquet", lambda t: t.slice(1))


def lose_a_column(store: Path) -> None:
    rewrite(first_shard(store), lambda t: t.drop_columns(["unit"]))


def see_ahead(store: Path) -> None:
    def later(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("occurred")
        day = pa.scalar(86_400_000_000, pa.duration("us"))
        return table.set_column(place, "occurred", pc.add(table["time"], day))

    rewrite(first_shard(store), later)


def lose_an_image(store: Path) -> None:
    sorted((store / "images").iterdir())[0].unlink()


def miscount(store: Path) -> None:
    path = store / "ingest_report.json"
    report = json.loads(path.read_text("utf-8"))
    file = next(iter(report["files"].values()))
    file["projected"] += 1
    path.write_text(json.dumps(report), "utf-8")


def undeclare(store: Path) -> None:
    path = store / "metadata" / "dataset.json"
    dataset = json.loads(path.read_text("utf-8"))
    del dataset["raw_source_id_columns"]
    path.write_text(json.dumps(dataset), "utf-8")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (shuffle, "not sorted by subject and time"),
        (lose_an_event, "the shards"),
        (lose_a_code, "codes are not in codes.parquet"),
        (lose_a_split, "1 subjects have no split"),
        (lose_a_column, "other columns than this version"),
        (see_ahead, "events occurred after they were known"),
        (lose_an_image, "1 images of events are not there"),
        (miscount, "accounted for"),
        (undeclare, "does not declare raw_source_id_columns"),
    ],
)
def test_what_was_changed_and_sealed_again_is_found_all_the_same(
    copy: Path, change: Callable[[Path], None], words: str
) -> None:
    change(copy)
    write_checksums(copy, known={})
    assert any(words in fault for fault in verify_store(copy)), verify_store(copy)


def test_what_is_no_store_is_refused(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(StoreError, match="not a record store"):
        verify_store(tmp_path)
    (copy / CHECKSUMS).unlink()
    with pytest.raises(StoreError, match=r"lacks checksums\.json; ingest into it again"):
        verify_store(copy)


def test_the_store_is_told_in_a_page_of_words_and_one_of_plots(
    hospital: Hospital, tmp_path: Path
) -> None:
    store = RecordStore(hospital.store)
    report = store.report()
    facts = read_facts(store)
    words = describe_store(facts)
    assert words.startswith(f"{report['subjects']:,} subjects\n")
    assert f"{report['notes']:,} notes of" in words
    assert "IMAGE//DX//PA" in words
    assert len(words.splitlines()) < 60
    write_store_page(facts, tmp_path / "store.html")
    page = (tmp_path / "store.html").read_text("utf-8")
    assert page.count("<svg") == 3
    assert "http" not in page.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "")


def test_the_facts_of_a_store_are_json_that_a_script_can_read(hospital: Hospital) -> None:
    told = json.loads(medweave("store", "info", hospital.store, "--json").stdout)
    store = RecordStore(hospital.store)
    report = store.report()
    assert set(told) == {field.name for field in fields(StoreFacts)}
    assert told["subjects"] == report["subjects"] == sum(told["held"].values())
    assert sum(row["events"] for row in told["systems"]) == report["events"]
    assert told["notes"]["notes"] == report["notes"]
    assert sum(row["images"] for row in told["images"]) == report["images"]
    assert sum(row["events"] for row in told["years"]) == told["dated"]["events"]
    assert sum(told["events_of_a_subject"]["subjects"]) == told["subjects"]
    first = store.query("SELECT min(time) AS t FROM events WHERE code <> 'MEDS_BIRTH'")["t"][0]
    assert told["dated"]["first"] == f"{first.isoformat()}+00:00"
    assert told["measured"][0].keys() == {"code", "name", "values", "subjects", "units"}
    assert told["deidentified"] is None


def test_json_of_what_has_none_is_refused(hospital: Hospital) -> None:
    refused = medweave("store", "verify", hospital.store, "--json", code=UsageError.exit_code)
    assert "--json goes with `store info`; got `store verify`" in refused.stderr


def test_a_subjects_timeline_notes_and_images_come_as_relations(hospital: Hospital) -> None:
    store = RecordStore(hospital.store)
    events = store.events().df()
    subject = int(store.subjects()[3])
    one = store.timeline(subject).df()
    assert len(one) == (events["subject_id"] == subject).sum() > 5
    assert one["time"].dropna().is_monotonic_increasing
    report = store.report()
    assert len(store.notes().df()) == report["notes"]
    assert store.notes().df()["text"].str.len().min() > 0
    images = store.images().df()
    assert len(images) == report["images"]
    assert all(store.image_path(image).is_file() for image in images["image"])
