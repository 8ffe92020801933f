"""The timeline: lanes of events, measurements over time, and the table of all that was used.

Drawn as SVG in the page's own colours (CSS variables), so that it follows the theme; all text is
escaped. Time runs to the prediction time at the right edge.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from serve.page_codes import LANES, amount, esc, lane_of, moment, name_of
from serve.prediction import Prediction
from serve.texts import Language, say

__all__ = ["timeline_card"]

AXIS = 30
"""Height of the axis below the lanes, in units of the drawing."""

TRENDS = 9
"""Measurements that get a drawing of their own, the most often measured ones."""

TABLE_ROWS = 300
"""Events in the table, the latest ones."""

_TICKS = (
    (1 / 24, "hour", 1),
    (0.25, "hour", 6),
    (1, "day", 1),
    (3, "day", 3),
    (7, "week", 1),
    (14, "week", 2),
    (30.44, "month", 1),
    (91.3, "month", 3),
    (182.6, "month", 6),
    (365.25, "year", 1),
    (730.5, "year", 2),
    (1826.25, "year", 5),
    (3652.5, "year", 10),
    (7305, "year", 20),
    (14610, "year", 40),
)


def timeline_card(prediction: Prediction, language: Language) -> str:
    """Show what was known, as HTML."""
    events = _named_events(prediction, language)
    dated = events[events["days_before"].notna() & (events["lane"] != "static")]
    if dated.empty:
        figure = f'<p class="mw-none">{esc(say(language, "no_dated"))}</p>'
    else:
        scale = _Scale.over(float(dated["days_before"].max()))
        hint = say(language, "timeline_hint")
        if scale.compressed:
            hint += (" " if language == "en" else "") + say(language, "timeline_log")
        figure = (
            f'<p class="mw-soft mw-small">{esc(hint)}</p>'
            f"{_lanes(dated, scale, _WIDE, language)}{_lanes(dated, scale, _NARROW, language)}"
            f"{_trends(dated, language)}"
        )
    return (
        f'<section class="mw-card mw-timeline"><h2>{esc(say(language, "timeline"))}</h2>'
        f"{figure}{_table(events, language)}</section>"
    )


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """Place days before the prediction on the figure."""

    span_days: float
    compressed: bool

    @classmethod
    def over(cls, longest_days: float) -> "_Scale":
        # Years of history beside a last day in hospital: on a straight scale, one of them vanishes.
        return cls(span_days=max(longest_days * 1.02, 1 / 24), compressed=longest_days > 60)

    def __call__(self, days: float, left: float, right: float) -> float:
        if self.compressed:
            share = math.log1p(days) / math.log1p(self.span_days)
        else:
            share = days / self.span_days
        return right - share * (right - left)


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """Size the figure; it is drawn for a wide and for a narrow window, and CSS shows one."""

    name: str
    width: int
    label: int
    """Width of the column of lane names; 0 writes them above their lanes."""

    lane: int
    """Height of a lane."""

    def middle(self, row: int) -> float:
        """Give the height at which a lane's marks stand."""
        return row * self.lane + (self.lane / 2 if self.label else self.lane - 14)

    def name_at(self, row: int) -> float:
        """Give the baseline of a lane's name."""
        return self.middle(row) + 4 if self.label else row * self.lane + 16


_WIDE = _Frame(name="wide", width=1000, label=118, lane=34)
_NARROW = _Frame(name="narrow", width=340, label=0, lane=46)


def _named_events(prediction: Prediction, language: Language) -> pd.DataFrame:
    events = prediction.timeline.events.copy()
    numeric = events["numeric_value"].notna()
    events["lane"] = [lane_of(c, n) for c, n in zip(events["code"], numeric, strict=True)]
    names = {c: name_of(c, prediction.descriptions, language) for c in events["code"].unique()}
    events["name"] = events["code"].map(names)
    return events


