"""Evaluate: judge a run's models on rows that they have not seen; write metrics and report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from fusion.beside import states_beside
from fusion.candidates import Embedder
from fusion.card import write_card
from fusion.conformal import LEVELS
from fusion.fitting import candidate_options
from fusion.judged import Judged, measure_task
from fusion.judged_beside import judge_sets, judge_unlike, judge_unlikeness, warn_beside
from fusion.missing import lacking
from fusion.named_encoders import encoder_options
from fusion.prevalence import clip_risk
from fusion.report import write_report
from fusion.rows import read_rows
from fusion.run import read_json, refuse_folds, write_json
from fusion.scoring import Scorer, subset_name, subsets
from fusion.served import ServedRun
from fusion.train import token_cache
from ingest.damage import damage_of_table, naming_damage
from ingest.errors import CohortError, InputError, RunError, UsageError
from ingest.labels import Cohort, read_cohort
from ingest.schema import SPLITS, Modality
from ingest.timeline import Timelines

__all__ = ["evaluate", "judgement_files", "read_flow", "subgroups"]

_ROWS_AT_ONCE = 2048
_ORACLE = (*(subset_name(s) for s in subsets()), "additive")
_AGE_GROUPS = (("age under 50", 0, 50), ("age 50 to 69", 50, 70), ("age 70 and over", 70, 200))


def evaluate(
    run: Path,
    *,
    split: str = "held_out",
    store: Path | None = None,
    cohort: Path | None = None,
    oracle: Path | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    encoders: Embedder | None = None,
    text: str | None = None,
    image: str | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Write metrics and a report into the run, and give the metrics.

    What is said of held_out is metrics.json and report.html, as the page shows it, and
    MODEL_CARD.md; what is said of another split stands beside it, as metrics.SPLIT.json and
    report.SPLIT.html, and makes no card.

    Args:
        run: what `train` wrote.
        split: which rows; anything but held_out was used in fitting, and the report says so.
        store: by default the one that was trained on.
        cohort: by default the one that was trained on.
        oracle: Parquet with subject_key and true risks in columns named as subsets of modalities.
        bootstrap: resamples of patients for the intervals.
        seed: of the resamples.
        encoders: those that the run was trained with, already made; by default as `ServedRun`
            finds them.
        text: where the run's text encoder is now.
        image: where its image encoder is now.
        progress: show bars.

    Returns:
        The content of metrics.json. Where a figure has an interval it is `{value, low, high}`, each
        None where it is not defined.

            split, bootstrap, seed      what was judged, and how intervals were drawn
            flow                        the cohort's steps, warnings and splits
            unlikeness                  who is unlike training (`judged_beside.judge_unlikeness`)
            tasks.TASK                  `judged.measure_task`, and of the champion
              label_sets.LEVEL          what its label sets hold (`judged_beside.judge_sets`)
              unlikeness.WHO            `n`, `positives`, and in `metrics` its AUROC, log-loss and
                                        Brier: of `everyone`, `without_unlike`, and the `unlike`
                                        where there are 20
              why, warnings             sentences: why it serves, and what cannot be concluded

        A run of a version that had neither has no `label_sets` and no `unlikeness`.

    Raises:
        RunError: the run is damaged, has other tasks, or was fitted on the rows to judge.
        CohortError: no row of the split has a label.
        InputError: the oracle's file does not fit.
        UsageError: a split that there isn't, or an encoder that cannot be had.
    """
    if split not in SPLITS:
        raise UsageError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    refuse_folds(run)
    given = store is not None and cohort is not None
    sources = {} if given else read_json(run / "sources.json", "store", "cohort")
    store = (store or Path(sources["store"])).resolve()  # `.` has no name
    cohort = (cohort or Path(sources["cohort"])).resolve()
    served = ServedRun(run, cache=token_cache(store), encoders=encoders, text=text, image=image)
    with naming_damage(store=store, cohort=cohort):
        table = read_cohort(cohort)
        _check(run, served, table, split)
        rows = read_rows(store, table, table.rows(split), exclude_codes=served.exclude_codes)
        flow = read_flow(cohort, table)
    if not len(rows):
        raise CohortError(f"{cohort} has no row in {split} to judge on")
    columns = [table.tasks.index(task) for task in served.tasks]
    labels = rows.labels[:, columns]
    truth = _read_oracle(oracle, store, rows.subjects) if oracle else {}

    bar = tqdm(served.names, f"scoring {split}", disable=not progress)
    said = {}
    for name in bar:
        bar.set_postfix_str(name)
        said[name] = _score(served.uncalibrated(name), rows.timelines)
    models = {name: served.calibrate(name, risks) for name, risks in said.items()}
    by_subset = {
        subset_name(chosen): _score(served, rows.timelines, chosen)
        for chosen in tqdm(subsets(), "subsets of modalities", disable=not progress)
    }
    judged = []
    for i, task in enumerate(served.tasks):
        known = np.flatnonzero(np.isfinite(labels[:, i]))
        if not len(known):
            raise CohortError(f"{task}: no row in {split} has a label")
        mine = rows.timelines.take(known)
        judged.append(
            Judged(
                task=task,
                label=labels[known, i].astype(np.float64),
                subjects=rows.subjects[known],
                champion=served.champion(task),
                models={name: risk[known, i] for name, risk in models.items()},
                thresholds={name: served.threshold(task, name) for name in served.names},
                subsets={name: risk[known, i] for name, risk in by_subset.items()},
                oracle={name: risk[known] for name, risk in truth.items()},
                groups=subgroups(mine),
                lacks=lacking(mine),
            )
        )
    metrics: dict[str, Any] = {
        "split": split,
        "bootstrap": bootstrap,
        "seed": seed,
        "flow": flow,
        "tasks": {},
    }
    for one in tqdm(judged, "bootstrap", disable=not progress):
        entry = measure_task(one, bootstrap=bootstrap, seed=seed)
        entry["why"] = served.why(one.task)
        entry["warnings"] += _split_warnings(split)
        metrics["tasks"][one.task] = entry
    if states_beside(run):
        _add_beside(metrics, served, rows.timelines, labels, judged, said)
    metrics_file, report = judgement_files(run, split)
    write_json(metrics_file, metrics)
    commands = _commands(run, store, cohort, split, oracle)
    write_report(report, metrics, judged, run=run, commands=commands)
    if split == "held_out":
        write_card(run, metrics, commands=commands)
    return metrics


