"""Cross-validate by patient: for cohorts too small to hold a fifth of them out for good.

Everything is done inside the folds: vocabulary, scaling, penalties, early stopping, calibration,
thresholds and the choice of the champion see none of the patients that a fold judges. So what is
judged is the whole procedure, and the folds may choose different champions; their pooled answers
stand in the table as `chosen`. Inside a fold, calibration and choice use cross-fitted scores, since
a tenth of the patients would be too few to choose by.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from fusion.candidates import Embedder, Lesson
from fusion.evaluate import read_flow, subgroups
from fusion.finetune_config import FinetuneConfig
from fusion.fitting import (
    Scored,
    candidate_names,
    candidate_options,
    finetuning_asked,
    fit_candidates,
    score_across_folds,
    settle,
    split_tuning,
)
from fusion.folds import subject_folds
from fusion.judged import Judged, measure_task
from fusion.missing import lacking
from fusion.named_encoders import encoder_options, encoders_stated, frozen_encoders
from fusion.report import write_report
from fusion.rows import Rows, read_rows
from fusion.run import write_json
from fusion.scoring import ALL_MODALITIES, subset_name, subsets
from fusion.train import excluded_codes, token_cache
from ingest.damage import naming_damage
from ingest.errors import CohortError, UsageError
from ingest.labels import read_cohort
from ingest.schema import Modality

__all__ = ["CHOSEN", "cross_validate"]

CHOSEN = "chosen"
"""What each fold's own champion said, pooled."""


class _Answers:
    """Gather what was said of each row: sums over repeats, to be averaged."""

    def __init__(self, shape: tuple[int, int]):
        self._shape = shape
        self._sums: dict[tuple[str, str], np.ndarray] = {}

    def add(self, kind: str, name: str, rows: np.ndarray, task: int, values: Any) -> None:
        sums = self._sums.setdefault((kind, name), np.zeros(self._shape))
        sums[rows, task] += values

    def mean(self, kind: str, repeats: int) -> dict[str, np.ndarray]:
        return {name: s / repeats for (k, name), s in self._sums.items() if k == kind}


