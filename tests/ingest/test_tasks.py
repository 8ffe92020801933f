"""Each task file carries cases that a clinician can read; here they are run."""

from datetime import datetime
from pathlib import Path

import pytest

from ingest.task import read_task
from tests.ingest.shards import label, write_store

TASKS = sorted((Path(__file__).resolve().parents[2] / "ingest" / "tasks").glob("*.yaml"))
CASES = [
    pytest.param(path, case, id=f"{path.stem}: {case['says']}")
    for path in TASKS
    for case in read_task(path).settings.cases
]


@pytest.mark.parametrize(("path", "case"), CASES)
def test_a_tasks_own_case_gives_the_rows_that_it_says(path, case, tmp_path):
    events = [(1, *event) for event in case["events"]]
    found = label(write_store(tmp_path, events), path)
    assert found == [(1, _time(time), bool(value)) for time, value in case["rows"]]


def _time(value) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
