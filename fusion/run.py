"""Contract 4, the run: a directory with what is needed to repeat and to serve it.

    run/
      run.json                configuration: tasks, seed, features left out, package versions
      tasks/TASK.yaml         the ACES tasks, as the cohort had them
      splits.parquet          subject_id and split of those that it was fitted and chosen on
      models/NAME/…           a candidate's fitted parts: safetensors, JSON, boosting's text
      calibration.json        the calibrator of each model and task
      champion.json           {"tasks": {TASK: {"model": NAME, "why": words}}}
      manifest.json           SHA-256 of each of the files above: the fitted artefact
      held_out.parquet        the others of its cohort; outside the manifest: no part of the fit
      metrics.json, report.html, figures    what `evaluate` writes; outside the manifest

Nothing here is unpickled, ever: what is served is data, not code.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ingest.errors import RunError

__all__ = ["digest_files", "fitted_files", "read_json", "seal_run", "verify_run", "write_json"]

_FITTED = ("run.json", "splits.parquet", "calibration.json", "champion.json", "tasks", "models")


def write_json(path: Path, content: Any) -> None:
    """Write JSON that is the same for the same content: sorted keys, two spaces, a last newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n", "utf-8")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        RunError: it is not there or not JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(
            f"{path} is not there; a run directory is what `medweave train` writes"
        ) from None
    except ValueError as error:
        raise RunError(f"{path} is not JSON: {error}") from None


def fitted_files(run: Path) -> Iterator[Path]:
    """List the files that make up the fitted artefact, sorted."""
    for name in _FITTED:
        place = run / name
        if place.is_file():
            yield place
        elif place.is_dir():
            yield from sorted(file for file in place.rglob("*") if file.is_file())


def seal_run(run: Path) -> None:
    """Write manifest.json: the SHA-256 of each fitted file."""
    write_json(run / "manifest.json", {"sha256": digest_files(run, fitted_files(run))})


def digest_files(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """Give the SHA-256 of each file under its path within the folder."""
    return {file.relative_to(folder).as_posix(): _digest(file) for file in files}


def verify_run(run: Path) -> None:
    """Check each fitted file against the manifest.

    Raises:
        RunError: a file is missing, was changed, or was added since the run was sealed.
    """
    stated: dict[str, str] = read_json(run / "manifest.json")["sha256"]
    found = {f.relative_to(run).as_posix(): f for f in fitted_files(run)}
    for name in sorted(stated.keys() | found.keys()):
        if name not in found:
            raise RunError(f"{run}: {name} is missing")
        if name not in stated:
            raise RunError(f"{run}: {name} was added after the run was sealed")
        if _digest(found[name]) != stated[name]:
            raise RunError(f"{run}: {name} was changed since the run was sealed (SHA-256 differs)")


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
