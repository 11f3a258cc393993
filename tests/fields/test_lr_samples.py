"""The LR as a fit sees it: nothing of it is copied, and what a piece of it says is what the whole says."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_inr_volume.fields.samples import LrSamples

CPU = torch.device("cpu")
SHAPES = st.tuples(*[st.integers(1, 7)] * 3)
RANGE = (-100.0, 300.0)


def samples_of(lr: NDArray[np.float32], counted: NDArray[np.bool_] | None = None) -> LrSamples:
    return LrSamples(lr, lr.shape, (1.0, 1.0, 1.0), RANGE, CPU, counted)


def some(shape: tuple[int, int, int], seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    random = np.random.default_rng(seed)
    return random.uniform(*RANGE, shape).astype(np.float32), random.random(shape) < 0.4


def part_of(samples: LrSamples, region: tuple[slice, slice, slice]) -> LrSamples:
    return samples.part(region, [axis[at] for axis, at in zip(samples.axes, region, strict=True)])


REGION = (slice(1, 3), slice(2, 5), slice(0, 6))


def test_neither_the_lr_nor_a_part_of_it_is_copied() -> None:
    lr, counted = some((4, 6, 7))
    samples = samples_of(lr, counted)
    for one in (samples, part_of(samples, REGION)):
        assert np.shares_memory(one.voxels.numpy(), lr)
        one.intensity()
        one.at(torch.arange(5))
    assert np.array_equal(lr, some((4, 6, 7))[0])


def test_intensities_span_one_below_to_one_above_zero() -> None:
    lr = np.array([[[-100.0, 100.0, 300.0]]], np.float32)
    assert samples_of(lr).intensity().tolist() == [[[-1.0, 0.0, 1.0]]]
    assert samples_of(lr).at(torch.tensor([2, 0]))[1].tolist() == [1.0, -1.0]


@given(shape=SHAPES, seed=st.integers(0, 99))
def test_what_counts_is_found_by_rank_and_in_chunks(shape: tuple[int, int, int], seed: int) -> None:
    lr, counted = some(shape, seed)
    samples, expected = samples_of(lr, counted), np.flatnonzero(counted)
    assert samples.count == len(expected)
    ranks = torch.from_numpy(np.random.default_rng(seed).permutation(len(expected)))
    assert samples.counting(ranks).tolist() == expected[ranks.numpy()].tolist()
    found = torch.cat([torch.empty(0), *(intensity for _, intensity in samples.chunks())])
    torch.testing.assert_close(found, samples.intensity().flatten()[torch.from_numpy(expected)])


def test_a_part_has_the_voxels_of_its_region_and_what_counts_there() -> None:
    lr, counted = some((4, 6, 7))
    part = part_of(samples_of(lr, counted), REGION)
    assert part.shape == lr[REGION].shape
    assert part.count == np.count_nonzero(counted[REGION])
    coordinates, intensity = part.at(torch.arange(len(part)))
    torch.testing.assert_close(intensity, samples_of(np.ascontiguousarray(lr[REGION])).intensity().flatten())
    z, y, x = (axis.tolist() for axis in part.axes)
    assert coordinates[0].tolist() == [z[0], y[0], x[0]]
    assert coordinates[-1].tolist() == [z[-1], y[-1], x[-1]]


@pytest.mark.parametrize("padded", [False, True])
def test_what_is_sent_elsewhere_is_the_part_alone_and_the_same(padded: bool) -> None:
    lr, counted = some((60, 50, 40))
    part = part_of(samples_of(lr, counted if padded else None), REGION)
    sent = pickle.dumps(part.portable())
    assert len(sent) < lr.nbytes / 10
    assert pickle.loads(sent).digest() == part.digest()


def test_a_digest_tells_intensities_and_what_counts_apart() -> None:
    lr, counted = some((4, 6, 7))
    other = lr.copy()
    other[3, 5, 6] += 1
    found = {samples_of(*one).digest() for one in ((lr, None), (lr, counted), (lr, ~counted), (other, None))}
    assert len(found) == 4
