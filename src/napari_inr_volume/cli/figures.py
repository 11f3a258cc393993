"""Figures of a file: ratios, and how it compares with its original."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import print_json, print_rows, slices_bar
from ..core.choices import Device
from ..core.errors import InrError
from ..core.units import Units, suffix
from ..core.windows import WindowName, find_window
from ..core.words import in_bytes, in_figures, in_ratio, with_decibels
from .upscalers import chosen_upscaler

if TYPE_CHECKING:
    from ..core.volume import Volume
    from ..inr_volume import InrVolume
    from ..measuring import Measured
    from ..outputs import Output
    from ..reader import Reader


# Of a comparison: PSNR in dB, SSIM, and errors in the volume's units; `hu_...` are earlier names of these.
QUALITIES: dict[str, Callable[[Measured], float]] = {
    "lr_psnr": lambda found: found.lr_psnr,
    "hr_psnr": lambda found: found.reconstruction.psnr,
    "lanczos_psnr": lambda found: found.lanczos.psnr,
    "hr_psnr_8bit": lambda found: found.reconstruction.psnr_8bit,
    "lanczos_psnr_8bit": lambda found: found.lanczos.psnr_8bit,
    "ssim": lambda found: found.reconstruction.ssim,
    "lanczos_ssim": lambda found: found.lanczos.ssim,
    "rmse": lambda found: found.reconstruction.rmse,
    "p99": lambda found: found.reconstruction.p99,
    "max_error": lambda found: found.reconstruction.max_error,
    "hu_rmse": lambda found: found.reconstruction.rmse,
    "hu_p99": lambda found: found.reconstruction.p99,
    "hu_max": lambda found: found.reconstruction.max_error,
}


def ratios(inr: InrVolume, file_bytes: int, model_bytes: int) -> dict[str, float]:
    """Return stored pixels over bytes of the file; and with the model that it needs and does not embed."""
    return {
        "ratio": inr.source_bytes / file_bytes,
        "ratio_with_model": inr.source_bytes / (file_bytes + model_bytes),
    }


def ratios_in_words(report: dict[str, Any]) -> str:
    """Return the ratio of a report; and that with the model, if there is one."""
    words = in_ratio(report["ratio"])
    if report["ratio_with_model"] != report["ratio"]:
        words += f" ({in_ratio(report['ratio_with_model'])} with the SR model's bytes)"
    return words


def peak_in_words(peak: float, units: Units) -> str:
    """Return which PSNR it is: the one whose peak is the intensity range."""
    return f"range, peak {with_units(peak, units)}"


def with_units(value: float, units: Units) -> str:
    """Return a value with its unit, if it has one."""
    return in_figures(value) + suffix(units)


def compare_and_draw(
    volume: Volume,
    inr: InrVolume,
    inr_path: Path,
    picture: Output,
    *,
    window: WindowName,
    z: int | None = None,
    upscaler: str | None = None,
    device: Device,
) -> dict[str, Any]:
    """Measure an .inr against its original, write the picture, and return the figures.

    Of a file without a network, only what its exact layer keeps is measured and drawn.
    """
    from ..io.inr_file import read_model
    from ..measuring import measure
    from ..picture import draw_comparison, draw_exact
    from ..reader import Reader

    started = time.perf_counter()
    z = volume.shape[0] // 2 if z is None else z
    if not 0 <= z < volume.shape[0]:
        raise InrError(f"--slice must be from 0 to {volume.shape[0] - 1}, got {z}")
    embedded = read_model(inr_path)
    restore = chosen_upscaler(inr, embedded, upscaler, device)
    shown = find_window(window, volume)
    reader = Reader(inr, restore, device=device)
    measured = None
    if inr.has_preview:
        with slices_bar("decoding and comparing") as on_slices:
            measured = measure(volume, reader, window=shown, on_slices=on_slices)
    proof = _proof(volume, reader)
    picture.check()
    if measured is None:
        draw_exact(picture.path, volume, reader, z=z, window=shown)
    else:
        draw_comparison(picture.path, volume, reader, measured, z=z, window=shown)
    more = 0 if restore.weights == embedded else len(restore.weights)
    file_bytes = inr_path.stat().st_size
    return {
        "file_bytes": file_bytes,
        "source_bytes": inr.source_bytes,
        **ratios(inr, file_bytes, more),
        **{name: None if measured is None else figure(measured) for name, figure in QUALITIES.items()},
        "exact": proof,
        "upscaler": None if measured is None else measured.upscaler,
        "upscaler_sha256": None if measured is None else restore.sha256,
        "window": str(shown),
        "units": inr.units,
        "has_network": inr.has_preview,
        "peak": inr.intensity_range[1] - inr.intensity_range[0],
        "figure": str(picture.path),
        "seconds": time.perf_counter() - started,
    }


def _proof(volume: Volume, reader: Reader) -> dict[str, float] | None:
    """Return what the exact layer promises and what it keeps, on every voxel; None if there is no such layer.

    Raises VolumeError if the volume is not of the original's shape, InrFileError if a part of it is damaged.
    """
    if reader.inr.exact is None:
        return None
    from ..measuring import exact_error

    with slices_bar("checking the exact layer") as on_slices:
        largest = exact_error(volume, reader, on_slices)
    return {"promised": reader.inr.exact.max_error, "max_error": largest}


def print_comparison(report: dict[str, Any], as_json: bool) -> None:
    """Print the figures of a comparison, in words or as JSON."""
    if as_json:
        print_json(report)
        return
    units: Units = report["units"]
    rows = [
        ("file", f"{in_bytes(report['file_bytes'])} for {in_bytes(report['source_bytes'])} of stored pixels"),
        ("ratio", ratios_in_words(report)),
    ]
    if report["has_network"]:
        rows += _of_network(report, units)
    if report["exact"]:
        promised, found = report["exact"]["promised"], report["exact"]["max_error"]
        rows.append(
            (
                "exact layer",
                f"off by {with_units(found, units)} at most; {with_units(promised, units)} promised",
            )
        )
    rows.append(("picture", report["figure"]))
    print_rows(rows)


def _of_network(report: dict[str, Any], units: Units) -> list[tuple[str, str]]:
    peak = peak_in_words(report["peak"], units)
    rmse, p99 = in_figures(report["rmse"]), in_figures(report["p99"])
    return [
        ("LR fit", f"PSNR {with_decibels(report['lr_psnr'])} ({peak})"),
        ("Lanczos alone", f"PSNR {with_decibels(report['lanczos_psnr'])} ({peak})"),
        ("reconstruction", f"PSNR {with_decibels(report['hr_psnr'])} ({peak}), by {report['upscaler']}"),
        ("", f"PSNR {with_decibels(report['hr_psnr_8bit'])} (8 bit, window {report['window']})"),
        ("", f"SSIM {report['ssim']:.4f}"),
        ("error", f"RMSE {rmse}, 99 % below {p99}, at most {with_units(report['max_error'], units)}"),
    ]
