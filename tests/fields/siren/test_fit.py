"""A fit gets better, can be stopped with what it has and resumed, and ends in words where it cannot go on."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

from napari_inr_volume.coding.weights import QUANTISED, decode_weights
from napari_inr_volume.core.errors import FitError
from napari_inr_volume.fields.base import FitResult
from napari_inr_volume.fields.grid import axis_coordinates
from napari_inr_volume.fields.psnr import measure_psnr
from napari_inr_volume.fields.samples import LrSamples
from napari_inr_volume.fields.siren import fit as fit_module
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.fields.siren.fit import fit, is_flat
from napari_inr_volume.fields.siren.fit_state import FitState
from napari_inr_volume.fields.siren.network import Siren
from napari_inr_volume.fields.state_file import load_state, save_state

pytestmark = pytest.mark.slow  # real fits, windows or processes

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


def run(
    samples: LrSamples,
    siren: SirenConfig = small,
    config: FitConfig = quick,
    *,
    resume: FitState | None = None,
    until: int | None = None,
) -> FitResult:
    """Fit to the end, or until it is stopped after a step."""
    stop = Event()
    steps = fit(samples, siren, config, CPU, stop, resume)
    while True:
        try:
            record = next(steps)
        except StopIteration as end:
            return end.value
        if record.step == until:
            stop.set()


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
    assert result.psnr == measure_psnr(result.field, samples)
    assert not result.stopped


def moved_lr(moves: np.ndarray) -> np.ndarray:
    """A smooth LR, each slice of which is moved along y by so much of half its length."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, length) for length in (len(moves), 24, 20)), indexing="ij")
    y = y + moves[:, None, None]
    return (1000 * np.exp(-4 * (0.2 * z**2 + y**2 + x**2)) + 200 * np.sin(6 * x) * y).astype(np.float32)


def test_slices_that_moved_are_found_and_fitted_better() -> None:
    moves = np.random.default_rng(1).uniform(-0.2, 0.2, 12)
    samples = samples_of(moved_lr(moves))
    config = FitConfig(steps=600, batch=512, learning_rate=3e-3, schedule="cosine", optimiser="muon")
    plain = run(samples, replace(small, hidden_features=16), config)
    shifted = run(samples, replace(small, hidden_features=16, shifts=True, slices=12), config)
    assert shifted.psnr > plain.psnr + 1
    found = shifted.field.weights()["shifts.weight"][:, 1]
    assert np.corrcoef(found, moves)[0, 1] > 0.6
    assert (
        len(shifted.payload) <= config.weight_bits * small.parameters / 8
    )  # shifts share the weights' bytes


def test_shifts_of_other_slices_than_the_lrs_are_refused() -> None:
    with pytest.raises(FitError, match="shifts for 5 slices, the LR has 6"):
        run(samples_of(smooth_lr()), replace(small, shifts=True, slices=5))


