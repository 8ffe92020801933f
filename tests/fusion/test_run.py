"""Contract 4: a run is data whose hashes are checked before it serves."""

from pathlib import Path

import pytest

from fusion.run import read_json, seal_run, verify_run, write_json
from ingest.errors import RunError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_json(tmp_path / "run.json", {"seed": 0})
    write_json(tmp_path / "models" / "prevalence" / "weights.json", {"risk": 0.25})
    seal_run(tmp_path)
    return tmp_path


def test_a_sealed_run_verifies(run: Path) -> None:
    verify_run(run)


def test_metrics_are_outside_the_seal(run: Path) -> None:
    write_json(run / "metrics.json", {"auroc": 0.5})
    verify_run(run)


def test_a_changed_weight_is_found(run: Path) -> None:
    write_json(run / "models" / "prevalence" / "weights.json", {"risk": 0.26})
    with pytest.raises(RunError, match=r"models/prevalence/weights\.json was changed"):
        verify_run(run)


def test_an_added_file_is_found(run: Path) -> None:
    (run / "models" / "prevalence" / "more.pkl").write_bytes(b"x")
    with pytest.raises(RunError, match=r"more\.pkl was added"):
        verify_run(run)


def test_a_missing_file_is_found(run: Path) -> None:
    (run / "run.json").unlink()
    with pytest.raises(RunError, match=r"run\.json is missing"):
        verify_run(run)


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not there; a run directory"):
        verify_run(tmp_path)


def test_json_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="is not JSON"):
        read_json(tmp_path / "run.json")


@pytest.mark.parametrize("content", ["{}", "[]", "3", '"sha256"'])
def test_json_without_what_is_asked_of_it_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(RunError, match="lacks sha256"):
        verify_run(tmp_path)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5]})
    write_json(tmp_path / "b.json", {"a": [1.5], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
