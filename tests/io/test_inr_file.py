"""`.inr`: what is written is what is read, and whatever else is read gives an error of ours."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
import math
import os
import struct
import tracemalloc
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_inr_volume.coding.weights import encode_fp16
from napari_inr_volume.core.errors import InrError, InrFileError
from napari_inr_volume.core.volume import Geometry
from napari_inr_volume.fields.siren.config import SirenConfig
from napari_inr_volume.inr_volume import FitRecord, InrVolume, Quality, UpscalerRef
from napari_inr_volume.io import inr_file
from napari_inr_volume.io.inr_file import (
    describe,
    from_bytes,
    looks_like_inr,
    pack,
    read_inr,
    read_model,
    to_bytes,
    write_inr,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "tiny-1.0.inr"
QUANTISED = GOLDEN.with_name("tiny-quantised.inr")
SHIFTED = GOLDEN.with_name("tiny-shifted.inr")
BLOCKS = GOLDEN.with_name("tiny-blocks.inr")
SHIFTED_BLOCKS = GOLDEN.with_name("tiny-shifted-blocks.inr")
EACH_CODING = pytest.mark.parametrize(
    "path",
    [GOLDEN, QUANTISED, SHIFTED, BLOCKS, SHIFTED_BLOCKS],
    ids=["fp16", "quantised", "shifted", "blocks", "shifted blocks"],
)
MODEL = b"the weights of a super-resolution network"
UPSCALER = UpscalerRef(name="srdensenet", sha256=hashlib.sha256(MODEL).hexdigest())


# --- volumes to write ---------------------------------------------------------------------------------


def finite(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


def triples(element: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any, Any]]:
    return st.tuples(element, element, element)


names = st.text(min_size=1, max_size=200).filter(str.isprintable)
whole = st.integers(0, 2**63 - 1)
decibels = finite(-100, 300) | st.just(math.inf)
errors = finite(0, 1e300)


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    depth = draw(st.integers(1, 40))
    # A rotation, and a gantry tilt that shears it: columns of unit length, not orthogonal.
    first, second, third = draw(triples(finite(-1.5, 1.5)))
    tilt = draw(finite(-0.7, 0.7))
    z = np.array([math.sin(tilt), 0.0, math.cos(tilt)])
    y, x = np.array([0.0, math.cos(first), math.sin(first)]), np.array([1.0, 0.0, 0.0])
    turn = np.array(
        [
            [math.cos(second), -math.sin(second), 0.0],
            [math.sin(second) * math.cos(third), math.cos(second) * math.cos(third), -math.sin(third)],
            [math.sin(second) * math.sin(third), math.cos(second) * math.sin(third), math.cos(third)],
        ]
    )
    columns = turn @ np.stack([z, y, x], axis=1)
    if abs(np.linalg.det(columns)) < 0.11:
        columns = np.eye(3)
    rows = tuple(tuple(row) for row in columns.tolist())
    steps = draw(st.none() | st.lists(finite(1e-3, 1e3), min_size=depth, max_size=depth))
    return Geometry(
        shape=(depth, draw(st.integers(1, 65_535)), draw(st.integers(1, 65_535))),
        spacing=draw(triples(finite(1e-9, 1e9))),
        origin=draw(triples(finite(-1e9, 1e9))),
        direction=rows,  # type: ignore[arg-type]
        slice_positions=None if steps is None else tuple(np.cumsum(steps).tolist()),
    )


@st.composite
def volumes(draw: st.DrawFn) -> InrVolume:
    slices = draw(st.integers(0, 5))
    siren = SirenConfig(
        shifts=slices > 0,
        slices=slices,
        layers=draw(st.integers(2, 5)),
        hidden_features=draw(st.integers(1, 9)),
        omega_0=draw(finite(1e-3, 1e4)),
        hidden_omega=draw(finite(1e-3, 1e4)),
    )
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    weights = {
        name: rng.normal(size=layout.shape).astype(np.float32) for name, layout in siren.layouts.items()
    }
    dtype = draw(st.sampled_from(["int8", "int16", "uint16", "int32", "int64", "float32", "float64"]))
    low = draw(finite(0, 50))
    sha256 = st.text("0123456789abcdef", min_size=64, max_size=64)
    networks = st.builds(UpscalerRef, name=names.filter(lambda name: name != "lanczos"), sha256=sha256)
    quality = st.builds(
        Quality,
        lr_psnr=decibels,
        hr_psnr=decibels,
        lanczos_psnr=decibels,
        rmse=errors,
        p99=errors,
        max_error=errors,
    )
    return InrVolume(
        field=siren,
        coding="fp16",
        payload=encode_fp16(weights, siren.layouts),
        geometry=draw(geometries()),
        factor=draw(triples(finite(1, 64))),
        intensity_range=(low, low + draw(finite(1e-3, 77))),
        units=draw(st.sampled_from(["HU", "raw", "Bq/ml"])),
        dtype=dtype,
        padding=draw(st.none() | finite(-1e300, 1e300)),
        source_bytes=draw(st.integers(1, 2**63 - 1)),
        upscaler=draw(st.just(UpscalerRef()) | networks),
        fit=draw(st.builds(FitRecord, preset=names, steps=whole, seed=whole)),
        quality=draw(st.none() | quality),
        software=draw(names),
    )


@pytest.fixture(scope="module")
def tiny() -> InrVolume:
    return read_inr(GOLDEN)


@pytest.fixture(scope="module")
def data() -> bytes:
    return GOLDEN.read_bytes()


def with_meta(inr: InrVolume, meta: object, version: tuple[int, int] = (1, 0)) -> bytes:
    """A file whose checksums are right and whose META is anything."""
    text = meta if isinstance(meta, bytes) else json.dumps(meta).encode()
    slices = np.array(inr.geometry.slice_positions, "<f8").tobytes()
    return pack([("META", text), ("ZPOS", slices), ("WGHT", inr.payload)], version)


def meta_of(data: bytes) -> dict[str, Any]:
    (length,) = struct.unpack_from("<Q", data, 28)
    fields = json.loads(data[40 : 40 + length])
    assert isinstance(fields, dict)
    return fields


# --- write, read --------------------------------------------------------------------------------------


@given(inr=volumes())
def test_what_is_written_is_what_is_read_and_the_same_volume_gives_the_same_bytes(inr: InrVolume) -> None:
    data = to_bytes(inr)
    again = from_bytes(data)
    assert again == inr
    assert to_bytes(again) == to_bytes(copy.deepcopy(inr)) == data


def test_a_file_on_disk_reads_back(tiny: InrVolume, tmp_path: Path) -> None:
    path = tmp_path / "tiny.inr"
    write_inr(tiny, path)
    assert read_inr(path) == tiny
    assert list(tmp_path.iterdir()) == [path]


def test_the_golden_file_of_version_1_0_reads_as_it_was_written() -> None:
    weights = np.random.default_rng(20230303)
    siren = SirenConfig(layers=2, hidden_features=8)
    assert read_inr(GOLDEN) == InrVolume(
        field=siren,
        coding="fp16",
        payload=b"".join(
            weights.uniform(-0.1, 0.1, layout.shape).astype(np.float32).astype("<f2").tobytes()
            for layout in siren.layouts.values()
        ),
        geometry=Geometry(
            shape=(3, 8, 6),
            spacing=(2.5, 0.75, 0.5),
            origin=(-10.0, 20.5, 30.25),
            slice_positions=(0.0, 2.0, 5.0),
        ),
        factor=(1.0, 4.0, 4.0),
        intensity_range=(-1024.0, 3071.0),
        units="HU",
        dtype="int16",
        padding=-2000.0,
        source_bytes=288,
        upscaler=UpscalerRef(name="lanczos", sha256=None),
        fit=FitRecord(preset="default", steps=12, seed=20230303),
        quality=Quality(
            lr_psnr=41.5, hr_psnr=37.25, lanczos_psnr=36.5, rmse=52.0, p99=212.5, max_error=1500.0
        ),
        software="napari-inr-volume 0.1.0",
    )


def test_the_golden_file_is_written_to_the_same_bytes(tiny: InrVolume, data: bytes) -> None:
    assert to_bytes(tiny) == data


def test_numbers_of_numpy_are_written_as_those_of_python(tiny: InrVolume, data: bytes) -> None:
    low, high = np.float32(-1024), np.float32(3071)
    inr = dataclasses.replace(tiny, intensity_range=(low, high), source_bytes=np.int64(288))
    assert to_bytes(inr) == data


def test_describe_gives_everything_the_file_declares_as_json(tiny: InrVolume, tmp_path: Path) -> None:
    path = tmp_path / "tiny.inr"
    inr = dataclasses.replace(tiny, upscaler=UPSCALER)
    write_inr(inr, path, model=MODEL)
    found = json.loads(json.dumps(describe(path), allow_nan=False))
    assert found["format"] == "1.0"
    assert found["file_bytes"] == path.stat().st_size
    assert [section["tag"] for section in found["sections"]] == ["META", "ZPOS", "WGHT", "srmd"]
    assert [section["bytes"] for section in found["sections"]][1:] == [24, 226, len(MODEL)]
    assert found["sections"][1]["crc32"] == "2fc93975"
    assert found["siren"]["parameters"] == 113
    assert found["hr"]["slice_positions"] == [0.0, 2.0, 5.0]
    assert found["lr"]["spacing"] == [2.5, 3.0, 2.0]
    assert found["upscaler"] == {"name": "srdensenet", "sha256": UPSCALER.sha256}
    assert set(meta_of(path.read_bytes())) < set(found)


def test_nothing_but_the_whitelist_is_in_a_file(data: bytes) -> None:
    leaves = {
        f"{name}.{inner}" if inner else name
        for name, value in meta_of(data).items()
        for inner in (value if isinstance(value, dict) else [""])
    }
    assert leaves == {
        *("kind", "coding", "source_bytes", "software"),
        *("siren.layers", "siren.hidden_features", "siren.omega_0", "siren.hidden_omega"),
        *("hr.shape", "hr.spacing", "hr.origin", "hr.direction", "lr.shape", "lr.factor"),
        *("intensity.range", "intensity.units", "intensity.dtype", "intensity.padding"),
        *("upscaler.name", "upscaler.sha256", "fit.preset", "fit.steps", "fit.seed"),
        *("quality.lr_psnr", "quality.hr_psnr", "quality.lanczos_psnr"),
        *("quality.rmse", "quality.p99", "quality.max_error"),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": " "}, r"META\.intensity\.units must be"),
        ({"dtype": "complex64"}, r"META\.intensity\.dtype is 'complex64'"),
        ({"factor": (0.0, 4.0, 4.0)}, "cannot be written"),
        ({"factor": (0.5, 4.0, 4.0)}, r"META\.lr\.factor must be 3 numbers from 1 to 64"),
        ({"factor": (math.nan, 4.0, 4.0)}, "cannot be written"),
        ({"intensity_range": (5.0, 5.0)}, r"META\.intensity\.range"),
        ({"intensity_range": (-1024.0, 40_000.0)}, r"META\.intensity\.range .* within int16"),
        ({"intensity_range": (-1.7e308, 1.7e308), "dtype": "float64"}, r"META\.intensity\.range"),
        ({"padding": math.nan}, r"META\.intensity\.padding must be a number"),
        ({"source_bytes": 0}, r"META\.source_bytes"),
        ({"payload": b""}, "the weights take 0 bytes, this network needs 226"),
        ({"coding": "ans"}, "coded as 'ans'"),
        ({"software": ""}, r"META\.software must be a text"),
        ({"software": "x" * 201}, r"META\.software must be a text"),
        ({"software": "\x1b[2J"}, r"META\.software must be a text"),
        ({"upscaler": UpscalerRef(name="srdensenet")}, r"META\.upscaler\.sha256"),
        ({"upscaler": UpscalerRef(name="lanczos", sha256="0" * 64)}, r"META\.upscaler\.sha256 must be null"),
        ({"upscaler": UpscalerRef(name="srdensenet", sha256="A" * 64)}, r"META\.upscaler\.sha256"),
    ],
)
def test_a_volume_that_could_not_be_read_is_not_written(
    tiny: InrVolume, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "bad.inr"
    with pytest.raises(InrFileError, match=message):
        write_inr(dataclasses.replace(tiny, **change), path)
    assert not path.exists()


# --- damage -------------------------------------------------------------------------------------------


@EACH_CODING
def test_a_file_cut_off_anywhere_is_refused(path: Path) -> None:
    data = path.read_bytes()
    for length in range(len(data)):
        with pytest.raises(InrFileError):
            from_bytes(data[:length])


@EACH_CODING
def test_a_flip_of_any_bit_is_refused(path: Path) -> None:
    data = path.read_bytes()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InrFileError):
            from_bytes(bytes(damaged))


@settings(max_examples=500)
@given(
    path=st.sampled_from([GOLDEN, QUANTISED, SHIFTED, BLOCKS, SHIFTED_BLOCKS]),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=8), st.integers(0, 8)), min_size=1),
    mend=st.booleans(),
)
def test_random_changes_give_an_error_of_ours_or_a_volume(
    path: Path, changes: list[tuple[int, bytes, int]], mend: bool
) -> None:
    damaged = path.read_bytes()
    for place, inserted, removed in changes:
        place %= len(damaged) + 1
        damaged = damaged[:place] + inserted + damaged[place + removed :]
    if mend:  # as someone would who means harm
        damaged = mended(damaged)
    with contextlib.suppress(InrFileError):
        from_bytes(damaged)


def mended(data: bytes) -> bytes:
    """The same bytes with every checksum and the file's length put right."""
    mended = bytearray(data)
    if len(mended) >= 24:
        mended[:8] = inr_file.MAGIC
        struct.pack_into("<Q", mended, 12, len(mended))
        struct.pack_into("<I", mended, 20, zlib.crc32(mended[:20]))
    at = 24
    while at + 16 <= len(mended):
        (length,) = struct.unpack_from("<Q", mended, at + 4)
        length = min(length, len(mended) - at - 16)
        struct.pack_into("<Q", mended, at + 4, length)
        payload = mended[at + 16 : at + 16 + length]
        struct.pack_into("<I", mended, at + 12, zlib.crc32(mended[at : at + 12] + payload))
        at += 16 + length
    return bytes(mended)


