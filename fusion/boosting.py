"""Gradient boosting on the events' table, saved in LightGBM's own text format."""

from pathlib import Path
from typing import Any, ClassVar, Self

import lightgbm as lgb
import numpy as np
from jaxtyping import Float, Float64
from scipy.special import expit

from fusion.candidates import Embedder, Lesson
from fusion.features import EventFeatures
from fusion.prevalence import base_rates, to_logit
from fusion.tabular import TableCandidate

__all__ = ["EventsBoostingCandidate"]

_PARAMETERS: dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 8,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "verbose": -1,
    # One thread and a fixed order of sums: the same data must give the same bytes.
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
}
_MOST_ROUNDS, _PATIENCE = 600, 40
_BLIND_ROUNDS = 60
"""Trees where tuning has too few of a class to say when to stop."""
_FEWEST_TO_STOP_BY = 5


class EventsBoostingCandidate(TableCandidate):
    """Grow small trees on age, sex, codes and measurements; missing values stay missing."""

    name: ClassVar[str] = "events_boosting"

    def __init__(
        self,
        *,
        tasks: tuple[str, ...],
        features: EventFeatures,
        rates: np.ndarray,
        boosters: list[lgb.Booster | None],
    ):
        super().__init__(tasks=tasks, features=features)
        self.rates = rates
        self.boosters = boosters

    @classmethod
    def fit(cls, lesson: Lesson) -> Self:
        """Grow trees on train until tuning's log-loss has not fallen for 40 of them."""
        train, tuning = lesson.train, lesson.tuning
        features = EventFeatures.fit(train.timelines)
        table, watched = features.table(train.timelines), features.table(tuning.timelines)
        boosters = [
            _grow(table, train.labels[:, task], watched, tuning.labels[:, task], lesson.seed)
            for task in range(len(lesson.tasks))
        ]
        rates = base_rates(train.labels)
        return cls(tasks=lesson.tasks, features=features, rates=rates, boosters=boosters)

    def _risks(self, table: Float[np.ndarray, "b f"]) -> Float64[np.ndarray, "b k"]:
        risks = np.tile(expit(to_logit(self.rates)), (len(table), 1))
        for task, booster in enumerate(self.boosters):
            if booster is not None and len(table):
                risks[:, task] = np.asarray(booster.predict(table, num_threads=1))
        return risks

    def save(self, folder: Path) -> None:
        """Write features.json and a text file of trees a task."""
        self._save_features(folder, rates=self.rates.tolist())
        for task, booster in zip(self.tasks, self.boosters, strict=True):
            if booster is not None:
                _trees(folder, task).write_text(booster.model_to_string(), "utf-8")

    @classmethod
    def load(cls, folder: Path, encoders: Embedder) -> Self:
        """Read what `save` wrote."""
        shared, content = cls._load_features(folder)
        files = [_trees(folder, task) for task in shared["tasks"]]
        return cls(
            **shared,
            rates=np.array(content["rates"]),
            boosters=[
                lgb.Booster(model_str=file.read_text("utf-8")) if file.is_file() else None
                for file in files
            ],
        )


def _trees(folder: Path, task: str) -> Path:
    return folder / f"{task}.lightgbm.txt"


def _grow(
    table: np.ndarray, labels: np.ndarray, watched: np.ndarray, watch: np.ndarray, seed: int
) -> lgb.Booster | None:
    known, seen = np.isfinite(labels), np.isfinite(watch)
    y, wy = labels[known], watch[seen]
    if len(np.unique(y)) < 2:
        return None
    # Leaves of 20 patients need some hundreds of them; a small set gets smaller leaves.
    leaf = int(np.clip(len(y) // 20, 3, _PARAMETERS["min_data_in_leaf"]))
    parameters = {**_PARAMETERS, "seed": seed, "min_data_in_leaf": leaf}
    data = lgb.Dataset(table[known], y, params=parameters)
    if min((wy == 1).sum(), (wy == 0).sum()) < _FEWEST_TO_STOP_BY:
        return lgb.train(parameters, data, num_boost_round=_BLIND_ROUNDS)
    booster = lgb.train(
        parameters,
        data,
        num_boost_round=_MOST_ROUNDS,
        valid_sets=[data.create_valid(watched[seen], wy)],
        callbacks=[lgb.early_stopping(_PATIENCE, verbose=False)],
    )
    text = booster.model_to_string(num_iteration=booster.best_iteration)
    return lgb.Booster(model_str=text)
