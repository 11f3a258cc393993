"""Make a super-resolution network of CT volumes: what it learns from, and what is kept of its training.

The way of the data: volume -> its Lanczos LR, the same through random CT windows, and the LR that comes out
of SIRENs fitted to it at several qualities -> `superres.pairs` -> `superres.train` -> a weights file.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .codec import encode, fit_volume
from .core.atomic import atomic_write
from .core.choices import Device
from .core.errors import TrainingError
from .core.generators import drain
from .core.lowres import low_res
from .core.resample import downsample
from .core.volume import Triple, Volume
from .fields.base import FitResult
from .fields.registry import PRESETS
from .fields.settings import Settings
from .reader import Reader
from .superres.pairs import Pair
from .superres.train import Validation
from .superres.upscale import LanczosUpscaler

FIT_SLICES = 32  # slices in the middle of a volume that SIRENs are fitted to
WINDOWS = 3  # random CT windows of each volume
NARROWEST = 0.1  # of them, as a share of the intensity range
VALIDATION_SLICES = 8  # evenly chosen of each validation volume

Tell = Callable[[str], None]  # told in words what is being prepared


@dataclass(frozen=True)
class Degradation:
    """How an LR is degraded before the network sees it: by the fit, and by the coding of its weights."""

    steps: int  # of the default preset's fit, without tuning
    weight_bits: float = 8.0  # as in `FitConfig`


ROUGH, GOOD, ROUNDED = Degradation(1_000), Degradation(4_000), Degradation(4_000, weight_bits=4.5)


def volume_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each volume, for messages and logs. Raises TrainingError if one comes up twice."""
    names = [path.name.split(".")[0] or str(path) for path in paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TrainingError(
            f"{', '.join(twice)} is given twice; use a volume either to train or to validate, and each file"
            " or folder needs a name of its own"
        )
    return names


def training_pairs(
    name: str,
    volume: Volume,
    factor: int,
    folder: Path,
    seed: int,
    *,
    device: Device = "auto",
    stop: Event | None = None,
    tell: Tell,
) -> list[Pair]:
    """Return all pairs of one volume: clean, through random windows, and decoded from fitted networks.

    What was fitted is kept in `folder`, and taken from there the next time. Raises TrainingError if `stop`
    is set meanwhile.
    """
    tell(f"{name}: resampling")
    hr = _filled(volume)
    in_plane = (1.0, float(factor), float(factor))
    clean = low_res(volume, in_plane).voxels
    pairs = [Pair(volume=name, kind="clean", hr=hr, lr=clean, window=volume.intensity_range)]
    random = np.random.default_rng([seed, *name.encode()])
    for _ in range(WINDOWS):
        window = _random_window(volume.intensity_range, random)
        pairs.append(
            Pair(volume=name, kind="window", hr=hr, lr=_windowed_lr(hr, window, in_plane), window=window)
        )
    return pairs + _decoded(
        name, volume, hr, in_plane, folder, seed, (ROUGH, GOOD, ROUNDED), device, stop, tell
    )


def validation_pairs(
    name: str,
    volume: Volume,
    factor: int,
    folder: Path,
    seed: int,
    *,
    device: Device = "auto",
    stop: Event | None = None,
    tell: Tell,
) -> list[Pair]:
    """Return slices of a volume to judge a network by: with their clean LR, and with that of a good fit.

    What was fitted is kept in `folder`. Raises TrainingError if `stop` is set meanwhile.
    """
    hr = _filled(volume)
    in_plane = (1.0, float(factor), float(factor))
    chosen = np.unique(np.linspace(0, len(hr) - 1, VALIDATION_SLICES + 2)[1:-1].astype(int))
    lr = low_res(volume, in_plane).voxels
    clean = Pair(volume=name, kind="clean", hr=hr[chosen], lr=lr[chosen], window=volume.intensity_range)
    (decoded,) = _decoded(name, volume, hr, in_plane, folder, seed, (GOOD,), device, stop, tell)
    some = slice(None, None, -(-len(decoded.lr) // VALIDATION_SLICES))
    return [clean, replace(decoded, hr=decoded.hr[some], lr=decoded.lr[some])]


def write_log(folder: Path, history: Sequence[Validation]) -> None:
    """Write what the validations found: `log.csv`, a line for each and each volume, and `log.png`.

    The picture is left out where matplotlib (of the extra `figures`) is missing: training goes on without it.
    """
    fields = ("step", "seconds", "loss", "volume", "lr", "psnr_db", "lanczos_psnr_db")
    with atomic_write(folder / "log.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(fields)
        for entry in history:
            for score in entry.scores:
                found = (score.volume, score.kind, f"{score.psnr:.3f}", f"{score.lanczos_psnr:.3f}")
                writer.writerow((entry.step, f"{entry.seconds:.0f}", f"{entry.loss:.4g}", *found))
    if draws():
        with atomic_write(folder / "log.png") as temporary:
            _draw(temporary, history)


def draws() -> bool:
    """Whether `log.png` can be drawn."""
    return find_spec("matplotlib") is not None


def _draw(path: Path, history: Sequence[Validation]) -> None:
    """Draw each validation volume's gain over Lanczos against the steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    steps = [entry.step for entry in history]
    for index, score in enumerate(history[-1].scores):
        line = "-" if score.kind == "clean" else "--"
        gains = [entry.scores[index].gain for entry in history]
        axes.plot(steps, gains, line, color=f"C{index // 2}", label=f"{score.volume}, {score.kind} LR")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(xlabel="step", ylabel="gain over Lanczos, dB (PSNR, range)")
    figure.legend(loc="outside lower center", ncols=3, fontsize="small")  # where it hides no curve
    figure.savefig(path, dpi=120)


def _decoded(
    name: str,
    volume: Volume,
    hr: NDArray[Any],
    factor: Triple,
    folder: Path,
    seed: int,
    degradations: Sequence[Degradation],
    device: Device,
    stop: Event | None,
    tell: Tell,
) -> list[Pair]:
    """Return the middle slices with the LR that networks fitted to them decode to."""
    first = max(0, (len(hr) - FIT_SLICES) // 2)
    part = slice(first, first + FIT_SLICES)
    middle = Volume.from_array(
        volume.read((part, slice(None), slice(None))), units=volume.units, padding=volume.padding
    )
    pairs = []
    for degradation in degradations:
        preset = PRESETS["default"]
        bits = degradation.weight_bits
        fit = replace(preset.fit, steps=degradation.steps, tuning_steps=0, weight_bits=bits, seed=seed)
        settings = replace(preset, factor=factor, fit=fit)
        kept = folder / f"{_digest(middle, settings)}.npy"
        if not kept.exists():
            tell(
                f"{name}: fitting {len(middle.voxels)} slices, {degradation.steps:,} steps,"
                f" {bits:g} bits per weight"
            )
            result = _fitted(middle, settings, device, stop)
            inr = encode(middle, settings, result, LanczosUpscaler(settings.factor[1:]))
            with atomic_write(kept) as temporary:
                np.save(temporary, Reader(inr, device=device).read(level="lr"))
        lr = np.load(kept)
        pairs.append(Pair(volume=name, kind="decoded", hr=hr[part], lr=lr, window=middle.intensity_range))
    return pairs


def _fitted(volume: Volume, settings: Settings, device: Device, stop: Event | None) -> FitResult:
    result = drain(fit_volume(volume, settings, device=device, stop=stop))
    if result.stopped:
        raise TrainingError("stopped while preparing; what was finished is kept")
    return result


def _filled(volume: Volume) -> NDArray[Any]:
    """Return the voxels with the padding at the lowest intensity, in the dtype they have."""
    measured = volume.measured()
    voxels = volume.read()
    if measured is None:
        return voxels
    return np.where(measured, voxels, volume.dtype.type(volume.intensity_range[0]))


def _random_window(intensity_range: tuple[float, float], random: np.random.Generator) -> tuple[float, float]:
    """Draw a CT window within the intensity range, its width even on a logarithmic scale."""
    low, high = intensity_range
    width = (high - low) * NARROWEST ** random.random()
    start = random.uniform(low, high - width)
    return start, start + width


def _windowed_lr(hr: NDArray[Any], window: tuple[float, float], factor: Triple) -> NDArray[np.float32]:
    """Return the Lanczos LR of slices (z, y, x) that are clipped to a window."""
    depth, height, width = hr.shape
    return downsample(lambda z: np.clip(hr[z].astype(np.float32), *window), (depth, height, width), factor)


def _digest(volume: Volume, settings: Settings) -> str:
    """Return a name for what a fit gives: another volume or setting has another."""
    words = json.dumps([asdict(settings), volume.shape], sort_keys=True)
    content = hashlib.sha256(words.encode())
    content.update(np.ascontiguousarray(volume.read()).data)
    return content.hexdigest()[:16]
