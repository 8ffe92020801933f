"""Serve what was trained: calibrated scores from a sealed run directory."""

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Bool, Float64

from fusion.bands import Band
from fusion.beside import read_bands, read_familiar, read_sets, states_beside
from fusion.calibration import Calibrator
from fusion.candidates import Candidate, Embedder, candidate_type
from fusion.conformal import LabelSets
from fusion.named_encoders import encoders_of_run
from fusion.rows import drop_codes
from fusion.run import LAYOUT, read_json, verify_run
from fusion.scoring import ALL_MODALITIES, Scorer
from fusion.unlikeness import Familiar, Unlikeness
from ingest.conventions import Conventions, read_conventions
from ingest.damage import damage_of_table
from ingest.deidentify_choice import Deidentification, read_choice
from ingest.errors import RunError
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["ServedRun", "read_splits"]


class ServedRun:
    """Score timelines with each task's calibrated champion; a Scorer.

    The hashes of all fitted files are checked once, when it is made; a model is read when it is
    first asked.
    """

    tasks: tuple[str, ...]
    prevalence: dict[str, float]
    """Each task's base rate among the rows that the models were fitted on."""

    exclude_codes: tuple[str, ...]
    """Codes that no model sees, whoever hands over the timelines."""

    conventions: Conventions
    """How the records were read that it was trained on; what is served must be read alike."""

    deidentification: Deidentification | None
    """How they were de-identified, if they were; what is served must be scrubbed alike."""

    encoders: Embedder
    """What reads notes and images for its models."""

    def __init__(
        self,
        run: Path,
        *,
        cache: Path | None = None,
        encoders: Embedder | None = None,
        text: str | None = None,
        image: str | None = None,
    ):
        """Check and open a run.

        Args:
            run: the directory that `fusion.train` wrote.
            cache: where frozen tokens are kept; nowhere by default.
            encoders: those that the run was trained with, already made; by default those that
                `text` and `image` name, else those that the run names.
            text: where its text encoder is now, as a directory or a Hugging Face name.
            image: where its image encoder is now, as a directory or a timm name.

        Raises:
            RunError: a file is missing or was changed, or the encoders have other weights.
            UsageError: an encoder cannot be had.
        """
        verify_run(run)
        config = read_json(run / "run.json", "layout")
        if config["layout"] != LAYOUT:
            raise RunError(
                f"{run} was written by another version of Medweave (layout {config['layout']}, "
                f"this one reads {LAYOUT}); train again"
            )
        self.run = run
        self.tasks = tuple(config["tasks"])
        self.prevalence = config["prevalence"]
        self.exclude_codes = tuple(config["exclude_codes"])
        # A run that does not say was trained on units as they came.
        said = config.get("conventions")
        self.conventions = Conventions.of_json(said) if said else Conventions(keep_units=True)
        self.deidentification = Deidentification.of_report(config)
        self.names: tuple[str, ...] = tuple(config["candidates"])
        self._champions = read_json(run / "champion.json")["tasks"]
        self._calibration = read_json(run / "calibration.json")
        self._models: dict[str, Candidate] = {}
        self.encoders = encoders or encoders_of_run(config, cache, text=text, image=image)
        found, stated = self.encoders.preprocessing, config["preprocessing"]
        if found != stated:
            differing = sorted(
                name for name in found.keys() | stated.keys() if found.get(name) != stated.get(name)
            )
            raise RunError(
                f"{run} was trained with another encoder of {', '.join(differing)}; "
                "give the encoders that it was trained with"
            )

    def read_otherwise(self, store: Path) -> list[str]:
        """Say, a sentence each, in what a store was read otherwise than the one of training.

        Raises:
            StoreError: what the store says of itself is damaged.
        """
        said = []
        mine = read_conventions(store) or Conventions(keep_units=True)
        if mine.to_json() != self.conventions.to_json():
            said.append(
                "the store reads codes or units in another way than the one that the run was "
                "trained on: events may be unknown to the model, and its risks wrong"
            )
        choice = read_choice(store)
        if (choice is None) != (self.deidentification is None):
            now, then = ("is not", "was") if choice is None else ("is", "was not")
            said.append(
                f"the store {now} de-identified, and the one that the run was trained on {then}: "
                "notes may read otherwise to the model"
            )
        return said

    def champion(self, task: str) -> str:
        """Name the model that serves a task."""
        if task not in self._champions:
            raise ValueError(f"task must be one of {', '.join(self.tasks)}; got {task!r}")
        return self._champions[task]["model"]

    def why(self, task: str) -> str:
        """Say in one line which model serves a task, and why."""
        self.champion(task)
        return self._champions[task]["why"]

    def compared(self, task: str) -> dict[str, dict[str, float]]:
        """Give by which numbers the champion was chosen; empty where too few rows could choose.

        Of each model its `logloss` on these rows, how far it is `behind` the best, and the
        `standard_error` of that difference.
        """
        self.champion(task)
        return self._champions[task]["compared"]

    def threshold(self, task: str, name: str | None = None) -> float:
        """Give the threshold of a model (the champion by default): set without held-out rows."""
        return self._calibration[task][name or self.champion(task)]["threshold"]

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES
    ) -> Float64[np.ndarray, "b k"]:
        """Give each task's risk from its champion, calibrated."""
        risks = np.empty((len(timelines), len(self.tasks)))
        for name in sorted({self.champion(task) for task in self.tasks}):
            mine = [i for i, task in enumerate(self.tasks) if self.champion(task) == name]
            risks[:, mine] = self.scorer(name).score(timelines, modalities)[:, mine]
        return risks

    def scorer(self, name: str) -> Scorer:
        """Give any of the run's models, calibrated."""
        return _Calibrated(self.uncalibrated(name), self._calibrators(name))

    def uncalibrated(self, name: str) -> Scorer:
        """Give any of the run's models as it was fitted; its codes are left out, as always."""
        return _Uncalibrated(self.fitted(name), self.exclude_codes)

    def fitted(self, name: str) -> Candidate:
        """Give any of the run's models itself; what it is asked must be `seen` first."""
        if name not in self.names:
            raise ValueError(f"model must be one of {', '.join(self.names)}; got {name!r}")
        if name not in self._models:
            folder = self.run / "models" / name
            self._models[name] = candidate_type(name).load(folder, self.encoders)
        return self._models[name]

    def calibrator(self, task: str, name: str) -> Calibrator:
        """Give the calibrator of a model for a task."""
        return Calibrator.from_json(self._calibration[task][name])

    def seen(self, timelines: Timelines) -> Timelines:
        """Take away what no model of the run sees."""
        return drop_codes(timelines, self.exclude_codes)

    def calibrate(self, name: str, risks: Float64[np.ndarray, "b k"]) -> Float64[np.ndarray, "b k"]:
        """Calibrate what `uncalibrated` said."""
        return _calibrate(self._calibrators(name), risks)

    @cached_property
    def sets(self) -> LabelSets:
        """Give the thresholds of the label sets, of each task, model and level.

        Raises:
            RunError: the run was trained by a version that had no label sets.
        """
        return read_sets(self.run)

    @property
    def states_beside(self) -> bool:
        """Say whether the run states intervals, label sets and unlikeness."""
        return states_beside(self.run)

    def intervals(self, timelines: Timelines) -> Float64[np.ndarray, "b k 2"]:
        """Give the ends of each risk's 95 % interval (`fusion.bands`); NaN where none is stated.

        Raises:
            RunError: the run was trained by a version that stated none.
        """
        found = np.empty((len(timelines), len(self.tasks), 2))
        for name in sorted({self.champion(task) for task in self.tasks}):
            raw = self.uncalibrated(name).score(timelines)
            risks = self.calibrate(name, raw)
            for i, task in enumerate(self.tasks):
                if self.champion(task) == name:
                    band = self._bands[task][name]
                    found[:, i] = band.interval(raw[:, i], risks[:, i])
        return found

    @cached_property
    def _bands(self) -> dict[str, dict[str, Band]]:
        return read_bands(self.run)

    def label_sets(self, timelines: Timelines, *, level: float = 0.9) -> Bool[np.ndarray, "b k 2"]:
        """Say for each row and task which labels cannot be ruled out (`fusion.conformal`).

        Column 0 says whether 0 is left, column 1 whether 1 is: of the positives, and of the
        negatives, at least `level` keep their true label.

        Args:
            timelines: with all modalities that the rows have; the promise is not for subsets.
            level: one of `fusion.conformal.LEVELS`.

        Raises:
            RunError: the run was trained by a version that had no label sets.
            ValueError: another level.
        """
        cuts = [self.sets.cut(t, self.champion(t), level) for t in self.tasks]
        sets = np.ones((len(timelines), len(self.tasks), 2), dtype=bool)
        said = {
            name: self.uncalibrated(name).score(timelines)
            for name in sorted({self.champion(task) for task in self.tasks})
        }
        for i, task in enumerate(self.tasks):
            sets[:, i] = cuts[i].sets(said[self.champion(task)][:, i])
        return sets

    def unlikeness(self, timelines: Timelines) -> Unlikeness:
        """Say how unlike the rows of train each row is, and in which modality.

        It asks no model, so it says the same whatever serves. Notes and images are read through
        the encoders: with a cache, or within `encoders.cache.tokens_in_memory`, once with scoring.

        Raises:
            RunError: the run was trained by a version that did not measure it.
        """
        return self._familiar.compare(self.seen(timelines))

    @cached_property
    def _familiar(self) -> Familiar:
        return read_familiar(self.run, self.encoders)

    def _calibrators(self, name: str) -> list[Calibrator]:
        return [self.calibrator(task, name) for task in self.tasks]


