"""Other codecs at the bound of an exact layer: found honestly, and told plainly whoever is better."""

from __future__ import annotations

from dataclasses import replace
from threading import Event

import numpy as np
import pytest
from napari.layers import Image

from napari_inr_volume import compress
from napari_inr_volume.classical.by_bound import Bounded
from napari_inr_volume.core.errors import VolumeError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.inr_volume import InrVolume
from napari_inr_volume.io.inr_file import packed_size
from napari_inr_volume.plugin.job import Cancelled, Control, Done
from napari_inr_volume.plugin.layers import original_layer
from napari_inr_volume.plugin.work.bounded import OURS, ComparedAtBound, compare_at_bound, verdict

pytestmark = pytest.mark.slow

VOLUME = head_phantom((20, 48, 48))
SMALL = Settings(
    field=SirenConfig(layers=2, hidden_features=32),
    fit=FitConfig(steps=20, batch=512, learning_rate=3e-3),
)


@pytest.fixture(scope="module")
def inr() -> InrVolume:
    return compress(VOLUME, SMALL, device="cpu", upscaler="lanczos", max_error=2)


def layer_of(volume=VOLUME) -> Image:
    data, arguments, _ = original_layer(volume, "head")
    return Image(data, **arguments)


def run(inr: InrVolume, names: list[str], slices: slice = slice(None), layer: Image | None = None):
    control, told = Control(), []
    control.report = told.append
    return told, compare_at_bound(control, layer or layer_of(), inr, "cpu", names, slices)


def test_all_keep_the_bound_and_ours_takes_the_bytes_of_its_layer(inr: InrVolume) -> None:
    told, found = run(inr, ["jpegls", "jpegxl", "jpegxl-z"])
    assert found.ours.size == inr.exact.nbytes
    assert found.ours.max_error == 2
    assert found.preview_bytes == packed_size(replace(inr, exact=None))
    assert [one.label for one in told if isinstance(one, Bounded)] == [
        OURS,
        "JPEG-LS",
        "JPEG XL",
        "JPEG XL of z-differences",
    ]
    assert all(0 < rival.max_error <= 2 for rival in found.rivals)
    steps = [one.done / one.total for one in told if isinstance(one, Done)]
    assert steps == sorted(steps)
    assert steps[-1] == 1


def test_slabs_are_compared_whole(inr: InrVolume) -> None:
    _, found = run(inr, ["jpegls"], slice(17, 18))
    assert found.slices == range(16, 20)
    assert found.voxels == 4 * 48 * 48
    head = len(inr.exact.head()) * 4 // 20
    assert found.ours.size == head + inr.exact.slabs[1].length
    assert found.source_bytes == VOLUME.source_bytes * 4 // 20


def test_another_volume_than_the_original_is_refused(inr: InrVolume) -> None:
    other = replace(VOLUME, voxels=VOLUME.voxels + np.int16(7))
    with pytest.raises(VolumeError, match="choose the original"):
        run(inr, ["jpegls"], layer=layer_of(other))
    with pytest.raises(VolumeError, match="choose the layer that it was made from"):
        run(inr, ["jpegls"], layer=layer_of(head_phantom((8, 32, 32))))


def test_dropped_work_ends_at_once(inr: InrVolume) -> None:
    control = Control()
    control.drop = Event()
    control.drop.set()
    with pytest.raises(Cancelled):
        compare_at_bound(control, layer_of(), inr, "cpu", ["jpegls"], slice(None))


def compared(**sizes: int) -> ComparedAtBound:
    each = [
        Bounded(label=label, setting="", size=size, max_error=2, encode_seconds=0, decode_seconds=0)
        for label, size in sizes.items()
    ]
    return ComparedAtBound(
        slices=range(4),
        voxels=100,
        source_bytes=200,
        preview_bytes=31_000,
        ours=each[0],
        rivals=tuple(each[1:]),
        failed=("HEVC failed",) if len(each) == 1 else (),
    )


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"ours": 900, "JXL": 1000, "JLS": 1100}, "takes 10.0% fewer bytes than JXL, the nearest codec."),
        ({"ours": 1000, "JXL": 900, "JLS": 1100}, "other codecs take fewer bytes here: JXL by 10.0%."),
        ({"ours": 1000, "JXL": 1002}, "the exact layer and JXL are even."),
        ({"ours": 1000}, "The preview takes another 31.0 kB. HEVC failed."),
    ],
)
def test_the_verdict_names_whoever_takes_fewer_bytes(sizes: dict[str, int], expected: str) -> None:
    found = verdict(compared(**sizes), "within ±2 HU")
    assert expected in found
    assert ("within ±2 HU" in found) == (len(sizes) > 1)
