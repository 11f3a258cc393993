"""The `.inr` file: a header, then sections, each with its length and checksum. See docs/format.md.

Nothing in a file is executed, and nothing is allocated before its size was checked against the
file's real length and a stated limit. What the reader refuses, the writer does not write.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..core.atomic import atomic_write
from ..core.errors import InrFileError
from ..core.text import printable
from ..core.volume import MAX_AXIS
from ..exact.layer import ExactLayer, Slabs, from_head
from ..inr_volume import InrVolume
from . import inr_meta
from .remote import RemoteFile

# As in PNG: the first byte shows a 7-bit transfer, the line ends one as text.
MAGIC = b"\x89INR\r\n\x1a\n"
VERSION = (1, 1)  # major: older readers must refuse the file; minor: they may leave aside what is new
PLAIN_VERSION = (1, 0)  # of files without an exact layer
INRIMAGE = b"#INRIMAGE-4#{"

HEADER = struct.Struct("<8sHHQ")  # magic, major, minor, bytes of the file; then CRC-32 of these
SECTION = struct.Struct("<4sQ")  # tag, bytes of the payload; then CRC-32 of these and the payload
CRC = struct.Struct("<I")

META, SLICES, WEIGHTS, MODEL = "META", "ZPOS", "WGHT", "srmd"
EXACT, SLABS = (
    "exct",
    "exsl",
)  # the exact layer: its head, and the bytes of its slabs, each with its own CRC-32
LIMITS = {  # bytes of each section's payload; a tag with an upper-case first letter must be understood
    META: 2**16,
    SLICES: 8 * MAX_AXIS,
    WEIGHTS: 2**28,
    MODEL: 2**26,
    EXACT: 2**22,
    SLABS: 2**36,
}
MAX_FILE = 2**36  # bytes
MAX_UNKNOWN = 2**30  # bytes of a section that is left aside
MAX_SECTIONS = 256
KEPT = {META, SLICES, WEIGHTS, EXACT}
CHUNK = 2**20  # bytes read at once where nothing is kept


@dataclass(frozen=True)
class _Section:
    tag: str
    length: int
    crc: int
    payload: bytes | None  # None if it was not kept
    start: int  # of the payload, in the file


def write_inr(inr: InrVolume, path: Path, *, model: bytes | None = None) -> None:
    """Save a volume as `.inr`, whole or not at all; with `model`, embed the weights of its upscaler.

    Raises InrFileError on a volume that the format cannot hold, InrError if the file cannot be saved.
    """
    parts = _parts(inr, model)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        for part in parts:
            file.write(part)


def read_inr(path: Path) -> InrVolume:
    """Return the volume in an `.inr` file. Raises InrFileError on a file that is not a sound `.inr`."""
    with _opened(path) as (stream, size):
        return _volume(*_sections(stream, size, KEPT), path)


def read_remote(url: str) -> InrVolume:
    """Return the volume in an `.inr` at a URL, of which the exact layer's slabs are fetched when decoded.

    Raises InrFileError on a file that cannot be fetched or is not a sound `.inr`.
    """
    file = RemoteFile(url)
    try:
        return _volume(*_sections(file, file.size, KEPT, whole=False), file)
    except InrFileError as error:
        raise error if url in str(error) else InrFileError(f"{printable(url)}: {error}") from error


def read_model(path: Path) -> bytes | None:
    """Return the embedded weights of the upscaler (safetensors), or None. Raises InrFileError."""
    with _opened(path) as (stream, size):
        version, sections = _sections(stream, size, {*KEPT, MODEL})
        inr = _volume(version, sections, path)
        model = sections[MODEL].payload if MODEL in sections else None
        if model is not None:
            _check_model(inr, model)
    return model


def describe(path: Path) -> dict[str, Any]:
    """Return everything the file declares, as JSON types; all of it was checked, each CRC-32 too.

    Lengths in mm, sizes in bytes, PSNR in dB ("inf" if there is no error). Raises InrFileError.
    """
    with _opened(path) as (stream, size):
        version, sections = _sections(stream, size, KEPT)
        inr = _volume(version, sections, path)
    fields = inr_meta.to_fields(inr)
    fields[inr.field.kind]["parameters"] = inr.field.parameters
    slices = inr.geometry.slice_positions
    fields["hr"]["slice_positions"] = None if slices is None else list(slices)
    fields["lr"] |= {"spacing": list(inr.lr_geometry.spacing), "origin": list(inr.lr_geometry.origin)}
    return {
        "format": f"{version[0]}.{version[1]}",
        "file_bytes": size,
        "sections": [
            {
                "tag": section.tag,
                "bytes": section.length,
                "crc32": f"{section.crc:08x}",
                "known": tag in LIMITS,
            }
            for tag, section in sections.items()
        ],
        **fields,
        "exact": None if inr.exact is None else _describe_exact(inr.exact),
    }


def _describe_exact(layer: ExactLayer) -> dict[str, Any]:
    return {
        "max_error": layer.max_error,
        "coder": "context networks" if layer.features else "plain",
        "slices_per_slab": layer.depth,
        "slabs": len(layer.slabs),
        "damaged_slabs": layer.damaged(),
        "bytes": layer.nbytes,
    }


def looks_like_inr(path: Path) -> bool:
    """Return whether a file starts as an `.inr` does; reads eight bytes, raises nothing."""
    try:
        if not path.is_file():  # opening a pipe would wait for its writer
            return False
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def to_bytes(inr: InrVolume, *, model: bytes | None = None) -> bytes:
    """Return the file as bytes: the same volume gives the same bytes.

    Raises InrFileError on a volume that the format cannot hold, or a model that is not its upscaler's.
    """
    return b"".join(_parts(inr, model))


def _parts(inr: InrVolume, model: bytes | None) -> Iterable[bytes]:
    """Return the file as bytes one after another. Raises InrFileError as `to_bytes` does."""
    sections = _sections_of(inr)
    if model is not None:
        _check_model(inr, model)
        sections.append((MODEL, model))
    from_bytes(pack(sections))  # the reader's rules are the writer's
    if inr.exact is None:
        return [pack(sections)]
    padded = inr.padding is not None
    from_head(inr.exact.head(), inr.exact.data, inr.geometry.shape, padded)
    return _packed([*sections, (EXACT, inr.exact.head())], VERSION, inr.exact.data)


def packed_size(inr: InrVolume) -> int:
    """Return how many bytes the file takes, an embedded model not counted. Checks nothing."""
    exact = 0 if inr.exact is None else inr.exact.nbytes + 2 * (SECTION.size + CRC.size)
    return len(pack(_sections_of(inr))) + exact


def _sections_of(inr: InrVolume) -> list[tuple[str, bytes]]:
    sections = [(META, inr_meta.to_json(inr))]
    if inr.geometry.slice_positions is not None:
        sections.append((SLICES, np.array(inr.geometry.slice_positions, "<f8").tobytes()))
    return [*sections, (WEIGHTS, inr.payload)]


def from_bytes(data: bytes) -> InrVolume:
    """Return the volume in the bytes of an `.inr` file. Raises InrFileError as `read_inr` does."""
    return _volume(*_sections(io.BytesIO(data), len(data), KEPT), data)


def pack(sections: list[tuple[str, bytes]], version: tuple[int, int] = PLAIN_VERSION) -> bytes:
    """Return header and sections (tag, payload) as bytes, without a look at what they hold."""
    return b"".join(_packed(sections, version))


def _packed(
    sections: list[tuple[str, bytes]], version: tuple[int, int], slabs: Slabs | None = None
) -> Iterator[bytes]:
    """Yield header and sections, that of an exact layer's slabs a piece at a time."""
    lengths = [len(payload) for _, payload in sections] + ([] if slabs is None else [slabs.length])
    whole = HEADER.size + CRC.size + sum(SECTION.size + CRC.size + length for length in lengths)
    head = HEADER.pack(MAGIC, *version, whole)
    yield head + CRC.pack(zlib.crc32(head))
    for tag, payload in sections:
        head = SECTION.pack(tag.encode("ascii"), len(payload))
        yield head + CRC.pack(zlib.crc32(payload, zlib.crc32(head)))
        yield payload
    if slabs is not None:
        head = SECTION.pack(SLABS.encode("ascii"), slabs.length)
        crc = zlib.crc32(head)
        for chunk in slabs.chunks():
            crc = zlib.crc32(chunk, crc)
        yield head + CRC.pack(crc)
        yield from slabs.chunks()


