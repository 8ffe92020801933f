"""What becomes of the risks when records are not as those of training were: a table.

A run is trained once, on a simulated hospital, as a user would. Then held-out patients are scored
as they are; with noise put into what the run reads, and nothing of the serving path skipped; with
modalities missing; at other prevalences; and patients of other worlds are scored by the same run.
Beside each risk stands what the run says of who is unlike its training: whether leaving those out
helps.

A disturbance changes what is read and leaves patients and labels as they are, so each row of the
same patients has its difference to the undisturbed one, paired.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fusion.metrics import calibration_line, draw_resamples, interval, measure, paired, share
from fusion.rows import Rows, read_rows
from fusion.served import ServedRun
from fusion.train import train
from fusion.unlikeness import ALPHA
from ingest.labels import read_cohort
from ingest.timeline import Timelines
from tests.benchmarks.disturbances import Spreads, disturbances, move_odds, with_prevalence
from tests.benchmarks.known_truth import (
    EVERYTHING,
    HELD_OUT,
    RESAMPLES,
    Hospital,
    score_rows,
)

__all__ = ["Judge", "best_simple", "run_robustness", "table_of_robustness", "tell"]

_MOVED = "… log odds moved by what is known of it"
_FAR = np.log(2)  # an outcome that is twice as common, or half, elsewhere


def run_robustness(
    hospital: Hospital,
    training: int,
    held_out: int,
    elsewhere: Iterable[Hospital],
    *,
    scratch: Path,
    code: str,
) -> Iterator[dict[str, Any]]:
    """Train on so many patients and say what each disturbance does to the risks of others.

    It takes an hour: the cell is given again after each row, with all the rows that it has by then.

    Args:
        hospital: whose patients it is trained on.
        training: how many.
        held_out: how many others are judged.
        elsewhere: hospitals of other worlds; all their patients are judged.
        scratch: where spoilt films go.
        code: tells the run from those of other code.
    """
    cohort = hospital.cohort(training, min(HELD_OUT, hospital.patients - training))
    run = hospital.place / f"run-{training}-{code}"
    use = {"seed": hospital.seed, "cache": hospital.tokens, "progress": True}
    chosen = train(hospital.store, cohort, run, **use)
    ((task, champion),) = chosen["tasks"].items()
    served = ServedRun(run, cache=hospital.tokens)
    table = read_cohort(cohort)
    asked = {"exclude_codes": served.exclude_codes}
    spreads = Spreads.fit(read_rows(hospital.store, table, table.rows("train"), **asked).timelines)
    picked = np.random.default_rng(hospital.seed).permutation(table.rows("held_out"))[:held_out]
    rows = read_rows(hospital.store, table, np.sort(picked), **asked)
    judge = Judge(served, best_simple(served, task), rows, hospital.seed)
    learnt = served.prevalence[task]
    found = [judge.undisturbed | {"oracle": _oracle(hospital, rows)}]
    cell = {
        "code": code,
        "world": hospital.world,
        "seed": hospital.seed,
        "patients": hospital.patients,
        "training": training,
        "held_out": len(rows),
        "champion": champion["model"],
        "simple": judge.simple,
        "alpha": ALPHA,
    }
    yield cell | {"rows": found}
    for each in disturbances(spreads, scratch / "films", hospital.seed):
        found.append(judge.disturbed(each.part, each.name, each.apply(rows.timelines)))
        yield cell | {"rows": found}
    for times in (0.5, 2.0):
        found += judge.at_prevalence(times, learnt=learnt)
        yield cell | {"rows": found}
    for other in elsewhere:
        away = ServedRun(run, cache=other.tokens)
        theirs = read_cohort(other.cohort(0, other.patients))
        there = read_rows(other.store, theirs, theirs.rows("held_out"), **asked)
        found += _elsewhere(away, judge.simple, other, there, learnt=learnt)
        yield cell | {"rows": found}


def best_simple(served: ServedRun, task: str) -> str:
    """Name the model, neither the champion nor attention, that the run itself found best."""
    compared = served.compared(task)
    names = [n for n in served.names if n not in (served.champion(task), "attention")]
    return min(names, key=lambda name: compared.get(name, {}).get("logloss", np.inf))


class Judge:
    """Judge the risks of the same patients, whatever was done to their records."""

    def __init__(self, served: ServedRun, simple: str, rows: Rows, seed: int):
        self.simple = simple
        self.served, self._rows, self._seed = served, rows, seed
        self._risks, self._unlike = _ask(served, simple, rows.timelines)
        self._label = rows.labels[:, 0].astype(np.float64)
        self._resamples = draw_resamples(rows.subjects, resamples=RESAMPLES, seed=0)
        self.undisturbed = tell(
            "", "as they are", self._risks, self._label, rows.subjects, self._unlike
        )

    def disturbed(self, part: str, name: str, timelines: Timelines) -> dict[str, Any]:
        """Give the row of disturbed records, with the paired change of the AUROC."""
        risks, unlike = _ask(self.served, self.simple, timelines)
        told = tell(part, name, risks, self._label, self._rows.subjects, unlike)
        for model, risk in risks.items():
            before = self._risks[model]
            told[model]["change"] = paired("auroc", risk, before, self._label, self._resamples)
        return told

    def at_prevalence(self, times: float, *, learnt: float) -> Iterator[dict[str, Any]]:
        """Give two rows of fewer patients, whose records are as they are.

        The risks are first as the run says them. It knows no other prevalence than that of its
        training, so what a user can do about it is done here.
        """
        rng = np.random.default_rng(self._seed)
        wanted = times * self._label.mean()
        rows = with_prevalence(self._label, wanted, rng)
        label, subjects, unlike = self._label[rows], self._rows.subjects[rows], self._unlike[rows]
        risks = {model: risk[rows] for model, risk in self._risks.items()}
        what = f"{100 * label.mean():.0f} % instead of {100 * self._label.mean():.0f} %"
        yield tell("prevalence", what, risks, label, subjects, unlike)
        moved = {m: move_odds(risk, learnt=learnt, here=wanted) for m, risk in risks.items()}
        yield tell("prevalence", _MOVED, moved, label, subjects, unlike)


def _elsewhere(
    served: ServedRun, simple: str, hospital: Hospital, rows: Rows, *, learnt: float
) -> Iterator[dict[str, Any]]:
    """Judge all patients of another world, and with the odds moved where its rate is far off."""
    risks, unlike = _ask(served, simple, rows.timelines)
    label = rows.labels[:, 0].astype(np.float64)
    oracle = _oracle(hospital, rows)
    told = tell("another world", hospital.world, risks, label, rows.subjects, unlike)
    yield told | {"oracle": oracle}
    here = float(label.mean())
    if abs(np.log(here / (1 - here)) - np.log(learnt / (1 - learnt))) > _FAR:
        moved = {m: move_odds(risk, learnt=learnt, here=here) for m, risk in risks.items()}
        again = tell("another world", _MOVED, moved, label, rows.subjects, unlike)
        yield again | {"oracle": oracle}


def _ask(
    served: ServedRun, simple: str, timelines: Timelines
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    risks = {
        "champion": score_rows(served, timelines),
        "simple": score_rows(served.scorer(simple), timelines),
    }
    return risks, served.unlikeness(timelines).unlike(ALPHA)


def _oracle(hospital: Hospital, rows: Rows) -> float:
    label = rows.labels[:, 0].astype(np.float64)
    risk = hospital.risks(rows.subjects)[EVERYTHING]
    resamples = draw_resamples(rows.subjects, resamples=0, seed=0)
    found = measure(risk, label, resamples, threshold=None)["auroc"]["value"]
    if found is None:
        raise RuntimeError(f"{len(label)} patients of {hospital.world} have one class only")
    return found


def tell(
    part: str,
    name: str,
    risks: dict[str, np.ndarray],
    label: np.ndarray,
    subjects: np.ndarray,
    unlike: np.ndarray,
) -> dict[str, Any]:
    """Give a row: both models' figures, who is unlike training, and the log-loss of the others."""
    resamples = draw_resamples(subjects, resamples=RESAMPLES, seed=0)
    told: dict[str, Any] = {"part": part, "name": name}
    told |= {"n": len(label), "positives": int(label.sum())}
    for model, risk in risks.items():
        found = measure(risk, label, resamples, threshold=None)
        large = resamples.weights @ (risk - label) / resamples.weights.sum(axis=1)
        told[model] = {
            "auroc": found["auroc"],
            "logloss": found["logloss"],
            "slope": calibration_line(risk, label)["slope"],
            "large": interval(large),
        }
    told["between"] = paired("auroc", risks["champion"], risks["simple"], label, resamples)
    told["unlike"] = share(unlike, resamples)
    kept = ~unlike
    if kept.any():
        some = draw_resamples(subjects[kept], resamples=RESAMPLES, seed=0)
        found = measure(risks["champion"][kept], label[kept], some, threshold=None)
        told["others"] = {"n": int(kept.sum())} | {m: found[m] for m in ("auroc", "logloss")}
    else:
        told["others"] = {"n": 0, "auroc": None, "logloss": None}
    return told


