"""What an exact layer will take, before it is made: from a short fit, and from coding a piece."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from threading import Event

import numpy as np

from ..core.volume import Volume
from . import kernels
from .encode import DEPTH, WIDTHS, Coder, find_coder
from .layer import ENTRY, HEAD
from .learn import raise_if_dropped, trial
from .network import sizes
from .plain import encode_plain
from .slab import encode_slab, slabs_at_once, threads_a_slab

LEARNT = 0.97  # bits of the whole fit by those of the trial: 0.88 to 1.18 on five CTs at bounds of 0, 2 and 5
SLICES = 4  # that are coded where there are no networks
PACKED = 0.6  # bytes of the networks, by those before they are compressed


@dataclass(frozen=True)
class ExactPrediction:
    """About what an exact layer takes."""

    nbytes: int  # in the file
    seconds: float  # to make it on this machine, if nothing else runs


def is_ready() -> bool:
    """Whether what codes is compiled, in this process."""
    return bool(kernels.code_waves.signatures)


def make_ready() -> None:
    """Compile what codes: a minute or more the first time on a machine, a moment later on."""
    noise = np.random.default_rng(0).integers(0, 50, (8, 24, 24), np.int32)
    tried = trial(lambda region: noise[region], (8, 24, 24), WIDTHS[0][1])
    encode_slab(tried.piece, tried.networks, 50)


def predict_exact(volume: Volume, max_error: float, drop: Event | None = None) -> ExactPrediction:
    """Try it on parts of the volume, which takes a second or two once `make_ready` was called.

    Raises FitError for an error that the volume's dtype does not know, and soon after another thread has
    set `drop`.
    """
    coder = find_coder(volume, max_error)
    if coder is not None and not is_ready():  # or the time that it takes would count
        make_ready()
    nbytes, seconds = _plain(volume) if coder is None else _learnt(volume, coder, drop)
    slabs = -(-volume.shape[0] // DEPTH)
    return ExactPrediction(round(nbytes) + HEAD.size + slabs * ENTRY.size, seconds)


def _learnt(volume: Volume, coder: Coder, drop: Event | None) -> tuple[float, float]:
    tried = trial(coder.reading(volume), volume.shape, coder.features, drop)
    voxels, piece = math.prod(volume.shape), tried.piece
    started = time.perf_counter()
    encode_slab(piece, tried.networks, coder.lattice.levels, drop)
    raise_if_dropped(drop)
    at_once = slabs_at_once(DEPTH, volume.shape)
    coding = (time.perf_counter() - started) * voxels / piece.size / (at_once * threads_a_slab(at_once))
    return tried.bits * LEARNT / 8 * voxels + sizes(coder.features) * PACKED, tried.seconds + coding


def _plain(volume: Volume) -> tuple[float, float]:
    first = max(0, volume.shape[0] - SLICES) // 2
    piece = volume.read((slice(first, first + SLICES), slice(None), slice(None)))
    started = time.perf_counter()
    share = volume.shape[0] / len(piece)
    nbytes = len(encode_plain(piece)) * share
    return nbytes, (time.perf_counter() - started) * share / slabs_at_once(DEPTH, volume.shape)
