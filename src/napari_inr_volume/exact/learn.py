"""Fit the context networks to the volume that they will code: on samples, in float32, then rounded."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import product
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..compute.adam import Adam
from ..core.errors import FitError
from ..core.region import Region
from .contexts import BORDER, FIRST, LATER, Contexts
from .kernels import predict_planes, sample, work
from .model import SEED, ContextModel, start
from .network import Network, linear_rounded
from .slab import Levels, border
from .tables import PARTS, tables

CROPS = 64  # places in the volume that samples come from
CROP = 136  # voxels along y and x, of a crop
DEPTH = 5  # slices of a crop: two are seen, and each of their residuals sees two more
BATCH = 8192  # samples; an eighth of the voxels of a small volume
STEPS = {FIRST: 200, LATER: 500}  # at most
LEAST_STEPS = 40
PASSES = 20  # over the voxels of a small volume, for which fewer steps do
RATE = 4e-3
RATES = RATE / 25, RATE, RATE / 25 / 1e4  # at the first step, at the highest, at the last
MOMENTA = 0.95, 0.85, 0.95  # Adam's first beta there
RISING = 0.05  # of the steps, up to the highest rate
TRIED_CROPS, TRIED_STEPS = 32, 50

ReadLevels = Callable[[Region], Levels]
Start = Callable[[Contexts, int], ContextModel]


@dataclass(frozen=True)
class Learning:
    """How far the fit of the networks has come."""

    step: int
    steps: int
    bits: float  # a voxel, of the latest samples


@dataclass(frozen=True)
class Crops:
    """Parts of the volume in memory as a slab's is: levels (crops DEPTH, y, x), and where samples may lie."""

    values: NDArray[np.int32]
    places: NDArray[np.int64]

    @property
    def row(self) -> int:
        """Numbers between one voxel and the next along y."""
        return int(self.values.shape[2])

    @property
    def plane(self) -> int:
        """Numbers between one voxel and the next along z."""
        return int(self.values.shape[1]) * self.row


def learn(
    read: ReadLevels, shape: tuple[int, int, int], features: int, begin: Start = start
) -> Generator[Learning, None, tuple[Network, Network]]:
    """Fit both networks with so many features a layer to levels (z, y, x); yields progress.

    `begin` gives the model that the fit of a network begins with.
    """
    crops = gather(read, shape, CROPS)
    steps = _steps(shape)
    done, networks = 0, []
    for contexts in (FIRST, LATER):
        fitting = ContextFit(crops, contexts, begin(contexts, features))
        for step, bits in fitting.run(steps[contexts]):
            yield Learning(done + step, sum(steps.values()), bits)
        networks.append(fitting.network())
        done += steps[contexts]
    return networks[0], networks[1]


@dataclass(frozen=True)
class Trial:
    """What a short fit tells of a whole one."""

    bits: float  # a voxel, at its end
    seconds: float  # that the whole fit takes
    networks: tuple[Network, Network]
    piece: Levels  # (z, y, x), a part of the volume to code by them


