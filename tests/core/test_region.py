"""A region is three slices, cut off where the volume ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_inr_volume.core.errors import VolumeError
from napari_inr_volume.core.region import WHOLE, within

ends = st.one_of(st.none(), st.integers(-9, 9))
parts = st.builds(slice, ends, ends)


@given(st.tuples(parts, parts, parts))
def test_a_region_is_what_numpy_cuts_out(region: tuple[slice, slice, slice]) -> None:
    voxels = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    z, y, x = within(region, voxels.shape)
    assert np.array_equal(voxels[np.ix_(z, y, x)], voxels[region])


def test_the_whole_is_every_voxel() -> None:
    assert within(WHOLE, (4, 5, 6)) == (range(4), range(5), range(6))


@pytest.mark.parametrize(
    "region",
    [(slice(None), slice(None)), (0, 0, 0), (slice(0, 9, 2), slice(None), slice(None)), "zyx", 3, None],
    ids=str,
)
def test_what_is_no_region_is_refused(region: object) -> None:
    with pytest.raises(VolumeError, match="a region is"):
        within(region, (4, 5, 6))  # type: ignore[arg-type]
