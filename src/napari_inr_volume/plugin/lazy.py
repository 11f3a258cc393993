"""An `.inr` as dask arrays that decode a slice when it is first looked at.

Scrolling decodes the slice in view and nothing else, in any order; the latest slices are kept, up to a
stated number of bytes. napari asks for slices on its UI thread, unless its user turned on Preferences >
Experimental > Render Layers Asynchronously: then a thread of its own decodes, and scrolling stays smooth
with a slow upscaler too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

import dask.array
import numpy as np
from numpy.typing import NDArray

from .. import codec
from ..compute.device import out_of_memory
from ..core.errors import InrError
from ..decode import LrDecoder
from ..superres.catalogue import is_slow
from ..superres.upscale import Upscaler
from .layers import UPSCALERS, LayerData, hr_layer, layer_name, lr_layer

CACHE_BYTES = 2**29  # of decoded slices that a layer keeps: 1024 of 512 x 512 in int16

Plane = NDArray[Any]  # a slice (y, x)


class SliceCache:
    """Slices by number: each decoded when it is asked for, the latest kept. Thread-safe.

    One slice is decoded at a time, as one takes all cores; slices that are kept do not wait for it.
    """

    def __init__(self, decode: Callable[[int], Plane], limit: int = CACHE_BYTES) -> None:
        self.decoded = 0  # how many slices were decoded so far, the same one more than once included
        self._decode = decode
        self._limit = limit  # bytes
        self._kept: OrderedDict[int, Plane] = OrderedDict()  # the latest at the end
        self._bytes = 0
        self._looking = Lock()
        self._decoding = Lock()

    def __call__(self, z: int) -> Plane:
        """Return slice z (y, x), read-only."""
        if (plane := self._find(z)) is not None:
            return plane
        with self._decoding:
            if (plane := self._find(z)) is not None:  # another thread decoded it meanwhile
                return plane
            plane = self._decode(z)
            plane.flags.writeable = False
            self._keep(z, plane)
            return plane

    def _find(self, z: int) -> Plane | None:
        with self._looking:
            if z in self._kept:
                self._kept.move_to_end(z)
            return self._kept.get(z)

    def _keep(self, z: int, plane: Plane) -> None:
        with self._looking:
            self.decoded += 1
            self._kept[z] = plane
            self._bytes += plane.nbytes
            while self._bytes > self._limit:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes


def as_dask(slices: SliceCache, shape: tuple[int, int, int], dtype: Any) -> dask.array.Array:
    """Return an array (z, y, x) of one chunk a slice."""
    depth, height, width = shape
    array: dask.array.Array = dask.array.map_blocks(
        lambda block_id: slices(block_id[0])[np.newaxis],
        chunks=((1,) * depth, (height,), (width,)),
        dtype=dtype,
        meta=np.empty((0, 0, 0), dtype=dtype),
        name=f"inr-{uuid4().hex}",  # else dask would look into the network for one
    )
    return array


def lr_array(decoder: LrDecoder, limit: int = CACHE_BYTES) -> dask.array.Array:
    """Return the LR (z, y, x), float32 in the volume's units, on the grid the network was fitted to."""

    def decode(z: int) -> Plane:
        with _errors_in_words(decoder):
            plane: Plane = decoder.fitted(slice(z, z + 1))[0]
            return plane

    return as_dask(SliceCache(decode, limit), decoder.inr.lr_shape, np.float32)


def hr_array(decoder: LrDecoder, upscaler: Upscaler, limit: int = CACHE_BYTES) -> dask.array.Array:
    """Return the reconstruction (z, y, x), in the volume's units and the original's dtype."""
    inr = decoder.inr

    def decode(z: int) -> Plane:
        with _errors_in_words(decoder):
            plane: Plane = codec.restore_slices(decoder.slices([z]), upscaler, inr)[0]
            return plane

    return as_dask(SliceCache(decode, limit), inr.geometry.shape, np.dtype(inr.dtype))


def inr_layers(
    decoder: LrDecoder, upscaler: Upscaler, name: str, opened: Path | None = None
) -> list[LayerData]:
    """Return the LR layer of an `.inr` and the reconstruction over it, decoded as they are looked at.

    `opened` is the file, for whoever needs the upscaler's weights that it may embed.
    """
    inr = decoder.inr
    lr_psnr = hr_psnr = None
    if inr.quality is not None:
        lr_psnr = inr.quality.lr_psnr
        as_named = upscaler.sha256 == inr.upscaler.sha256
        hr_psnr = inr.quality.hr_psnr if as_named else inr.quality.lanczos_psnr
    lr_name = layer_name(name, "LR fit", lr_psnr)
    hr_name = layer_name(name, UPSCALERS[upscaler.name], hr_psnr)
    return [
        lr_layer(lr_array(decoder), lr_name, inr, opened=opened),
        hr_layer(hr_array(decoder, upscaler), hr_name, inr, opened=opened),
    ]


def stutters(decoder: LrDecoder, upscaler: Upscaler) -> bool:
    """Whether scrolling would wait for each slice."""
    return decoder.device.type == "cpu" and is_slow(upscaler.name, decoder.inr.factor[1])


@contextmanager
def _errors_in_words(decoder: LrDecoder) -> Iterator[None]:
    """Turn torch's RuntimeErrors into an InrError that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if out_of_memory(error):
            raise InrError(
                f"{decoder.device} ran out of memory while decoding a slice; close what else uses it, or"
                " choose the CPU in napari's preferences of this plugin and open the file again"
            ) from error
        raise InrError(f"decoding failed on {decoder.device}: {str(error).splitlines()[0]}") from error
