"""For the widget INR file: look into an `.inr`, decode it whole, hold it against its original."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from ...core.choices import Device
from ...core.windows import Window
from ...inr_volume import InrVolume
from ..job import Control
from ..layers import new_voxels, volume_of
from ..notices import sentence
from .measure import measure

if TYPE_CHECKING:
    from napari.layers import Image

    from ...measuring import Measured
    from ...superres.upscale import Upscaler


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a file."""

    tag: str
    size: int  # bytes
    crc32: str
    known: bool  # to this version


@dataclass(frozen=True, kw_only=True)
class Contents:
    """An `.inr` and a description of its file."""

    inr: InrVolume
    path: Path | None  # None if it was not opened from a file, but fitted here
    file_bytes: int  # on disk, or once it is saved
    version: str  # of the format
    sections: tuple[Section, ...]  # of the file, none without one
    embedded: bool  # whether the super-resolution model is in the file
    upscaler: str  # that restores it here
    model_bytes: int  # of that upscaler's weights
    notes: tuple[str, ...]  # what a person should know of it

    @property
    def ratio(self) -> float:
        """Stored pixels of the source over bytes of the file."""
        return self.inr.source_bytes / self.file_bytes

    @property
    def ratio_with_model(self) -> float | None:
        """The same with the model counted that every reader needs; None where it counts already."""
        if self.embedded or not self.model_bytes:
            return None
        return self.inr.source_bytes / (self.file_bytes + self.model_bytes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """The LR, the reconstruction or the exact voxels, whole."""

    voxels: NDArray[Any]  # (z, y, x), in the volume's units
    upscaler: str  # that was used
    notes: tuple[str, ...]  # what a person should know of it


@dataclass(frozen=True, kw_only=True, eq=False)
class Errors:
    """How far an `.inr` is from its original."""

    measured: Measured
    notes: tuple[str, ...]  # what a person should know of it


def look(control: Control, inr: InrVolume, path: Path | None, own: Path | None, device: Device) -> Contents:
    """Return what an `.inr` holds; `path` is where it was opened, if it was, `own` as in `restorer`."""
    from ...io.inr_file import MODEL, VERSION, describe, packed_size, read_inr

    if path is not None and read_inr(path) != inr:  # replaced since it was opened
        path = None
    declared: dict[str, Any] = {} if path is None else describe(path)
    upscaler, notes = restorer(inr, path, own, device)
    sections = tuple(
        Section(tag=entry["tag"], size=entry["bytes"], crc32=entry["crc32"], known=entry["known"])
        for entry in declared.get("sections", [])
    )
    return Contents(
        inr=inr,
        path=path,
        file_bytes=packed_size(inr) if path is None else declared["file_bytes"],
        version=declared.get("format", ".".join(map(str, VERSION))),
        sections=sections,
        embedded=any(section.tag == MODEL for section in sections),
        upscaler=upscaler.name,
        model_bytes=len(upscaler.weights),
        notes=notes,
    )


def decode(
    control: Control,
    inr: InrVolume,
    kind: Literal["lr", "hr", "exact"],
    path: Path | None,
    own: Path | None,
    device: Device,
) -> Decoded:
    """Decode the LR, the reconstruction or the exact voxels, whole and into memory; reports Done.

    Where the exact layer is damaged, the reconstruction takes its place, and a note says so.
    """
    from ...reader import Reader

    upscaler, notes = (None, ()) if kind == "lr" else restorer(inr, path, own, device)
    reader = Reader(inr, upscaler, device=device)
    voxels = new_voxels(reader.shape(kind), reader.dtype(kind))
    damaged: list[str] = []
    for z, plane in reader.best_slices(damaged.append) if kind == "exact" else reader.slices(kind):
        voxels[z] = plane
        control.on_progress(z + 1, len(voxels))
    if kind == "exact":  # its voxels say nothing of the upscaler
        notes = tuple(map(sentence, damaged))
    return Decoded(voxels=voxels, upscaler=reader.upscaler.name, notes=notes)


def find_errors(
    control: Control,
    original: Image,
    inr: InrVolume,
    path: Path | None,
    own: Path | None,
    device: Device,
    window: Window,
) -> Errors:
    """Decode the `.inr` and compare it with its original, slice by slice; reports Done.

    Raises VolumeError if the layer is no volume, or not of the original's shape.
    """
    volume = volume_of(original)
    upscaler, notes = restorer(inr, path, own, device)
    return Errors(measured=measure(control, volume, inr, upscaler, device=device, window=window), notes=notes)


def restorer(
    inr: InrVolume, path: Path | None, own: Path | None, device: Device
) -> tuple[Upscaler, tuple[str, ...]]:
    """Return the upscaler that an `.inr` names, or what takes its place and a sentence that says so.

    `path` is the `.inr` itself, which may embed the weights, `own` a weights file of the person's own.
    """
    from ...io.inr_file import read_model
    from ...superres.upscale import find_restorer

    notes: list[str] = []
    model = None if path is None else read_model(path)
    return find_restorer(inr, notes.append, weights=[model, own], device=device), tuple(notes)
