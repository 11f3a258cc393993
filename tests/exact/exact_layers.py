"""Exact layers of networks that are there already, and what comes back of them."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_inr_volume.core.volume import Volume
from napari_inr_volume.exact.decode import ExactSlices
from napari_inr_volume.exact.lattice import find_lattice
from napari_inr_volume.exact.layer import ExactLayer, Slab, Slabs, checksum
from napari_inr_volume.exact.network import Network, to_bytes
from napari_inr_volume.exact.plain import encode_plain
from napari_inr_volume.exact.slab import encode_slab

PADDING = -2000.0


def head_phantom(shape: tuple[int, int, int], seed: int = 0) -> NDArray[np.int16]:
    """Return a noisy bright blob in a circle of air, with padding around that."""
    _, rows, columns = shape
    y, x = np.mgrid[:rows, :columns]
    radius = np.hypot((y - rows / 2) / rows, (x - columns / 2) / columns)
    blob = np.where(radius < 0.3, 40.0, -1000.0)
    noise = np.random.default_rng(seed).normal(0, 12, shape)
    voxels = np.rint(blob + noise).astype(np.int16)
    voxels[:, radius > 0.45] = int(PADDING)
    return voxels


def layer_of(
    volume: Volume, max_error: float, networks: tuple[Network, Network], depth: int = 2
) -> ExactLayer:
    """Return the layer of a volume of any size, coded by networks that were fitted to another."""
    lattice = find_lattice(volume, max_error)
    if lattice is not None and lattice.levels < 2:
        lattice = None
    slabs, parts = [], []
    for first in range(0, volume.shape[0], depth):
        voxels = volume.voxels[first : first + depth]
        if lattice is None:
            data, crc = encode_plain(voxels), checksum(voxels)
        else:
            levels = lattice.to_levels(voxels, volume.padding)
            assert levels.min() >= 0
            assert levels.max() < lattice.levels
            data, crc = encode_slab(levels, networks, lattice.levels), checksum(levels)
        slabs.append(Slab(sum(map(len, parts)), len(data), zlib.crc32(data), crc))
        parts.append(data)
    return ExactLayer(
        max_error=max_error,
        depth=depth,
        features=16 if lattice else 0,
        lattice=lattice,
        networks=to_bytes(networks) if lattice else b"",
        slabs=tuple(slabs),
        data=Slabs(b"".join(parts), 0, sum(map(len, parts))),
    )


def slices_of(layer: ExactLayer, volume: Volume) -> ExactSlices:
    """Return what decodes a volume's layer."""
    return ExactSlices(layer, volume.shape, volume.dtype, volume.padding)


def decoded(layer: ExactLayer, volume: Volume) -> NDArray[Any]:
    """Return all voxels of a layer that is whole."""
    planes = dict(slices_of(layer, volume).all())
    assert list(planes) == list(range(volume.shape[0]))
    for plane in planes.values():
        if isinstance(plane, Exception):
            raise plane
    back = np.stack(list(planes.values()))
    return back.astype(planes[0].dtype, copy=False)  # which may be big-endian
