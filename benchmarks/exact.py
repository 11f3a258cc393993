"""What the exact layer takes, losslessly and to within a bound, beside codecs that keep the same bound.

    python benchmarks/exact.py DATA [--volume NAME...] [--train] [--k K...] [--codec NAME...] [--again]
    python benchmarks/exact.py --table

DATA is the folder of the volumes. They are taken whole, with bytes as they would lie on disk without the
preview: slabs, networks and head of ours; of the others the coded pixels (`classical.by_bound`). What is
coded is decoded and held against the source, voxel by voxel. Each point is kept in benchmarks/exact.json as
it is found, and a rerun does those that are missing, or with --again all; so the tables, which every run
writes anew, may hold points of several runs. --train adds the volumes of DATA/train.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_inr_volume import Volume, exact
from napari_inr_volume.classical.by_bound import BOUNDED, code_to_bound
from napari_inr_volume.core.errors import InrError
from napari_inr_volume.core.generators import drain
from napari_inr_volume.core.metrics import largest_error
from napari_inr_volume.exact.encode import encode_exact
from napari_inr_volume.fields.registry import PRESETS
from napari_inr_volume.fields.siren.config import SirenConfig
from napari_inr_volume.io.inr_file import read_inr, write_inr
from napari_inr_volume.io.sources import read_source
from napari_inr_volume.reader import Reader
from napari_inr_volume.superres.upscale import LanczosUpscaler

from report import machine, table, write_json, write_section
from scaling import fresh_inr

KEPT = Path(__file__).with_suffix(".json")
VOLUMES = {
    "lungfcp0001": "dicom/lungfcp0001",
    "ge_head_tilt": "dicom/ge_head_tilt",
    "sts013_thigh": "other/sts013_thigh.tif",
    "totalseg_ct_3mm": "other/totalseg_ct_3mm.nii.gz",
    "visible_female_head": "other/visible_female_head_png8",
}
ERRORS = (0, 1, 2, 5, 10)
OURS = "ours"
LABELS = {OURS: "exact layer"} | {name: codec.label for name, codec in BOUNDED.items()}
USUAL = ("jpegls", "jpegxl")  # the rivals of the first summary
READS = 12  # slices that are read cold


def main() -> None:
    """Find the points that are missing, print the tables, and put them into docs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--volume", nargs="+", help=f"of {', '.join(VOLUMES)} or train/NAME; by default all")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--k", type=int, nargs="+", default=ERRORS)
    parser.add_argument("--codec", nargs="+", choices=list(LABELS), default=list(LABELS))
    parser.add_argument("--again", action="store_true", help="measure what is there already too")
    parser.add_argument("--table", action="store_true", help="only write the tables")
    arguments = parser.parse_args()
    if arguments.data is None and not arguments.table:
        parser.error("DATA is missing, the folder of the volumes; or give --table")
    kept = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
    sources = {} if arguments.table else find_sources(arguments.data, arguments.volume, arguments.train)
    for name, source in sources.items():
        volume = read_source(source)
        found = kept.setdefault(name, {"what": volume.summary, "points": {}})
        for error in arguments.k:
            points = found["points"].setdefault(str(error), {})
            for codec in arguments.codec:
                if codec not in points or arguments.again:
                    points[codec] = measure(volume, codec, error)
                    print(name, error, codec, points[codec], flush=True)
                    write_json(KEPT, kept)
    text = as_text(kept)
    print(text)
    write_section("exact", text)
    write_section("exact-volumes", details(kept))


def find_sources(data: Path, names: list[str] | None, train: bool) -> dict[str, Path]:
    """Return volumes by name."""
    training = {f"train/{path.stem}": path for path in sorted((data / "train").glob("*.tif"))}
    known = {name: data / path for name, path in VOLUMES.items()}
    wanted = [*known, *(training if train else [])] if names is None else names
    if unknown := set(wanted) - set(known) - set(training):
        raise SystemExit(f"no such volume in {data}: {', '.join(sorted(unknown))}")
    return {name: (known | training)[name] for name in wanted}


def measure(volume: Volume, codec: str, error: int) -> dict[str, Any]:
    """Return bytes, bits a voxel, seconds and the largest error of one codec at one bound."""
    found = ours(volume, error) if codec == OURS else asdict(code_to_bound(BOUNDED[codec], volume, error))
    found.pop("label", None)
    return found | {"bits": 8 * found["size"] / volume.voxels.size, "machine": machine()}


def ours(volume: Volume, error: int) -> dict[str, Any]:
    """Encode, write beside a hardly fitted preview, decode all, and read slices at random."""
    small = replace(PRESETS["fast"], field=SirenConfig(layers=2, hidden_features=16))
    preview = fresh_inr(volume, small, LanczosUpscaler(small.factor[1:]))
    started = time.perf_counter()
    layer = drain(encode_exact(volume, error))
    encoded = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "exact.inr"
        write_inr(replace(preview, exact=layer), path)
        started = time.perf_counter()
        reader = Reader(read_inr(path), device="cpu")
        voxels = np.empty(volume.shape, volume.dtype)
        for z, plane in reader.slices("exact"):
            voxels[z] = plane
        decoded = time.perf_counter() - started
        reads = list(random_reads(path, volume))
    off = largest_error(volume.read(), voxels)
    if off > error:
        raise InrError(f"the exact layer is off by {off:g} where {error} is allowed")
    return {
        "setting": f"{layer.features} features, slabs of {layer.depth} slices",
        "size": layer.nbytes,
        "max_error": off,
        "encode_seconds": encoded,
        "decode_seconds": decoded,
        "cold_seconds": [cold for cold, _ in reads],
        "warm_seconds": [warm for _, warm in reads],
    }


