"""One door for files: `load` reads a CT source or an `.inr`, `save` writes a volume or an `.inr`."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from ..core.errors import InrFileError
from ..core.volume import Volume
from ..inr_volume import InrVolume
from .inr_file import looks_like_inr, read_inr, read_remote, write_inr
from .remote import is_url
from .sources import read_source
from .volumes import write_volume

SUFFIX = ".inr"


def load(path: str | PathLike[str], *, series: str | None = None) -> Volume | InrVolume:
    """Read a file or folder: an `.inr` gives an `InrVolume`, a CT source a `Volume`.

    A source is a DICOM folder or file, NIfTI, a TIFF stack, a folder of PNG or TIFF slices, `.npy` or `.npz`.
    An `.inr` may be a URL (extra `remote`), of which a `Reader` then fetches what it decodes.
    `series` chooses among several DICOM series. Raises SourceError or InrFileError with what is wrong.
    """
    if isinstance(path, str) and is_url(path):
        return read_remote(path)
    path = Path(path)
    if path.suffix.lower() == SUFFIX or (path.is_file() and looks_like_inr(path)):
        return read_inr(path)
    return read_source(path, series=series)


def save(
    content: Volume | InrVolume,
    path: str | PathLike[str],
    *,
    model: str | PathLike[str] | bytes | None = None,
) -> None:
    """Write an `InrVolume` to an `.inr`, or a `Volume` to NIfTI, TIFF or `.npy` by the suffix.

    `model`, a weights file or its bytes, is embedded in the `.inr`, so that whoever opens that needs no such
    file; it must be that of the upscaler which the `InrVolume` names. The file is whole or not there: an
    interrupted save leaves an old one as it was.
    """
    path = Path(path)
    if isinstance(content, Volume):
        write_volume(content, path)
    elif path.suffix.lower() == SUFFIX:
        if model is not None and not isinstance(model, bytes):
            from ..superres.model_file import read_weights

            model = read_weights(Path(model))
        write_inr(content, path, model=model)
    else:
        raise InrFileError(
            f"a fitted network is saved as {SUFFIX}, not {path.name}; decompress it for other formats"
        )