def _lanes(dated: pd.DataFrame, scale: _Scale, frame: _Frame, language: Language) -> str:
    used = [lane for lane in LANES if (dated["lane"] == lane).any()]
    left, right = frame.label + 10.0, frame.width - 12.0
    bottom = len(used) * frame.lane

    def place(days: float) -> float:
        return scale(days, left, right)

    parts = [_axis(scale, place, frame, bottom, language)]
    for row, lane in enumerate(used):
        below = (row + 1) * frame.lane
        parts.append(
            f'<text class="mw-lane" x="0" y="{frame.name_at(row):.0f}">'
            f"{esc(say(language, f'lane_{lane}'))}</text>"
            f'<line class="mw-rule" x1="0" x2="{frame.width}" y1="{below}" y2="{below}"/>'
        )
        found = dated[dated["lane"] == lane]
        if lane == "encounter":
            parts.append(_stays(found, place, frame.middle(row)))
        parts.append(_marks(found, place, frame.middle(row), lane, language))
    parts.append(f'<line class="mw-now" x1="{right}" x2="{right}" y1="0" y2="{bottom}"/>')
    label = say(language, "timeline")
    return (
        f'<svg class="mw-lanes mw-lanes-{frame.name}" role="img" aria-label="{esc(label)}" '
        f'viewBox="0 0 {frame.width} {bottom + AXIS}">{"".join(parts)}</svg>'
    )


def _axis(
    scale: _Scale, place: Callable[[float], float], frame: _Frame, bottom: int, language: Language
) -> str:
    parts = [
        f'<text class="mw-tick mw-tick-now" x="{frame.width}" y="{bottom + 20}" '
        f'text-anchor="end">{esc(say(language, "now"))}</text>'
    ]
    last = place(0) - 38  # room for the word at the prediction time
    for days, unit, n in _TICKS:
        x = place(days)
        if days > scale.span_days or last - x < 54 or x < frame.label + 24:
            continue
        last = x
        words = say(language, f"unit_{unit}", n=n)
        parts.append(
            f'<line class="mw-grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{bottom}"/>'
            f'<text class="mw-tick" x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">'
            f"−{esc(words)}</text>"
        )
    return "".join(parts)


def _stays(found: pd.DataFrame, place: Callable[[float], float], middle: float) -> str:
    """Draw a bar from each encounter's start to the next end, or to the prediction time."""
    starts = found[found["code"].str.startswith("ENCOUNTER_START//")].sort_values("time")
    ends = found[found["code"].str.startswith("ENCOUNTER_END//")].sort_values("time")
    taken: set[Any] = set()
    bars = []
    for start in starts.itertuples():
        kind = str(start.code).partition("//")[2]
        after = ends[
            (ends["time"] >= start.time)
            & (ends["code"] == f"ENCOUNTER_END//{kind}")
            & ~ends.index.isin(taken)
        ]
        until = 0.0
        if not after.empty:
            taken.add(after.index[0])
            until = float(after["days_before"].iloc[0])
        x1, x2 = place(float(start.days_before)), place(until)
        bars.append(
            f'<rect class="mw-stay" x="{x1:.1f}" y="{middle - 6:.1f}" rx="3" '
            f'width="{max(x2 - x1, 2):.1f}" height="12"/>'
        )
    return "".join(bars)


def _marks(
    found: pd.DataFrame,
    place: Callable[[float], float],
    middle: float,
    lane: str,
    language: Language,
) -> str:
    """Draw one mark for all events that fall on the same spot, with their names to point at."""
    spots = found["days_before"].map(lambda d: round(place(d) / 4) * 4.0)
    marks = []
    for x, group in found.groupby(spots, sort=True):
        size = min(4 + 1.2 * math.log2(len(group)), 9)
        marks.append(
            f'<g class="mw-mark mw-mark-{lane}"><title>{esc(_tooltip(group, language))}</title>'
            f'<rect class="mw-hit" x="{x - 6:.1f}" y="{middle - 14:.1f}" width="12" height="28"/>'
            f'<circle cx="{x:.1f}" cy="{middle:.1f}" r="{size:.1f}"/></g>'
        )
    return "".join(marks)


def _tooltip(group: pd.DataFrame, language: Language, most: int = 6) -> str:
    lines = []
    for event in group.head(most).itertuples():
        value = _value(event.numeric_value, event.unit)
        lines.append(f"{moment(event.time)}  {event.name}{' ' + value if value else ''}")
    if len(group) > most:
        lines.append(say(language, "and_more", n=len(group) - most))
    return "\n".join(lines)


