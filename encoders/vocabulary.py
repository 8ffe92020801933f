"""Event timelines to features: which codes have a token, and the quantiles of their values.

All of it is fitted on train alone and kept as JSON. Kinds of features, for a code X:

    X count     how often it was seen, at the time it was seen last
    X last      its last value; X mean and X change (last minus first) where there are two or more
    X slope     the change a year, by least squares, where they span a week or more
    X earlier   one of the values before the last
    X static    it holds without a time (sex)

and the age, which has a feature of its own where the birth is not known; so has the sex. A code
that too few train subjects have counts as `SYSTEM//UNK`, and where that is rare too, as `UNK`.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["EventRows", "EventVocabulary", "VocabularyConfig"]

_BIRTH = "MEDS_BIRTH"
_SEX = "GENDER//"
_DAYS_A_YEAR = 365.25
_SLOPE_DAYS = 7.0  # within a week, noise divided by time drowns any trend
_LARGEST = 1e12  # beyond this a value is a typing error or a sentinel
_KNOWN = ("UNK count", "AGE last", "AGE missing", "SEX missing")
_PRIORITY = {
    "static": 0,
    "missing": 0,
    "last": 1,
    "count": 1,
    "slope": 2,
    "change": 2,
    "mean": 2,
    "earlier": 3,
}


@dataclass(frozen=True, kw_only=True)
class VocabularyConfig:
    """Size the vocabulary and what is kept of one subject."""

    minimum_subjects: int = 5
    """A feature that fewer train subjects have is left out: its embedding would be noise."""

    maximum_codes: int = 4000
    """Of the others the most frequent ones are kept."""

    values_a_code: int = 4
    """The most recent values of a code that have a token."""

    tokens_at_most: int = 256
    """Tokens of a subject: static ones first, then last values and counts, newest first."""

    quantiles: int = 32
    """Steps at which the distribution of a feature's values is kept."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < (4 if name == "tokens_at_most" else 1):
                raise ValueError(f"{name} is too small; got {name}={value}")


class EventRows(NamedTuple):
    """Hold the features of b rows, one after the other: row i has places start[i]:start[i + 1]."""

    feature: np.ndarray
    """[n] int64, positions in the vocabulary."""

    value: np.ndarray
    """[n] float32, quantile in train, NaN where there is no value."""

    time: np.ndarray
    """[n] float32, days before the prediction time; 0 for what is static."""

    start: np.ndarray
    """[b + 1] int64."""


