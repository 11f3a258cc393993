"""What it costs where torch's threads spin while they wait, as they do in napari.

    python benchmarks/wait_policy.py [--repeats 5]

The command sets OMP_WAIT_POLICY=PASSIVE before torch is loaded. The plugin does not: the process is that of
napari and of other plugins. The same fit and the same reconstruction are timed in processes of their own, in
turns with it and without, first by themselves and then beside a process that keeps one core busy.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace

from napari_inr_volume.codec import decompress
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.fields.registry import PRESETS
from napari_inr_volume.session import compress

from report import machine, table, write_section

SHAPE = (8, 192, 192)
STEPS = 300
POLICIES = {"set": "PASSIVE", "not set": None}
WORK = ("fit", "reconstruction")


def main() -> None:
    """Time both pieces of work under both policies, and put the ratios into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)  # one of the processes
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(seconds()))
        return
    rows = [
        ["alone", *ratios(arguments.repeats)],
        ["beside a busy process", *busy_ratios(arguments.repeats)],
    ]
    text = (
        f"Time without OMP_WAIT_POLICY over time with PASSIVE, median of {arguments.repeats} in turns:"
        f" {STEPS} steps of preset `default` on the phantom at {' x '.join(map(str, SHAPE))}, and its"
        f" reconstruction by SPAN."
        f" {machine()}.\n\n" + table(["", *WORK], rows)
    )
    print(text)
    write_section("wait_policy", text)


def seconds() -> dict[str, float]:
    """Return how long a fit and the reconstruction of it take here; what is compiled is compiled before."""
    volume, preset = head_phantom(SHAPE), PRESETS["default"]
    short, whole = (replace(preset, fit=preset.fit.with_all_steps(steps)) for steps in (20, STEPS))
    decompress(compress(volume, short, device="cpu", upscaler="span"), device="cpu")
    begin = time.perf_counter()
    inr = compress(volume, whole, device="cpu", upscaler="span")
    middle = time.perf_counter()
    decompress(inr, device="cpu")
    return dict(zip(WORK, (middle - begin, time.perf_counter() - middle), strict=True))


def ratios(repeats: int) -> list[str]:
    """Return the ratio of each piece of work, from processes with and without the policy in turns."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in POLICIES}
    for _ in range(repeats):
        for name, policy in POLICIES.items():
            environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
            environment |= {"OMP_WAIT_POLICY": policy} if policy else {}
            child = [sys.executable, __file__, "--alone"]
            done = subprocess.run(child, env=environment, capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout))
    medians = {
        name: {work: statistics.median(one[work] for one in times) for work in WORK}
        for name, times in found.items()
    }
    return [f"{medians['not set'][work] / medians['set'][work]:.2f}" for work in WORK]


def busy_ratios(repeats: int) -> list[str]:
    """Return the same while another process keeps a core busy."""
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        return ratios(repeats)
    finally:
        neighbour.kill()
        neighbour.wait()


if __name__ == "__main__":
    main()
