"""Every benchmark, one after another: each writes its tables into the documents, and is noted here.

    python benchmarks/all.py DATA [--only NAME...] [--again]
    python benchmarks/all.py --table

DATA is the folder of the CT volumes. A benchmark that was run before is not run again, unless --again says
so; those that keep points of their own then do what is missing. When each was run, on which machine and at
which commit is kept in benchmarks/all.json, and in the table of docs/benchmarks/runs.md. Let the machine do
nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from report import machine, table, write_json, write_section

HERE = Path(__file__).parent
KEPT = Path(__file__).with_suffix(".json")
CHEST, HEAD, THIGH = "dicom/lungfcp0001", "dicom/ge_head_tilt", "other/sts013_thigh.tif"
ABDOMEN = "other/totalseg_ct_3mm.nii.gz"
COHORT = (  # two series of a patient, and another patient
    *("train/acrin_breast001_0.tif", "train/acrin_breast001_1.tif", "train/acrin_breast013_chest.tif"),
)
THREE = (CHEST, HEAD, THIGH)
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
UNDER_XVFB = ("xvfb-run", "-a", "-s", "-screen 0 1600x1000x24")

# By name: script and arguments, volumes relative to DATA.
BENCHMARKS: dict[str, tuple[str, ...]] = {
    "volumes": ("volumes.py", *THREE),
    "blocks": ("blocks.py", *THREE),
    "rate-distortion": ("rate_distortion.py", *THREE, "phantom"),
    "exact": ("exact.py", "."),
    "optimisers": ("optimisers.py", *THREE),
    "prediction": ("prediction.py", *THREE, ABDOMEN, "train/crlm1006_abdomen.tif"),
    "coding": ("coding.py", CHEST),
    "fit_speed": ("fit_speed.py", CHEST, "--seeds", "5"),
    "seconds-left": ("seconds_left.py", *THREE),
    "paper": ("paper_tables.py", CHEST, HEAD, "--steps", "1000"),
    "superres-4": ("superres.py", *THREE, ABDOMEN, "--factor", "4"),
    "superres-2": ("superres.py", *THREE, ABDOMEN, "--factor", "2"),
    "exact-start": ("exact_start.py", "."),
    "exact-cohort": ("exact_cohort.py", *COHORT),
    "determinism": ("determinism.py",),
    "decoding": ("decoding.py",),
    "scaling": ("scaling.py",),
    "scaling-cubes": ("scaling.py", "--cubes", "128,256,512,2048x1024x1024"),
    "cluster": ("cluster.py",),
    "ui": ("ui_gap.py",),
    "tour": ("ui_tour.py", ABDOMEN, CHEST),
    "wait_policy": ("wait_policy.py",),
}
IN_A_WINDOW = ("ui", "tour")
ALL_THREADS = (
    *("cluster", "exact", "exact-start", "decoding", "determinism", "fit_speed", "scaling", "scaling-cubes"),
    "wait_policy",
    *IN_A_WINDOW,
)


def main() -> None:
    """Run what is asked for, and put the table of all runs into the documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS))
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--table", action="store_true", help="only write the table")
    arguments = parser.parse_args()
    if arguments.data is None and not arguments.table:
        parser.error("DATA is missing, the folder of the volumes; or give --table")
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
    for name in () if arguments.table else arguments.only:
        if name in kept and not arguments.again:
            print(f"{name}: run on {kept[name]['date']}, at {kept[name]['commit']}")
            continue
        print(f"{name}: {shown(name)}", flush=True)
        kept[name] = run(name, arguments.data)
        write_json(KEPT, kept)
    write_section("runs", as_text(kept))


def run(name: str, data: Path) -> dict[str, Any]:
    """Run a benchmark to its end; returns when, where and of which commit it was."""
    script, *arguments = BENCHMARKS[name]
    command = [sys.executable, str(HERE / script), *(str(found(data, one)) for one in arguments)]
    environment = os.environ | ({} if name in ALL_THREADS else ONE_THREAD)
    started = time.perf_counter()
    subprocess.run([*(UNDER_XVFB if name in IN_A_WINDOW else ()), *command], env=environment, check=True)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "minutes": round((time.perf_counter() - started) / 60),
    }


def found(data: Path, argument: str) -> Path | str:
    """Return an argument, as a path if it is a volume or the folder of all."""
    return (
        data / argument
        if argument == "." or argument.startswith(("dicom/", "other/", "train/"))
        else argument
    )


def commit() -> str:
    """Return the commit that is checked out, and whether code was changed since; each run changes tables."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True)
    code = ["git", "diff", "--quiet", "HEAD", "--", "../src", "*.py"]
    changed = subprocess.run(code, cwd=HERE, check=False).returncode
    return done.stdout.strip() + ("-dirty" if changed else "")


def shown(name: str) -> str:
    """Return a benchmark's command as a person would write it."""
    script, *arguments = BENCHMARKS[name]
    words = " ".join(f'"{one}"' if " " in one else one.split("/")[-1] for one in arguments)
    return f"python benchmarks/{script} {words}".replace(" .", " DATA").rstrip()


def as_text(kept: dict[str, Any]) -> str:
    """Return the table of all benchmarks, run by this or not."""
    header = ["command", "run on", "at commit", "minutes", "machine"]
    rows = []
    for name in BENCHMARKS:
        one = kept.get(name)
        cells = ["before runs were noted", "", "", ""]
        if one is not None:
            cells = [one["date"], one["commit"], str(one["minutes"]), one["machine"]]
        rows.append([f"`{shown(name)}`", *cells])
    return table(header, rows)


if __name__ == "__main__":
    main()
