"""Decide what happens to each simulated patient and when: visits, diagnosis, follow-up, films."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from ingest.oracle import Draw
from ingest.world import World

__all__ = ["Course", "draw_courses"]


@dataclass(frozen=True, kw_only=True)
class Course:
    """Hold one patient's dates (UTC) and outcome."""

    patient_id: str
    birth: datetime
    female: bool
    index_start: datetime
    index_end: datetime
    """When one predicts."""
    outcome: bool
    """As drawn: what later findings show, whether or not it is ever recorded."""
    label: bool | None
    """What the records show; None where it cannot be known or the patient is not in the cohort."""
    diagnosed: datetime | None
    """When heart failure after the index visit was recorded, within the year or later."""
    onset: datetime | None
    prior: datetime | None
    """When heart failure before the index visit was recorded."""
    lost: bool
    later_visits: tuple[datetime, ...]
    """Starts of visits after the index visit, the distractors; all within the follow-up."""
    contact: datetime | None
    """The contact after more than a year that shows that the patient was followed."""


def draw_courses(world: World, drawn: Draw, seed: int, rng: np.random.Generator) -> list[Course]:
    """Draw the course of every patient."""
    n, follow = len(drawn.label), world.follow_up
    span = (world.calendar.last - world.calendar.first).days + 1
    day = rng.integers(0, span, n)
    minute = rng.integers(8 * 60, 16 * 60, n)
    length = rng.integers(40, 121, n)
    female = rng.random(n) < 0.5
    lost = rng.random(n) < follow.lost
    prior = rng.random(n) < follow.prior_heart_failure
    late = rng.random(n) < follow.late_diagnosis
    later = rng.random((n, 2)) < follow.later_visit
    uniform = rng.random((n, 8))
    first = datetime(
        world.calendar.first.year, world.calendar.first.month, world.calendar.first.day, tzinfo=UTC
    )
    courses = []
    for i in range(n):
        u = uniform[i]
        start = first + timedelta(days=int(day[i]), minutes=int(minute[i]))
        end = start + timedelta(minutes=int(length[i]))
        age_days = round(
            (world.events.age_mean + world.events.age_sd * drawn.statistics.age[i]) * 365.25
        )
        midnight = start.replace(hour=0, minute=0)
        outcome = bool(drawn.label[i])
        diagnosed = onset = None
        if outcome and not lost[i]:
            diagnosed = _at(end, 10 + 350 * u[0])
            onset = max(_at(diagnosed, -7 * u[1]), _at(end, 5))
        elif late[i] and not lost[i]:
            diagnosed = _at(end, 376 + 15 * u[0])
            onset = _at(diagnosed, -3 * u[1])
        limit = 30.0 if lost[i] else 350.0
        visits = [
            _at(end, low + share * (limit - low))
            for low, share, there in ((3.0, u[2], later[i, 0]), (5.0, u[3], later[i, 1]))
            if there
        ]
        labelled = not (lost[i] or prior[i])
        courses.append(
            Course(
                patient_id=_patient_id(seed, i),
                birth=midnight - timedelta(days=age_days),
                female=bool(female[i]),
                index_start=start,
                index_end=end,
                outcome=outcome,
                label=outcome if labelled else None,
                diagnosed=diagnosed,
                onset=onset,
                prior=_at(start, -100 - 500 * u[4]) if prior[i] else None,
                lost=bool(lost[i]),
                later_visits=tuple(sorted(visits)),
                contact=None if lost[i] else _at(end, 396 + 34 * u[5]),
            )
        )
    return courses


def _at(start: datetime, days: float) -> datetime:
    return start + timedelta(minutes=round(days * 1440))


def _patient_id(seed: int, i: int) -> str:
    return hashlib.sha256(f"{seed}|patient|{i}".encode()).hexdigest()[:16]
