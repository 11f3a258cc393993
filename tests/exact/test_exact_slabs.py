"""Slabs of the exact layer: the same bytes and voxels however they are made, and what damage costs."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import tempfile
import threading
import tracemalloc
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exact_layers import PADDING, decoded, head_phantom, layer_of, slices_of
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite.binding import get_host_cpu_features

from napari_inr_volume.core.errors import FitError, InrError, InrFileError
from napari_inr_volume.core.generators import drain
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.exact import slab
from napari_inr_volume.exact.contexts import FIRST, LATER
from napari_inr_volume.exact.decode import ExactSlices
from napari_inr_volume.exact.encode import Coding, encode_exact
from napari_inr_volume.exact.layer import HEAD, ExactLayer, Slab, Slabs, from_head
from napari_inr_volume.exact.network import OUTPUTS, Layer, Network, from_bytes, to_bytes
from napari_inr_volume.exact.plain import encode_plain
from napari_inr_volume.exact.slab import SlabDecoder, encode_slab

PHANTOM = Volume.from_array(head_phantom((5, 14, 15)), padding=PADDING)
PLAIN = Volume.from_array(np.random.default_rng(2).normal(size=(5, 6, 7)))


def _decoded(data: bytes, shape: tuple[int, int, int], networks: Any, levels: int, threads: int = 1) -> Any:
    """Return all levels of a slab."""
    return np.stack(SlabDecoder(data, shape, networks, levels).take(shape[0], threads))


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 90)),
    levels=st.sampled_from([2, 3, 2**16]) | st.integers(2, 2**16),
    spread=st.sampled_from([1e-3, 0.01, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_levels_come_back(
    networks: Any, shape: tuple[int, int, int], levels: int, spread: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    slab = random.integers(0, max(int(levels * spread), 1), shape, np.int32, endpoint=True) % levels
    slab[random.random(shape) < 0.01] = levels - 1
    data = encode_slab(slab, networks, levels)
    assert data == encode_slab(slab, networks, levels)
    assert (_decoded(data, shape, networks, levels) == slab).all()


def _made_up(seed: int, most: int, linear: int) -> tuple[Network, Network]:
    """Return networks of random whole numbers, as a file can hold them though no fit ends there."""
    random = np.random.RandomState(seed)  # whose numbers are the same with every version of NumPy
    made = []
    for contexts in (FIRST, LATER):
        layers = []
        for rows, columns in ((16, contexts.inputs), (16, 16), (OUTPUTS, 16)):
            weights = random.randint(-most, most + 1, (rows, columns)).astype(np.int16)
            bias = random.randint(-(2**16), 2**16, rows).astype(np.int32)
            layers.append(Layer(weights, bias, random.randint(4, 12, rows).astype(np.uint8)))
        looks = random.randint(-linear, linear + 1, len(contexts.values))
        if seed % 2 and linear == 2**15 - 1:
            looks[:] = linear
        made.append(Network(contexts, looks.astype(np.int16), (layers[0], layers[1], layers[2])))
    return from_bytes(to_bytes(made), 16)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    most=st.sampled_from([0, 1, 40, 127]),
    linear=st.sampled_from([0, 300, 2**15 - 1]),
    levels=st.sampled_from([2, 4000, 2**16]),
)
def test_any_networks_that_a_file_can_hold_code_any_levels(
    seed: int, most: int, linear: int, levels: int
) -> None:
    slab = np.random.default_rng(seed).integers(0, levels, (3, 6, 70), np.int32)
    slab[:, 3:] = levels - 1
    networks = _made_up(seed, most, linear)
    data = encode_slab(slab, networks, levels)
    assert (_decoded(data, slab.shape, networks, levels) == slab).all()


def test_the_bytes_of_a_slab_stay_as_they_are() -> None:
    """Files of today are read tomorrow; the networks of a fit may differ between machines, these do not."""
    y, x = np.mgrid[:20, :70]
    slab = np.stack([(y * x // 7 + z * (y ^ x)) % 900 for z in range(3)]).astype(np.int32)
    slab[:, 12:, 20:50] = 5
    data = encode_slab(slab, _made_up(1, 40, 300), 900)
    assert (len(data), zlib.crc32(data)) == (5760, 1839240834)


WIDE = 3, 200, 620  # so that tiles are full

CODES = """
import base64, sys
import numpy as np
from napari_inr_volume.exact.network import from_bytes
from napari_inr_volume.exact.slab import SlabDecoder, encode_slab
slab, *networks = (base64.b64decode(line) for line in sys.stdin)
slab = np.frombuffer(slab, np.int32).reshape(*map(int, sys.argv[1:]))
for each in networks:
    each = from_bytes(each, 16)
    data = encode_slab(slab, each, 4000)
    assert (np.stack(SlabDecoder(data, slab.shape, each, 4000).take(len(slab), 2)) == slab).all()
    print(base64.b64encode(data).decode())