def cross_validate(
    store: Path,
    cohort: Path,
    out: Path,
    *,
    folds: int = 5,
    repeats: int = 1,
    seed: int = 0,
    exclude_codes: Sequence[str] = (),
    candidates: Sequence[str] | None = None,
    drop: Sequence[Modality | str] = (),
    inner_folds: int = 4,
    bootstrap: int = 1000,
    cache: Path | None = None,
    encoders: Embedder | None = None,
    text: str | None = None,
    image: str | None = None,
    finetune: FinetuneConfig | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Judge the whole procedure on each patient once a repeat; write metrics, report, predictions.

    Args:
        store: the record store.
        cohort: the cohort directory; its splits are not used.
        out: where metrics.json, report.html and predictions.parquet go.
        folds: how many; each holds out another part of the patients.
        repeats: with other folds; a row's risks are averaged over them.
        seed: of folds and fits.
        exclude_codes: regular expressions of codes that are no features, besides the tasks' own.
        candidates: names out of `fusion.candidates.EVERY_CANDIDATE`; by default all but those that
            are fitted only on request.
        drop: modalities that no model may see.
        inner_folds: of the cross-fitting that calibrates and chooses within a fold.
        bootstrap: resamples of patients for the intervals.
        cache: where frozen tokens are kept; beside the store by default.
        encoders: the frozen encoders, already made; by default those that `text` and `image` name.
        text: a Hugging Face name or a directory; the embedded text encoder by default.
        image: a timm name or a directory; the embedded image encoder by default.
        finetune: how the candidates that fine-tune an encoder do it.
        progress: show bars.

    Returns:
        The content of metrics.json, as `evaluate` writes it, with split `cross_validated`, and for
        each task `choices`: how many folds chose which model.

    Raises:
        CohortError: one class only, or fewer patients than folds.
        UsageError: `out` holds a trained run, whose report would be lost, or an encoder cannot be
            had.
    """
    names = candidate_names(candidates)
    asked_how = finetuning_asked(names, finetune)
    hidden = _modalities(drop)
    if (out / "manifest.json").is_file():
        raise UsageError(f"{out} holds a trained run; name another directory for the folds")
    with naming_damage(store=store, cohort=cohort):
        table = read_cohort(cohort)
        patterns = excluded_codes(cohort, exclude_codes)
        rows = read_rows(store, table, np.arange(len(table.index)), exclude_codes=patterns)
        flow = read_flow(cohort, table)
    rows = Rows(timelines=rows.timelines.only(ALL_MODALITIES - hidden), labels=rows.labels)
    _check(table.tasks, rows, folds, inner_folds)
    if encoders is None:
        encoders = frozen_encoders(cache or token_cache(store), text=text, image=image)
    named = encoders_stated(encoders)

    answers = _Answers(rows.labels.shape)
    choices: dict[str, Counter[str]] = {task: Counter() for task in table.tasks}
    bar = tqdm(total=folds * repeats, desc="cross-validation", disable=not progress)
    for repeat in range(repeats):
        fold = subject_folds(rows.subjects, rows.labels, folds=folds, seed=seed + repeat)
        for held in range(folds):
            chosen = _one_fold(
                names,
                table.tasks,
                rows,
                np.flatnonzero(fold == held),
                answers,
                inner_folds=inner_folds,
                encoders=encoders,
                seed=seed + repeat,
                finetune=finetune or FinetuneConfig(),
            )
            for task, name in chosen.items():
                choices[task][name] += 1
            bar.update()
    bar.close()

    models = answers.mean("model", repeats)
    cuts = answers.mean("threshold", repeats)
    by_subset = answers.mean("subset", repeats)
    judged = []
    for i, task in enumerate(table.tasks):
        known = np.flatnonzero(np.isfinite(rows.labels[:, i]))
        mine = rows.timelines.take(known)
        judged.append(
            Judged(
                task=task,
                label=rows.labels[known, i].astype(np.float64),
                subjects=rows.subjects[known],
                champion=CHOSEN,
                models={name: models[name][known, i] for name in (*names, CHOSEN)},
                thresholds={name: cuts[name][known, i] for name in (*names, CHOSEN)},
                subsets={
                    subset_name(s): by_subset[subset_name(s)][known, i]
                    for s in subsets()
                    if not s & hidden
                },
                groups=subgroups(mine),
                lacks=lacking(mine),
            )
        )
    metrics: dict[str, Any] = {
        "split": "cross_validated",
        "bootstrap": bootstrap,
        "seed": seed,
        "folds": folds,
        "repeats": repeats,
        "exclude_codes": patterns,
        "dropped": sorted(str(m) for m in hidden),
        "flow": {name: part for name, part in flow.items() if name != "splits"},  # not used here
        **named,
        **asked_how,
        "tasks": {},
    }
    for one in judged:
        entry = measure_task(one, bootstrap=bootstrap, seed=seed)
        counted = choices[one.task].most_common()
        entry["choices"] = dict(counted)
        told = ", ".join(f"{name} in {n}" for name, n in counted)
        entry["why"] = (
            f"{one.task}: of {folds * repeats} folds, {told} won; `chosen` pools what each fold's "
            "own champion said of patients that it had not seen"
        )
        metrics["tasks"][one.task] = entry
    write_json(out / "metrics.json", metrics)
    _write_predictions(out / "predictions.parquet", judged, rows)
    command = f"medweave train --store {store.name} --cohort {cohort.name} --run {out.name}"
    command += f" --folds {folds} --repeats {repeats} --seed {seed}"
    command += "".join(f" --exclude '{pattern}'" for pattern in exclude_codes)
    command += candidate_options({"candidates": names, **asked_how}) + encoder_options(named)
    write_report(out / "report.html", metrics, judged, run=out, commands={"repeat": command})
    return metrics


def _one_fold(
    names: Sequence[str],
    tasks: tuple[str, ...],
    rows: Rows,
    outside: np.ndarray,
    answers: _Answers,
    *,
    inner_folds: int,
    encoders: Embedder,
    seed: int,
    finetune: FinetuneConfig,
) -> dict[str, str]:
    """Fit, calibrate and choose without the rows outside, then answer for them."""
    inside = rows.take(np.setdiff1d(np.arange(len(rows)), outside))
    more = {"encoders": encoders, "seed": seed, "finetune": finetune}
    said = score_across_folds(names, tasks=tasks, rows=inside, folds=inner_folds, **more)
    scored = Scored(risks=said, labels=inside.labels, subjects=inside.subjects)
    settled = settle(tasks=tasks, calibration=scored, tuning=None)
    train, tuning = split_tuning(inside, seed=seed)
    lesson = Lesson(tasks=tasks, train=train, tuning=tuning, **more)
    fitted = fit_candidates(names, lesson)
    timelines = rows.timelines.take(outside)
    for name, model in fitted.items():
        risks = settled.calibrate(tasks, name, model.score(timelines))
        for i, task in enumerate(tasks):
            answers.add("model", name, outside, i, risks[:, i])
            answers.add("threshold", name, outside, i, settled.thresholds[task][name])
    chosen = {task: choice.model for task, choice in settled.choices.items()}
    for modalities in subsets():
        said = {
            name: settled.calibrate(tasks, name, fitted[name].score(timelines, modalities))
            for name in sorted(set(chosen.values()))
        }
        for i, task in enumerate(tasks):
            risk = said[chosen[task]][:, i]
            answers.add("subset", subset_name(modalities), outside, i, risk)
            if modalities == ALL_MODALITIES:
                answers.add("model", CHOSEN, outside, i, risk)
                cut = settled.thresholds[task][chosen[task]]
                answers.add("threshold", CHOSEN, outside, i, cut)
    return chosen


def _modalities(drop: Sequence[Modality | str]) -> frozenset[Modality]:
    try:
        hidden = frozenset(Modality(name) for name in drop)
    except ValueError:
        raise UsageError(
            f"a modality is one of {', '.join(Modality)}; got {', '.join(map(str, drop))}"
        ) from None
    if hidden == ALL_MODALITIES:
        raise UsageError("at least one modality must be left to learn from")
    return hidden


def _check(tasks: tuple[str, ...], rows: Rows, folds: int, inner_folds: int) -> None:
    if folds < 2 or inner_folds < 2:
        raise UsageError(f"folds must be at least 2; got folds={folds}, inner_folds={inner_folds}")
    for task, labels in zip(tasks, rows.labels.T, strict=True):
        for value, word in ((1, "positives"), (0, "negatives")):
            subjects = len(np.unique(rows.subjects[labels == value]))
            if subjects < 2:
                raise CohortError(
                    f"{task}: {subjects} patients are {word}; to fit in one fold and judge in "
                    "another at least 2 are needed"
                )
    subjects = len(np.unique(rows.subjects))
    if subjects < folds * 2:
        raise CohortError(f"{subjects} patients are too few for {folds} folds; take fewer")


def _write_predictions(path: Path, judged: list[Judged], rows: Rows) -> None:
    parts = []
    for i, one in enumerate(judged):
        known = np.flatnonzero(np.isfinite(rows.labels[:, i]))
        index = rows.timelines.index.iloc[known][["subject_id", "prediction_time"]]
        parts.append(index.assign(task=one.task, label=one.label, **one.models))
    pd.concat(parts, ignore_index=True).to_parquet(path, index=False)