def judgement_files(run: Path, split: str) -> tuple[Path, Path]:
    """Say where the metrics and the report of a split are: held_out's have the plain names.

    >>> [file.name for file in judgement_files(Path("run"), "tuning")]
    ['metrics.tuning.json', 'report.tuning.html']
    """
    of = "" if split == "held_out" else f".{split}"
    return run / f"metrics{of}.json", run / f"report{of}.html"


def subgroups(timelines: Timelines) -> dict[str, np.ndarray]:
    """Say which rows belong to each sex and age group; a group with nobody is left out."""
    events = timelines.part(Modality.EVENTS)
    row, code = events["row"].to_numpy(), events["code"].to_numpy()
    groups: dict[str, np.ndarray] = {}
    for name, wanted in (("female", "GENDER//F"), ("male", "GENDER//M")):
        rows = np.zeros(len(timelines), bool)
        rows[row[code == wanted]] = True
        groups[name] = rows
    birth = code == "MEDS_BIRTH"
    age = np.full(len(timelines), np.nan)
    age[row[birth]] = events["days_before"].to_numpy()[birth] / 365.25
    for name, youngest, oldest in _AGE_GROUPS:
        groups[name] = (age >= youngest) & (age < oldest)
    for modality in (Modality.NOTES, Modality.IMAGES):
        groups[f"without {modality}"] = ~timelines.has(modality)
    return {name: rows for name, rows in groups.items() if rows.any() and not rows.all()}


def read_flow(cohort: Path, table: Cohort) -> dict[str, Any]:
    """Give the cohort's own flow and warnings, and how many rows each split got."""
    counts = table.index.groupby("split")["subject_id"].agg(["size", "nunique"])
    splits = {
        split: {
            "rows": int(counts["size"].get(split, 0)),
            "subjects": int(counts["nunique"].get(split, 0)),
        }
        for split in SPLITS
    }
    file = cohort / "flow.json"
    written = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return {
        "tasks": written.get("tasks", {}),
        "warnings": written.get("warnings", {}),
        "splits": splits,
    }


def _check(run: Path, served: ServedRun, table: Cohort, split: str) -> None:
    missing = sorted(set(served.tasks) - set(table.tasks))
    if missing:
        raise RunError(
            f"{run} answers {', '.join(served.tasks)}, but the cohort has no labels of "
            f"{', '.join(missing)}"
        )
    mine = pq.read_table(run / "splits.parquet").to_pandas()
    fitted = mine.loc[mine["split"] != split, "subject_id"]
    leaked = np.intersect1d(fitted, table.index["subject_id"].iloc[table.rows(split)])
    if len(leaked):
        raise RunError(
            f"{run} was fitted with another split: {len(leaked)} of the subjects in {split} "
            "belong to another split of the run; evaluate with the cohort that it was trained on"
        )