class _Uncalibrated:
    def __init__(self, model: Candidate, exclude_codes: tuple[str, ...]):
        self.tasks = model.tasks
        self._model = model
        self._exclude_codes = exclude_codes

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES
    ) -> Float64[np.ndarray, "b k"]:
        timelines = drop_codes(timelines, self._exclude_codes)
        risks = self._model.score(timelines, modalities)
        if not np.isfinite(risks).all():
            raise RunError(
                f"{self._model.name} gives no number for {int((~np.isfinite(risks)).sum())} of "
                f"{risks.size} risks: its weights do not fit the installed code; train again"
            )
        return risks


class _Calibrated:
    def __init__(self, scorer: Scorer, calibrators: list[Calibrator]):
        self.tasks = scorer.tasks
        self._scorer = scorer
        self._calibrators = calibrators

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES
    ) -> Float64[np.ndarray, "b k"]:
        return _calibrate(self._calibrators, self._scorer.score(timelines, modalities))


def _calibrate(calibrators: list[Calibrator], risks: np.ndarray) -> np.ndarray:
    return np.stack([fit.apply(risks[:, i]) for i, fit in enumerate(calibrators)], axis=1)


def read_splits(run: Path) -> pd.DataFrame:
    """Give subject_id and split of everybody in the run's cohort."""
    files = [run / "splits.parquet", run / "held_out.parquet"]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise RunError(f"{run} lacks {', '.join(missing)}; train again with the same cohort")
    for file in files:
        told = damage_of_table(file, {"subject_id": pa.int64(), "split": pa.string()})
        if told:
            raise RunError(f"{told}; train again with the same cohort")
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
