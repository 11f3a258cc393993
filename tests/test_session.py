"""The one way there, without window or terminal: targets, checkpoints, stopping, and what is yielded when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from napari_inr_volume import compress, load, planning, save, session
from napari_inr_volume.core.errors import FitError, InrError, VolumeError
from napari_inr_volume.core.generators import drain
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.base import FitProgress
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren import fit as fit_module
from napari_inr_volume.fields.siren import ladder
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.fields.siren.fit_state import FitState
from napari_inr_volume.fields.state_file import load_state, save_state
from napari_inr_volume.io.inr_file import to_bytes
from napari_inr_volume.reader import FieldGrid
from napari_inr_volume.session import Compressed, Fitted, Looking, NotKept, Planned, Record, Request, run
from napari_inr_volume.target import Target

SETTINGS = Settings(
    field=SirenConfig(layers=2, hidden_features=16), fit=FitConfig(steps=40, tuning_steps=8, batch=256)
)
REQUEST = Request(settings=SETTINGS, upscaler="lanczos", device="cpu")
# Of a target: factor, hidden features and bits are not said.
BASE = Settings(field=SirenConfig(layers=2), fit=FitConfig(steps=30, tuning_steps=8, batch=256))


@pytest.fixture(scope="module")
def volume() -> Volume:
    return head_phantom((8, 48, 48))


@pytest.fixture(autouse=True)
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a record of each step, and short looks at the volume."""
    monkeypatch.setattr(fit_module, "SECONDS_PER_RECORD", 0.0)
    monkeypatch.setattr(ladder, "PROBED_WIDTHS", (8, 16))
    monkeypatch.setattr(ladder, "PROBED_STEPS", 10)


def all_of(volume: Volume, request: Request = REQUEST, **options: Any) -> tuple[list[Record], Compressed]:
    """Run to the end; returns what was yielded and what was returned."""
    records: list[Record] = []
    return records, drain(run(volume, request, **options), records.append)


def kinds(records: list[Record]) -> list[str]:
    """Return what was yielded, each kind once in a row."""
    names = [type(record).__name__ for record in records]
    return [name for name, before in zip(names, [None, *names], strict=False) if name != before]


# What is yielded


def test_a_preset_is_fitted_saved_and_measured_in_this_order(volume: Volume) -> None:
    told: list[tuple[int, int]] = []
    records, compressed = all_of(volume, on_slices=lambda done, total: told.append((done, total)))
    assert kinds(records) == ["FitProgress", "Fitted", "Compressed"]
    assert records[-1] is compressed
    fitted = records[-2]
    assert isinstance(fitted, Fitted)
    assert (fitted.inr.quality, fitted.stopped, fitted.model_bytes) == (None, False, 0)
    assert compressed.inr == replace(fitted.inr, quality=compressed.measured.quality)
    assert compressed.missed is None
    assert told[-1][0] == told[-1][1]


def test_the_library_gives_the_same_network(volume: Volume) -> None:
    steps: list[int] = []
    inr = compress(
        volume,
        SETTINGS,
        device="cpu",
        upscaler="lanczos",
        on_progress=lambda record: steps.append(record.step),
    )
    assert to_bytes(inr) == to_bytes(all_of(volume)[1].inr)
    assert steps == [*range(1, 49)]


# Targets


def test_a_size_is_never_exceeded_in_the_file(volume: Volume, tmp_path: Path) -> None:
    inr = compress(volume, BASE, max_bytes=2_000, device="cpu", upscaler="lanczos")
    save(inr, tmp_path / "x.inr")
    assert 1_700 < (tmp_path / "x.inr").stat().st_size <= 2_000
    assert load(tmp_path / "x.inr") == inr


