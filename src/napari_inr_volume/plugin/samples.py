"""Sample data: a CT head phantom, as it is and as an `.inr` that ships with the package.

`scripts/make_sample.py` fitted the latter, with the default preset.
"""

from __future__ import annotations

from pathlib import Path

from .layers import LayerData, original_layer
from .readers import open_inr

SAMPLE = Path(__file__).parents[1] / "samples" / "phantom.inr"
NAME = "CT head phantom"


def head_phantom() -> list[LayerData]:
    """Return the phantom as one layer: 48 x 256 x 256 voxels in HU."""
    from ..core import phantom

    return [original_layer(phantom.head_phantom(), NAME)]


def head_phantom_inr() -> list[LayerData]:
    """Return the layers of the phantom's `.inr`, as if the file had been opened."""
    return open_inr(SAMPLE, NAME)
