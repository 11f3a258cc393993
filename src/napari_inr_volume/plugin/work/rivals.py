"""Other codecs at the same number of bytes: what a `Job` finds for the widget Codec comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.choices import Device
from ...core.errors import VolumeError
from ...core.metrics import psnr
from ...core.volume import Volume
from ...inr_volume import InrVolume
from ..job import Control, Done
from ..layers import new_voxels, volume_of
from .inr import restorer

if TYPE_CHECKING:
    from napari.layers import Image

OURS = "INR"
EVEN = 0.05  # dB within which two are called even


@dataclass(frozen=True)
class Trying:
    """Which codec is at work from now on."""

    label: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Rival:
    """What one codec makes of the voxels within the bytes of the `.inr`."""

    label: str
    voxels: NDArray[Any] | None = None  # (z, y, x); None if it failed
    size: int = 0  # bytes
    psnr: float = 0.0  # dB, peak: the intensity range of the whole original
    points: tuple[tuple[int, float], ...] = ()  # bytes and PSNR of every try
    seconds: tuple[float, float] = (0.0, 0.0)  # of encoding and decoding; of ours, decoding alone
    setting: str = ""  # how the codec was run, in words
    fits: bool = True  # into the bytes
    failed: str = ""  # why, in words


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """Ours and its rivals, on some slices of a volume."""

    start: int  # first slice of them
    source_bytes: int  # of the stored pixels of these slices
    ours: Rival
    rivals: tuple[Rival, ...]
    notes: tuple[str, ...]


def compare(
    control: Control,
    original: Image,
    inr: InrVolume,
    path: Path | None,
    own: Path | None,
    device: Device,
    names: Sequence[str],
    slices: slice,
) -> Compared:
    """Code slices of the original by the codecs of these names, within the bytes of the `.inr`.

    Those are its bytes in proportion to the slices. Reports Done of codecs and tries, which is Trying, and
    each Rival as it is found. Raises VolumeError if the original is not of the shape that the `.inr` decodes
    to.
    """
    from ...classical.by_bytes import CODECS, SEARCH
    from ...io.inr_file import packed_size

    volume = original_of(inr, original)
    start, stop, _ = slices.indices(volume.shape[0])
    share = (stop - start) / volume.shape[0]
    whole = share == 1
    part = volume if whole else cut(volume, start, stop)
    peak = volume.intensity_range[1] - volume.intensity_range[0]
    most = int((path.stat().st_size if path is not None else packed_size(inr)) * share)
    ours, notes = _ours(control, part, inr, path, own, device, start, most, peak)
    control.report(ours)
    each = SEARCH + 1  # tries of a codec, and one for its result
    total, rivals = len(names) * each + 1, []
    for number, name in enumerate(names):
        before = number * each + 1
        control.report(Done(before, total))
        control.report(Trying(CODECS[name].label))

        def on_try(tries: int, before: int = before) -> None:
            control.report(Done(min(before + tries, total), total))

        rivals.append(_rival(control, name, part, most, peak, on_try))
        control.report(rivals[-1])
    control.report(Done(total, total))
    return Compared(
        start=start,
        source_bytes=int(volume.source_bytes * share),
        ours=ours,
        rivals=tuple(rivals),
        notes=notes,
    )


def original_of(inr: InrVolume, layer: Image) -> Volume:
    """Return a layer's volume. Raises VolumeError if it is not of the shape that the `.inr` decodes to."""
    volume = volume_of(layer)
    if volume.shape != inr.geometry.shape:
        raise VolumeError(
            f"the original has the shape {volume.shape}, the .inr decodes to {inr.geometry.shape};"
            " choose the layer that it was made from"
        )
    return volume


def _rival(
    control: Control, name: str, part: Volume, most: int, peak: float, on_try: Callable[[int], object]
) -> Rival:
    """Return what a codec makes of the voxels within these bytes; `on_try` is told how often it was tried."""
    from ...classical.by_bytes import CODECS, Coded, code_within
    from ...classical.codec import CodecError

    codec, points = CODECS[name], list[tuple[int, float]]()

    def on_point(found: Coded) -> None:
        points.append((found.size, _psnr(part, found.voxels, peak)))
        control.check()
        on_try(len(points))

    try:
        found = code_within(codec, part, most, on_point=on_point, stop=control.drop)
    except CodecError as error:
        control.check()
        return Rival(label=codec.label, failed=str(error))
    return Rival(
        label=codec.label,
        voxels=found.voxels,
        size=found.size,
        psnr=_psnr(part, found.voxels, peak),
        points=tuple(sorted(points)),
        seconds=(found.encode_seconds, found.decode_seconds),
        setting=found.setting,
        fits=found.size <= most,
    )


def verdict(ours: Rival, rivals: Sequence[Rival]) -> str:
    """Return a sentence that says which is better at these bytes, ours or another."""
    judged = [rival for rival in rivals if rival.fits and not rival.failed]
    better = sorted(
        (rival for rival in judged if rival.psnr - ours.psnr > EVEN), key=lambda rival: -rival.psnr
    )
    words = []
    if better:
        names = ", ".join(f"{rival.label} by {rival.psnr - ours.psnr:.1f} dB" for rival in better)
        words.append(f"At this size, other codecs are better here: {names}.")
    elif judged:
        nearest = max(judged, key=lambda rival: rival.psnr)
        lead = ours.psnr - nearest.psnr
        words.append(
            f"At this size, the INR is ahead of {nearest.label}, the nearest codec, by {lead:.1f} dB."
            if lead > EVEN
            else f"At this size, the INR and {nearest.label} are even."
        )
    if large := [rival.label for rival in rivals if not rival.fits]:
        words.append(f"Cannot reach this size: {', '.join(large)}; shown at the smallest size possible.")
    words += [f"{rival.failed}." for rival in rivals if rival.failed]
    return " ".join(words)


def _ours(
    control: Control,
    part: Volume,
    inr: InrVolume,
    path: Path | None,
    own: Path | None,
    device: Device,
    start: int,
    size: int,
    peak: float,
) -> tuple[Rival, tuple[str, ...]]:
    """Decode these slices of the `.inr`."""
    from ...reader import Reader

    upscaler, notes = restorer(inr, path, own, device)
    began = time.perf_counter()
    reader = Reader(inr, upscaler, device=device)
    voxels = new_voxels(part.shape, inr.dtype)
    for z in range(len(voxels)):
        control.check()
        voxels[z] = reader.plane(start + z)
    seconds = time.perf_counter() - began
    found = _psnr(part, voxels, peak)
    point = ((size, found),)
    return Rival(
        label=OURS, voxels=voxels, size=size, psnr=found, points=point, seconds=(0.0, seconds)
    ), notes


def cut(volume: Volume, start: int, stop: int) -> Volume:
    """Return slices of a volume, where they lie."""
    geometry = volume.geometry
    positions = geometry.slice_positions
    if positions is not None:
        positions = tuple(value - positions[start] for value in positions[start:stop])
    shape = (stop - start, *volume.shape[1:])
    return replace(
        volume,
        voxels=volume.read((slice(start, stop), slice(None), slice(None))),
        geometry=replace(geometry, shape=shape, slice_positions=positions),
    )


def _psnr(volume: Volume, voxels: NDArray[Any], peak: float) -> float:
    """PSNR in dB, padding excluded."""
    error = np.square(voxels.astype(np.float64) - volume.read())
    measured = volume.measured()
    return psnr(float(error.mean() if measured is None else error[measured].mean()), peak)
