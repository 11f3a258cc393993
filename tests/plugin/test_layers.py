from __future__ import annotations

import dask.array
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points

from napari_inr_volume.core import memory
from napari_inr_volume.core.errors import InrError, VolumeError
from napari_inr_volume.core.phantom import PADDING, head_phantom
from napari_inr_volume.core.resample import lr_shape
from napari_inr_volume.core.volume import AXIAL, Geometry, Volume
from napari_inr_volume.plugin.layers import (
    LayerData,
    add_layer,
    carried,
    check_layer,
    default_limits,
    hr_layer,
    kwargs_over,
    layer_kwargs,
    layer_name,
    lr_layer,
    new_voxels,
    original_layer,
    preview_layer,
    volume_of,
)

OBLIQUE = Geometry(
    shape=(9, 30, 37),
    spacing=(2.5, 0.75, 0.5),
    origin=(-10.0, 20.5, 30.25),
    # A tilted gantry: z is not orthogonal to y.
    direction=((0.0, 0.0, 1.0), (-0.3173, 1.0, 0.0), (0.94832, 0.0, 0.0)),
)


@pytest.fixture(scope="module")
def volume() -> Volume:
    return head_phantom((9, 30, 37))


def to_layer(data: LayerData) -> Image:
    return Image(data[0], **data[1])


def numbers(shape: tuple[int, ...], dtype: str = "int16") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def test_layer_of_a_volume_gives_that_volume_back(volume: Volume) -> None:
    assert volume_of(to_layer(original_layer(volume, "head"))) is volume


def test_layer_shows_the_volumes_own_voxels_without_a_copy(volume: Volume) -> None:
    assert to_layer(original_layer(volume, "head")).data is volume.voxels


def test_layer_is_placed_in_mm(volume: Volume) -> None:
    layer = to_layer(original_layer(volume, "head"))
    assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
    assert layer.axis_labels == ("z", "y", "x")
    np.testing.assert_allclose(layer.scale, volume.geometry.spacing)


@pytest.mark.slow
@pytest.mark.parametrize(
    "geometry", [Geometry(shape=(9, 30, 37), origin=(1, 2, 3)), OBLIQUE], ids=["axial", "tilted"]
)
@given(index=st.tuples(st.integers(0, 8), st.integers(0, 29), st.integers(0, 36)))
def test_world_coordinates_along_the_volumes_axes_are_its_place_in_the_patient(
    geometry: Geometry, index: tuple[int, int, int]
) -> None:
    layer = Image(numbers(geometry.shape), **layer_kwargs(geometry))
    patient = np.array(geometry.direction) @ layer.data_to_world(index)
    np.testing.assert_allclose(patient, (geometry.affine @ (*index, 1))[:3], atol=1e-9)


FACTORS = st.sampled_from([1.0, 1.5, 2.0, 3.7, 4.0])


@pytest.mark.slow
@given(
    factor=st.tuples(FACTORS, FACTORS, FACTORS),
    lr_index=st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)),
)
def test_lr_voxel_centres_lie_where_the_resampling_puts_them(
    factor: tuple[float, float, float], lr_index: tuple[int, int, int]
) -> None:
    original = Image(numbers(OBLIQUE.shape), **layer_kwargs(OBLIQUE))
    expected = original.data_to_world((np.array(lr_index) + 0.5) * factor - 0.5)
    lr = np.zeros(lr_shape(OBLIQUE.shape, factor), np.float32)
    by_geometry = Image(lr, **layer_kwargs(OBLIQUE.coarser(factor, lr.shape)))
    over_layer = Image(lr, **kwargs_over(original, factor))
    np.testing.assert_allclose(by_geometry.data_to_world(lr_index), expected, atol=1e-9)
    np.testing.assert_allclose(over_layer.data_to_world(lr_index), expected, atol=1e-9)


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")  # of what napari then shows
def test_lr_lies_over_a_layer_that_was_rotated_and_sheared() -> None:
    original = Image(
        numbers((9, 30, 37)),
        scale=(2.5, 0.75, 0.5),
        translate=(1, 2, 3),
        rotate=(10, 20, 30),
        affine=np.array([[2, 0.1, 0, 1], [0, 1, 0.2, 2], [0, 0, 1, 3], [0, 0, 0, 1]]),
        units=("um", "um", "um"),
    )
    lr = to_layer(preview_layer(np.zeros((9, 8, 10), np.float32), "lr", original, (1.0, 4.0, 4.0)))
    np.testing.assert_allclose(lr.data_to_world((5, 1, 2)), original.data_to_world((5, 5.5, 9.5)), atol=1e-9)
    assert lr.units == original.units


