"""Kinds of files that are read: how a small one is made, how it is changed, and how it is read.

Changes know the format as far as they must to get past its first check: checksums are put right, compressed
parts are changed before they are compressed again.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import re
import shutil
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import imagecodecs
import napari.settings
import nibabel
import numpy as np
import tifffile
import torch
import zarr
from mutate import NUMBERS, TEXTS, change, change_json, json_bytes
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    RLELossless,
)

sys.path.append(str(Path(__file__).parents[1] / "io"))
from ct_files import ct_dataset, enhanced, pixels_of

from napari_inr_volume import codec
from napari_inr_volume.core.generators import drain
from napari_inr_volume.core.volume import Geometry, Volume
from napari_inr_volume.exact.encode import encode_exact
from napari_inr_volume.exact.layer import ENTRY
from napari_inr_volume.exact.layer import HEAD as EXACT_HEAD
from napari_inr_volume.fields.registry import find_preset
from napari_inr_volume.fields.samples import LrSamples
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.fields.siren.fit import fit
from napari_inr_volume.fields.state_file import FORMAT, load_state, save_state
from napari_inr_volume.inr_volume import InrVolume, UpscalerRef
from napari_inr_volume.io import inr_file
from napari_inr_volume.io.sources import read_source
from napari_inr_volume.plugin import kept_fits, settings
from napari_inr_volume.reader import Reader, restored
from napari_inr_volume.superres.model_file import load_weights, save_weights
from napari_inr_volume.superres.span import Span
from napari_inr_volume.superres.upscale import NetworkUpscaler

GOLDEN = Path(__file__).parents[1] / "golden"
CPU = torch.device("cpu")

HEAD = FORMAT + b" siren\n"


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    suffix: str
    make: Callable[[], bytes]
    change: Callable[[bytes, Random], bytes]
    read: Callable[[Path], object]  # raises on what was not read as it must be
    beside: Callable[[Path], object] = lambda folder: None  # puts more files into the folder


# --- .inr ---------------------------------------------------------------------------------------------


@cache
def _span() -> bytes:
    """The weights of a network that adds a little to Lanczos."""
    network = Span(4)
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.02, generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        return save_weights(Path(folder) / "w", network, training="nothing: a test").data


def _inr_with_model() -> bytes:
    sha256 = hashlib.sha256(_span()).hexdigest()
    inr = replace(
        inr_file.read_inr(GOLDEN / "tiny-1.0.inr"), upscaler=UpscalerRef(name="span", sha256=sha256)
    )
    return inr_file.to_bytes(inr, model=_span())


def _sections_of(data: bytes) -> list[tuple[str, bytes]]:
    sections, at = [], 24
    while at < len(data):
        tag, length = struct.unpack_from("<4sQ", data, at)
        sections.append((tag.decode(), data[at + 16 : at + 16 + length]))
        at += 16 + length
    return sections


def _change_inr(data: bytes, rng: Random) -> bytes:
    if rng.random() < 0.1:
        return change(data, rng)
    sections = _sections_of(data)
    index = rng.randrange(len(sections))
    tag, payload = sections[index]
    how = rng.random()
    if how < 0.5:
        index = [tag for tag, _ in sections].index("META")
        sections[index] = ("META", json_bytes(change_json(json.loads(sections[index][1]), rng), rng))
    elif how < 0.85:
        payload = _change_tensors(payload, rng) if tag == inr_file.MODEL else change(payload, rng)
        sections[index] = (tag, payload)
        if tag == inr_file.MODEL:  # as META names it, so that it is looked into
            meta = json.loads(sections[0][1])
            meta["upscaler"]["sha256"] = hashlib.sha256(payload).hexdigest()
            sections[0] = ("META", json.dumps(meta).encode())
    elif how < 0.9:
        del sections[index]
    else:
        sections.append((rng.choice((tag, "ABCD", "abcd", "srmd")), payload))
    return inr_file.pack(sections, rng.choice(((1, 0),) * 9 + ((1, 7),)))


def _read_inr(path: Path) -> None:
    inr_file.describe(path)
    inr, model = inr_file.read_inr(path), inr_file.read_model(path)
    work = inr.field.parameters * inr.geometry.shape[0] * inr.lr_shape[1] * inr.lr_shape[2]
    if work > 2**28 or math.prod(inr.geometry.shape) > 2**22:  # which it may ask for
        if inr.field.parameters * inr.lr_shape[1] * inr.lr_shape[2] <= 2**28:
            assert np.isfinite(Reader(inr, device="cpu").lr_plane(0)).all()
        return
    words: list[str] = []
    volume = codec.decompress(inr, weights=(model,), device="cpu", warn=words.append)
    low, high = inr.intensity_range
    assert (volume.voxels.dtype, volume.voxels.shape) == (inr.dtype, inr.geometry.shape)
    assert np.isfinite(volume.read()).all()
    assert volume.voxels.min() >= math.floor(low)
    assert volume.voxels.max() <= math.ceil(high)
    assert all(one.isprintable() for one in words)


@cache
def _exact() -> bytes:
    return (GOLDEN / "exact-1.1.inr").read_bytes()


@cache
def _exact_plain() -> bytes:
    """The same file with an exact layer of floats, which has no networks."""
    inr = inr_file.from_bytes(_exact())
    voxels = np.random.default_rng(0).uniform(*inr.intensity_range, inr.geometry.shape).astype(np.float32)
    layer = drain(encode_exact(Volume(voxels=voxels, geometry=inr.geometry)))
    return inr_file.to_bytes(replace(inr, dtype="float32", padding=None, exact=layer))


def _change_exact(data: bytes, rng: Random) -> bytes:
    """Change the file, its slabs, or with all checksums put right the layer's head or a slab."""
    how = rng.random()
    if how < 0.25:
        return change(data, rng)
    if how < 0.4:
        return _change_inr(data, rng)
    *sections, (head_tag, head), (tag, slabs) = _sections_of(data)
    if how < 0.6:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 8))):
            changed[-1 - rng.randrange(len(slabs))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if how < 0.7:
        head = change(head, rng)
    elif how < 0.85 and head[1]:
        head = _change_networks(head, rng)
    else:
        head, slabs = _change_slab(head, slabs, rng)
    return inr_file.pack([*sections, (head_tag, head), (tag, slabs)], (1, 1))


def _change_networks(head: bytes, rng: Random) -> bytes:
    (length,) = struct.unpack_from("<I", head, EXACT_HEAD.size - 4)
    numbers = zlib.decompress(head[EXACT_HEAD.size : EXACT_HEAD.size + length])
    networks = zlib.compress(change(numbers, rng))
    front = head[: EXACT_HEAD.size - 4] + struct.pack("<I", len(networks))
    return front + networks + head[EXACT_HEAD.size + length :]


def _change_slab(head: bytes, slabs: bytes, rng: Random) -> tuple[bytes, bytes]:
    entries = list(ENTRY.iter_unpack(head[-2 * ENTRY.size :]))
    length = entries[0][0]
    parts, crcs = [slabs[:length], slabs[length:]], [crc for _, _, crc in entries]
    index = rng.randrange(2)
    parts[index] = change(parts[index], rng)
    told = (ENTRY.pack(len(part), zlib.crc32(part), crc) for part, crc in zip(parts, crcs, strict=True))
    return head[: -2 * ENTRY.size] + b"".join(told), b"".join(parts)


def _read_exact(original: Callable[[], bytes]) -> Callable[[Path], None]:
    """Read a file with an exact layer: every slab is as it was, or said to be damaged, by its slices."""

    def read(path: Path) -> None:
        inr = inr_file.read_inr(path)
        if inr.exact is None or math.prod(inr.geometry.shape) > 2**22:
            return _read_inr(path)
        inr_file.describe(path)
        told: list[str] = []
        volume = codec.decompress(inr, device="cpu", warn=told.append)
        assert (volume.voxels.dtype, volume.voxels.shape) == (inr.dtype, inr.geometry.shape)
        assert all(one.isprintable() for one in told)
        was = inr_file.from_bytes(original())
        truth = codec.decompress(was, device="cpu", level="exact").voxels
        layer, damaged = inr.exact, set(inr.exact.damaged())
        alike = _what_voxels_follow_from(inr) == _what_voxels_follow_from(was)
        for number, slab in enumerate(layer.slabs):
            first = number * layer.depth
            last = min(first + layer.depth, inr.geometry.shape[0]) - 1
            if any(f"slices {first} to {last} of the exact layer are damaged" in one for one in told):
                continue
            assert number not in damaged
            if alike and slab.decoded_crc == was.exact.slabs[number].decoded_crc:
                assert (volume.voxels[first : last + 1] == truth[first : last + 1]).all()
        return None

    return read


def _what_voxels_follow_from(inr: InrVolume) -> tuple[object, ...]:
    """All but the levels, on which each slab has a checksum."""
    return inr.geometry.shape, inr.dtype, inr.padding, inr.exact.depth, inr.exact.lattice


# --- weights, states and settings -----------------------------------------------------------------------


def _change_tensors(data: bytes, rng: Random) -> bytes:
    """Change a safetensors file: its header, the JSON in its metadata, or its numbers."""
    length = int.from_bytes(data[:8], "little")
    header, numbers = json.loads(data[8 : 8 + length]), data[8 + length :]
    how = rng.random()
    if how < 0.15:
        return change(data, rng)
    if how < 0.5:
        ((key, words),) = header["__metadata__"].items()
        header["__metadata__"] = {key: json_bytes(change_json(json.loads(words), rng), rng).decode("latin-1")}
    elif how < 0.75:
        header = change_json(header, rng)
    else:
        numbers = change(numbers, rng)
    text = json_bytes(header, rng)
    return len(text).to_bytes(8, "little") + text + numbers


def _read_weights(path: Path) -> None:
    network, info = load_weights(path)
    assert info.training.isprintable()
    lr = np.linspace(-1024, 3071, 64, dtype=np.float32).reshape(1, 8, 8)
    factor = network.factor
    golden = inr_file.read_inr(GOLDEN / "tiny-1.0.inr")
    inr = replace(golden, geometry=Geometry(shape=(1, 8 * factor, 8 * factor)))
    hr = restored(lr, NetworkUpscaler(network, CPU, info), inr)
    assert hr.shape == inr.geometry.shape


def _samples() -> LrSamples:
    lr = np.sin(np.arange(4 * 8 * 8, dtype=np.float32)).reshape(4, 8, 8)
    return LrSamples(
        lr, hr_shape=(4, 32, 32), factor=(1.0, 4.0, 4.0), intensity_range=(-1.0, 1.0), device=CPU
    )


def _make_state() -> bytes:
    config = FitConfig(
        steps=4, tuning_steps=4, batch=256, learning_rate=3e-3, optimiser="muon", weight_bits=6.0
    )
    steps = fit(_samples(), SirenConfig(layers=2, hidden_features=8), config, CPU)
    *_, last = (record.state() for record in steps)  # in the middle of the tuning: the end is told too
    with tempfile.TemporaryDirectory() as folder:
        save_state(last, Path(folder) / "x.fit")
        return (Path(folder) / "x.fit").read_bytes()


def _change_state(data: bytes, rng: Random) -> bytes:
    if rng.random() < 0.1:
        return change(data, rng)
    body = _change_tensors(data[len(HEAD) + 32 :], rng)
    return HEAD + hashlib.sha256(body).digest() + body


def _read_state(path: Path) -> None:
    state = load_state(path)
    if state.fit.all_steps * state.fit.batch * state.field.parameters > 10**8:  # which it may ask for
        return
    steps = fit(_samples(), state.field, state.fit, CPU, resume=state)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result = end.value
            break
    assert math.isfinite(result.psnr)


def _make_words() -> bytes:
    words = {"settings": asdict(find_preset("default")), "step": 3, "psnr": 30.0, "own_weights": "a/b"}
    return json.dumps(words).encode()


def _change_words(data: bytes, rng: Random) -> bytes:
    return json_bytes(change_json(json.loads(data), rng), rng)


def _read_words(path: Path) -> None:
    """As words of a fit that is kept, and as what is kept of the panel."""
    text = path.read_bytes().decode("latin-1")
    kept_fits.FOLDER = path.parent
    path.with_suffix(".fit").touch()
    found = kept_fits.find(path.stem)
    assert found is None or found.words.isprintable()
    stored = SimpleNamespace(config_path=path.with_name("settings.yaml"))
    path.with_name(f"{settings.PLUGIN}-panel.json").write_text(text, "utf-8")
    napari.settings.get_plugin_settings = lambda: {settings.PLUGIN: stored}
    kept_fits.settings_from(settings.load_last_used().get("settings"))
    settings.own_weights()


# --- DICOM ----------------------------------------------------------------------------------------------


def _saved(dataset: Dataset, uid: int = 0) -> bytes:
    file = io.BytesIO()
    dataset.SOPInstanceUID = f"1.2.3.6.{uid}"  # not at random: the same seed gives the same file
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _native() -> bytes:
    return _saved(ct_dataset(SeriesDescription="head", Manufacturer="nobody", PixelPaddingValue=-2000))


def _deflated() -> bytes:
    dataset = ct_dataset()
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return _saved(dataset)


def _encapsulated(syntax: Any, encode: Callable[[np.ndarray], bytes]) -> Callable[[], bytes]:
    def make() -> bytes:
        pixels = pixels_of(1, 24, 32).view(np.uint16)
        dataset = ct_dataset(0, pixels, PixelData=encapsulate([encode(pixels)]))
        dataset.file_meta.TransferSyntaxUID = syntax
        return _saved(dataset)

    return make


def _rle(pixels: np.ndarray) -> bytes:
    from pydicom.pixels.encoders.native import _encode_segment

    planes = [pixels.astype("<u2").view(np.uint8).reshape(*pixels.shape, 2)[..., byte] for byte in (1, 0)]
    segments = [bytes(_encode_segment(plane.tobytes(), plane.shape[1])) for plane in planes]
    header = struct.pack("<16I", 2, 64, 64 + len(segments[0]), *[0] * 13)
    return header + b"".join(segments)


def _enhanced() -> bytes:
    return _saved(enhanced((0.0, 2.0, 4.0), (1.0, 1.0, 2.0)))


def _multi_frame() -> bytes:
    pixels = np.stack([pixels_of(index) for index in range(3)])
    dataset = ct_dataset(0, pixels, NumberOfFrames=3)
    dataset.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    return _saved(dataset)


LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF", b"OD", b"UC", b"UR", b"OL", b"OV", b"SV", b"UV")


def _elements(data: bytes) -> list[tuple[int, int, int]]:
    """Return (start, start of the value, end) of the elements in explicit VR, little endian."""
    found, at = [], 132 if data[128:132] == b"DICM" else 0
    while at + 8 <= len(data):
        is_long = data[at + 4 : at + 6] in LONG
        size = int.from_bytes(data[at + 8 : at + 12] if is_long else data[at + 6 : at + 8], "little")
        start = at + (12 if is_long else 8)
        end = len(data) if size == 2**32 - 1 else start + size
        found.append((at, start, end))
        at = end
    return found


def _change_elements(data: bytes, rng: Random) -> bytes:
    """Change one element: its value, its length, its VR, its tag; or remove or repeat it."""
    start, value, end = rng.choice(_elements(data))
    element, before, after = data[start:end], data[:start], data[end:]
    if value - start == 12:
        return before + change(element, rng) + after
    how = rng.random()
    if how < 0.5:
        vr = element[4:6]
        if vr in (b"US", b"SS"):
            new = struct.pack("<H", rng.choice(NUMBERS) % 2**16) * rng.choice((1, 1, 1, 0, 3))
        else:
            new = rng.choice((*TEXTS, r"1\2\3", r"1\1\1\1\1\1", r"0\0", r"1e10\1e-10")).encode()[: 2**15]
        new += b" " * (len(new) % 2)
        return before + element[:6] + struct.pack("<H", len(new)) + new + after
    if how < 0.6:
        return before + element[:6] + struct.pack("<H", rng.choice(NUMBERS) % 2**16) + element[8:] + after
    if how < 0.7:
        vr = rng.choice((b"US", b"SS", b"DS", b"IS", b"FD", b"UI", b"LO", b"SQ", b"UN", b"??"))
        return before + element[:4] + vr + element[6:] + after
    if how < 0.8:
        return before + rng.randbytes(4) + element[4:] + after
    return before + (element * 2 if how < 0.9 else b"") + after


def _change_dicom(data: bytes, rng: Random) -> bytes:
    how = rng.random()
    if how < 0.25:
        return change(data, rng)
    if how < 0.7:
        return _change_elements(data, rng)
    # The coded pixels, most of all their first bytes, which say how large they are.
    starts = (data.rfind(mark) for mark in (b"\xff\x4f\xff\x51", b"\xff\xd8\xff"))
    at = max(*starts, 0) or data.rfind(b"\xfe\xff\x00\xe0") + 8  # an item's tag and length
    return data[:at] + change(data[at:], rng)


def _change_deflated(data: bytes, rng: Random) -> bytes:
    start = 144 + int.from_bytes(data[140:144], "little")
    if rng.random() < 0.2:
        return data[:start] + change(data[start:], rng)
    inner = zlib.decompress(data[start:], -zlib.MAX_WBITS)
    inner = _change_elements(inner, rng) if rng.random() < 0.7 else change(inner, rng)
    deflate = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    zeros = ZEROS if rng.random() < 0.02 else 0
    parts = [
        deflate.compress(inner),
        *(deflate.compress(bytes(2**20)) for _ in range(zeros)),
        deflate.flush(),
    ]
    return data[:start] + b"".join(parts)


ZEROS = 600  # MiB that a bomb inflates to: more than a file may take


def _zip_of(members: dict[str, bytes], bomb: str = "") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as member:
                member.write(content)
                for _ in range(ZEROS if name == bomb else 0):
                    member.write(bytes(2**20))
    return file.getvalue()


def _dicom_zip() -> bytes:
    return _zip_of({f"ct/{index:03}": _saved(ct_dataset(float(index)), index) for index in range(3)})


def _change_zip(change_member: Callable[[bytes, Random], bytes]) -> Callable[[bytes, Random], bytes]:
    def change_zip(data: bytes, rng: Random) -> bytes:
        if rng.random() < 0.4:
            return change(data, rng)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name, bomb = rng.choice(list(members)), ""
        how = rng.random()
        if how < 0.6:
            members[name] = change_member(members[name], rng)
        elif how < 0.7:
            del members[name]
        elif how < 0.99:
            other = rng.choice(("../x", "/x", "x\x1b[2J", "DICOMDIR", "x" * 300, "a/" * 50 + "x"))
            members[other] = members[name]
        else:
            bomb = name
        return _zip_of(members, bomb)

    return change_zip


# --- other sources --------------------------------------------------------------------------------------

VOXELS = (np.arange(3 * 8 * 10, dtype=np.int16) * 7 - 900).reshape(3, 8, 10)


def _tiff(**options: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        file = io.BytesIO()
        tifffile.imwrite(file, VOXELS, **{"photometric": "minisblack", **options})
        return file.getvalue()

    return make


def _change_tiff(data: bytes, rng: Random) -> bytes:
    """Change an entry of a directory of tags: its tag, type, count or value."""
    if rng.random() < 0.4:
        return change(data, rng)
    entries, at = [], int.from_bytes(data[4:8], "little")
    while 0 < at < len(data) - 2 and len(entries) < 1_000:
        count = int.from_bytes(data[at : at + 2], "little")
        entries += range(at + 2, at + 2 + 12 * count, 12)
        at = int.from_bytes(data[at + 2 + 12 * count : at + 6 + 12 * count], "little")
    entry = rng.choice(entries)
    place, size = rng.choice(((0, 2), (2, 2), (4, 4), (8, 4), (8, 4)))
    number = rng.choice((*NUMBERS, 3, 4, 5, 16)) % 2 ** (8 * size)
    return data[: entry + place] + number.to_bytes(size, "little") + data[entry + place + size :]


def _nifti() -> bytes:
    content: bytes = nibabel.Nifti1Image(VOXELS.T, np.diag([0.5, 0.5, 2.0, 1.0])).to_bytes()
    return content


def _zipped(make: Callable[[], bytes]) -> Callable[[], bytes]:
    return lambda: gzip.compress(make(), mtime=0)


def _change_zipped(data: bytes, rng: Random) -> bytes:
    if rng.random() < 0.3:
        return change(data, rng)
    inner = change(gzip.decompress(data), rng)
    return gzip.compress(inner + (bytes(2**28) if rng.random() < 0.02 else b""), 1, mtime=0)


def _nrrd(encoding: str, content: bytes) -> Callable[[], bytes]:
    lines = (
        *("NRRD0005", "type: short", "dimension: 3", "sizes: 10 8 3", "space: left-posterior-superior"),
        *("space directions: (0.5,0,0) (0,0.5,0) (0,0,2)", "space origin: (1,2,3)", "endian: little"),
        *(f"encoding: {encoding}", "", ""),
    )
    return lambda: "\n".join(lines).encode() + content


def _metaimage() -> bytes:
    lines = (
        *("ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False"),
        *("CompressedData = False", "TransformMatrix = 1 0 0 0 1 0 0 0 1", "Offset = 1 2 3"),
        *("ElementSpacing = 0.5 0.5 2", "DimSize = 10 8 3", "ElementType = MET_SHORT"),
        *("ElementDataFile = LOCAL", ""),
    )
    return "\n".join(lines).encode() + VOXELS.tobytes()


def _change_lines(data: bytes, rng: Random) -> bytes:
    """Change a header of lines: a line's value, or remove or repeat a line."""
    if rng.random() < 0.3:
        return change(data, rng)
    ends = [found.end() for found in re.finditer(rb"\n", data[:600])][:12]
    start, end = rng.choice(list(zip([0, *ends], ends, strict=False)))
    line, how = data[start:end], rng.random()
    if how < 0.6:
        name, mark, value = re.split(rb"([:=] ?)", line.rstrip(b"\n") + b": ", maxsplit=1)[:3]
        value = rng.choice((change(value, rng), rng.choice(TEXTS).encode(), b"x.raw", b"gzip", b"double"))
        line = name + mark + value + b"\n"
    else:
        line = line * 2 if how < 0.8 else b""
    return data[:start] + line + data[end:]


def _png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(VOXELS[0].astype(np.uint16)).save(file, "PNG")
    return file.getvalue()


def _change_png(data: bytes, rng: Random) -> bytes:
    """Change a chunk, its checksum put right."""
    if rng.random() < 0.4:
        return change(data, rng)
    chunks, at = [], 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    index = rng.randrange(len(chunks))
    tag, payload = chunks[index]
    if tag == b"IDAT" and rng.random() < 0.5:
        payload = zlib.compress(change(zlib.decompress(payload), rng))
    else:
        payload = change(payload, rng)
    chunks[index] = (tag, payload)
    if rng.random() < 0.1:
        chunks.append(rng.choice(chunks))
    parts = [data[:8]]
    for tag, payload in chunks:
        checksum = zlib.crc32(tag + payload).to_bytes(4, "big")
        parts += [len(payload).to_bytes(4, "big"), tag, payload, checksum]
    return b"".join(parts)


def _more_pngs(folder: Path) -> None:
    for index in (1, 2):
        image = Image.fromarray(VOXELS[index].astype(np.uint16))
        image.save(folder / f"x{index}.png")


def _numpy() -> bytes:
    file = io.BytesIO()
    np.save(file, VOXELS)
    return file.getvalue()


def _numpy_zip() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, voxels=VOXELS)
    return file.getvalue()


def _ome_zarr(version: int) -> Callable[[], bytes]:
    """An image of one level, its files in a zip: of OME-Zarr 0.4 in Zarr 2, or 0.5 in Zarr 3."""

    def make() -> bytes:
        axes = [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]
        placed = [
            {"type": "scale", "scale": [2, 0.5, 0.5]},
            {"type": "translation", "translation": [1, 2, 3]},
        ]
        image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": placed}]}
        with tempfile.TemporaryDirectory() as folder:
            group = zarr.open_group(folder, mode="w", zarr_format=version)
            group.create_array("0", data=VOXELS, chunks=(2, 8, 10), fill_value=0)
            found = {"multiscales": [image | {"version": "0.4"}]}
            group.attrs.update(found if version == 2 else {"ome": found | {"version": "0.5"}})
            files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
            return _zip_of({path.relative_to(folder).as_posix(): path.read_bytes() for path in files})

    return make


def _change_store(data: bytes, rng: Random) -> bytes:
    """Change a file of a store, or leave one out."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    if rng.random() < 0.1:
        del members[name]
    elif Path(name).name in ("zarr.json", ".zattrs", ".zarray", ".zgroup") and rng.random() < 0.9:
        members[name] = json_bytes(change_json(json.loads(members[name]), rng), rng)
    else:
        members[name] = change(members[name], rng)
    return _zip_of(members)


def _read_store(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.unpack_archive(path, Path(folder) / "x.ome.zarr", "zip")
        _read(Path(folder) / "x.ome.zarr")


def _read(path: Path) -> None:
    _check(read_source(path))


def _read_folder(path: Path) -> None:
    _check(read_source(path.parent))


def _check(volume: Volume) -> None:
    assert volume.voxels.shape == volume.geometry.shape
    assert np.isfinite(volume.read()).all()
    assert volume.summary.isprintable()


KINDS = {
    "inr": Kind(".inr", (GOLDEN / "tiny-1.0.inr").read_bytes, _change_inr, _read_inr),
    "inr-quantised": Kind(".inr", (GOLDEN / "tiny-quantised.inr").read_bytes, _change_inr, _read_inr),
    "inr-shifted": Kind(".inr", (GOLDEN / "tiny-shifted.inr").read_bytes, _change_inr, _read_inr),
    "inr-blocks": Kind(".inr", (GOLDEN / "tiny-blocks.inr").read_bytes, _change_inr, _read_inr),
    "inr-shifted-blocks": Kind(
        ".inr", (GOLDEN / "tiny-shifted-blocks.inr").read_bytes, _change_inr, _read_inr
    ),
    "inr-model": Kind(".inr", _inr_with_model, _change_inr, _read_inr),
    "exact": Kind(".inr", _exact, _change_exact, _read_exact(_exact)),
    "exact-plain": Kind(".inr", _exact_plain, _change_exact, _read_exact(_exact_plain)),
    "state": Kind(".inr.fit", _make_state, _change_state, _read_state),
    "weights": Kind(".safetensors", _span, _change_tensors, _read_weights),
    "settings": Kind(".json", _make_words, _change_words, _read_words),
    "dicom": Kind(".dcm", _native, _change_dicom, _read),
    "dicom-deflated": Kind(".dcm", _deflated, _change_deflated, _read),
    "dicom-rle": Kind(".dcm", _encapsulated(RLELossless, _rle), _change_dicom, _read),
    "dicom-jpeg": Kind(
        ".dcm",
        _encapsulated(JPEGLosslessSV1, lambda pixels: imagecodecs.jpeg8_encode(pixels, lossless=True)),
        _change_dicom,
        _read,
    ),
    "dicom-jpegls": Kind(
        ".dcm", _encapsulated(JPEGLSLossless, imagecodecs.jpegls_encode), _change_dicom, _read
    ),
    "dicom-jpeg2000": Kind(
        ".dcm",
        _encapsulated(
            JPEG2000Lossless, lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="J2K", level=0)
        ),
        _change_dicom,
        _read,
    ),
    "dicom-enhanced": Kind(".dcm", _enhanced, _change_dicom, _read),
    "dicom-multi-frame": Kind(".dcm", _multi_frame, _change_dicom, _read),
    "dicom-zip": Kind(".zip", _dicom_zip, _change_zip(_change_dicom), _read),
    "tiff": Kind(".tif", _tiff(), _change_tiff, _read),
    "tiff-imagej": Kind(
        ".tif",
        _tiff(imagej=True, photometric=None, metadata={"spacing": 2.0, "unit": "mm", "axes": "ZYX"}),
        _change_tiff,
        _read,
    ),
    "tiff-ome": Kind(".ome.tif", _tiff(ome=True, compression="zlib"), _change_tiff, _read),
    "nifti": Kind(".nii", _nifti, change, _read),
    "nifti-gz": Kind(".nii.gz", _zipped(_nifti), _change_zipped, _read),
    "nrrd": Kind(".nrrd", _nrrd("raw", VOXELS.tobytes()), _change_lines, _read),
    "nrrd-gz": Kind(".nrrd", _nrrd("gzip", gzip.compress(VOXELS.tobytes(), mtime=0)), _change_lines, _read),
    "metaimage": Kind(".mha", _metaimage, _change_lines, _read),
    "ome-zarr-0.4": Kind(".zip", _ome_zarr(2), _change_store, _read_store),
    "ome-zarr-0.5": Kind(".zip", _ome_zarr(3), _change_store, _read_store),
    "png": Kind("0.png", _png, _change_png, _read_folder, beside=_more_pngs),
    "npy": Kind(".npy", _numpy, change, _read),
    "npz": Kind(".npz", _numpy_zip, _change_zip(change), _read),
}
