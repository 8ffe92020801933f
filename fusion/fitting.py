"""Fit the candidates, calibrate them, choose: the same steps for a run and inside a fold."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from fusion.calibration import Calibrator, fit_calibrator
from fusion.candidates import (
    CANDIDATES,
    EVERY_CANDIDATE,
    ON_REQUEST,
    Candidate,
    Embedder,
    Lesson,
    candidate_type,
)
from fusion.champion import Choice, choose_champion, youden_threshold
from fusion.finetune_config import FinetuneConfig
from fusion.folds import subject_folds
from fusion.late import PARTS, AverageCandidate, StackedCandidate
from fusion.rows import Rows
from ingest.errors import CohortError, UsageError

__all__ = [
    "Scored",
    "Settlement",
    "candidate_names",
    "candidate_options",
    "finetuning_asked",
    "finetuning_of",
    "fit_candidate",
    "fit_candidates",
    "score_across_folds",
    "settle",
    "split_tuning",
]

_TUNING_FOLDS = 7
"""One in seven of the subjects that are left in a fold stops early; as train to tuning, 6 to 1."""


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """Hold what was settled on rows that the models had not seen; first by task, then by model."""

    calibrators: dict[str, dict[str, Calibrator]]
    thresholds: dict[str, dict[str, float]]
    choices: dict[str, Choice]

    def calibrate(self, tasks: tuple[str, ...], name: str, risks: np.ndarray) -> np.ndarray:
        """Calibrate a model's risks, [b k]."""
        columns = [self.calibrators[t][name].apply(risks[:, i]) for i, t in enumerate(tasks)]
        return np.stack(columns, axis=1)


def candidate_names(asked: Sequence[str] | None) -> tuple[str, ...]:
    """Put the asked candidates in order, simplest first; `CANDIDATES` where none is asked for.

    Raises:
        UsageError: a name that there isn't, or none at all.

    >>> candidate_names(["stacked", "prevalence"])
    ('prevalence', 'stacked')
    """
    if asked is None:
        return tuple(CANDIDATES)
    every = ", ".join(EVERY_CANDIDATE)
    unknown = sorted(set(asked) - set(EVERY_CANDIDATE))
    if unknown:
        raise UsageError(f"no candidate is called {', '.join(unknown)}; there are {every}")
    if not list(asked):
        raise UsageError(f"at least one candidate is needed, of {every}")
    return tuple(name for name in EVERY_CANDIDATE if name in asked)


def finetuning_asked(names: Sequence[str], config: FinetuneConfig | None) -> dict[str, Any]:
    """Say, as an entry of run.json, how encoders are fine-tuned; nothing where none is.

    Raises:
        UsageError: it is said how, but no candidate does it.
    """
    if set(names) & set(ON_REQUEST):
        return {"finetune": asdict(config or FinetuneConfig())}
    if config is not None:
        raise UsageError(
            f"--finetune says how {' and '.join(ON_REQUEST)} are trained, and neither is asked "
            "for; name one with --candidates, or leave --finetune out"
        )
    return {}


def finetuning_of(config: Mapping[str, Any]) -> FinetuneConfig:
    """Read what `finetuning_asked` said."""
    return FinetuneConfig(**config.get("finetune", {}))


def candidate_options(config: Mapping[str, Any]) -> str:
    """Say in words of the command line which candidates run.json names, if not the usual ones.

    >>> candidate_options({"candidates": ["prevalence"]})
    ' --candidates prevalence'
    >>> candidate_options({"candidates": list(CANDIDATES)})
    ''
    """
    names = config["candidates"]
    asked = f" --candidates {' '.join(names)}" if list(names) != list(CANDIDATES) else ""
    layers = finetuning_of(config).layers
    return asked + (f" --finetune {layers}" if layers != FinetuneConfig().layers else "")


def fit_candidate(name: str, lesson: Lesson, *, fitted: dict[str, Candidate]) -> Candidate:
    """Fit one candidate; late fusion takes the single-modality models that are fitted already."""
    kind = candidate_type(name)
    if kind in (AverageCandidate, StackedCandidate):
        parts = {part: fitted[part] for part in PARTS if part in fitted}
        return kind.fit(lesson, parts=parts or None)
    return kind.fit(lesson)


def fit_candidates(names: Sequence[str], lesson: Lesson) -> dict[str, Candidate]:
    """Fit candidates in order."""
    fitted: dict[str, Candidate] = {}
    for name in names:
        fitted[name] = fit_candidate(name, lesson, fitted=fitted)
    return fitted


