"""napari's readers: `.inr` files, CT in DICOM files and folders, and volumes in NIfTI, NRRD and MetaImage.

napari asks `get_..._reader` for every file whose name fits; None means that it is not for us. What goes
wrong while reading is raised as an InrError, whose sentence napari shows. That is also how an INRIMAGE file,
an older format with the suffix `.inr`, is declined: of None, a person would read only that it was refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import SourceError
from .notices import plain, plain_errors, show_notes, show_warning

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from ..core.volume import Volume
    from ..io.dicom import Listing, Series
    from .layers import LayerData

Paths = str | list[str]
Reader = Callable[[Paths], list[Any]]

PROBED = 200  # files of a folder that are looked at before it is taken for one without DICOM
VOLUMES = (".nii", ".nii.gz", ".img", ".img.gz", ".nrrd", ".nhdr", ".mha", ".mhd")  # as in napari.yaml
NO_LAYERS = [(None,)]  # napari's word for "done, and there is nothing to show"


def get_inr_reader(path: Paths) -> Reader | None:
    """Return the reader of `.inr` files, or None if it is not for this path, or for these many."""
    if isinstance(path, str) and path.lower().endswith(".inr") and not Path(path).is_dir():
        return read_inr_layers
    return None


def read_inr_layers(path: Paths) -> list[Any]:
    """Return the layers of an `.inr`: the LR fit, and over it the reconstruction or exact voxels."""
    assert isinstance(path, str)
    with plain_errors():
        return open_inr(Path(path), Path(path).stem)


def open_inr(path: Path, name: str) -> list[LayerData]:
    """Return the layers of an `.inr`, telling the person what is not as the file asks for.

    In a window they come at once, and are decoded in the background. Raises InrFileError on a file that is
    not a sound `.inr`.
    """
    from ..inr_volume import check_restoring
    from ..io.inr_file import read_inr
    from .opened import Opened
    from .pyramid import finest
    from .settings import own_weights, preferences
    from .sharpening import follow, in_window

    opened = Opened(read_inr(path), path, own_weights(), preferences().device)
    check_restoring(opened.inr)  # before napari asks for a slice, whose LR alone may take minutes
    if not in_window():
        opened.reader()
        for note in opened.notes:
            show_warning(note)
    layers = opened.layers(name)
    for data, arguments, _ in layers:
        follow(finest(data), opened, name, arguments["name"])
    return layers


def get_dicom_reader(path: Paths) -> Reader | None:
    """Return the reader of CT in DICOM, or None if there seems to be no DICOM at the path(s)."""
    paths = [path] if isinstance(path, str) else path
    return read_dicom_layers if paths and all(_holds_dicom(Path(each)) for each in paths) else None


def read_dicom_layers(path: Paths) -> list[Any]:
    """Return the layer of the CT series in a folder, in a file, or in several files that make one stack.

    Among several series the person chooses, and whether to read one without the files of it that are broken;
    without a window to ask in, that is a SourceError.
    """
    from ..io.dicom import list_series
    from .layers import original_layer

    paths = [Path(each) for each in ([path] if isinstance(path, str) else path)]
    name = name_of(paths[0])
    with plain_errors(), _bar(f"Reading {name}") as show:
        choice = choose(list_series(paths, show), name)
        volume = None if choice is None else _read(paths, choice, show)
    if choice is None or volume is None:
        return NO_LAYERS
    show_notes(volume, choice.name)
    return [original_layer(volume, choice.name)]


def get_volume_reader(path: Paths) -> Reader | None:
    """Return the reader of a volume in a file that is not DICOM, or None if it is not for this path."""
    if isinstance(path, str) and path.lower().endswith(VOLUMES) and Path(path).is_file():
        return read_volume_layers
    return None


def read_volume_layers(path: Paths) -> list[Any]:
    """Return the layer of a volume in a NIfTI, NRRD or MetaImage file."""
    from ..io.sources import read_source
    from .layers import original_layer

    assert isinstance(path, str)
    name = name_of(Path(path))
    with plain_errors(), _bar(f"Reading {name}") as show:
        volume = read_source(Path(path), on_progress=show)
    show_notes(volume, name)
    return [original_layer(volume, name)]


def name_of(path: Path) -> str:
    """Return the name for the layer of what lies at a path: that of the folder or file, without suffix."""
    if path.is_dir():
        return path.name
    return path.with_suffix("").stem if path.suffix.lower() == ".gz" else path.stem


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a person wants of the CT in a folder or in files."""

    name: str  # for the layer
    key: str | None  # of the series; None if there was none to choose


def choose(listing: Listing, name: str, parent: QWidget | None = None) -> Choice | None:
    """Return what to read; among several series the person chooses, or not: None.

    `name` is that of the folder or file; the layer's says too, if it holds several, which series it is.
    """
    stacks = find_stacks(listing)
    if len(stacks) < 2:
        return Choice(name=name, key=None)
    if not _can_ask():
        raise SourceError(
            f"'{name}' holds {len(stacks)} CT series; read one of them with napari_inr_volume.load(path,"
            " series=...), or move its files to a folder of their own"
        )
    from .dialogs import ask_series

    chosen = ask_series(stacks, name, parent)
    if chosen is None:
        return None
    words = [chosen.description or ("" if chosen.number is None else str(chosen.number)), chosen.part]
    return Choice(name=" ".join(filter(None, [name, *words])), key=chosen.key)


def find_stacks(listing: Listing) -> list[Series]:
    """Return the series among which to choose: those of several slices, if there are any."""
    return [line for line in listing.series if line.slices > 1] or list(listing.series)


def _read(paths: list[Path], choice: Choice, show: Callable[[int, int], None]) -> Volume | None:
    """Read what was chosen; None if there are broken files among it, and the person wants no others."""
    from ..io.dicom import BrokenFilesError, read_dicom
    from ..io.sources import read_source
    from .dialogs import NAMED, ask_to_skip

    def read(*, skip_broken: bool) -> Volume:
        if len(paths) == 1:
            return read_source(paths[0], choice.key, show, skip_broken=skip_broken)
        return read_dicom(paths, choice.key, show, skip_broken=skip_broken)

    try:
        return read(skip_broken=False)
    except BrokenFilesError as error:
        if not _can_ask():
            named = "; ".join(f"{one.path.name}: {one.reason}" for one in error.broken[:NAMED])
            raise SourceError(
                f"'{choice.name}' holds files that cannot be read ({named}); copy them again, or read the"
                " rest with napari_inr_volume.load(path, skip_broken=True)"
            ) from error
        if not ask_to_skip(error.broken, choice.name):
            return None
    return read(skip_broken=True)


def _can_ask() -> bool:
    """Return whether there is a window to ask in."""
    from qtpy.QtWidgets import QApplication

    return QApplication.instance() is not None


def _holds_dicom(path: Path) -> bool:
    """Return whether a file is DICOM or a zip, or one of the first files of a folder is DICOM."""
    from ..io.dicom import is_dicom_source, looks_like_dicom

    if not path.is_dir():
        return is_dicom_source(path)
    files = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    return any(looks_like_dicom(file) for file in islice(files, PROBED))


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar in napari's activity dock; yields what to tell (done, total)."""
    from napari.utils import progress

    with progress(total=1, desc=plain(title)) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