def _trends(dated: pd.DataFrame, language: Language) -> str:
    numbers = dated[dated["numeric_value"].notna() & np.isfinite(dated["numeric_value"])]
    if numbers.empty:
        return ""
    counts = numbers["code"].value_counts(sort=False)
    # The order must not change when a reader changes the language: by count, then by code.
    order = sorted(counts.index, key=lambda code: (-counts[code], code))
    shown = order[:TRENDS]
    cards = "".join(_trend(numbers[numbers["code"] == c], language) for c in shown)
    more = len(order) - len(shown)
    rest = f'<p class="mw-soft mw-small">{esc(say(language, "trends_more", n=more))}</p>'
    return (
        f'<h3>{esc(say(language, "trends"))}</h3><div class="mw-trends">{cards}</div>'
        f"{rest if more else ''}"
    )


def _trend(values: pd.DataFrame, language: Language) -> str:
    values = values.sort_values("time")
    last = values.iloc[-1]
    numbers = values["numeric_value"].astype(float)
    low, high = float(numbers.min()), float(numbers.max())
    # A straight scale from the first value to the prediction: a slope must not mislead.
    first = max(float(values["days_before"].max()), 1 / 1440)
    xs = [236 - 232 * float(d) / first for d in values["days_before"]]
    ys = [22.0 if high == low else 38 - 32 * (v - low) / (high - low) for v in numbers]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3.2 if i == len(xs) - 1 else 1.8}"/>'
        for i, (x, y) in enumerate(zip(xs, ys, strict=True))
    )
    unit = last["unit"] if isinstance(last["unit"], str) else ""
    spread = (
        say(language, "trend_range", n=len(values), low=amount(low), high=amount(high))
        if len(values) > 1
        else say(language, "trend_once")
    )
    return (
        f'<figure class="mw-trend"><figcaption title="{esc(last["name"])}">{esc(last["name"])}'
        f"</figcaption><p><strong>{esc(amount(float(last['numeric_value'])))}</strong> "
        f'<span class="mw-soft">{esc(unit)} · {esc(_before(last["days_before"], language))}</span>'
        f'</p><svg viewBox="0 0 240 44" preserveAspectRatio="none" aria-hidden="true">'
        f'<polyline points="{line}"/>{dots}</svg>'
        f'<p class="mw-soft mw-small mw-ends"><span>{esc(_before(first, language))}</span>'
        f"<span>{esc(spread)}</span></p></figure>"
    )


def _table(events: pd.DataFrame, language: Language) -> str:
    latest = events[::-1].head(TABLE_ROWS)
    rows = "".join(_rows(latest, language))
    words = say(language, "events_cut", shown=len(latest), n=len(events))
    cut = f'<p class="mw-soft">{esc(words)}</p>' if len(latest) < len(events) else ""
    heads = "".join(
        f"<th>{esc(say(language, key))}</th>"
        for key in ("column_when", "column_before", "column_what", "column_value", "column_kind")
    )
    return (
        f'<details class="mw-events"><summary>{esc(say(language, "all_events", n=len(events)))}'
        f'</summary>{cut}<div class="mw-scroll mw-tall"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _rows(events: pd.DataFrame, language: Language) -> Iterable[str]:
    for event in events.itertuples():
        static = pd.isna(event.days_before)
        value = _value(event.numeric_value, event.unit)
        if not value and isinstance(event.text_value, str) and event.modality == "events":
            value = _shortened(event.text_value)
        cells = (
            say(language, "always") if static else moment(event.time),
            "" if static else _before(event.days_before, language),
            event.name,
            value,
            say(language, f"lane_{event.lane}"),
        )
        yield "<tr>" + "".join(f"<td>{esc(cell)}</td>" for cell in cells) + "</tr>"


def _value(number: Any, unit: Any) -> str:
    if number is None or pd.isna(number):
        return ""
    return f"{amount(float(number))}{' ' + unit if isinstance(unit, str) and unit else ''}"


def _shortened(text: str, most: int = 120) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _before(days: float, language: Language) -> str:
    """Say a distance in the largest unit that fits.

    >>> _before(0.01, "en"), _before(0.5, "en"), _before(16, "en"), _before(800, "en")
    ('−14 min', '−12 h', '−16 d', '−2.2 y')
    """
    scales: Mapping[str, float] = {
        "year": 365.25,
        "month": 30.44,
        "day": 1,
        "hour": 1 / 24,
        "minute": 1 / 1440,
    }
    for unit, length in scales.items():
        if days >= (2 if unit == "month" else 1) * length or unit == "minute":
            n = days / length
            number = f"{n:.1f}".removesuffix(".0") if unit == "year" else f"{n:.0f}"
            return ("" if number == "0" else "−") + say(language, f"unit_{unit}", n=number)
    raise AssertionError  # the last unit always fits
