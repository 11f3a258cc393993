"""napari's writers, behind File > Save Selected Layers: they save the fitted network that a layer carries.

Nothing is fitted here. An LR fit and its reconstruction carry the same network, so any selection of layers
with one network among them can be saved.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InrFileError
from .layers import METADATA, Carried

if TYPE_CHECKING:
    from ..inr.inr_volume import InrVolume

SUFFIX = ".inr"


def write_layer(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Save the network that one layer carries."""
    return write_layers(path, [(data, meta, "image")])


def write_layers(path: str, layers: list[tuple[Any, dict[str, Any], str]]) -> list[str]:
    """Save the one network that several layers carry."""
    inr = find_inr((meta["name"], meta.get("metadata", {})) for _, meta, _ in layers)
    return [str(save_inr(inr, Path(path)))]


def find_inr(layers: Iterable[tuple[str, dict[str, Any]]]) -> InrVolume:
    """Return the one fitted network that layers carry, given as (name, metadata).

    Raises InrFileError, with what to do, if there is none or more than one.
    """
    names: list[str] = []
    found: list[InrVolume] = []
    carriers: list[str] = []
    for name, metadata in layers:
        names.append(f"'{name}'")
        held = metadata.get(METADATA)
        if isinstance(held, Carried) and held.inr is not None and held.inr not in found:
            found.append(held.inr)
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


def save_inr(inr: InrVolume, path: Path) -> Path:
    """Save a network, with the suffix appended if it is missing; returns where it was saved.

    Raises InrFileError rather than replace a file whose name the person did not give in full.
    """
    from ..io.inr_file import write_inr

    if path.suffix.lower() != SUFFIX:
        path = path.with_name(path.name + SUFFIX)
        if path.exists():
            raise InrFileError(f"'{path.name}' is there already; to replace it, give its name with {SUFFIX}")
    write_inr(inr, path)
    return path