def table_of_robustness(cell: dict[str, Any], code: str) -> str:
    """Give a cell's table: a line a row."""
    said = f"{cell['world']} world, {cell['training']:,} patients to train on, seed {cell['seed']}"
    older = "" if cell["code"] == code else " (older code)"
    head = ["records", "n", f"AUROC: {cell['champion']}", "change", "slope", "predicted − observed"]
    head += ["log-loss", "called unlike", "log-loss of the others"]
    head += [f"AUROC: {cell['simple']}", "change", "difference of the two", "best possible"]
    lines = [f"{said}{older}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in cell["rows"]:
        ours, simple, others = row["champion"], row["simple"], row["others"]
        name = f"{row['part']}: {row['name']}" if row["part"] else row["name"]
        cells = [name, f"{row['n']:,}", _with_interval(ours["auroc"], ".3f")]
        cells += [_with_interval(ours.get("change"), "+.3f"), _number(ours["slope"], ".2f")]
        cells += [_number(ours["large"]["value"], "+.3f"), _number(ours["logloss"]["value"], ".3f")]
        cells.append(f"{100 * row['unlike']['value']:.1f} %")
        cells.append(_number((others["logloss"] or {}).get("value"), ".3f"))
        cells.append(_number(simple["auroc"]["value"], ".3f"))
        cells.append(_with_interval(simple.get("change"), "+.3f"))
        cells.append(_with_interval(row["between"], "+.3f"))
        cells.append(_number(row.get("oracle"), ".3f"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _number(value: float | None, how: str) -> str:
    return "" if value is None else f"{value:{how}}"


def _with_interval(found: dict[str, float | None] | None, how: str) -> str:
    if found is None or found["value"] is None:
        return ""
    value = f"{found['value']:{how}}"
    return (
        value if found["low"] is None else f"{value} [{found['low']:{how}}, {found['high']:{how}}]"
    )
