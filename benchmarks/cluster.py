"""How pieces of work spread over a Dask cluster, and what of them moves over the network.

    python benchmarks/cluster.py [--cost 30] [--workers 4,64] [--json OUT]

Scheduling: pieces that do nothing for --cost seconds, four for each worker. The workers are threads of this
process, each with a connection of its own: what is measured is client, scheduler and messages.
Work: the slabs of an exact layer by one worker of this machine and by four, processes of one thread.
Bytes: of a piece as it is sent, and of a box's state as it comes back.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import tempfile
import time
from collections import deque
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_inr_volume.cluster import Cluster, connected
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.place import Caller, Place
from napari_inr_volume.core.portable import portable
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.exact.encode import AHEAD, DEPTH, Coding, SlabCoder, encode_exact, find_coder
from napari_inr_volume.exact.layer import ExactLayer
from napari_inr_volume.fields.registry import PRESETS, find_kind
from napari_inr_volume.fields.samples import LrSamples
from napari_inr_volume.fields.siren.fit import fit

from report import machine, table, write_json, write_section

PIECES = 4  # a worker
REPEATS = 3  # of coding slabs
WORKED = (128, 128, 128)  # voxels whose slabs are coded


def main() -> None:
    """Measure all, print it, and put it into docs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cost", type=float, default=30.0, help="seconds of a simulated piece")
    parser.add_argument("--workers", default="4,64")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    spread = {int(count): scheduled(int(count), arguments.cost) for count in arguments.workers.split(",")}
    seconds, layer, volume = worked()
    moved = sizes(layer, volume)
    text = as_text(arguments.cost, spread, seconds, moved)
    print(text)
    write_section("cluster", text)
    figures = {"machine": machine(), "cost": arguments.cost, "spread": spread, "slabs": seconds}
    write_json(arguments.json, figures | {"bytes": moved})


def idle(seconds: float, caller: Caller) -> None:
    """Do nothing for a while."""
    caller.gone.wait(seconds)


def scheduled(workers: int, cost: float) -> float:
    """Return the seconds that simulated pieces take, begun and taken in order as slabs are."""
    import dask
    from distributed import LocalCluster

    # Of which there would be one for each worker, all looking at all threads of this process.
    dask.config.set({"distributed.worker.profile.enabled": False})
    there = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
    )
    with there, connected(there.scheduler_address) as place, place.pieces() as pieces:
        place._client.wait_for_workers(workers)
        for first in [pieces.submit(idle, 0.0) for _ in range(workers)]:
            first.result()
        started, waiting = time.perf_counter(), deque[Any]()
        for _ in range(PIECES * workers):
            waiting.append(pieces.submit(idle, cost))
            if len(waiting) >= AHEAD * pieces.at_once:
                waiting.popleft().result()
        for one in waiting:
            one.result()
        return time.perf_counter() - started


def worked() -> tuple[dict[str, float], ExactLayer, Volume]:
    """Return the seconds of coding the slabs of a volume here, by one worker and by four."""
    volume = head_phantom(WORKED)
    seconds: dict[str, float] = {}
    runs = [coded(volume, None) for _ in range(REPEATS)]
    layer = runs[0][1]
    seconds["threads here"] = statistics.median(took for took, _ in runs)
    for workers in (1, 4):
        with connected(workers=workers) as place:
            compiled(place, workers)
            runs = [coded(volume, place) for _ in range(REPEATS)]
            found = runs[0][1]
            seconds[f"{workers} worker{'s' * (workers > 1)}"] = statistics.median(took for took, _ in runs)
        if found != layer:
            raise SystemExit("the slabs of workers are other bytes than those made here")
    return seconds, layer, volume


def compiled(place: Cluster, workers: int) -> None:
    """Have every worker load what it takes to code, which is no cost of the slabs."""
    coded(head_phantom((2 * workers * DEPTH, 32, 32)), place)


def coded(volume: Volume, place: Place | None) -> tuple[float, ExactLayer]:
    """Return the seconds of coding the slabs alone, and the layer."""
    began = 0.0
    with closing(encode_exact(volume, 0.0, place=place)) as coding:
        while True:
            try:
                record = next(coding)
            except StopIteration as end:
                return time.perf_counter() - began, end.value
            if isinstance(record, Coding):
                began = began or time.perf_counter()
            else:
                began = 0.0
                if record.step == record.steps:
                    began = time.perf_counter()


def sizes(layer: ExactLayer, volume: Volume) -> dict[str, int]:
    """Return the bytes of a slab's piece whose voxels lie in a file, and of the state of a box's fit."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "a.npy", volume.voxels)
        mapped = Volume.from_array(np.load(Path(folder) / "a.npy", mmap_mode="r"))
        read = portable(mapped, (slice(0, DEPTH), slice(None), slice(None)))
        code = SlabCoder(find_coder(volume, 0.0), layer.networks, 0.0, None, 1)
        slab = len(pickle.dumps((code, (read,))))
    settings = PRESETS["default"]
    lr = volume.voxels.astype(np.float32)
    cpu = torch.device("cpu")
    samples = LrSamples(lr, volume.shape, (1.0, 1.0, 1.0), volume.intensity_range, cpu)
    config = replace(settings.fit.with_all_steps(20), batch=512)
    with closing(fit(samples, settings.field, config, cpu)) as fitting:
        state = next(fitting).state()
    return {"slab": slab, "state": len(find_kind(settings.field.kind).state_to_bytes(state))}


def as_text(cost: float, spread: dict[int, float], seconds: dict[str, float], moved: dict[str, int]) -> str:
    """Return the tables."""
    ideal = PIECES * cost
    rows = [
        [str(workers), str(PIECES * workers), f"{found:.1f} s", f"{100 * ideal / found:.0f} %"]
        for workers, found in spread.items()
    ]
    size = " x ".join(map(str, WORKED))
    slabs = -(-WORKED[0] // DEPTH)
    return (
        f"Pieces that do nothing for {cost:g} s, {PIECES} for each worker: ideally {ideal:g} s."
        f" {machine()}.\n\n"
        f"{table(['workers', 'pieces', 'time', 'of the ideal'], rows)}\n\n"
        f"The {slabs} slabs of a head phantom of {size}, to the same bytes; medians of {REPEATS}:\n\n"
        f"{table(list(seconds), [[f'{each:.1f} s' for each in seconds.values()]])}\n\n"
        f"A slab that a worker reads by itself is sent as {moved['slab']:,} bytes; the state of a box with"
        f" the network of the preset `default` comes back as {moved['state']:,} bytes."
    )


if __name__ == "__main__":
    main()
