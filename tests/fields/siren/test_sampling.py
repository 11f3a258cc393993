"""Which voxels a step sees: any of the LR, spread evenly, or where there is most to fit."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_inr_volume.fields.registry import PRESETS
from napari_inr_volume.fields.samples import LrSamples
from napari_inr_volume.fields.siren import kernels_numba, kernels_torch
from napari_inr_volume.fields.siren import sampling as sampling_module
from napari_inr_volume.fields.siren.config import Sampling
from napari_inr_volume.fields.siren.sampling import Sampler, importance

CPU = torch.device("cpu")
LENGTHS = st.integers(1, 40)


def sampler(shape: tuple[int, int, int], batch: int, kind: Sampling, seed: int = 0) -> Sampler:
    return sampler_of(np.zeros(shape, np.float32), batch, kind, seed)


def sampler_of(lr: NDArray[np.float32], batch: int, kind: Sampling, seed: int = 0) -> Sampler:
    return Sampler(samples_of(lr), batch, kind, torch.Generator().manual_seed(seed))


def samples_of(lr: NDArray[np.float32]) -> LrSamples:
    return LrSamples(lr, lr.shape, (1.0, 1.0, 1.0), (-1.0, 1.0), CPU)


@given(
    shape=st.tuples(LENGTHS, LENGTHS, LENGTHS),
    batch=st.integers(1, 500),
    kind=st.sampled_from(get_args(Sampling)),
)
@settings(max_examples=60, deadline=None)
def test_a_batch_is_of_voxels_that_are_there(shape: tuple[int, int, int], batch: int, kind: Sampling) -> None:
    index, weight = sampler(shape, batch, kind).draw()
    assert (index.shape, index.dtype) == ((batch,), torch.int64)
    assert (weight.shape, weight.dtype) == ((batch,), torch.float32)
    assert weight.min() > 0
    assert 0 <= index.min() <= index.max() < shape[0] * shape[1] * shape[2]


@given(
    shares=st.lists(st.lists(st.integers(0, 5), min_size=7, max_size=7), min_size=1, max_size=4),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_compiled_or_not_the_same_voxel_is_found(shares: list[list[int]], data: st.DataObject) -> None:
    sums = np.cumsum(np.array(shares), axis=1)
    sums[:, -1] += 1
    table = torch.from_numpy((sums / sums[:, -1:]).astype(np.float32))
    points = data.draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1 / 3, 0.999]), min_size=1, max_size=20))
    rows = data.draw(st.lists(st.integers(0, len(table) - 1), min_size=len(points), max_size=len(points)))
    plain, compiled = torch.tensor(rows), torch.tensor(rows)
    chances = torch.full((2, len(points)), 3.0)
    kernels_torch.find(table, torch.tensor(points), plain, chances[0])
    kernels_numba.find(table.numpy(), np.array(points, np.float32), compiled.numpy(), chances[1].numpy())
    assert compiled.tolist() == plain.tolist()
    steps = np.diff(table.numpy(), axis=1, prepend=np.float32(0)).ravel()
    assert chances[0].tolist() == chances[1].tolist() == (3 * steps[compiled.numpy()]).tolist()


@pytest.mark.parametrize("kind", get_args(Sampling))
def test_every_voxel_of_a_flat_lr_is_as_likely_as_any_other(kind: Sampling) -> None:
    shape, draws = (3, 4, 5), sampler((3, 4, 5), 600, kind)
    counts = sum(torch.bincount(draws.draw()[0], minlength=60) for _ in range(200))
    assert counts.sum() == 200 * 600
    assert len(counts) == shape[0] * shape[1] * shape[2]
    assert counts.min() > 1_850  # of 2,000
    assert counts.max() < 2_150


def eighths(index: torch.Tensor) -> torch.Tensor:
    """Return how many voxels of a 16 x 16 x 16 LR lie in each eighth of it."""
    z, y, x = index // 256, index // 16 % 16, index % 16
    return torch.bincount((z // 8) * 4 + (y // 8) * 2 + x // 8, minlength=8)


def test_a_lattice_is_spread_more_evenly_than_chance_has_it() -> None:
    uneven = {}
    for kind in get_args(Sampling):
        draws = sampler((16, 16, 16), 2_048, kind)
        uneven[kind] = max(float((eighths(draws.draw()[0]) - 256).abs().max()) for _ in range(20))
    assert 2 * uneven["lattice"] < uneven["random"]
    assert 2 * uneven["deviation"] < uneven["random"]


@given(shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_voxels_are_drawn_in_proportion_to_their_importance(shape: tuple[int, int, int], seed: int) -> None:
    lr = np.random.default_rng(seed).choice([-1, -0.9, 0.8], shape).astype(np.float32)
    draws = sampler_of(lr, 20_000, "deviation")
    counts = sum(torch.bincount(draws.draw()[0], minlength=lr.size) for _ in range(10)).numpy()
    expected = importance(samples_of(lr)).ravel() / importance(samples_of(lr)).sum()
    np.testing.assert_allclose(counts / counts.sum(), expected, atol=0.15 * expected.max())


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    kind=st.sampled_from(get_args(Sampling)),
    most=st.sampled_from([5, 80, 1_000]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_weighted_means_are_those_of_the_lr_however_it_is_sampled(
    shape: tuple[int, int, int], kind: Sampling, most: int, seed: int
) -> None:
    lr = np.random.default_rng(seed).choice([-1, -0.9, 0.8], shape).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling_module, "MOST_SHARES", most)
        draws = sampler_of(lr, 20_000, kind)
    found = torch.zeros(lr.size)
    for _ in range(10):
        index, weight = draws.draw()
        found += torch.bincount(index, weight, minlength=lr.size) * lr.size / (10 * len(index))
    rare = 20_000 * 10 / lr.size * importance(samples_of(lr)).min() / importance(samples_of(lr)).mean()
    np.testing.assert_allclose(found, 1.0, atol=6 / np.sqrt(rare))


@pytest.fixture
def of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of the shares of an LR of 4 x 6 x 10 may be kept."""
    monkeypatch.setattr(sampling_module, "MOST_SHARES", 80)


