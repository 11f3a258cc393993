"""From the stored pixels of DICOM slices to HU, and what in them was never measured.

pydicom decodes; slope, intercept and padding are applied here, slice by slice, so that there is
never more in memory than the volume and one slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import iter_pixels
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

from ..core.errors import SourceError
from .dicom_jpeg import PLUGIN
from .dicom_slices import Slice, quiet_pydicom, read_dataset, reason

FILL_BELOW = -1200.0  # HU; air is -1000 and many scanners clip at -1024: a corner below this was filled in
CORNER = 4  # voxels; side of the blocks in an image's corners that show its fill value

Plane = NDArray[Any]  # (y, x)

_LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)  # whatever the header says

# One decoder for each syntax, so that no other that happens to be installed decides the values.
# pylibjpeg-rle is not among them: it panics on damaged data, past every `except Exception`.
_NATIVE = ""
_DECODERS: dict[UID, str] = {
    ImplicitVRLittleEndian: _NATIVE,
    ExplicitVRLittleEndian: _NATIVE,
    ExplicitVRBigEndian: _NATIVE,
    DeflatedExplicitVRLittleEndian: _NATIVE,
    RLELossless: "pydicom",
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: "pillow",  # which takes 8 bits only, and says so
    JPEGLossless: PLUGIN,
    JPEGLosslessSV1: PLUGIN,
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
}


def read_voxels(
    planes: Sequence[Sequence[Slice]], on_slice: Callable[[int, int], None]
) -> tuple[NDArray[Any], float | None]:
    """Return the voxels (z, y, x) of a stack in HU, and the value that padding has in them.

    int16 if slope and intercept are whole numbers everywhere, int32 if the values need it, else
    float32. Raises SourceError for pixels that cannot be decoded, and for images that share a
    position but not their pixels.
    """
    images = [image for plane in planes for image in plane]
    for image in images:
        _refuse_undecodable(image)
    whole = all(
        number.is_integer() and abs(number) < 2**15  # so that int32 holds every product
        for image in images
        for number in (image.slope, image.intercept)
    )
    voxels = np.empty((len(planes), *images[0].size), np.int16 if whole else np.float32)
    seen: dict[int, Slice] = {}
    padding: float | None = None
    for done, (z, image, stored) in enumerate(_decode(planes), start=1):
        values = stored * image.slope + image.intercept  # float64 holds all whole numbers that occur
        padded = _padded(stored, values, image)
        if padded.any():
            if padding is None:
                padding = _padding_value(values[padded], voxels.dtype)
            values[padded] = padding
        if voxels.dtype == np.int16 and (values.min() < -(2**15) or values.max() >= 2**15):
            voxels = voxels.astype(np.int32)
        plane = values.astype(voxels.dtype)
        if z not in seen:
            voxels[z] = plane
            seen[z] = image
        elif not np.array_equal(voxels[z], plane):
            raise SourceError(
                f"{seen[z]} and {image} lie at the same position with different pixels; give the files of"
                " one of them only"
            )
        on_slice(done, len(images))
    return voxels, padding


def _decode(planes: Sequence[Sequence[Slice]]) -> Iterator[tuple[int, Slice, Plane]]:
    """Yield z, slice and stored pixels, each file opened once."""
    files: dict[Path, list[tuple[int, Slice]]] = {}
    for z, plane in enumerate(planes):
        for image in plane:
            files.setdefault(image.path, []).append((z, image))
    for path, members in files.items():
        first = members[0][1]
        decoder = _DECODERS[first.syntax]
        indices = [image.frame for _, image in members]
        try:
            with quiet_pydicom():
                # By its path pydicom reads a file frame by frame; a whole data set, small if there is one
                # image or compression, also shows where a compressed file breaks off.
                source = path if first.frames > 1 and decoder == _NATIVE else read_dataset(path)
                frames = iter_pixels(source, indices=indices, raw=True, decoding_plugin=decoder)
        except Exception as error:
            raise _undecoded(first, error) from error
        for z, image in members:
            try:
                with quiet_pydicom():
                    stored = next(frames)
            except Exception as error:  # each decoder has errors of its own
                raise _undecoded(image, error) from error
            yield z, image, stored


def _refuse_undecodable(image: Slice) -> None:
    """Raise SourceError for pixels that no decoder here can turn into the right numbers."""
    syntax = image.syntax
    if image.bits_allocated not in (8, 16):
        raise SourceError(f"{image} stores {image.bits_allocated} bits a pixel; 8 and 16 can be read")
    if not (1e-6 < abs(image.slope) < 1e6 and abs(image.intercept) < 1e6):
        raise SourceError(
            f"{image} has RescaleSlope {image.slope:g} and RescaleIntercept {image.intercept:g},"
            " which make no HU"
        )
    if image.signed and syntax in (JPEGBaseline8Bit, JPEGExtended12Bit):
        raise SourceError(
            f"{image} holds signed pixels in lossy JPEG ({syntax.name}), which is unsigned by definition:"
            " the values would come out wrong; export the series again, uncompressed or lossless"
        )
    if syntax not in _DECODERS:
        raise SourceError(
            f"{image} is compressed as {syntax.name}, for which there is no decoder here; export the series"
            " again, uncompressed"
        )
    if _DECODERS[syntax] != _NATIVE and _DECODERS[syntax] not in get_decoder(syntax).available_plugins:
        raise SourceError(
            f"{image} is compressed as {syntax.name}; its decoder comes with"
            " pip install 'napari-inr-volume[dicom]'"
        )


def _undecoded(image: Slice, error: Exception) -> SourceError:
    native = _DECODERS[image.syntax] == _NATIVE
    how = "" if native else f" as {image.syntax.name}"
    advice = "cut off or damaged" if native else "damaged, or must be exported uncompressed"
    return SourceError(f"the pixels of {image} cannot be decoded{how}: {reason(error)}; the file is {advice}")


def _padded(stored: Plane, values: Plane, image: Slice) -> NDArray[np.bool_]:
    """Return which pixels were never measured: those the file declares, and the fill of the corners."""
    padded = np.zeros(stored.shape, np.bool_)
    if image.padding is not None:
        # Some scanners write -2000 as the unsigned 63536 beside signed pixels: same bits, other sign.
        ends = np.array([value % 2**16 for value in image.padding], np.uint16)
        low, high = sorted(ends.astype(stored.dtype).tolist())
        padded |= (stored >= low) & (stored <= high)
    if image.rescale_type == "HU":
        padded |= _filled(values, image)
    return padded


def _filled(values: Plane, image: Slice) -> NDArray[np.bool_] | bool:
    """Return which pixels have the fill value that an image's corners show, whatever the header says.

    The reconstructed circle leaves at least one corner of the square out. No noise makes a block of
    one value far below air. Lossy compression smears the fill, so there all far below air counts.
    """
    ends = (slice(None, CORNER), slice(-CORNER, None))
    corner = min((values[rows, columns] for rows in ends for columns in ends), key=np.median)
    fill = float(np.median(corner))
    if fill >= FILL_BELOW:
        return False
    if image.lossy or image.syntax in _LOSSY:
        return values < FILL_BELOW
    return values == fill if (corner == fill).all() else False


def _padding_value(padded: Plane, dtype: np.dtype[Any]) -> float:
    """Return the one value for all padding: the lowest found first, within what `dtype` can hold."""
    lowest = float(padded.min())
    if dtype.kind == "i":
        return max(lowest, float(np.iinfo(dtype).min))
    return float(dtype.type(lowest))
