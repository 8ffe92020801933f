"""Hold models against the best possible answer, in simulated hospitals whose true risks are known.

A cell is a world, a number of training patients and a seed. Its hospital is simulated, ingested and
trained on as a user would, by the same functions; the held-out patients are many, so that little
of the difference is chance. A hospital serves all sizes of its world and seed, with the same
patients held out.
"""

import shutil
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from fusion.metrics import calibration_line, draw_resamples, measure, paired
from fusion.prevalence import clip_risk
from fusion.rows import Rows, read_rows
from fusion.scoring import Scorer, subset_name, subsets
from fusion.served import ServedRun
from fusion.shapley import shapley
from fusion.train import train
from ingest.build import ingest, raw_zone_of
from ingest.cohort import build_cohort
from ingest.labels import read_cohort, write_splits
from ingest.schema import SPLITS, Modality
from ingest.simulate import simulate
from ingest.splits import SHARES
from ingest.timeline import Timelines
from ingest.world import WORLDS

__all__ = ["EVERYTHING", "HELD_OUT", "RESAMPLES", "Hospital", "run_cell", "score_rows"]

HELD_OUT = 5000
_TASK = Path(__file__).parents[2] / "ingest" / "tasks" / "heart_failure_1y.yaml"
_UNLABELLED = 1.12  # some patients are lost to follow-up or had heart failure before
_ROWS_AT_ONCE = 1000
RESAMPLES = 1000
_NEAREST = 500
EVERYTHING = "events+notes+images"


class Hospital:
    """A simulated hospital of a world and a seed, taken as far as its store; made once."""

    def __init__(self, place: Path, world: str, seed: int, patients: int):
        """Simulate and ingest so many patients with a label, unless they are there."""
        self.place, self.world, self.seed, self.patients = place, world, seed, patients
        source, done = place / "hospital", place / f"done-{patients}"
        self.store, self.tokens, self.truth = place / "store", place / "tokens", place / "truth"
        if done.exists():
            return
        place.mkdir(parents=True, exist_ok=True)
        how = {"patients": round(patients * _UNLABELLED), "seed": 100 + seed, "progress": True}
        simulate(source, world=WORLDS / f"{world}.yaml", **how)
        for old in (self.store, raw_zone_of(self.store)):
            shutil.rmtree(old, ignore_errors=True)
        ingest([source / "fhir", source / "dicom"], self.store, public=True, progress=True)
        self.truth.mkdir(exist_ok=True)
        shutil.copy(source / "oracle.parquet", self.truth)
        done.touch()

    def cohort(self, training: int, held_out: int) -> Path:
        """Write the cohort of so many patients to train on, and those that judge every size."""
        out = self.place / f"cohort-{training}"
        build_cohort(self.store, [_TASK], out)
        (labels,) = (out / "labels").glob("*.parquet")
        known = pq.read_table(labels)
        known = known.filter(known.column("boolean_value").is_valid())
        subjects = np.unique(known.column("subject_id").to_numpy())
        subjects = np.random.default_rng(self.seed).permutation(subjects)
        if len(subjects) < held_out + training:
            raise RuntimeError(f"{len(subjects)} patients have a label; more must be simulated")
        used = subjects[: held_out + training]
        sizes = _sizes(training)
        splits = np.repeat([*SPLITS[-1:], *SPLITS[:-1]], [held_out, *sizes])
        table = pd.DataFrame({"subject_id": used, "split": splits})
        write_splits(out / "splits.parquet", table)
        pq.write_table(known.filter(np.isin(known.column("subject_id").to_numpy(), used)), labels)
        return out

    def risks(self, subjects: np.ndarray) -> dict[str, np.ndarray]:
        """Give the true risks of each subset of modalities, and of the best additive score."""
        truth = pd.read_parquet(self.truth / "oracle.parquet")
        keys = pd.read_parquet(raw_zone_of(self.store) / "crosswalk.parquet")
        rows = (
            pd.DataFrame({"subject_id": subjects}).merge(keys, how="left").merge(truth, how="left")
        )
        names = [*map(subset_name, subsets()), "additive"]
        return {name: clip_risk(rows[name].to_numpy(np.float64)) for name in names}


class Answers:
    """What was answered given each subset of modalities, asked as any model is."""

    tasks = ("answers",)

    def __init__(self, risks: dict[str, np.ndarray], base: float):
        self._risks, self._base = risks, base

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = frozenset(Modality)
    ) -> np.ndarray:
        """Give the risk of each row, given those modalities; all rows at once."""
        if not modalities:
            return np.full((len(timelines), 1), self._base)
        return self._risks[subset_name(modalities)][:, None]