def test_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (
        run(samples_of(smooth_lr()), config=replace(quick, steps=20, seed=seed)).field.weights()
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
    assert records[0].seconds_left is None  # before a second record nothing is known
    assert all(record.seconds_left > 0 for record in records[1:])  # the last is before the look at the whole


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
    config = replace(quick, steps=300, learning_rate=0.03, schedule="constant", weight_bits=16)
    followed = []
    steps = fit(samples, small, config, CPU)
    while True:
        try:
            followed.append(next(steps).psnr)
        except StopIteration as end:
            result = end.value
            break
    assert result.psnr == pytest.approx(max(followed), abs=1e-3)  # rounding to 16 bits
    assert followed[-1] < max(followed)


def test_diverging_fit_ends_in_words() -> None:
    lr = smooth_lr()
    samples = samples_of(lr)
    samples.voxels[:] = torch.finfo(torch.float32).max  # the squared error of which is infinite
    with pytest.raises(FitError, match=r"diverged at step .* choose a smaller learning rate"):
        run(samples)


def test_out_of_memory_ends_in_words_with_the_batch() -> None:
    huge = replace(quick, batch=2**20, steps=1)
    samples = samples_of(smooth_lr())
    samples.at = lambda index: (torch.empty(2**60, dtype=torch.uint8), None)  # torch refuses this for real
    with pytest.raises(FitError, match="ran out of memory at batch 1,048,576; choose a smaller batch"):
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


# Resuming

CONFIGS = {
    "adam": replace(quick, steps=60),
    "adam, constant": replace(quick, steps=60, schedule="constant"),
    "muon": replace(quick, steps=60, optimiser="muon", learning_rate=2e-3),
    "mixed": replace(quick, steps=60, precision="mixed"),
    "muon, mixed": replace(quick, steps=60, optimiser="muon", precision="mixed"),
}


def same(first: FitResult, other: FitResult) -> bool:
    """Whether two fits came to the same network, to the bit, at the same step."""
    one, two = first.field.weights(), other.field.weights()
    return all(np.array_equal(one[name], two[name]) for name in one) and (first.steps, first.psnr) == (
        other.steps,
        other.psnr,
    )


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_stopped_and_resumed_gives_the_weights_of_a_fit_in_one_go(config: FitConfig, tmp_path: Path) -> None:
    whole = run(samples_of(smooth_lr()), config=config)
    part = run(samples_of(smooth_lr()), config=config, until=17)
    assert part.stopped
    assert part.state.step == 17
    assert not same(part, whole)
    save_state(part.state, tmp_path / "x.fit")
    resumed = run(samples_of(smooth_lr()), config=config, resume=load_state(tmp_path / "x.fit"))
    assert same(resumed, whole)
    assert not resumed.stopped
    assert resumed.state is None
    assert resumed.seconds > part.state.seconds


def test_a_fit_of_shifted_slices_resumes_to_the_same_weights(tmp_path: Path) -> None:
    siren, config = replace(small, shifts=True, slices=6), CONFIGS["muon, mixed"]
    whole = run(samples_of(smooth_lr()), siren, config)
    save_state(run(samples_of(smooth_lr()), siren, config, until=17).state, tmp_path / "x.fit")
    assert same(run(samples_of(smooth_lr()), siren, config, resume=load_state(tmp_path / "x.fit")), whole)
    assert np.abs(whole.field.weights()["shifts.weight"]).max() > 0


def test_resumed_after_every_few_steps_it_is_still_the_same(tmp_path: Path) -> None:
    config = CONFIGS["muon, mixed"]
    samples = samples_of(smooth_lr())
    state = None
    for until in (1, 2, 20, 21, 59):
        state = run(samples, config=config, resume=state, until=until).state
    assert same(run(samples, config=config, resume=state), run(samples, config=config))


def test_a_state_can_be_resumed_from_twice() -> None:
    """No step of the one that goes on from it changes it."""
    samples, config = samples_of(smooth_lr()), CONFIGS["muon"]
    state = run(samples, config=config, until=30).state
    first, again = (run(samples, config=config, resume=state) for _ in range(2))
    assert same(first, again)


def test_a_record_gives_the_state_while_the_fit_goes_on() -> None:
    samples, config = samples_of(smooth_lr()), CONFIGS["adam"]
    steps = fit(samples, small, config, CPU)
    state = next(record for record in steps if record.step == 25).state()
    for _ in steps:
        pass
    assert state.step == 25
    assert same(run(samples, config=config, resume=state), run(samples, config=config))


@pytest.mark.slow
def test_best_weights_from_before_the_interruption_are_kept() -> None:
    """The swinging fit of above, stopped once it is past its best."""
    samples = samples_of(smooth_lr())
    config = replace(quick, steps=300, learning_rate=0.03, schedule="constant", weight_bits=16)
    whole = run(samples, config=config)
    assert whole.steps < 299
    state = run(samples, config=config, until=299).state
    assert state.best_step == whole.steps
    assert same(run(samples, config=config, resume=state), whole)


def test_weights_that_only_the_stop_had_judged_do_not_count_in_the_fit_that_goes_on() -> None:
    """Else a fit that is stopped at a lucky step would come to other weights than one in one go."""
    part = run(samples_of(smooth_lr()), config=CONFIGS["adam"], until=17)  # followed at 25 for the first time
    assert part.steps == 17
    assert part.state.best_step == 0


def test_target_ends_a_resumed_fit_where_it_ends_a_whole_one() -> None:
    samples, config = samples_of(smooth_lr()), replace(quick, steps=5_000, target_psnr=25.0)
    state = run(samples, config=config, until=11).state
    assert same(run(samples, config=config, resume=state), run(samples, config=config))


def test_a_stop_as_soon_as_it_is_resumed_loses_nothing() -> None:
    samples, stop = samples_of(smooth_lr()), Event()
    stop.set()
    state = run(samples, until=20).state
    with pytest.raises(StopIteration) as end:
        next(fit(samples, small, quick, CPU, stop, state))
    again = end.value.value
    assert again.steps == 20
    assert same(run(samples, resume=again.state), run(samples))


@pytest.mark.parametrize(
    ("siren", "config", "words"),
    [
        (
            small,
            replace(quick, steps=100, seed=3),
            "steps was 150, now 100; seed was 0, now 3; give the same",
        ),
        (replace(small, layers=3), quick, "layers was 2, now 3"),
        (small, replace(quick, target_psnr=30.0), "target_psnr was None, now 30.0"),
    ],
    ids=["fit", "network", "target"],
)
def test_a_state_of_other_settings_is_refused(siren: SirenConfig, config: FitConfig, words: str) -> None:
    state = run(samples_of(smooth_lr()), until=3).state
    with pytest.raises(FitError, match=f"other settings: {words}"):
        run(samples_of(smooth_lr()), siren, config, resume=state)


def test_a_state_of_another_device_is_refused() -> None:
    state = replace(run(samples_of(smooth_lr()), until=3).state, device="cuda")
    with pytest.raises(FitError, match="device was cuda, now cpu"):
        run(samples_of(smooth_lr()), resume=state)


def changed(lr: np.ndarray) -> np.ndarray:
    lr = lr.copy()
    lr[2, 3, 4] += 50.0
    return lr


@pytest.mark.parametrize(
    "other",
    [
        samples_of(changed(smooth_lr())),
        samples_of(smooth_lr().reshape(6, 20, 16)),
        samples_of(smooth_lr(), counted=smooth_lr() > 0),
    ],
    ids=["one voxel", "shape", "padding"],
)
def test_a_state_of_another_volume_is_refused(other: LrSamples) -> None:
    state = run(samples_of(smooth_lr()), until=3).state
    with pytest.raises(FitError, match="of another volume"):
        run(other, resume=state)


@pytest.mark.parametrize("config", [quick, replace(quick, optimiser="muon", learning_rate=2e-3)])
def test_coded_weights_keep_within_their_bits_and_are_the_result(config: FitConfig) -> None:
    samples = samples_of(smooth_lr())
    result = run(samples, small, replace(config, steps=100, tuning_steps=50, weight_bits=4.0))
    assert len(result.payload) <= 4 * small.parameters / 8
    decoded = Siren.from_weights(small, decode_weights(result.payload, small.layouts, QUANTISED))
    assert measure_psnr(decoded, samples) == result.psnr
    assert result.steps > 100


def test_tuning_learns_back_what_rounding_loses() -> None:
    samples = samples_of(smooth_lr())
    config = replace(quick, weight_bits=3.0, learning_rate=2e-3, optimiser="muon")
    rounded = run(samples, small, replace(config, steps=150))
    tuned = run(samples, small, replace(config, steps=100, tuning_steps=50))
    assert tuned.psnr > rounded.psnr + 1


@pytest.mark.slow
def test_a_flat_curve_begins_the_tuning_early() -> None:
    samples = samples_of(smooth_lr())
    config = replace(quick, steps=1_000, tuning_steps=10, learning_rate=1e-7, least_gain=0.1)
    result = run(samples, small, config)
    assert result.steps <= 1_000 - 400
    assert not result.stopped
    whole = run(samples, small, replace(config, least_gain=None))
    assert whole.steps > 1_000 - 400


def test_a_curve_that_rests_while_the_rate_is_high_is_not_flat() -> None:
    rest = [(step, 25.0 + 1e-6 * step) for step in range(50, 500, 50)]
    config = replace(quick, steps=1_000, least_gain=0.02)
    assert not is_flat(rest, config)
    assert is_flat([*rest, (500, 25.0)], config)
    assert not is_flat([*rest, (500, 25.1)], config)
    assert not is_flat([*rest, (500, 25.0)], replace(config, least_gain=None))


def test_a_flat_curve_ends_a_fit_that_is_not_tuned() -> None:
    result = run(
        samples_of(smooth_lr()), small, replace(quick, steps=1_000, learning_rate=1e-7, least_gain=0.1)
    )
    assert not result.stopped
    assert result.steps < 600
