"""`inr-volume demo`: the whole way on a phantom."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import spinner
from .figures import compare_and_draw, print_comparison
from .files import figure_output, inr_output, read
from .options import FitOptions, PresetOption, RunOptions

DEFAULT_FOLDER = Path("demo-output")


def demo(
    folder: Annotated[
        Path, typer.Argument(help="Folder for the demo's files; it is made if needed.")
    ] = DEFAULT_FOLDER,
    *,
    preset: PresetOption = "default",
    steps: Annotated[int | None, typer.Option(help="Total steps of the fit, its tuning included.")] = None,
    run: RunOptions,
) -> None:
    """Run every step on a CT head phantom.

    Writes the phantom as a DICOM series, reads it, fits a network, saves it, opens it again, reconstructs the
    volume and compares it with the original.
    """
    from ..core.phantom import head_phantom
    from ..io.dicom_export import write_dicom_series
    from ..io.inr_file import read_inr
    from ..outputs import check_folder
    from ..session import Request
    from .fitting import Fitting

    request = Request(settings=FitOptions(preset=preset, steps=steps).settings(), device=run.device)
    request.check()
    source, inr_path = folder / "phantom-dicom", folder / "phantom.inr"
    to = inr_output(inr_path, source, run.force)
    picture = figure_output(folder / "phantom-compare.png", (source, inr_path), run.force)
    if folder.is_dir():
        to.check()
        picture.check()
    check_folder(source, _is_of_phantom)
    with spinner("making a CT head phantom as a DICOM series"):
        write_dicom_series(head_phantom(), source)
    volume = read(source)
    with to.claimed():
        fitted = Fitting(to).run(volume, request).fitted
    report = compare_and_draw(
        volume, read_inr(inr_path), inr_path, picture, window="brain", device=run.device
    )
    seconds = None if fitted.result is None else fitted.result.seconds
    print_comparison(report | {"fit_seconds": seconds, "steps": fitted.inr.fit.steps}, run.as_json)


def _is_of_phantom(path: Path) -> bool:
    """Whether a file is a slice of the demo's phantom."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        header = dcmread(path, stop_before_pixels=True)
    except (OSError, InvalidDicomError):
        return False
    return (header.get("PatientID"), header.get("StudyDate")) == ("Phantom", "")
