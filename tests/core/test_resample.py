"""Lanczos resampling against Pillow, against what it must keep, and against what it must remove."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from napari_inr_volume.core.resample import downsample, downsampled, lanczos_weights, lr_shape, resample_plane

lengths = st.integers(1, 70)
factors = st.floats(1.0, 9.0)


def by_pillow(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(plane).resize(shape[::-1], Image.Resampling.LANCZOS))


@pytest.mark.parametrize(
    ("length", "out"),
    [(64, 16), (63, 16), (50, 13), (16, 64), (7, 31), (33, 33), (5, 1), (1, 4)],
    ids=lambda value: str(value),
)
@pytest.mark.parametrize("axis", [0, 1], ids=["along y", "along x"])
def test_one_axis_equals_pillow_lanczos(length: int, out: int, axis: int) -> None:
    shape = [9, 9]
    shape[axis] = length
    plane = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    target = list(plane.shape)
    target[axis] = out
    scale = [1.0, 1.0]
    scale[axis] = length / out
    ours = resample_plane(plane, tuple(target), tuple(scale))
    np.testing.assert_allclose(ours, by_pillow(plane, tuple(target)), atol=2e-6)


def test_z_is_resampled_as_x_and_y_are() -> None:
    volume = np.random.default_rng(1).normal(size=(23, 22, 21)).astype(np.float32)
    turned = np.ascontiguousarray(volume.transpose(2, 0, 1))
    lr = downsample(lambda z: volume[z], volume.shape, (4.0, 3.0, 2.5))
    lr_turned = downsample(lambda z: turned[z], turned.shape, (2.5, 4.0, 3.0))
    np.testing.assert_allclose(lr, lr_turned.transpose(1, 2, 0), atol=1e-6)


@given(length=lengths, factor=factors, value=st.floats(-3000, 3000))
def test_flat_volume_keeps_its_hu_up_to_the_border(length: int, factor: float, value: float) -> None:
    flat = np.full((2, length, length), value, dtype=np.float32)
    lr = downsample(lambda z: flat[z], flat.shape, (1.0, factor, factor))
    np.testing.assert_allclose(lr, value, rtol=1e-5, atol=1e-3)


@given(length=lengths, factor=factors)
def test_rows_of_weights_sum_to_one(length: int, factor: float) -> None:
    out = lr_shape((length, 1, 1), (factor, 1.0, 1.0))[0]
    weights = lanczos_weights(length, out, factor)
    assert weights.shape == (out, length)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("factor", [2.0, 4.0, 5.0])
def test_linear_ramp_stays_the_ramp_away_from_the_border(factor: float) -> None:
    ramp = np.arange(120, dtype=np.float32)
    count = lr_shape((120, 1, 1), (factor, 1, 1))[0]
    lr = lanczos_weights(120, count, factor) @ ramp
    centres = (np.arange(count) + 0.5) * factor - 0.5
    np.testing.assert_allclose(lr[3:-3], centres[3:-3], atol=1e-4)


def test_band_limited_signal_survives_down_and_up() -> None:
    position = np.arange(256)
    signal = np.cos(2 * np.pi * 5 * (position + 0.5) / 256).astype(np.float32)  # 51 voxels a period
    lr = lanczos_weights(256, 64, 4.0) @ signal
    again = lanczos_weights(64, 256, 0.25) @ lr
    np.testing.assert_allclose(again[16:-16], signal[16:-16], atol=0.02)


def test_detail_finer_than_the_lr_is_removed_not_folded_back() -> None:
    position = np.arange(256)
    fine = np.cos(np.pi * 0.8 * position).astype(np.float32)  # 2.5 voxels a period; the LR holds 8 and more
    lr = lanczos_weights(256, 64, 4.0) @ fine
    assert np.abs(lr[4:-4]).max() < 0.01


@given(length=lengths, factor=factors)
def test_mirrored_volume_gives_the_mirrored_lr_where_the_factor_divides(length: int, factor: float) -> None:
    whole = max(1, round(factor))
    signal = np.random.default_rng(length).normal(size=length * whole).astype(np.float32)
    weights = lanczos_weights(len(signal), length, whole)
    np.testing.assert_allclose(weights @ signal[::-1], (weights @ signal)[::-1], atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "factor", "expected"),
    [
        ((463, 512, 512), (4.0, 4.0, 4.0), (116, 128, 128)),
        ((98, 512, 512), (1.0, 4.0, 4.0), (98, 128, 128)),
        ((114, 215, 252), (1.0, 4.0, 4.0), (114, 54, 63)),
        ((3, 3, 3), (64.0, 64.0, 64.0), (1, 1, 1)),
    ],
)
def test_lr_covers_the_whole_volume(shape: tuple, factor: tuple, expected: tuple) -> None:
    assert lr_shape(shape, factor) == expected


def test_voxel_centres_align_where_the_lr_hangs_over_the_end() -> None:
    """A blob at HR position 25.5 lies at LR position 6: (6 + 0.5) * 4 - 0.5."""
    position = np.arange(54)
    blob = np.exp(-(((position - 25.5) / 5.0) ** 2)).astype(np.float32)
    lr = lanczos_weights(54, 14, 4.0) @ blob
    centre = float((lr * np.arange(14)).sum() / lr.sum())
    assert abs(centre - 6.0) < 0.01


def test_read_slice_is_asked_for_every_slice_once() -> None:
    asked = []

    def read_slice(z: int) -> np.ndarray:
        asked.append(z)
        return np.zeros((8, 8), dtype=np.float32)

    downsample(read_slice, (5, 8, 8), (2.0, 2.0, 2.0))
    assert asked == [0, 1, 2, 3, 4]


def test_lr_slices_come_before_all_slices_are_read() -> None:
    volume = np.random.default_rng(0).normal(size=(40, 8, 9)).astype(np.float32)
    asked = []

    def read_slice(z: int) -> NDArray[np.float32]:
        asked.append(z)
        return volume[z]

    coming = downsampled(read_slice, volume.shape, (2.0, 2.0, 2.0))
    first = next(coming)
    assert asked == list(range(7))  # those that three lobes reach
    lr = np.stack([first, *coming])
    assert asked == list(range(40))
    in_plane = downsample(lambda z: volume[z], volume.shape, (1.0, 2.0, 2.0))
    along_z = lanczos_weights(40, 20, 2.0) @ in_plane.reshape(40, -1)
    assert np.array_equal(lr, along_z.reshape(lr.shape))
