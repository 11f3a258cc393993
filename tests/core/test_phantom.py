"""The phantom is the head that demo, samples and tests share: it must look like one and stay as it is."""

from __future__ import annotations

import numpy as np
import pytest

from napari_inr_volume.core.errors import VolumeError
from napari_inr_volume.core.phantom import BOTTOM, FIELD_OF_VIEW, HEIGHT, PADDING, head_phantom
from napari_inr_volume.core.volume import Volume

SHAPE = (24, 96, 96)


@pytest.fixture(scope="module")
def head() -> Volume:
    return head_phantom(SHAPE)


def around(head: Volume, x: float, y: float, z: float, reach: int = 1) -> float:
    """Median HU of the voxels around a point of the patient (mm)."""
    at = np.linalg.solve(head.geometry.affine, [x, y, z, 1])[:3]
    box = tuple(slice(round(i) - reach, round(i) + reach + 1) for i in at)
    return float(np.median(head.voxels[box]))


def test_the_same_arguments_give_the_same_bytes(head: Volume) -> None:
    assert head_phantom(SHAPE).voxels.tobytes() == head.voxels.tobytes()


def test_another_seed_gives_another_brain(head: Volume) -> None:
    other = head_phantom(SHAPE, seed=1).voxels
    inside = (head.voxels > 0) & (head.voxels < 60)
    assert np.abs(other[inside].astype(float) - head.voxels[inside]).mean() > 2


def test_values_are_12_bit_hu_and_padding_lies_outside_them(head: Volume) -> None:
    assert head.voxels.dtype == np.int16
    assert head.units == "HU"
    assert head.padding == PADDING
    low, high = head.intensity_range
    assert -1024 <= low < -950
    assert 1500 < high <= 3071


def test_padding_is_what_lies_outside_the_scan_circle(head: Volume) -> None:
    padded = head.voxels == PADDING
    assert padded[:, [0, 0, -1, -1], [0, -1, 0, -1]].all()
    assert not padded[:, SHAPE[1] // 2].any()
    assert padded.mean() == pytest.approx(1 - np.pi / 4, abs=0.01)
    assert (padded == padded[0]).all()


@pytest.mark.parametrize(
    ("point", "low", "high"),
    [
        pytest.param((0, -120, 0), -1024, -980, id="air before the face"),
        pytest.param((18, 20, 40), 20, 45, id="white matter"),
        pytest.param((11, 4, 23), 0, 25, id="lateral ventricle"),
        pytest.param((25, -60, -60), -1024, -850, id="maxillary sinus"),
        pytest.param((33, -69, -27), 0, 45, id="vitreous body"),
        pytest.param((37, 4, -36), 1000, 3071, id="petrous bone"),
        pytest.param((20, 48, -88), 20, 80, id="muscle of the neck"),
    ],
)
def test_tissues_lie_where_they_should_with_their_hu(
    head: Volume, point: tuple[float, float, float], low: float, high: float
) -> None:
    assert low <= around(head, *point) <= high


def test_the_brain_is_enclosed_by_bone(head: Volume) -> None:
    z = SHAPE[0] // 2 + 2
    for line in (head.voxels[z, SHAPE[1] // 2], head.voxels[z, :, SHAPE[2] // 2]):
        bone = np.flatnonzero(line > 500)
        middle = len(line) // 2
        assert bone.min() < middle - 15
        assert bone.max() > middle + 15
        assert not ((bone > middle - 15) & (bone < middle + 15)).any()


def test_noise_is_correlated_in_the_plane_but_not_between_slices() -> None:
    air = head_phantom((16, 128, 128)).voxels[:, 44:80, 5:15].astype(float)  # beside the head

    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])

    assert correlation(air[:, :, 1:], air[:, :, :-1]) > 0.2
    assert abs(correlation(air[1:], air[:-1])) < 0.1


def test_every_shape_shows_the_same_head_in_the_same_place(head: Volume) -> None:
    coarse = head_phantom((12, 48, 48))
    halved = head.voxels.reshape(12, 2, 48, 2, 48, 2).mean(axis=(1, 3, 5))
    assert np.corrcoef(halved.ravel(), coarse.voxels.ravel())[0, 1] > 0.95
    for volume in (head, coarse):
        geometry = volume.geometry
        extent = np.array(geometry.spacing) * geometry.shape
        assert extent == pytest.approx([HEIGHT, FIELD_OF_VIEW, FIELD_OF_VIEW])
        corner = np.array(geometry.origin) - np.array(geometry.spacing[::-1]) / 2
        assert corner == pytest.approx([-FIELD_OF_VIEW / 2, -FIELD_OF_VIEW / 2, BOTTOM])


@pytest.mark.parametrize("shape", [(7, 64, 64), (16, 64, 4), (64, 64)], ids=str)
def test_a_shape_too_small_for_a_head_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(VolumeError, match="at least 8 voxels"):
        head_phantom(shape)