def random_reads(path: Path, volume: Volume) -> Iterator[tuple[float, float]]:
    """Yield the seconds from a closed file to a slice, and those in which it is read once more."""
    for z in np.random.default_rng(0).integers(volume.shape[0], size=READS):
        started = time.perf_counter()
        reader = Reader(read_inr(path), device="cpu")
        reader.plane(int(z), "exact")
        cold = time.perf_counter()
        reader.plane(int(z), "exact")
        yield cold - started, time.perf_counter() - cold


def as_text(kept: dict[str, Any]) -> str:
    """Return the tables of all volumes together."""
    names, errors = names_of(kept), errors_of(kept)
    machines = {
        point["machine"]
        for name in names
        for each in kept[name]["points"].values()
        for point in each.values()
    }
    head = ["volume", *map(as_bound, errors)]
    parts = [
        "Whole volumes, the preview left out. The bound is in the volume's units; what lies outside the scan"
        " circle counts like any voxel. All codecs run on every core, apart from zstd, which runs on one."
        f" {'; '.join(sorted(machines))}.",
        "Bytes of the exact layer against the better of JPEG-LS and JPEG XL, each on slices:",
        table(head, summary(kept, names, errors, USUAL)),
        "Against the best of all codecs:",
        table(head, summary(kept, names, errors, tuple(BOUNDED))),
        "A random slice, from a closed file, mean and worst; and one whose slab is decoded:",
        table(head, [[marked(name), *(reads(kept, name, error) for error in errors)] for name in names]),
    ]
    return "\n\n".join(parts)


def details(kept: dict[str, Any]) -> str:
    """Return every volume's table."""
    errors = errors_of(kept)
    return "\n\n".join(of_volume(name, kept[name], errors) for name in names_of(kept))


def names_of(kept: dict[str, Any]) -> list[str]:
    """Return the volumes that have points, in the order of the tables."""
    return [name for name in (*VOLUMES, *sorted(set(kept) - set(VOLUMES))) if name in kept]


def errors_of(kept: dict[str, Any]) -> list[int]:
    """Return the bounds that were measured."""
    return sorted({int(error) for name in names_of(kept) for error in kept[name]["points"]})


def as_bound(error: int) -> str:
    """Return a bound as a column's head."""
    return "lossless" if error == 0 else f"within {error}"


def marked(name: str) -> str:
    """Return a volume's name, and that our networks start from what was learnt of it, where they do."""
    shipped = any(path.suffix not in (".py", ".pyc") for path in Path(exact.__file__).parent.rglob("*.*"))
    return f"{name} (trained on)" if shipped and name.startswith("train/") else name


def against(points: dict[str, Any], rivals: tuple[str, ...]) -> float | None:
    """Return by what share our bytes differ from those of the best rival; None if some are missing."""
    if OURS not in points or not all(rival in points for rival in rivals):
        return None
    return points[OURS]["size"] / min(points[rival]["size"] for rival in rivals) - 1


def summary(
    kept: dict[str, Any], names: list[str], errors: list[int], rivals: tuple[str, ...]
) -> list[list[str]]:
    """Return a row for each volume, and their mean, but for those of train/."""
    found = {
        name: [against(kept[name]["points"].get(str(error), {}), rivals) for error in errors]
        for name in names
    }
    rows = [
        [marked(name), *("" if share is None else f"{share:+.1%}" for share in shares)]
        for name, shares in found.items()
    ]
    columns = zip(*(shares for name, shares in found.items() if name in VOLUMES), strict=True)
    means = [
        statistics.mean(there) if (there := [share for share in column if share is not None]) else None
        for column in columns
    ]
    return [*rows, ["mean, without train/", *("" if mean is None else f"{mean:+.1%}" for mean in means)]]


def reads(kept: dict[str, Any], name: str, error: int) -> str:
    """Return how long slices take that are read at random."""
    point = kept[name]["points"].get(str(error), {}).get(OURS)
    if point is None:
        return ""
    cold, warm = point["cold_seconds"], point["warm_seconds"]
    return f"{statistics.mean(cold):.2f} s, {max(cold):.2f} s; {1000 * statistics.mean(warm):.2f} ms"


def of_volume(name: str, found: dict[str, Any], errors: list[int]) -> str:
    """Return the table of one volume, and how each codec was run."""
    rows, settings = [], []
    for codec, label in LABELS.items():
        points = {error: found["points"].get(str(error), {}).get(codec) for error in errors}
        if any(points.values()):
            rows.append([label, *("" if point is None else as_cell(point) for point in points.values())])
            said = [
                f"{as_bound(error)}: {point['setting']}"
                for error, point in points.items()
                if point is not None
            ]
            settings.append(f"{label}: {'; '.join(said)}.")
    lines = "\n".join(f"- {line}" for line in settings)
    return "\n\n".join(
        [
            f"## {marked(name)}",
            f"{found['what']}. Bits a voxel, seconds to encode / decode.",
            table(["codec", *map(as_bound, errors)], rows),
            f"<details><summary>Settings</summary>\n\n{lines}\n\n</details>",
        ]
    )


def as_cell(point: dict[str, Any]) -> str:
    """Return bits and seconds."""
    seconds = [point["encode_seconds"], point["decode_seconds"]]
    words = (f"{one:.0f}" if one >= 10 else f"{one:.2g}" for one in seconds)
    return f"{point['bits']:.3f}, {' / '.join(words)} s"


if __name__ == "__main__":
    main()