@pytest.mark.slow
def test_weights_that_are_embedded_count_in_the_size(
    volume: Volume, make_weights: Callable[..., Any], tmp_path: Path
) -> None:
    own = make_weights(tmp_path / "mine.safetensors")
    most = own.size + 3_000
    inr = compress(
        volume,
        BASE,
        max_bytes=most,
        device="cpu",
        upscaler=tmp_path / "mine.safetensors",
        embed_model=True,
    )
    save(inr, tmp_path / "x.inr", model=tmp_path / "mine.safetensors" if inr.upscaler.sha256 else None)
    assert (tmp_path / "x.inr").stat().st_size <= most


def test_a_ratio_is_kept(volume: Volume) -> None:
    inr = compress(volume, BASE, ratio=20, device="cpu", upscaler="lanczos")
    assert inr.source_bytes / len(to_bytes(inr)) >= 20


@pytest.mark.slow
def test_a_quality_that_is_missed_is_told_once_with_what_was_reached(volume: Volume) -> None:
    with pytest.warns(UserWarning, match=r"target of 60 dB was not met: \d+\.\d\d dB \(range\)"):
        compress(volume, BASE, target_psnr=60, device="cpu", upscaler="lanczos")
    said: list[str] = []
    inr = compress(volume, BASE, target_psnr=5, device="cpu", upscaler="lanczos", warn=said.append)
    assert inr.quality is not None
    assert inr.quality.hr_psnr >= 5
    assert said == []


