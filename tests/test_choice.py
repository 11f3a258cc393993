"""Which upscaler restores a volume best is measured: the file names it, and never one worse than Lanczos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_inr_volume import compress, planning
from napari_inr_volume.core.generators import drain
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.registry import find_preset
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren import ladder
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.fields.siren.widths import with_width
from napari_inr_volume.inr_volume import InrVolume
from napari_inr_volume.io.inr_file import to_bytes
from napari_inr_volume.measuring import SLICES, Choice, choose_upscaler, least, slice_errors, some_slices
from napari_inr_volume.reader import Reader
from napari_inr_volume.session import Compressed, Request, run
from napari_inr_volume.superres.upscale import LanczosUpscaler, Upscaler
from napari_inr_volume.target import Target

LANCZOS = LanczosUpscaler((4.0, 4.0))
SETTINGS = Settings(
    field=SirenConfig(layers=2, hidden_features=16), fit=FitConfig(steps=40, tuning_steps=8, batch=256)
)


@dataclass(frozen=True, eq=False)
class Shifted:
    """Lanczos, and an error added to it; of so many slices it remembers what it was given."""

    error: NDArray[np.float32] | float  # of each voxel (y, x), as a share of the range
    name: str = "span"
    sha256: str | None = "0" * 64
    weights: bytes = b"weights"
    given: list[int] = field(default_factory=list)

    def __call__(self, lr: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
        self.given.append(len(lr))
        return LANCZOS(lr, shape) + np.float32(self.error)


@dataclass(frozen=True, eq=False)
class Knowing(Shifted):
    """Gives the same slice, whatever it is given."""

    def __call__(self, lr: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
        return np.broadcast_to(np.float32(self.error), (len(lr), *shape)).copy()


def alike(volume: Volume, depth: int) -> Volume:
    """Return a volume of one slice, over and over."""
    return Volume.from_array(np.repeat(volume.voxels[4:5], depth, axis=0), units=volume.units)


def scaled(volume: Volume, z: int = 0) -> NDArray[np.float32]:
    low, high = volume.intensity_range
    return ((volume.plane(z) - low) / (high - low)).astype(np.float32)


def of(volume: Volume) -> InrVolume:
    return compress(volume, SETTINGS, device="cpu", upscaler="lanczos")


def chosen(volume: Volume, inr: InrVolume, upscalers: Sequence[Upscaler]) -> Choice:
    return choose_upscaler(volume, Reader(inr, device="cpu"), upscalers)


@pytest.fixture(scope="module")
def volume() -> Volume:
    return alike(head_phantom((8, 48, 48)), 8)


@pytest.fixture(scope="module")
def inr(volume: Volume) -> InrVolume:
    return of(volume)


# The choice


def test_the_usual_one_stays_where_it_is_the_best_and_nothing_is_said(volume: Volume, inr: InrVolume) -> None:
    usual = Knowing(scaled(volume))
    assert chosen(volume, inr, [usual, LANCZOS]) == Choice(upscaler=usual)


def test_lanczos_replaces_what_is_worse_and_it_is_said_by_how_much(volume: Volume, inr: InrVolume) -> None:
    usual = Shifted(0.1)
    found = chosen(volume, inr, [usual, LANCZOS])
    assert found.upscaler is LANCZOS
    reader, slices = Reader(inr, device="cpu"), some_slices(volume)
    errors = slice_errors(volume, slices, [reader.by(one).plane for one in (LANCZOS, usual)])
    low, high = volume.intensity_range
    better, worse = (10 * np.log10((high - low) ** 2 / error) for error in errors)
    assert found.words == (
        f"Lanczos restores this volume better than SPAN, {better:.2f} against {worse:.2f} dB (range)"
        " on 6 slices, so the file names Lanczos"
    )


def test_the_best_of_several_networks_is_taken(volume: Volume, inr: InrVolume) -> None:
    usual, best = Shifted(0.1, name="srdensenet"), Knowing(scaled(volume))
    found = chosen(volume, inr, [usual, best, LANCZOS])
    assert found.upscaler is best
    assert found.words is not None
    assert found.words.startswith("SPAN restores this volume better than SRDenseNet, ")


def test_among_equals_lanczos_is_taken_which_needs_no_weights(volume: Volume, inr: InrVolume) -> None:
    found = chosen(volume, inr, [Shifted(0.0), LANCZOS])
    assert found.upscaler is LANCZOS
    assert found.words is not None
    assert "as well as SPAN does" in found.words
    assert least([3.0, 1.0, 2.0, 1.0]) == 3


def test_one_upscaler_is_no_choice_and_decodes_nothing(volume: Volume, inr: InrVolume) -> None:
    usual, told = Shifted(0.1), list[tuple[int, int]]()
    reader = Reader(inr, device="cpu")
    found = choose_upscaler(volume, reader, [usual], lambda done, total: told.append((done, total)))
    assert (found.upscaler, found.words, usual.given, told) == (usual, None, [], [])


@pytest.mark.parametrize("depth", [1, 2, SLICES, 40])
def test_a_few_slices_are_compared_of_a_long_volume_and_all_of_a_short_one(depth: int) -> None:
    volume = alike(head_phantom((8, 32, 32)), depth)
    usual, told = Shifted(0.1), list[tuple[int, int]]()
    reader = Reader(of(volume), device="cpu")
    found = choose_upscaler(volume, reader, [usual, LANCZOS], lambda done, total: told.append((done, total)))
    count = min(depth, SLICES)
    assert (found.upscaler, usual.given) == (LANCZOS, [1] * count)
    assert told == [(done, count) for done in range(1, count + 1)]
    assert found.words is not None
    assert f"on {count} slice{'s' if count > 1 else ''}, so" in found.words


def test_slices_are_spread_over_what_was_measured() -> None:
    assert some_slices(Volume.from_array(np.arange(98 * 16).reshape(98, 4, 4))) == [13, 27, 41, 55, 69, 83]
    voxels = np.full((98, 4, 4), -3024, np.int16)
    voxels[40:50, 1:3] = 7
    voxels[49, 1, 1] = 8
    found = some_slices(Volume.from_array(voxels, padding=-3024))
    assert len(found) == SLICES
    assert 40 <= min(found) < max(found) < 50
    voxels[42:] = -3024
    assert some_slices(Volume.from_array(voxels, padding=-3024)) == [40, 41]


def test_padding_does_not_count(volume: Volume) -> None:
    voxels = volume.voxels.copy()
    voxels[:, :, :12] = -3024
    padded = Volume.from_array(voxels, units="HU", padding=-3024)
    outside = scaled(volume).copy()
    outside[:, :12] += 5
    usual = Knowing(outside)  # right wherever something was measured
    assert chosen(padded, of(padded), [usual, LANCZOS]).upscaler is usual


# From end to end, with the weights that ship


def waves() -> Volume:
    """Nothing like CT: SPAN makes edges of it, and Lanczos restores it well."""
    z, y, x = np.meshgrid(np.arange(6), np.arange(64), np.arange(64), indexing="ij")
    across, down = np.sin(2 * np.pi * (x + 0.3 * y) / 9), np.cos(2 * np.pi * y / 11 + 0.3 * z)
    return Volume.from_array(np.rint(1000 * across * down).astype(np.int16))


def settings(factor: float) -> Settings:
    preset = with_width(find_preset("fast"), 48)
    fit = preset.fit.with_all_steps(200)
    return replace(preset, factor=(1.0, factor, factor), by_volume=(), fit=fit)


def made(volume: Volume, request: Request) -> Compressed:
    told: list[tuple[int, int]] = []
    compressed = drain(run(volume, request, on_slices=lambda done, total: told.append((done, total))))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len({total for _, total in told}) == 1
    assert told[-1][0] == told[-1][1]
    return compressed


@pytest.mark.slow
def test_auto_names_lanczos_where_span_is_worse() -> None:
    volume, request = waves(), Request(settings=settings(2.0), device="cpu")
    compressed = made(volume, request)
    assert (compressed.inr.upscaler.name, compressed.inr.upscaler.sha256) == ("lanczos", None)
    assert compressed.fitted.model_bytes == 0
    assert compressed.choice.words is not None
    quality = compressed.inr.quality
    assert quality is not None
    assert quality.hr_psnr == quality.lanczos_psnr
    by_lanczos = made(volume, replace(request, upscaler="lanczos"))
    assert to_bytes(compressed.inr) == to_bytes(by_lanczos.inr)
    by_span = made(volume, replace(request, upscaler="span"))  # what a person asks for is done
    assert (by_span.inr.upscaler.name, by_span.choice.words) == ("span", None)
    assert by_span.inr.quality is not None
    assert by_span.inr.quality.hr_psnr < quality.hr_psnr - 1


@pytest.mark.slow
def test_auto_names_span_where_it_is_better() -> None:
    volume = head_phantom((8, 64, 64))
    request = Request(settings=settings(4.0), device="cpu")
    compressed = made(volume, request)
    assert (compressed.inr.upscaler.name, compressed.choice.words) == ("span", None)
    quality = compressed.inr.quality
    assert quality is not None
    assert quality.hr_psnr > quality.lanczos_psnr + 0.5
    assert to_bytes(compressed.inr) == to_bytes(made(volume, replace(request, upscaler="span")).inr)


@pytest.mark.slow
def test_a_plan_is_made_with_the_upscaler_that_is_better_and_the_file_keeps_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ladder, "PROBED_WIDTHS", (8, 16))
    monkeypatch.setattr(ladder, "PROBED_STEPS", 20)
    base = replace(SETTINGS, field=SirenConfig(layers=2), fit=FitConfig(steps=30, batch=256))
    models = {}
    for upscaler in ("auto", "span", "lanczos"):
        probing = planning.probe(waves(), base, upscaler=upscaler, device="cpu")
        models[upscaler] = drain(probing)[1]
    assert models["auto"] == models["lanczos"]
    assert models["auto"].clean_mse < models["span"].clean_mse
    assert models["auto"].model_bytes == 0
    target = Target(kind="bytes", value=4_000)
    request = Request(settings=base, target=target, device="cpu", embed=True, models=(models["auto"],))
    compressed = made(waves(), request)
    assert compressed.plan is not None
    assert compressed.plan.upscaler == compressed.inr.upscaler.name == "lanczos"
    assert compressed.choice.words is None  # nothing else was expected
    assert len(to_bytes(compressed.inr)) <= 4_000
