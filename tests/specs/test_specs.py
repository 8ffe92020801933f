from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ingest.cohort import label_subjects, prediction_times
from ingest.store import RecordStore
from ingest.task import read_task
from tests.specs.spec import Spec, build, read_timeline, timeline_of


def all_specs() -> list[Spec]:
    names = sorted(
        path.stem
        for path in Path(__file__).parent.glob("*.py")
        if path.stem not in ("spec", "__init__") and not path.stem.startswith("test_")
    )
    modules = [import_module(f"tests.specs.{name}") for name in names]
    return [spec for m in modules for spec in getattr(m, "SPECS", None) or (m.SPEC,)]


@pytest.fixture(scope="module", params=all_specs(), ids=lambda spec: spec.title)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Spec, RecordStore, dict[str, Any]]:
    store, report = build(request.param, tmp_path_factory.mktemp("spec"))
    return request.param, store, report


def test_the_timeline_is_as_the_spec_says(built) -> None:
    spec, store, _ = built
    assert timeline_of(store, spec.timeline) == read_timeline(spec.timeline)


def test_each_record_is_accounted_for_as_the_spec_says(built) -> None:
    spec, _, report = built
    found: dict[str, Any] = {}
    for file in report["files"].values():
        for kind in ("projected", "superseded", "deleted"):
            found[kind] = found.get(kind, 0) + file[kind]
        for kind in ("skipped", "quarantined"):
            for reason, n in file[kind].items():
                found.setdefault(kind, {})
                found[kind][reason] = found[kind].get(reason, 0) + n
    records = sum(file["records"] for file in report["files"].values())
    expected = spec.accounts or {"projected": records}
    assert {kind: n for kind, n in found.items() if n} == expected


def test_a_model_is_given_only_what_was_known(built) -> None:
    spec, store, _ = built
    for time, modalities in spec.sees.items():
        index = pd.DataFrame(
            {"subject_id": store.subjects(), "prediction_time": pd.Timestamp(time)}
        )
        seen = store.timelines(index)
        assert set(seen.events["modality"]) == modalities, time


def test_the_labels_are_as_the_spec_says(built) -> None:
    spec, store, _ = built
    assert spec.task, "a spec says what a task makes of its patient"
    assert spec.labels is not None
    task = Path(__file__).parent / "tasks" / f"{spec.task}.yaml"
    labels, _ = label_subjects(store.path, read_task(task))
    found = dict(zip(labels["prediction_time"], labels["boolean_value"], strict=True))
    expected = {pd.Timestamp(label.prediction_time): label.value for label in spec.labels}
    assert found == {time: value for time, value in expected.items() if value is not None}
    # A label that can't be known has no row, but one can still predict.
    assert set(prediction_times(store.path, task)["prediction_time"]) == set(expected)