def _volume(
    version: tuple[int, int], sections: dict[str, _Section], whole: Path | bytes | RemoteFile
) -> InrVolume:
    """Put the sections of a whole file together, each kept by `_sections`."""
    for tag in (META, WEIGHTS):
        if tag not in sections:
            raise InrFileError(f"the section {tag} is missing; it is not a complete .inr")
    positions = None
    if SLICES in sections:
        stored = sections[SLICES].payload or b""
        if len(stored) % 8:
            raise InrFileError(f"the section {SLICES} must hold 8 bytes per slice, found {len(stored)} bytes")
        positions = tuple(np.frombuffer(stored, "<f8").tolist())
    meta, weights = sections[META].payload or b"", sections[WEIGHTS].payload or b""
    inr = inr_meta.from_json(meta, weights, positions, newer=version > VERSION)
    if (EXACT in sections) != (SLABS in sections):
        raise InrFileError("one of the exact layer's two sections is missing; the file is damaged")
    if EXACT not in sections:
        return inr
    data = Slabs(whole, sections[SLABS].start, sections[SLABS].length).held()
    head = sections[EXACT].payload or b""
    return replace(inr, exact=from_head(head, data, inr.geometry.shape, inr.padding is not None))


def _sections(
    stream: BinaryIO | RemoteFile, size: int, keep: set[str], *, whole: bool = True
) -> tuple[tuple[int, int], dict[str, _Section]]:
    """Return version and sections of a stream of `size` bytes, some kept.

    All of them are checked if the `whole` stream is to be read, else those that are kept.
    """
    version = _header(stream, size)
    sections: dict[str, _Section] = {}
    position = HEADER.size + CRC.size
    while position < size:
        section = _section(stream, position, size - position, keep, whole)
        if section.tag in sections:
            raise InrFileError(f"the section {section.tag} appears twice; the file is damaged")
        if len(sections) == MAX_SECTIONS:
            raise InrFileError(f"there are more than {MAX_SECTIONS} sections; the file is damaged")
        if section.tag not in LIMITS and section.tag[0].isupper():
            raise InrFileError(
                f"the section {section.tag} is needed, and this version does not know it;"
                " update napari-inr-volume"
            )
        sections[section.tag] = section
        position += SECTION.size + CRC.size + section.length
    return version, sections