def trial(read: ReadLevels, shape: tuple[int, int, int], features: int, drop: Event | None = None) -> Trial:
    """Fit a network for slices after the first to a few crops, in a few steps.

    Raises FitError between two crops or steps once `drop` is set.
    """

    def wanted(region: Region) -> Levels:
        raise_if_dropped(drop)
        return read(region)

    crops = gather(wanted, shape, TRIED_CROPS)
    fitting = ContextFit(crops, LATER, start(LATER, features))
    started = time.perf_counter()
    bits = []
    for _, each in fitting.run(TRIED_STEPS):
        raise_if_dropped(drop)
        bits.append(each)
    a_step = (time.perf_counter() - started) / TRIED_STEPS
    inner = crops.values[:, BORDER:-BORDER, BORDER:-BORDER]
    return Trial(
        bits=float(np.mean(bits[-TRIED_STEPS // 5 :])) * len(crops.places) / inner[::DEPTH].size,
        seconds=a_step * sum(_steps(shape).values()),
        networks=(ContextFit(crops, FIRST, start(FIRST, features)).network(), fitting.network()),
        piece=inner[:DEPTH].copy(),
    )


def raise_if_dropped(drop: Event | None) -> None:
    """Raise FitError if a trial is to be dropped."""
    if drop is not None and drop.is_set():
        raise FitError("the prediction of the exact layer was cancelled")


def _steps(shape: tuple[int, int, int]) -> dict[Contexts, int]:
    """Return the steps that a volume's networks are fitted in."""
    enough = max(LEAST_STEPS, PASSES * math.prod(shape) // BATCH)
    return {contexts: min(most, enough) for contexts, most in STEPS.items()}


def one_cycle(step: int, steps: int) -> tuple[float, tuple[float, float]]:
    """Return learning rate and betas of one of so many steps; Smith and Topin 2018, as torch's OneCycleLR."""
    top = RISING * steps - 1
    rises = step <= top
    part = step / top if rises else (step - top) / (steps - 1 - top)
    left = (1 + math.cos(math.pi * part)) / 2
    rate, momentum = (
        end + (begin - end) * left
        for begin, end in (each[:2] if rises else each[1:] for each in (RATES, MOMENTA))
    )
    return rate, (momentum, 0.99)


def gather(read: ReadLevels, shape: tuple[int, int, int], most: int, seed: int = SEED) -> Crops:
    """Read up to `most` crops from all over the volume."""
    random = np.random.default_rng(seed)
    depth, rows, columns = shape
    size = min(rows, CROP), min(columns, CROP)
    number = min(most, max(1, 2 * math.prod(shape) // math.prod(size)))
    values = np.zeros((number * DEPTH, size[0] + 2 * BORDER, size[1] + 2 * BORDER), np.int32)
    slices = np.linspace(0, depth - 1, number).round().astype(int)  # all depths alike, in order
    corners = list(product(*map(_starts, shape[1:], size)))
    order = np.concatenate([random.permutation(len(corners)) for _ in range(-(-number // len(corners)))])
    for crop, z in enumerate(slices):
        y, x = corners[order[crop]]
        first = max(z - DEPTH + 1, 0)
        part = read((slice(first, z + 1), slice(y, y + size[0]), slice(x, x + size[1])))
        planes = values[crop * DEPTH : (crop + 1) * DEPTH]
        inner = planes[:, BORDER:-BORDER, BORDER:-BORDER]
        inner[DEPTH - len(part) :] = part
        inner[: DEPTH - len(part)] = part[0]
        for plane in planes:
            border(plane)
    return crops_of(values)


def crops_of(values: NDArray[np.int32]) -> Crops:
    """Return crops of which these are the levels (crops DEPTH, y, x), borders included."""
    return Crops(values, _places(values))


def _starts(length: int, size: int) -> list[int]:
    """Return where parts of an axis start that cover it about evenly."""
    starts: list[int] = np.linspace(0, length - size, -(-length // size)).round().astype(int).tolist()
    return starts


def _places(values: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return where in each crop's last slice a voxel is not like all that are next to it."""
    last, before = values[DEPTH - 1 :: DEPTH], values[DEPTH - 2 :: DEPTH]
    here = last[:, BORDER:-BORDER, BORDER:-BORDER]
    same = np.ones(here.shape, bool)
    beside = [(last, 0, -1), (last, -1, 0), (last, -1, 1), (before, 0, 0), (before, 0, 1), (before, 1, 0)]
    for plane, dy, dx in beside:
        rows = slice(BORDER + dy, BORDER + dy + here.shape[1])
        columns = slice(BORDER + dx, BORDER + dx + here.shape[2])
        same &= here == plane[:, rows, columns]
    crop, y, x = np.nonzero(~same)
    places = ((crop * DEPTH + DEPTH - 1) * values.shape[1] + y + BORDER) * values.shape[2] + x + BORDER
    return (
        places.astype(np.int64)
        if len(places)
        else np.array([values[0].size * (DEPTH - 1) + values.shape[2] * BORDER + BORDER])
    )


class ContextFit:
    """The fit of one network to samples of the crops."""

    def __init__(self, crops: Crops, contexts: Contexts, model: ContextModel, seed: int = SEED) -> None:
        self.crops, self.contexts, self.model = crops, contexts, model
        self.batch = min(BATCH, max(512, len(crops.places) // 8))
        self.random = np.random.default_rng(seed)
        self.values = crops.values.reshape(-1)
        self.linear = self._linear()
        net = self.network().net(crops.plane, crops.row)
        self.net, self.tables, self.tile = net, tables(len(contexts.residuals)), work(net)
        self.residuals = np.zeros_like(self.values)
        inner = crops.values.shape[1] - 2 * BORDER, crops.values.shape[2] - 2 * BORDER
        for plane in range(len(crops.values)):
            if plane % DEPTH >= (DEPTH - 3 if contexts is LATER else DEPTH - 1):
                predict_planes(net, self.values, self.residuals, self.tile, plane * crops.plane, *inner)

    def network(self) -> Network:
        """Return the network as it is now, rounded."""
        return Network(self.contexts, self.linear, self.model.layers())

    def run(self, steps: int) -> Generator[tuple[int, float], None, None]:
        """Fit it; yields steps done and bits a voxel."""
        optimiser = Adam(self.model.parameters(), RATE)
        for step in range(steps):
            optimiser.learning_rate, optimiser.betas = one_cycle(step, steps)
            inputs, found = self.sample(self.batch)
            loss = self.model.bits(inputs, found)
            self.model.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimiser.step()
            yield step + 1, loss.item()

    def sample(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `ContextModel.bits` takes, of so many random places."""
        places = self.random.choice(self.crops.places, count)
        inputs = np.empty((count, self.contexts.inputs), np.float32)
        found = np.empty((count, 4), np.float32)
        sample(self.net, self.tables, self.values, self.residuals, places, self.tile, inputs, found)
        return torch.from_numpy(inputs) / PARTS, torch.from_numpy(found)

    def _linear(self) -> NDArray[np.int16]:
        """Return the linear prediction whose error is small where voxels are alike."""
        strides = np.array([self.crops.plane, self.crops.row, 1])
        offsets = np.array(self.contexts.values) @ strides
        places = self.random.choice(self.crops.places, min(50_000, 2 * len(self.crops.places)))
        seen = self.values[places[:, None] + offsets].astype(np.float64)
        value = self.values[places].astype(np.float64)
        middle = seen.mean(axis=1)
        seen -= middle[:, None]
        value -= middle
        spread = np.abs(seen).mean(axis=1) + 0.3
        weights = 1 / spread**2
        for _ in range(2):
            weighted = seen * weights[:, None]
            # By einsum, on one thread: those of BLAS wait for one another on a busy machine.
            products = np.einsum("ki,kj->ij", seen, weighted)
            # Weights that add up to 1 follow the level: what is missing goes to all alike, as in the middle.
            ridge = (1e-6 * np.trace(products) / len(offsets) + 1e-9) * np.eye(len(offsets))
            found = np.linalg.solve(products + ridge, np.einsum("ki,k->i", weighted, value))
            missed = np.abs(value - np.einsum("ki,i->k", seen, found))
            weights = 1 / (spread * (missed + 0.3 * spread))
        return linear_rounded(found + (1 - found.sum()) / len(offsets))