def test_lr_and_hr_layers_of_an_inr_align_with_its_original(make_inr) -> None:
    inr = make_inr()
    original = Image(numbers(inr.geometry.shape), **layer_kwargs(inr.geometry))
    lr = to_layer(lr_layer(np.zeros(inr.lr_shape, np.float32), "lr", inr))
    hr = to_layer(hr_layer(np.zeros(inr.geometry.shape, np.int16), "hr", inr))
    np.testing.assert_allclose(lr.data_to_world((8, 7, 9)), original.data_to_world((8, 29.5, 37.5)))
    np.testing.assert_allclose(hr.data_to_world((8, 7, 9)), original.data_to_world((8, 7, 9)))


def test_layers_beside_an_original_take_its_place_and_contrast(make_inr) -> None:
    inr = make_inr()
    original = Image(
        numbers(inr.geometry.shape), scale=(3, 2, 1), translate=(5, 5, 5), contrast_limits=(0, 7)
    )
    lr = to_layer(lr_layer(np.zeros(inr.lr_shape, np.float32), "lr", inr, over=original))
    hr = to_layer(hr_layer(np.zeros(inr.geometry.shape, np.int16), "hr", inr, over=original))
    np.testing.assert_allclose(lr.data_to_world((0, 0, 0)), original.data_to_world((0, 1.5, 1.5)))
    np.testing.assert_allclose(hr.data_to_world((1, 2, 3)), original.data_to_world((1, 2, 3)))
    assert lr.contrast_limits == hr.contrast_limits == [0, 7]


def test_geometry_of_an_axial_layer_survives_the_viewer_without_our_metadata() -> None:
    geometry = Geometry(shape=(4, 5, 6), spacing=(2.5, 0.75, 0.5), origin=(-10.0, 20.5, 30.25))
    layer = Image(numbers(geometry.shape), **layer_kwargs(geometry))
    found = volume_of(layer).geometry
    np.testing.assert_allclose(found.affine, geometry.affine)


def test_spacing_in_other_lengths_becomes_mm() -> None:
    layer = Image(numbers((4, 5, 6)), scale=(2500, 0.75, 0.05), units=("um", "mm", "cm"))
    assert volume_of(layer).geometry.spacing == pytest.approx((2.5, 0.75, 0.5))


def test_pixels_count_as_mm() -> None:
    assert volume_of(Image(numbers((4, 5, 6)), scale=(3, 2, 1))).geometry.spacing == (3.0, 2.0, 1.0)


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")  # of what napari then shows
def test_rotation_of_a_layer_becomes_the_volumes_direction() -> None:
    layer = Image(numbers((4, 5, 6)), scale=(3, 2, 1), translate=(7, 8, 9), rotate=(10, 20, 30))
    geometry = volume_of(layer).geometry
    patient = AXIAL @ np.array(layer.data_to_world((1, 2, 3)))
    np.testing.assert_allclose((geometry.affine @ (1, 2, 3, 1))[:3], patient, atol=1e-9)


def test_spacing_corrected_in_napari_counts_and_the_rest_is_kept(volume: Volume) -> None:
    layer = to_layer(original_layer(volume, "head"))
    layer.scale = (5, 4, 3)
    found = volume_of(layer)
    assert found.geometry.spacing == (5.0, 4.0, 3.0)
    assert found.geometry.origin == volume.geometry.origin
    assert (found.units, found.padding) == ("HU", PADDING)


def test_replaced_data_are_not_taken_for_the_volume_that_was_read(volume: Volume) -> None:
    layer = to_layer(original_layer(volume, "head"))
    layer.data = volume.voxels + np.int16(1)
    assert volume_of(layer).intensity_range != volume.intensity_range


def test_cropped_data_are_a_volume_of_their_own(volume: Volume) -> None:
    layer = to_layer(original_layer(volume, "head"))
    layer.data = volume.voxels[2:]
    assert volume_of(layer).shape == (7, 30, 37)


def test_dask_layer_is_read_into_memory() -> None:
    voxels = numbers((4, 5, 6))
    layer = Image(dask.array.from_array(voxels, chunks=(1, 5, 6)), contrast_limits=(0, 1))
    np.testing.assert_array_equal(volume_of(layer).voxels, voxels)


def test_reconstruction_keeps_units_that_its_values_do_not_show(make_inr) -> None:
    inr = make_inr()
    layer = to_layer(hr_layer(numbers(inr.geometry.shape), "hr", inr))  # no value is below 0
    assert volume_of(layer).units == "HU"


