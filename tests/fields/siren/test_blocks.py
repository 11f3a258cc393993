"""SIRENs in boxes: one field without seams, stopped, resumed, and the same however it is fitted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

from napari_inr_volume.coding.weights import QUANTISED
from napari_inr_volume.core.errors import FitError
from napari_inr_volume.fields.base import FitResult
from napari_inr_volume.fields.psnr import measure_psnr
from napari_inr_volume.fields.registry import find_kind
from napari_inr_volume.fields.samples import LrSamples
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren import fit as fit_module
from napari_inr_volume.fields.siren.blocks import Blocks
from napari_inr_volume.fields.siren.blocks_fit import fit_blocks, parts_of, with_cuts
from napari_inr_volume.fields.siren.blocks_state import BlocksState, from_bytes, to_bytes
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.fields.siren.network import Siren
from napari_inr_volume.fields.state_file import load_state, save_state

CPU = torch.device("cpu")
three = SirenConfig(layers=2, hidden_features=16, boxes=3)
quick = FitConfig(
    steps=60, tuning_steps=10, batch=256, learning_rate=3e-3, schedule="cosine", sampling="deviation"
)
BLOCKS = find_kind("blocks")


def shifting(slices: int) -> SirenConfig:
    return replace(three, shifts=True, slices=slices)


@pytest.fixture(autouse=True)
def records_after_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_module, "SECONDS_PER_RECORD", 0.0)


def samples(shape: tuple[int, int, int] = (6, 24, 30), counted: np.ndarray | None = None) -> LrSamples:
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    lr = (1000 * np.exp(-3 * (z**2 + y**2 + x**2)) + 200 * np.sin(4 * x) - 300).astype(np.float32)
    hr_shape = shape[0], 4 * shape[1], 4 * shape[2]
    intensity_range = float(lr.min()), float(lr.max())
    return LrSamples(lr, hr_shape, (1.0, 4.0, 4.0), intensity_range, CPU, counted)


def run(
    lr: LrSamples,
    config: FitConfig = quick,
    siren: SirenConfig = three,
    *,
    resume: BlocksState | None = None,
    until: int | None = None,
) -> FitResult:
    """Fit to the end, or until it is stopped once so many steps are done."""
    stop = Event()
    steps = fit_blocks(lr, siren, config, CPU, stop, resume)
    while True:
        try:
            record = next(steps)
        except StopIteration as end:
            return end.value
        if until is not None and record.step >= until:
            stop.set()


def drawn(boxes: int = 4) -> Blocks:
    """Return a field of random weights."""
    config = with_cuts(replace(three, boxes=boxes), samples())
    return Blocks(config, [Siren(config.of_a_box, seed) for seed in range(boxes)])


def test_a_field_is_the_same_at_points_and_on_a_grid() -> None:
    field, lr = drawn(), samples()
    grid = field.on_grid(*lr.axes)
    points = field.at(lr.at(torch.arange(len(lr)))[0])
    torch.testing.assert_close(points, grid.flatten(), atol=1e-5, rtol=0)


def test_slices_come_in_any_order_and_alone() -> None:
    field, (z, y, x) = drawn(), samples().axes
    whole = field.on_grid(z, y, x)
    torch.testing.assert_close(field.on_grid(z[[4, 1]], y, x[3:7]), whole[[4, 1], :, 3:7])


def test_where_all_networks_are_one_there_are_no_boxes_to_be_seen() -> None:
    lr = samples()
    config = with_cuts(three, lr)
    flat = Siren(config.of_a_box)
    with torch.no_grad():
        for parameter in flat.parameters():
            parameter.zero_()
        flat.linear.bias.fill_(0.25)
    field = Blocks(config, [flat] * 3)
    torch.testing.assert_close(field.on_grid(*lr.axes), torch.full((6, 24, 30), 0.25))


def test_each_box_is_fitted_to_its_voxels_and_those_around() -> None:
    lr = samples()
    config = with_cuts(three, lr)
    parts = parts_of(lr, config)
    assert sum(map(len, parts)) > len(lr)
    for part in parts:
        assert len(part) == np.prod(part.shape)
        assert all(-1 <= axis[0] < axis[-1] <= 1 for axis in part.axes)
    seen = torch.cat([part.intensity().flatten() for part in parts]).unique()
    torch.testing.assert_close(seen, lr.intensity().unique())


def test_a_box_of_padding_alone_is_fitted_too() -> None:
    counted = np.zeros((6, 24, 30), bool)
    counted[:, :, :6] = True
    parts = parts_of(samples(counted=counted), with_cuts(three, samples()))
    assert {part.count == len(part) for part in parts} == {True, False}


def test_a_fit_learns_a_volume_and_its_payload_is_its_field() -> None:
    lr = samples()
    result = run(lr)
    assert result.psnr > 20
    assert result.psnr == measure_psnr(result.field, lr)
    assert len(result.config.cuts) == 2
    loaded = BLOCKS.load(result.config, result.payload, QUANTISED, CPU)
    torch.testing.assert_close(loaded.on_grid(*lr.axes), result.field.on_grid(*lr.axes))


def test_records_tell_of_all_boxes() -> None:
    records = list(fit_blocks(samples(), three, quick, CPU))
    assert [record.step for record in records] == sorted(record.step for record in records)
    assert (records[-1].step, records[-1].steps) == (70, 70)
    assert 0 < records[-1].psnr < 100
    assert isinstance(records[0].field, Blocks)


def test_slices_that_moved_are_fitted_better_in_boxes_too() -> None:
    moves = np.random.default_rng(1).uniform(-0.2, 0.2, 20)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, length) for length in (20, 24, 20)), indexing="ij")
    y = y + moves[:, None, None]
    lr = (1000 * np.exp(-4 * (0.2 * z**2 + y**2 + x**2)) + 200 * np.sin(6 * x) * y).astype(np.float32)
    moved = LrSamples(lr, lr.shape, (1.0, 1.0, 1.0), (float(lr.min()), float(lr.max())), CPU)
    config = FitConfig(steps=600, batch=512, learning_rate=3e-3, schedule="cosine", optimiser="muon")
    plain, shifted = run(moved, config), run(moved, config, shifting(20))
    assert shifted.psnr > plain.psnr + 1
    assert len({network.slices for network in shifted.config.networks}) > 1  # a cut along z is among them
    loaded = find_kind("shifted-blocks").load(shifted.config, shifted.payload, QUANTISED, CPU)
    torch.testing.assert_close(loaded.on_grid(*moved.axes), shifted.field.on_grid(*moved.axes))


@pytest.mark.parametrize(("siren", "until"), [(three, 1), (three, 35), (three, 65), (shifting(6), 35)])
def test_stopped_and_resumed_it_is_the_fit_in_one_go(siren: SirenConfig, until: int, tmp_path: Path) -> None:
    whole, stopped = run(samples(), siren=siren), run(samples(), siren=siren, until=until)
    assert stopped.stopped
    assert stopped.state is not None
    save_state(stopped.state, tmp_path / "state")
    state = load_state(tmp_path / "state")
    assert isinstance(state, BlocksState)
    assert until <= state.step < 70
    assert run(samples(), siren=siren, resume=state).payload == whole.payload


def test_a_record_s_state_resumes_while_boxes_are_done() -> None:
    whole = run(samples())
    states = [record.state() for record in fit_blocks(samples(), three, quick, CPU)]
    late = from_bytes(to_bytes(states[-1]))
    assert run(samples(), resume=late).payload == whole.payload


def test_the_same_weights_whatever_is_fitted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    payloads = []
    for threads in (1, 2, 3):
        monkeypatch.setattr("napari_inr_volume.compute.threads.count", lambda threads=threads: threads)
        payloads.append(run(samples()).payload)
    assert payloads[0] == payloads[1] == payloads[2]


def test_a_state_of_other_settings_is_refused() -> None:
    state = run(samples(), until=5).state
    with pytest.raises(FitError, match="batch was 256, now 128"):
        run(samples(), replace(quick, batch=128), resume=state)
    with pytest.raises(FitError, match="of another volume"):
        run(samples((6, 24, 31)), resume=state)


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body[:-1],
        lambda body: body + b"0",
        lambda body: body[8:],
        lambda body: b"\xff" * 8 + body,
    ],
    ids=["cut off", "too long", "no length", "huge header"],
)
def test_a_damaged_state_is_refused(damage: object) -> None:
    state = run(samples(), until=5).state
    assert callable(damage)
    with pytest.raises(FitError):
        from_bytes(damage(to_bytes(state)))


def test_a_volume_too_small_for_its_boxes_is_refused_in_words() -> None:
    with pytest.raises(FitError, match="too few for 3 boxes"):
        run(samples((3, 4, 9)))


def test_boxes_are_an_option_like_others() -> None:
    siren = SirenConfig(layers=2, hidden_features=16)
    settings = Settings(field=siren, fit=quick)
    blocks = find_kind("siren").with_option(settings, "boxes", 3)
    assert (settings.field.kind, blocks.field.kind) == ("siren", "blocks")
    assert blocks.field.parameters == 3 * siren.parameters
    assert BLOCKS.with_option(blocks, "boxes", 1).field == siren


def test_a_state_whose_cuts_are_not_those_of_the_volume_is_refused() -> None:
    state = run(samples(), until=5).state
    assert isinstance(state, BlocksState)
    thin = replace(state.field, cuts=((0, 1), (0, 2)), margins=(1, 1, 1))  # boxes without a voxel
    with pytest.raises(FitError, match="of another volume"):
        run(samples(), resume=replace(state, field=thin))
