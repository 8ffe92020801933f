"""A run and a store in, a prediction with its reasons out. Knows nothing of the web.

Whoever shows or sends a risk (the page, the command line, later the HTTP API) asks this.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64
from tqdm import tqdm

from encoders.cache import tokens_in_memory
from fusion.served import ServedRun, read_splits
from fusion.shapley import OnRiskScale, Remembered, shapley
from fusion.train import token_cache
from fusion.what_if import Edit
from ingest.cohort import prediction_times
from ingest.damage import naming_damage
from ingest.errors import InputError, StoreError
from ingest.schema import SPLITS, Modality
from ingest.store import RecordStore
from ingest.timeline import Timelines
from serve.beside import Beside, state_beside
from serve.explained import Explained, Explainer
from serve.pictures import read_pictures
from serve.prediction import (
    DAYS_A_YEAR,
    Contribution,
    Prediction,
    TaskRisk,
)
from serve.ready import ReadyChild
from serve.task_info import describe_task, tell_untimed
from serve.upload import Uploaded, UploadError, UploadLimits, child_caps, uploaded_store

__all__ = ["Predictor"]

_log = logging.getLogger(__name__)

ROWS_AT_ONCE = 512
"""Rows scored together in a table: bounds memory, changes no risk."""


class Predictor:
    """Answer for one run, with patients from one store (or none: uploads only).

    `ready` is where the children come from that read uploads; without it, each starts when needed.
    `text` and `image` say where the run's encoders are now, if not where it says.

    Raises:
        RunError: the run is missing, damaged or was changed since it was sealed, or the encoders
            have other weights than it was trained with.
        StoreError: the store is missing or damaged.
        UsageError: an encoder cannot be had.
    """

    def __init__(
        self,
        run: Path,
        store: Path | None = None,
        *,
        ready: ReadyChild | None = None,
        text: str | None = None,
        image: str | None = None,
    ):
        self.run = run
        self._ready = ready
        self.store = store
        # Tokens are kept where training keeps them: beside the store, since they are made of it.
        cache = token_cache(store) if store is not None else None
        self.served = ServedRun(run, cache=cache, text=text, image=image)
        self.tasks = tuple(describe_task(self.served, name) for name in self.served.tasks)
        with naming_damage(store=store):
            self._records = RecordStore(store) if store is not None else None
            self._descriptions = _descriptions(self._records) if self._records else {}
            for sentence in self.served.read_otherwise(store) if store is not None else ():
                _log.warning(sentence)
        self._patients: dict[str, pd.DataFrame] = {}
        self._explainer = Explainer(self.served)
        # A store's connection and a model's cache serve one thread at a time; a page has many.
        self._lock = threading.RLock()

    def patients(self, split: str = "held_out") -> pd.DataFrame:
        """List subject_id, prediction_time and tasks (names, joined by commas) of a split.

        Sorted by subject and time; empty without a store.
        """
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
        with self._lock, naming_damage(store=self.store):
            return self._patients_of(split)

    def _patients_of(self, split: str) -> pd.DataFrame:
        if split not in self._patients:
            splits = read_splits(self.run)
            ids = splits.loc[splits["split"] == split, "subject_id"].tolist()
            self._patients[split] = self._moments(self.store, ids)
        return self._patients[split]

    def predict(
        self,
        subject_id: int,
        at: datetime | pd.Timestamp | None = None,
        *,
        explained: bool = False,
    ) -> Prediction:
        """Predict every task for one subject, at a time or at the latest that a task asks at.

        Args:
            subject_id: in the store.
            at: the prediction time.
            explained: take each risk apart as well (`Prediction.reasons`).

        Raises:
            InputError: the store knows nothing of the subject by then, or no task asks about it.
        """
        records = self._open_records()
        with naming_damage(store=self.store):
            moments = self._moments(self.store, [subject_id])
            time = _asked_time(subject_id, moments, at)
            with self._lock:
                return self._predict(
                    records, subject_id, time, moments, self._descriptions, explained=explained
                )

    def explain(
        self,
        subject_id: int,
        at: datetime | pd.Timestamp | None = None,
        *,
        task: str | None = None,
        model: str | None = None,
        edits: Sequence[Edit] = (),
    ) -> tuple[Explained, ...]:
        """Explain the risks of one subject, at a time or at the latest that a task asks at.

        Args:
            subject_id: in the store.
            at: the prediction time.
            task: one of the run's; all by default.
            model: one of the run's; each task's champion by default.
            edits: changes of the record, of each of which the risk is given.

        Raises:
            InputError: the store knows nothing of the subject by then, or no task asks about it.
            UsageError: a change that cannot be made.
            ValueError: a task or a model that there isn't.
        """
        records = self._open_records()
        with naming_damage(store=self.store), self._lock:
            moments = self._moments(self.store, [subject_id])
            if task is not None:  # another task may ask later
                mine = [task in names.split(",") for names in moments["tasks"]]
                moments = moments[mine]
            time = _asked_time(subject_id, moments, at)
            timeline = self._timeline(records, subject_id, time)
            return self._explainer.explain(
                timeline,
                self.served.tasks if task is None else (task,),
                self._descriptions,
                model=model,
                edits=edits,
            )

    def summarize(self, index: pd.DataFrame) -> pd.DataFrame:
        """Give age_years, sex, and the counts of events, notes and images known at each row."""
        with self._lock:
            timelines = self._open_records().timelines(index)
        events = timelines.events
        born = events[events["code"] == "MEDS_BIRTH"].drop_duplicates("row").set_index("row")
        sex = events[events["code"].str.startswith("GENDER//")].drop_duplicates("row")
        sex = sex.set_index("row")["code"].str.removeprefix("GENDER//")
        rows = pd.RangeIndex(len(index))
        counts = events.groupby(["row", "modality"]).size().unstack(fill_value=0)
        summary = counts.reindex(index=rows, columns=[str(m) for m in Modality], fill_value=0)
        summary["age_years"] = (born["days_before"] / DAYS_A_YEAR).reindex(rows)
        summary["sex"] = sex.reindex(rows)
        return summary

    def predict_table(
        self, at: datetime | pd.Timestamp | None = None, *, progress: bool = False
    ) -> pd.DataFrame:
        """Give a row for each subject, task and prediction time: its risk.

        Without `at`, at every time that the task asks at, whether or not its outcome is known yet;
        with it, every subject of whom anything was known by then.
        """
        records = self._open_records()
        parts = []
        with naming_damage(store=self.store):
            for number, task in enumerate(self.tasks):
                if at is None:
                    index = prediction_times(self.store, self._task_file(task.name))
                    told = tell_untimed(self._task_file(task.name), records.subjects(), index)
                    if told:
                        _log.warning(told)
                else:
                    index = self._known_by(records, _utc(at))
                risks = self._score_in_parts(records, index, number, task.name, progress)
                parts.append(
                    index[["subject_id", "prediction_time"]].assign(task=task.name, risk=risks)
                )
        columns = ["subject_id", "task", "prediction_time", "risk"]
        return pd.concat(parts)[columns].reset_index(drop=True)

    def predict_upload(
        self,
        files: Sequence[Path],
        *,
        timezone: str = "UTC",
        limits: UploadLimits | None = None,
        explained: bool = False,
    ) -> Prediction:
        """Predict for the one patient that the files hold; nothing of them is kept.

        At the latest time that a task asks at; where none does, at the record's last event.

        Args:
            files: one patient's records and images.
            timezone: of times without a zone.
            limits: caps on the upload.
            explained: take each risk apart as well (`Prediction.reasons`).

        Raises:
            UploadError: no patient, several, or files that are no FHIR.
            LimitError: over a cap on files, bytes, memory or time.
        """
        task_files = [self._task_file(task.name) for task in self.tasks]
        limits = limits or UploadLimits()
        fits = self._ready is not None and self._ready.caps == child_caps(limits)
        ready = self._ready if fits else None
        store = uploaded_store(
            files,
            limits,
            timezone=timezone,
            tasks=task_files,
            ready=ready,
            conventions=self.served.conventions,
            deidentification=self.served.deidentification,
        )
        with store as uploaded, self._lock, tokens_in_memory():
            records = RecordStore(uploaded.store)
            known = _known(records)
            if known.empty:
                raise UploadError("error_nobody", "the upload holds no dated event")
            subject_id, last = int(known["subject_id"].iloc[0]), known["last"].iloc[0]
            moments = self._moments(uploaded.store, [subject_id])
            time = last if moments.empty else moments["prediction_time"].max()
            return self._predict(
                records,
                subject_id,
                pd.Timestamp(time),
                moments,
                {**self._descriptions, **_descriptions(records)},
                uploaded=uploaded,
                explained=explained,
            )

    def _predict(
        self,
        records: RecordStore,
        subject_id: int,
        time: pd.Timestamp,
        moments: pd.DataFrame,
        descriptions: Mapping[str, str],
        uploaded: Uploaded | None = None,
        *,
        explained: bool,
    ) -> Prediction:
        timeline = self._timeline(records, subject_id, time)
        here = moments.loc[moments["prediction_time"] == time, "tasks"]
        asked, tasks = set(",".join(here).split(",")), self.served.tasks
        scorer = Remembered(self.served, timeline)
        beside = state_beside(self.served, timeline)
        return Prediction(
            subject_id=None if uploaded else subject_id,
            prediction_time=time,
            risks=tuple(
                self._task_risk(scorer, timeline, number, task.name in asked, beside)
                for number, task in enumerate(self.tasks)
            ),
            missing=tuple(m for m in Modality if not timeline.has(m)[0]),
            unlike=beside.unlike,
            timeline=timeline,
            pictures=read_pictures(timeline, records),
            descriptions=descriptions,
            reasons=self._explainer.explain(timeline, tasks, descriptions) if explained else (),
            images_unused=uploaded.images_unused if uploaded else 0,
            images_undated=uploaded.images_undated if uploaded else 0,
            quarantined=uploaded.quarantined if uploaded else 0,
        )

    def _timeline(self, records: RecordStore, subject_id: int, time: pd.Timestamp) -> Timelines:
        index = pd.DataFrame({"subject_id": [subject_id], "prediction_time": [time]}).astype(
            {"subject_id": "int64", "prediction_time": "datetime64[us]"}
        )
        # Codes that no model sees must not be shown as if they had been used either.
        timeline = self.served.seen(records.timelines(index))
        if timeline.events["time"].isna().all():
            raise InputError(f"nothing is known of subject {subject_id} by {time}")
        return timeline

    def _task_risk(
        self,
        scorer: Remembered,
        timeline: Timelines,
        number: int,
        asked: bool,
        beside: Beside,
    ) -> TaskRisk:
        log_odds = shapley(scorer, timeline, number).values[0]
        risk = shapley(OnRiskScale(scorer), timeline, number).values[0]
        present = {m: bool(timeline.has(m)[0]) for m in Modality}
        return TaskRisk(
            task=self.tasks[number],
            risk=float(scorer.score(timeline)[0, number]),
            interval=beside.intervals[number],
            label_set=beside.label_sets[number],
            nothing_known=float(scorer.score(timeline, frozenset())[0, number]),
            contributions=tuple(
                Contribution(
                    modality=m, present=present[m], log_odds=float(log_odds[i]), risk=float(risk[i])
                )
                for i, m in enumerate(Modality)
            ),
            asked=asked,
        )

    def _moments(self, store: Path | None, subject_ids: Sequence[int]) -> pd.DataFrame:
        """Join the prediction times of all tasks: subject_id, prediction_time, tasks."""
        parts = []
        if store is not None and len(subject_ids):
            for task in self.tasks:
                found = prediction_times(store, self._task_file(task.name), list(subject_ids))
                parts.append(found[["subject_id", "prediction_time"]].assign(tasks=task.name))
        if not parts:
            return pd.DataFrame({"subject_id": [], "prediction_time": [], "tasks": []}).astype(
                {"subject_id": "int64", "prediction_time": "datetime64[us]", "tasks": "str"}
            )
        keys = ["subject_id", "prediction_time"]
        joined = pd.concat(parts).groupby(keys, as_index=False)["tasks"].agg(",".join)
        return joined.sort_values(keys).reset_index(drop=True)

    def _known_by(self, records: RecordStore, time: pd.Timestamp) -> pd.DataFrame:
        known = _known(records, time)
        subjects = known[["subject_id"]].copy()
        subjects["prediction_time"] = pd.Series([time] * len(subjects), dtype="datetime64[us]")
        return subjects

    def _score_in_parts(
        self, records: RecordStore, index: pd.DataFrame, number: int, name: str, progress: bool
    ) -> Float64[np.ndarray, " b"]:
        starts = range(0, len(index), ROWS_AT_ONCE)
        risks = [
            self.served.score(
                records.timelines(index.iloc[s : s + ROWS_AT_ONCE].reset_index(drop=True))
            )[:, number]
            for s in tqdm(starts, desc=f"predict {name}", disable=not progress)
        ]
        return np.concatenate(risks) if risks else np.empty(0)

    def _open_records(self) -> RecordStore:
        if self._records is None:
            raise StoreError("no record store was given, so there is no subject to predict for")
        return self._records

    def _task_file(self, name: str) -> Path:
        return self.run / "tasks" / f"{name}.yaml"


def _descriptions(records: RecordStore) -> dict[str, str]:
    codes = records.codes()
    named = codes[codes["description"].notna()]
    return dict(zip(named["code"], named["description"], strict=True))


def _known(records: RecordStore, by: pd.Timestamp | None = None) -> pd.DataFrame:
    """List the subjects of whom anything dated is known (by a time), with the `last` such time."""
    events = records.events().filter("time IS NOT NULL")
    if by is not None:
        events = events.filter(f"time <= TIMESTAMP '{by.isoformat(sep=' ')}'")
    return events.aggregate("subject_id, max(time) AS last", "subject_id").order("subject_id").df()


def _asked_time(
    subject_id: int, moments: pd.DataFrame, at: datetime | pd.Timestamp | None
) -> pd.Timestamp:
    if at is None and moments.empty:
        raise InputError(f"no task asks about subject {subject_id}; give a time with `at`")
    return moments["prediction_time"].max() if at is None else _utc(at)


def _utc(time: datetime | pd.Timestamp) -> pd.Timestamp:
    """Take a time without zone as UTC."""
    moment = pd.Timestamp(time)
    return moment if moment.tzinfo is None else moment.tz_convert("UTC").tz_localize(None)
