"""Fits in the background: what they report, how they are stopped, resumed and kept, what is left behind."""

from __future__ import annotations

import gc
import time
import weakref
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import torch
from small_fits import ENDLESS, SMALL

from napari_inr_volume import codec, compress
from napari_inr_volume.core.errors import FitError, InrError
from napari_inr_volume.core.lowres import LowResOf, low_res
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.core.windows import find_window
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren import fit as fit_module
from napari_inr_volume.fields.siren.network import Siren
from napari_inr_volume.plugin import kept_fits, unsaved
from napari_inr_volume.plugin.job import Cancelled, Control, Done, Job
from napari_inr_volume.plugin.work import measure as measure_module
from napari_inr_volume.plugin.work.fit import FitReport, Fitted, fit
from napari_inr_volume.plugin.work.forecast import probe
from napari_inr_volume.plugin.work.measure import (
    Decoding,
    FiguresSoFar,
    FitMeasured,
    LrSlice,
    measure_fit,
)
from napari_inr_volume.plugin.work.reconstruct import reconstruct
from napari_inr_volume.reader import Reader
from napari_inr_volume.session import Request

pytestmark = pytest.mark.slow  # real fits, windows or processes


def options(volume: Volume) -> dict:
    return {"device": "cpu", "upscaler": "lanczos", "window": find_window("full", volume)}


def request(volume: Volume, settings: Settings) -> Request:
    return Request(settings=settings, **options(volume))


def run_fit(volume: Volume, settings: Settings, control: Control | None = None, **more: object) -> Fitted:
    """Fit, and return the network that was reported."""
    control, found = control or Control(), []
    hear = control.report

    def report(record: object) -> None:
        if isinstance(record, Fitted):
            found.append(record)
        hear(record)

    control.report = report
    fit(control, volume, request(volume, settings), **more)
    (fitted,) = found
    return fitted


def measured(volume: Volume, decoding: Decoding, control: Control | None = None) -> FitMeasured | None:
    """Measure a fit, with an LR to be filled."""
    lr = np.full(decoding.reader.inr.lr_shape, np.nan, np.float32)
    found = measure_fit(control or Control(), volume, decoding, lr, window=find_window("full", volume))
    np.testing.assert_array_equal(lr, decoding.reader.read(level="lr"))
    return found


