"""An `.inr` as a DICOM series: decoded a few slices at a time, and written as it is decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from .codec import Decoded, decompress
from .core.advice import advice
from .core.choices import Device
from .core.even import evened
from .core.source import Source
from .core.units import suffix
from .core.version import __version__
from .core.words import in_ratio
from .inr_volume import InrVolume
from .io.dicom_export import (
    Closeness,
    Derivation,
    Original,
    OwnHeader,
    Series,
    headers_like,
    write_series,
)
from .reader import Reader
from .superres.upscale import Upscaler

# Of the RMSE that was measured, by which the RMSE to the original may be larger now: on other processors, and
# restored by another upscaler. That to another scan of the same place is several times as large.
SAME, RESTORED = 1.05, 2.0


def export_series(
    inr: InrVolume,
    path: Path,  # the file that holds it
    folder: Path,
    *,
    upscaler: Upscaler,
    device: Device = "auto",
    even: bool = False,  # resampled to an even grid with right angles, which takes memory for the whole
    level: Literal["hr", "exact"] = "hr",
    like: Original | None = None,  # the series that it was made from; None: headers without a patient
    on_slices: Callable[[int, int], None] | None = None,
) -> Series:
    """Decode an `.inr` and write it as a DICOM series; as `io.dicom_export.write_series`.

    The same file, restored by the same weights, gives the same series. Raises SourceError or VolumeError if
    `like` is not the series that the `.inr` was made from.
    """
    source: Source = (
        evened(decompress(inr, upscaler=upscaler, device=device, level=level))
        if even
        else Decoded(Reader(inr, upscaler, device=device), level)
    )
    with path.open("rb") as file:
        seed = hashlib.file_digest(file, "sha256").hexdigest()
    ratio = inr.source_bytes / path.stat().st_size
    bound = inr.exact.max_error if inr.exact is not None and level == "exact" else None
    # What was measured when the file was made holds for what restored it then.
    measured = inr.quality is not None and upscaler.sha256 == inr.upscaler.sha256 and not even
    derivation = Derivation(
        lossy=bound != 0 or even,
        ratio=ratio,
        max_error=_largest_error(inr, bound, even, measured),
        description=_description(upscaler.name, bound, even, ratio, inr.units),
    )
    loss = "lossy" if derivation.lossy else "lossless"
    words = {
        "seed": seed,
        "variant": f"{level} {upscaler.name} {upscaler.sha256} {even}",
        "description": f"Decoded from .inr, {loss} {in_ratio(ratio)}",
    }
    if like is None:
        return write_series(source, folder, OwnHeader(source, **words), derivation, on_slices=on_slices)
    if bound is not None:
        closeness = Closeness(max_error=bound)
    else:
        slack = SAME if measured else RESTORED
        closeness = Closeness(rmse=None if inr.quality is None else inr.quality.rmse * slack)
    with headers_like(like, source, closeness, **words) as header:
        return write_series(source, folder, header, derivation, on_slices=on_slices)


def _largest_error(inr: InrVolume, bound: float | None, even: bool, measured: bool) -> float | None:
    if even:
        return None
    if bound is not None:
        return bound
    return inr.quality.max_error if inr.quality is not None and measured else None


def _description(upscaler: str, bound: float | None, even: bool, ratio: float, units: str) -> str:
    made = f"Decoded by napari-inr-volume {__version__} from"
    if bound is None:
        made += f" a neural network that was fitted to the original volume, and restored by {upscaler}."
    else:
        exact = f"within {bound:g}{suffix(units)}" if bound else "without error"
        made += f" the exact layer of an .inr, every voxel {exact}."
    words = [
        made,
        "Resampled to an evenly spaced, orthogonal grid." if even else None,
        advice(ratio, units) if bound is None else None,
    ]
    return " ".join(filter(None, words))
