"""Metrics: hand-computed numbers, scikit-image's, and what padding may not change."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from napari_inr_volume.core.errors import VolumeError
from napari_inr_volume.core.metrics import compare_volumes, largest_error, psnr
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.core.windows import WINDOWS, Window


def head(shape: tuple[int, int, int] = (3, 20, 24), seed: int = 0) -> NDArray[np.int16]:
    """Random HU from -1000 to 1000, both of which occur."""
    voxels = np.random.default_rng(seed).integers(-1000, 1001, shape).astype(np.int16)
    voxels.flat[:2] = -1000, 1000
    return voxels


def noisy(voxels: NDArray[np.int16], sigma: float = 30.0) -> NDArray[np.int16]:
    noise = np.random.default_rng(1).normal(0, sigma, voxels.shape)
    return np.rint(voxels + noise).astype(np.int16)


def test_psnr_of_a_hundredth_of_the_peak_is_40_db() -> None:
    assert psnr(1.0, 100.0) == pytest.approx(40.0)


def test_psnr_without_error_is_infinite() -> None:
    assert psnr(0.0, 255.0) == math.inf


def test_figures_of_a_volume_small_enough_for_paper_and_pencil() -> None:
    original = Volume.from_array(np.array([[[0, 100]], [[198, 400]]], dtype=np.int16))
    found = compare_volumes(original, np.array([[[0, 110]], [[168, 400]]], dtype=np.int16))
    assert found.rmse == pytest.approx(math.sqrt((100 + 900) / 4))
    assert found.psnr == pytest.approx(10 * math.log10(400**2 / 250))
    assert found.max_error == 30
    assert found.p99 == pytest.approx(10 + 0.97 * 20)  # sorted 0, 0, 10, 30; position 2.97
    np.testing.assert_allclose(found.slices.rmse, [math.sqrt(50), math.sqrt(450)])
    np.testing.assert_allclose(found.slices.psnr, 10 * np.log10(400**2 / np.array([50, 450])))
    np.testing.assert_allclose(found.slices.max_error, [10, 30])
    np.testing.assert_allclose(found.slices.p99, [9.9, 29.7])
    # Grey levels, 255 / 400 a unit: 0, 63.75 -> 64, 126.2 -> 126, 255 and 0, 70.1 -> 70, 107.1 -> 107, 255.
    assert found.psnr_8bit == pytest.approx(10 * math.log10(255**2 / ((6**2 + 19**2) / 4)))


def test_psnr_is_that_of_scikit_image() -> None:
    voxels = head()
    found = compare_volumes(Volume.from_array(voxels), noisy(voxels))
    true, decoded = voxels.astype(float), noisy(voxels).astype(float)
    assert found.psnr == pytest.approx(peak_signal_noise_ratio(true, decoded, data_range=2000))
    for z in range(3):
        assert found.slices.psnr[z] == pytest.approx(
            peak_signal_noise_ratio(true[z], decoded[z], data_range=2000)
        )


def test_8bit_psnr_sees_only_what_its_window_shows() -> None:
    voxels = np.array([[[-1000, 20, 60, 1000]]], dtype=np.int16)
    decoded = np.array([[[-900, 20, 60, 800]]], dtype=np.int16)
    found = compare_volumes(Volume.from_array(voxels), decoded, WINDOWS["brain"])
    assert found.psnr_8bit == math.inf
    assert found.psnr < 30
    assert found.window is WINDOWS["brain"]


def test_8bit_psnr_is_that_of_the_grey_images() -> None:
    voxels, window = head(), Window("test", 0, 700)
    found = compare_volumes(Volume.from_array(voxels), noisy(voxels), window)
    expected = peak_signal_noise_ratio(window.to_8bit(voxels), window.to_8bit(noisy(voxels)), data_range=255)
    assert found.psnr_8bit == pytest.approx(expected)


def test_the_default_window_is_the_full_range() -> None:
    found = compare_volumes(Volume.from_array(head()), head())
    assert (found.window.name, found.window.limits) == ("full", (-1000, 1000))


def scikit_ssim_map(true: NDArray[np.int16], decoded: NDArray[np.int16]) -> NDArray[np.float32]:
    """SSIM of two slices whose range is -1000 to 1000, where its window fits into them."""
    _, full = structural_similarity(
        (true + np.float32(1000)) / np.float32(2000),  # SSIM is defined for intensities from 0 on
        (decoded + np.float32(1000)) / np.float32(2000),
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return full[5:-5, 5:-5]


@pytest.mark.parametrize("contrast", [1, 20], ids=["noise", "soft tissue"])
def test_ssim_is_that_of_scikit_image_slice_by_slice(contrast: int) -> None:
    voxels = head() // contrast
    voxels.flat[:2] = -1000, 1000
    decoded = noisy(voxels, 300 / contrast)
    found = compare_volumes(Volume.from_array(voxels), decoded)
    expected = [scikit_ssim_map(*planes).mean() for planes in zip(voxels, decoded, strict=True)]
    np.testing.assert_allclose(found.slices.ssim, expected, atol=1e-6)
    assert found.ssim == pytest.approx(np.mean(expected), abs=1e-6)


def test_ssim_counts_measured_voxels_only_and_sees_air_in_padding() -> None:
    voxels = head((1, 30, 30))
    decoded = noisy(voxels, 300)
    voxels[0, :, :9] = -3024
    found = compare_volumes(Volume.from_array(voxels, padding=-3024), decoded)
    voxels[0, :, :9] = decoded[0, :, :9] = -1000
    expected = scikit_ssim_map(voxels[0], decoded[0])[:, 4:].mean()
    assert found.ssim == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 2), (2, 10, 10), (2, 11, 10), (2, 3, 40)], ids=str)
def test_slices_smaller_than_the_ssim_window_have_an_ssim(shape: tuple[int, int, int]) -> None:
    voxels = head(shape)
    assert compare_volumes(Volume.from_array(voxels), voxels).ssim == pytest.approx(1.0)
    assert 0 < compare_volumes(Volume.from_array(voxels), noisy(voxels, 300)).ssim < 0.999


def test_identical_volumes_have_no_error_and_infinite_psnr() -> None:
    found = compare_volumes(Volume.from_array(head()), head())
    assert (found.psnr, found.psnr_8bit) == (math.inf, math.inf)
    assert (found.rmse, found.p99, found.max_error) == (0, 0, 0)
    assert found.ssim == pytest.approx(1.0)
    assert np.isinf(found.slices.psnr).all()


def test_what_is_decoded_in_padding_does_not_count() -> None:
    voxels = head((2, 30, 30))
    voxels[:, :, :9] = -3024
    original = Volume.from_array(voxels, padding=-3024)
    decoded = noisy(np.maximum(voxels, -1000))
    expected = compare_volumes(original, decoded)
    other = decoded.copy()
    other[:, :, :9] = 3000
    found = compare_volumes(original, other)
    assert found.psnr == expected.psnr == pytest.approx(10 * math.log10(2000**2 / 30**2), abs=0.5)
    assert (found.psnr_8bit, found.ssim, found.p99) == (expected.psnr_8bit, expected.ssim, expected.p99)
    np.testing.assert_array_equal(found.slices.rmse, expected.slices.rmse)


def test_figures_without_padding_are_those_of_the_measured_part() -> None:
    part = head((2, 30, 21))
    voxels = np.full((2, 30, 30), -3024, dtype=np.int16)
    voxels[:, :, 9:] = part
    decoded = np.zeros_like(voxels)
    decoded[:, :, 9:] = noisy(part)
    found = compare_volumes(Volume.from_array(voxels, padding=-3024), decoded)
    expected = compare_volumes(Volume.from_array(part), noisy(part))
    assert found.psnr == pytest.approx(expected.psnr)
    assert (found.p99, found.max_error) == (expected.p99, expected.max_error)


def test_a_slice_that_is_all_padding_has_no_figures_and_changes_none() -> None:
    voxels = np.concatenate([head(), np.full((1, 20, 24), -3024, dtype=np.int16)])
    decoded = np.concatenate([noisy(head()), np.zeros((1, 20, 24), dtype=np.int16)])
    found = compare_volumes(Volume.from_array(voxels, padding=-3024), decoded)
    expected = compare_volumes(Volume.from_array(head()), noisy(head()))
    for name in ("psnr", "psnr_8bit", "ssim", "rmse", "p99", "max_error"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name))
        assert np.isnan(getattr(found.slices, name)).tolist() == [False, False, False, True]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
def test_p99_is_numpys_for_every_type(dtype: type) -> None:
    voxels = (head() // 10 + 100).astype(dtype)
    decoded = (noisy(head()) // 10 + 100).clip(0, 255).astype(dtype)
    found = compare_volumes(Volume.from_array(voxels), decoded)
    errors = np.abs(decoded.astype(float) - voxels.astype(float))
    assert found.p99 == pytest.approx(np.percentile(errors, 99), rel=2e-5)


@given(st.lists(st.integers(0, 40), min_size=2, max_size=50), st.booleans())
@settings(max_examples=60, deadline=None)
def test_p99_of_integers_and_of_the_same_floats_agree(values: list[int], signed: bool) -> None:
    voxels = np.zeros((1, 1, len(values) + 1), dtype=np.int16 if signed else np.uint16)
    voxels[..., -1] = 1  # a constant volume is none
    decoded = voxels.copy()
    decoded[0, 0, :-1] += np.array(values, dtype=voxels.dtype)
    original = Volume.from_array(voxels)
    integers, floats = (
        compare_volumes(original, decoded),
        compare_volumes(original, decoded.astype(np.float32)),
    )
    assert integers.p99 == pytest.approx(floats.p99, rel=1e-6)
    assert integers.psnr == floats.psnr


@given(st.integers(0, 99), st.floats(1e-3, 1e6), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_p99_is_numpys_whatever_the_scale_and_the_order(seed: int, scale: float, slices: int) -> None:
    random = np.random.default_rng(seed)
    voxels = (scale * random.random((slices, 9, 11))).astype(np.float32)
    decoded = voxels + (scale * 0.1 * random.normal(size=voxels.shape)).astype(np.float32)
    found = compare_volumes(Volume.from_array(voxels), decoded)
    errors = np.abs(decoded.astype(float) - voxels.astype(float))
    assert found.p99 == pytest.approx(np.percentile(errors, 99), rel=1e-4)


def test_an_error_of_one_counts_whatever_the_range() -> None:
    voxels = np.array([[[-(2**31), 0, 0, 2**31 - 1]]], dtype=np.int32)
    found = compare_volumes(Volume.from_array(voxels), np.where(voxels == 0, 1, voxels))
    assert found.p99 == found.max_error == 1


def test_the_largest_errors_of_16_bits_are_counted() -> None:
    voxels = np.array([[[-32768, -32768, 32767]]], dtype=np.int16)
    decoded = np.array([[[65535, 65535, 32767]]], dtype=np.uint16)
    found = compare_volumes(Volume.from_array(voxels), decoded)
    assert found.p99 == found.max_error == 98_303


def test_progress_is_told_slice_by_slice() -> None:
    told: list[tuple[int, int]] = []
    compare_volumes(Volume.from_array(head()), head(), progress=lambda *done: told.append(done))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_another_shape_is_refused() -> None:
    with pytest.raises(
        VolumeError, match=r"equal shapes can be compared, got \(3, 20, 24\) and \(3, 20, 23\)"
    ):
        compare_volumes(Volume.from_array(head()), head()[..., :-1])


def test_nan_in_the_decoded_volume_is_refused_and_its_slice_named() -> None:
    decoded = head().astype(np.float32)
    decoded[1, 2, 3] = np.nan
    with pytest.raises(VolumeError, match="slice 1 of the decoded volume holds NaN"):
        compare_volumes(Volume.from_array(head()), decoded)


def test_the_largest_error_is_exact_at_the_ends_of_every_dtype() -> None:
    for dtype in (np.int8, np.uint16, np.int32, np.int64, np.uint64):
        ends = np.iinfo(dtype)
        first, second = np.array([[ends.min, ends.max]], dtype), np.array([[ends.min, ends.max - 1]], dtype)
        assert largest_error(first, second) == 1
        assert largest_error(second, first) == 1
    assert largest_error(np.zeros((2, 2), np.uint8), np.full((2, 2), -3.5, np.float32)) == 3.5
