"""A volume refuses what cannot be compressed, and its geometry can be trusted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_inr_volume.core.errors import InrError, VolumeError
from napari_inr_volume.core.volume import Geometry, Volume

good = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
bad_geometries = {
    "zero spacing": ({"spacing": (0.0, 1.0, 1.0)}, "spacing must be positive"),
    "negative spacing": ({"spacing": (1.0, -1.0, 1.0)}, "spacing must be positive"),
    "NaN origin": ({"origin": (np.nan, 0.0, 0.0)}, "finite"),
    "flat direction": ({"direction": ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))}, "one plane"),
    "long direction": ({"direction": ((0, 0, 2.0), (0, 1.0, 0), (1.0, 0, 0))}, "unit vectors"),
    "falling slices": ({"slice_positions": (0.0, -1.0)}, "increasing"),
    "endless slices": ({"slice_positions": (0.0, np.inf)}, "increasing"),
    "too many slices": ({"slice_positions": (0.0, 1.0, 2.0)}, "2 increasing"),
    "far slices": ({"slice_positions": (0.0, 2e9)}, "within 1e\\+09 mm"),
    "an empty axis": ({"shape": (2, 0, 4)}, "at least one voxel"),
    "a long axis": ({"shape": (2, 65_536, 4)}, "at most 65,535 voxels along an axis"),
    "too many voxels": ({"shape": (65_535, 65_535, 65_535)}, "1,099,511,627,776 in all"),
    "huge spacing": ({"spacing": (1e300, 1.0, 1.0)}, "spacing must be from 1e-09 to 1e\\+09 mm"),
    "tiny spacing": ({"spacing": (1.0, 1e-12, 1.0)}, "spacing must be from"),
    "a far origin": ({"origin": (0.0, 1e10, 0.0)}, "origin within"),
}


@pytest.mark.parametrize(
    ("voxels", "words"),
    [
        (np.zeros((4, 4)), "three axes"),
        (np.zeros((2, 2, 2, 3)), "three axes"),
        (np.zeros((0, 4, 4)), "empty"),
        (np.where(good == 5, np.nan, good), "slice 0 holds NaN"),
        (np.where(good == 20, -np.inf, good), "slice 1 holds NaN or infinity"),
        (good * 1e40, "values up to 2.3e"),
        (good.astype(str), "integers or floats"),
        (good.astype(complex), "integers or floats"),
        (good > 3, "integers or floats"),
        (good.astype(object), "integers or floats"),
    ],
    ids=["2D", "RGB", "empty", "NaN", "inf", "too large", "text", "complex", "bool", "object"],
)
def test_unusable_voxels_are_refused_in_words(voxels: np.ndarray, words: str) -> None:
    with pytest.raises(VolumeError, match=words):
        Volume.from_array(voxels)


def test_flat_volume_is_one_but_nothing_can_be_fitted_to_it() -> None:
    voxels = np.full((2, 3, 4), -2000)
    empty, flat = Volume.from_array(voxels, padding=-2000), Volume.from_array(voxels)
    assert flat.intensity_range == empty.intensity_range == (-2000, -2000)
    with pytest.raises(VolumeError, match="single value -2000"):
        flat.check_fittable()
    with pytest.raises(VolumeError, match="nothing but padding"):
        empty.check_fittable()
    one = voxels.copy()
    one[0, 0, 0] = 5
    with pytest.raises(VolumeError, match="single value 5"):
        Volume.from_array(one, padding=-2000).check_fittable()
    Volume.from_array(good).check_fittable()


def test_summary_is_one_line_of_size_spacing_values_and_what_must_be_known() -> None:
    geometry = Geometry(shape=(2, 3, 4), spacing=(1.5, 0.7, 0.7))
    volume = Volume(
        voxels=good, geometry=geometry, units="HU", found=("GE", "2 files"), notes=("1 mm assumed",)
    )
    assert volume.summary == "2 x 3 x 4, 1.50 x 0.70 x 0.70 mm, HU 0 to 23, GE, 2 files; 1 mm assumed"
    fine = Volume.from_array(good / 4, spacing=(0.0012, 0.5, 0.5), units="raw")
    assert fine.summary == "2 x 3 x 4, 0.0012 x 0.50 x 0.50 mm, values 0 to 5.75"


def test_uneven_or_sheared_grid_says_so() -> None:
    turn = np.radians(18.5)
    assert Geometry(shape=(3, 3, 4)).caveats == ()
    z, y, x = [0.0, 0.0, 1.0], [0.0, np.cos(turn), -np.sin(turn)], [1.0, 0.0, 0.0]
    tilted = Geometry(shape=(3, 3, 4), direction=tuple(map(tuple, np.array([z, y, x]).T)))
    (told,) = tilted.caveats
    assert "sheared by 18.5 degrees" in told
    uneven = Geometry(shape=(3, 3, 4), slice_positions=(0.0, 4.0, 11.0))
    assert uneven.caveats == ("slice distances are uneven, 4 to 7 mm",)
    x = [np.cos(turn), np.sin(turn), 0.0]
    skewed = Geometry(shape=(3, 3, 4), direction=tuple(map(tuple, np.array([z, [0.0, 1.0, 0.0], x]).T)))
    (told,) = skewed.caveats
    assert "18.5 degrees off a right angle" in told


def test_padding_does_not_reach_the_intensity_range() -> None:
    voxels = good.copy()
    voxels[0, 0] = -2000
    assert Volume.from_array(voxels, padding=-2000).intensity_range == (4, 23)
    assert Volume.from_array(voxels).intensity_range == (-2000, 23)


@pytest.mark.parametrize(("change", "words"), bad_geometries.values(), ids=bad_geometries)
def test_impossible_geometry_is_refused_in_words(change: dict, words: str) -> None:
    with pytest.raises(VolumeError, match=words):
        Geometry(**({"shape": (2, 3, 4)} | change))


def test_geometry_of_another_shape_is_refused() -> None:
    with pytest.raises(VolumeError, match="geometry is for"):
        Volume(voxels=good, geometry=Geometry(shape=(2, 4, 3)))


def test_errors_are_not_runtime_errors_which_workers_swallow() -> None:
    assert not issubclass(InrError, RuntimeError)


def test_affine_leads_from_index_to_patient_millimetres() -> None:
    geometry = Volume.from_array(good, (5.0, 0.5, 0.25), origin=(-10.0, 20.0, 30.0)).geometry
    np.testing.assert_allclose(geometry.affine @ [1, 2, 3, 1], [-10 + 0.75, 20 + 1.0, 30 + 5.0, 1])


@given(
    index=st.tuples(*[st.floats(0, 9)] * 3),
    factor=st.tuples(*[st.floats(1, 8)] * 3),
    tilt=st.floats(-0.5, 0.5),
)
def test_lr_voxel_lies_at_the_hr_position_it_stands_for(index: tuple, factor: tuple, tilt: float) -> None:
    """LR voxel k lies at HR position (k + 0.5) * factor - 0.5, with a tilted gantry too."""
    geometry = Geometry(
        shape=(80, 80, 80),
        spacing=(4.0, 0.5, 0.7),
        origin=(1.0, 2.0, 3.0),
        direction=((0.0, 0.0, 1.0), (np.sin(tilt), 1.0, 0.0), (np.cos(tilt), 0.0, 0.0)),
    )
    lr = geometry.coarser(factor, (10, 10, 10))
    hr_index = (np.array(index) + 0.5) * np.array(factor) - 0.5
    np.testing.assert_allclose(lr.affine @ [*index, 1], geometry.affine @ [*hr_index, 1], atol=1e-9)


def test_stored_bytes_are_those_of_the_voxels_unless_told() -> None:
    assert Volume.from_array(good).source_bytes == good.nbytes
    assert Volume(voxels=good, geometry=Geometry(shape=good.shape), source_bytes=12).source_bytes == 12
