"""`medweave demo`: the whole path in one command, on a simulated hospital or on a public data set.

Each stage writes a directory and, when it is done, a line in `stages.json` with a fingerprint of
what it was asked; a second run skips what is there with the same fingerprint and goes on with the
rest. A stage that is made again makes everything after it again.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ingest.errors import InputError

__all__ = ["DATASETS", "demo"]

ROOM = Path(__file__).resolve().parent.parent / "ingest"

PATIENTS = 4000
"""What two cores simulate, ingest, train on and evaluate within ten minutes, under 6 GiB."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Say how a public data set becomes a cohort."""

    task: str
    mapping: bool
    """Whether ingest/mappings/NAME.yaml reads its CSV; otherwise the directory holds FHIR."""


DATASETS = {
    "covid_cxr": Dataset(task="covid_severity", mapping=True),
    "hannover_covid_cxr": Dataset(task="hannover_icu", mapping=True),
    "mimic_iv_demo_fhir": Dataset(task="mimic_died_in_hospital", mapping=False),
}
"""Directory names that `--data` knows; the README says where each can be had."""


def demo(
    out: Path,
    *,
    patients: int | None = None,
    seed: int = 7,
    data: Path | None = None,
    serve_page: bool = True,
    port: int = 7860,
    progress: bool = True,
) -> None:
    """Go from records and images to a served model under `out`, skipping what is already done.

    Raises:
        InputError: `data` is not a directory that the demo knows.
    """
    place = out / (data.resolve().name if data else "hospital")
    stages = _Stages(place)
    if data is None:
        path = _simulated(stages, place, patients or PATIENTS, seed, progress)
    else:
        path = _real(stages, place, data, progress)
    if not serve_page:
        print(f"\nTo open the page: medweave serve {path.run} --store {path.store}")
        return
    from serve.app import serve

    serve(path.run, path.store, port=port)


@dataclass(frozen=True, kw_only=True)
class _Path:
    store: Path
    run: Path


def _simulated(stages: "_Stages", place: Path, patients: int, seed: int, progress: bool) -> _Path:
    from fusion.evaluate import evaluate
    from fusion.report import describe_metrics
    from fusion.train import train
    from ingest.build import ingest
    from ingest.cohort import build_cohort
    from ingest.flow import describe_flow
    from ingest.report import describe_report
    from ingest.simulate import simulate

    source, store = place / "source", place / "store"
    cohort, run = place / "cohort", place / "run"
    task = ROOM / "tasks" / "heart_failure_1y.yaml"

    stages.do(
        "simulate",
        f"a hospital of {patients} patients",
        {"patients": patients, "seed": seed, "world": _digest(ROOM / "worlds" / "default.yaml")},
        [source],
        lambda: simulate(source, patients=patients, seed=seed, progress=progress),
    )
    report = stages.do(
        "ingest",
        "FHIR and DICOM into the record store",
        {},
        [store, place / "store.raw"],
        lambda: ingest([source / "fhir", source / "dicom"], store, public=True, progress=progress),
    )
    print(describe_report(report))
    flow = stages.do(
        "cohort",
        "who is predicted, when, and what came of it",
        {"task": _digest(task)},
        [cohort],
        lambda: build_cohort(store, [task], cohort, progress=progress),
    )
    print(describe_flow(flow))
    chosen = stages.do(
        "train",
        "attention and every simple model",
        {"seed": 0},
        _sealed(run),
        lambda: train(store, cohort, run, progress=progress),
    )
    for champion in chosen["tasks"].values():
        print(champion["why"])
    metrics = stages.do(
        "evaluate",
        "on held-out patients",
        {},
        _judged(run),
        lambda: evaluate(run, oracle=source / "oracle.parquet", progress=progress),
    )
    print(describe_metrics(metrics))
    print(f"\nThe report, with figures: {run / 'report.html'}")
    return _Path(store=store, run=run)