def run_cell(
    hospital: Hospital, training: int, held_out: int = HELD_OUT, *, code: str
) -> dict[str, Any]:
    """Train on so many patients and say how far the answers are from the best possible ones.

    `code` tells the run from those of other code: one that is sealed would not be fitted again.
    """
    cohort = hospital.cohort(training, held_out)
    run = hospital.place / f"run-{training}-{code}"
    begun = perf_counter()
    use = {"seed": hospital.seed, "cache": hospital.tokens, "progress": True}
    chosen = train(hospital.store, cohort, run, **use)
    seconds = perf_counter() - begun
    ((task, champion),) = chosen["tasks"].items()
    served = ServedRun(run, cache=hospital.tokens)
    table = read_cohort(cohort)
    asked = {"exclude_codes": served.exclude_codes}
    rows = read_rows(hospital.store, table, table.rows("held_out"), **asked)
    truth = hospital.risks(rows.subjects)
    models = {name: score_rows(served.scorer(name), rows.timelines) for name in served.names}
    by_subset = {subset_name(s): score_rows(served, rows.timelines, s) for s in subsets()}
    label = rows.labels[:, 0].astype(np.float64)
    resamples = draw_resamples(rows.subjects, resamples=RESAMPLES, seed=0)

    def told(risk: np.ndarray) -> dict[str, Any]:
        found = measure(risk, label, resamples, threshold=None)
        line = calibration_line(risk, label)
        return {name: found[name] for name in ("auroc", "logloss", "ece")} | line

    told_of_all = models[champion["model"]]
    nothing = served.score(rows.timelines.take(np.array([0])), frozenset())[0, 0]
    return {
        "code": code,
        "world": hospital.world,
        "seed": hospital.seed,
        "training": training,
        "held_out": len(rows),
        "positives": int(label.sum()),
        "champion": champion["model"],
        "seconds": round(seconds),
        "models": {name: told(risk) for name, risk in models.items()},
        "oracle": {name: told(risk) for name, risk in truth.items()},
        "behind": {
            name: paired("auroc", truth[name], risk, label, resamples)
            for name, risk in by_subset.items()
        },
        "interval": _coverage(_intervals(served, rows), told_of_all, truth[EVERYTHING]),
        "attention_over_stacked": paired(
            "auroc", models["attention"], models["stacked"], label, resamples
        ),
        "shapley": {
            "champion": _shares(Answers(by_subset, nothing), rows.timelines),
            "oracle": _shares(Answers(truth, served.prevalence[task]), rows.timelines),
        },
    }


def _sizes(training: int) -> list[int]:
    """Divide training patients as any cohort divides them."""
    shares = np.array([SHARES[split] for split in SPLITS[:-1]])
    sizes = np.floor(training * shares / shares.sum()).astype(int)
    sizes[0] += training - sizes.sum()
    return sizes.tolist()


def score_rows(
    scorer: Scorer, timelines: Timelines, modalities: frozenset[Modality] = frozenset(Modality)
) -> np.ndarray:
    """Give each row's risk of the one task, [b], so many rows at once as fit in memory."""
    starts = range(0, len(timelines), _ROWS_AT_ONCE)
    parts = [np.arange(s, min(s + _ROWS_AT_ONCE, len(timelines))) for s in starts]
    said = [scorer.score(timelines.take(part), modalities)[:, 0] for part in parts]
    return np.concatenate(said).astype(np.float64)


def _intervals(served: ServedRun, rows: Rows) -> np.ndarray:
    """Give each row's interval, [n 2]."""
    starts = range(0, len(rows), _ROWS_AT_ONCE)
    parts = [np.arange(s, min(s + _ROWS_AT_ONCE, len(rows))) for s in starts]
    return np.concatenate([served.intervals(rows.timelines.take(part))[:, 0] for part in parts])


def _coverage(ends: np.ndarray, risk: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Say how often the true rate of those with such a risk, and the true risk, lie within."""
    rate = _smoothed(risk, truth)
    low, high = ends.T
    return {
        "rate": float(((low <= rate) & (rate <= high)).mean()),
        "risk": float(((low <= truth) & (truth <= high)).mean()),
        "width": float((high - low).mean()),
    }


def _smoothed(risk: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Give the mean true risk of those with a like risk: a line through the nearest rows."""
    order = np.argsort(risk, kind="stable")
    x, y, n = risk[order], truth[order], len(risk)
    window = min(_NEAREST, n)
    found = np.empty(n)
    for place in range(n):
        start = min(max(place - window // 2, 0), n - window)
        near = slice(start, start + window)
        away = x[near] - x[near].mean()
        slope = away @ y[near] / max(float(away @ away), 1e-12)
        found[order[place]] = y[near].mean() + slope * (x[place] - x[near].mean())
    return found


def _shares(scorer: Scorer, timelines: Timelines) -> dict[str, float]:
    """Give each modality's mean absolute Shapley value, in log odds."""
    values = np.abs(shapley(scorer, timelines).values)
    return {str(m): float(values[:, i].mean()) for i, m in enumerate(Modality)}
