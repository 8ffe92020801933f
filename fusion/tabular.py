"""What the models of the events' table share: their features, and how they are asked and kept."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Float64

from fusion.features import EventFeatures
from fusion.prevalence import clip_risk
from fusion.run import read_json, write_json
from fusion.scoring import ALL_MODALITIES
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["TableCandidate"]

_FILE = "features.json"


class TableCandidate(ABC):
    """Ask a model of the events' table; half a `fusion.candidates.Candidate`."""

    name: ClassVar[str]

    def __init__(self, *, tasks: tuple[str, ...], features: EventFeatures):
        self.tasks = tasks
        self.features = features

    @abstractmethod
    def _risks(self, table: Float[np.ndarray, "b f"]) -> Float64[np.ndarray, "b k"]:
        """Give the risks of the table's rows."""

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES
    ) -> Float64[np.ndarray, "b k"]:
        """Give the risk; notes and images are not looked at."""
        table = self.features.table(timelines.only(modalities & {Modality.EVENTS}))
        return clip_risk(self._risks(table))

    def _save_features(self, folder: Path, **more: Any) -> None:
        write_json(folder / _FILE, {"tasks": self.tasks, **more, **self.features.to_json()})

    @staticmethod
    def _load_features(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give what this class is made of, and the whole content of the file."""
        content = read_json(folder / _FILE)
        features = EventFeatures.from_json(content)
        return {"tasks": tuple(content["tasks"]), "features": features}, content
