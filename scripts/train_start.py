"""Train the weights from which fits of the exact layer's context networks start.

    python scripts/train_start.py DATA/train [--steps FIRST LATER]

Both networks, for the first slice of a slab and for the later ones, in every width that is used, see crops of
all volumes of the folder, turned about, at bounds from 0 to 10. Writes the package's start.safetensors.
Twelve CTs and the default steps take about half an hour on one core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from napari_inr_volume.core.region import Region
from napari_inr_volume.exact.contexts import FIRST, LATER, Contexts
from napari_inr_volume.exact.encode import WIDTHS
from napari_inr_volume.exact.learn import RATE, ContextFit, gather
from napari_inr_volume.exact.model import SHIPPED, ContextModel, as_key
from napari_inr_volume.exact.slab import Levels
from napari_inr_volume.io.sources import read_source

STEPS = (6_000, 16_000)
BOUNDS = (0, 0, 0, 1, 2, 2, 3, 5, 5, 10)  # as often as they are seen
CROPS = 32  # of a volume at a time
AT_ONCE = 24  # volumes, each turned and at one bound, that samples come from
STEPS_A_CHANGE = 60  # after which one of them makes room for another
BATCH = 8192
SEED = 1


def main() -> None:
    """Train, and write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, nargs=2, default=STEPS)
    parser.add_argument("--output", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    volumes = [read_source(path).read() for path in sorted(arguments.folder.glob("*.tif"))]
    if not volumes:
        parser.error(f"no .tif in {arguments.folder}")
    weights: dict[str, torch.Tensor] = {}
    for contexts, steps in zip((FIRST, LATER), arguments.steps, strict=True):
        for model in train(volumes, contexts, steps):
            features = model.second.in_features
            for key, tensor in model.state_dict().items():
                weights[as_key(contexts, features, key)] = tensor.contiguous()
    save_file(weights, arguments.output)


def train(volumes: list[NDArray[Any]], contexts: Contexts, steps: int) -> list[ContextModel]:
    """Return the models of all widths, which see the same samples."""
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    models = [ContextModel(contexts, features) for _, features in WIDTHS]
    optimisers = [torch.optim.Adam(model.parameters(), RATE, betas=(0.9, 0.99)) for model in models]
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(each, RATE, total_steps=steps, pct_start=0.02)
        for each in optimisers
    ]
    seen = [choose(volumes, contexts, models[0], random) for _ in range(AT_ONCE)]
    started, latest = time.perf_counter(), []
    for step in range(1, steps + 1):
        if step % STEPS_A_CHANGE == 0:
            seen[step // STEPS_A_CHANGE % AT_ONCE] = choose(volumes, contexts, models[0], random)
        samples = seen[random.integers(AT_ONCE)].sample(BATCH)
        for model, optimiser, schedule in zip(models, optimisers, schedules, strict=True):
            loss = model.bits(*samples)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        latest.append(loss.item())
        if step % 1000 == 0:
            seconds = time.perf_counter() - started
            print(
                f"{contexts.name}: {step:,} steps, {mean(latest[-1000:]):.4f} bits, {seconds:.0f} s",
                flush=True,
            )
    return models


def choose(
    volumes: list[NDArray[Any]], contexts: Contexts, model: ContextModel, random: np.random.Generator
) -> ContextFit:
    """Return crops of a volume, turned by chance, at a bound and in steps that begin by chance."""
    voxels = volumes[random.integers(len(volumes))]
    step = 2 * int(random.choice(BOUNDS)) + 1
    first = int(voxels.min()) - int(random.integers(step))
    turned = voxels[tuple(slice(None, None, int(random.choice([-1, 1]))) for _ in range(3))]
    if random.random() < 0.3:
        turned = turned.transpose(0, 2, 1)

    def read(region: Region) -> Levels:
        return ((turned[region].astype(np.int64) - first) // step).astype(np.int32)

    seed = int(random.integers(2**31))
    return ContextFit(gather(read, turned.shape, CROPS, seed), contexts, model, seed)


if __name__ == "__main__":
    main()
