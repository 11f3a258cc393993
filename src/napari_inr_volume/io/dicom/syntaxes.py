"""What decodes each transfer syntax."""

from __future__ import annotations

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from .jpeg import PLUGIN

LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)  # whatever the header says

# One decoder for each syntax, so that no other that happens to be installed decides the values.
# pylibjpeg-rle is not among them: it panics on damaged data, past every `except Exception`.
NATIVE = ""
DECODERS: dict[UID, str] = {
    ImplicitVRLittleEndian: NATIVE,
    ExplicitVRLittleEndian: NATIVE,
    ExplicitVRBigEndian: NATIVE,
    DeflatedExplicitVRLittleEndian: NATIVE,
    RLELossless: "pydicom",
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: "pillow",  # which takes 8 bits only, and says so
    JPEGLossless: PLUGIN,
    JPEGLosslessSV1: PLUGIN,
    JPEGLSLossless: PLUGIN,
    JPEGLSNearLossless: PLUGIN,
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
}
