"""How unlike training's a row's events are: unknown codes, values out of range, too many or few.

Three figures of a row, each brought to the scale of training's own rows (1 is what one in a hundred
of them exceeds); the row is as unlike as the largest of them.

    unknown   share of its events whose code is unknown to training, as under another code system
    values    for the code that strays furthest: how far its values lie from training's median, as a
              multiple of the distance to training's 1st or 99th percentile, averaged over the row's
              values of that code: a wrong unit moves all of them, a typing error one
    number    how far the logarithm of the number of events is from training's median

Codes whose values were all above 0 are measured on the log scale, on which a wrong unit is the same
step for everybody: on simulated patients that caught NT-proBNP in pmol/L in 22 % of rows by their
events alone, and the plain scale in 1 %; neither lost elsewhere. How many usual codes are missing
was tried as a fourth figure, and found nothing more than `number` did.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["FIGURES", "EventSpread", "ValueRange"]

FIGURES = ("unknown", "values", "number")

_FEWEST_SUBJECTS = 5
"""A code that fewer train subjects have is unknown, as it is to the models."""

_FEWEST_VALUES = 20
"""With fewer, a code's range is not known."""

_SMALLEST_SCALES = {"unknown": 0.01, "values": 0.5, "number": 0.1}
"""What never varied in train would else make any difference infinite."""


@dataclass(frozen=True, kw_only=True)
class ValueRange:
    """Hold where a code's values lay in train, of the logarithm where all were above 0."""

    median: float
    low: float
    high: float
    logarithmic: bool

    @classmethod
    def fit(cls, values: Float64[np.ndarray, " n"]) -> Self:
        """Measure values that are finite."""
        logarithmic = bool((values > 0).all())
        low, median, high = np.quantile(
            np.log(values) if logarithmic else values, (0.01, 0.5, 0.99)
        )
        return cls(median=float(median), low=float(low), high=float(high), logarithmic=logarithmic)


class EventSpread:
    """Know train's codes, values and numbers of events, and how far a row is from them."""

    def __init__(
        self,
        *,
        codes: frozenset[str],
        ranges: Mapping[str, ValueRange],
        number: float,
        scales: Mapping[str, float],
    ):
        self.codes = codes
        self.ranges = ranges
        self.number = number
        """Median over rows of the logarithm of one more than the number of events."""
        self.scales = scales
        """Of each of FIGURES: the 99th percentile of train's rows."""

    @classmethod
    def fit(cls, timelines: Timelines) -> Self:
        """Measure the rows of train that have an event."""
        events = timelines.part(Modality.EVENTS)
        subjects = timelines.index["subject_id"].to_numpy()[events["row"].to_numpy()]
        owners = pd.DataFrame({"code": events["code"].astype(str), "subject": subjects})
        counts = owners.drop_duplicates()["code"].value_counts()
        codes = frozenset(counts.index[counts >= _FEWEST_SUBJECTS])
        values = events["numeric_value"].to_numpy(np.float64, na_value=np.nan)
        finite = np.isfinite(values)
        ranges = {
            str(code): ValueRange.fit(found.to_numpy())
            for code, found in pd.Series(values[finite]).groupby(owners["code"][finite].to_numpy())
            if code in codes and len(found) >= _FEWEST_VALUES
        }
        number = np.bincount(events["row"], minlength=len(timelines))
        plain = cls(
            codes=codes,
            ranges=ranges,
            number=float(np.median(np.log1p(number[number > 0]))),
            scales=dict.fromkeys(FIGURES, 1.0),
        )
        figures = plain.figures(timelines)
        figures = figures[np.isfinite(figures).all(axis=1)]
        scales = {
            name: max(float(np.quantile(figures[:, i], 0.99)), _SMALLEST_SCALES[name])
            for i, name in enumerate(FIGURES)
        }
        return cls(codes=codes, ranges=ranges, number=plain.number, scales=scales)

    def figures(self, timelines: Timelines) -> Float64[np.ndarray, "b 3"]:
        """Give each of FIGURES on train's scale; NaN for a row without an event."""
        events = timelines.part(Modality.EVENTS)
        row, code = events["row"].to_numpy(np.int64), events["code"].astype(str)
        number = np.bincount(row, minlength=len(timelines)).astype(np.float64)
        unknown = np.bincount(row, (~code.isin(self.codes)).to_numpy(float), len(timelines))
        figures = np.column_stack(
            [
                unknown / np.maximum(number, 1),
                self._values(row, code, events["numeric_value"], len(timelines)),
                np.abs(np.log1p(number) - self.number),
            ]
        )
        figures[number == 0] = np.nan
        return figures / np.array([self.scales[name] for name in FIGURES])

    def distance(self, timelines: Timelines) -> Float64[np.ndarray, " b"]:
        """Say how unlike train's each row's events are; NaN for a row without an event."""
        return self.figures(timelines).max(axis=1)

    def _values(
        self, row: np.ndarray, code: pd.Series, value: pd.Series, b: int
    ) -> Float64[np.ndarray, " b"]:
        names = list(self.ranges)
        place = code.map({name: i for i, name in enumerate(names)}).to_numpy(np.float64)
        said = value.to_numpy(np.float64, na_value=np.nan)
        measured = np.isfinite(place) & ~np.isnan(said)
        at, said = place[measured].astype(np.int64), said[measured]
        if not len(at):
            return np.zeros(b)
        known = [self.ranges[name] for name in names]
        median, low, high = (
            np.array([getattr(one, what) for one in known])[at]
            for what in ("median", "low", "high")
        )
        logarithmic = np.array([one.logarithmic for one in known])[at]
        # A zero where there was none is far off, and not infinitely so.
        least = np.exp(np.where(logarithmic, low, 0.0)) * 1e-3
        said = np.where(logarithmic, np.log(np.maximum(said, least)), said)
        # A code whose values hardly vary: a hundredth up or down is no news.
        smallest = np.where(logarithmic, 0.01, np.maximum(0.01 * np.abs(median), 1e-9))
        reach = np.maximum(np.where(said >= median, high - median, median - low), smallest)
        off = np.abs(said - median) / reach
        frame = pd.DataFrame({"row": row[measured], "code": at, "off": off})
        furthest = frame.groupby(["row", "code"])["off"].mean().groupby("row").max()
        found = np.zeros(b)
        found[furthest.index.to_numpy()] = furthest.to_numpy()
        return found

    def to_json(self) -> dict[str, Any]:
        """Give what `from_json` needs."""
        return {
            "codes": sorted(self.codes),
            "ranges": {code: asdict(found) for code, found in self.ranges.items()},
            "number": self.number,
            "scales": dict(self.scales),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        return cls(
            codes=frozenset(content["codes"]),
            ranges={code: ValueRange(**found) for code, found in content["ranges"].items()},
            number=float(content["number"]),
            scales={name: float(content["scales"][name]) for name in FIGURES},
        )
