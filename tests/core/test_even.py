"""Even resampling against what it must bring back exactly: linear functions of the patient's coordinates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_inr_volume.core import even, memory
from napari_inr_volume.core.errors import InrError
from napari_inr_volume.core.even import evened
from napari_inr_volume.core.volume import SHEARED, Geometry, Volume

SLOPE = np.array([3.0, -2.0, 5.0])  # per mm along the patient's x, y, z


def places(geometry: Geometry) -> np.ndarray:
    """Return where voxels lie in the patient, mm (z, y, x, 3)."""
    z, y, x = (np.arange(length, dtype=float) for length in geometry.shape)
    if geometry.slice_positions is not None:
        z = np.array(geometry.slice_positions) / geometry.spacing[0]
    index = np.stack(np.meshgrid(z, y, x, indexing="ij"), axis=-1)
    return index @ geometry.affine[:3, :3].T + geometry.affine[:3, 3]


def ramp(geometry: Geometry) -> Volume:
    """Return a volume that rises evenly through the patient."""
    return Volume(voxels=places(geometry) @ SLOPE, geometry=geometry)


def directions(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple:
    axes = np.stack([axis / np.linalg.norm(axis) for axis in (z, y, x)], axis=1)
    return tuple(tuple(map(float, row)) for row in axes)


def tilted(degrees: float, shape: tuple[int, int, int] = (6, 8, 7), spacing=(3.0, 0.5, 0.5)) -> Geometry:
    angle = np.radians(degrees)
    z = np.array([0, np.sin(angle), np.cos(angle)])
    return Geometry(
        shape=shape, spacing=spacing, direction=directions(z, np.array([0, 1.0, 0]), np.array([1.0, 0, 0]))
    )


@st.composite
def grids(draw: st.DrawFn) -> Geometry:
    """Any rotation, shear, skew, handedness, distances."""
    shape = (draw(st.integers(1, 5)), draw(st.integers(2, 7)), draw(st.integers(2, 7)))
    part = st.floats(-0.5, 0.5)
    skewed = np.eye(3) + np.tril(np.array([[draw(part) for _ in range(3)] for _ in range(3)]), -1)
    seed = draw(st.integers(0, 2**32 - 1))
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))  # of either handedness
    positions = None
    if shape[0] > 1 and draw(st.booleans()):  # a single slice stays as it is, wherever it lies
        steps = draw(st.lists(st.floats(0.5, 2.0), min_size=shape[0] - 1, max_size=shape[0] - 1))
        positions = tuple(np.cumsum([draw(st.floats(-2, 2)), *steps]).tolist())
    return Geometry(
        shape=shape,
        spacing=draw(st.tuples(*[st.floats(0.5, 3.0)] * 3)),
        origin=draw(st.tuples(*[st.floats(-100, 100)] * 3)),
        direction=directions(*(turn @ skewed.T).T),
        slice_positions=positions,
    )


@given(geometry=grids())
def test_a_linear_function_of_the_patient_comes_back_where_slices_lie_around(geometry: Geometry) -> None:
    volume = ramp(geometry)
    result = evened(volume)
    assert not result.geometry.caveats
    truth = places(result.geometry) @ SLOPE
    inside = inside_of(geometry, places(result.geometry))
    np.testing.assert_allclose(result.voxels[inside], truth[inside], atol=1e-6)


def test_most_of_a_tilted_stack_lies_between_its_slices() -> None:
    result = evened(ramp(tilted(10, (6, 20, 20)))).geometry
    assert inside_of(tilted(10, (6, 20, 20)), places(result)).mean() > 0.5  # so that the test above tests


def inside_of(geometry: Geometry, points: np.ndarray) -> np.ndarray:
    """Return which points lie in the plane inside both slices next to them."""
    parts = (points - np.array(geometry.origin)) @ np.linalg.inv(geometry.affine[:3, :3]).T
    along = geometry.slice_positions or tuple(geometry.spacing[0] * np.arange(geometry.shape[0]))
    mm = parts[..., 0] * geometry.spacing[0]
    inside = (mm >= along[0] - 1e-9) & (mm <= along[-1] + 1e-9)
    direction = np.array(geometry.direction)
    spacing = np.array(geometry.spacing[1:])
    _, rest = np.linalg.qr(direction[:, ::-1])
    rest = rest[::-1, ::-1]
    shear = np.linalg.solve(rest[1:, 1:], rest[1:, 0])  # of the first voxel's place in the plane, per mm
    index = np.clip(np.searchsorted(along, mm + 1e-6, "right") - 1, 0, len(along) - 1)
    for neighbour in (index, np.minimum(index + 1, len(along) - 1)):
        away = mm - np.array(along)[neighbour]
        yx = parts[..., 1:] + away[..., np.newaxis] * shear / spacing
        inside &= ((yx >= -1e-9) & (yx <= np.array(geometry.shape[1:]) - 1 + 1e-9)).all(axis=-1)
    return inside


@given(geometry=grids())
def test_no_voxel_is_cut_off(geometry: Geometry) -> None:
    result = evened(ramp(geometry)).geometry
    index = (places(geometry) - result.affine[:3, 3]) @ np.linalg.inv(result.affine[:3, :3]).T
    assert index.min() >= -0.5 - 1e-5
    assert (index.reshape(-1, 3).max(axis=0) <= np.array(result.shape) - 0.5 + 1e-5).all()


@given(geometry=grids())
def test_handedness_and_plane_stay(geometry: Geometry) -> None:
    before, after = np.array(geometry.direction), np.array(evened(ramp(geometry)).geometry.direction)
    assert np.linalg.det(before) * np.linalg.det(after) > 0
    assert np.allclose(after[:, 2], before[:, 2])  # the rows
    # z at right angles to the slices; what counts as such already stays as it is.
    assert abs(after[:, 0] @ before[:, 1]) < (1e-6 if geometry.caveats else np.sin(np.radians(SHEARED)))
    assert after[:, 0] @ before[:, 0] > 0


def test_an_even_grid_comes_back_as_the_same_object() -> None:
    volume = ramp(Geometry(shape=(3, 4, 5)))
    assert evened(volume) is volume
    uneven = ramp(Geometry(shape=(3, 4, 5), slice_positions=(0.0, 1.0, 3.0)))
    once = evened(uneven)
    assert once is not uneven
    assert evened(once) is once


def test_uneven_slices_take_their_commonest_distance() -> None:
    positions = (0.0, 2.0, 4.0, 6.0, 9.0)
    volume = ramp(Geometry(shape=(5, 3, 3), spacing=(2.25, 1.0, 1.0), slice_positions=positions))
    result = evened(volume)
    assert result.shape == (6, 3, 3)  # 0 to 10 mm: the last one stands for what is within half a step
    assert result.geometry.spacing == (2.0, 1.0, 1.0)
    np.testing.assert_array_equal(result.voxels[:4], volume.voxels[:4])
    np.testing.assert_allclose(result.voxels[4], volume.voxels[3] + 2 * SLOPE[2])
    np.testing.assert_array_equal(result.voxels[5], volume.voxels[4])


def test_a_tilted_stack_grows_by_its_shear_and_narrows_its_slices() -> None:
    result = evened(ramp(tilted(30)))
    assert result.geometry.spacing[0] == pytest.approx(3 * np.cos(np.radians(30)))
    assert result.geometry.spacing[1:] == (0.5, 0.5)
    assert result.shape == (6, 8 + 15, 7)  # five steps of 1.5 mm further back


def test_what_no_slice_covers_is_padding_or_the_lowest_intensity() -> None:
    geometry = tilted(30)
    volume = Volume(voxels=np.full(geometry.shape, 40, dtype=np.int16), geometry=geometry)
    volume.voxels[:, 3, 3] = -7
    without = evened(replace(volume))
    assert without.voxels[0, -1, 0] == -7
    with_padding = evened(replace(volume, padding=-2000.0))
    assert with_padding.voxels[0, -1, 0] == -2000
    assert with_padding.padding == -2000
    assert with_padding.intensity_range == (-7, 40)


@given(seed=st.integers(0, 1000), degrees=st.floats(-30, 30).filter(lambda value: abs(value) > 1))
def test_padding_is_never_blended_into_tissue(seed: int, degrees: float) -> None:
    geometry = tilted(degrees)
    voxels = np.where(np.random.default_rng(seed).random(geometry.shape) < 0.4, -2000, 100).astype(np.int16)
    result = evened(Volume(voxels=voxels, geometry=geometry, padding=-2000.0))
    assert set(np.unique(result.voxels)) <= {-2000, 100}


@given(
    seed=st.integers(0, 1000), dtype=st.sampled_from([np.uint8, np.int16, np.uint16, np.float32, np.float64])
)
def test_intensities_stay_in_their_range_and_of_their_type(seed: int, dtype: type) -> None:
    geometry = tilted(-20)
    voxels = np.random.default_rng(seed).uniform(0, 255, geometry.shape).astype(dtype)
    volume = Volume(voxels=voxels, geometry=geometry, units="raw")
    result = evened(volume)
    assert result.voxels.dtype == dtype
    assert result.units == "raw"
    low, high = volume.intensity_range
    assert low <= result.voxels.min()
    assert high >= result.voxels.max()


def test_whole_numbers_are_rounded_not_cut() -> None:
    geometry = Geometry(shape=(4, 2, 2), slice_positions=(0.0, 1.0, 2.0, 3.9))
    voxels = np.zeros(geometry.shape, dtype=np.int16)
    voxels[3] = 10  # at 3 mm: 10 / 1.9 = 5.26, and at 4 mm the last slice
    assert evened(Volume(voxels=voxels, geometry=geometry)).voxels[:, 0, 0].tolist() == [0, 0, 0, 5, 10]


@pytest.mark.parametrize("positions", [None, (0.0,)], ids=["spacing", "position"])
def test_a_single_slice_stays_as_it_is(positions: tuple[float, ...] | None) -> None:
    geometry = replace(tilted(20, (1, 4, 5)), slice_positions=positions)
    volume = ramp(geometry)
    np.testing.assert_allclose(evened(volume).voxels, volume.voxels)


def test_a_flat_volume_stays_flat() -> None:
    geometry = tilted(20)
    volume = Volume(voxels=np.full(geometry.shape, 7, dtype=np.int16), geometry=geometry)
    assert (evened(volume).voxels == 7).all()


def test_the_volume_says_that_it_was_resampled_and_keeps_what_else_it_says() -> None:
    volume = replace(ramp(tilted(30)), found=("GE",), notes=("1 mm assumed",), source_bytes=99)
    result = evened(volume)
    assert result.found == ("GE",)
    assert result.source_bytes == 99
    assert result.notes == (
        "1 mm assumed",
        "resampled to an evenly spaced, orthogonal grid of 6 x 23 x 7 voxels, 2.598 x 0.5 x 0.5 mm",
    )


def test_too_little_memory_is_said_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 1000)
    monkeypatch.setattr(even, "_fill", lambda *_: pytest.fail("it was taken"))
    with pytest.raises(InrError, match=r"6 x 23 x 7 float64, needs .* as it was scanned"):
        evened(ramp(tilted(30)))