def multiscale() -> Layer:
    return Image([numbers((8, 8, 8)), numbers((4, 4, 4))], multiscale=True)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        pytest.param(Image(numbers((5, 6))), "is a single image; choose a stack", id="2D"),
        pytest.param(Image(numbers((2, 4, 5, 6))), "of 4 dimensions", id="4D"),
        pytest.param(Image(numbers((5, 6, 3), "uint8"), rgb=True), "in colour", id="RGB"),
        pytest.param(multiscale(), "multiscale; add its full resolution", id="multiscale"),
        pytest.param(Labels(numbers((4, 5, 6), "int32")), "a Labels layer; choose an image", id="labels"),
        pytest.param(Points(np.zeros((1, 3))), "a Points layer", id="points"),
        pytest.param(Image(numbers((4, 5, 6)) > 7), "values of the type bool", id="bool"),
    ],
)
def test_layer_that_is_no_volume_is_refused_with_a_word(layer: Layer, words: str) -> None:
    with pytest.raises(VolumeError, match=words):
        check_layer(layer)
    with pytest.raises(VolumeError, match=f"'{layer.name}'"):
        volume_of(layer)


def test_a_layer_that_is_not_in_memory_is_read_slice_by_slice() -> None:
    sizes: list[int] = []

    def noted(block: np.ndarray) -> np.ndarray:
        sizes.append(block.size)
        return block

    voxels = numbers((6, 5, 4)) - 1000
    lazy = dask.array.from_array(voxels, chunks=(1, 5, 4)).map_blocks(noted, dtype=voxels.dtype)
    layer = Image(lazy, contrast_limits=(0, 1))
    volume = volume_of(layer)
    assert volume.voxels is layer.data
    assert (volume.units, volume.intensity_range) == ("HU", (voxels.min(), voxels.max()))
    assert max(sizes) == 5 * 4
    assert np.array_equal(volume.read(), voxels)


def test_volume_three_voxels_wide_is_not_taken_for_colour() -> None:
    volume = Volume.from_array(numbers((5, 6, 3), "uint8"))
    layer = to_layer(original_layer(volume, "narrow"))
    assert (layer.rgb, layer.ndim) == (False, 3)


@pytest.mark.parametrize(
    ("units", "intensities", "limits"),
    [
        pytest.param("HU", (-1024.0, 3071.0), (-160.0, 240.0), id="HU: soft tissue"),
        pytest.param("raw", (0.0, 4095.0), (0.0, 4095.0), id="raw: all"),
        pytest.param("HU", (300.0, 3000.0), (300.0, 3000.0), id="bone alone: all"),
        pytest.param("HU", (-1000.0, -900.0), (-1000.0, -900.0), id="air alone: all"),
    ],
)
def test_default_contrast_suits_the_values(units, intensities, limits) -> None:
    assert default_limits(units, intensities) == limits


def test_contrast_slider_goes_over_all_intensities(volume: Volume) -> None:
    layer = add_layer(ViewerModel(), original_layer(volume, "head"))
    assert tuple(layer.contrast_limits) == (0, 80)  # of a brain
    assert tuple(layer.contrast_limits_range) == volume.intensity_range


def test_layer_being_fitted_carries_no_network_yet(volume: Volume) -> None:
    original = to_layer(original_layer(volume, "head"))
    held = carried(to_layer(preview_layer(np.zeros((9, 8, 10), np.float32), "lr", original, (1.0, 4.0, 4.0))))
    assert held is not None
    assert (held.kind, held.inr, held.volume, held.geometry) == ("lr", None, None, None)


def test_layers_of_others_carry_nothing() -> None:
    assert carried(Image(numbers((4, 5, 6)), metadata={"inr_volume": "someone else's"})) is None


def test_names_carry_the_psnr() -> None:
    assert layer_name("chest CT", "SRDenseNet", 37.86) == "chest CT [SRDenseNet 37.9 dB]"
    assert layer_name("chest CT", "LR fit") == "chest CT [LR fit]"


@pytest.mark.parametrize("value", [0, -1024, 3071, 1e-20, -1e29])
def test_volume_of_one_value_is_shown(value: float) -> None:
    volume = Volume.from_array(np.full((3, 4, 5), value, dtype=np.float64), units="raw")
    layer = to_layer(original_layer(volume, "flat"))
    low, high = layer.contrast_limits
    assert low <= value < high
    assert volume_of(layer) is volume


def test_voxels_that_do_not_fit_in_memory_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 999)
    assert new_voxels((4, 10, 10), np.int16).shape == (4, 10, 10)
    with pytest.raises(InrError, match=r"the whole volume, 5 x 10 x 10 int16, needs 1\.0 kB of memory"):
        new_voxels((5, 10, 10), np.int16)
