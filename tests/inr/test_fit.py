"""A fit gets better, can be stopped with what it has, and ends in words where it cannot go on."""

from __future__ import annotations

import math
from dataclasses import replace
from threading import Event

import numpy as np
import pytest
import torch

from napari_inr_volume.core.errors import FitError
from napari_inr_volume.inr import fit as fit_module
from napari_inr_volume.inr.config import FitConfig, SirenConfig
from napari_inr_volume.inr.fit import FitResult, LrSamples, fit, measure_psnr
from napari_inr_volume.inr.siren import Siren, axis_coordinates

CPU = torch.device("cpu")
small = SirenConfig(layers=2, hidden_features=32)
quick = FitConfig(steps=150, batch=512, learning_rate=3e-3, schedule="cosine")


@pytest.fixture(autouse=True)
def records_after_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_module, "SECONDS_PER_RECORD", 0.0)


def smooth_lr(shape: tuple[int, int, int] = (6, 16, 20)) -> np.ndarray:
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    return (1000 * np.exp(-3 * (z**2 + y**2 + x**2)) + 200 * np.sin(4 * x) - 300).astype(np.float32)


def samples_of(lr: np.ndarray, counted: np.ndarray | None = None) -> LrSamples:
    z, y, x = lr.shape
    return LrSamples(
        lr,
        hr_shape=(z, 4 * y, 4 * x),
        factor=(1.0, 4.0, 4.0),
        intensity_range=(float(lr.min()), float(lr.max())),
        device=CPU,
        counted=counted,
    )


def run(samples: LrSamples, siren: SirenConfig = small, config: FitConfig = quick) -> FitResult:
    steps = fit(samples, siren, config, CPU)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize(
    "config",
    [
        quick,
        replace(quick, schedule="constant"),
        replace(quick, optimiser="muon", learning_rate=2e-3),
        replace(quick, precision="mixed"),
    ],
    ids=["cosine", "constant", "muon", "mixed"],
)
def test_fit_learns_a_smooth_volume(config: FitConfig) -> None:
    samples = samples_of(smooth_lr())
    result = run(samples, config=config)
    assert result.psnr > 25  # it begins at 9
    assert result.psnr == measure_psnr(result.siren, samples)
    assert not result.stopped


def test_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (
        run(samples_of(smooth_lr()), config=replace(quick, steps=20, seed=seed)).siren.weights()
        for seed in (4, 4, 5)
    )
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["sine.1.weight"], other["sine.1.weight"])


def test_records_tell_step_quality_and_time() -> None:
    records = []
    steps = fit(samples_of(smooth_lr()), small, replace(quick, steps=60), CPU)
    while True:
        try:
            records.append(next(steps))
        except StopIteration:
            break
    assert [record.step for record in records] == list(range(1, 61))
    assert all(record.steps == 60 and math.isfinite(record.loss) for record in records)
    assert records[-1].psnr > records[0].psnr
    assert records[-1].seconds_left == 0
    assert records[29].seconds_left == pytest.approx(records[29].seconds)


def test_loss_is_the_mean_squared_error_of_the_batch() -> None:
    """One step from known weights, against the plain formula on the same voxels."""
    samples = samples_of(smooth_lr())
    config = replace(quick, steps=1, batch=300)
    record = next(fit(samples, small, config, CPU))
    index = torch.randint(len(samples), (300,), generator=torch.Generator().manual_seed(config.seed))
    coordinates, intensity = samples.at(index)
    expected = torch.nn.functional.mse_loss(Siren(small, seed=config.seed)(coordinates), intensity)
    assert record.loss == pytest.approx(expected.item(), rel=1e-5)


def test_stop_keeps_what_the_fit_has() -> None:
    samples, stop = samples_of(smooth_lr()), Event()
    steps = fit(samples, small, replace(quick, steps=100_000), CPU, stop)
    for record in steps:
        if record.step == 40:
            stop.set()
            break
    with pytest.raises(StopIteration) as end:
        next(steps)
    result = end.value.value
    assert result.stopped
    assert result.steps == 40
    assert result.psnr > measure_psnr(Siren(small, seed=quick.seed), samples) + 3


def test_stop_before_the_first_step_keeps_nothing() -> None:
    stop = Event()
    stop.set()
    with pytest.raises(StopIteration) as end:
        next(fit(samples_of(smooth_lr()), small, quick, CPU, stop))
    assert end.value.value.steps == 0


def test_target_ends_the_fit_once_the_whole_lr_reaches_it() -> None:
    result = run(samples_of(smooth_lr()), config=replace(quick, steps=5_000, target_psnr=25.0))
    assert result.psnr >= 25
    assert result.steps < 5_000
    assert not result.stopped


def test_best_weights_are_kept_when_the_fit_gets_worse_later() -> None:
    """At this constant rate the error swings; the result is the best that was followed, not the last."""
    samples = samples_of(smooth_lr())
    config = replace(quick, steps=300, learning_rate=0.01, schedule="constant")
    followed = []
    steps = fit(samples, small, config, CPU)
    while True:
        try:
            followed.append(next(steps).psnr)
        except StopIteration as end:
            result = end.value
            break
    assert result.psnr == pytest.approx(max(followed), abs=1e-6)
    assert followed[-1] < max(followed)


def test_diverging_fit_ends_in_words() -> None:
    lr = smooth_lr()
    samples = samples_of(lr)
    samples.intensity[:] = torch.finfo(torch.float32).max  # the squared error of which is infinite
    with pytest.raises(FitError, match=r"diverged at step .* choose a smaller learning rate"):
        run(samples)


def test_out_of_memory_ends_in_words_with_the_batch() -> None:
    huge = replace(quick, batch=2**24, steps=1)
    samples = samples_of(smooth_lr())
    samples.at = lambda index: (torch.empty(2**60, dtype=torch.uint8), None)  # torch refuses this for real
    with pytest.raises(FitError, match="ran out of memory at batch 16,777,216; choose a smaller batch"):
        run(samples, config=huge)


def test_other_failures_of_the_device_end_in_one_line() -> None:
    samples = samples_of(smooth_lr())
    samples.at = lambda index: torch.ones(2) @ torch.ones(3)
    with pytest.raises(FitError, match="the fit failed on cpu: inconsistent tensor size"):
        run(samples)


def test_samples_are_the_lrs_voxels_at_their_coordinates() -> None:
    lr = smooth_lr((3, 4, 5))
    samples = samples_of(lr)
    coordinates, intensity = samples.at(torch.tensor([0, 27, 59]))
    axes = [axis_coordinates(3, 1.0, 3), axis_coordinates(16, 4.0, 4), axis_coordinates(20, 4.0, 5)]
    for row, value, (z, y, x) in zip(coordinates, intensity, [(0, 0, 0), (1, 1, 2), (2, 3, 4)], strict=True):
        assert row.tolist() == [axes[0][z], axes[1][y], axes[2][x]]
        scaled = 2 * (lr[z, y, x] - lr.min()) / (lr.max() - lr.min()) - 1
        assert value.item() == pytest.approx(scaled, abs=1e-5)


def test_padding_does_not_count_in_the_psnr() -> None:
    lr = smooth_lr()
    counted = np.zeros(lr.shape, dtype=np.bool_)
    counted[:, 4:12, 5:15] = True
    siren = Siren(small)
    spoilt = lr.copy()
    spoilt[~counted] = lr.min()
    assert measure_psnr(siren, samples_of(lr, counted)) == measure_psnr(siren, samples_of(spoilt, counted))
    assert measure_psnr(siren, samples_of(lr)) != measure_psnr(siren, samples_of(spoilt))