class EventVocabulary:
    """Know the features of train and turn any timelines into them."""

    def __init__(
        self,
        *,
        config: VocabularyConfig,
        codes: list[str],
        features: list[str],
        curves: dict[str, tuple[list[float], list[float]]],
    ):
        self.config = config
        self.codes = codes
        self.features = features
        """Names, `CODE KIND`; the position is the feature's number."""
        self.curves = curves
        """For a feature with values: values, rising, and the quantile of each."""
        self._position = {name: place for place, name in enumerate(features)}

    def __len__(self) -> int:
        return len(self.features)

    @classmethod
    def fit(cls, timelines: Timelines, config: VocabularyConfig | None = None) -> Self:
        """Choose features and measure their quantiles on the timelines of train."""
        config = config or VocabularyConfig()
        subjects = timelines.index["subject_id"].to_numpy()
        codes = _frequent_codes(timelines, subjects, config)
        found = _features(timelines, codes, config)
        names = found["code"] + " " + found["kind"]
        subject_of = pd.Series(subjects[found["row"].to_numpy()], index=found.index)
        counts = subject_of.groupby(names).nunique()
        frequent = counts[counts >= config.minimum_subjects].index
        features = [*_KNOWN, *sorted(set(frequent) - set(_KNOWN))]
        curves = {}
        valued = found["value"].notna()
        steps = np.linspace(0.0, 1.0, config.quantiles + 1)
        for name, values in found.loc[valued, "value"].groupby(names[valued]):
            if name in frequent:
                curves[str(name)] = _curve(values.to_numpy(np.float64), steps)
        return cls(config=config, codes=codes, features=features, curves=curves)

    def rows(self, timelines: Timelines) -> EventRows:
        """Give the features of each row; a row without any event has none."""
        b, config = len(timelines), self.config
        found = _features(timelines, self.codes, config)
        names = found["code"] + " " + found["kind"]
        place = names.map(self._position)
        known = place.notna().to_numpy()
        found, names = found[known], names[known]
        feature = place[known].to_numpy(np.int64)
        value = np.full(len(found), np.nan, dtype=np.float32)
        raw = found["value"].to_numpy(np.float64)
        for number in np.unique(feature):
            curve = self.curves.get(self.features[number])
            if curve is not None:
                here = (feature == number) & np.isfinite(raw)
                value[here] = np.interp(raw[here], *curve)
        row, time = found["row"].to_numpy(), found["time"].to_numpy(np.float32)
        priority = found["kind"].map(_PRIORITY).to_numpy(np.int64)
        order = np.lexsort((feature, time, priority, row))
        start = np.searchsorted(row[order], np.arange(b + 1))
        rank = np.arange(len(order)) - start[row[order]]
        order = order[rank < config.tokens_at_most]
        start = np.searchsorted(row[order], np.arange(b + 1))
        return EventRows(feature[order], value[order], time[order], start)

    def to_json(self) -> dict[str, Any]:
        """Give what `from_json` needs."""
        return {
            "config": asdict(self.config),
            "codes": self.codes,
            "features": self.features,
            "curves": self.curves,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        return cls(
            config=VocabularyConfig(**content["config"]),
            codes=list(content["codes"]),
            features=list(content["features"]),
            curves={name: (list(c[0]), list(c[1])) for name, c in content["curves"].items()},
        )


class _Part(NamedTuple):
    """Hold features of one kind; what is the same for all of them stands once."""

    row: np.ndarray
    code: np.ndarray | str
    kind: str
    value: np.ndarray | float
    time: np.ndarray | float


def _features(timelines: Timelines, codes: list[str], config: VocabularyConfig) -> pd.DataFrame:
    """Give row, code, kind, value and time of every feature, before the vocabulary is applied."""
    events = timelines.part(Modality.EVENTS)
    row, code = events["row"].to_numpy(np.int64), events["code"].to_numpy(object)
    days = events["days_before"].to_numpy(np.float64)
    value = events["numeric_value"].to_numpy(np.float64, na_value=np.nan)
    value = np.where(np.abs(value) < _LARGEST, value, np.nan)
    birth, static = code == _BIRTH, np.isnan(days)
    moving = ~birth & ~static
    present = np.unique(row)
    sexed = static & np.char.startswith(code.astype(str), _SEX)
    parts = [
        _Part(row[birth], "AGE", "last", days[birth] / _DAYS_A_YEAR, 0.0),
        _Part(np.setdiff1d(present, row[birth]), "AGE", "missing", np.nan, 0.0),
        _Part(np.setdiff1d(present, row[sexed]), "SEX", "missing", np.nan, 0.0),
        _Part(row[static & ~birth], code[static & ~birth], "static", np.nan, 0.0),
        *_summaries(row[moving], code[moving], value[moving], days[moving], codes, config),
    ]
    found = _frame(parts)
    return found.drop_duplicates(["row", "code", "kind", "time", "value"], ignore_index=True)


def _summaries(
    row: np.ndarray,
    code: np.ndarray,
    value: np.ndarray,
    days: np.ndarray,
    codes: list[str],
    config: VocabularyConfig,
) -> list[_Part]:
    names = _backed_off(code, codes)
    labels, number = np.unique(names.astype(str), return_inverse=True)
    labels = labels.astype(object)
    key = row * len(labels) + number
    order = np.argsort(key, kind="stable")  # by row and code, and within these by time
    first, last, count = _runs(key[order])
    at = order[last]
    parts = [_Part(row[at], labels[number[at]], "count", count.astype(float), days[at])]
    order = order[np.isfinite(value[order])]
    first, last, count = _runs(key[order])
    at, begin = order[last], order[first]
    at_codes = labels[number[at]]
    parts.append(_Part(row[at], at_codes, "last", value[at], days[at]))
    if len(order):
        many = count > 1
        mean = np.add.reduceat(value[order], first) / count
        parts.append(_Part(row[at][many], at_codes[many], "mean", mean[many], days[at][many]))
        change = (value[at] - value[begin])[many]
        parts.append(_Part(row[at][many], at_codes[many], "change", change, days[at][many]))
        slope = _slopes(-days[order] / _DAYS_A_YEAR, value[order], first, count)
        long = days[begin] - days[at] >= _SLOPE_DAYS
        parts.append(_Part(row[at][long], at_codes[long], "slope", slope[long], days[at][long]))
    for back in range(1, config.values_a_code):
        has = count > back
        at = order[last[has] - back]
        parts.append(_Part(row[at], labels[number[at]], "earlier", value[at], days[at]))
    return parts


def _slopes(
    years: np.ndarray, value: np.ndarray, first: np.ndarray, count: np.ndarray
) -> np.ndarray:
    """Give the least-squares slope of each run of values; NaN where all are at one time."""
    years = years - np.repeat(np.add.reduceat(years, first) / count, count)
    value = value - np.repeat(np.add.reduceat(value, first) / count, count)
    spread = np.add.reduceat(years**2, first)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, np.add.reduceat(years * value, first) / spread, np.nan)


