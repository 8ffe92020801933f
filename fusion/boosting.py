"""Gradient boosting on the events' table, saved in LightGBM's own text format."""

from pathlib import Path
from typing import Any, ClassVar, Self

import lightgbm as lgb
import numpy as np
from jaxtyping import Float64
from scipy.special import expit

from fusion.candidates import Embedder
from fusion.features import EventFeatures
from fusion.prevalence import base_rates, clip_risk, to_logit
from fusion.run import read_json, write_json
from fusion.scoring import ALL_MODALITIES
from ingest.schema import Modality
from ingest.timeline import Timelines

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


class EventsBoostingCandidate:
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
        self.tasks = tasks
        self.features = features
        self.rates = rates
        self.boosters = boosters

    @classmethod
    def fit(
        cls,
        *,
        tasks: tuple[str, ...],
        train: Timelines,
        train_labels: np.ndarray,
        tuning: Timelines,
        tuning_labels: np.ndarray,
        encoders: Embedder,
        seed: int = 0,
        progress: bool = False,
    ) -> Self:
        """Grow trees on train until tuning's log-loss has not fallen for 40 of them."""
        features = EventFeatures.fit(train)
        table, watched = features.table(train), features.table(tuning)
        boosters = [
            _grow(table, train_labels[:, task], watched, tuning_labels[:, task], seed)
            for task in range(len(tasks))
        ]
        rates = base_rates(train_labels)
        return cls(tasks=tasks, features=features, rates=rates, boosters=boosters)

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES
    ) -> Float64[np.ndarray, "b k"]:
        """Give the risk; notes and images are not looked at."""
        table = self.features.table(timelines.only(modalities & {Modality.EVENTS}))
        risks = np.tile(expit(to_logit(self.rates)), (len(timelines), 1))
        for task, booster in enumerate(self.boosters):
            if booster is not None and len(timelines):
                risks[:, task] = np.asarray(booster.predict(table, num_threads=1))
        return clip_risk(risks)

    def save(self, folder: Path) -> None:
        """Write features.json and a text file of trees a task."""
        content = {"tasks": self.tasks, "rates": self.rates.tolist(), **self.features.to_json()}
        write_json(folder / "features.json", content)
        for task, booster in zip(self.tasks, self.boosters, strict=True):
            if booster is not None:
                (folder / f"{task}.lightgbm.txt").write_text(booster.model_to_string(), "utf-8")

    @classmethod
    def load(cls, folder: Path, encoders: Embedder) -> Self:
        """Read what `save` wrote."""
        content = read_json(folder / "features.json")
        files = [folder / f"{task}.lightgbm.txt" for task in content["tasks"]]
        return cls(
            tasks=tuple(content["tasks"]),
            features=EventFeatures.from_json(content),
            rates=np.array(content["rates"]),
            boosters=[
                lgb.Booster(model_str=file.read_text("utf-8")) if file.is_file() else None
                for file in files
            ],
        )


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
