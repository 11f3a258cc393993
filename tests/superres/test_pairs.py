"""Patches to learn from: LR and HR lie over each other, and the same number gives the same batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_inr_volume.core.errors import TrainingError
from napari_inr_volume.core.resample import resample_plane
from napari_inr_volume.superres.pairs import Kind, Pair, PatchConfig, Patches
from napari_inr_volume.superres.upscale import LanczosUpscaler

QUIET = PatchConfig(batch=4, patch=8, noise=0.0, window_share=0.0, decoded_share=0.0)


def lr_slices(count: int = 3, height: int = 17, width: int = 20, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((count, height, width), dtype=np.float32) * 100


def pair_of(lr: NDArray[np.float32], kind: Kind = "clean", **others: Any) -> Pair:
    """A pair whose HR is exactly the Lanczos x4 of its LR."""
    shape = (4 * lr.shape[1] - 1, 4 * lr.shape[2] - 3)  # the LR hangs over the end
    hr = LanczosUpscaler((4.0, 4.0))(lr, shape)
    return Pair(volume="head", kind=kind, hr=hr, lr=lr, window=others.get("window", (-200.0, 300.0)))


@given(seed=st.integers(0, 2**32), number=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_an_hr_that_is_the_lanczos_of_its_lr_leaves_nothing_to_learn(seed: int, number: int) -> None:
    lr, wanted = Patches([pair_of(lr_slices())], QUIET, 4, seed).batch(number)
    assert lr.shape == (4, 1, 8, 8)
    assert wanted.shape == (4, 1, 32, 32)
    assert lr.std() > 0.01
    torch.testing.assert_close(wanted, torch.zeros_like(wanted), rtol=0, atol=2e-6)


def test_what_is_wanted_is_hr_minus_lanczos() -> None:
    pair = pair_of(lr_slices())
    brighter = Pair(volume="head", kind="clean", hr=pair.hr + 50, lr=pair.lr, window=pair.window)
    _, wanted = Patches([brighter], QUIET, 4, seed=0).batch(0)
    torch.testing.assert_close(wanted, torch.full_like(wanted, 50 / 500), rtol=0, atol=2e-6)


def test_a_batch_is_settled_by_seed_and_number() -> None:
    config = PatchConfig(batch=3, patch=8)
    pairs = [pair_of(lr_slices()), pair_of(lr_slices(seed=1), "decoded"), pair_of(lr_slices(), "window")]
    first, again = Patches(pairs, config, 4, seed=5), Patches(pairs, config, 4, seed=5)
    again.batch(3)
    assert torch.equal(first.batch(7)[0], again.batch(7)[0])
    assert torch.equal(first.batch(7)[1], again.batch(7)[1])
    assert not torch.equal(first.batch(7)[0], first.batch(8)[0])
    assert not torch.equal(first.batch(7)[0], Patches(pairs, config, 4, seed=6).batch(7)[0])


def test_hr_is_clipped_to_the_window_that_scales_it() -> None:
    lr = lr_slices()
    hr = np.random.default_rng(1).integers(-1000, 2000, (3, 68, 80)).astype(np.int16)
    pair = Pair(volume="head", kind="clean", hr=hr, lr=lr, window=(0.0, 100.0))
    lr_patch, wanted = Patches([pair], QUIET, 4, seed=0).batch(0)
    assert 0 <= lr_patch.min() <= lr_patch.max() <= 1
    assert wanted.abs().max() < 1.5  # HR in [0, 1], Lanczos little beyond


def test_shares_choose_between_clean_windows_and_decoded() -> None:
    levels = {"clean": 10.0, "window": 20.0, "decoded": 40.0}
    pairs = [pair_of(lr_slices() * 0.01 + level, kind) for kind, level in levels.items()]  # type: ignore[arg-type]
    for shares, expected in (((0.0, 0.0), "clean"), ((1.0, 0.0), "window"), ((0.5, 1.0), "decoded")):
        config = PatchConfig(batch=8, patch=8, noise=0.0, window_share=shares[0], decoded_share=shares[1])
        lr, _ = Patches(pairs, config, 4, seed=0).batch(0)
        assert torch.all((lr * 500 - 200 - levels[expected]).abs() < 2), expected


def test_without_decoded_pairs_clean_ones_take_their_place() -> None:
    config = PatchConfig(batch=2, patch=8, decoded_share=1.0, window_share=1.0)
    assert Patches([pair_of(lr_slices())], config, 4, seed=0).batch(0)[0].shape == (2, 1, 8, 8)


def test_empty_air_is_drawn_again() -> None:
    lr = np.zeros((1, 60, 60), dtype=np.float32)
    lr[:, :30, :30] = lr_slices(1, 30, 30)  # a quarter of the slice
    lr_patches, _ = Patches([pair_of(lr)], replace(QUIET, batch=64), 4, seed=0).batch(0)
    textured = lr_patches.std(dim=(1, 2, 3)) > 0.005
    assert textured.float().mean() > 0.6  # a third of all places are


def test_the_lr_of_another_scan_is_its_own_lanczos() -> None:
    hr = np.random.default_rng(2).normal(300, 40, (2, 128, 160)).astype(np.int16)
    pair = Pair(volume="head", kind="clean", hr=hr, lr=lr_slices(2, 32, 40), window=(0.0, 600.0))
    config = replace(QUIET, batch=32, scan_share=1.0)
    lr, wanted = Patches([pair], config, 4, seed=0).batch(0)
    scanned = LanczosUpscaler((4.0, 4.0))(lr[:, 0].numpy(), (32, 32)) + wanted[:, 0].numpy()
    inner = (slice(None), slice(12, 20), slice(12, 20))  # as far from the patch's edges as the kernel reaches
    assert not np.allclose(lr.std(), (pair.lr / 600).std(), rtol=0.2)  # it is not that of the volume
    for patch, found in zip(scanned, lr[:, 0].numpy(), strict=True):
        again = resample_plane(patch, (8, 8), (4.0, 4.0))
        assert np.abs(again - found)[3:5, 3:5].max() < 2e-3
    detail = scanned[inner].std(axis=(1, 2))
    assert detail.min() < 0.04 < 0.09 < detail.max()  # blurred, and sharpened


def test_decoded_lr_is_never_that_of_another_scan() -> None:
    pairs = [pair_of(lr_slices(3, 24, 24)), pair_of(lr_slices(3, 24, 24), "decoded")]
    config = replace(QUIET, scan_share=1.0, decoded_share=1.0)
    _, wanted = Patches(pairs, config, 4, seed=0).batch(0)
    assert wanted.abs().max() < 1e-5


def test_noise_is_added_to_lr_only_and_never_to_decoded_lr() -> None:
    clean, decoded = pair_of(lr_slices()), pair_of(lr_slices(), "decoded")
    loud = PatchConfig(batch=4, patch=8, noise=0.1, window_share=0.0, decoded_share=0.0)
    _, wanted = Patches([clean], loud, 4, seed=0).batch(0)
    assert wanted.std() > 0.005
    every = PatchConfig(batch=4, patch=8, noise=0.1, window_share=0.0, decoded_share=1.0)
    _, wanted = Patches([clean, decoded], every, 4, seed=0).batch(0)
    assert wanted.std() < 1e-5


def test_a_volume_too_small_for_the_patches_is_named_with_its_size() -> None:
    with pytest.raises(TrainingError, match=r"head has slices of 39 x 77 voxels.*need 56 x 56: leave it out"):
        Patches([pair_of(lr_slices(1, 10, 20))], QUIET, 4, seed=0)


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(TrainingError, match="give at least one volume"):
        Patches([], QUIET, 4, seed=0)


@pytest.mark.parametrize(
    "settings", [{"batch": 0}, {"patch": 7}, {"decoded_share": 1.5}, {"window_share": -0.1}, {"noise": 2.0}]
)
def test_a_setting_that_cannot_work_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match=r"must be|are shares|is a share"):
        PatchConfig(**settings)
