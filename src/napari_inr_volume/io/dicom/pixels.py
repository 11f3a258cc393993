"""From the stored pixels of DICOM slices to HU, and what in them was never measured.

pydicom decodes; stored bits, rescale and padding are seen to here, slice by slice, so that there is never
more in memory than the volume and one slice; of a large volume, only the slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit

from ...core.errors import SourceError
from ...core.scratch import room
from .codestream import check_frame
from .header import Slice, losses_refused, read_dataset, reason
from .padding import Padding
from .syntaxes import DECODERS, NATIVE

Plane = NDArray[Any]  # (y, x)


class BrokenPixelsError(SourceError):
    """The pixels of one file cannot be decoded."""

    def __init__(self, words: str, path: Path, reason: str) -> None:
        super().__init__(words)
        self.path = path
        self.reason = reason


@dataclass(frozen=True, eq=False)
class Voxels:
    """The voxels of a stack, and what was found out about them."""

    voxels: NDArray[Any]  # (z, y, x)
    padding: float | None  # the value of those that were never measured
    notes: tuple[str, ...]


def read_voxels(planes: Sequence[Sequence[Slice]], on_slice: Callable[[int, int], None]) -> Voxels:
    """Return the voxels (z, y, x) of a stack in HU, and the value that padding has in them.

    int16 if slope and intercept are whole numbers everywhere, int32 if the values need it, else
    float32. Raises BrokenPixelsError for a file whose pixels cannot be decoded, SourceError for kinds of
    pixels that no decoder here turns into the right numbers, for images that share a position but not their
    pixels, and for a volume that there is no room for.
    """
    images = [image for plane in planes for image in plane]
    for image in images:
        _refuse_undecodable(image)
    shape = (len(planes), *images[0].size)
    voxels = _room(shape, np.int16 if _are_whole(images) else np.float32)
    padding = Padding(len(planes))
    seen: dict[int, Slice] = {}
    for done, (z, image, stored) in enumerate(_decode(planes), start=1):
        values = _rescaled(stored, image)
        padding.find(z, image, stored, values, voxels.dtype)
        if voxels.dtype == np.int16 and (values.min() < -(2**15) or values.max() >= 2**15):
            narrow, voxels = voxels, _room(shape, np.int32)
            for decoded in seen:
                voxels[decoded] = narrow[decoded]
        plane = values.astype(voxels.dtype)
        if z not in seen:
            voxels[z] = plane
            seen[z] = image
        elif not np.array_equal(voxels[z], plane):
            raise SourceError(_two_at_one_place(seen[z], image, planes))
        on_slice(done, len(images))
    value, notes = padding.settle(voxels)
    return Voxels(voxels, value, notes)


def _are_whole(images: Sequence[Slice]) -> bool:
    """Return whether all values are whole numbers, of which int32 holds every one."""
    return all(
        number.is_integer() and abs(number) < 2**15
        for image in images
        for number in (image.slope, image.intercept)
    )


def _room(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return the array to fill."""
    words = " x ".join(str(length) for length in shape)
    what = f"the series, {words} {np.dtype(dtype)},"
    return room(shape, dtype, what, "give some of its files only", SourceError)


def _rescaled(stored: Plane, image: Slice) -> NDArray[np.float64]:
    """Return what the stored values stand for; float64 holds all whole numbers that occur."""
    if image.lut is not None:
        return image.lut(stored)
    values: NDArray[np.float64] = stored * image.slope + image.intercept
    return values


def _two_at_one_place(first: Slice, second: Slice, planes: Sequence[Sequence[Slice]]) -> str:
    found = f"{first} and {second} lie at the same position with different pixels"
    if len(planes) == 1 and len(planes[0]) > 2:
        return (
            f"{found}: all {len(planes[0])} images give the same ImagePositionPatient, so their order and"
            " distance are unknown; export the series again with its positions"
        )
    return f"{found}; give the files of one of them only"


def _decode(planes: Sequence[Sequence[Slice]]) -> Iterator[tuple[int, Slice, Plane]]:
    """Yield z, slice and stored pixels, each file opened once."""
    files: dict[Path, list[tuple[int, Slice]]] = {}
    for z, plane in enumerate(planes):
        for image in plane:
            files.setdefault(image.path, []).append((z, image))
    for path, members in files.items():
        first = members[0][1]
        decoder = DECODERS[first.syntax]
        try:
            with losses_refused():
                frames = _frames(path, members, decoder)
        except Exception as error:
            raise _undecoded(first, error) from error
        for z, image in members:
            try:
                with losses_refused():
                    stored = _stored_bits(next(frames), image)
            except Exception as error:  # each decoder has errors of its own
                raise _undecoded(image, error) from error
            yield z, image, stored


