"""A store of 60 hand-made patients and a run that uses all modalities, for the page's tests."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from fusion.train import train
from ingest.cohort import build_cohort
from ingest.schema import DATASET_COLUMNS, EVENT_SCHEMA
from ingest.splits import split_of
from tests.hospital import ROOT

__all__ = ["HOSTILE", "Clinic", "build_clinic"]

HOSTILE = "<script>document.title='owned'</script> ${alert(1)} {{7*7}} @children"
"""What a note may hold: it must reach the page as text."""

DESCRIPTIONS = {
    "LOINC//8480-6": "Systolic blood pressure",
    "LOINC//39156-5": "Body mass index",
    "SNOMED//38341003": "Hypertension",
    "SNOMED//84114007": "Heart failure",
    "RXNORM//197361": "Amlodipine 5 mg",
}


@dataclass(frozen=True, kw_only=True)
class Clinic:
    """A store and a run by hand, with some patients who lack something."""

    store: Path
    run: Path
    with_all: int
    """A held-out subject with events, a note and an image."""
    without_note: int
    without_image: int


def build_clinic(place: Path) -> Clinic:
    """Write the store and train on it."""
    store, run = place / "store", place / "run"
    lacks = _write_store(store)
    build_cohort(store, [ROOT / "ingest" / "tasks" / "heart_failure_1y.yaml"], place / "cohort")
    names = ["prevalence", "events_logistic", "notes_tfidf", "images_embedding", "average"]
    train(store, place / "cohort", run, candidates=names, champion="average")
    held_out = [s for s in lacks if split_of(s) == "held_out"]
    return Clinic(
        store=store,
        run=run,
        with_all=next(s for s in held_out if lacks[s] is None),
        without_note=next(s for s in held_out if lacks[s] == "note"),
        without_image=next(s for s in held_out if lacks[s] == "image"),
    )


def _write_store(store: Path) -> dict[int, str | None]:
    rng = np.random.default_rng(5)
    (store / "data").mkdir(parents=True)
    (store / "metadata").mkdir()
    (store / "images").mkdir()
    rows: list[dict] = []
    lacks: dict[int, str | None] = {}
    for subject in range(1, 61):
        ill = bool(rng.random() < 0.4)
        lack = [None, "note", "image"][subject % 3]
        lacks[subject] = lack
        rows += _patient(subject, ill, lack, rng, store)
    table = pd.DataFrame(rows, columns=EVENT_SCHEMA.names)
    table = table.sort_values(["subject_id", "time"], na_position="first", kind="stable")
    table["time_from"] = table["occurred_from"] = pd.NaT  # all dates have their hour
    pq.write_table(
        pa.Table.from_pandas(table, EVENT_SCHEMA, preserve_index=False),
        store / "data" / "0.parquet",
    )
    codes = sorted(set(table["code"]))
    pq.write_table(
        pa.table(
            {
                "code": codes,
                "description": [DESCRIPTIONS.get(c) for c in codes],
                "parent_codes": pa.array([[] for _ in codes], pa.list_(pa.string())),
            }
        ),
        store / "metadata" / "codes.parquet",
    )
    splits = {"subject_id": list(lacks), "split": [split_of(s) for s in lacks]}
    pq.write_table(pa.table(splits), store / "metadata" / "subject_splits.parquet")
    (store / "metadata" / "dataset.json").write_text(json.dumps(DATASET_COLUMNS))
    (store / "ingest_report.json").write_text("{}")
    return lacks


def _patient(subject: int, ill: bool, lack: str | None, rng, store: Path) -> list[dict]:
    visit = pd.Timestamp("2020-03-01 10:00") + pd.Timedelta(days=int(rng.integers(0, 90)))
    rows: list[dict] = []

    def event(days: float, code: str, **more) -> None:
        time = None if np.isnan(days) else (visit - pd.Timedelta(days=days)).floor("s")
        rows.append({"subject_id": subject, "time": time, "code": code, **more})

    event(np.nan, f"GENDER//{'FM'[subject % 2]}")
    event(365.2425 * float(rng.uniform(40, 80)), "MEDS_BIRTH")
    for days in (900, 400, 120, 30, 1):
        pressure = float(rng.normal(150 if ill else 128, 14)) + (900 - days) / 200
        event(days, "LOINC//8480-6", numeric_value=round(pressure), unit="mm[Hg]")
    event(120, "LOINC//39156-5", numeric_value=float(rng.normal(28, 3)), unit="kg/m2")
    if ill or rng.random() < 0.4:
        event(700, "SNOMED//38341003")
        event(650, "ORDER//RXNORM//197361")
    event(0.04, "ENCOUNTER_START//AMB")
    if lack != "note":
        words = "Ankle swelling, short of breath." if ill else "Feels well, no complaints."
        event(0.02, "NOTE//LOINC//11506-3", text_value=f"{words} {HOSTILE}")
    if lack != "image":
        name = f"images/{subject:064d}.png"
        shade = np.clip(rng.normal(110 + 60 * ill, 25, (96, 80)), 0, 255).astype(np.uint8)
        Image.fromarray(shade).save(store / name)
        event(2, "IMAGE//DX//PA", image=name)
    event(0, "ENCOUNTER_END//AMB")
    if ill:
        event(-200, "SNOMED//84114007", occurred=visit + pd.Timedelta(days=200))
    event(-500, "LOINC//8480-6", numeric_value=130.0, unit="mm[Hg]")
    return rows