def _add_beside(
    metrics: dict[str, Any],
    served: ServedRun,
    timelines: Timelines,
    labels: np.ndarray,
    judged: list[Judged],
    said: Mapping[str, np.ndarray],
) -> None:
    """Add label sets and unlikeness to the metrics; `said` is each model's uncalibrated risks."""
    drawn = {name: metrics[name] for name in ("bootstrap", "seed")}
    unlikeness = served.unlikeness(timelines)
    subjects = timelines.index["subject_id"].to_numpy()
    metrics["unlikeness"] = judge_unlikeness(unlikeness, subjects, **drawn)
    for i, one in enumerate(judged):
        known = np.isfinite(labels[:, i])
        raw = said[one.champion][known, i]
        cuts = {level: served.sets.cut(one.task, one.champion, level) for level in LEVELS}
        sets = {level: cut.sets(raw) for level, cut in cuts.items()}
        entry = metrics["tasks"][one.task]
        calibrated_on = served.sets.rows[one.task]
        entry["label_sets"] = judge_sets(
            sets, one.label, one.subjects, calibrated_on=calibrated_on, **drawn
        )
        entry["unlikeness"] = judge_unlike(
            one.models[one.champion],
            one.label,
            one.subjects,
            unlikeness.unlike()[known],
            **drawn,
        )
        entry["warnings"] += warn_beside(entry["label_sets"], metrics["unlikeness"])


def _score(
    scorer: Scorer,
    timelines: Timelines,
    modalities: frozenset[Modality] = frozenset(Modality),
) -> np.ndarray:
    chunks = [
        scorer.score(
            timelines.take(np.arange(start, min(start + _ROWS_AT_ONCE, len(timelines)))), modalities
        )
        for start in range(0, len(timelines), _ROWS_AT_ONCE)
    ]
    return np.concatenate(chunks)


def _read_oracle(oracle: Path, store: Path, subjects: np.ndarray) -> dict[str, np.ndarray]:
    crosswalk = store.with_name(store.name + ".raw") / "crosswalk.parquet"
    for file in (oracle, crosswalk):
        if not file.is_file():
            raise InputError(f"{file} is not there; the oracle is joined by it")
    key = {"subject_key": pa.string()}
    told = damage_of_table(crosswalk, {"subject_id": pa.int64(), **key})
    if told or (told := damage_of_table(oracle, key)):
        raise InputError(told)
    truth, keys = pd.read_parquet(oracle), pd.read_parquet(crosswalk)
    columns = [name for name in _ORACLE if name in truth.columns]
    if not columns or not all(pd.api.types.is_numeric_dtype(truth[name]) for name in columns):
        raise InputError(
            f"{oracle} needs risks in columns named as subsets of modalities, such as "
            f"events+notes; it has {', '.join(map(str, truth.columns))}"
        )
    joined = (
        pd.DataFrame({"subject_id": subjects})
        .merge(keys[["subject_id", "subject_key"]].drop_duplicates("subject_id"), how="left")
        .merge(truth[["subject_key", *columns]], on="subject_key", how="left")
    )
    if joined[columns].isna().all(axis=None):
        raise InputError(f"{oracle} knows none of the {len(subjects)} rows that are judged")
    return {
        name: np.where(joined[name].isna(), np.nan, clip_risk(joined[name])) for name in columns
    }


def _split_warnings(split: str) -> list[str]:
    if split == "held_out":
        return []
    return [
        f"These rows ({split}) were used to fit, to choose or to calibrate: the figures flatter "
        "the models. Only held_out judges."
    ]


def _commands(
    run: Path, store: Path, cohort: Path, split: str, oracle: Path | None
) -> Mapping[str, str]:
    config = read_json(run / "run.json")
    fit = f"medweave train --store {store.name} --cohort {cohort.name} --run {run.name}"
    fit += f" --seed {config['seed']}{candidate_options(config)}{encoder_options(config)}"
    judge = f"medweave evaluate {run.name} --split {split}"
    if oracle:
        judge += f" --oracle {oracle.name}"
    return {"train": fit, "evaluate": judge}
