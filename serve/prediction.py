"""What is said of one subject at one prediction time: risks, reasons, and what they rest on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from ingest.schema import Modality
from ingest.timeline import Timelines

if TYPE_CHECKING:
    from serve.explained import Explained

__all__ = ["DAYS_A_YEAR", "Contribution", "Picture", "Prediction", "TaskInfo", "TaskRisk"]

DAYS_A_YEAR = 365.2425
"""For ages, from MEDS_BIRTH."""


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """Say what a task asks, and which model answers it."""

    name: str
    """The task's name: that of its ACES file."""

    title: str
    """As the task's file has it, else its name."""

    description: str
    """As the task's file has it."""

    horizon_days: float | None
    """Days that the risk looks ahead, where that is a length."""

    concurrent: bool
    """Whether it tells of the prediction time itself and is no forecast."""

    base_rate: float
    """Share of positives among the rows that were fitted on."""

    champion: str
    """The model that serves."""

    compared: Mapping[str, Mapping[str, float]]
    """By which numbers it was chosen: `logloss`, `behind` and `standard_error` of each model;
    empty where too few rows could choose."""

    asked_for: bool
    """Whether whoever trained asked for that model, instead of the rule."""

    evaluation: Mapping[str, Any] | None
    """`n`, `positives` and `metrics` of the champion on held_out; None before `evaluate`."""


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """Say what one modality added to a risk: its exact Shapley value over the modalities."""

    modality: Modality
    """Which one."""

    present: bool
    """Whether the subject has anything of it; where not, both values are 0."""

    log_odds: float
    """Shapley value on the logit scale; the three add up from base to risk."""

    risk: float
    """Shapley value on the scale of the risk itself; the three add up from base to risk."""


@dataclass(frozen=True, kw_only=True)
class TaskRisk:
    """Hold one subject's risk of one task."""

    task: TaskInfo
    """What was asked."""

    risk: float
    """Calibrated probability."""

    interval: tuple[float, float] | None
    """Where the rate lies among those to whom the model gives this risk, at 95 %; None where the
    run states none."""

    label_set: str | None
    """Which labels cannot be ruled out, at 90 %: a name of `fusion.conformal.SET_NAMES`."""

    nothing_known: float
    """What the model says of a subject of whom nothing is known: where contributions start."""

    contributions: tuple[Contribution, ...]
    """One a modality, in the order of Modality."""

    asked: bool
    """Whether the task itself asks at this time; elsewhere the model was never judged."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Hold an image as a page shows it."""

    code: str
    """`IMAGE//…`."""

    time: pd.Timestamp
    """When it was known."""

    png: bytes | None
    """A PNG of at most PICTURE_PX on its longest side; None where the store lacks the file."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Hold all that is said of one subject at one prediction time; needs no store to be shown."""

    subject_id: int | None
    """None for an upload, whose pseudonym means nothing to anybody."""

    prediction_time: pd.Timestamp
    """Nothing that was known later was used."""

    risks: tuple[TaskRisk, ...]
    """One a task."""

    missing: tuple[Modality, ...]
    """Modalities of which the subject has nothing at this time."""

    unlike: Modality | None
    """The modality in which the record is unlike all that the model was trained on, if it is."""

    timeline: Timelines
    """The one row that was scored."""

    pictures: tuple[Picture, ...]
    """The latest images, oldest first."""

    descriptions: Mapping[str, str]
    """Human names of codes."""

    reasons: "tuple[Explained, ...]" = ()
    """Each risk's explanation, in the order of `risks`, where it was asked for."""

    images_unused: int = 0
    """Of an upload: images that joined nobody or were unreadable."""

    images_undated: int = 0
    """Of an upload: images without a date, taken as known at the prediction time."""

    quarantined: int = 0
    """Of an upload: records that were unreadable."""
