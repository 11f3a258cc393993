"""The file that holds the voxels of a header (NRRD, MetaImage): in the header's folder, or refused."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

from ..core.errors import SourceError
from ..core.text import printable


def data_file(header: Path, name: str) -> Path:
    """Return the path of the data file that a header names. Raises SourceError if it is elsewhere or missing.

    A header from a stranger must not make us read any other file of the machine.
    """
    parts = PureWindowsPath(name).parts  # which splits at both kinds of slash
    path = header.parent.joinpath(*parts) if parts else header.parent
    if PureWindowsPath(name).anchor or ".." in parts or not _is_inside(path, header.parent):
        raise SourceError(
            f"'{header.name}' keeps its voxels in '{printable(name)}', outside its own folder;"
            " put both files in one folder, and only the name in the header"
        )
    if not path.is_file():
        raise SourceError(
            f"'{header.name}' keeps its voxels in '{printable(name)}', which is missing; put it beside it"
        )
    return path


def _is_inside(path: Path, folder: Path) -> bool:
    """Return whether a path lies in a folder, links followed."""
    return path.resolve().is_relative_to(folder.resolve())
