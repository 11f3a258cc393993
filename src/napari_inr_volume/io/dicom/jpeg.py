"""JPEG Lossless and JPEG-LS for pydicom, decoded by the libjpeg-turbo and the CharLS that imagecodecs brings.

Of the decoders that pydicom knows for them, pylibjpeg-libjpeg is under the GPL, GDCM (3.2) aborts the
whole process on some damaged files, and pyjpegls (1.5) never returns from some that break off. This module
is a plugin as pydicom's guide for decoders describes it; pydicom takes the frames out of the file and sets
the signs right.
"""

from __future__ import annotations

from importlib.util import find_spec

from pydicom.pixels.decoders.base import DecodeRunner, get_decoder
from pydicom.uid import JPEGLossless, JPEGLosslessSV1, JPEGLSTransferSyntaxes

PLUGIN = "imagecodecs"
SYNTAXES = (JPEGLossless, JPEGLosslessSV1, *JPEGLSTransferSyntaxes)
DECODER_DEPENDENCIES = dict.fromkeys(SYNTAXES, ("numpy", "imagecodecs"))

END_OF_IMAGE = b"\xff\xd9"  # without it CharLS (2.4) looks for the rest of a frame that breaks off for ever


def is_available(uid: str) -> bool:
    """Return whether the plugin decodes this transfer syntax."""
    return uid in DECODER_DEPENDENCIES and find_spec("imagecodecs") is not None


def decode_frame(src: bytes, runner: DecodeRunner) -> bytes:
    """Return the pixels of one frame as bytes, and tell pydicom how wide they are."""
    import imagecodecs

    if runner.transfer_syntax in JPEGLSTransferSyntaxes:
        plane = imagecodecs.jpegls_decode(src + END_OF_IMAGE)
    else:
        plane = imagecodecs.jpeg8_decode(src)
    runner.set_option("bits_allocated", 8 * plane.dtype.itemsize)
    return plane.tobytes()


for _syntax in DECODER_DEPENDENCIES:
    _decoder = get_decoder(_syntax)
    if PLUGIN not in _decoder.available_plugins:  # this module may be loaded a second time
        _decoder.add_plugin(PLUGIN, (__name__, "decode_frame"))