"""


@pytest.mark.parametrize(
    ("processor", "shape"),
    [
        pytest.param({"NUMBA_DISABLE_JIT": "1"}, (3, 8, 9), id="none, without numba"),
        pytest.param({"NUMBA_CPU_NAME": "generic"}, WIDE, id="generic", marks=pytest.mark.slow),
        pytest.param(
            {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"},
            WIDE,
            id="AVX2 only",
            marks=pytest.mark.long,  # as what is compiled for another processor is in no cache at first
        ),
    ],
)
def test_the_bytes_are_the_same_whatever_they_are_compiled_for(
    networks: Any, processor: dict[str, str], shape: tuple[int, int, int]
) -> None:
    if "NUMBA_CPU_FEATURES" in processor and not get_host_cpu_features().get("avx2"):
        pytest.skip("this processor has no AVX2")
    slab = head_phantom(shape, seed=3).astype(np.int32) + 2000
    several = [networks, _made_up(1, 40, 300), _made_up(2, 127, 2**15 - 1)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODES, *map(str, shape)],
        input="\n".join(base64.b64encode(each).decode() for each in (slab, *map(to_bytes, several))),
        env={**os.environ, **processor},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [base64.b64decode(line) for line in done.stdout.split()]
    assert found == [encode_slab(slab, each, 4000) for each in several]


def test_the_bytes_and_voxels_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = Volume.from_array(head_phantom((36, 11, 12)), padding=PADDING)  # three slabs
    found = []
    for threads in (1, 2, 4):
        monkeypatch.setattr(os, "cpu_count", lambda threads=threads: threads)
        layer = drain(encode_exact(volume, 1))
        planes = slices_of(layer, volume).take(range(36))
        assert (np.stack(planes) == decoded(layer, volume)).all()
        found.append((layer.head(), b"".join(layer.data.chunks()), np.stack(planes).tobytes()))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("shape", [(7, 9, 40), (5, 40, 9), (6, 1, 30), (6, 30, 1), (2, 3, 3)])
@pytest.mark.parametrize("waves", [1, 5])
def test_threads_that_follow_one_another_closely_find_the_same_levels(
    monkeypatch: pytest.MonkeyPatch, networks: Any, shape: tuple[int, int, int], waves: int
) -> None:
    monkeypatch.setattr(slab, "WAVES_AT_ONCE", waves)
    levels = np.random.default_rng(8).integers(0, 900, shape, np.int32)
    levels[:, :, :2] = 5
    one = encode_slab(levels, networks, 900)
    for threads in (2, 3, 8):
        assert encode_slab(levels, networks, 900, threads=threads) == one
        assert (_decoded(one, shape, networks, 900, threads) == levels).all()


def test_slices_are_taken_a_few_at_a_time(networks: Any) -> None:
    levels = head_phantom((7, 14, 15)).astype(np.int32) + 2000
    decoder = SlabDecoder(encode_slab(levels, networks, 4000), levels.shape, networks, 4000)
    assert (np.stack([*decoder.take(2, 2), *decoder.take(1, 2), *decoder.take(4, 3)]) == levels).all()


def test_slices_up_to_one_that_is_damaged_can_be_read(networks: Any) -> None:
    """What comes after a slice is not decoded with it."""
    layer = layer_of(PHANTOM, 0, networks, depth=5)
    data = bytearray(b"".join(layer.data.chunks()))
    data[-1] ^= 1  # of the last slice
    damaged = Slab(0, len(data), zlib.crc32(data), layer.slabs[0].decoded_crc)
    slices = slices_of(replace(layer, slabs=(damaged,), data=Slabs(bytes(data), 0, len(data))), PHANTOM)
    assert (slices.take([3])[0] == PHANTOM.voxels[3]).all()
    with pytest.raises(InrFileError, match="damaged"):
        slices.take([4])


def test_a_damaged_slice_holds_no_thread_up(networks: Any) -> None:
    levels = head_phantom((6, 14, 15)).astype(np.int32) + 2000
    data = bytearray(encode_slab(levels, networks, 4000))
    data[6 * 4 + 20] ^= 1  # of the first slice's words
    with pytest.raises(InrFileError, match="damaged"):
        _decoded(bytes(data), levels.shape, networks, 4000, threads=4)


def test_a_slab_that_nobody_wants_any_more_has_no_bytes(networks: Any) -> None:
    gone = threading.Event()
    gone.set()
    assert encode_slab(np.zeros((3, 5, 6), np.int32), networks, 2, gone, threads=2) == b""


def test_slices_come_in_any_order_and_read_only(networks: Any) -> None:
    layer = layer_of(PHANTOM, 0, networks)
    slices = slices_of(layer, PHANTOM)
    order = [4, 0, 3, 3, 1, 2, 0]
    for z, plane in zip(order, slices.take(order), strict=True):
        assert (plane == PHANTOM.voxels[z]).all()
        assert not plane.flags.writeable
    errors: list[BaseException] = []

    def take(z: int) -> None:
        try:
            assert (slices.take([z])[0] == PHANTOM.voxels[z]).all()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=take, args=(z,)) for z in order * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def _layers(networks: Any) -> list[tuple[Volume, ExactLayer]]:
    return [(volume, layer_of(volume, 0, networks)) for volume in (PHANTOM, PLAIN)]


def test_a_damaged_slab_is_refused_and_costs_no_other(networks: Any) -> None:
    random = np.random.default_rng(4)
    for volume, layer in _layers(networks):
        whole = b"".join(layer.data.chunks())
        for _ in range(20):
            data = bytearray(whole)
            at = int(random.integers(len(data)))
            data[at] ^= int(random.integers(1, 256))
            damaged = replace(layer, data=Slabs(bytes(data), 0, len(data)))
            hit = next(n for n, slab in enumerate(layer.slabs) if at < slab.start + slab.length)
            slices = slices_of(damaged, volume)
            for z, plane in slices.all():
                if z // layer.depth == hit:
                    assert isinstance(plane, InrFileError)
                    with pytest.raises(InrFileError, match="damaged"):
                        slices.take([z])
                else:
                    assert not isinstance(plane, InrFileError)
                    assert (plane == volume.voxels[z]).all()
                    assert (slices.take([z])[0] == plane).all()


def test_slabs_that_end_early_are_refused(networks: Any) -> None:
    for volume, layer in _layers(networks):
        cut = replace(layer, data=Slabs(b"".join(layer.data.chunks())[:-1], 0, layer.data.length))
        slices = slices_of(cut, volume)
        assert (slices.take([0])[0] == volume.voxels[0]).all()
        with pytest.raises(InrFileError):
            slices.take([volume.shape[0] - 1])


def test_slabs_whose_checksum_was_made_to_match_end_in_an_error_or_in_levels(networks: Any) -> None:
    random = np.random.default_rng(5)
    levels = head_phantom((2, 14, 15)).astype(np.int32) + 2000
    whole = encode_slab(levels, networks, 4000)
    refused = 0
    for turn in range(150):
        data = bytearray(whole)
        if turn % 3 == 0:
            data = bytearray(random.bytes(int(random.integers(1, 400))))
        elif turn % 3 == 1:
            del data[int(random.integers(len(data))) :]
        else:
            data[int(random.integers(len(data)))] ^= int(random.integers(1, 256))
        try:
            for plane in _decoded(bytes(data), levels.shape, networks, 4000):
                assert 0 <= plane.min() <= plane.max() < 4000
        except InrFileError:
            refused += 1
    assert refused > 140  # a change may lead to other levels, which the layer's second checksum finds


def test_levels_that_decode_to_others_than_were_coded_are_refused(networks: Any) -> None:
    for volume, layer in _layers(networks):
        first, *others = layer.slabs
        changed = replace(layer, slabs=(replace(first, decoded_crc=first.decoded_crc ^ 1), *others))
        with pytest.raises(InrFileError, match="other voxels"):
            slices_of(changed, volume).take([0, 1])
        assert (slices_of(changed, volume).take([2])[0] == volume.voxels[2]).all()


def test_a_slab_that_unpacks_to_more_is_refused_without_the_memory() -> None:
    bomb = encode_plain(np.zeros((1, 1, 50_000_000), np.uint8))
    layer = ExactLayer(
        max_error=0,
        depth=2,
        features=0,
        lattice=None,
        networks=b"",
        slabs=(Slab(0, len(bomb), zlib.crc32(bomb), 0),),
        data=Slabs(bomb, 0, len(bomb)),
    )
    tracemalloc.start()
    try:
        with pytest.raises(InrFileError, match="damaged"):
            ExactSlices(layer, (2, 5, 6), np.dtype(np.int16), None).take([0])
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_a_head_comes_back(networks: Any) -> None:
    for volume, layer in _layers(networks):
        back = from_head(layer.head(), layer.data, volume.shape, volume.padding is not None)
        assert back.head() == layer.head()
        assert back.slabs == layer.slabs
        assert back.lattice == layer.lattice
        assert back.nbytes == len(back.head()) + back.data.length
        assert (decoded(back, volume) == volume.voxels).all()


@pytest.mark.parametrize(("version", "advice"), [(1, "compress the volume again"), (3, "update napari")])
def test_a_layer_of_another_version_is_refused(networks: Any, version: int, advice: str) -> None:
    layer = layer_of(PHANTOM, 0, networks)
    head = bytes([version]) + layer.head()[1:]
    with pytest.raises(InrFileError, match=f"version {version}, this version reads 2; {advice}"):
        from_head(head, layer.data, PHANTOM.shape, True)


def _changed(head: bytes, random: np.random.Generator) -> bytes:
    data = bytearray(head)
    kind = random.integers(4)
    if kind == 0:
        del data[int(random.integers(len(data))) :]
    elif kind == 1:
        data += random.bytes(int(random.integers(1, 40)))
    else:  # mostly among the numbers, which take few of the bytes
        end = HEAD.size if kind == 2 else len(data)
        for _ in range(random.integers(1, 4)):
            data[int(random.integers(end))] = int(random.choice([0, 1, 127, 255, random.integers(256)]))
    return bytes(data)


def test_changed_heads_are_refused_or_read_and_never_end_otherwise(networks: Any) -> None:
    """A head has no checksum of its own; the section of the file that it lies in has one."""
    random = np.random.default_rng(6)
    cases = _layers(networks)
    refused = 0
    tracemalloc.start()
    try:
        for turn in range(400):
            volume, layer = cases[turn % 2]
            head = _changed(layer.head(), random)
            try:
                back = from_head(head, layer.data, volume.shape, volume.padding is not None)
            except InrFileError:
                refused += 1
                continue
            assert back.head() == head or not back.features
            for _, plane in slices_of(back, volume).all():
                if not isinstance(plane, InrFileError):
                    assert plane.shape == volume.shape[1:]
                    assert plane.dtype == volume.dtype
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()
    assert refused > 200


@pytest.mark.parametrize("after", [1, 3])
def test_closing_it_early_ends_the_encoding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, after: int
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(threading.enumerate())
    work = encode_exact(Volume.from_array(np.random.default_rng(7).normal(size=(80, 6, 7))))
    for _ in range(after):
        assert isinstance(next(work), Coding)
    work.close()
    assert set(threading.enumerate()) <= before
    assert not list(tmp_path.iterdir())
    assert not _open_in(tmp_path)


def test_closing_it_while_the_networks_are_fitted_ends_it() -> None:
    before = set(threading.enumerate())
    work = encode_exact(Volume.from_array(head_phantom((5, 29, 31)), padding=PADDING))
    assert next(work).step == 1
    work.close()
    assert set(threading.enumerate()) <= before


def test_a_layer_that_is_dropped_closes_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    layer = drain(encode_exact(PLAIN))
    assert (decoded(layer, PLAIN) == PLAIN.voxels).all()
    del layer
    assert not _open_in(tmp_path)


def _open_in(folder: Path) -> list[str]:
    """Return this process's open files in a folder, nameless ones too, where the system lists them."""
    handles = Path("/proc/self/fd")
    found = []
    for handle in handles.iterdir() if handles.is_dir() else ():
        try:
            found.append(str(handle.readlink()))
        except OSError:  # that of the listing itself
            continue
    return [each for each in found if each.startswith(str(folder))]


