"""One PNG file as grey pixels, whole or refused. imagecodecs decodes: Pillow cuts 16-bit colour.

libpng prints warnings to the terminal, so it is given only the header and the pixels, both checked before.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import SourceError
from ..core.extras import extra
from .lengths import length, plausible
from .payload import check_claim, check_fits
from .values import Voxels, only_grey

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PALETTE = 3  # of the colour types
CHANNELS = {0: 1, 2: 3, PALETTE: 1, 4: 2, 6: 4}  # by colour type
BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), PALETTE: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # of a sample
MOST_WIDE = 1_000_000  # pixels along an axis, by libpng
ONE_PASS = ((0, 0, 1, 1),)  # first row, first column, rows from one to the next, columns likewise
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the chunks of a PNG say about its pixels; all of them are there."""

    height: int
    width: int
    bits: int  # of a sample
    colour_type: int
    interlaced: bool
    animated: bool
    packed: bytes  # pixels, compressed
    sizes: tuple[float | None, float | None]  # mm of a pixel along y and x, None where not known


def read_png(path: Path) -> tuple[Voxels, tuple[float | None, float | None]]:
    """Return the grey pixels (y, x) of a file, and their sizes in mm along y and x if it tells them.

    Raises SourceError for colour, a colour table, an animation, and what is cut off or damaged.
    """
    with extra("formats", f"'{path.name}', a PNG file,", SourceError):
        import imagecodecs
    header = _header(path.read_bytes(), path)
    if header.animated:
        raise SourceError(f"'{path.name}' is an animation; save each slice as a file of its own")
    if header.colour_type == PALETTE:
        raise SourceError(f"'{path.name}' has a colour table; export it as grey values, 8 or 16 bit")
    samples = CHANNELS[header.colour_type]
    stored = len(header.packed) * (8 // header.bits if header.bits < 8 else 1)
    itemsize = 2 if header.bits == 16 else 1
    check_claim(path, (header.height, header.width, samples), itemsize, stored, packed=True)
    check_fits(path, (header.height, header.width, samples), itemsize)
    pixels: Voxels = imagecodecs.png_decode(_plain(header, path))
    return pixels if pixels.ndim == 2 else only_grey(pixels, 2, path), header.sizes


def _plain(header: Header, path: Path) -> bytes:
    """Return a PNG of these pixels and no more. Raises SourceError unless they are as many as claimed."""
    expected = 0  # bytes: each row of each pass, with a byte before it
    bits = header.bits * CHANNELS[header.colour_type]
    for top, left, down, right in ADAM7 if header.interlaced else ONE_PASS:
        rows, columns = len(range(top, header.height, down)), len(range(left, header.width, right))
        expected += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    inflater = zlib.decompressobj(wbits=0)  # the window that the stream names, as libpng takes it
    try:
        found = len(inflater.decompress(header.packed, expected + 1))
    except zlib.error as error:
        raise SourceError(f"'{path.name}' is damaged: its pixels do not unpack; copy it again") from error
    if found != expected or not inflater.eof:
        few = "fewer" if found < expected else "more"
        raise SourceError(f"'{path.name}' is damaged: it holds {few} pixels than it claims; copy it again")
    size = struct.pack(
        ">IIBBBBB", header.width, header.height, header.bits, header.colour_type, 0, 0, header.interlaced
    )
    packed = header.packed[: len(header.packed) - len(inflater.unused_data)]
    chunks = ((b"IHDR", size), (b"IDAT", packed), (b"IEND", b""))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def _header(content: bytes, path: Path) -> Header:
    """Walk through the chunks. Raises SourceError unless the first is sound, and each whole to the last."""
    if not content.startswith(SIGNATURE):
        raise SourceError(f"'{path.name}' is not a PNG file, despite its name; copy it again")
    chunks: dict[bytes, bytes] = {}
    packed: list[bytes] = []
    at, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        size, kind = struct.unpack_from(">I4s", content, at) if at + 8 <= len(content) else (0, b"")
        end = at + 8 + size + 4
        if not kind or end > len(content):
            raise SourceError(f"'{path.name}' is cut off; copy it again")
        body = content[at + 8 : end - 4]
        if zlib.crc32(kind + body) != struct.unpack_from(">I", content, end - 4)[0]:
            raise SourceError(f"'{path.name}' is damaged: a checksum in it is wrong; copy it again")
        if kind == b"IDAT":
            packed.append(body)
        else:
            chunks.setdefault(kind, body)
        at = end
    first = chunks.get(b"IHDR", b"")
    width, height, bits, colour_type, *methods = (
        struct.unpack(">IIBBBBB", first) if len(first) == 13 else [0] * 7
    )
    if bits not in BITS.get(colour_type, ()) or methods not in ([0, 0, 0], [0, 0, 1]):
        raise SourceError(f"'{path.name}' is damaged: its header is not that of a PNG; copy it again")
    if max(width, height) > MOST_WIDE:
        raise SourceError(f"'{path.name}' claims {height} x {width} pixels; {MOST_WIDE:,} a side are allowed")
    return Header(
        height=height,
        width=width,
        bits=bits,
        colour_type=colour_type,
        interlaced=methods[2] == 1,
        animated=b"acTL" in chunks,
        packed=b"".join(packed),
        sizes=_sizes(chunks.get(b"pHYs")),
    )


def _sizes(physical: bytes | None) -> tuple[float | None, float | None]:
    """Return the mm of a pixel along y and x from a pHYs chunk: pixels per unit, which 1 says is a metre."""
    if physical is None or len(physical) != 9:
        return None, None
    columns, rows, unit = struct.unpack(">IIB", physical)
    if unit != 1 or not columns or not rows:
        return None, None
    return plausible(length(1000 / rows), length(1000 / columns))