def _header(stream: BinaryIO | RemoteFile, size: int) -> tuple[int, int]:
    """Return major and minor version. The header means the same in all versions to come."""
    head = stream.read(HEADER.size)
    if not head:
        raise InrFileError("the file is empty; copy or download it again")
    if head.startswith(INRIMAGE):
        raise InrFileError(
            "this is an image of INRIMAGE, an older format with the same suffix, which is not read here;"
            " convert it to NIfTI with a tool that knows INRIMAGE, and open that"
        )
    if head[: len(MAGIC)] != MAGIC[: len(head)]:
        damaged = head[1:4] == MAGIC[1:4]
        raise InrFileError(
            "its first bytes were changed, as by a transfer as text; copy it again as binary"
            if damaged
            else f"it is not an .inr file: it starts with {head[:8]!r}"
        )
    crc = stream.read(CRC.size)
    if len(crc) < CRC.size:
        raise InrFileError(f"the file is cut off after {size} bytes; copy or download it again")
    if zlib.crc32(head) != CRC.unpack(crc)[0]:
        raise InrFileError("the header does not match its checksum; the file is damaged, copy it again")
    _, major, minor, length = HEADER.unpack(head)
    if major != VERSION[0]:
        raise InrFileError(
            f"the file has format version {major}.{minor}, this version reads {VERSION[0]}.x;"
            " it was written by another version: update napari-inr-volume"
        )
    if length != size:
        raise InrFileError(f"the file has {size} bytes and should have {length}; copy or download it again")
    if size > MAX_FILE:
        raise InrFileError(f"the file has {size} bytes, and at most {MAX_FILE} are read")
    return major, minor


def _section(
    stream: BinaryIO | RemoteFile, position: int, left: int, keep: set[str], whole: bool
) -> _Section:
    """Read the section at a position, of which no more than `left` bytes can be there."""
    head = _read(stream, SECTION.size + CRC.size)
    tag_bytes, length = SECTION.unpack_from(head)
    if not tag_bytes.isalpha():  # of bytes: ASCII letters only
        raise InrFileError(f"a section has the tag {tag_bytes!r}, not four letters; the file is damaged")
    tag = tag_bytes.decode("ascii")
    left -= len(head)
    if length > left:
        raise InrFileError(f"the section {tag} declares {length} bytes, {left} are left; the file is damaged")
    if length > LIMITS.get(tag, MAX_UNKNOWN):
        raise InrFileError(f"the section {tag} declares {length} bytes, at most {LIMITS[tag]} are allowed")
    crc = zlib.crc32(head[: SECTION.size])
    payload, start = None, position + len(head)
    (declared,) = CRC.unpack_from(head, SECTION.size)
    # Each slab is checked by itself when it is decoded, and a damaged one costs no other.
    if tag == SLABS or (not whole and tag not in keep):
        stream.seek(start + length)
        return _Section(tag, length, declared, None, start)
    if tag in keep:
        payload = _read(stream, length)
        crc = zlib.crc32(payload, crc)
    else:
        for start in range(0, length, CHUNK):
            crc = zlib.crc32(_read(stream, min(CHUNK, length - start)), crc)
    if crc != declared:
        raise InrFileError(
            f"the section {tag} does not match its checksum; the file is damaged, copy it again"
        )
    return _Section(tag, length, crc, payload, start)


def _read(stream: BinaryIO | RemoteFile, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise InrFileError("the file ends within a section; copy or download it again")
    return data


def _check_model(inr: InrVolume, model: bytes) -> None:
    if hashlib.sha256(model).hexdigest() != inr.upscaler.sha256:
        raise InrFileError(
            f"the embedded model is not the upscaler {inr.upscaler.name!r} that the file names"
            f" (SHA-256 {inr.upscaler.sha256}); embed the weights it was measured with"
        )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file for reading, with its size; every error names the file."""
    try:
        if path.is_dir():
            raise InrFileError("it is a folder, not an .inr file")
        if path.exists() and not path.is_file():
            raise InrFileError("it is a device or a pipe, not an .inr file")
        with path.open("rb") as file:
            yield file, os.fstat(file.fileno()).st_size
    except InrFileError as error:
        raise InrFileError(f"{path.name}: {error}") from error.__cause__
    except OSError as error:
        raise InrFileError(f"{path.name}: cannot be read: {error.strerror or error}") from error
