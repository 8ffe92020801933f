"""A small clinic with planted risks: timelines, or a store and a cohort on disk.

The label depends on a latent that a laboratory value, a note's wording and an image's brightness
each show with noise, so that every kind of model has something to find. It is made of rows, not of
FHIR: what is tested here starts where ingest ends.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from fusion.candidates import Lesson
from fusion.rows import Rows
from fusion.run import read_json, write_json
from fusion.served import ServedRun
from fusion.train import train
from ingest.errors import RunError
from ingest.labels import read_cohort, write_labels, write_splits
from ingest.schema import DATASET_COLUMNS, EVENT_SCHEMA
from ingest.store import RecordStore
from ingest.timeline import Timelines

DAY = pd.Timestamp("2024-03-01 12:00")
SICK = ("breathless and swollen", "short of breath with oedema", "tired and breathless")
WELL = ("feels well", "no complaint at all", "good exercise tolerance")


QUICK = ("prevalence", "events_logistic", "notes_tfidf", "images_embedding", "average")


class HashedEncoders:
    """A tiny embedder: hashed words of a sentence, mean brightness of a quarter of an image."""

    text_width, image_width = 32, 2
    preprocessing: ClassVar = {"text": {"kind": "hashed", "d": 32}, "image": {"kind": "quarters"}}

    def check(self, stated: Mapping[str, Any]) -> None:
        if stated != self.preprocessing:
            raise RunError("another encoder")

    def notes(self, texts: Sequence[str], *, progress: bool = False) -> list[np.ndarray]:
        return [self._sentence(text) for text in texts]

    def images(self, paths: Sequence[Path], *, progress: bool = False) -> list[np.ndarray]:
        return [self._quarters(path) for path in paths]

    def image_views(self, paths: Sequence[Path], *, progress: bool = False) -> list[np.ndarray]:
        return [1.1 * self._quarters(path) + 0.01 for path in paths]

    def _sentence(self, text: str) -> np.ndarray:
        if not text.strip():
            return np.zeros((0, 32), np.float32)
        vector = np.zeros(32, np.float32)
        for word in text.lower().split():
            vector[hashlib.sha256(word.encode()).digest()[0] % 32] += 1
        return vector[None]

    def _quarters(self, path: Path) -> np.ndarray:
        with Image.open(path) as image:
            grey = np.asarray(image.convert("L"), np.float32) / 255
        h, w = grey.shape[0] // 2, grey.shape[1] // 2
        parts = [grey[:h, :w], grey[:h, w:], grey[h:, :w], grey[h:, w:]]
        return np.array([[p.mean(), p.std()] for p in parts], np.float32)


def clinic_events(
    place: Path, n: int, seed: int, *, strength: tuple[float, float, float] = (1.2, 1.2, 1.2)
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write n patients' images; give their events (EVENT_SCHEMA) and subject, time, label."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((n, 3))
    logit = latent @ np.array(strength) - 0.4
    label = rng.random(n) < 1 / (1 + np.exp(-logit))
    (place / "images").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    subjects = np.sort(rng.choice(10**9, n, replace=False) + 1)
    for i, subject in enumerate(subjects.tolist()):
        age = rng.uniform(30, 90)

        def add(days: float | None, code: str, subject: int = subject, **more: Any) -> None:
            time = pd.NaT if days is None else DAY - pd.Timedelta(days=round(days, 3)).floor("s")
            rows.append({"subject_id": subject, "time": time, "code": code, **more})

        add(None, "GENDER//F" if rng.random() < 0.5 else "GENDER//M")
        add(age * 365.25, "MEDS_BIRTH")
        for days in (300.0, 90.0, 3.0):
            if rng.random() < 0.85:
                value = 120 + 15 * latent[i, 0] + 5 * rng.standard_normal()
                add(days, "LOINC//8480-6", numeric_value=value, unit="mm[Hg]")
        for code in ("SNOMED//44054006", "SNOMED//38341003"):
            if rng.random() < 0.3:
                add(200.0, code)
        if rng.random() < 0.85:
            words = SICK if latent[i, 1] + 0.3 * rng.standard_normal() > 0 else WELL
            add(2.0, "NOTE//LOINC//11488-4", text_value=str(rng.choice(words)))
        if rng.random() < 0.8:
            grey = np.clip(110 + 30 * latent[i, 2] + 8 * rng.standard_normal((16, 16)), 0, 255)
            name = f"images/{subject:09d}.png"
            Image.fromarray(grey.astype(np.uint8)).save(place / name)
            add(1.0, "IMAGE//DX//PA", image=name)
        # After the prediction time, and perfectly telling: nobody may see it.
        add(-30.0, "SNOMED//84114007" if label[i] else "SNOMED//165232002")
    events = pd.DataFrame(rows)
    events["time"] = events["time"].astype("datetime64[us]")
    for name in EVENT_SCHEMA.names:
        if name not in events.columns:
            events[name] = None
    events["source"] = [f"0:{i + 1}" for i in range(len(events))]
    labels = pd.DataFrame({"subject_id": subjects, "prediction_time": DAY, "boolean_value": label})
    return events[EVENT_SCHEMA.names], labels


def write_store(place: Path, events: pd.DataFrame) -> Path:
    """Write a store that `RecordStore` reads."""
    events = events.sort_values(["subject_id", "time"], na_position="first", kind="stable")
    (place / "data").mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(events, schema=EVENT_SCHEMA, preserve_index=False)
    pq.write_table(table, place / "data" / "0.parquet")
    write_json(place / "metadata" / "dataset.json", DATASET_COLUMNS)
    codes = pd.DataFrame({"code": sorted(events["code"].unique()), "description": None})
    codes.to_parquet(place / "metadata" / "codes.parquet")
    write_json(place / "ingest_report.json", {})
    return place


def write_cohort(
    place: Path,
    labels: dict[str, pd.DataFrame],
    *,
    shares: tuple[float, ...] = (0.5, 0.2, 0.15, 0.15),
    exclude_codes: Sequence[str] = (),
) -> Path:
    """Write label files, splits dealt in order of subject, and a task file each."""
    subjects = np.unique(np.concatenate([t["subject_id"].to_numpy() for t in labels.values()]))
    bounds = np.cumsum(shares) * len(subjects)
    names = np.array(["train", "tuning", "calibration", "held_out"])
    order = np.random.default_rng(5).permutation(len(subjects))
    split = names[np.minimum(np.searchsorted(bounds, order, "right"), 3)]
    write_splits(place / "splits.parquet", pd.DataFrame({"subject_id": subjects, "split": split}))
    for task, table in labels.items():
        write_labels(place / "labels" / f"{task}.parquet", table)
        (place / "tasks").mkdir(exist_ok=True)
        patterns = "".join(f"\n    - '{pattern}'" for pattern in exclude_codes)
        text = "metadata:\n  title: A test\n"
        text += f"  exclude_codes:{patterns}\n" if patterns else ""
        (place / "tasks" / f"{task}.yaml").write_text(text, "utf-8")
    return place


def write_clinic(
    place: Path, *, n: int = 240, seed: int = 1, exclude_codes: Sequence[str] = (), **more: Any
) -> tuple[Path, Path]:
    """Write a clinic's store and cohort, with one task, `ill`."""
    events, labels = clinic_events(place / "store", n, seed, **more)
    store = write_store(place / "store", events)
    return store, write_cohort(place / "cohort", {"ill": labels}, exclude_codes=exclude_codes)