def _real(stages: "_Stages", place: Path, data: Path, progress: bool) -> _Path:
    from fusion.crossfit import cross_validate
    from fusion.evaluate import evaluate
    from fusion.report import describe_metrics
    from fusion.train import train
    from ingest.build import ingest
    from ingest.cohort import build_cohort
    from ingest.flow import describe_flow
    from ingest.report import describe_report

    name = data.resolve().name
    if not data.is_dir():
        raise InputError(f"{data} is not a directory; the README says where to get {name}")
    if name not in DATASETS:
        raise InputError(f"the demo knows {', '.join(DATASETS)}; got a directory called {name}")
    dataset = DATASETS[name]
    mapping = ROOM / "mappings" / f"{name}.yaml" if dataset.mapping else None
    task = ROOM / "tasks" / f"{dataset.task}.yaml"
    store, cohort = place / "store", place / "cohort"
    run, folds = place / "run", place / "folds"

    report = stages.do(
        "ingest",
        f"{name} into the record store",
        {"data": str(data.resolve()), "mapping": _digest(mapping) if mapping else None},
        [store, place / "store.raw"],
        # The sets are public and their ids are pseudonyms already: the published key makes the
        # folds, and with them every figure, repeatable.
        lambda: ingest([data], store, mapping=mapping, public=True, progress=progress),
    )
    print(describe_report(report))
    flow = stages.do(
        "cohort",
        "who is predicted, when, and what came of it",
        {"task": _digest(task)},
        [cohort],
        lambda: build_cohort(store, [task], cohort, progress=progress),
    )
    print(describe_flow(flow))
    metrics = stages.do(
        "cross-validate",
        "too few patients for one held-out split: five folds by patient",
        {"folds": 5},
        [folds],
        lambda: cross_validate(store, cohort, folds, folds=5, progress=progress),
    )
    print(describe_metrics(metrics))
    chosen = stages.do(
        "train",
        "a model for the page, on the usual split",
        {"seed": 0},
        _sealed(run),
        lambda: train(store, cohort, run, progress=progress),
    )
    for champion in chosen["tasks"].values():
        print(champion["why"])
    stages.do(
        "evaluate",
        "on held-out patients",
        {},
        _judged(run),
        lambda: evaluate(run, progress=progress),
    )
    print(f"\nThe report of the cross-validation: {folds / 'report.html'}")
    return _Path(store=store, run=run)


def _sealed(run: Path) -> list[Path]:
    """Name what training writes last; what lies there else it keeps or does anew by itself."""
    return [run / "manifest.json", run / "intervals.json"]


def _judged(run: Path) -> list[Path]:
    return [run / "report.html", run / "MODEL_CARD.md"]


class _Stages:
    """Remember what was done, and do only the rest."""

    def __init__(self, place: Path):
        place.mkdir(parents=True, exist_ok=True)
        self._file = place / "stages.json"
        self._done: dict[str, dict] = {}
        if self._file.is_file():
            try:
                self._done = dict(json.loads(self._file.read_text("utf-8")))
            except (ValueError, TypeError):
                raise InputError(
                    f"{self._file} is damaged, so what was done cannot be told; delete {place} to "
                    "start anew"
                ) from None
        self._number = 0
        self._chain = ""

    def do(
        self,
        name: str,
        words: str,
        asked: dict,
        writes: list[Path],
        work: Callable[[], dict],
    ) -> dict:
        """Do a stage unless it was done with the same question; return what it returned."""
        self._number += 1
        question = json.dumps([self._chain, name, asked], sort_keys=True)
        self._chain = hashlib.sha256(question.encode()).hexdigest()
        known = self._done.get(name)
        fresh = known is not None and known["fingerprint"] == self._chain
        there = all(path.exists() for path in writes)
        done = " (already done)" if fresh and there else ""
        print(f"\n{self._number}. {name}: {words}{done}", flush=True)
        if known is not None and fresh and there:
            return known["result"]
        for path in writes:
            if known is not None and path.is_dir():
                shutil.rmtree(path)
        self._done.pop(name, None)
        result = work()
        self._done[name] = {"fingerprint": self._chain, "result": result}
        temporary = self._file.with_suffix(".tmp")
        temporary.write_text(json.dumps(self._done, indent=1), "utf-8")
        temporary.replace(self._file)
        return result


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
