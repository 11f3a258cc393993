"""What the plugin adds to File > IO Utilities: open CT, save as `.inr`, export the reconstruction.

What takes long runs in the background, with a bar in napari's activity dock where it can be cancelled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..core.errors import InrError, SourceError
from ..core.words import counted
from .layers import add_layer, carried, original_layer
from .notices import (
    OUT_OF_MEMORY,
    file_name,
    sentence,
    show_error,
    show_info,
    show_notes,
    show_warning,
)
from .readers import Choice, choose, name_of
from .writers import SUFFIX, find_network, save_inr

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

    from ..core.choices import Device
    from ..core.source import Source
    from ..core.volume import Volume
    from ..inr_volume import InrVolume
    from ..io.dicom import Broken, Listing
    from .job import Control, Job

EXPORTS = (
    "NIfTI (*.nii.gz *.nii)",
    "NRRD (*.nrrd)",
    "TIFF (*.tif *.tiff)",
    "OME-Zarr (*.zarr)",
    "NumPy (*.npy)",
)

running: set[Job] = set()  # in the background; kept alive until they end


def errors_shown(command: Callable[[napari.viewer.Viewer], None]) -> Callable[[napari.viewer.Viewer], None]:
    """Show what a person can act on as a sentence; napari alone would offer its traceback with it."""

    @wraps(command)
    def run(viewer: napari.viewer.Viewer) -> None:
        try:
            command(viewer)
        except InrError as error:
            show_error(str(error))
        except MemoryError:
            show_error(OUT_OF_MEMORY)

    return run


def open_ct(viewer: napari.viewer.Viewer) -> None:
    """Ask for a folder or file and add the CT in it, of several series the one chosen, as a layer."""
    from . import dialogs
    from .work import source

    path = dialogs.ask_source("Open CT: a folder or a file")
    if path is None:
        return
    name = name_of(path)

    def read(listing: Listing) -> None:
        choice = choose(listing, name)
        if choice is not None:
            start(choice, skip_broken=False)

    def start(choice: Choice, *, skip_broken: bool) -> None:
        def add(result: Volume | tuple[Broken, ...]) -> None:
            if not isinstance(result, tuple):
                show_notes(result, choice.name)
                add_layer(viewer, original_layer(result, choice.name))
            elif dialogs.ask_to_skip(result, choice.name):
                start(choice, skip_broken=True)

        work = partial(source.read, skip_broken=skip_broken)
        in_background(f"Reading {choice.name}", add, work, path, choice.key)

    in_background(f"Looking through {name}", read, source.find_series, path)


@errors_shown
def save_as_inr(viewer: napari.viewer.Viewer) -> None:
    """Ask where to save the fitted network of the selected layers, or else of all, and save it."""
    from . import dialogs

    inr, opened, layer = _network_in(viewer)
    path = dialogs.ask_where_to_save(
        f"Save as {SUFFIX}", file_name(layer.name), [f"Fitted network (*{SUFFIX})"]
    )
    if path is not None:
        path = save_inr(inr, path, opened)
        show_info(f"Saved {path.name}: {path.stat().st_size / 1000:,.0f} kB.")


@errors_shown
def export_reconstruction(viewer: napari.viewer.Viewer) -> None:
    """Ask where to save the reconstruction in full, as NIfTI, NRRD, TIFF or NumPy; decode and write it.

    A grid that is uneven or sheared is exported as it was scanned, or evenly spaced: the person chooses.
    """
    from ..io.volumes import EVEN_GRIDS, check_output, find_suffix
    from . import dialogs
    from .layers import path_of
    from .settings import own_weights, preferences

    inr, _, layer = _network_in(viewer)
    path = dialogs.ask_where_to_save("Export the reconstruction", file_name(layer.name), EXPORTS)
    if path is None:
        return
    check_output(path)
    check_no_source(path, viewer)
    caveats = inr.geometry.caveats
    even = dialogs.ask_even(caveats) if caveats else False
    if even is None:
        return

    def tell(notes: tuple[str, ...]) -> None:
        for note in notes:
            show_warning(note)
        if caveats and not even and find_suffix(path) in EVEN_GRIDS:
            show_warning(
                f"{path.name} was written as scanned, but most programs read this format as evenly spaced,"
                f" with right angles, and here {'; '.join(caveats)}."
            )
        show_info(f"Exported the reconstruction to {path.name}.")

    means = path_of(layer), own_weights(), preferences().device
    work = partial(decode_and_write, even=even)
    in_background(f"Exporting {path.name}", tell, work, path, inr, *means)


def decode_and_write(
    control: Control,
    output: Path,
    inr: InrVolume,
    path: Path | None,
    own: Path | None,
    device: Device,
    *,
    even: bool = False,
) -> tuple[str, ...]:
    """Decode the whole volume and write it, maybe `evened`; returns what the person should know.

    That is the exact layer's voxels if there are any, or else the reconstruction.

    `path` and `own` are where its super-resolution weights may be, as in `work.inr.restorer`.
    """
    from .. import codec
    from ..core.even import evened
    from ..io.volumes import write_volume
    from ..reader import Reader
    from .work.inr import restorer

    upscaler, notes = restorer(inr, path, own, device)
    damaged: list[str] = []
    source: Source = codec.Decoded(Reader(inr, upscaler, device=device), warn=damaged.append)
    if even:
        volume = codec.decompress(
            inr, upscaler=upscaler, device=device, on_slices=control.on_progress, warn=damaged.append
        )
        source = evened(volume)
    control.check()
    write_volume(source, output, control.on_progress)
    return (*notes, *map(sentence, damaged))


@errors_shown
def export_dicom_series(viewer: napari.viewer.Viewer) -> None:
    """Ask for an empty folder, and write the reconstruction there as a DICOM series without a patient."""
    from ..outputs import check_series
    from . import dialogs
    from .layers import path_of
    from .settings import own_weights, preferences

    inr, _, layer = _network_in(viewer)
    folder = dialogs.ask_folder("Choose an empty folder for the DICOM series")
    if folder is None:
        return
    if any(folder.iterdir()):
        raise SourceError(f"'{folder.name}' is not empty; make a new folder for the DICOM series")
    check_series(folder)

    def tell(notes: tuple[str, ...]) -> None:
        for note in notes:
            show_warning(note)
        show_info(f"Exported {counted(inr.geometry.shape[0], 'slice')} to the folder {folder.name}.")

    means = path_of(layer), own_weights(), preferences().device
    in_background(f"Exporting to {folder.name}", tell, decode_and_write_series, folder, inr, *means)


def decode_and_write_series(
    control: Control, folder: Path, inr: InrVolume, path: Path | None, own: Path | None, device: Device
) -> tuple[str, ...]:
    """Write the exact layer's voxels, or else the reconstruction, as a DICOM series.

    What the series says of the file is that of `path`, if that holds this network still, or else of the file
    that it would be saved to.
    """
    from tempfile import TemporaryDirectory

    from ..export import export_series
    from ..io.inr_file import read_inr, write_inr
    from .work.inr import restorer

    upscaler, notes = restorer(inr, path, own, device)
    with TemporaryDirectory() as scratch:
        if path is None or read_inr(path) != inr:
            path = Path(scratch, f"fit{SUFFIX}")
            write_inr(inr, path)
        level: Literal["hr", "exact"] = "hr" if inr.exact is None else "exact"
        series = export_series(
            inr, path, folder, upscaler=upscaler, device=device, level=level, on_slices=control.on_progress
        )
    return (*notes, sentence(series.rounding)) if series.rounding else notes


def check_no_source(path: Path, viewer: napari.viewer.Viewer) -> None:
    """Raise SourceError if a file to be written is the one that a layer was read from."""
    sources = [layer.source.path for layer in viewer.layers if layer.source.path is not None]
    if any(path.exists() and Path(each).exists() and path.samefile(each) for each in sources):
        raise SourceError(f"'{path.name}' is what a layer here was read from; choose another name")


def _network_in(viewer: napari.viewer.Viewer) -> tuple[InrVolume, Path | None, Layer]:
    """Return the network that the selected layers carry, or else all layers; its file, and a layer of it."""
    selected, every = list(viewer.layers.selection), list(viewer.layers)
    chosen = _carriers(selected) or _carriers(every) or every
    inr, opened = find_network((layer.name, layer.metadata) for layer in chosen)
    return inr, opened, chosen[0]


def _carriers(layers: list[Layer]) -> list[Layer]:
    return [layer for layer in layers if (held := carried(layer)) is not None and held.inr is not None]


def in_background(
    title: str, done: Callable[[Any], None], work: Callable[..., object], *args: object
) -> None:
    """Run `work(control, *args)` as a `Job` with a bar in the activity dock; give its result to `done`."""
    from .activity import ActivityBar
    from .job import Done, Job

    job = Job()
    bar = ActivityBar(job)
    bar.begin(title, cancel=job.drop)

    def show(record: object) -> None:
        if isinstance(record, Done):
            bar.show(record.done, record.total)

    def end() -> None:
        bar.end()
        running.discard(job)

    job.reported.connect(show)
    job.finished.connect(done)
    job.failed.connect(show_error)
    job.ended.connect(end)
    running.add(job)
    job.start(work, *args)
