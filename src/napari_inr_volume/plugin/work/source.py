"""What the panel needs to know of its source: series in a folder, a layer's volume, earlier fits of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..job import Control

if TYPE_CHECKING:
    from napari.layers import Image

    from ...core.volume import Volume
    from ...inr_volume import InrVolume
    from ...io.dicom import Broken, Listing
    from ..kept_fits import Kept


def describe(control: Control, layer: Image) -> Volume:
    """Return the volume of a layer, to be compressed: looks at every voxel."""
    from ..layers import volume_of

    volume = volume_of(layer)
    volume.check_fittable()
    return volume


def find_series(control: Control, path: Path) -> Listing:
    """List the CT series in a folder or file, none in a file that is not DICOM; reports Done."""
    from ...io.dicom import Listing, list_series
    from ...io.sources import holds_dicom

    if path.is_file() and not holds_dicom(path):
        return Listing(series=(), skipped_by_reason={}, broken=())
    return list_series(path, control.on_progress)


def read(
    control: Control, path: Path, series: str | None, *, skip_broken: bool = False
) -> Volume | tuple[Broken, ...]:
    """Read a CT source, or return the broken files that it could be read without; reports Done."""
    from ...io.dicom import BrokenFilesError
    from ...io.sources import read_source

    try:
        return read_source(path, series, control.on_progress, skip_broken=skip_broken)
    except BrokenFilesError as error:
        return error.broken


def recall(control: Control, volume: Volume) -> tuple[str, Kept | InrVolume | None]:
    """Return a volume's identity, and the fit of it that is kept: stopped, or finished and not saved."""
    from .. import kept_fits, unsaved

    name = kept_fits.identity(volume)
    return name, kept_fits.find(name) or unsaved.find(name)