@given(garbage=st.binary(max_size=300))
def test_garbage_behind_a_right_magic_is_refused(garbage: bytes) -> None:
    with pytest.raises(InrFileError):
        from_bytes(inr_file.MAGIC + garbage)


# --- hostile files, checksums right -------------------------------------------------------------------


HOSTILE = {
    "a huge shape": ("hr.shape", [2**62, 2**62, 2**62], r"META\.hr\.shape"),
    "too many voxels": (
        "hr.shape",
        [65_535, 65_535, 65_535],
        r"META: a volume has at most 65,535 voxels along an axis",
    ),
    "an empty shape": ("hr.shape", [0, 8, 6], r"META\.hr\.shape"),
    "a negative shape": ("hr.shape", [-3, 8, 6], r"META\.hr\.shape"),
    "two axes": ("hr.shape", [8, 6], r"META\.hr\.shape must be 3 whole numbers, found \[8, 6\]"),
    "a shape of floats": ("hr.shape", [3.0, 8.0, 6.0], r"META\.hr\.shape"),
    "a shape of booleans": ("hr.shape", [True, True, True], r"META\.hr\.shape"),
    "a shape that ZPOS does not fit": ("hr.shape", [4, 8, 6], "slice_positions must be 4"),
    "another LR shape": ("lr.shape", [3, 3, 2], r"META\.lr\.shape must be \[3, 2, 2\]"),
    "a factor of none": ("lr.factor", [0, 4, 4], r"META\.lr\.factor"),
    "a spacing of none": ("hr.spacing", [0, 1, 1], r"META\.hr\.spacing must be 3 numbers"),
    "a NaN origin": ("hr.origin", [math.nan, 0, 0], r"META\.hr\.origin must be 3 numbers .* found \[nan"),
    "an infinite origin": ("hr.origin", [0, math.inf, 0], r"META\.hr\.origin"),
    "an origin of texts": ("hr.origin", ["0", "0", "0"], r"META\.hr\.origin"),
    "a flat direction": ("hr.direction", [[1, 1, 1], [0, 0, 0], [0, 0, 0]], "must not lie in one plane"),
    "a long direction": ("hr.direction", [[1e300] * 3] * 3, r"META\.hr\.direction"),
    "a direction of one row": ("hr.direction", [1, 0, 0], r"META\.hr\.direction"),
    "a network too wide": ("siren.hidden_features", 10**9, "hidden_features must be a whole number"),
    "a network too deep": ("siren.layers", 10**9, "layers must be a whole number"),
    "a network that the weights do not fill": ("siren.hidden_features", 2048, "the weights take 226 bytes"),
    "a frequency of text": ("siren.omega_0", "30", r"META\.siren\.omega_0"),
    "an unknown kind": ("kind", "nerf", r"META\.kind is 'nerf', which this version does not know .* update"),
    "a kind that is no text": ("kind", ["siren"], r"META\.kind"),
    "an unknown coding": ("coding", "ans", "coded as 'ans'.* update"),
    "units that are no name": ("intensity.units", "HU " * 20, r"META\.intensity\.units"),
    "an object dtype": ("intensity.dtype", "object", r"META\.intensity\.dtype"),
    "a range of nothing": ("intensity.range", [0, 5e-324], r"META\.intensity\.range must be two values"),
    "a range beyond float32": (
        "intensity.range",
        [-1e300, 1e300],
        r"META\.intensity\.range must be 2",
    ),
    "a range of infinities": ("intensity.range", [-1e999, 1e999], r"META\.intensity\.range"),
    "a range upside down": ("intensity.range", [3071, -1024], r"META\.intensity\.range"),
    "a number too large for a float": ("intensity.padding", 10**4000, r"META\.intensity\.padding"),
    "a whole number beyond 64 bit": ("fit.seed", 2**63, r"META\.fit\.seed"),
    "a negative error": ("quality.rmse", -1, r"META\.quality\.rmse"),
    "a PSNR of text": ("quality.lr_psnr", "-inf", r"META\.quality\.lr_psnr"),
    "a quality that is a list": ("quality", [], r"META\.quality must be a JSON object, found \[\]"),
    "a text that steers a terminal": ("fit.preset", "\x1b]0;", r"META\.fit\.preset must be a text"),
    "half a character": ("software", "\ud800", r"META\.software must be a text"),
    "a path for a model": ("upscaler.name", "../x", r"META\.upscaler\.sha256"),
    "a field too many": (
        "fit.patient",
        "Doe",
        r"META\.fit has fields that the format does not: \['patient'\]",
    ),
}