def clinic_timelines(place: Path, n: int, seed: int, **more: Any) -> tuple[Timelines, np.ndarray]:
    """Give n patients' timelines and labels [n 1]."""
    events, labels = clinic_events(place, n, seed, **more)
    store = write_store(place, events)
    timelines = RecordStore(store).timelines(labels[["subject_id", "prediction_time"]])
    return timelines, labels[["boolean_value"]].to_numpy(np.float32)


def lesson(
    train: Timelines,
    labels: np.ndarray,
    tuning: Timelines | None = None,
    tuning_labels: np.ndarray | None = None,
    **more: Any,
) -> Lesson:
    """Give what a candidate is fitted on; without tuning, train is watched."""
    learnt = Rows(timelines=train, labels=labels)
    watched = learnt if tuning is None else Rows(timelines=tuning, labels=tuning_labels)
    given = {"tasks": ("ill",), "encoders": HashedEncoders()} | more
    return Lesson(train=learnt, tuning=watched, **given)


def fit(place: Path, run: str = "run", **more: Any) -> dict:
    """Train on a clinic that was written there, on quick models unless others are asked for."""
    more = {"candidates": QUICK, "encoders": HashedEncoders()} | more
    return train(place / "store", place / "cohort", place / run, **more)


def hashes(run: Path) -> dict[str, str]:
    return read_json(run / "manifest.json")["sha256"]


def serve(run: Path) -> ServedRun:
    return ServedRun(run, encoders=HashedEncoders())


def held_out(place: Path) -> Timelines:
    cohort = read_cohort(place / "cohort")
    index = cohort.index.iloc[cohort.rows("held_out")].reset_index(drop=True)
    return RecordStore(place / "store").timelines(index)
