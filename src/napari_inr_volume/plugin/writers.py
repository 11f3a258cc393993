"""napari's writers, behind File > Save Selected Layers: they save the fitted network that a layer carries.

Nothing is fitted here. An LR fit and its reconstruction carry the same network, so any selection of layers
with one network among them can be saved.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..core.errors import InrError, InrFileError
from .layers import METADATA, Carried

SUFFIX = ".inr"


def write_layer(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Save the network that one layer carries."""
    return write_layers(path, [(data, meta, "image")])


def write_layers(path: str, layers: list[tuple[Any, dict[str, Any], str]]) -> list[str]:
    """Save the one network that several layers carry."""
    held = find_network((meta["name"], meta.get("metadata", {})) for _, meta, _ in layers)
    return [str(save_network(held, Path(path)))]


def find_network(layers: Iterable[tuple[str, dict[str, Any]]]) -> Carried:
    """Return what the layers, given as (name, metadata), carry of their one fitted network.

    Raises InrFileError, with what to do, if there is none or more than one.
    """
    names: list[str] = []
    found: list[Carried] = []
    carriers: list[str] = []
    for name, metadata in layers:
        names.append(f"'{name}'")
        held = metadata.get(METADATA)
        if not isinstance(held, Carried) or held.inr is None:
            continue
        if held.inr not in [other.inr for other in found]:
            found.append(held)
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


def save_network(held: Carried, path: Path) -> Path:
    """Save a network, with the suffix appended if it is missing; returns where it was saved.

    Weights of the upscaler that were embedded in the file it was opened from are embedded again. Raises
    InrFileError rather than replace a file whose name the person did not give in full.
    """
    from ..io.inr_file import write_inr

    assert held.inr is not None

    if path.suffix.lower() != SUFFIX:
        path = path.with_name(path.name + SUFFIX)
        if path.exists():
            raise InrFileError(f"'{path.name}' is there already; to replace it, give its name with {SUFFIX}")
    write_inr(held.inr, path, model=_embedded(held))
    return path


def _embedded(held: Carried) -> bytes | None:
    """Return the weights embedded in the file that a network was opened from, if it still holds both."""
    from ..io.inr_file import read_inr, read_model

    if held.opened is None:
        return None
    try:
        return read_model(held.opened) if read_inr(held.opened) == held.inr else None
    except InrError:  # gone or damaged meanwhile; the network itself is here
        return None
