"""Networks that were fitted and not saved yet, kept in files until they are: napari may be closed before.

They lie beside the stopped fits of `kept_fits`, found like these by the volume they are of.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import FitError, InrError
from . import kept_fits

if TYPE_CHECKING:
    from ..inr_volume import InrVolume

WORDS = "A fit of this volume was finished but not saved. Press Continue to show it again."


def keep(name: str, inr: InrVolume) -> None:
    """Keep the network of the volume of this identity. Raises InrError if it cannot be saved."""
    from ..io.inr_file import write_inr

    folder = kept_fits.FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FitError(f"the fit cannot be kept in {folder}: {error.strerror}") from error
    write_inr(inr, folder / f"{name}.inr")
    for path in sorted(_kept(), key=lambda path: path.stat().st_mtime)[: -kept_fits.MOST]:
        _remove(path)


def find(name: str) -> InrVolume | None:
    """Return the network that is kept of the volume of this identity; one that is damaged is removed."""
    from ..io.inr_file import read_inr

    path = kept_fits.FOLDER / f"{name}.inr"
    if not path.is_file():
        return None
    try:
        return read_inr(path)
    except (InrError, OSError):
        _remove(path)
        return None


def forget(inr: InrVolume) -> None:
    """Remove a network that was saved, whatever was changed since of how it is restored and where it lies."""
    for path in _kept():
        found = find(path.stem)
        if found is not None and found.payload == inr.payload:
            _remove(path)


def _kept() -> list[Path]:
    return list(kept_fits.FOLDER.glob("*.inr"))


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
