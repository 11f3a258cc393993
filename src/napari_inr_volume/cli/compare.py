"""`inr-volume compare`: how good an .inr is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..core.windows import WindowName
from .figures import compare_and_draw, print_comparison
from .files import figure_output, read
from .options import InrPath, OtherUpscalerOption, RunOptions, SeriesOptions, Source


def compare(
    src: Source,
    inr_path: InrPath,
    *,
    source: SeriesOptions,
    window: Annotated[
        WindowName, typer.Option(help="CT window of the picture and of the 8-bit PSNR.")
    ] = "full",
    z: Annotated[
        int | None,
        typer.Option(
            "--slice", help="Slice to show in the picture, counted from 0; by default the middle one."
        ),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="The picture to write, a .png; by default IN-compare.png beside the .inr."),
    ] = None,
    upscaler: OtherUpscalerOption = None,
    run: RunOptions,
) -> None:
    """Measure how good an .inr file is.

    Compares it with the volume that it was made from, prints PSNR, SSIM and errors, and draws a picture.
    """
    from ..io.inr_file import read_inr

    inr = read_inr(inr_path)
    path = figure or inr_path.with_name(f"{inr_path.stem}-compare.png")
    picture = figure_output(path, (src, inr_path), run.force)
    picture.check()
    volume = read(src, source)
    report = compare_and_draw(
        volume, inr, inr_path, picture, window=window, z=z, upscaler=upscaler, device=run.device
    )
    print_comparison(report, run.as_json)
