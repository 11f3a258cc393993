"""One PNG file as grey pixels, whole or refused. imagecodecs decodes: Pillow cuts 16-bit colour."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import SourceError
from .lengths import length, measured
from .payload import check_claim
from .values import Voxels, only_grey

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PALETTE = 3  # of the colour types
CHANNELS = {0: 1, 2: 3, PALETTE: 1, 4: 2, 6: 4}  # by colour type


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the chunks of a PNG say of its pixels, of which all are there."""

    height: int
    width: int
    bits: int  # of a sample
    colour_type: int
    animated: bool
    stored: int  # bytes of compressed pixels
    sizes: tuple[float | None, float | None]  # mm of a pixel along y and x, None where not known


def read_png(path: Path) -> tuple[Voxels, tuple[float | None, float | None]]:
    """Return the grey pixels (y, x) of a file, and their sizes in mm along y and x if it tells them.

    Raises SourceError for colour, a colour table, an animation, and what breaks off or is damaged.
    """
    import imagecodecs

    content = path.read_bytes()
    header = _header(content, path)
    if header.animated:
        raise SourceError(f"'{path.name}' is an animation; save each slice as a file of its own")
    if header.colour_type == PALETTE:
        raise SourceError(f"'{path.name}' has a colour table; export it as grey values, 8 or 16 bit")
    samples = CHANNELS.get(header.colour_type, 1)
    itemsize = 2 if header.bits == 16 else 1
    stored = header.stored * (8 // header.bits if header.bits < 8 else 1)
    check_claim(path, (header.height, header.width, samples), itemsize, stored, packed=True)
    pixels: Voxels = imagecodecs.png_decode(content)
    return pixels if pixels.ndim == 2 else only_grey(pixels, 2, path), header.sizes


def _header(content: bytes, path: Path) -> Header:
    """Walk through the chunks. Raises SourceError unless each is whole, to the last."""
    if not content.startswith(SIGNATURE):
        raise SourceError(f"'{path.name}' is no PNG file, whatever its name; copy it again")
    chunks: dict[bytes, bytes] = {}
    stored, at, kind = 0, len(SIGNATURE), b""
    while kind != b"IEND":
        size, kind = struct.unpack_from(">I4s", content, at) if at + 8 <= len(content) else (0, b"")
        end = at + 8 + size + 4
        if not kind or end > len(content):
            raise SourceError(f"'{path.name}' breaks off; copy it again")
        body = content[at + 8 : end - 4]
        if zlib.crc32(kind + body) != struct.unpack_from(">I", content, end - 4)[0]:
            raise SourceError(f"'{path.name}' is damaged: a checksum in it is wrong; copy it again")
        if kind == b"IDAT":
            stored += size
        else:
            chunks.setdefault(kind, body)
        at = end
    width, height, bits, colour_type = struct.unpack_from(">IIBB", chunks.get(b"IHDR", b""))
    return Header(
        height=height,
        width=width,
        bits=bits,
        colour_type=colour_type,
        animated=b"acTL" in chunks,
        stored=stored,
        sizes=_sizes(chunks.get(b"pHYs")),
    )


def _sizes(physical: bytes | None) -> tuple[float | None, float | None]:
    """Return the mm of a pixel along y and x from a pHYs chunk: pixels per unit, which 1 says is a metre."""
    if physical is None or len(physical) != 9:
        return None, None
    columns, rows, unit = struct.unpack(">IIB", physical)
    if unit != 1 or not columns or not rows:
        return None, None
    return measured(length(1000 / rows), length(1000 / columns))
