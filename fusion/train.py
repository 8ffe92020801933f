"""Train: fit every candidate, calibrate, choose the champion, write and seal the run directory."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tqdm import tqdm

from fusion.beside import remove_beside, states_beside, write_beside
from fusion.candidates import ON_REQUEST, Candidate, Embedder, Lesson, candidate_type
from fusion.champion import FEWEST_TO_CHOOSE
from fusion.finetune_config import FinetuneConfig
from fusion.fitting import (
    Scored,
    Settlement,
    candidate_names,
    finetuning_asked,
    finetuning_of,
    fit_candidate,
    score_across_folds,
    settle,
)
from fusion.named_encoders import encoders_stated, frozen_encoders
from fusion.prevalence import base_rates
from fusion.rows import Rows, digest_rows, read_rows
from fusion.run import LAYOUT, digest_files, read_json, seal_run, verify_run, write_json
from ingest.conventions import Conventions, read_conventions
from ingest.damage import naming_damage
from ingest.deidentify_choice import read_choice
from ingest.errors import CohortError, MedweaveError, RunError, UsageError
from ingest.labels import Cohort, read_cohort, write_splits

__all__ = ["excluded_codes", "token_cache", "train"]

_DONE = "fitted.json"
_PACKAGES = ("medweave", "lightgbm", "numpy", "pandas", "scikit-learn", "scipy", "torch")
_FOLDS_OF_FEW, _FEW = 5, 2000
_NO_MATTER = ("candidates", "champion", "encoders", "finetune")
"""To one model: weights tell, not their place; and only those that are fine-tuned ask how."""


def train(
    store: Path,
    cohort: Path,
    run: Path,
    *,
    seed: int = 0,
    candidates: Sequence[str] | None = None,
    exclude_codes: Sequence[str] = (),
    cache: Path | None = None,
    folds: int | None = None,
    champion: str | None = None,
    calibration: str = "platt",
    encoders: Embedder | None = None,
    text: str | None = None,
    image: str | None = None,
    finetune: FinetuneConfig | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Write a run directory and say which model serves each task.

    A model that was fitted before with the same question is not fitted again; a sealed run with the
    same question is left as it is. The same inputs give the same bytes on a CPU. Held-out rows are
    never read.

    Args:
        store: the record store.
        cohort: the cohort directory.
        run: the directory to write.
        seed: of everything that draws.
        candidates: names out of `fusion.candidates.EVERY_CANDIDATE`; by default all but those that
            are fitted only on request.
        exclude_codes: regular expressions of codes that are no features, besides the tasks' own.
        cache: where frozen tokens are kept; beside the store by default.
        folds: calibrate and choose by cross-fitting on all rows that are not held out, as is done
            unasked where tuning has too few of a class to choose by and the rows are few.
        champion: the model that serves, whatever tuning says.
        calibration: platt or isotonic.
        encoders: the frozen encoders, already made; by default those that `text` and `image` name.
        text: a Hugging Face name or a directory; the embedded text encoder by default.
        image: a timm name or a directory; the embedded image encoder by default.
        finetune: how the candidates that fine-tune an encoder do it.
        progress: show bars.

    Returns:
        The content of champion.json: `{"tasks": {TASK: {"model", "why", …}}}`.

    Raises:
        CohortError: no row to fit on, or one class only.
        UsageError: a candidate that there isn't, or an encoder that cannot be had.
    """
    names = candidate_names(candidates)
    asked_how = finetuning_asked(names, finetune)
    if champion is not None and champion not in names:
        raise UsageError(f"the champion must be one of {', '.join(names)}; got {champion!r}")
    with naming_damage(store=store, cohort=cohort):
        table = read_cohort(cohort)
        patterns = excluded_codes(cohort, exclude_codes)
        read = {
            split: read_rows(store, table, table.rows(split), exclude_codes=patterns)
            for split in ("train", "tuning", "calibration")
        }
    _check(table, read["train"])
    config = {
        "layout": LAYOUT,
        "tasks": list(table.tasks),
        "seed": seed,
        "candidates": list(names),
        "exclude_codes": patterns,
        "folds": folds or _needed_folds(read),
        "champion": champion,
        "calibration": calibration,
        "packages": _versions(),
        "conventions": (read_conventions(store) or Conventions(keep_units=True)).to_json(),
    }
    choice = read_choice(store)
    if choice is not None:
        config |= {"deidentified": choice.stated()}
    if encoders is None:
        encoders = frozen_encoders(cache or token_cache(store), text=text, image=image)
    config |= {"preprocessing": encoders.preprocessing, **encoders_stated(encoders), **asked_how}
    asked = {f.name: f.read_text("utf-8") for f in sorted((cohort / "tasks").glob("*.yaml"))}
    rows = [digest_rows(r) for r in read.values()]
    fingerprint = _fingerprint({"config": config, "rows": rows, "asked": asked})
    if _is_done(run, fingerprint):
        _write_sources(run, store, cohort, table)
        return read_json(run / "champion.json")

    _clear(run, names)
    learnt = [read["train"], read["calibration"]]
    everything = _together(learnt) if config["folds"] else read["train"]
    models = _fit(run, names, config, everything, read["tuning"], encoders, progress)
    scored = _score(names, config, read, models, encoders, progress)
    _write(run, cohort, table, config, fingerprint, everything, _settle(config, scored))
    _write_beside(run, config, read, scored["calibration"], encoders)
    seal_run(run)
    _write_sources(run, store, cohort, table)
    return read_json(run / "champion.json")


