"""Other codecs at the same bytes: found honestly, and told plainly whoever is better."""

from __future__ import annotations

from dataclasses import replace
from threading import Event

import numpy as np
import pytest
from napari.layers import Image

from napari_inr_volume import compress
from napari_inr_volume.core.errors import VolumeError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.inr_volume import InrVolume
from napari_inr_volume.io.inr_file import to_bytes
from napari_inr_volume.plugin.job import Cancelled, Control, Done
from napari_inr_volume.plugin.layers import original_layer
from napari_inr_volume.plugin.work.rivals import OURS, Rival, compare, verdict

VOLUME = head_phantom((8, 64, 64))


@pytest.fixture(scope="module")
def inr() -> InrVolume:
    settings = Settings(
        field=SirenConfig(layers=2, hidden_features=64),
        fit=FitConfig(steps=100, batch=512, learning_rate=3e-3),
    )
    return compress(VOLUME, settings, device="cpu", upscaler="lanczos")


@pytest.fixture
def layer() -> Image:
    data, arguments, _ = original_layer(VOLUME, "head")
    return Image(data, **arguments)


def rival(label: str, psnr: float, **changes: object) -> Rival:
    return replace(Rival(label=label, voxels=np.zeros(1), size=1, psnr=psnr), **changes)


def run(layer: Image, inr: InrVolume, names: list[str], slices: slice = slice(None)) -> tuple[list, object]:
    control, told = Control(), []
    control.report = told.append
    return told, compare(control, layer, inr, None, None, "cpu", names, slices)


def test_each_codec_keeps_within_the_bytes_or_says_that_it_cannot(layer: Image, inr: InrVolume) -> None:
    told, found = run(layer, inr, ["jpeg2000", "jpegls"])
    size = len(to_bytes(inr))
    assert found.ours.size == size
    assert found.ours.psnr == pytest.approx(inr.quality.hr_psnr)
    for one in found.rivals:
        assert one.fits == (one.size <= size)
        assert one.voxels.shape == VOLUME.shape
        assert (one.size, one.psnr) in one.points
    assert [one.label for one in told if isinstance(one, Rival)] == [
        OURS,
        "JPEG 2000",
        "JPEG-LS near-lossless",
    ]
    steps = [one.done for one in told if isinstance(one, Done)]
    assert steps == sorted(steps)


def test_some_slices_have_their_share_of_the_bytes(layer: Image, inr: InrVolume) -> None:
    _, found = run(layer, inr, ["jpeg2000"], slice(2, 4))
    assert found.start == 2
    assert found.ours.size == len(to_bytes(inr)) // 4
    assert found.rivals[0].voxels.shape == (2, 64, 64)
    assert found.source_bytes == VOLUME.source_bytes // 4


def test_an_original_of_another_shape_is_refused(inr: InrVolume) -> None:
    data, arguments, _ = original_layer(head_phantom((8, 32, 32)), "other")
    with pytest.raises(VolumeError, match="choose the layer that it was made from"):
        run(Image(data, **arguments), inr, [])


def test_dropped_work_ends_at_once(layer: Image, inr: InrVolume) -> None:
    control = Control()
    control.drop = Event()
    control.drop.set()
    with pytest.raises(Cancelled):
        compare(control, layer, inr, None, None, "cpu", ["jpegls"], slice(None))


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([rival("HEVC", 38.0), rival("SZ3", 30.0)], "better here: HEVC by 2.0 dB"),
        ([rival("HEVC", 38.0), rival("SZ3", 37.0)], "HEVC by 2.0 dB, SZ3 by 1.0 dB."),
        ([rival("HEVC", 33.0), rival("SZ3", 30.0)], "ahead of HEVC, the nearest codec, by 3.0 dB"),
        ([rival("HEVC", 36.02)], "the INR and HEVC are even."),
        ([rival("SZ3", 50.0, fits=False)], "Cannot reach this size: SZ3;"),
        ([rival("SZ3", 0.0, failed="SZ3 failed at quality 3")], "SZ3 failed at quality 3."),
    ],
)
def test_the_verdict_names_whoever_is_better(others: list[Rival], expected: str) -> None:
    assert expected in verdict(rival(OURS, 36.0), others)


def test_a_codec_that_takes_more_bytes_is_not_called_better() -> None:
    assert "better" not in verdict(rival(OURS, 36.0), [rival("SZ3", 50.0, fits=False)])
