import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.planes import Plane, affine_of, find_stacks

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def plane(*position: float, **fields: Any) -> Plane:
    usual: dict[str, Any] = {
        "orientation": AXIAL,
        "spacing_mm": (0.7, 0.5),
        "rows": 4,
        "columns": 6,
    }
    return Plane(position=position, **{**usual, **fields})


def stack(*heights: float, **fields: Any) -> list[Plane]:
    return [plane(0, 0, height, **fields) for height in heights]


@given(st.permutations(range(12)))
def test_slices_are_ordered_by_place_whatever_their_numbers(order: list[int]) -> None:
    planes = [plane(0, 0, 2.5 * place, number=12 - place) for place in order]
    assert find_stacks(planes) == ([[order.index(place) for place in range(12)]], [])


def test_a_missing_slice_gives_two_volumes() -> None:
    assert find_stacks(stack(0, 1, 2, 4, 5, 6)) == ([[0, 1, 2], [3, 4, 5]], [])


def test_a_slice_apart_from_the_rest_is_a_picture_of_its_own() -> None:
    # So lie the four CT slices of pydicom's 77654033/CT2.
    assert find_stacks(stack(-99.48, 103.02, 104.27, 105.52)) == ([[1, 2, 3]], [0])


def test_a_head_scanned_in_two_spacings_is_two_volumes() -> None:
    heights = [0, 5, 10, 15, 25, 35, 45]
    assert find_stacks(stack(*heights)) == ([[0, 1, 2, 3], [4, 5, 6]], [])


def test_places_that_were_rounded_are_still_even() -> None:
    heights = [round(0.625 * place, 2) for place in range(200)]
    assert find_stacks(stack(*heights)) == ([list(range(200))], [])


def test_two_slices_are_no_volume() -> None:
    assert find_stacks(stack(0, 1)) == ([], [0, 1])


def test_a_tilted_gantry_is_one_volume_and_its_matrix_is_sheared() -> None:
    planes = [plane(0, 0.4 * place, 3.0 * place) for place in range(5)]
    assert find_stacks(planes) == ([[0, 1, 2, 3, 4]], [])
    affine = affine_of(planes[0], planes[-1], 5)
    assert affine @ [0, 0, 4, 1] == pytest.approx([0, -1.6, 12, 1])


def test_slices_beside_each_other_are_no_volume() -> None:
    beside = [plane(200, 0, height) for height in (3, 4, 5)]
    assert find_stacks([*stack(0, 1, 2), *beside]) == ([[0, 1, 2], [3, 4, 5]], [])


def test_scouts_in_other_directions_are_set_apart() -> None:
    scouts = [plane(0, 0, 0, orientation=SAGITTAL), plane(9, 0, 0, orientation=SAGITTAL)]
    assert find_stacks([*scouts, *stack(0, 1, 2)]) == ([[2, 3, 4]], [0, 1])


def test_directions_that_differ_by_rounding_are_one() -> None:
    tipped = (1.0, 0.0, 0.0, 0.0, 0.9999999, 0.0004)
    planes = [plane(0, 0, 1), plane(0, 0, 2, orientation=tipped), plane(0, 0, 3)]
    assert find_stacks(planes) == ([[0, 1, 2]], [])


@pytest.mark.parametrize(
    "differs",
    [{"parts": ("2",)}, {"rows": 8}, {"columns": 3}, {"spacing_mm": (0.7, 0.6)}],
    ids=["echo", "rows", "columns", "spacing"],
)
def test_what_differs_in_kind_is_another_volume(differs: dict[str, Any]) -> None:
    planes = [*stack(0, 1, 2, parts=("1",)), *stack(0, 1, 2, **{"parts": ("1",), **differs})]
    assert sorted(find_stacks(planes)[0]) == [[0, 1, 2], [3, 4, 5]]


def test_two_acquisitions_of_one_place_are_told_apart_by_what_parts_them() -> None:
    # Instance numbers run across, and each slice has a time of its own.
    planes = [
        plane(0, 0, height, phases=(acquisition, f"{height}{acquisition}"), number=number)
        for number, (height, acquisition) in enumerate((h, a) for h in range(4) for a in "21")
    ]
    assert find_stacks(planes) == ([[1, 3, 5, 7], [0, 2, 4, 6]], [])


def test_acquisitions_that_overlap_in_part_keep_their_own_slices() -> None:
    planes = [*stack(0, 1, 2, 3, phases=("1",)), *stack(3, 4, 5, phases=("2",))]
    assert find_stacks(planes) == ([[0, 1, 2, 3], [4, 5, 6]], [])


def test_ties_that_nothing_parts_are_dealt_out_by_number() -> None:
    planes = [plane(0, 0, height, number=10 * turn) for turn in (2, 1) for height in range(3)]
    assert find_stacks(planes) == ([[3, 4, 5], [0, 1, 2]], [])


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 1.0, 2.0, 3.0, 3.5, 7.0]),
            st.sampled_from(["1", "2"]),
            st.sampled_from([AXIAL, SAGITTAL]),
        ),
        max_size=30,
    )
)
def test_each_slice_is_in_one_place_and_each_volume_is_even(
    drawn: list[tuple[float, str, tuple[float, ...]]],
) -> None:
    planes = [
        plane(height, 0, height, phases=(phase,), orientation=direction, number=number)
        for number, (height, phase, direction) in enumerate(drawn)
    ]
    stacks, single = find_stacks(planes)
    assert sorted([*single, *(place for one in stacks for place in one)]) == list(range(len(drawn)))
    for one in stacks:
        heights = [planes[place].position[2] for place in one]
        steps = np.abs(np.diff(heights))
        assert len(one) >= 3
        assert steps.min() > 0
        assert math.isclose(steps.min(), steps.max(), rel_tol=0.2)
        assert len({planes[place].orientation for place in one}) == 1


def test_the_matrix_leads_from_voxels_to_the_patient() -> None:
    first, last = plane(-10, -20, 5), plane(-10, -20, 9)
    # Column 1 is 0.5 mm to the left; row 1 is 0.7 mm to the back; RAS counts right and front.
    affine = affine_of(first, last, 3)
    assert affine @ [0, 0, 0, 1] == pytest.approx([10, 20, 5, 1])
    assert affine @ [1, 0, 0, 1] == pytest.approx([9.5, 20, 5, 1])
    assert affine @ [0, 1, 0, 1] == pytest.approx([10, 19.3, 5, 1])
    assert affine @ [0, 0, 1, 1] == pytest.approx([10, 20, 7, 1])
