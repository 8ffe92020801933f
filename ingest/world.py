"""Read a world file: every number of the simulated hospital, and nothing of its machinery.

A world file is YAML and states what differs from `worlds/default.yaml`, which states everything:
mappings are merged key by key, anything else replaces. `worlds/` holds some; what was used, in
full, is written beside each hospital as `world.yaml`, which is itself a world file.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ingest.errors import InputError, MappingError

__all__ = [
    "FINDINGS",
    "WORLDS",
    "Comorbidity",
    "Finding",
    "Measurement",
    "World",
    "merge",
    "read_world",
    "write_world",
]

WORLDS = Path(__file__).resolve().parent / "worlds"
"""Where the world files are that come with the project."""

FINDINGS = (
    "exertional_dyspnoea",
    "orthopnoea",
    "nocturnal_dyspnoea",
    "leg_oedema",
    "raised_jvp",
    "lung_crackles",
)
"""The findings that notes speak of; the phrasebook words each of them."""

Share = Annotated[float, Field(ge=0, le=1)]
Inner = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Natural = Annotated[float, Field(ge=0)]
_MAX_BYTES = 1_000_000


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Measurement(_Block):
    """One kind of observation: mean + sd * (level L + trend T years + person r + noise e)."""

    code: str
    """LOINC."""
    display: str
    unit: str
    """UCUM."""
    mean: float
    """Of the value, or of its natural logarithm where `log` is true."""
    sd: Positive
    log: bool = False
    digits: Annotated[int, Field(ge=0, le=4)] = 0
    """Decimals that are written; the oracle reads what is written."""
    level: float = 0.0
    trend: float = 0.0
    """Per year; the trend is 0 at the index visit."""
    person: Natural = 0.5
    """Spread between persons that means nothing and never changes in one person."""
    noise: Positive = 0.7
    """Spread from visit to visit in one person."""
    seen: Share = 0.6
    """Chance that it is measured at a visit."""


class Comorbidity(_Block):
    """A condition that raises the risk and is always recorded."""

    code: str
    """SNOMED CT."""
    display: str
    share: Inner
    log_odds: float


class Finding(_Block):
    """How common a symptom or sign is in patients who are congested and in those who are not."""

    congested: Inner
    otherwise: Inner


class _Calendar(_Block):
    first: date
    last: date

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.last < self.first:
            raise ValueError(f"last must not be before first; got {self.first} and {self.last}")
        return self


class _Risk(_Block):
    prevalence: Inner
    level: float
    trend: float
    age: float
    congestion: float
    heart: float
    opacity: float
    interaction: float


class _Events(_Block):
    age_mean: Annotated[float, Field(ge=50, le=75)]
    age_sd: Annotated[float, Field(gt=0, le=10)]
    most_visits: Annotated[int, Field(ge=1, le=12)]
    first_visit_days: Annotated[int, Field(ge=60, le=3650)]
    comorbidities: dict[str, Comorbidity]
    measurements: dict[str, Measurement]
    irrelevant_conditions: Natural
    irrelevant_medications: Natural

    @model_validator(mode="after")
    def _enumerable(self) -> Self:
        # The oracle enumerates comorbidities where events are hidden: 2**8 is its limit.
        if len(self.comorbidities) > 8:
            raise ValueError(f"comorbidities must be at most 8; got {len(self.comorbidities)}")
        if not self.measurements:
            raise ValueError("measurements must name at least one")
        return self


class _Notes(_Block):
    congested: Inner
    findings: dict[str, Finding]
    affirmed: Share
    denied: Share
    hedged: Annotated[float, Field(ge=0, lt=1)]
    grouped: Share
    historical: Share
    family: Share
    html: Share
    wording: dict[str, Any]

    @model_validator(mode="after")
    def _worded(self) -> Self:
        if set(self.findings) != set(FINDINGS):
            raise ValueError(f"findings must be {', '.join(FINDINGS)}; got {list(self.findings)}")
        if list(self.findings) != list(FINDINGS):
            object.__setattr__(self, "findings", {f: self.findings[f] for f in FINDINGS})
        return self


class _Images(_Block):
    size: Annotated[int, Field(ge=128, le=1024)]
    heart_noise: Positive
    opacity_noise: Positive
    ratio_mean: Annotated[float, Field(ge=0.4, le=0.55)]
    ratio_sd: Annotated[float, Field(gt=0, le=0.06)]
    ap: Share
    ap_magnification: Annotated[float, Field(ge=1, le=1.2)]
    inverted: Share
    pixel_noise: Annotated[float, Field(ge=0, le=0.2)]
    exposure: Annotated[float, Field(ge=0, le=0.5)]
    shift: Annotated[float, Field(ge=0, le=0.08)]


class _Missing(_Block):
    informative: bool
    note: Annotated[float, Field(ge=0, lt=1)]
    image: Annotated[float, Field(ge=0, lt=1)]
    note_ratio: Positive
    image_ratio: Positive

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in ("note", "image"):
            most = getattr(self, name) * max(1.0, getattr(self, f"{name}_ratio"))
            if self.informative and most >= 1:
                raise ValueError(
                    f"{name} times {name}_ratio must stay below 1; got {getattr(self, name)} and "
                    f"{getattr(self, f'{name}_ratio')}"
                )
        return self


class _FollowUp(_Block):
    lost: Annotated[float, Field(ge=0, lt=1)]
    prior_heart_failure: Annotated[float, Field(ge=0, lt=1)]
    late_diagnosis: Share
    refuted: Share
    later_visit: Share
    later_note: Share
    later_image: Share


class World(_Block):
    """Hold all numbers of a simulated hospital; `worlds/default.yaml` explains each."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$")]
    description: str
    calendar: _Calendar
    risk: _Risk
    events: _Events
    notes: _Notes
    images: _Images
    missing: _Missing
    follow_up: _FollowUp


def read_world(path: Path | None = None) -> World:
    """Read a world file over the default world; None is the default world itself.

    Raises:
        InputError: the file cannot be read.
        MappingError: it is not YAML, or a field is unknown, missing or out of range; the message
            names each field.

    >>> read_world().name
    'default'
    """
    content = _read_yaml(WORLDS / "default.yaml")
    if path is not None:
        content = merge(content, _read_yaml(Path(path)))
    try:
        return World.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in e['loc']) or 'world'}: "
            f"{e['msg'].removeprefix('Value error, ')}"
            f"{_got(e['input'])}"
            for e in error.errors()
        )
        raise MappingError(f"world file {path}: {problems}") from None


def write_world(path: Path, world: World) -> None:
    """Write a world in full, as a world file that gives the same world back."""
    text = yaml.safe_dump(world.model_dump(mode="json"), sort_keys=False, width=100)
    path.write_text(text, "utf-8")


def _got(value: Any) -> str:
    return f" (got {value!r})" if isinstance(value, str | int | float | bool) else ""


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"world file {path} is larger than {_MAX_BYTES} bytes")
        content = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"world file {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise MappingError(f"world file {path} is not YAML{line}") from None
    if not isinstance(content, dict):
        raise MappingError(
            f"world file {path} must be a mapping of fields such as `risk:`; "
            f"got {type(content).__name__}"
        )
    return content


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Put changes over a base: mappings key by key, anything else as a whole."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = (
            merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged
