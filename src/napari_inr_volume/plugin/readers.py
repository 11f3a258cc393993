"""napari's readers: `.inr` files, and CT in DICOM files and folders.

napari asks `get_..._reader` for every file whose name fits; None means that it is not for us. What goes
wrong while reading is raised as an InrError, whose sentence napari shows. That is also how an INRIMAGE file,
an older format with the suffix `.inr`, is declined: of None, a person would read only that it was refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import SourceError

if TYPE_CHECKING:
    from ..io.dicom import Listing, Series
    from .layers import LayerData

Paths = str | list[str]
Reader = Callable[[Paths], list[Any]]

PROBED = 200  # files of a folder that are looked at before it is taken for one without DICOM
NO_LAYERS = [(None,)]  # napari's word for "done, and there is nothing to show"


def get_inr_reader(path: Paths) -> Reader | None:
    """Return the reader of `.inr` files, or None if it is not for this path, or for these many."""
    if isinstance(path, str) and path.lower().endswith(".inr") and not Path(path).is_dir():
        return read_inr_layers
    return None


def read_inr_layers(path: Paths) -> list[Any]:
    """Return the layers of an `.inr`: the LR fit, and over it the reconstruction, decoded when looked at."""
    assert isinstance(path, str)
    return open_inr(Path(path), Path(path).stem)


def open_inr(path: Path, name: str) -> list[LayerData]:
    """Return the layers of an `.inr`, telling the person what is not as the file asks for.

    Raises InrFileError on a file that is not a sound `.inr`.
    """
    from napari.settings import get_settings
    from napari.utils.notifications import show_warning

    from ..inr.decode import LrDecoder
    from ..io.inr_file import read_inr, read_model
    from ..superres.upscale import find_restorer
    from .lazy import inr_layers, stutters
    from .settings import own_weights, preferences

    inr, device = read_inr(path), preferences().device
    decoder = LrDecoder(inr, device)
    weights = [read_model(path), own_weights()]
    upscaler = find_restorer(inr, show_warning, weights=weights, device=device)
    layers = inr_layers(decoder, upscaler, name, path)
    if stutters(decoder, upscaler) and not get_settings().experimental.async_:
        _hide_until_asynchronous(layers[-1], upscaler.name)
    return layers


def _hide_until_asynchronous(layer_data: LayerData, upscaler: str) -> None:
    """Hide a layer whose slices take long, and offer to let napari decode them off its UI thread."""
    import napari
    from napari.settings import get_settings
    from napari.utils.notifications import Notification, notification_manager

    from .layers import UPSCALERS

    data, arguments, _ = layer_data
    arguments["visible"] = False

    def show(dialog: object) -> None:
        get_settings().experimental.async_ = True
        viewer = napari.current_viewer()
        for layer in viewer.layers if viewer is not None else ():
            if layer.data is data:
                layer.visible = True

    words = (
        f"{UPSCALERS[upscaler]} takes long for each slice on the CPU, and napari would stand still meanwhile,"
        " so the reconstruction is hidden. Preferences > Experimental > Render Layers Asynchronously keeps it"
        " going."
    )
    notification_manager.dispatch(Notification(words, "info", [("Turn on and show", show)]))


def get_dicom_reader(path: Paths) -> Reader | None:
    """Return the reader of CT in DICOM, or None if there seems to be no DICOM at the path(s)."""
    paths = [path] if isinstance(path, str) else path
    return read_dicom_layers if paths and all(_holds_dicom(Path(each)) for each in paths) else None


def read_dicom_layers(path: Paths) -> list[Any]:
    """Return the layer of the CT series in a folder, in a file, or in several files that make one stack.

    Among several series the person chooses; without a window to ask in, that is a SourceError.
    """
    from ..io.dicom import list_series, read_dicom
    from .layers import original_layer

    paths = [Path(each) for each in ([path] if isinstance(path, str) else path)]
    name = paths[0].name if paths[0].is_dir() else paths[0].stem
    with _bar(f"Reading {name}") as show:
        listing = list_series(paths, show)
        stacks = find_stacks(listing)
        chosen = stacks[0] if len(stacks) == 1 else _choose(stacks, name)
        if stacks and chosen is None:
            return NO_LAYERS
        volume = read_dicom(list(chosen.paths), chosen.uid, show) if chosen else read_dicom(paths)
    return [original_layer(volume, series_name(name, chosen, len(stacks)))]


def find_stacks(listing: Listing) -> list[Series]:
    """Return the series among which to choose: those of several slices, if there are any."""
    return [line for line in listing.series if line.slices > 1] or list(listing.series)


def series_name(source: str, series: Series | None, of: int) -> str:
    """Return the layer's name: that of the folder or file, and if it holds several, the series'."""
    return source if series is None or of == 1 else f"{source} {series.description or series.number}"


def _choose(stacks: list[Series], name: str) -> Series | None:
    if not stacks:
        return None
    from qtpy.QtWidgets import QApplication

    if QApplication.instance() is None:
        raise SourceError(
            f"'{name}' holds {len(stacks)} CT series; read one of them with napari_inr_volume.load(path,"
            " series=...), or move its files to a folder of their own"
        )
    from .dialogs import ask_series

    return ask_series(stacks, name)


def _holds_dicom(path: Path) -> bool:
    """Return whether a file, or one of the first files of a folder, is DICOM."""
    from ..io.dicom import looks_like_dicom

    if not path.is_dir():
        return looks_like_dicom(path)
    files = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    return any(looks_like_dicom(file) for file in islice(files, PROBED))


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar in napari's activity dock; yields what to tell (done, total)."""
    from napari.utils import progress

    with progress(total=1, desc=title) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
