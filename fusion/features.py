"""Event timelines as a table: what the simple models of the events see.

A row's features are its age, and for each code of the vocabulary whether it was seen and how often;
for a code with numbers also the last value, the mean, the change from first to last, and whether
there is none. Sex is a code (`GENDER//F`), so it needs no column of its own.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64
from safetensors.numpy import load_file, save_file

from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["EventFeatures", "FeaturesConfig", "Scaling"]

_BIRTH = "MEDS_BIRTH"
_DAYS_A_YEAR = 365.25
_LARGEST = 1e12  # beyond this a value is a typing error or a sentinel, and float32 sums overflow


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """Size the vocabulary."""

    minimum_subjects: int = 5
    """A code that fewer train subjects have is left out: its weight would be noise."""

    maximum_codes: int = 1500
    """Of the others, the most frequent ones are kept, so that the table fits in memory."""

    def __post_init__(self) -> None:
        if self.minimum_subjects < 1 or self.maximum_codes < 1:
            raise ValueError(
                "minimum_subjects and maximum_codes must be at least 1; got "
                f"minimum_subjects={self.minimum_subjects}, maximum_codes={self.maximum_codes}"
            )


class EventFeatures:
    """Turn timelines into a table with the columns that train's vocabulary gives."""

    def __init__(self, *, config: FeaturesConfig, codes: list[str], numeric: list[str]):
        self.config = config
        self.codes = codes
        self.numeric = numeric
        self.names = [
            "age_years",
            "age missing",
            *(f"{code} seen" for code in codes),
            *(f"{code} count" for code in codes),
            *(
                f"{code} {what}"
                for what in ("last", "mean", "delta", "missing")
                for code in numeric
            ),
        ]

    @classmethod
    def fit(cls, timelines: Timelines, config: FeaturesConfig | None = None) -> Self:
        """Choose the codes that enough of the train subjects have."""
        config = config or FeaturesConfig()
        events = _events(timelines)
        subjects = timelines.index["subject_id"].to_numpy()[events["row"].to_numpy()]
        codes = _frequent(events["code"].to_numpy(), subjects, config)
        valued = np.isfinite(_values(events))
        numeric = _frequent(events["code"].to_numpy()[valued], subjects[valued], config)
        return cls(config=config, codes=codes, numeric=[code for code in numeric if code in codes])

    def table(self, timelines: Timelines) -> Float[np.ndarray, "b f"]:
        """Give the features, float32; NaN where a number is not known, never infinite."""
        b, events = len(timelines), _events(timelines, births=True)
        row, code = events["row"].to_numpy(), events["code"].to_numpy()
        birth = code == _BIRTH
        age = np.full(b, np.nan)
        age[row[birth]] = events["days_before"].to_numpy()[birth] / _DAYS_A_YEAR
        counts = _grid(row, _positions(code, self.codes), None, b, len(self.codes))
        values = _values(events)
        valued = np.isfinite(values)
        row, values = row[valued], values[valued]
        position = _positions(code[valued], self.numeric)
        width = len(self.numeric)
        number = _grid(row, position, None, b, width)
        total = _grid(row, position, values, b, width)
        first, last = _ends(row, position, values, b, width)
        with np.errstate(invalid="ignore"):
            mean = np.where(number > 0, total / np.maximum(number, 1), np.nan)
        parts = [
            age[:, None],
            np.isnan(age)[:, None],
            counts > 0,
            np.log1p(counts),
            last,
            mean,
            last - first,
            number == 0,
        ]
        return np.concatenate([np.asarray(part, np.float32) for part in parts], axis=1)

    def to_json(self) -> dict[str, Any]:
        """Give what `from_json` needs."""
        return {"config": asdict(self.config), "codes": self.codes, "numeric": self.numeric}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        return cls(
            config=FeaturesConfig(**content["config"]),
            codes=list(content["codes"]),
            numeric=list(content["numeric"]),
        )


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Centre by the median and scale by the spread of train, so that one typing error moves little.

    What is not known becomes 0, the median; that it was not known is a column of its own.
    """

    centre: Float64[np.ndarray, " f"]
    scale: Float64[np.ndarray, " f"]

    LIMIT = 5.0
    """Scaled values beyond it are cut."""

    @classmethod
    def fit(cls, table: Float[np.ndarray, "b f"]) -> Self:
        """Take the median and the 25-75 % range; the standard deviation where that is 0."""
        table = np.where(np.isfinite(table), table, np.nan).astype(np.float64)
        empty = ~np.isfinite(table).any(axis=0)
        table[:, empty] = 0.0
        low, centre, high = np.nanpercentile(table, [25, 50, 75], axis=0)
        spread = (high - low) / 1.349  # of a normal distribution this is the standard deviation
        deviation = np.nanstd(table, axis=0)
        scale = np.where(spread > 1e-9, spread, np.where(deviation > 1e-9, deviation, 1.0))
        return cls(centre=centre, scale=scale)

    def apply(self, table: Float[np.ndarray, "b f"]) -> Float64[np.ndarray, "b f"]:
        """Scale a table; the answer has no NaN and no infinity."""
        scaled = (np.asarray(table, np.float64) - self.centre) / self.scale
        return np.clip(np.nan_to_num(scaled, nan=0.0), -self.LIMIT, self.LIMIT)

    def save(self, file: Path) -> None:
        """Write a safetensors file."""
        # safetensors writes an array's memory as it lies: a view would come back in another order.
        arrays = {"centre": self.centre, "scale": self.scale}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, file)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read what `save` wrote."""
        arrays = load_file(file)
        return cls(centre=arrays["centre"], scale=arrays["scale"])


def _events(timelines: Timelines, *, births: bool = False) -> pd.DataFrame:
    events = timelines.part(Modality.EVENTS)
    return events if births else events[events["code"] != _BIRTH]


def _values(events: pd.DataFrame) -> np.ndarray:
    values = events["numeric_value"].to_numpy(np.float64, na_value=np.nan)
    return np.where(np.abs(values) < _LARGEST, values, np.nan)


def _frequent(codes: np.ndarray, subjects: np.ndarray, config: FeaturesConfig) -> list[str]:
    pairs = pd.DataFrame({"code": codes, "subject": subjects}).drop_duplicates()
    counts = pairs["code"].value_counts()
    counts = counts[counts >= config.minimum_subjects]
    ranked = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return sorted(str(code) for code, _ in ranked[: config.maximum_codes])


def _positions(codes: np.ndarray, vocabulary: list[str]) -> np.ndarray:
    return pd.Index(vocabulary, dtype=object).get_indexer(pd.Index(codes, dtype=object))


def _grid(
    row: np.ndarray, position: np.ndarray, weights: np.ndarray | None, b: int, width: int
) -> np.ndarray:
    known = position >= 0
    cells = row[known] * width + position[known]
    weights = weights[known] if weights is not None else None
    return np.bincount(cells, weights, minlength=b * width).reshape(b, width).astype(np.float64)


def _ends(
    row: np.ndarray, position: np.ndarray, values: np.ndarray, b: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    known = position >= 0
    cells, values = row[known] * width + position[known], values[known]
    first, last = np.full(b * width, np.nan), np.full(b * width, np.nan)
    last[cells] = values  # events are sorted by time: the last one written stays
    first[cells[::-1]] = values[::-1]
    return first.reshape(b, width), last.reshape(b, width)
