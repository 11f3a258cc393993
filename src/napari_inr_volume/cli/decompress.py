"""`inr-volume decompress`: back to voxels."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..console import print_json, slices_bar, spinner, tell
from ..core.units import suffix
from ..superres.catalogue import CHOICES
from .files import warn
from .options import InrPath, OtherUpscalerOption, RunOptions, SeriesOptions
from .upscalers import chosen_upscaler, named_upscaler

if TYPE_CHECKING:
    from ..core.choices import Device
    from ..core.source import Source
    from ..exact.layer import ExactLayer
    from ..inr_volume import InrVolume
    from ..io.dicom_export import Original
    from ..superres.upscale import Upscaler


DecodedLevel = Literal["best", "preview", "exact"]
ReadLevel = Literal["best", "hr", "exact"]

OUT = (
    "What to write: a file, .nii, .nii.gz, .nrrd, .tif or .npy; OME-Zarr, into a folder whose name ends in"
    " .zarr; or a DICOM series, into a new folder whose"
    " name ends in /, or into one that is empty."
)


def decompress(
    src: InrPath,
    output: Annotated[str, typer.Argument(metavar="OUT", help=OUT)],  # no Path, which loses the last /
    *,
    upscaler: OtherUpscalerOption = None,
    level: Annotated[
        DecodedLevel,
        typer.Option(
            help="What to decode: the exact layer, the preview by the network, or the best that the file has."
        ),
    ] = "best",
    even: Annotated[
        bool,
        typer.Option("--even", help="Resample a tilted or unevenly spaced volume to an even grid."),
    ] = False,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="SRC",
            help="For a DICOM series: copy the headers, with patient and study, of the series that the .inr"
            " was made from.",
        ),
    ] = None,
    source: SeriesOptions,
    run: RunOptions,
) -> None:
    """Turn an .inr file back into a volume at full resolution.

    A weights file given as --upscaler is used if it is the one the .inr was made with, or if the .inr names
    none. Otherwise Lanczos is used, and a line on standard error says so.

    A DICOM series names no patient, since an .inr knows of none, unless --like copies the headers of the
    original. Its images have UIDs of their own, and say that they are derived and whether anything was lost.
    """
    from ..io.inr_file import read_inr
    from ..io.volumes import FOLDERS, find_suffix

    started = time.perf_counter()
    to = Path(output)
    is_folder = output.endswith(tuple(filter(None, (os.sep, os.altsep)))) or to.is_dir()
    is_series = is_folder and find_suffix(to) not in FOLDERS
    original = _original(like, source, even, is_series)
    check = _series_check(to, src, original, run) if is_series else _file_check(to, src, run)
    check()
    inr = read_inr(src)
    wanted = _level(inr, src, level)
    restore = _restorer(inr, src, upscaler, run.device)
    if is_series:
        report = _write_series(inr, src, to, restore, even, original, run, wanted)
    else:
        report = _write_file(inr, to, restore, even, run, check, wanted)
    report |= {"upscaler": restore.name, "upscaler_sha256": restore.sha256}
    report["seconds"] = time.perf_counter() - started
    _print(report, inr, output, None if wanted == "hr" else inr.exact, run.as_json)


def _print(
    report: dict[str, Any], inr: InrVolume, output: str, exact: ExactLayer | None, as_json: bool
) -> None:
    """Print what was written, in words or as JSON; `exact` is the layer that it comes from, if any."""
    report |= {"level": "preview" if exact is None else "exact"}
    report |= {"max_error": None if exact is None else exact.max_error}
    if as_json:
        print_json(report)
        return
    shape = " x ".join(str(length) for length in report["shape"])
    what = f"{shape} {report['dtype']}{suffix(inr.units)}"
    files = f" in {report['files']} DICOM files" if "files" in report else ""
    if exact is None:
        how = f"restored by {report['upscaler']}"
    else:
        how = (
            f"every voxel within {exact.max_error:g}{suffix(inr.units)}"
            if exact.max_error
            else "every voxel as it was"
        )
        if report.get("damaged"):
            how += ", but for the damaged slices"
    tell(f"{output}: {what}{files}, {how}")


def _level(inr: InrVolume, src: Path, chosen: DecodedLevel) -> ReadLevel:
    """Return the level to read. Raises SourceError if the file does not have it."""
    from ..core.errors import SourceError

    if chosen == "exact" and inr.exact is None:
        raise SourceError(f"{src.name} has no exact layer; leave out --level exact to get the preview")
    if chosen == "preview" and not inr.has_preview:
        raise SourceError(
            f"{src.name} has no network, so no preview; leave out --level to get its exact voxels"
        )
    return "hr" if chosen == "preview" or inr.exact is None else chosen


def _original(like: Path | None, source: SeriesOptions, even: bool, is_series: bool) -> Original | None:
    """Return the series whose headers are wanted. Raises InrError for options that do not go together."""
    from ..core.errors import SourceError
    from ..io.dicom_export import Original

    if like is None:
        if source.series is not None or source.skip_broken:
            raise SourceError("--series and --skip-broken are about the series of --like; give that too")
        return None
    if not is_series:
        raise SourceError("--like is for a DICOM series; give the name of a folder, which ends in /")
    if even:
        raise SourceError(
            "--even makes slices that the series of --like does not have; leave out one of the two"
        )
    return Original(path=like, series=source.series, skip_broken=source.skip_broken)


def _file_check(to: Path, src: Path, run: RunOptions) -> Callable[[], None]:
    """Return what raises InrError if a file cannot be written."""
    from ..core.errors import SourceError
    from ..io.volumes import WRITERS, find_suffix
    from ..outputs import Output

    if find_suffix(to) not in WRITERS:
        raise SourceError(
            f"'{to.name}' must end in {', '.join(WRITERS)}, or in / for the folder of a DICOM series; choose"
            " another name"
        )
    return Output(path=to, sources=(src,), force=run.force).check


def _series_check(to: Path, src: Path, original: Original | None, run: RunOptions) -> Callable[[], None]:
    """Return what raises InrError if a series cannot be written."""
    from ..outputs import check_series

    sources = (src,) if original is None else (src, original.path)
    return partial(check_series, to, sources, force=run.force)


def _write_file(
    inr: InrVolume,
    to: Path,
    restore: Upscaler,
    even: bool,
    run: RunOptions,
    check: Callable[[], None],
    level: ReadLevel,
) -> dict[str, Any]:
    from ..codec import Decoded, decompress
    from ..core.even import evened
    from ..io.volumes import EVEN_GRIDS, find_suffix, write_volume
    from ..reader import Reader

    damaged: list[str] = []
    source: Source = Decoded(Reader(inr, restore, device=run.device), level, damaged.append)
    if even:
        with slices_bar("decoding") as on_slices:
            volume = decompress(
                inr,
                upscaler=restore,
                device=run.device,
                level=level,
                on_slices=on_slices,
                warn=damaged.append,
            )
        with spinner("resampling"):
            source = evened(volume)
    caveats = source.geometry.caveats
    if caveats and find_suffix(to) in EVEN_GRIDS:
        warn(
            f"{to.name} cannot describe this grid exactly: {'; '.join(caveats)}; --even exports an evenly"
            " spaced, orthogonal volume"
        )
    with slices_bar(f"writing {to.name}") as on_slices:
        check()
        write_volume(source, to, on_slices)
    for words in damaged:
        warn(words)
    return {
        "output": str(to),
        "shape": source.geometry.shape,
        "dtype": source.dtype.name,
        "units": source.units,
        "damaged": damaged,
    }


def _write_series(
    inr: InrVolume,
    src: Path,
    to: Path,
    restore: Upscaler,
    even: bool,
    original: Original | None,
    run: RunOptions,
    level: ReadLevel,
) -> dict[str, Any]:
    from ..export import export_series

    if original is not None and level == "hr" and inr.quality is None:
        warn(
            f"{src.name} does not say how large its errors are, so whether {original.path.name} is its"
            " original can be told by the place of the slices only"
        )
    with slices_bar(f"writing {to.name}") as on_slices:
        series = export_series(
            inr,
            src,
            to,
            upscaler=restore,
            device=run.device,
            even=even,
            like=original,
            level="hr" if level == "hr" else "exact",
            on_slices=on_slices,
        )
    if series.rounding:
        warn(series.rounding)
    return {
        "output": str(to),
        "shape": series.shape,
        "dtype": inr.dtype,
        "units": inr.units,
        "files": len(series.paths),
        "rounded_to": series.stored.step or None,
    }


def _restorer(inr: InrVolume, src: Path, chosen: str | None, device: Device) -> Upscaler:
    """Return the upscaler; a weights file of one's own only if it is what the .inr names, if it names any."""
    from ..io.inr_file import read_model

    embedded = read_model(src)
    restore = chosen_upscaler(inr, embedded, chosen, device)
    own = chosen is not None and chosen not in CHOICES
    if own and inr.upscaler.sha256 not in (None, restore.sha256):
        return named_upscaler(inr, [embedded, chosen], device)
    return restore
