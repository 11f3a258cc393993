"""What the plugin adds to File > IO Utilities: open a CT folder, save as `.inr`, export the reconstruction.

What takes long runs in the background, with a bar in napari's activity dock where it can be cancelled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InrError
from .layers import add_layer, carried, original_layer
from .readers import find_stacks, series_name
from .writers import SUFFIX, find_network, save_inr

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

    from ..core.volume import Volume
    from ..inr.config import Device
    from ..inr.inr_volume import InrVolume
    from ..io.dicom import Listing
    from .jobs import Control, Job

EXPORTS = ("NIfTI (*.nii.gz *.nii)", "TIFF (*.tif *.tiff)", "NumPy (*.npy)")

_running: set[Job] = set()  # kept alive until they end


def _errors_shown(command: Callable[[napari.viewer.Viewer], None]) -> Callable[[napari.viewer.Viewer], None]:
    """Show what a person can act on as a sentence; napari alone would offer its traceback with it."""

    @wraps(command)
    def run(viewer: napari.viewer.Viewer) -> None:
        from napari.utils.notifications import show_error

        try:
            command(viewer)
        except InrError as error:
            show_error(str(error))

    return run


def open_ct_folder(viewer: napari.viewer.Viewer) -> None:
    """Ask for a folder and add the CT series in it, or the one chosen among several, as a layer."""
    from . import dialogs, jobs

    folder = dialogs.ask_folder("Open a CT folder")
    if folder is None:
        return

    def choose(listing: Listing) -> None:
        stacks = find_stacks(listing)
        chosen = stacks[0] if len(stacks) == 1 else None
        if len(stacks) > 1 and (chosen := dialogs.ask_series(stacks, folder.name)) is None:
            return
        name = series_name(folder.name, chosen, len(stacks))
        uid = (
            None if chosen is None else chosen.uid
        )  # None: slices of another kind, or a word on what is there

        def add(volume: Volume) -> None:
            add_layer(viewer, original_layer(volume, name))

        _in_background(f"Reading {name}", add, jobs.read, folder, uid)

    _in_background(f"Looking through {folder.name}", choose, jobs.find_series, folder)


@_errors_shown
def save_as_inr(viewer: napari.viewer.Viewer) -> None:
    """Ask where to save the fitted network of the selected layers, or else of all, and save it."""
    from napari.utils.notifications import show_info

    from . import dialogs

    inr, opened, layer = _network_in(viewer)
    path = dialogs.ask_where_to_save(f"Save as {SUFFIX}", _name_of(layer), [f"Fitted network (*{SUFFIX})"])
    if path is not None:
        path = save_inr(inr, path, opened)
        show_info(f"Saved {path.name}: {path.stat().st_size / 1000:,.0f} kB.")


@_errors_shown
def export_reconstruction(viewer: napari.viewer.Viewer) -> None:
    """Ask where to save the reconstruction in full, as NIfTI, TIFF or NumPy; decode and write it."""
    from napari.utils.notifications import show_info, show_warning

    from ..io.volumes import check_output
    from . import dialogs
    from .contents import path_of
    from .settings import own_weights, preferences

    inr, _, layer = _network_in(viewer)
    path = dialogs.ask_where_to_save("Export the reconstruction", _name_of(layer), EXPORTS)
    if path is None:
        return
    check_output(path)

    def tell(notes: tuple[str, ...]) -> None:
        for note in notes:
            show_warning(note)
        show_info(f"Exported the reconstruction to {path.name}.")

    where = path_of(layer), own_weights(), preferences().device
    _in_background(f"Exporting {path.name}", tell, decode_and_write, path, inr, *where)


def decode_and_write(
    control: Control, output: Path, inr: InrVolume, path: Path | None, own: Path | None, device: Device
) -> tuple[str, ...]:
    """Decode the whole reconstruction and write it; returns what the person should know of it.

    `path` and `own` are where its super-resolution weights may be, as in `contents.restorer`.
    """
    from .. import codec
    from ..io.volumes import write_volume
    from .contents import restorer

    upscaler, notes = restorer(inr, path, own, device)
    volume = codec.decompress(inr, upscaler=upscaler, device=device, on_slices=control.on_progress)
    write_volume(volume, output)
    return notes


def _network_in(viewer: napari.viewer.Viewer) -> tuple[InrVolume, Path | None, Layer]:
    """Return the network that the selected layers carry, or else all layers; its file, and a layer of it."""
    selected, every = list(viewer.layers.selection), list(viewer.layers)
    chosen = _carriers(selected) or _carriers(every) or every
    inr, opened = find_network((layer.name, layer.metadata) for layer in chosen)
    return inr, opened, chosen[0]


def _name_of(layer: Layer) -> str:
    """Return a name for the file of what a layer shows."""
    return layer.name.split(" [")[0]


def _carriers(layers: list[Layer]) -> list[Layer]:
    return [layer for layer in layers if (held := carried(layer)) is not None and held.inr is not None]


def _in_background(
    title: str, done: Callable[[Any], None], work: Callable[..., object], *args: object
) -> None:
    """Run `work(control, *args)` as a `Job` with a bar in the activity dock; give its result to `done`."""
    from napari.utils import cancelable_progress
    from napari.utils.notifications import show_error

    from .jobs import Done, Job

    job = Job()
    bar = cancelable_progress(total=0, desc=title)
    bar.cancel = job.drop  # napari's own only ends a loop over the bar

    def show(record: object) -> None:
        if isinstance(record, Done):
            bar.total = record.total
            bar.update(record.done - bar.n)

    def end() -> None:
        bar.close()
        _running.discard(job)

    job.reported.connect(show)
    job.finished.connect(done)
    job.failed.connect(show_error)
    job.ended.connect(end)
    _running.add(job)
    job.start(work, *args)
