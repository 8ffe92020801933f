"""Contract 4, the run: a directory with what is needed to repeat and to serve it.

    run/
      run.json                configuration: tasks, seed, features left out, package versions
      tasks/TASK.yaml         the tasks, ACES's or tables' of labels, as the cohort had them
      splits.parquet          subject_id and split of those that it was fitted and chosen on
      models/NAME/…           a candidate's fitted parts: safetensors, JSON, boosting's text
      calibration.json        the calibrator of each model and task
      champion.json           {"tasks": {TASK: {"model": NAME, "why": words}}}
      conformal.json          thresholds of the label sets, of each task, model, level and class
      intervals.json          the interval of each risk, of each task and model
      unlikeness/…            what tells rows that are unlike training's: JSON and safetensors
      manifest.json           SHA-256 of each of the files above: the fitted artefact
      held_out.parquet        the others of its cohort; outside the manifest: no part of the fit
      times/TASK.parquet      when a table of labels asks, where it said; outside the manifest
      sources.json            where the store and the cohort lay; outside the manifest
      metrics.json, report.html             what `evaluate` says of held_out; outside the manifest
      MODEL_CARD.md                         the same figures as a card; outside the manifest
      metrics.SPLIT.json, report.SPLIT.html    the same of another split

Nothing here is unpickled, ever: what is served is data, not code.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ingest.errors import RunError

__all__ = [
    "LAYOUT",
    "digest_files",
    "fitted_files",
    "read_json",
    "refuse_folds",
    "seal_run",
    "verify_run",
    "write_json",
]

LAYOUT = 2
"""Raised when what a run holds changes: old ones are fitted anew, and not served."""

_FITTED = (
    "run.json",
    "splits.parquet",
    "calibration.json",
    "champion.json",
    "conformal.json",
    "intervals.json",
    "tasks",
    "models",
    "unlikeness",
)


def write_json(path: Path, content: Any) -> None:
    """Write JSON that is the same for the same content: sorted keys, two spaces, a last newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n", "utf-8")


def read_json(path: Path, *keys: str) -> Any:
    """Read JSON, an object with at least these keys where any are named.

    Raises:
        RunError: it is not there, not JSON or without a key.
    """
    try:
        content: Any = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(
            f"{path} is not there; a run directory is what `medweave train` writes"
        ) from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is not JSON: {error}") from None
    missing = [key for key in keys if not _has(content, key)]
    if missing:
        raise RunError(f"{path} lacks {', '.join(missing)}: it is not what Medweave wrote")
    return content


def _has(content: Any, key: str) -> bool:
    return isinstance(content, dict) and key in content


def fitted_files(run: Path) -> Iterator[Path]:
    """List the files that make up the fitted artefact, sorted."""
    for name in _FITTED:
        place = run / name
        if place.is_file():
            yield place
        elif place.is_dir():
            yield from sorted(file for file in place.rglob("*") if file.is_file())


def refuse_folds(run: Path) -> None:
    """Refuse the directory that cross-validation writes: it looks like a run and holds no model.

    Raises:
        RunError: it is one.
    """
    if (run / "predictions.parquet").is_file() and not (run / "manifest.json").is_file():
        raise RunError(
            f"{run} is a cross-validation: it has been judged already, see {run}/report.html, and "
            "has no model to serve; `medweave train` without --folds makes one"
        )


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
    refuse_folds(run)
    stated = read_json(run / "manifest.json", "sha256")["sha256"]
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
