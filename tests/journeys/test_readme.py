"""The README's commands work as they are written, on fewer patients."""

import re
from pathlib import Path

import pytest

from tests.hospital import ROOT, Hospital, medweave, readme_session


def test_the_session_names_every_command_of_the_path(tmp_path: Path) -> None:
    assert [command[0] for command in readme_session(tmp_path, 60)] == [
        *("simulate", "check", "ingest", "cohort", "train", "evaluate", "predict", "serve"),
    ]


def test_the_readme_runs_on_60_patients(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shared hospital is what the session's commands made."""
    assert list(hospital.printed) == [c[0] for c in readme_session(hospital.place, 60)]
    assert (hospital.place / "risks.parquet").is_file()
    assert (hospital.run / "report.html").is_file()
    (python,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    monkeypatch.chdir(hospital.place)
    known: dict = {}
    exec(python, known)  # noqa: S102 - our own README
    assert known["risks"].shape == known["without_image"].shape


@pytest.mark.slow
def test_the_readme_runs_as_written(tmp_path: Path) -> None:
    for command in readme_session(tmp_path, 2000):
        words = [*command, "--help"] if command[0] == "serve" else command
        medweave(*words, timeout_s=3600)
    assert (tmp_path / "run" / "report.html").is_file()
