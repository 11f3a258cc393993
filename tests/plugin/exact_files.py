"""An `.inr` with an exact layer of several small slabs, which needs no fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_inr_volume.core.generators import drain
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.exact import encode
from napari_inr_volume.inr_volume import InrVolume
from napari_inr_volume.plugin.shown_voxels import KEPT_BYTES, ShownVoxels, shown_levels
from napari_inr_volume.reader import Reader

SHAPE = (10, 20, 20)
DEPTH = 2  # slices of a slab


def voxels() -> NDArray[np.int16]:
    """Return noise, of which no network makes a good preview."""
    return np.random.default_rng(0).integers(-1000, 3000, SHAPE).astype(np.int16)


def with_exact(inr: InrVolume, monkeypatch: pytest.MonkeyPatch) -> InrVolume:
    """Return an `.inr` of that shape with those voxels beside its network."""
    monkeypatch.setattr(encode, "DEPTH", DEPTH)
    volume = Volume.from_array(voxels(), padding=-2000, units="HU")
    return replace(inr, exact=drain(encode.encode_exact(volume)))


def damaged(inr: InrVolume, slab: int) -> InrVolume:
    """Return it with a byte of a slab changed."""
    assert inr.exact is not None
    data = bytearray(b"".join(inr.exact.data.chunks()))
    data[inr.exact.slabs[slab].start] ^= 1
    where: Any = bytes(data)
    return replace(inr, exact=replace(inr.exact, data=replace(inr.exact.data, where=where, start=0)))


def exact_voxels(inr: InrVolume, kept_bytes: int = KEPT_BYTES) -> ShownVoxels:
    """Return its exact voxels, over its reconstruction, over its LR."""
    reader = Reader(inr, device="cpu")
    hr = shown_levels(inr, lambda: reader)["hr"]
    return ShownVoxels(inr, "exact", lambda: reader, hr, kept_bytes=kept_bytes)
