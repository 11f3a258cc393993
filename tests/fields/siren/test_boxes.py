"""Boxes: cuts make them, their shares of the blend add up to one, and each has about as much to fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_inr_volume.core.errors import FitError
from napari_inr_volume.fields.siren.boxes import (
    LEAST,
    UNITS,
    Box,
    Cuts,
    Margins,
    boxes_of,
    find_cuts,
    most_boxes,
)
from napari_inr_volume.fields.siren.config import SirenConfig

MARGINS = st.tuples(*[st.integers(1, UNITS - 1)] * 3)


@st.composite
def cuts(draw: st.DrawFn) -> Cuts:
    """Cuts that make up to nine boxes, each inside what it cuts."""

    def of(box: Box, count: int) -> Cuts:
        if count == 1:
            return ()
        axis = draw(
            st.sampled_from([axis for axis in range(3) if box.faces[axis][1] - box.faces[axis][0] > 1])
        )
        low, high = box.faces[axis]
        cut = axis, draw(st.integers(low + 1, high - 1))
        before, behind = box.halves(cut)
        return (cut, *of(before, count // 2), *of(behind, count - count // 2))

    return of(Box(), draw(st.integers(1, 9)))


@given(cuts=cuts(), margins=MARGINS, at=st.lists(st.floats(0, UNITS), min_size=3, max_size=3))
def test_the_shares_of_all_boxes_add_up_to_one(cuts: Cuts, margins: Margins, at: list[float]) -> None:
    total = 0.0
    for box in boxes_of(cuts):
        inside = all(
            low <= place <= high for place, (low, high) in zip(at, reaches(box, margins), strict=True)
        )
        share = np.prod([box.share(axis, np.array([place]), margins)[0] for axis, place in enumerate(at)])
        assert inside or share == 0
        total += share
    assert total == pytest.approx(1)


def reaches(box: Box, margins: Margins) -> list[tuple[int, int]]:
    return [box.reach(axis, margins) for axis in range(3)]


@given(cuts=cuts(), margins=MARGINS, count=st.integers(1, 300))
def test_a_box_has_the_slices_whose_middles_it_reaches(cuts: Cuts, margins: Margins, count: int) -> None:
    middles = (2 * np.arange(count) + 1) * UNITS  # in 1 / (2 count) of a unit
    for box in boxes_of(cuts):
        low, high = (2 * count * place for place in box.reach(0, margins))
        assert (
            list(box.slices(count, margins)) == np.flatnonzero((low <= middles) & (middles <= high)).tolist()
        )


@given(cuts=cuts())
def test_boxes_fill_the_volume_once(cuts: Cuts) -> None:
    boxes = boxes_of(cuts)
    assert len(boxes) == len(cuts) + 1
    assert sum(np.prod([float(high - low) for low, high in box.faces]) for box in boxes) == float(UNITS) ** 3


def test_cuts_divide_what_lies_before_and_then_what_lies_behind() -> None:
    boxes = boxes_of([(2, 100), (0, 7), (1, 9)])
    assert [box.faces for box in boxes] == [
        ((0, 7), (0, UNITS), (0, 100)),
        ((7, UNITS), (0, UNITS), (0, 100)),
        ((0, UNITS), (0, 9), (100, UNITS)),
        ((0, UNITS), (9, UNITS), (100, UNITS)),
    ]


@pytest.mark.parametrize(
    ("cuts", "words"),
    [
        (((0, 5), (0, 5), (1, 7)), "does not lie between"),
        (((3, 5), (0, 3), (1, 7)), "axis of a cut"),
        (((0, 0), (0, 5), (1, 7)), "position of a cut"),
        (((0, 5),), "4 boxes need 3 cuts, found 1"),
    ],
)
def test_cuts_that_make_no_boxes_are_refused(cuts: Cuts, words: str) -> None:
    with pytest.raises(FitError, match=words):
        SirenConfig(boxes=4, cuts=cuts)


@given(count=st.integers(2, 8), seed=st.integers(0, 99))
def test_boxes_weigh_about_the_same(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    importance = random.uniform(0.1, 1, (40, 64, 72)).astype(np.float32)
    importance[:, 20:50, 10:40] += random.uniform(0, 3)
    found = [
        (axis, before * UNITS // importance.shape[axis]) for axis, before in find_cuts(importance, count)
    ]
    weights = []
    for box in boxes_of(found):
        part = importance
        for axis, (low, high) in enumerate(box.faces):
            place = (np.arange(importance.shape[axis]) + 0.5) * UNITS / importance.shape[axis]
            part = np.compress((place > low) & (place < high), part, axis=axis)
        weights.append(part.sum())
    assert max(weights) < 1.5 * min(weights)


def test_a_flat_lr_is_cut_in_halves_along_its_longest_axis() -> None:
    assert find_cuts(np.ones((4, 30, 50), np.float32), 2) == [(2, 25)]


def test_a_value_may_stand_for_a_run_of_voxels_along_x() -> None:
    assert find_cuts(np.ones((4, 30, 50), np.float32), 2, run=4) == [(2, 100)]
    assert find_cuts(np.ones((4, 30, 5), np.float32), 2, run=4) == [(1, 15)]
    assert find_cuts(np.ones((4, 5, 4), np.float32), 2, run=LEAST) == [(2, 2 * LEAST)]
    with pytest.raises(FitError, match="too few for 2 boxes"):  # the last run may be of one voxel
        find_cuts(np.ones((4, 5, 2), np.float32), 2, run=LEAST)


def test_no_box_is_thinner_than_its_margins_allow() -> None:
    importance = np.zeros((1, 1, 4 * LEAST), np.float32) + 1e-6
    importance[..., :2] = 1.0
    assert find_cuts(importance, 2) == [(2, LEAST)]


@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40)), count=st.integers(2, 9))
def test_an_lr_with_room_for_more_is_always_cut(shape: tuple[int, int, int], count: int) -> None:
    importance = np.full(shape, 1e-3, np.float32)
    importance[0, 0, 0] = 1.0  # all in a corner
    if most_boxes(shape) >= 2 * count:
        assert len(find_cuts(importance, count)) == count - 1


def test_more_boxes_than_an_lr_has_room_for_are_refused() -> None:
    with pytest.raises(FitError, match=r"5 x 6 x 20 LR voxels are too few for 4 boxes"):
        find_cuts(np.ones((5, 6, 20), np.float32), 4)
