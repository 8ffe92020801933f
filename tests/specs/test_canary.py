"""The canary of each type: what was recorded too late can't be seen, though it happened before.

Each type that becomes an event has a patient of its own here, with one record (tests/ingest/
canaries.py) that happened in March and was recorded in June; so has each that R5 dates by what R4
has not. Asked in April, the store must answer as if that record were not there; asked in July, it
must show it. Labels go by when it happened.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from ingest.cohort import label_subjects
from ingest.projection import SUPPORTED
from ingest.store import RecordStore
from ingest.task import read_task
from tests.ingest.canaries import CANARIES, CANARIES_R5, CODE, SPAN, inside
from tests.ingest.canaries_changed import CHANGED_SOME_TIME
from tests.ingest.exports import ingested, write_ndjson

PREDICTED, LATER = "2020-04-01", "2020-07-01"
BEFORE, AFTER = "2020-02-01", "2020-05-15"

ALL = CANARIES | {f"{kind}-R5": canary for kind, canary in CANARIES_R5.items()} | CHANGED_SOME_TIME
"""Of R4 by type, of R5 or of what was changed with that behind it: the patient's id, too."""

TASK = """
predicates:
  asked: {{code: SNOMED//ASKED}}
  canary: {{code: "{code}"}}
trigger: asked
windows:
  history:
    start: null
    end: trigger
    start_inclusive: True
    end_inclusive: True
    index_timestamp: end
  target:
    start: history.end
    end: start + 60d
    start_inclusive: False
    end_inclusive: True
    label: canary
"""


def of_patient(kind: str, content: Any) -> Any:
    """Put the patient in: `$` in ids and references is the type, which is the patient's id."""
    if isinstance(content, dict):
        return {name: of_patient(kind, value) for name, value in content.items()}
    if isinstance(content, list):
        return [of_patient(kind, value) for value in content]
    return content.replace("$", kind) if isinstance(content, str) else content


def chart(kind: str, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give a patient who was asked about in February and in May, and lived until the next year."""
    who = {"reference": f"Patient/{kind}"}
    base = [
        inside("Condition", code={"coding": [{**CODE["coding"][0], "code": "ASKED"}]})
        | {"id": f"$-asked-{at}", "recordedDate": f"{at}T00:00:00Z"}
        for at in (BEFORE, AFTER)
    ]
    base.append(inside("Encounter", status="finished", period=SPAN) | {"id": "$-stay"})
    base.append(
        inside("Encounter", status="finished", period={"start": "2021-05-01T08:00:00Z"})
        | {"id": "$-last"}
    )
    if not any(r["resourceType"] == "Patient" for r in records):
        base.append({"resourceType": "Patient", "id": "$"})
    about = {"patient": who, "subject": who}
    return [
        of_patient(kind, {**r, **({} if r["resourceType"] == "Patient" else about)})
        for r in (*base, *records)
    ]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[RecordStore, RecordStore]:
    """Give the store with the canaries, and the one without them."""
    found = []
    for planted in (True, False):
        place = tmp_path_factory.mktemp("canaries")
        lines = [
            line
            for kind, one in ALL.items()
            for line in chart(kind, one.planted if planted else one.without)
        ]
        ingested(place, write_ndjson(place / "in.ndjson", *lines))
        found.append(RecordStore(place / "store"))
    return found[0], found[1]


def subject_of(store: RecordStore, kind: str) -> int:
    crosswalk = pd.read_parquet(store.path.with_name("store.raw") / "crosswalk.parquet")
    return int(crosswalk.set_index("subject_key").loc[f"Patient/{kind}", "subject_id"])


def seen(store: RecordStore, kind: str, at: str) -> pd.DataFrame:
    index = {"subject_id": [subject_of(store, kind)], "prediction_time": [pd.Timestamp(at)]}
    return store.timelines(pd.DataFrame(index)).events


def test_every_type_has_its_canary() -> None:
    assert set(CANARIES) == set(SUPPORTED)


@pytest.mark.parametrize("kind", ALL)
def test_what_was_recorded_later_cannot_be_seen_though_it_happened_before(stores, kind) -> None:
    planted, without = stores
    assert_frame_equal(seen(planted, kind, PREDICTED), seen(without, kind, PREDICTED))


@pytest.mark.parametrize("kind", ALL)
def test_it_is_seen_once_it_was_recorded(stores, kind) -> None:
    planted, without = stores
    assert ALL[kind].code in set(seen(planted, kind, LATER)["code"])
    assert ALL[kind].code not in set(seen(without, kind, LATER)["code"])


@pytest.mark.parametrize("kind", ALL)
def test_labels_go_by_when_it_happened(stores, tmp_path: Path, kind) -> None:
    """Of a type with one clock, by that: a prescription happens when it is written."""
    task = tmp_path / "canary.yaml"
    task.write_text(TASK.format(code=ALL[kind].code), "utf-8")
    planted, _ = stores
    labels, _ = label_subjects(planted.path, read_task(task))
    mine = labels[labels["subject_id"] == subject_of(planted, kind)]
    found = dict(zip(mine["prediction_time"].astype(str), mine["boolean_value"], strict=True))
    two_clocks = ALL[kind].two_clocks
    assert found == {BEFORE: two_clocks, AFTER: not two_clocks}