def split_tuning(rows: Rows, *, seed: int) -> tuple[Rows, Rows]:
    """Set a seventh of the subjects apart for early stopping."""
    subjects = len(np.unique(rows.subjects))
    if subjects < 2:
        raise CohortError(f"at least 2 subjects are needed to fit on; got {subjects}")
    fold = subject_folds(rows.subjects, rows.labels, folds=min(_TUNING_FOLDS, subjects), seed=seed)
    return rows.take(np.flatnonzero(fold != 0)), rows.take(np.flatnonzero(fold == 0))


def score_across_folds(
    names: Sequence[str],
    *,
    tasks: tuple[str, ...],
    rows: Rows,
    folds: int,
    encoders: Embedder,
    seed: int,
    finetune: FinetuneConfig | None = None,
    progress: bool = False,
) -> dict[str, np.ndarray]:
    """Score each row by models that were fitted on other subjects: name to [b k], uncalibrated."""
    fold = subject_folds(rows.subjects, rows.labels, folds=folds, seed=seed)
    risks = {name: np.full(rows.labels.shape, np.nan) for name in names}
    for held in tqdm(range(folds), "cross-fitting", disable=not progress, leave=False):
        outside = np.flatnonzero(fold == held)
        train, tuning = split_tuning(rows.take(np.flatnonzero(fold != held)), seed=seed)
        lesson = Lesson(
            tasks=tasks,
            train=train,
            tuning=tuning,
            encoders=encoders,
            seed=seed,
            finetune=finetune or FinetuneConfig(),
        )
        fitted = fit_candidates(names, lesson)
        timelines = rows.timelines.take(outside)
        for name, model in fitted.items():
            risks[name][outside] = model.score(timelines)
    return risks


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Hold what each model said of rows that it was not fitted on."""

    risks: dict[str, np.ndarray]
    """[b k] of each model, uncalibrated, simplest first."""

    labels: Float[np.ndarray, "b k"]
    subjects: np.ndarray


def settle(
    *,
    tasks: tuple[str, ...],
    calibration: Scored,
    tuning: Scored | None,
    forced: str | None = None,
    method: str = "platt",
) -> Settlement:
    """Calibrate on the calibration rows; choose, and set thresholds, on these and tuning's.

    Tuning alone would be too few to choose by in most hospitals, and flatters whatever stopped
    early on it; so calibration's rows choose as well, each half calibrated for that purpose by what
    was fitted on the other half. Where `tuning` is None (cross-fitted scores) the rows do both.
    """
    for scored in (calibration, tuning):
        for name, risks in (scored.risks if scored else {}).items():
            if not np.isfinite(risks).all():
                raise ValueError(f"{name} gives {int((~np.isfinite(risks)).sum())} risks as NaN")
    calibrators: dict[str, dict[str, Calibrator]] = {}
    thresholds: dict[str, dict[str, float]] = {}
    choices: dict[str, Choice] = {}
    for i, task in enumerate(tasks):
        truth = calibration.labels[:, i]
        kept, chosen_on, served_as = {}, {}, {}
        for name, risks in calibration.risks.items():
            risk = risks[:, i]
            kept[name] = fit_calibrator(risk, truth, method=method)
            mine = kept[name].apply(risk)
            if tuning is None:
                chosen_on[name] = served_as[name] = mine
                continue
            other, other_truth = tuning.risks[name][:, i], tuning.labels[:, i]
            swapped = fit_calibrator(other, other_truth, method=method).apply(risk)
            theirs = kept[name].apply(other)
            chosen_on[name] = np.concatenate([theirs, swapped])
            served_as[name] = np.concatenate([theirs, mine])
        label, subjects, rows_name = truth, calibration.subjects, "cross-fitted"
        if tuning is not None:
            label = np.concatenate([tuning.labels[:, i], truth])
            subjects = np.concatenate([tuning.subjects, calibration.subjects])
            rows_name = "tuning and calibration"
        calibrators[task] = kept
        choices[task] = choose_champion(
            task, chosen_on, label, subjects=subjects, rows_name=rows_name, forced=forced
        )
        thresholds[task] = {name: youden_threshold(r, label) for name, r in served_as.items()}
    return Settlement(calibrators=calibrators, thresholds=thresholds, choices=choices)
