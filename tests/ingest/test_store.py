import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meds import CodeMetadataSchema, DataSchema, DatasetMetadataSchema, SubjectSplitSchema

from ingest import writer
from ingest.errors import StoreError
from ingest.schema import EVENT_SCHEMA
from ingest.store import RecordStore
from tests.ingest.exports import ingested, observation, write_ndjson

DAYS = 20


def everybody() -> list[dict]:
    made: list[dict] = []
    for person in range(30):
        key = f"Patient/p{person}"
        made.append({"resourceType": "Patient", "id": f"p{person}", "gender": "male"})
        for day in range(person % 7):
            when = f"2020-05-{1 + (person * 5 + day * 3) % DAYS:02}T08:00:00Z"
            made.append(
                observation(
                    f"{person}-{day}",
                    {"valueInteger": day},
                    subject={"reference": key},
                    effectiveDateTime=when,
                )
            )
    return made


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RecordStore:
    place = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "EVENTS_A_SHARD", 40)
        ingested(place, write_ndjson(place / "in.ndjson", *everybody()))
    return RecordStore(place / "store")


def test_a_store_is_valid_meds(store: RecordStore) -> None:
    shards = sorted((store.path / "data").glob("*.parquet"))
    assert len(shards) > 1
    seen: set[int] = set()
    for shard in shards:
        table = pq.read_table(shard)
        DataSchema.validate(table)
        assert table.schema.equals(EVENT_SCHEMA)
        rows = table.select(["subject_id", "time"]).to_pandas()
        ordered = rows.sort_values(["subject_id", "time"], na_position="first", kind="stable")
        assert rows.equals(ordered)
        assert not seen & set(rows["subject_id"])
        seen |= set(rows["subject_id"])
    metadata = store.path / "metadata"
    CodeMetadataSchema.validate(pq.read_table(metadata / "codes.parquet"))
    SubjectSplitSchema.validate(pq.read_table(metadata / "subject_splits.parquet"))
    dataset = json.loads((metadata / "dataset.json").read_text("utf-8"))
    DatasetMetadataSchema.validate(dataset)
    assert set(store.splits()["subject_id"]) == seen == set(store.subjects())


def test_every_code_is_described(store: RecordStore) -> None:
    used = {code for (code,) in store.events().project("code").distinct().fetchall()}
    assert set(store.codes()["code"]) == used


@given(st.lists(st.tuples(st.integers(0, 29), st.integers(0, DAYS + 1)), max_size=12))
@settings(max_examples=25, deadline=None)
def test_timelines_hold_what_a_naive_reading_of_the_store_gives(
    store: RecordStore, asked: list[tuple[int, int]]
) -> None:
    subjects = store.subjects()
    start = pd.Timestamp("2020-05-01 08:00:00")
    index = pd.DataFrame(
        {
            "subject_id": np.array([subjects[who] for who, _ in asked], np.int64),
            "prediction_time": pd.to_datetime([start + pd.Timedelta(days=d) for _, d in asked]),
        }
    )
    given = store.timelines(index)
    events = store.events().df()
    for row, (subject, time) in enumerate(index.itertuples(index=False)):
        mine = events[events["subject_id"] == subject]
        known = mine[mine["time"].isna() | (mine["time"] <= time)]
        got = given.events[given.events["row"] == row]
        assert sorted(got["code"]) == sorted(known["code"])
        assert (got["time"].isna() == got["days_before"].isna()).all()
    assert given.events["row"].is_monotonic_increasing


def test_a_subject_that_nobody_knows_has_an_empty_timeline(store: RecordStore) -> None:
    index = pd.DataFrame({"subject_id": [1], "prediction_time": [pd.Timestamp("2020-01-01")]})
    assert store.timelines(index).events.empty


def test_what_is_no_store_is_refused(tmp_path: Path, store: RecordStore) -> None:
    with pytest.raises(StoreError, match=r"is not a record store: it lacks metadata/dataset\.json"):
        RecordStore(tmp_path)
    with pytest.raises(StoreError, match="leads out of its store"):
        store.image_path("images/../../elsewhere.png")