@pytest.fixture
def promising(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a wider network always promise more than it keeps."""
    monkeypatch.setattr(ladder, "LEVEL", 12.0)


@pytest.mark.usefixtures("promising")
def test_a_larger_network_is_tried_where_a_quality_was_missed(volume: Volume) -> None:
    target = Target(kind="psnr", value=17.0)
    records, compressed = all_of(volume, replace(REQUEST, settings=BASE, target=target))
    assert kinds(records)[:5] == ["Looking", "Planned", "FitProgress", "Fitted", "Compressed"]
    planned = [record for record in records if isinstance(record, Planned)]
    tries = [record for record in records if isinstance(record, Compressed)]
    assert len(planned) == len(tries) > 1
    sizes = [plan.plan.file_bytes for plan in planned]
    assert sizes == sorted(set(sizes))
    reached = [found.measured.reconstruction.psnr for found in tries]
    assert [plan.reached for plan in planned] == [None, *reached[:-1]]
    assert max(reached[:-1]) < 17
    assert compressed is tries[-1]
    assert compressed.missed is None
    assert all(found.missed is not None for found in tries[:-1])
    assert compressed.plan == planned[-1].plan


def test_a_volume_is_looked_at_once(volume: Volume) -> None:
    request = replace(REQUEST, settings=BASE, target=Target(kind="ratio", value=20))
    models = drain(planning.probe(volume, BASE, upscaler="lanczos", device="cpu"))
    records, compressed = all_of(volume, replace(request, models=tuple(models)))
    assert not [record for record in records if isinstance(record, Looking)]
    assert to_bytes(compressed.inr) == to_bytes(all_of(volume, request)[1].inr)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_bytes": 9_000, "ratio": 20}, "give only one of them"),
        ({"ratio": 0.1}, "a ratio must be from 1"),
        ({"max_bytes": 100}, "no .inr of this volume can be as small as 100 bytes"),
    ],
    ids=str,
)
def test_targets_that_cannot_be_are_refused(volume: Volume, options: dict[str, Any], message: str) -> None:
    with pytest.raises(FitError, match=message):
        compress(volume, BASE, device="cpu", upscaler="lanczos", **options)


@pytest.mark.parametrize(
    "own",
    [
        replace(BASE, factor=(1.0, 2.0, 2.0)),
        replace(BASE, field=replace(BASE.field, hidden_features=16)),
        replace(BASE, fit=replace(BASE.fit, weight_bits=4.0)),
    ],
    ids=["factor", "hidden features", "bits"],
)
def test_a_target_and_what_it_chooses_exclude_one_another(volume: Volume, own: Settings) -> None:
    with pytest.raises(FitError, match="a target chooses factor, size and bits per weight"):
        compress(volume, own, ratio=20, device="cpu", upscaler="lanczos")


# Keep and resume


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[FitState]:
    monkeypatch.setattr(session, "SECONDS_PER_CHECKPOINT", 0.0)
    return []


def test_the_state_is_kept_while_fitting_and_after_the_last_step(
    volume: Volume, kept: list[FitState], tmp_path: Path
) -> None:
    all_of(volume, keep=kept.append)
    assert [state.step for state in kept] == [*range(1, 49)]
    whole = all_of(volume)[1].inr
    for state in (kept[10], kept[43], kept[-1]):  # in the fit, in the tuning, after the last step
        save_state(state, tmp_path / "x.fit")
        again = all_of(volume, resume=load_state(tmp_path / "x.fit"))[1].inr
        assert to_bytes(again) == to_bytes(whole)


def test_only_the_last_state_is_kept_within_a_minute(volume: Volume) -> None:
    kept: list[FitState] = []
    all_of(volume, keep=kept.append)
    assert [state.step for state in kept] == [48]


@pytest.mark.parametrize("tuning_steps", [0, 8])
def test_a_fit_that_ends_early_keeps_its_last_state_before_it_is_coded(
    volume: Volume, tuning_steps: int
) -> None:
    fit = FitConfig(steps=1_000, tuning_steps=tuning_steps, batch=256, target_psnr=12.0)
    kept: list[tuple[int, bool]] = []
    fitted: list[Record] = []

    def on_each(record: Record) -> None:
        if isinstance(record, Fitted):
            fitted.append(record)

    steps = run(
        volume,
        replace(REQUEST, settings=replace(SETTINGS, fit=fit)),
        keep=lambda state: kept.append((state.step, bool(fitted))),
    )
    compressed = drain(steps, on_each)
    assert not compressed.fitted.stopped
    ((step, coded),) = kept
    assert compressed.inr.fit.steps <= step < 1_000
    assert not coded


def test_a_stopped_fit_keeps_its_state_and_is_resumed_to_the_same_bytes(volume: Volume) -> None:
    stop, kept = Event(), list[FitState]()

    def on_each(record: Record) -> None:
        if isinstance(record, FitProgress) and record.step == 20:
            stop.set()

    compressed = drain(run(volume, REQUEST, stop=stop, keep=kept.append), on_each)
    assert compressed.fitted.stopped
    (state,) = kept
    assert 20 <= state.step < 48
    assert 0 < compressed.inr.fit.steps <= state.step
    assert to_bytes(all_of(volume, resume=state)[1].inr) == to_bytes(all_of(volume)[1].inr)


def test_a_state_that_cannot_be_kept_is_told_once_and_ends_nothing(
    volume: Volume, kept: list[FitState]
) -> None:
    def keep(state: FitState) -> None:
        kept.append(state)
        raise InrError("no space left")

    records, compressed = all_of(volume, keep=keep)
    assert [record for record in records if isinstance(record, NotKept)] == [NotKept("no space left")]
    assert len(kept) == 48
    assert to_bytes(compressed.inr) == to_bytes(all_of(volume)[1].inr)


def test_a_network_that_is_there_is_only_measured(volume: Volume) -> None:
    whole = all_of(volume)[1].inr
    records, compressed = all_of(volume, resume=replace(whole, quality=None))
    assert kinds(records) == ["Fitted", "Compressed"]
    assert compressed.inr == whole


def test_a_state_of_another_fit_is_refused(volume: Volume) -> None:
    kept: list[FitState] = []
    all_of(volume, keep=kept.append)
    other = replace(REQUEST, settings=replace(SETTINGS, fit=replace(SETTINGS.fit, seed=3)))
    with pytest.raises(FitError, match="seed was 0, now 3"):
        all_of(volume, other, resume=kept[-1])


# The end


@pytest.mark.parametrize("when", [Looking, FitProgress, Fitted], ids=lambda kind: kind.__name__)
def test_dropped_it_ends_at_once_with_an_error(volume: Volume, when: type) -> None:
    drop = Event()
    request = replace(REQUEST, settings=BASE, target=Target(kind="ratio", value=20))
    records: list[Record] = []

    def on_each(record: Record) -> None:
        records.append(record)
        if isinstance(record, when):
            drop.set()

    with pytest.raises(FitError, match="cancelled"):
        drain(run(volume, request, drop=drop), on_each)
    assert isinstance(records[-1], when)


def test_stopped_while_looking_nothing_is_fitted(volume: Volume) -> None:
    stop = Event()
    request = replace(REQUEST, settings=BASE, target=Target(kind="ratio", value=20))
    with pytest.raises(FitError, match="stopped while looking for settings"):
        drain(run(volume, request, stop=stop), lambda record: stop.set())


@pytest.mark.usefixtures("promising")
def test_stopped_after_a_try_no_larger_one_is_begun(volume: Volume) -> None:
    stop = Event()
    request = replace(REQUEST, settings=BASE, target=Target(kind="psnr", value=17.0))

    def on_each(record: Record) -> None:
        if isinstance(record, Fitted):
            stop.set()

    compressed = drain(run(volume, request, stop=stop), on_each)
    assert not compressed.fitted.stopped
    assert compressed.missed is not None


def test_closed_early_it_ends_the_fit(volume: Volume) -> None:
    steps = run(volume, REQUEST)
    record = next(steps)
    assert isinstance(record, FitProgress)
    steps.close()
    assert list(steps) == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError("Unable to allocate 1 TiB"), "out of memory; free some"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory; free some"),
        (
            RuntimeError("CUDA error: unspecified launch failure\nmore"),
            "CUDA error: unspecified launch failure$",
        ),
    ],
    ids=["numpy's memory", "torch's memory", "torch"],
)
def test_a_failure_while_measuring_is_one_of_ours_and_comes_after_the_network(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(session, "measure", fail)
    records: list[Record] = []
    with pytest.raises(FitError, match=message):
        drain(run(volume, REQUEST), records.append)
    assert isinstance(records[-1], Fitted)


def test_what_cannot_be_had_is_said_before_anything_is_done(volume: Volume) -> None:
    flat = Volume(voxels=volume.voxels * 0, geometry=volume.geometry)
    with pytest.raises(VolumeError):
        next(run(flat, REQUEST))
    with pytest.raises(InrError, match="there is no upscaler 'bicubic'"):
        next(run(volume, replace(REQUEST, upscaler="bicubic")))
    with pytest.raises(InrError, match="there is no preset 'best'"):
        compress(volume, "best")


def test_a_later_try_with_another_factor_is_resumed(volume: Volume) -> None:
    other = replace(SETTINGS, factor=(1.0, 3.0, 3.0))
    states: list[FitState] = []
    stop = Event()
    request = replace(REQUEST, settings=other)
    fitting = run(volume, request, stop=stop, keep=states.append)
    drain(fitting, lambda record: stop.set() if isinstance(record, FitProgress) else None)
    models = drain(planning.probe(volume, BASE, upscaler="lanczos", device="cpu"))
    planned = replace(REQUEST, settings=BASE, target=Target(kind="psnr", value=8.0), models=tuple(models))
    assert planning.plan(volume, list(models), planned.target, BASE).settings.factor != other.factor
    resumed: list[object] = []
    compressed = drain(run(volume, planned, resume=states[-1]), resumed.append)
    assert compressed.inr.factor == other.factor
    assert compressed.plan is not None
    assert compressed.plan.settings.factor == other.factor
    whole = drain(run(volume, request))
    assert compressed.inr.payload == whole.inr.payload


def test_an_lr_that_was_shown_is_not_decoded_again_to_be_measured(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    fitted_slices = FieldGrid.fitted

    def counted(self: FieldGrid, z: Sequence[int]) -> Any:
        decoded.extend(z)
        return fitted_slices(self, z)

    monkeypatch.setattr(FieldGrid, "fitted", counted)
    drain(
        run(volume, REQUEST), lambda record: isinstance(record, Fitted) and list(record.reader.slices("lr"))
    )
    assert sorted(decoded) == list(range(8))