def test_memory_running_out_in_a_fit_says_to_choose_a_smaller_batch(
    qtbot, job: Job, volume: Volume, monkeypatch
) -> None:
    def allocate(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(fit_module.Engine, "step", allocate)
    with qtbot.waitSignal(job.failed) as failed, qtbot.waitSignal(job.ended):
        job.start(fit, volume, request(volume, SMALL))
    assert failed.args == ["cpu ran out of memory at batch 256; choose a smaller batch or the CPU"]


def test_stopped_fit_can_be_measured(qtbot, job: Job, volume: Volume) -> None:
    found: list[Fitted] = []

    def stop_soon(record: object) -> None:
        if isinstance(record, FitReport):
            job.control.shown.set()
            job.stop()
        elif isinstance(record, Fitted):
            found.append(record)

    job.reported.connect(stop_soon)
    with qtbot.waitSignal(job.finished):
        job.start(fit, volume, request(volume, ENDLESS))
    (fitted,) = found
    assert 0 < fitted.inr.fit.steps < ENDLESS.fit.steps
    assert codec.decompress(fitted.inr, device="cpu").shape == volume.shape
    outcome = measured(volume, fitted.decoding)
    assert outcome.measured.lr.psnr == pytest.approx(outcome.inr.quality.lr_psnr, abs=1e-3)


def test_fit_reports_progress_and_then_a_network_that_is_not_measured_yet(volume: Volume) -> None:
    control, records = Control(), []
    control.report = records.append
    fitted = run_fit(volume, SMALL, control)
    assert [kind for kind, _ in groupby(map(type, records))] == [FitReport, Fitted]
    assert fitted.inr.quality is None
    assert fitted.decoding.reader.decoded == 0


# Measuring


def test_measuring_begins_at_the_slice_in_view_and_its_figures_come_in_by_slice(
    volume: Volume, monkeypatch
) -> None:
    monkeypatch.setattr(measure_module, "SECONDS_PER_FIGURES", 0.0)
    control, records = Control(), []
    control.z, control.report = 11, records.append
    fitted = run_fit(volume, SMALL)
    outcome = measured(volume, fitted.decoding, control)
    filled = [record.z for record in records if isinstance(record, LrSlice)]
    assert (filled[0], sorted(filled)) == (11, list(range(16)))
    assert [abs(z - 11) for z in filled] == sorted(abs(z - 11) for z in filled)
    so_far = [record.measured for record in records if isinstance(record, FiguresSoFar)]
    assert not any(found.complete for found in so_far)  # whoever sees all figures may go on
    first = so_far[0]
    assert list(np.flatnonzero(first.lanczos.compared)) == [11]
    assert first.lanczos.of_slice(11) == outcome.measured.lanczos.of_slice(11)
    assert first.lanczos.of_slice(10) is None
    assert outcome.measured.complete
    assert outcome.inr == compress(volume, SMALL, device="cpu", upscaler="lanczos")
    done = [record for record in records if isinstance(record, Done)]
    assert done[-1].done == done[-1].total == 2 * 16


def test_measuring_that_is_stopped_still_fills_the_lr(volume: Volume, monkeypatch) -> None:
    monkeypatch.setattr(measure_module, "SECONDS_PER_FIGURES", 0.0)
    control, records = Control(), []

    def hear(record: object) -> None:
        records.append(record)
        if isinstance(record, FiguresSoFar):
            control.stop.set()

    control.report = hear
    fitted = run_fit(volume, SMALL)
    assert measured(volume, fitted.decoding, control) is None
    last = [record for record in records if isinstance(record, FiguresSoFar)][-1].measured
    assert 0 < np.count_nonzero(last.lr.compared) < 16
    assert {record.z for record in records if isinstance(record, LrSlice)} == set(range(16))


def test_what_measuring_decoded_is_not_decoded_again_to_be_shown(volume: Volume) -> None:
    decoding = run_fit(volume, SMALL).decoding
    measured(volume, decoding)
    reader = decoding.reader.by(decoding.upscalers[0])
    before = reader.decoded
    assert before == 16
    voxels = np.zeros(volume.shape, dtype=decoding.reader.inr.dtype)
    reconstruct(
        Control(), volume, decoding, voxels, device="cpu", upscaler="lanczos", upscalers=decoding.upscalers
    )
    assert reader.decoded == before
    np.testing.assert_array_equal(voxels, codec.decompress(decoding.reader.inr, device="cpu").voxels)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), InrError("no"), RuntimeError("bug"), Cancelled()],
    ids=lambda error: type(error).__name__,
)
def test_fit_that_has_ended_is_kept_before_anything_can_go_wrong(
    volume: Volume, monkeypatch, tmp_path: Path, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(kept_fits, "FOLDER", tmp_path)
    monkeypatch.setattr(Reader, "planes", fail)
    fitted = run_fit(volume, SMALL, keep=True)
    with pytest.raises(type(error)):
        measured(volume, fitted.decoding)
    assert unsaved.find(kept_fits.identity(volume)) == fitted.inr


def test_kept_network_is_measured_as_if_it_had_just_been_fitted(
    volume: Volume, monkeypatch, tmp_path
) -> None:
    monkeypatch.setattr(kept_fits, "FOLDER", tmp_path)
    outcome = run_fit(volume, SMALL, keep=True)
    again = run_fit(volume, SMALL, resume=unsaved.find(kept_fits.identity(volume)))
    assert again.inr == outcome.inr
    assert measured(volume, again.decoding).inr == measured(volume, outcome.decoding).inr


def test_kept_network_lies_where_its_volume_lies_by_now(volume: Volume, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kept_fits, "FOLDER", tmp_path)
    outcome = run_fit(volume, SMALL, Control(), keep=True)
    moved = replace(volume, geometry=replace(volume.geometry, spacing=(9.0, 1.0, 1.0)), units="raw")
    again = run_fit(moved, SMALL, Control(), resume=unsaved.find(kept_fits.identity(moved)))
    assert again.inr.geometry == moved.geometry
    assert again.inr.units == "raw"
    assert again.inr.payload == outcome.inr.payload
    unsaved.forget(again.inr)
    assert unsaved.find(kept_fits.identity(volume)) is None


def test_folder_that_cannot_be_written_to_ends_no_fit(volume: Volume, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(kept_fits, "FOLDER", tmp_path / "file" / "fits")
    assert run_fit(volume, SMALL, Control(), keep=True).inr.fit.steps > 0


def test_stopped_fit_is_continued_to_the_network_of_one_in_one_go(volume: Volume, monkeypatch) -> None:
    monkeypatch.setattr(fit_module, "SECONDS_PER_RECORD", 0.0)
    whole = run_fit(volume, SMALL, Control())
    control, records = Control(), []

    def hear(record: object) -> None:
        records.append(record)
        if isinstance(record, FitReport):
            control.stop.set()

    control.report = hear
    run_fit(volume, SMALL, control)
    state = next(record for record in records if isinstance(record, Fitted)).state
    assert 0 < state.step < SMALL.fit.steps
    control, records[:] = Control(), []
    control.report = records.append
    continued = run_fit(volume, SMALL, control, resume=state)
    assert continued.inr == whole.inr
    assert next(record for record in records if isinstance(record, Fitted)).state is None


def test_a_second_fit_is_refused_while_one_is_running(volume: Volume) -> None:
    first, started = Control(), Event()
    first.report = lambda record: started.set()

    def run_until_dropped() -> None:
        with suppress(FitError, Cancelled):
            run_fit(volume, ENDLESS, first)

    thread = Thread(target=run_until_dropped)
    thread.start()
    assert started.wait(20)
    with pytest.raises(FitError, match="another fit is running"):
        run_fit(volume, SMALL, Control())
    first.drop.set()
    thread.join()
    assert run_fit(volume, SMALL, Control()).inr.fit.steps > 0


def test_dropped_fit_ends_at_once_even_while_the_whole_volume_is_measured(volume: Volume) -> None:
    control = Control()
    control.drop.set()
    samples = fit_module.LrSamples(
        low_res(volume, (1.0, 1.0, 1.0)).voxels,
        volume.shape,
        (1.0, 1.0, 1.0),
        volume.intensity_range,
        torch.device("cpu"),
        drop=control.drop,
    )
    with pytest.raises(FitError, match="cancelled"):
        fit_module.measure_psnr(Siren(SMALL.field), samples)


def test_paused_fit_stands_still_and_goes_on(volume: Volume) -> None:
    control, steps = Control(), []

    def hear(record: object) -> None:
        if isinstance(record, FitReport):
            steps.append(record.step)
            if len(steps) == 1:
                control.paused.set()

    control.report = hear
    thread = Thread(target=run_fit, args=(volume, ENDLESS, control))
    thread.start()
    control.paused.wait()  # pytest's timeout ends a hang, here and below
    time.sleep(0.4)  # several reports long
    paused_at = list(steps)
    control.paused.clear()
    while len(steps) < 3:
        time.sleep(0.01)
    control.stop.set()
    thread.join()
    assert len(paused_at) == 1
    assert len(steps) >= 3


# Reconstructions and probes


def test_reconstruction_goes_outwards_from_the_slice_in_view_and_equals_the_codec_s(volume: Volume) -> None:
    inr = compress(volume, SMALL, device="cpu", upscaler="lanczos")
    control, order = Control(), []
    control.z = 5
    control.report = lambda record: order.append(record) if isinstance(record, int) else None
    voxels = np.zeros(volume.shape, dtype=inr.dtype)
    decoding = Decoding(reader=Reader(inr, device="cpu"), upscalers=(), lrs=LowResOf(volume))
    result = reconstruct(control, volume, decoding, voxels, device="cpu", upscaler="lanczos")
    distances = [abs(z - 5) for z in order]
    assert sorted(order) == list(range(16))
    assert distances == sorted(distances)
    np.testing.assert_array_equal(voxels, codec.decompress(inr, device="cpu").voxels)
    assert result.name == "lanczos"


def test_probe_tells_a_speed_and_how_long_measuring_takes_and_can_be_dropped(volume: Volume) -> None:
    found = probe(Control(), volume, SMALL, device="cpu", upscaler="lanczos")
    assert found.speed > 0
    assert found.measuring > 0
    control = Control()
    control.drop.set()
    with pytest.raises(FitError, match="cancelled"):
        probe(control, volume, SMALL, device="cpu", upscaler="lanczos")


def test_a_volume_of_a_single_slice_has_its_measuring_predicted() -> None:
    volume = Volume.from_array(head_phantom((8, 64, 64)).voxels[4:5], units="HU")
    assert probe(Control(), volume, SMALL, device="cpu", upscaler="auto").measuring > 0


# Nothing is left behind


@pytest.mark.parametrize("way", ["done", "stopped", "dropped", "failed"])
def test_nothing_of_a_fit_is_kept_by_its_job(qtbot, volume: Volume, monkeypatch, way: str) -> None:
    networks: list[weakref.ref[Siren]] = []
    samples: list[weakref.ref[object]] = []
    make_siren, make_samples = Siren.__init__, fit_module.LrSamples.__init__

    def siren(self: Siren, *args: object, **kwargs: object) -> None:
        make_siren(self, *args, **kwargs)
        networks.append(weakref.ref(self))

    def lr_samples(self: object, *args: object, **kwargs: object) -> None:
        make_samples(self, *args, **kwargs)
        samples.append(weakref.ref(self))

    monkeypatch.setattr(Siren, "__init__", siren)
    monkeypatch.setattr(fit_module.LrSamples, "__init__", lr_samples)
    if way == "failed":
        monkeypatch.setattr(fit_module, "measure_psnr", lambda *_: float("nan"))
    own = Volume(voxels=volume.voxels.copy(), geometry=volume.geometry, padding=volume.padding)
    kept = weakref.ref(own)
    job = Job()
    if way in ("stopped", "dropped"):
        job.reported.connect(lambda _: job.stop() if way == "stopped" else job.drop())
    with qtbot.waitSignal(job.ended):
        job.start(fit, own, request(own, ENDLESS if way in ("stopped", "dropped") else SMALL))
    del own
    assert networks
    assert samples

    def all_gone() -> bool:
        gc.collect()
        return all(reference() is None for reference in [*networks, *samples, kept])

    qtbot.waitUntil(all_gone)
