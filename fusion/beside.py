"""What a run states beside a risk: its interval, which labels are left, who is unlike its training.

All are fitted after the models, on what training has read anyway, and change no model. A run of a
version that had none of them still scores.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from fusion.bands import Band, fit_bands
from fusion.candidates import Embedder
from fusion.conformal import LabelSets, fit_label_sets
from fusion.fitting import Scored
from fusion.late import ALONE
from fusion.run import read_json, write_json
from fusion.scoring import ALL_MODALITIES
from fusion.unlikeness import Familiar, fit_familiar
from ingest.errors import RunError
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = [
    "read_bands",
    "read_familiar",
    "read_sets",
    "remove_beside",
    "states_beside",
    "write_beside",
]

_SETS, _BANDS, _FAMILIAR = "conformal.json", "intervals.json", "unlikeness"


def write_beside(
    run: Path,
    scored: Scored,
    train: Timelines,
    unseen: Sequence[Timelines],
    *,
    tasks: Sequence[str],
    candidates: Sequence[str],
    encoders: Embedder,
    seed: int,
    folds: int | None,
    calibration: str,
) -> None:
    """Fit them and write them into a run that is not sealed yet.

    Args:
        run: the run directory.
        scored: what each model said of rows that it was not fitted on, uncalibrated.
        train: the rows that models learn from; all rows, where `folds` are given.
        unseen: tuning and calibration rows; none, where `folds` are given.
        tasks: the columns of what was scored.
        candidates: the run's models; notes or images that none of them reads are not read here.
        encoders: the frozen encoders.
        seed: of the samples and the folds.
        folds: in how many scores were cross-fitted, if they were.
        calibration: how the models were calibrated.
    """
    sets = fit_label_sets(scored.risks, scored.labels, tasks=tasks, folds=folds)
    write_json(run / _SETS, sets.to_json())
    bands = fit_bands(
        scored.risks, scored.labels, scored.subjects, tasks=tasks, method=calibration, seed=seed
    )
    stated = {
        task: {name: band.to_json() for name, band in by_name.items()}
        for task, by_name in bands.items()
    }
    write_json(run / _BANDS, stated)
    modalities = _read_by(candidates)
    familiar = fit_familiar(train, unseen, encoders, modalities=modalities, seed=seed, folds=folds)
    familiar.save(run / _FAMILIAR)


def states_beside(run: Path) -> bool:
    """Say whether a run states them all; one of an earlier version does not."""
    files = (run / _SETS, run / _BANDS)
    return all(file.is_file() for file in files) and (run / _FAMILIAR).is_dir()


def remove_beside(run: Path) -> None:
    """Remove what an earlier training stated."""
    for name in (_SETS, _BANDS):
        (run / name).unlink(missing_ok=True)
    shutil.rmtree(run / _FAMILIAR, ignore_errors=True)


def read_sets(run: Path) -> LabelSets:
    """Read the thresholds of the label sets.

    Raises:
        RunError: the run was trained by a version that had no label sets.
    """
    place = _stated(run, _SETS, "there were label sets", "cannot say which labels are ruled out")
    return LabelSets.from_json(read_json(place))


def read_bands(run: Path) -> dict[str, dict[str, Band]]:
    """Read the interval of each task's and model's risks.

    Raises:
        RunError: the run was trained by a version that stated none.
    """
    place = _stated(run, _BANDS, "risks had intervals", "states none")
    return {
        task: {name: Band.from_json(found) for name, found in by_name.items()}
        for task, by_name in read_json(place).items()
    }


def read_familiar(run: Path, encoders: Embedder) -> Familiar:
    """Read what tells rows that are unlike those of training.

    Raises:
        RunError: the run was trained by a version that did not measure it.
    """
    lacking = "cannot say who is unlike its training"
    return Familiar.load(_stated(run, _FAMILIAR, "unlikeness was measured", lacking), encoders)


def _read_by(candidates: Sequence[str]) -> frozenset[Modality]:
    """Say what a run compares: what its models look at, and events, which need no encoder."""
    if set(candidates) <= {"prevalence", *ALONE}:
        return frozenset({Modality.EVENTS, *(ALONE[n] for n in candidates if n in ALONE)})
    return ALL_MODALITIES


def _stated(run: Path, name: str, since: str, lacking: str) -> Path:
    """Give where it is stated; say what a run of before then does and does not."""
    if not (run / name).exists():
        raise RunError(
            f"{run} was trained before {since}: it scores, but {lacking}; train again (the same "
            "command; its models are not fitted anew)"
        )
    return run / name
