"""napari's writers, behind File > Save Selected Layers: they save the fitted network that a layer carries.

Nothing is fitted here. An LR fit and its reconstruction carry the same network, so any selection of layers
with one network among them can be saved.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InrError, InrFileError
from . import unsaved
from .layers import METADATA, Carried
from .notices import plain_errors

if TYPE_CHECKING:
    from ..inr_volume import InrVolume

SUFFIX = ".inr"


def write_layer(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Save the network that one layer carries."""
    return write_layers(path, [(data, meta, "image")])


def write_layers(path: str, layers: list[tuple[Any, dict[str, Any], str]]) -> list[str]:
    """Save the one network that several layers carry."""
    with plain_errors():
        inr, opened = find_network((meta["name"], meta.get("metadata", {})) for _, meta, _ in layers)
        return [str(save_inr(inr, Path(path), opened))]


def find_network(layers: Iterable[tuple[str, dict[str, Any]]]) -> tuple[InrVolume, Path | None]:
    """Return the one fitted network that layers carry, given as (name, metadata), and where it was opened.

    Raises InrFileError, with what to do, if there is none or more than one.
    """
    names: list[str] = []
    found: list[tuple[InrVolume, Path | None]] = []
    carriers: list[str] = []
    for name, metadata in layers:
        names.append(f"'{name}'")
        held = metadata.get(METADATA)
        if not isinstance(held, Carried) or held.inr is None:
            continue
        if held.inr not in [inr for inr, _ in found]:
            found.append((held.inr, held.opened))
            carriers.append(names[-1])
    if not found:
        which = f"{', '.join(names)} carries" if len(names) == 1 else "these layers carry"
        raise InrFileError(
            f"{which} no fitted network, so there is nothing to save as {SUFFIX}; open Plugins > INR"
            " Volume > Compress (INR), press Fit, and save the LR fit or the reconstruction that it makes"
        )
    if len(found) > 1:
        raise InrFileError(
            f"{' and '.join(carriers)} carry different networks, and an {SUFFIX} holds one; select the layer"
            " to be saved alone"
        )
    return found[0]


def save_inr(inr: InrVolume, path: Path, opened: Path | None = None) -> Path:
    """Save a network, with the suffix appended if it is missing; returns where it was saved.

    Weights of the upscaler that are embedded in the file it was opened from are embedded again. Raises
    InrFileError rather than replace a file whose name the person did not give in full.
    """
    from ..io.inr_file import write_inr

    if path.suffix.lower() != SUFFIX:
        path = path.with_name(path.name + SUFFIX)
        if path.exists():
            raise InrFileError(f"'{path.name}' is there already; to replace it, give its name with {SUFFIX}")
    write_inr(inr, path, model=None if opened is None else _embedded(inr, opened))
    unsaved.forget(inr)
    return path


def _embedded(inr: InrVolume, opened: Path) -> bytes | None:
    """Return the weights embedded in the file that a network was opened from, if it still holds both."""
    from ..io.inr_file import read_inr, read_model

    try:
        return read_model(opened) if read_inr(opened) == inr else None
    except InrError:  # gone or damaged meanwhile; the network itself is here
        return None
