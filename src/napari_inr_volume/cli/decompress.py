"""`inr-volume decompress`: back to voxels."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import print_json, slices_bar, spinner, tell
from ..core.units import suffix
from ..superres.catalogue import CHOICES
from .files import warn
from .options import InrPath, OtherUpscalerOption, RunOptions
from .upscalers import chosen_upscaler, named_upscaler

if TYPE_CHECKING:
    from ..core.choices import Device
    from ..inr_volume import InrVolume
    from ..superres.upscale import Upscaler


def decompress(
    src: InrPath,
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="The file to write: .nii, .nii.gz, .nrrd, .tif or .npy.")
    ],
    *,
    upscaler: OtherUpscalerOption = None,
    even: Annotated[
        bool,
        typer.Option("--even", help="Resample a tilted or unevenly spaced volume to an even grid."),
    ] = False,
    run: RunOptions,
) -> None:
    """Turn an .inr file back into a volume at full resolution.

    A weights file given as --upscaler is used if it is the one the .inr was made with, or if the .inr names
    none. Otherwise Lanczos is used, and a line on standard error says so.
    """
    from ..codec import decompress
    from ..io.inr_file import read_inr
    from ..io.volumes import EVEN_GRIDS, find_suffix, write_volume
    from ..outputs import Output

    started = time.perf_counter()
    to = Output(path=output, sources=(src,), force=run.force)
    to.check()
    inr = read_inr(src)
    restore = _restorer(inr, src, upscaler, run.device)
    with slices_bar("decoding") as on_slices:
        volume = decompress(inr, upscaler=restore, device=run.device, on_slices=on_slices)
    if even:
        from ..core.even import evened

        with spinner("resampling"):
            volume = evened(volume)
    caveats = volume.geometry.caveats
    if caveats and find_suffix(output) in EVEN_GRIDS:
        warn(
            f"{output.name} cannot describe this grid exactly: {'; '.join(caveats)}; --even exports an evenly"
            " spaced, orthogonal volume"
        )
    with spinner(f"writing {output.name}"):
        to.check()
        write_volume(volume, output)
    report = {
        "output": str(output),
        "shape": volume.shape,
        "dtype": volume.dtype.name,
        "units": volume.units,
        "upscaler": restore.name,
        "upscaler_sha256": restore.sha256,
        "seconds": time.perf_counter() - started,
    }
    if run.as_json:
        print_json(report)
    else:
        shape = " x ".join(str(length) for length in volume.shape)
        tell(f"{output}: {shape} {volume.dtype.name}{suffix(volume.units)}, restored by {restore.name}")


def _restorer(inr: InrVolume, src: Path, chosen: str | None, device: Device) -> Upscaler:
    """Return the upscaler; a weights file of one's own only if it is what the .inr names, if it names any."""
    from ..io.inr_file import read_model

    embedded = read_model(src)
    restore = chosen_upscaler(inr, embedded, chosen, device)
    own = chosen is not None and chosen not in CHOICES
    if own and inr.upscaler.sha256 not in (None, restore.sha256):
        return named_upscaler(inr, [embedded, chosen], device)
    return restore