def test_no_room_for_the_layer_is_told_with_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = Volume.from_array(np.random.default_rng(0).normal(size=(2, 4, 4)))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(InrError, match=r"gone.*free some space"):
        drain(encode_exact(volume))


def _begin(volume: Volume, path: Path) -> None:
    """Code a volume into a file, and stop after the second slab."""
    making = encode_exact(volume, 0, path)
    for record in making:
        if isinstance(record, Coding) and record.done >= 32:
            break
    making.close()


@dataclass(frozen=True)
class Begun:
    """A volume, its layer, and what a file holds of that after two of four slabs."""

    volume: Volume
    layer: ExactLayer
    kept: bytes


@pytest.fixture(scope="module", params=["networks", "plain"])
def begun(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Begun:
    if request.param == "networks":
        volume = Volume.from_array(head_phantom((50, 12, 13)))
    else:
        volume = Volume.from_array(np.random.default_rng(5).normal(size=(50, 6, 7)))
    path = tmp_path_factory.mktemp("begun") / "kept"
    _begin(volume, path)
    return Begun(volume, drain(encode_exact(volume)), path.read_bytes())


def test_a_layer_that_was_interrupted_is_resumed(begun: Begun, tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(begun.kept)
    records = []
    resumed = drain(encode_exact(begun.volume, 0, path), records.append)
    done = [record.done for record in records]
    assert (min(done) >= 32, done[-1]) == (True, 50)  # the slices that were kept, and nothing is learnt again
    assert resumed == begun.layer
    assert b"".join(resumed.data.chunks()) == b"".join(begun.layer.data.chunks())


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "head"])
def test_of_a_damaged_kept_layer_what_is_whole_is_used(begun: Begun, tmp_path: Path, damage: str) -> None:
    path, data = tmp_path / "kept", bytearray(begun.kept)
    if damage == "changed":
        data[-1] ^= 1
    left = {"cut": data[:-5], "changed": data, "empty": b"", "head": data[:60]}
    path.write_bytes(left[damage])
    assert drain(encode_exact(begun.volume, 0, path)) == begun.layer


def test_a_file_of_another_kind_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"a letter to a friend")
    with pytest.raises(InrError, match="is not an unfinished exact layer"):
        drain(encode_exact(PLAIN, 0, path))
    assert path.read_bytes() == b"a letter to a friend"


@pytest.mark.parametrize("other", ["voxels", "bound", "range"])
def test_a_kept_layer_of_another_volume_is_refused_and_stays(
    begun: Begun, tmp_path: Path, other: str
) -> None:
    path = tmp_path / "kept"
    path.write_bytes(begun.kept)
    voxels = begun.volume.voxels
    changed = voxels[::-1].copy() if other == "voxels" else voxels.copy()
    if other == "range":
        changed = changed.astype(np.int32)
        changed[0, 0, 0] = 2**20
    with pytest.raises(FitError, match="kept holds the exact layer of another volume"):
        drain(encode_exact(Volume.from_array(changed), 2 if other == "bound" else 0, path))
    assert path.read_bytes() == begun.kept