def excluded_codes(cohort: Path, asked: Sequence[str] = ()) -> list[str]:
    """Join the codes that the tasks leave out (`metadata.exclude_codes`) with those asked for.

    Raises:
        CohortError: a task is not what `medweave cohort` kept: with it, codes that give the
            outcome away would come back in.
    """
    patterns = set(asked)
    for file in sorted((cohort / "tasks").glob("*.yaml")):
        content = yaml.safe_load(file.read_text("utf-8"))
        metadata = content.get("metadata") or {} if isinstance(content, dict) else None
        excluded = (metadata.get("exclude_codes") or ()) if isinstance(metadata, dict) else None
        if isinstance(excluded, str) or not isinstance(excluded, Sequence):
            raise CohortError(f"{file} is no task: metadata and its exclude_codes do not fit")
        patterns |= {str(pattern) for pattern in excluded}
    return sorted(patterns)


def token_cache(store: Path) -> Path:
    """Say where frozen tokens are kept: beside the store, since they are made of its patients."""
    place = store.resolve()  # `.` has no name
    return place.with_name(place.name + ".tokens")


def _check(table: Cohort, rows: Rows) -> None:
    if not len(rows):
        raise CohortError("the cohort has no row in train to fit on")
    for task, labels in zip(table.tasks, rows.labels.T, strict=True):
        known = labels[np.isfinite(labels)]
        if len(np.unique(known)) < 2:
            raise CohortError(
                f"{task}: train has {int((known == 1).sum())} positives and "
                f"{int((known == 0).sum())} negatives; both classes are needed to learn from"
            )


def _needed_folds(read: dict[str, Rows]) -> int | None:
    """Cross-fit where tuning cannot choose, as long as that does not take for ever."""
    rows = sum(len(part) for part in read.values())
    labels = read["tuning"].labels
    fewest = min(int((labels == value).sum(axis=0).min()) for value in (0, 1)) if len(labels) else 0
    return _FOLDS_OF_FEW if fewest < FEWEST_TO_CHOOSE and rows < _FEW else None


def _fit(
    run: Path,
    names: Sequence[str],
    config: dict[str, Any],
    rows: Rows,
    tuning: Rows,
    encoders: Embedder,
    progress: bool,
) -> dict[str, Candidate]:
    question = {
        "config": {k: v for k, v in config.items() if k not in _NO_MATTER},
        "rows": [digest_rows(rows), digest_rows(tuning)],
    }
    lesson = Lesson(
        tasks=tuple(config["tasks"]),
        train=rows,
        tuning=tuning,
        encoders=encoders,
        seed=config["seed"],
        progress=progress,
        finetune=finetuning_of(config),
    )
    models: dict[str, Candidate] = {}
    for name in (bar := tqdm(names, "training", disable=not progress)):
        bar.set_postfix_str(name)
        folder = run / "models" / name
        # Late fusion depends on which parts it was given.
        how = config["finetune"] if name in ON_REQUEST else {}
        mark = _fingerprint({**question, "name": name, "after": list(models), **how})
        if _is_fitted(folder, mark):
            models[name] = candidate_type(name).load(folder, encoders)
            continue
        models[name] = fit_candidate(name, lesson, fitted=models)
        unfinished = run / f".{name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        models[name].save(unfinished)
        write_json(unfinished / _DONE, _done(mark, unfinished))
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished.rename(folder)
    return models


def _is_fitted(folder: Path, mark: str) -> bool:
    try:
        return (folder / _DONE).is_file() and read_json(folder / _DONE) == _done(mark, folder)
    except RunError:  # its mark is damaged: who knows what else is
        return False


def _done(mark: str, folder: Path) -> dict[str, Any]:
    """Say what was fitted, and as which bytes: a changed file is fitted anew, not sealed again."""
    files = sorted(f for f in folder.rglob("*") if f.is_file() and f != folder / _DONE)
    return {"fingerprint": mark, "sha256": digest_files(folder, files)}