@pytest.mark.parametrize(("field", "value", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_field_is_refused_by_name(
    tiny: InrVolume, data: bytes, field: str, value: object, message: str
) -> None:
    meta = meta_of(data)
    *outer, name = field.split(".")
    (meta[outer[0]] if outer else meta)[name] = value
    with pytest.raises(InrFileError, match=message) as caught:
        from_bytes(with_meta(tiny, meta))
    assert len(str(caught.value)) < 400  # one line, whatever the file holds


def test_every_field_is_needed(tiny: InrVolume, data: bytes) -> None:
    for name, value in meta_of(data).items():
        meta = meta_of(data)
        del meta[name]
        with pytest.raises(InrFileError, match=f"META lacks {name}"):
            from_bytes(with_meta(tiny, meta))
        for inner in value if isinstance(value, dict) else ():
            meta = meta_of(data)
            del meta[name][inner]
            with pytest.raises(InrFileError, match=f"META.{name} lacks {inner}"):
                from_bytes(with_meta(tiny, meta))


def test_every_field_is_checked_for_its_type(tiny: InrVolume, data: bytes) -> None:
    for wrong in ({}, [], [[]], "", True, 1e999, [None] * 3, {"shape": 1}):
        for name, value in meta_of(data).items():
            for inner in [None, *(value if isinstance(value, dict) else ())]:
                meta = meta_of(data)
                if inner is None:
                    meta[name] = wrong
                else:
                    meta[name][inner] = wrong
                with pytest.raises(InrFileError):
                    from_bytes(with_meta(tiny, meta))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[" * 65_536,
        b'{"a":' * 10_000,
        b"{" * 65_536,
        b"9" * 65_536,
        b'{"kind":' + b"9" * 60_000 + b"}",
        b"NaN",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"kind":"siren","kind":"siren"}',
        b"{} {}",
        b"\x80\x04K\x01.",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_a_text_that_is_not_the_json_it_should_be_is_refused(tiny: InrVolume, text: bytes) -> None:
    with pytest.raises(InrFileError, match="META"):
        from_bytes(with_meta(tiny, text))


def test_a_field_that_stands_there_twice_is_refused(tiny: InrVolume, data: bytes) -> None:
    meta = json.dumps(meta_of(data))
    assert from_bytes(with_meta(tiny, meta.encode())) == tiny
    for once in ('"kind": "siren"', '"layers": 2'):
        twice = meta.replace(once, f"{once}, {once}")
        with pytest.raises(InrFileError, match="a field appears twice"):
            from_bytes(with_meta(tiny, twice.encode()))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be", "utf-8-sig"])
def test_a_right_text_in_another_encoding_is_refused(tiny: InrVolume, data: bytes, encoding: str) -> None:
    with pytest.raises(InrFileError, match="META is not the JSON"):
        from_bytes(with_meta(tiny, json.dumps(meta_of(data)).encode(encoding)))


def test_hostile_sizes_are_refused_before_anything_is_allocated(tiny: InrVolume, data: bytes) -> None:
    meta = meta_of(data)
    meta["siren"] |= {"layers": 16, "hidden_features": 2048}  # weights of 252 MB
    claims = struct.pack("<4sQI", b"WGHT", 2**27, 0)
    section = struct.pack("<8sHHQ", inr_file.MAGIC, 1, 0, 24 + len(claims))
    short = section + struct.pack("<I", zlib.crc32(section)) + claims
    tracemalloc.start()
    try:
        for hostile in (with_meta(tiny, meta), short):
            with pytest.raises(InrFileError, match=r"weights take|declares 134217728 bytes, 0 are left"):
                from_bytes(hostile)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_a_section_over_its_limit_is_refused(tiny: InrVolume, data: bytes) -> None:
    with pytest.raises(InrFileError, match="META declares 65537 bytes, at most 65536 are allowed"):
        from_bytes(with_meta(tiny, b" " * 65_537))


def test_a_huge_sparse_file_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.inr"
    size = 10 * inr_file.MAX_FILE
    head = struct.pack("<8sHHQ", inr_file.MAGIC, 1, 0, size)
    with path.open("wb") as file:
        file.write(head + struct.pack("<I", zlib.crc32(head)))
        file.truncate(size)
    with pytest.raises(InrFileError, match=f"{size} bytes, and at most {inr_file.MAX_FILE} are read"):
        read_inr(path)


@pytest.mark.parametrize(
    "positions", [(0.0, 2.0, math.nan), (0.0, 2.0, math.inf), (0.0, 0.0, 1.0), (0.0, 1.0)]
)
def test_hostile_slice_positions_are_refused(
    tiny: InrVolume, data: bytes, positions: tuple[float, ...]
) -> None:
    stored = struct.pack(f"<{len(positions)}d", *positions)
    meta = json.dumps(meta_of(data)).encode()
    for payload in (stored, stored[:-1]):
        with pytest.raises(InrFileError, match="slice"):
            from_bytes(pack([("META", meta), ("ZPOS", payload), ("WGHT", tiny.payload)]))


# --- sections and versions ----------------------------------------------------------------------------


def sections_of(inr: InrVolume, data: bytes) -> list[tuple[str, bytes]]:
    slices = np.array(inr.geometry.slice_positions, "<f8").tobytes()
    return [("META", json.dumps(meta_of(data)).encode()), ("ZPOS", slices), ("WGHT", inr.payload)]


def test_the_order_of_sections_does_not_matter(tiny: InrVolume, data: bytes) -> None:
    assert from_bytes(pack(sections_of(tiny, data)[::-1])) == tiny


def test_an_unknown_optional_section_is_skipped(tiny: InrVolume, data: bytes) -> None:
    for payload in (b"", bytes(3 * 2**20)):  # the second is read in chunks
        assert from_bytes(pack([("note", payload), *sections_of(tiny, data)])) == tiny


def test_an_unknown_critical_section_is_refused(tiny: InrVolume, data: bytes) -> None:
    with pytest.raises(InrFileError, match=r"section RSDL is needed, .* update napari-inr-volume"):
        from_bytes(pack([*sections_of(tiny, data), ("RSDL", b"")]))


def test_damage_in_an_unknown_optional_section_is_found(tiny: InrVolume, data: bytes) -> None:
    damaged = bytearray(pack([*sections_of(tiny, data), ("note", b"hello")]))
    damaged[-1] ^= 1
    with pytest.raises(InrFileError, match="section note does not match its checksum"):
        from_bytes(bytes(damaged))


@pytest.mark.parametrize("missing", ["META", "WGHT"])
def test_a_missing_section_is_named(tiny: InrVolume, data: bytes, missing: str) -> None:
    sections = [section for section in sections_of(tiny, data) if section[0] != missing]
    with pytest.raises(InrFileError, match=f"the section {missing} is missing"):
        from_bytes(pack(sections))


def test_a_section_that_stands_there_twice_is_refused(tiny: InrVolume, data: bytes) -> None:
    for twice in (*sections_of(tiny, data), ("note", b"")):
        with pytest.raises(InrFileError, match=f"the section {twice[0]} appears twice"):
            from_bytes(pack([*sections_of(tiny, data), ("note", b""), twice]))


def test_more_sections_than_allowed_are_refused(tiny: InrVolume, data: bytes) -> None:
    letters = "abcdefghijklmnop"
    many = [(f"{a}{b}zz", b"") for a in letters for b in letters]
    with pytest.raises(InrFileError, match="more than 256 sections"):
        from_bytes(pack([*many, *sections_of(tiny, data)]))


@pytest.mark.parametrize("tag", [b"ME\0A", b"ME A", "MÉA".encode()])
def test_a_tag_that_is_not_four_letters_is_refused(data: bytes, tag: bytes) -> None:
    with pytest.raises(InrFileError, match="not four letters"):
        from_bytes(mended(data[:24] + tag + data[28:]))


@pytest.mark.parametrize("version", [(2, 0), (65_535, 0), (0, 9)])
def test_another_major_version_is_refused_with_what_to_do(
    tiny: InrVolume, data: bytes, version: tuple[int, int]
) -> None:
    with pytest.raises(InrFileError, match=rf"version {version[0]}\.{version[1]}, this .* reads 1\.x"):
        from_bytes(pack(sections_of(tiny, data), version))


def test_a_later_minor_version_may_have_fields_that_are_left_aside(tiny: InrVolume, data: bytes) -> None:
    meta = meta_of(data)
    meta["colour"] = {"map": "gray"}
    meta["siren"]["skip"] = [1]
    assert from_bytes(with_meta(tiny, meta, version=(1, inr_file.VERSION[1] + 1))) == tiny
    with pytest.raises(InrFileError, match=r"META.* has fields that the format does not"):
        from_bytes(with_meta(tiny, meta, version=inr_file.VERSION))


def test_bytes_behind_the_end_are_refused(data: bytes) -> None:
    with pytest.raises(InrFileError, match="has 955 bytes and should have 954"):
        from_bytes(data + b"\0")


# --- the embedded model -------------------------------------------------------------------------------


def test_an_embedded_model_comes_back_and_leaves_the_volume_as_it_is(tiny: InrVolume, tmp_path: Path) -> None:
    inr = dataclasses.replace(tiny, upscaler=UPSCALER)
    plain, full = tmp_path / "plain.inr", tmp_path / "full.inr"
    write_inr(inr, plain)
    write_inr(inr, full, model=MODEL)
    assert read_model(plain) is None
    assert read_model(full) == MODEL
    assert read_inr(full) == read_inr(plain) == inr
    assert full.stat().st_size == plain.stat().st_size + 16 + len(MODEL)


def test_a_model_that_is_not_the_upscalers_is_neither_written_nor_read(
    tiny: InrVolume, tmp_path: Path
) -> None:
    inr, path = dataclasses.replace(tiny, upscaler=UPSCALER), tmp_path / "x.inr"
    for volume, model in ((inr, MODEL + b"!"), (tiny, MODEL)):
        with pytest.raises(InrFileError, match="the embedded model is not the upscaler"):
            write_inr(volume, path, model=model)
    data = to_bytes(inr)
    path.write_bytes(pack([*sections_of(inr, data), ("srmd", MODEL + b"!")]))
    with pytest.raises(InrFileError, match=r"x\.inr: the embedded model is not the upscaler 'srdensenet'"):
        read_model(path)


# --- files that are no .inr ---------------------------------------------------------------------------


@pytest.mark.parametrize("read", [read_inr, read_model, describe])
def test_what_is_no_file_is_refused_by_name(read: Any, tmp_path: Path) -> None:
    with pytest.raises(InrFileError, match=r"missing\.inr: cannot be read: No such file"):
        read(tmp_path / "missing.inr")
    folder = tmp_path / "folder.inr"
    folder.mkdir()
    with pytest.raises(InrFileError, match=r"folder\.inr: it is a folder"):
        read(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.inr"
    os.mkfifo(path)
    with pytest.raises(InrFileError, match="a device or a pipe"):
        read_inr(path)
    assert not looks_like_inr(path)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"", r"x\.inr: the file is empty"),
        (b"#INRIMAGE-4#{\nXDIM=64\n", "an image of INRIMAGE, an older format .* convert it to NIfTI"),
        (b"PK\x03\x04 and more", r"it is not an \.inr file: it starts with b'PK"),
        (b"\x89INR", "cut off after 4 bytes"),
        (inr_file.MAGIC.replace(b"\r\n", b"\n") + bytes(30), "as by a transfer as text"),
        (inr_file.MAGIC.replace(b"\n", b"\r\n") + bytes(30), "as by a transfer as text"),
        (b"\x09" + inr_file.MAGIC[1:] + bytes(30), "as by a transfer as text"),
    ],
    ids=["empty", "INRIMAGE", "another format", "four bytes", "LF", "CRLF", "7 bit"],
)
def test_another_file_is_declined_with_its_own_message(tmp_path: Path, start: bytes, message: str) -> None:
    path = tmp_path / "x.inr"
    path.write_bytes(start)
    with pytest.raises(InrFileError, match=message):
        read_inr(path)
    assert not looks_like_inr(path)


def test_the_probe_knows_an_inr_and_raises_nothing(tmp_path: Path) -> None:
    assert looks_like_inr(GOLDEN)
    assert not looks_like_inr(tmp_path)
    assert not looks_like_inr(tmp_path / "missing.inr")


def test_a_failed_save_leaves_the_old_file_whole(tiny: InrVolume, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.inr"
    path.write_bytes(data)
    with pytest.raises(InrFileError):
        write_inr(dataclasses.replace(tiny, payload=b""), path)
    with pytest.raises(InrError, match="there is no folder"):
        write_inr(tiny, tmp_path / "nowhere" / "x.inr")
    assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_shrinks_while_it_is_read_is_refused(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.inr"
    path.write_bytes(data[:-5])
    as_it_was = SimpleNamespace(fstat=lambda _: SimpleNamespace(st_size=len(data)))
    monkeypatch.setattr(inr_file, "os", as_it_was)
    with pytest.raises(InrFileError, match="ends within a section"):
        read_inr(path)
