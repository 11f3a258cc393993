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


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstruction:
    """An HR volume with its figures."""

    name: str  # of the upscaler that made it, or the bound of the exact layer in words
    exact: bool  # whether it is of the exact layer
    inr: InrVolume  # naming the upscaler that made it, with its quality
    file_bytes: int  # once it is saved
    comparison: Comparison
    model_bytes: int | None  # of the upscaler's weights; None: none was used
    choice: str | None = None  # why it is not the usual upscaler, in a sentence


def reconstruct(
    control: Control,
    volume: Volume,
    inr: InrVolume,
    voxels: NDArray[Any],
    *,
    device: Device,
    upscaler: str,
    window: Window,
    or_lanczos: bool = False,
) -> Reconstruction:
    """Fill `voxels` with the HR, from the slice in view outwards, then measure it; reports slices, then Done.

    Of several upscalers that the name stands for, the one that restores some slices best is taken. The array
    is the one that a layer shows: a report of slice numbers means that they can be drawn.
    """
    from ...core.metrics import compare_volumes
    from ...io.inr_file import packed_size
    from ...measuring import choose_upscaler
    from ...reader import Reader
    from ...superres.upscale import find_upscalers
    from .measure import with_upscaler

    leave_a_core()
    upscalers = find_upscalers(upscaler, inr.factor[1:], device=device, or_lanczos=or_lanczos)
    reader = Reader(inr, device=device)
    choice = choose_upscaler(
        volume, reader, upscalers, lambda done, total: control.on_progress(done, total + 2 * len(voxels))
    )
    restore, reader = choice.upscaler, reader.by(choice.upscaler)
    left = set(range(len(voxels)))
    while left:
        control.check()
        z = min(left, key=lambda slice_: abs(slice_ - control.z))
        voxels[z] = reader.plane(z)
        left.remove(z)
        control.report(z)
        control.on_progress(len(voxels) - len(left), 2 * len(voxels))
    comparison = compare_volumes(
        volume,
        voxels,
        window,
        lambda done, total: control.on_progress(total + done, 2 * total),
    )
    inr = with_upscaler(inr, restore, comparison)
    return Reconstruction(
        name=restore.name,
        exact=False,
        inr=inr,
        file_bytes=packed_size(inr),
        comparison=comparison,
        model_bytes=len(restore.weights),
        choice=choice.words,
    )


def decode_exact(
    control: Control, volume: Volume, inr: InrVolume, voxels: NDArray[Any], *, window: Window
) -> Reconstruction:
    """Fill `voxels` with those of the exact layer, then measure them; reports as `reconstruct` does."""
    from ...core.metrics import compare_volumes
    from ...io.inr_file import packed_size
    from ...reader import Reader

    assert inr.exact is not None
    for z, plane in Reader(inr, device="cpu").slices("exact"):
        voxels[z] = plane
        control.report(z)
        control.on_progress(z + 1, 2 * len(voxels))
    return Reconstruction(
        name=within(inr.exact.max_error, inr.units),
        exact=True,
        inr=inr,
        file_bytes=packed_size(inr),
        comparison=compare_volumes(
            volume, voxels, window, lambda done, total: control.on_progress(total + done, 2 * total)
        ),
        model_bytes=None,
    )


def missing_weights(control: Control) -> list[str]:
    """Return the networks whose weights are missing from this installation. Imports torch."""
    from ...superres.factors import FACTORS
    from ...superres.model_file import NETWORKS, available_models

    return [name for name in NETWORKS if not any(name in available_models(factor) for factor in FACTORS)]


def check_weights(control: Control, path: Path) -> ModelInfo:
    """Read a weights file and return what it says of itself. Raises ModelError if it cannot be used."""
    from ...superres.model_file import load_weights

    return load_weights(path)[1]
