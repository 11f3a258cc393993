"""Codecs for Zarr: `ExactCodec` and `LossyCodec` for format 3, `Exact` and `Lossy` (numcodecs) for format 2.

zarr finds them by their names once this package is installed, so reading an array needs no import. Needs
the extra `zarr`.
"""

from ..core.extras import extra

with extra("zarr", "a codec for Zarr"):
    from .v2 import Exact, Lossy
    from .v3 import ExactCodec, LossyCodec

__all__ = ["Exact", "ExactCodec", "Lossy", "LossyCodec"]
