"""Other codecs at the bound of an exact layer: what a `Job` finds for the widget Codec comparison."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ...classical.by_bound import BOUNDED, Bounded, code_to_bound
from ...classical.codec import CodecError
from ...core.choices import Device
from ...core.errors import VolumeError
from ...core.metrics import largest_error
from ...core.units import suffix
from ...core.volume import Volume
from ...core.words import in_bytes, in_error
from ...exact.layer import ExactLayer
from ...inr_volume import InrVolume
from ..job import Control
from .rivals import cut, original_of

if TYPE_CHECKING:
    from napari.layers import Image

    from ...reader import Reader

OURS = "INR, exact layer"
NAMES = ("jpegls", "jpegxl", "jpegxl-z")  # of the codecs in `BOUNDED` that are offered
EVEN = 0.005  # of the bytes, within which two are called even
STEPS = 1000  # of a codec, in the progress


@dataclass(frozen=True, kw_only=True)
class ComparedAtBound:
    """The exact layer and its rivals, on some slices of a volume."""

    slices: range  # whole slabs
    voxels: int
    source_bytes: int  # of the stored pixels of these slices
    preview_bytes: int  # of the file without its exact layer
    ours: Bounded
    rivals: tuple[Bounded, ...]
    failed: tuple[str, ...]  # why codecs are missing among them


def compare_at_bound(
    control: Control, original: Image, inr: InrVolume, device: Device, names: Sequence[str], slices: slice
) -> ComparedAtBound:
    """Code the original by the codecs of these names, each voxel to within the bound of the `.inr`.

    Slabs of the exact layer are compared whole: all slices of those that `slices` touches. Reports Done, and
    each Bounded as it is found. Raises VolumeError if the layer is not the original of the `.inr`,
    InrFileError if the exact layer is damaged.
    """
    from ...io.inr_file import packed_size
    from ...reader import Reader

    layer = inr.exact
    assert layer is not None
    volume = original_of(inr, original)
    part = whole_slabs(layer, slices, volume.shape[0])
    cropped = volume if len(part) == volume.shape[0] else cut(volume, part.start, part.stop)
    total = STEPS * (len(names) + 1)

    def on_part(number: int, done: int, of: int) -> None:
        control.on_progress(STEPS * number + STEPS * done // of, total)

    ours = _ours(layer, Reader(inr, device=device), cropped, part, lambda *done: on_part(0, *done))
    control.report(ours)
    rivals, failed = list[Bounded](), list[str]()
    for number, name in enumerate(names):
        try:
            found = code_to_bound(
                BOUNDED[name],
                cropped,
                layer.max_error,
                on_images=lambda *done, number=number: on_part(number + 1, *done),
            )
        except CodecError as error:
            failed.append(str(error))
            continue
        rivals.append(found)
        control.report(found)
    return ComparedAtBound(
        slices=part,
        voxels=math.prod(cropped.shape),
        source_bytes=volume.source_bytes * len(part) // volume.shape[0],
        preview_bytes=packed_size(replace(inr, exact=None)),
        ours=ours,
        rivals=tuple(rivals),
        failed=tuple(failed),
    )


def whole_slabs(layer: ExactLayer, slices: slice, depth: int) -> range:
    """Return the slices of all slabs that have some of these slices."""
    start, stop, _ = slices.indices(depth)
    return range(start // layer.depth * layer.depth, min(-(-stop // layer.depth) * layer.depth, depth))


def _ours(
    layer: ExactLayer, reader: Reader, volume: Volume, part: range, on_slice: Callable[[int, int], None]
) -> Bounded:
    """Decode these slices, `volume`, and measure them."""
    off, began, measuring = 0.0, time.perf_counter(), 0.0
    for z, plane in _decoded(reader, part, layer.depth):
        decoded = time.perf_counter()
        off = max(off, largest_error(volume.plane(z - part.start), plane))
        measuring += time.perf_counter() - decoded
        on_slice(z - part.start + 1, len(part))
    if off > layer.max_error:
        raise VolumeError(
            f"this layer is {in_error(off)}{suffix(volume.units)} off the exact layer, which promises"
            f" {layer.max_error:g}; choose the original that the .inr was made from"
        )
    slabs = layer.slabs[part.start // layer.depth : -(-part.stop // layer.depth)]
    head = len(layer.head()) * len(part) // reader.shape()[0]
    return Bounded(
        label=OURS,
        setting=f"slabs of {layer.depth} slices",
        size=head + sum(slab.length for slab in slabs),
        max_error=off,
        encode_seconds=0.0,
        decode_seconds=time.perf_counter() - began - measuring,
    )


def _decoded(reader: Reader, part: range, depth: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield slices of the exact layer, whose slabs have so many; on all cores."""
    if len(part) == reader.shape()[0]:
        yield from reader.slices("exact")
    else:
        for _, slab in groupby(part, lambda z: z // depth):
            slices = list(slab)
            yield from zip(slices, reader.planes(slices, "exact"), strict=True)


def verdict(compared: ComparedAtBound, bound: str) -> str:
    """Return a sentence that says which takes fewer bytes at a bound, such as `lossless`."""
    ours, words = compared.ours, list[str]()
    shares = sorted((rival.size / ours.size - 1, rival.label) for rival in compared.rivals)
    better = [f"{label} by {-share:.1%}" for share, label in shares if share < -EVEN]
    if better:
        words.append(f"At this bound ({bound}), other codecs take fewer bytes here: {', '.join(better)}.")
    elif shares:
        share, label = shares[0]
        words.append(
            f"At this bound ({bound}), the exact layer takes {1 - 1 / (1 + share):.1%} fewer bytes than"
            f" {label}, the nearest codec."
            if share > EVEN
            else f"At this bound ({bound}), the exact layer and {label} are even."
        )
    words.append(f"The preview takes another {in_bytes(compared.preview_bytes)}.")
    return " ".join([*words, *(f"{why}." for why in compared.failed)])
