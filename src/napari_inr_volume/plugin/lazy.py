"""An `.inr` as dask arrays that decode a slice when it is first looked at.

Scrolling decodes the slice in view and nothing else, in any order; the latest slices are kept, up to a
stated number of bytes. napari asks for slices on its UI thread, unless its user turned on Preferences >
Experimental > Render Layers Asynchronously: then a thread of its own decodes, and scrolling stays smooth
with a slow upscaler too.
"""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import dask.array
import numpy as np

from ..core.units import within
from ..reader import Level, Reader
from ..superres.catalogue import is_slow, title_of
from ..superres.upscale import LanczosUpscaler
from .exact_voxels import ExactVoxels
from .layers import LayerData, exact_layer, hr_layer, layer_name, lr_layer

CACHE_BYTES = 2**29  # of decoded slices that a layer keeps: 1024 of 512 x 512 in int16


def lazy_array(reader: Reader, level: Level) -> dask.array.Array:
    """Return a level (z, y, x) of an `.inr`, in the volume's units, of one chunk a slice."""
    depth, height, width = reader.shape(level)
    dtype = reader.dtype(level)
    array: dask.array.Array = dask.array.map_blocks(
        lambda block_id: reader.plane(block_id[0], level)[np.newaxis],
        chunks=((1,) * depth, (height,), (width,)),
        dtype=dtype,
        meta=np.empty((0, 0, 0), dtype=dtype),
        name=f"inr-{uuid4().hex}",  # else dask would look into the network for one
    )
    return array


def inr_layers(reader: Reader, name: str, opened: Path | None = None) -> list[LayerData]:
    """Return the LR layer of an `.inr`, and over it the reconstruction, decoded as they are looked at.

    Where there is an exact layer, that replaces the reconstruction, which is its preview. `opened` is the
    file, which may embed the upscaler's weights.
    """
    inr, upscaler = reader.inr, reader.upscaler
    lr_psnr = hr_psnr = None
    if inr.quality is not None:
        lr_psnr = inr.quality.lr_psnr
        as_named = upscaler.sha256 == inr.upscaler.sha256
        hr_psnr = inr.quality.hr_psnr if as_named else inr.quality.lanczos_psnr
    lr = lr_layer(lazy_array(reader, "lr"), layer_name(name, "LR fit", lr_psnr), inr, opened=opened)
    if inr.exact is not None:
        exact_name = layer_name(name, within(inr.exact.max_error, inr.units))
        exact = exact_layer(exact_voxels(reader), exact_name, inr, opened=opened)
        return [lr, exact] if inr.has_preview else [exact]
    hr_name = layer_name(name, title_of(upscaler.name), hr_psnr)
    return [lr, hr_layer(lazy_array(reader, "hr"), hr_name, inr, opened=opened)]


def exact_voxels(reader: Reader) -> ExactVoxels:
    """Return the voxels of an `.inr` with an exact layer.

    Their previews are restored by Lanczos on a CPU: they are seen for seconds at most, and a network would
    compete with the decoding for the processor.
    """
    on_cpu = reader.device.type == "cpu"
    return ExactVoxels(reader, reader.by(LanczosUpscaler(reader.inr.factor[1:])) if on_cpu else reader)


def stutters(reader: Reader) -> bool:
    """Whether scrolling would wait for each slice."""
    return reader.device.type == "cpu" and is_slow(reader.upscaler.name, reader.inr.factor[1])
