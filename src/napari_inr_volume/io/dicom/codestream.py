"""What a compressed frame says of its own size, looked at before a decoder trusts it.

A decoder allocates what the codestream asks for. So rows, columns and samples must be those of the DICOM
header, and not more than the frame's bytes can justify.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

PIXELS = 2**24  # of one frame that are decoded whatever its bytes
PIXELS_A_BYTE = 4_096  # beyond: a flat image takes about this many
RLE_RATIO = 64  # bytes that two bytes of PackBits stand for, at most, for each of the two
TILE_BYTES = 14  # of a tile of JPEG 2000 at least: its markers SOT and SOD
INFLATED = 2**26  # bytes that a deflated data set may have whatever its file's size
INFLATED_A_BYTE = 32  # beyond

_JPEG2000 = (*JPEG2000TransferSyntaxes, UID("1.2.840.10008.1.2.4.201"), UID("1.2.840.10008.1.2.4.202"))
_JPEG2000 += (UID("1.2.840.10008.1.2.4.203"),)
_JPEG = (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes)


class Declared(NamedTuple):
    """What a codestream says of itself."""

    rows: int
    columns: int
    samples: int
    tiles: int


def check_frame(frame: bytes, syntax: UID, size: tuple[int, int], bits_allocated: int) -> None:
    """Raise ValueError for a frame whose codestream is not of this size (rows, columns), or is a bomb."""
    rows, columns = size
    if rows * columns > max(PIXELS, PIXELS_A_BYTE * len(frame)):
        raise ValueError(f"{rows} x {columns} pixels are more than a frame of {len(frame)} bytes can hold")
    if syntax == RLELossless:
        if rows * columns * bits_allocated // 8 > RLE_RATIO * len(frame):
            raise ValueError(f"a frame of {len(frame)} bytes holds fewer than {rows} x {columns} pixels")
        return
    if syntax in _JPEG2000:
        declared = _jpeg2000(frame)
    elif syntax in _JPEG:
        declared = _jpeg(frame)
    else:
        return
    if declared is None:
        raise ValueError("the codestream does not say how large its image is")
    if (declared.rows, declared.columns, declared.samples) != (rows, columns, 1):
        raise ValueError(
            f"the codestream holds {declared.rows} x {declared.columns} pixels of {declared.samples} samples,"
            f" and the header says {rows} x {columns} of 1"
        )
    if declared.tiles * TILE_BYTES > len(frame):
        raise ValueError(f"the codestream declares {declared.tiles} tiles in {len(frame)} bytes")


def refuse_deflate_bomb(path: Path) -> None:
    """Raise ValueError for a deflated data set that inflates to more than its file can justify.

    pydicom inflates such a file whole, before anything of it can be looked at.
    """
    with path.open("rb") as file:
        start = file.read(2_048)
        if str(DeflatedExplicitVRLittleEndian).encode() not in start or start[128:132] != b"DICM":
            return
        # The file meta information, which is not deflated, begins with its own length.
        meta_end = 144 + int.from_bytes(start[140:144], "little")
        size = file.seek(0, 2)
        allowed = max(INFLATED, INFLATED_A_BYTE * size)
        file.seek(min(meta_end, size))
        inflater, inflated = zlib.decompressobj(-zlib.MAX_WBITS), 0
        waiting = b""
        while waiting or (waiting := file.read(2**16)):
            inflated += len(inflater.decompress(waiting, 2**20))
            waiting = inflater.unconsumed_tail
            if inflated > allowed:
                raise ValueError(
                    f"it is deflated and has more than {allowed:,} bytes, too many for a file of {size:,};"
                    " export it again, uncompressed"
                )


def _jpeg(frame: bytes) -> Declared | None:
    """Return what the frame header (SOF) of JPEG or JPEG-LS declares (ITU-T T.81, B.2.2; T.87, C.2.2)."""
    place = 2
    while place + 4 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker == 0xFF:  # fill
            place += 1
            continue
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            if place + 10 > len(frame):
                return None
            rows = int.from_bytes(frame[place + 5 : place + 7], "big")
            columns = int.from_bytes(frame[place + 7 : place + 9], "big")
            return Declared(rows, columns, frame[place + 9], 1)
        if marker in (0xD9, 0xDA):  # the end, or coded pixels
            return None
        place += 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    return None


def _jpeg2000(frame: bytes) -> Declared | None:
    """Return what the marker SIZ declares (ITU-T T.800, A.5.1), wherever the codestream begins."""
    place = frame[:4_096].find(b"\xff\x4f\xff\x51")
    siz = frame[place + 4 : place + 42] if place >= 0 else b""
    if len(siz) < 38:
        return None
    x, y, x0, y0, tile_x, tile_y, tile_x0, tile_y0 = (
        int.from_bytes(siz[start : start + 4], "big") for start in range(4, 36, 4)
    )
    if not (tile_x and tile_y and x0 < x and y0 < y and tile_x0 <= x0 and tile_y0 <= y0):
        return None
    tiles = -(-(x - tile_x0) // tile_x) * -(-(y - tile_y0) // tile_y)
    return Declared(y - y0, x - x0, int.from_bytes(siz[36:38], "big"), tiles)