def _frames(path: Path, members: Sequence[tuple[int, Slice]], decoder: str) -> Iterator[Plane]:
    """Return the decoded frames of a file, in the order of `members`."""
    first = members[0][1]
    # By its path pydicom reads a file frame by frame; a whole data set, small if there is one image or
    # compression, also shows where a compressed file breaks off.
    by_path = first.frames > 1 and decoder == NATIVE
    source: Path | Dataset = path if by_path else read_dataset(path)
    if isinstance(source, Dataset):
        _check_pixels(source, first)
    indices = [image.frame for _, image in members]
    options: dict[str, Any] = {"raw": True, "decoding_plugin": decoder, "allow_excess_frames": False}
    if decoder == NATIVE:
        options["correct_unused_bits"] = False  # which we do, for all syntaxes
    return iter_pixels(source, indices=indices, **options)


def _check_pixels(dataset: Dataset, image: Slice) -> None:
    """Raise ValueError for pixels that are missing, or that are not of the size the header says."""
    if "PixelData" not in dataset or not dataset.PixelData:
        raise ValueError("it has no PixelData")
    if image.syntax.is_encapsulated:
        for frame in generate_frames(dataset.PixelData, number_of_frames=image.frames):
            check_frame(frame, image.syntax, image.size, image.bits_allocated)


def _stored_bits(decoded: Plane, image: Slice) -> Plane:
    """Return the stored value of each pixel: BitsStored bits up to HighBit, with their sign.

    Other bits (an old overlay, or a 16-bit codestream of 12-bit values) are not part of the value.
    """
    if decoded.shape != image.size:
        raise ValueError(f"{decoded.shape} pixels were decoded, the header says {image.size}")
    bits = 8 * decoded.dtype.itemsize
    if image.bits_stored == bits:
        return decoded
    signed = np.dtype(f"i{decoded.dtype.itemsize}" if image.signed else f"u{decoded.dtype.itemsize}")
    above = bits - 1 - image.high_bit
    stored: Plane = np.left_shift(decoded, above).view(signed) >> (bits - image.bits_stored)
    return stored


def _refuse_undecodable(image: Slice) -> None:
    """Raise SourceError for pixels that no decoder here can turn into the right numbers."""
    syntax = image.syntax
    if image.bits_allocated not in (8, 16):
        raise SourceError(f"{image} stores {image.bits_allocated} bits a pixel; 8 and 16 can be read")
    if not (1 <= image.bits_stored <= image.high_bit + 1 <= image.bits_allocated):
        raise SourceError(
            f"{image} has BitsStored {image.bits_stored} and HighBit {image.high_bit} in"
            f" {image.bits_allocated} bits, which cannot be; export the series again"
        )
    if image.high_bit != image.bits_stored - 1 and syntax.is_encapsulated:
        raise SourceError(
            f"{image} has HighBit {image.high_bit} and BitsStored {image.bits_stored} in compressed pixels,"
            f" where HighBit must be {image.bits_stored - 1}; export the series again, uncompressed"
        )
    if image.photometric not in ("MONOCHROME1", "MONOCHROME2", ""):
        raise SourceError(
            f"{image} has pixels in {image.photometric}; MONOCHROME1 and MONOCHROME2, which are grey, can be"
            " read"
        )
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
    if syntax not in DECODERS:
        raise SourceError(
            f"{image} is compressed as {syntax.name}, for which there is no decoder here; export the series"
            " again, uncompressed"
        )
    if DECODERS[syntax] != NATIVE and DECODERS[syntax] not in get_decoder(syntax).available_plugins:
        raise SourceError(
            f"{image} is compressed as {syntax.name}; its decoder comes with"
            " pip install 'napari-inr-volume[dicom]'"
        )


def _undecoded(image: Slice, error: Exception) -> BrokenPixelsError:
    native = DECODERS[image.syntax] == NATIVE
    how = "" if native else f" as {image.syntax.name}"
    advice = "cut off or damaged" if native else "damaged, or must be exported uncompressed"
    why = reason(error)
    return BrokenPixelsError(
        f"the pixels of {image} cannot be decoded{how}: {why}; the file is {advice}", image.path, why
    )