def _frame(parts: list[_Part]) -> pd.DataFrame:
    """Join the parts in one table; a table each took most of the time of reading one patient."""
    sizes = [len(part.row) for part in parts]

    def joined(column: str, dtype: type) -> np.ndarray:
        filled = [
            np.broadcast_to(np.asarray(getattr(part, column), dtype), size)
            for part, size in zip(parts, sizes, strict=True)
        ]
        return np.concatenate(filled)

    kinds = {"row": np.int64, "code": object, "kind": object, "value": np.float64}
    kinds["time"] = np.float64
    return pd.DataFrame(
        {c: pd.Series(joined(c, kind), dtype=kind) for c, kind in kinds.items()}, copy=False
    )


def _runs(key: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the first and last place and the length of each run of equal keys."""
    if not len(key):
        return (np.empty(0, np.int64),) * 3
    first = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    last = np.r_[first[1:], len(key)] - 1
    return first, last, last - first + 1


def _backed_off(code: np.ndarray, codes: list[str]) -> np.ndarray:
    """Replace codes outside the vocabulary by `SYSTEM//UNK` or `UNK`."""
    unique, inverse = np.unique(code.astype(str), return_inverse=True)
    known = set(codes)
    names = []
    for name in unique:
        system = f"{name.split('//')[0]}//UNK"
        names.append(name if name in known else system if system in known else "UNK")
    return np.array(names, dtype=object)[inverse] if len(names) else np.empty(0, object)


def _frequent_codes(
    timelines: Timelines, subjects: np.ndarray, config: VocabularyConfig
) -> list[str]:
    events = timelines.part(Modality.EVENTS)
    events = events[(events["code"] != _BIRTH) & events["days_before"].notna()]
    pairs = pd.DataFrame(
        {
            "code": events["code"].to_numpy(object),
            "subject": subjects[events["row"].to_numpy(np.int64)],
        }
    ).drop_duplicates()
    counts = pairs["code"].value_counts()
    frequent = counts[counts >= config.minimum_subjects]
    ranked = sorted(frequent.items(), key=lambda item: (-item[1], str(item[0])))
    chosen = {str(code) for code, _ in ranked[: config.maximum_codes]}
    rare = pairs[~pairs["code"].isin(chosen)]
    systems = rare.assign(code=[f"{code.split('//')[0]}//UNK" for code in rare["code"]])
    counts = systems.drop_duplicates()["code"].value_counts()
    return sorted(chosen | {str(c) for c, n in counts.items() if n >= config.minimum_subjects})


def _curve(values: np.ndarray, steps: np.ndarray) -> tuple[list[float], list[float]]:
    """Give distinct values and their quantiles; where many are equal, the middle of theirs."""
    edges = np.quantile(values.astype(np.float32), steps)  # slopes differ in their last digits
    distinct, inverse = np.unique(edges, return_inverse=True)
    levels = np.bincount(inverse, steps) / np.bincount(inverse)
    return [float(v) for v in distinct], [float(v) for v in levels]
