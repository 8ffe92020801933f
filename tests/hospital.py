"""The real command line, and the small hospital that many tests share."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Hospital", "medweave"]

ROOT = Path(__file__).resolve().parent.parent


def medweave(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the real command line and insist on its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "serve.cli", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == code, f"{arguments}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


@dataclass(frozen=True, kw_only=True)
class Hospital:
    """A simulated hospital of 60 patients, taken the whole way by the command line."""

    place: Path
    printed: dict[str, str]

    @property
    def source(self) -> Path:
        return self.place / "hospital"

    @property
    def store(self) -> Path:
        return self.place / "store"

    @property
    def cohort(self) -> Path:
        return self.place / "cohort"

    @property
    def run(self) -> Path:
        return self.place / "run"
