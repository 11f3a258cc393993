"""The reconstruction of a fit, and what networks there are to make it with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ...core.choices import Device
from ...core.units import within
from ...core.windows import Window
from ...inr_volume import InrVolume
from ..job import Control
from .threads import leave_a_core

if TYPE_CHECKING:
    from ...core.metrics import Comparison
    from ...core.volume import Volume
    from ...superres.model_file import ModelInfo
    from ...superres.upscale import Upscaler
    from .measure import Decoding


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstruction:
    """An HR volume that was decoded."""

    name: str  # of the upscaler that made it, or the bound of the exact layer in words
    exact: bool  # whether it is of the exact layer
    wanted: str | None = None  # the name or weights file that was asked for
    upscaler: Upscaler | None = None  # that was chosen of those that it stands for
    choice: str | None = None  # why it is not the usual upscaler, in a sentence
    comparison: Comparison | None = None  # of exact voxels with the original


def reconstruct(
    control: Control,
    volume: Volume,
    fit: Decoding,
    voxels: NDArray[Any],
    *,
    device: Device,
    upscaler: str,
    upscalers: tuple[Upscaler, ...] = (),
    or_lanczos: bool = False,
) -> Reconstruction:
    """Fill `voxels` with the HR, from the slice in view outwards; reports slices and Done.

    `upscalers` are those that the name stands for, if they were found before. Of several the one that
    restores some slices best is taken. The array is the one that a layer shows: a report of slice numbers
    means that they can be drawn.
    """
    from ...measuring import choose_upscaler
    from ...superres.upscale import find_upscalers

    leave_a_core()
    if not upscalers:
        upscalers = tuple(
            find_upscalers(upscaler, fit.reader.inr.factor[1:], device=device, or_lanczos=or_lanczos)
        )
    choice = choose_upscaler(
        volume, fit.reader, upscalers, lambda done, total: control.on_progress(0, len(voxels))
    )
    reader = fit.reader.by(choice.upscaler)
    left = set(range(len(voxels)))
    while left:
        control.check()
        z = min(left, key=lambda slice_: abs(slice_ - control.z))
        voxels[z] = reader.plane(z)
        left.remove(z)
        control.report(z)
        control.on_progress(len(voxels) - len(left), len(voxels))
    return Reconstruction(
        name=choice.upscaler.name,
        exact=False,
        wanted=upscaler,
        upscaler=choice.upscaler,
        choice=choice.words,
    )


def decode_exact(
    control: Control, volume: Volume, inr: InrVolume, voxels: NDArray[Any], *, window: Window
) -> Reconstruction:
    """Fill `voxels` with those of the exact layer, and measure them; reports as `reconstruct` does."""
    from ...core.metrics import Meter
    from ...reader import Reader

    assert inr.exact is not None
    meter = Meter(volume, window)
    for z, plane in Reader(inr, device="cpu").slices("exact"):
        voxels[z] = plane
        meter.add(z, plane)
        control.report(z)
        control.on_progress(z + 1, len(voxels))
    return Reconstruction(name=within(inr.exact.max_error, inr.units), exact=True, comparison=meter.result())


def missing_weights(control: Control) -> list[str]:
    """Return the networks whose weights are missing from this installation. Imports torch."""
    from ...superres.factors import FACTORS
    from ...superres.model_file import NETWORKS, available_models

    return [name for name in NETWORKS if not any(name in available_models(factor) for factor in FACTORS)]


def check_weights(control: Control, path: Path) -> ModelInfo:
    """Read a weights file and return what it says of itself. Raises ModelError if it cannot be used."""
    from ...superres.model_file import load_weights

    return load_weights(path)[1]