def _score(
    names: Sequence[str],
    config: dict[str, Any],
    read: dict[str, Rows],
    models: dict[str, Candidate],
    encoders: Embedder,
    progress: bool,
) -> dict[str, Scored]:
    """Score calibration and tuning rows; where scores are cross-fitted, all as `calibration`."""
    if config["folds"]:
        rows = _together(list(read.values()))
        said = score_across_folds(
            names,
            tasks=tuple(config["tasks"]),
            rows=rows,
            folds=min(config["folds"], len(np.unique(rows.subjects))),
            encoders=encoders,
            seed=config["seed"],
            finetune=finetuning_of(config),
            progress=progress,
        )
        return {"calibration": Scored(risks=said, labels=rows.labels, subjects=rows.subjects)}
    scored = {}
    for split in ("calibration", "tuning"):
        rows, said = read[split], {}
        for name in tqdm(names, f"scoring {split}", disable=not progress, leave=False):
            said[name] = models[name].score(rows.timelines)
        scored[split] = Scored(risks=said, labels=rows.labels, subjects=rows.subjects)
    return scored


def _settle(config: dict[str, Any], scored: dict[str, Scored]) -> Settlement:
    return settle(
        tasks=tuple(config["tasks"]),
        calibration=scored["calibration"],
        tuning=scored.get("tuning"),
        forced=config["champion"],
        method=config["calibration"],
    )


def _write_beside(
    run: Path, config: dict[str, Any], read: dict[str, Rows], scored: Scored, encoders: Embedder
) -> None:
    parts = [_together(list(read.values()))] if config["folds"] else list(read.values())
    train, *unseen = (part.timelines for part in parts)
    more = {name: config[name] for name in ("tasks", "candidates", "seed", "folds", "calibration")}
    write_beside(run, scored, train, unseen, encoders=encoders, **more)


def _together(parts: list[Rows]) -> Rows:
    import pandas as pd

    from ingest.timeline import Timelines

    starts = np.cumsum([0, *(len(part) for part in parts)])
    events = [
        part.timelines.events.assign(row=part.timelines.events["row"] + start)
        for part, start in zip(parts, starts[:-1], strict=True)
        if len(part.timelines.events)
    ]
    return Rows(
        timelines=Timelines(
            index=pd.concat([part.timelines.index for part in parts], ignore_index=True),
            events=pd.concat(events, ignore_index=True),
            images=parts[0].timelines.images,
        ),
        labels=np.concatenate([part.labels for part in parts]),
    )


def _write(
    run: Path,
    cohort: Path,
    table: Cohort,
    config: dict[str, Any],
    fingerprint: str,
    rows: Rows,
    settled: Settlement,
) -> None:
    rates = base_rates(rows.labels)
    write_json(
        run / "run.json",
        {
            **config,
            "fingerprint": fingerprint,
            "prevalence": dict(zip(config["tasks"], rates.tolist(), strict=True)),
        },
    )
    write_json(
        run / "calibration.json",
        {
            task: {
                name: {**found.to_json(), "threshold": settled.thresholds[task][name]}
                for name, found in by_name.items()
            }
            for task, by_name in settled.calibrators.items()
        },
    )
    chosen = {}
    for task, choice in settled.choices.items():
        compared = {
            name: {
                "logloss": loss,
                "behind": choice.behind[name][0],
                "standard_error": choice.behind[name][1],
            }
            for name, loss in choice.losses.items()
        }
        chosen[task] = {"model": choice.model, "why": choice.why, "compared": compared}
    write_json(run / "champion.json", {"tasks": chosen})
    known = table.index[["subject_id", "split"]].drop_duplicates()
    write_splits(run / "splits.parquet", known[known["split"] != "held_out"])
    for file in sorted((cohort / "tasks").glob("*.yaml")):
        (run / "tasks").mkdir(exist_ok=True)
        shutil.copyfile(file, run / "tasks" / file.name)


def _write_sources(run: Path, store: Path, cohort: Path, table: Cohort) -> None:
    """Note where the inputs lay, who was held out and when tables ask: no part of the fit."""
    shutil.rmtree(run / "times", ignore_errors=True)
    if (cohort / "times").is_dir():
        shutil.copytree(cohort / "times", run / "times")
    known = table.index[["subject_id", "split"]].drop_duplicates()
    write_splits(run / "held_out.parquet", known[known["split"] == "held_out"])
    write_json(
        run / "sources.json", {"store": str(store.resolve()), "cohort": str(cohort.resolve())}
    )


def _is_done(run: Path, fingerprint: str) -> bool:
    if not (run / "manifest.json").is_file():
        return False
    try:
        verify_run(run)
        return states_beside(run) and read_json(run / "run.json").get("fingerprint") == fingerprint
    except MedweaveError:
        return False


def _clear(run: Path, names: Sequence[str]) -> None:
    """Remove what an earlier question left, but not the models: they know their own question."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "manifest.json").unlink(missing_ok=True)
    for stale in [*run.glob("metrics*.json"), *run.glob("report*.html"), run / "MODEL_CARD.md"]:
        stale.unlink(missing_ok=True)
    shutil.rmtree(run / "tasks", ignore_errors=True)
    remove_beside(run)
    for folder in (run / "models").glob("*"):
        if folder.name not in names:
            shutil.rmtree(folder)


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def _fingerprint(question: Any) -> str:
    text = json.dumps(question, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()
