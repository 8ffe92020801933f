"""Say where in space a slice lies, and which slices make a volume.

A series is no volume: it can hold scouts in other directions, several echoes, phases or
acquisitions of the same place, slices twice, and gaps. What makes a volume is decided by geometry
(PS3.3 C.7.6.2.1.1), never by Instance Number, which many makers count in another order:

1. Slices are parted by what the series' stacks differ in: size, pixel spacing, direction, frame of
   reference, Image Type, echo, temporal position, b-value, kernel, Stack ID.
2. They are ordered along the normal of their plane. Where several lie at one place, the first of
   acquisition number, sequence name, trigger, acquisition or content time that parts them into
   stacks without such ties does; else they are dealt out in the order of their instance numbers.
3. A stack is cut wherever the step to the next slice is not that of the slices before: a missing
   slice gives two volumes, both true, where filling it would invent anatomy and closing the gap
   would move it. The step is a vector, so that a tilted gantry, whose slices are shifted evenly, is
   one volume, and slices beside each other are not.
4. A stack has three slices at least, for two cannot show that their distance is even. What is left
   over are single pictures.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

__all__ = ["FEWEST", "Plane", "affine_of", "find_stacks"]

FEWEST = 3
"""Slices of a volume."""

_SAME_DIRECTION = 1e-3  # of a direction cosine: a twentieth of a degree
_SAME_PLACE_MM = 0.01
_EVEN = 0.1  # of a step: positions are rounded to 0.1 mm now and then, gaps are whole steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Plane:
    """Hold where one slice lies, and what tells it from others of its series."""

    orientation: tuple[float, ...]
    """Directions of a row (to its right) and of a column (down), LPS: six cosines."""

    position: tuple[float, ...]
    """Centre of the first pixel, LPS, mm."""

    spacing_mm: tuple[float, float]
    """Distance between rows, between columns."""

    rows: int
    columns: int

    parts: tuple[str, ...] = ()
    """What stacks of one series differ in; never within a stack."""

    phases: tuple[str, ...] = ()
    """What may part slices at the same place, best first."""

    number: int = 0
    """Instance Number, or the frame's number."""

    whole: bool = True
    """Whether its values in modality units are whole numbers."""


def find_stacks(planes: Sequence[Plane]) -> tuple[list[list[int]], list[int]]:
    """Give the volumes as lists of places in `planes`, in order, and the places left over.

    The answer does not depend on the order in which planes come, but for planes that are equal.

    >>> head = dict(orientation=(1, 0, 0, 0, 1, 0), spacing_mm=(1, 1), rows=8, columns=8)
    >>> find_stacks([Plane(position=(0, 0, z), **head) for z in (9, 1, 5, 20)])
    ([[1, 2, 0]], [3])
    """
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, plane in enumerate(planes):
        spacing = tuple(round(distance, 4) for distance in plane.spacing_mm)
        groups[plane.rows, plane.columns, spacing, plane.parts].append(place)
    stacks: list[list[int]] = []
    single: list[int] = []
    for _, group in sorted(groups.items(), key=lambda item: repr(item[0])):
        for parallel in _part_by_direction(planes, group):
            for stack in _part_ties(planes, parallel):
                for run in _cut(planes, stack):
                    if len(run) >= FEWEST:
                        stacks.append(run)
                    else:
                        single += run
    return stacks, sorted(single)


def affine_of(first: Plane, last: Plane, slices: int) -> np.ndarray:
    """Give the matrix from (column, row, slice, 1) to mm, RAS+ as NIfTI has it: [4 4].

    The third column is the mean step, which is not along the normal where the gantry was tilted.
    """
    across, down = np.asarray(first.orientation).reshape(2, 3)
    across, down = across / np.linalg.norm(across), down / np.linalg.norm(down)  # they are rounded
    step = (np.asarray(last.position) - np.asarray(first.position)) / max(slices - 1, 1)
    affine = np.eye(4)
    affine[:3, 0] = across * first.spacing_mm[1]
    affine[:3, 1] = down * first.spacing_mm[0]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    affine[:2] *= -1  # DICOM counts to the left and the back, NIfTI to the right and the front
    return affine


def _part_by_direction(planes: Sequence[Plane], group: list[int]) -> list[list[int]]:
    """Part slices whose rows or columns run another way; equal but for rounding is the same."""
    found: list[tuple[tuple[float, ...], list[int]]] = []
    for place in sorted(group, key=lambda place: planes[place].orientation):
        cosines = planes[place].orientation
        for direction, parallel in reversed(found):
            if all(abs(a - b) < _SAME_DIRECTION for a, b in zip(direction, cosines, strict=True)):
                parallel.append(place)
                break
        else:
            found.append((cosines, [place]))
    return [parallel for _, parallel in found]


def _part_ties(planes: Sequence[Plane], parallel: list[int]) -> list[list[int]]:
    """Give stacks, each ordered along its normal, in which no two slices lie at one place."""
    normal = _cross(planes[parallel[0]].orientation)
    along = {place: _dot(normal, planes[place].position) for place in parallel}
    ordered = sorted(parallel, key=lambda place: (along[place], planes[place].number))

    def tied(stack: list[int]) -> bool:
        return any(along[b] - along[a] < _SAME_PLACE_MM for a, b in pairwise(stack))

    if not tied(ordered):
        return [ordered]
    for which in range(min(len(planes[place].phases) for place in ordered)):
        stacks = _grouped(ordered, lambda place, which=which: planes[place].phases[which])
        even = len(stacks) * FEWEST <= len(ordered)
        if len(stacks) > 1 and even and not any(tied(stack) for stack in stacks):
            return stacks
    dealt: dict[int, list[int]] = defaultdict(list)
    before, turn = -math.inf, 0
    for place in ordered:
        turn = turn + 1 if along[place] - before < _SAME_PLACE_MM else 0
        before = before if turn else along[place]
        dealt[turn].append(place)
    return list(dealt.values())


def _grouped(ordered: list[int], name: Callable[[int], str]) -> list[list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for place in ordered:
        groups[name(place)].append(place)
    return [group for _, group in sorted(groups.items())]


def _cut(planes: Sequence[Plane], stack: list[int]) -> list[list[int]]:
    """Cut a stack into runs of even steps."""
    runs: list[list[int]] = []
    run: list[int] = []
    step = (0.0, 0.0, 0.0)
    for place in stack:
        if run:
            next_step = _minus(planes[place].position, planes[run[-1]].position)
            if len(run) > 1 and not _alike(step, next_step):
                if len(run) == 2:  # what did not fit may be the first of them
                    runs.append(run[:1])
                    run = run[1:]
                else:
                    runs.append(run)
                    run = []
            step = next_step if len(run) == 1 else step
        run.append(place)
    return [*runs, run] if run else runs


def _alike(step: Sequence[float], other: Sequence[float]) -> bool:
    return math.dist(step, other) <= _EVEN * math.hypot(*step)


def _cross(cosines: Sequence[float]) -> tuple[float, float, float]:
    a, b, c, d, e, f = cosines
    return b * f - c * e, c * d - a * f, a * e - b * d


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def _minus(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = (a - b for a, b in zip(one, other, strict=True))
    return x, y, z
