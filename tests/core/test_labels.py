"""Labels from one grid to another."""

from __future__ import annotations

import numpy as np
import pytest

from napari_inr_volume.core.labels import labels_on_grid, smallest


def test_each_voxel_of_the_finer_grid_takes_the_label_that_covers_its_centre() -> None:
    labels = np.array([[[1, 2], [3, 4]]], np.uint8)
    expected = np.array([[1, 1, 1, 2], [1, 1, 1, 2], [3, 3, 3, 4]], np.uint8)
    found = labels_on_grid(labels, (2, 3, 4), (2.0, 2.0, 3.0))
    np.testing.assert_array_equal(found, [expected, expected])
    assert found.dtype == np.uint8


@pytest.mark.parametrize("factor", [(1.0, 4.0, 4.0), (3.0, 2.0, 2.0)], ids=str)
def test_there_and_back_gives_the_same_labels(factor) -> None:
    small = np.random.default_rng(0).integers(0, 5, (4, 5, 6))
    full = tuple(int(length * scale) for length, scale in zip(small.shape, factor, strict=True))
    there = labels_on_grid(small, full, factor)
    back = labels_on_grid(there, small.shape, tuple(1 / scale for scale in factor))
    np.testing.assert_array_equal(back, small)


@pytest.mark.parametrize(
    ("largest", "dtype"), [(255, np.uint8), (256, np.int16), (40_000, np.uint16), (70_000, np.int32)]
)
def test_labels_are_saved_in_the_smallest_type_that_holds_them(largest: int, dtype: type) -> None:
    labels = np.array([0, largest])
    assert smallest(labels).dtype == dtype
    np.testing.assert_array_equal(smallest(labels), labels)
