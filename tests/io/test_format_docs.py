"""docs/format.md is enough to write another reader from: its reader is run, its example is compared."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_inr_volume.coding.quantise import Quantised
from napari_inr_volume.coding.range_coding import encode as encode_quantised
from napari_inr_volume.coding.weights import decode_weights
from napari_inr_volume.core.generators import drain
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.exact import encode
from napari_inr_volume.exact.decode import ExactSlices
from napari_inr_volume.fields.siren.config import SirenConfig
from napari_inr_volume.io.inr_file import LIMITS, read_inr, write_inr
from napari_inr_volume.reader import Reader
from napari_inr_volume.session import compress

DOCS = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
GOLDEN = Path(__file__).parents[1] / "golden" / "tiny-1.0.inr"
QUANTISED = GOLDEN.with_name("tiny-quantised.inr")
SHIFTED = GOLDEN.with_name("tiny-shifted.inr")
BLOCKS = GOLDEN.with_name("tiny-blocks.inr")
SHIFTED_BLOCKS = GOLDEN.with_name("tiny-shifted-blocks.inr")
EXACT = GOLDEN.with_name("exact-1.1.inr")


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", DOCS, flags=re.DOTALL)
    assert len(found) == (2 if language == "python" else 1)
    return "\n".join(found)


@pytest.fixture(scope="module")
def reader() -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(block("python"), names)
    return names


def test_every_byte_of_the_example_is_in_the_golden_file() -> None:
    data = GOLDEN.read_bytes()
    rows = re.findall(r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+)", block("text"), flags=re.MULTILINE)
    assert len(rows) == 10
    for offset, digits in rows:
        expected = bytes.fromhex(digits)
        assert data[int(offset, 16) :][: len(expected)] == expected


def test_the_meta_of_the_example_is_that_of_the_golden_file(reader: dict[str, Any]) -> None:
    meta, _ = reader["read"](GOLDEN)
    assert json.loads(block("json")) == meta


def test_every_field_of_the_golden_file_is_in_the_table(reader: dict[str, Any]) -> None:
    meta, _ = reader["read"](GOLDEN)
    names = {
        f"{name}.{inner}" if inner else name
        for name, value in meta.items()
        for inner in (value if isinstance(value, dict) else [""])
    }
    table = set(re.findall(r"^\| `([a-z_0-9.]+)` \|", DOCS, flags=re.MULTILINE)) - {
        "srmd",
        "exct",
        "exsl",
        "quality",
    }
    assert table == names


def test_the_limits_in_the_table_are_those_of_the_reader() -> None:
    rows = re.findall(r"^\| `([A-Za-z]{4})` \|.*\| ([\d,]+) bytes \|$", DOCS, flags=re.MULTILINE)
    assert {tag: int(limit.replace(",", "")) for tag, limit in rows} == LIMITS


def test_the_reader_of_the_docs_evaluates_the_network_as_its_formulas_say(reader: dict[str, Any]) -> None:
    inr = read_inr(GOLDEN)
    weights = decode_weights(inr.payload, inr.field.layouts, inr.coding)
    decoded = reader["decode"](*reader["read"](GOLDEN))
    assert decoded.shape == (3, 2, 2)
    for k, j, i in np.ndindex(3, 2, 2):
        # Positions in HR voxels: every original z, LR voxel centres in y and x.
        position = np.array([k, (j + 0.5) * 4 - 0.5, (i + 0.5) * 4 - 0.5])
        u = 2 * (position + 0.5) / np.array([3, 8, 6]) - 1
        h = np.sin(30 * (weights["sine.0.weight"] @ u + weights["sine.0.bias"]))
        h = np.sin(30 * (weights["sine.1.weight"] @ h + weights["sine.1.bias"]))
        output = (weights["linear.weight"] @ h + weights["linear.bias"])[0]
        assert decoded[k, j, i] == pytest.approx(-1024 + (output + 1) / 2 * 4095, abs=0.05)


@pytest.mark.parametrize(
    "path",
    [GOLDEN, QUANTISED, SHIFTED, BLOCKS, SHIFTED_BLOCKS],
    ids=["fp16", "quantised", "shifted", "blocks", "shifted blocks"],
)
def test_the_reader_of_the_docs_and_the_package_find_the_same_weights(
    reader: dict[str, Any], path: Path
) -> None:
    inr = read_inr(path)
    weights = decode_weights(inr.payload, inr.field.layouts, inr.coding)
    found = reader["numbers_of"](*reader["read"](path))
    assert np.array_equal(found, np.concatenate([values.ravel() for values in weights.values()]))


@pytest.mark.slow
@given(
    layers=st.integers(2, 4),
    width=st.integers(1, 40),
    slices=st.integers(0, 9),
    octaves=st.integers(0, 15),
    seed=st.integers(0, 99),
)
def test_the_reader_of_the_docs_decodes_any_quantised_weights(
    reader: dict[str, Any], layers: int, width: int, slices: int, octaves: int, seed: int
) -> None:
    layouts = SirenConfig(layers=layers, hidden_features=width, shifts=slices > 0, slices=slices).layouts
    rng = np.random.default_rng(seed)
    tensors = []
    for layout in layouts.values():
        rows = layout.row_shape
        numbers = rng.integers(-(2**octaves), 2**octaves, rows, endpoint=True).astype(np.int32)
        tensors.append(Quantised(numbers, rng.integers(-60, 8, rows[0]).astype(np.int32)))
    payload = encode_quantised(tensors)
    net = {"layers": layers, "hidden_features": width}
    if slices:
        net["slices"] = slices
    meta = {"coding": "quantised", "kind": "shifted" if slices else "siren"}
    meta[meta["kind"]] = net
    weights = decode_weights(payload, layouts, "quantised")
    found = reader["numbers_of"](meta, payload)
    assert np.array_equal(found, np.concatenate([values.ravel() for values in weights.values()]))


@pytest.fixture
def constant(tmp_path: Path) -> Path:
    path = tmp_path / "constant.inr"
    voxels = np.random.default_rng(1).normal(40, 9, (3, 8, 6)).astype(np.int16)
    write_inr(compress(Volume.from_array(voxels), None, max_error=1), path)
    return path


@pytest.mark.parametrize(
    "path",
    [GOLDEN, QUANTISED, SHIFTED, BLOCKS, SHIFTED_BLOCKS, None],
    ids=["fp16", "quantised", "shifted", "blocks", "shifted blocks", "constant"],
)
def test_the_reader_of_the_docs_and_the_package_decode_alike(
    reader: dict[str, Any], path: Path | None, constant: Path
) -> None:
    path = path or constant
    reader_of_ours = Reader(read_inr(path), device="cpu")
    decoded = reader["decode"](*reader["read"](path))
    lr = np.stack([reader_of_ours.lr_plane(z) for z in range(len(decoded))])
    np.testing.assert_allclose(lr, decoded, atol=0.05)  # HU, of a range of 4095


def test_the_reader_of_the_docs_refuses_damage(reader: dict[str, Any], tmp_path: Path) -> None:
    data = GOLDEN.read_bytes()
    for offset in (0, 13, 0x19, 0x30, 0x2B7, 0x3B9):
        damaged = bytearray(data)
        damaged[offset] ^= 1
        path = tmp_path / "damaged.inr"
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"damaged|not an"):
            reader["read"](path)


@pytest.mark.parametrize(
    ("dtype", "max_error", "padding"), [("int16", 0, -2000), ("int16", 2, None), ("float32", 0, None)]
)
def test_the_reader_of_the_docs_decodes_the_exact_layer(
    reader: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
    max_error: float,
    padding: float | None,
) -> None:
    monkeypatch.setattr(
        encode, "NETWORK_FROM", 0
    )  # a small volume too: this reader takes milliseconds a voxel
    monkeypatch.setattr(encode, "DEPTH", 3)
    random = np.random.default_rng(3)
    voxels = np.cumsum(random.normal(0, 4, (4, 12, 13)), axis=2).astype(dtype)  # two slabs
    if dtype == "int16":
        voxels[:, :6] = 7
    if padding is not None:
        voxels[:, :, :4] = padding
    volume = Volume.from_array(voxels, padding=padding)
    layer = drain(encode.encode_exact(volume, max_error))
    assert (layer.features > 0) == (dtype == "int16")
    meta = {"intensity": {"dtype": dtype, "padding": padding}, "hr": {"shape": voxels.shape}}
    decoded = reader["exact_voxels"](meta, layer.head(), layer.data.read(0, layer.data.length))
    assert decoded.dtype == voxels.dtype
    assert np.abs(decoded.astype(float) - voxels.astype(float)).max() <= max_error
    if max_error == 0:
        np.testing.assert_array_equal(decoded, voxels)
    ours = dict(ExactSlices(layer, volume.shape, volume.dtype, padding).all())
    np.testing.assert_array_equal(decoded, np.stack([ours[z] for z in range(len(voxels))]))


def test_the_reader_of_the_docs_decodes_the_exact_layer_of_the_golden_file(reader: dict[str, Any]) -> None:
    meta, _ = reader["read"](EXACT)
    sections = reader["sections_of"](EXACT)
    voxels = reader["exact_voxels"](meta, sections[b"exct"], sections[b"exsl"])
    assert f"{zlib.crc32(voxels.astype('<i2').tobytes()):08x}" == "775731f6"


def test_the_reader_of_the_docs_finds_a_damaged_slab(reader: dict[str, Any], tmp_path: Path) -> None:
    damaged = bytearray(EXACT.read_bytes())
    damaged[damaged.index(reader["sections_of"](EXACT)[b"exsl"])] ^= 1  # the first byte of the first slab
    path = tmp_path / "damaged.inr"
    path.write_bytes(damaged)
    meta, _ = reader["read"](path)
    sections = reader["sections_of"](path)
    with pytest.raises(ValueError, match="slab 0 is damaged"):
        reader["exact_voxels"](meta, sections[b"exct"], sections[b"exsl"])