@pytest.mark.usefixtures("of_runs")
def test_of_a_large_lr_runs_are_drawn_by_their_importance_and_all_voxels_of_one_alike() -> None:
    lr = np.random.default_rng(0).choice([-1, -0.9, 0.8], (4, 6, 10)).astype(np.float32)
    draws, runs = sampler_of(lr, 20_000, "deviation"), importance(samples_of(lr))
    assert runs.shape == (4, 6, 4)  # runs of 3, 3, 3 and 1
    counts = sum(torch.bincount(draws.draw()[0], minlength=lr.size) for _ in range(10)).numpy()
    expected = np.repeat(runs, 3, axis=2)[:, :, :10]
    found = counts.reshape(lr.shape) / counts.sum()
    np.testing.assert_allclose(found, expected / expected.sum(), atol=0.15 * found.max())


@pytest.mark.usefixtures("of_runs")
def test_boxes_of_a_large_lr_have_tables_no_finer_than_the_whole() -> None:
    whole = samples_of(np.zeros((4, 6, 10), np.float32))
    half = (slice(None), slice(None), slice(0, 5))
    part = whole.part(half, [axis[at] for axis, at in zip(whole.axes, half, strict=True)])
    assert importance(part).shape == (4, 6, 2)


def test_what_changes_is_more_important_than_what_is_flat_which_still_counts() -> None:
    lr = np.zeros((4, 8, 20), np.float32)
    lr[:, :, 10:] = 0.5
    found = importance(samples_of(lr))
    assert found.shape == lr.shape
    assert (found > 0).all()
    flat, edge = np.delete(found, [9, 10], axis=2), found[:, :, 9:11]
    assert flat.max() < edge.min()


@pytest.mark.parametrize("value", [-1.0, 0.3])
def test_a_flat_lr_is_as_important_everywhere(value: float) -> None:
    found = importance(samples_of(np.full((3, 4, 5), value, np.float32)))
    assert found.min() == found.max() > 0


def test_the_paper_s_presets_draw_at_random_and_ours_where_there_is_most_to_fit() -> None:
    found = {name: settings.fit.sampling for name, settings in PRESETS.items()}
    assert found == {name: "random" if name.startswith("paper") else "deviation" for name in PRESETS}


@pytest.mark.parametrize("kind", get_args(Sampling))
def test_draws_differ_and_come_again_with_the_generator(kind: Sampling) -> None:
    first, again = (sampler((30, 40, 50), 100, kind, seed=4) for _ in range(2))
    drawn = [first.draw() for _ in range(3)]
    assert not torch.equal(drawn[0][0], drawn[1][0])
    for index, weight in drawn:
        index_again, weight_again = again.draw()
        assert torch.equal(index, index_again)
        assert torch.equal(weight, weight_again)
