"""The published mortality protocol on MIMIC-IV and MIMIC-CXR, for those who may have them.

    .venv/bin/python -m tests.benchmarks.mimic_cxr --fhir DIR --films DIR --out DIR [--folds N]

`--fhir` is MIMIC-IV on FHIR (NDJSON, plain or .gz), `--films` the directory `files` of MIMIC-CXR's
DICOM (not of MIMIC-CXR-JPG, which has no headers), both from PhysioNet, for credentialed users.
Read are the films of patients who were in intensive care for over 48 hours; a film's PatientID is
MIMIC's subject_id, which is the Patient's identifier in FHIR, and both have one shifted clock.
Then as a user would: ingest, cohort (`ingest/tasks/mimic_icu_died_48h.yaml`, which says how it
differs from what was published), train, evaluate. A model sees what was known by 48 hours, films
among it.

Never run on the whole sets: nobody here has them. A test runs it on a made-up ward, and the task
was held against the stays of the public demo.
"""

import argparse
import gzip
import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fusion.crossfit import cross_validate
from fusion.evaluate import evaluate
from fusion.train import train
from ingest.build import ingest
from ingest.cohort import build_cohort
from ingest.errors import InputError

__all__ = ["folders_of_films", "main"]

_TASK = Path(__file__).parents[2] / "ingest" / "tasks" / "mimic_icu_died_48h.yaml"
_STAY = timedelta(hours=48)


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Do all of it, and print the table; give the metrics."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fhir", type=Path, required=True)
    parser.add_argument("--films", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, help="cross-validate, where held_out has too few")
    parser.add_argument("--candidates", nargs="+", help="models to compare (default: all)")
    a = parser.parse_args(words)
    folders = folders_of_films(a.fhir, a.films)
    print(f"{len(folders)} patients with over 48 hours of intensive care and films")
    store, cohort, run = a.out / "store", a.out / "cohort", a.out / "run"
    ingest([a.fhir, *folders], store, timezone="America/New_York", progress=True)
    flow = build_cohort(store, [_TASK], cohort, progress=True)
    for step in flow["tasks"][_TASK.stem]:
        print(f"{step['step']}: {step['rows']} rows of {step['subjects']} patients")
    use: dict[str, Any] = {"candidates": a.candidates, "progress": True}
    if a.folds:
        metrics = cross_validate(store, cohort, run, folds=a.folds, **use)
    else:
        train(store, cohort, run, **use)
        metrics = evaluate(run, progress=True)
    entry = metrics["tasks"][_TASK.stem]
    print("\n| model | AUROC | AUPRC |\n|---|---|---|")
    for name, found in entry["models"].items():
        print(f"| {name} | {_told(found['auroc'])} | {_told(found['auprc'])} |")
    print(f"\nThe report: {run / 'report.html'}")
    return metrics


def folders_of_films(fhir: Path, films: Path) -> list[Path]:
    """List the folders (p10/p10000032) of the patients who stayed long enough, in order.

    Raises:
        InputError: there is no such file of FHIR, or no film of any such patient.
    """
    stayed = {
        stay["subject"]["reference"]
        for stay in _resources(fhir, "MimicEncounterICU")
        if _length(stay.get("period", {})) > _STAY
    }
    names = sorted(
        str(identifier["value"])
        for patient in _resources(fhir, "MimicPatient")
        if f"Patient/{patient['id']}" in stayed
        for identifier in patient.get("identifier", ())
        if str(identifier.get("system", "")).endswith("/identifier/patient")
    )
    folders = [films / f"p{name[:2]}" / f"p{name}" for name in names]
    found = [folder for folder in folders if folder.is_dir()]
    if not found:
        raise InputError(
            f"{films} has no folder of any of {len(names)} patients, such as p10/p10000032; name "
            "the directory `files` of MIMIC-CXR"
        )
    return found


def _resources(fhir: Path, name: str) -> Iterator[dict[str, Any]]:
    files = sorted(fhir.glob(f"{name}.ndjson*"))
    if not files:
        raise InputError(f"{fhir} has no {name}.ndjson; name the directory of MIMIC-IV on FHIR")
    for file in files:
        with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
            yield from map(json.loads, lines)


def _length(period: dict[str, str]) -> timedelta:
    if not period.get("start") or not period.get("end"):
        return timedelta()
    return datetime.fromisoformat(period["end"]) - datetime.fromisoformat(period["start"])


def _told(found: Any) -> str:
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


if __name__ == "__main__":
    main()
