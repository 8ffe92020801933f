"""The README's commands work as they are written, on fewer patients."""

import re
import shlex
from pathlib import Path

import pytest

from tests.hospital import ROOT, medweave


def session() -> list[list[str]]:
    """The commands of the README's step-by-step session, each without the word `medweave`."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    lines = next(b for b in blocks if "medweave simulate" in b).splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("medweave ")]


def run(place: Path, patients: str) -> None:
    for command in session():
        words = [patients if word == "2000" else word for word in command]
        words = [
            str(place / word)
            if re.match(r"(hospital|store|cohort|run)/|risks\.parquet", word)
            else word
            for word in words
        ]
        if words[0] == "serve":
            # The page has its own journey (test_page.py); here only that the words are right.
            medweave(*words, "--help")
        else:
            medweave(*words)


def test_the_session_names_every_command_of_the_path() -> None:
    assert [command[0] for command in session()] == [
        *("simulate", "check", "ingest", "cohort", "train", "evaluate", "predict", "serve"),
    ]


def test_the_readme_runs_on_60_patients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "60")
    (python,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    monkeypatch.chdir(tmp_path)
    known: dict = {}
    exec(python, known)  # noqa: S102 - our own README
    assert known["risks"].shape == known["without_image"].shape
    assert (tmp_path / "risks.parquet").is_file()
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.slow
def test_the_readme_runs_as_written(tmp_path: Path) -> None:
    run(tmp_path, "2000")
    assert (tmp_path / "run" / "report.html").is_file()
