"""Turn a CT volume into a neural network small enough to mail, and back.

The method is that of Sheibanifard and Yu, "A Novel Implicit Neural Representation for Volume Data",
Appl. Sci. 2023, 13, 3242. Importing this package loads neither torch nor napari: the names below are
looked up when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .core.version import __version__

if TYPE_CHECKING:
    from .codec import decompress
    from .core.errors import InrError
    from .core.volume import Volume
    from .inr_volume import InrVolume
    from .io.files import load, save
    from .session import compress

__all__ = ["InrError", "InrVolume", "Volume", "__version__", "compress", "decompress", "load", "save"]

_HOME = {
    "InrError": ".core.errors",
    "InrVolume": ".inr_volume",
    "Volume": ".core.volume",
    "compress": ".session",
    "decompress": ".codec",
    "load": ".io.files",
    "save": ".io.files",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
