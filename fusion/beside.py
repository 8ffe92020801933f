"""What a run states beside a risk: which labels are left, and who is unlike its training.

Both are fitted after the models, on what training has read anyway, and change no model. A run of a
version that had neither still scores.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from fusion.candidates import Embedder
from fusion.conformal import LabelSets, fit_label_sets
from fusion.fitting import Scored
from fusion.run import read_json, write_json
from fusion.unlikeness import Familiar, fit_familiar
from ingest.errors import RunError
from ingest.timeline import Timelines

__all__ = ["read_familiar", "read_sets", "remove_beside", "states_beside", "write_beside"]

_SETS, _FAMILIAR = "conformal.json", "unlikeness"
_AGAIN = "train again (the same command; its models are not fitted anew)"


def write_beside(
    run: Path,
    scored: Scored,
    train: Timelines,
    unseen: Sequence[Timelines],
    *,
    tasks: Sequence[str],
    encoders: Embedder,
    seed: int,
    folds: int | None,
) -> None:
    """Fit both and write them into a run that is not sealed yet.

    Args:
        run: the run directory.
        scored: what each model said of rows that it was not fitted on, uncalibrated.
        train: the rows that models learn from; all rows, where `folds` are given.
        unseen: tuning and calibration rows; none, where `folds` are given.
        tasks: the columns of what was scored.
        encoders: the frozen encoders.
        seed: of the samples and the folds.
        folds: in how many scores were cross-fitted, if they were.
    """
    sets = fit_label_sets(scored.risks, scored.labels, tasks=tasks, cross_fitted=bool(folds))
    write_json(run / _SETS, sets.to_json())
    familiar = fit_familiar(train, unseen, encoders, seed=seed, folds=folds)
    familiar.save(run / _FAMILIAR)


def states_beside(run: Path) -> bool:
    """Say whether a run states both; one of an earlier version states neither."""
    return (run / _SETS).is_file() and (run / _FAMILIAR).is_dir()


def remove_beside(run: Path) -> None:
    """Remove what an earlier training stated."""
    (run / _SETS).unlink(missing_ok=True)
    shutil.rmtree(run / _FAMILIAR, ignore_errors=True)


def read_sets(run: Path) -> LabelSets:
    """Read the thresholds of the label sets.

    Raises:
        RunError: the run was trained by a version that had no label sets.
    """
    if not (run / _SETS).is_file():
        raise RunError(
            f"{run} was trained before there were label sets: it scores, but cannot say which "
            f"labels are ruled out; {_AGAIN}"
        )
    return LabelSets.from_json(read_json(run / _SETS))


def read_familiar(run: Path, encoders: Embedder) -> Familiar:
    """Read what tells rows that are unlike those of training.

    Raises:
        RunError: the run was trained by a version that did not measure it.
    """
    if not (run / _FAMILIAR).is_dir():
        raise RunError(
            f"{run} was trained before unlikeness was measured: it scores, but cannot say who is "
            f"unlike its training; {_AGAIN}"
        )
    return Familiar.load(run / _FAMILIAR, encoders)
