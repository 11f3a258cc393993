"""Fixtures of the plugin's tests: small volumes, an `.inr` without a fit, napari without other plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import npe2
import pytest
import torch
from napari.components import ViewerModel
from npe2 import PluginManager, PluginManifest

import napari_inr_volume
from napari_inr_volume.coding.weights import encode_fp16
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Geometry, Triple, Volume
from napari_inr_volume.fields.siren.config import SirenConfig
from napari_inr_volume.fields.siren.network import Siren
from napari_inr_volume.inr_volume import FitRecord, InrVolume, Quality, UpscalerRef
from napari_inr_volume.io.inr_file import write_inr
from napari_inr_volume.plugin.job import Job
from napari_inr_volume.superres.model_file import save_weights
from napari_inr_volume.superres.srdensenet import SRDenseNet

MANIFEST = Path(napari_inr_volume.__file__).parent / "napari.yaml"
QUALITY = Quality(lr_psnr=41.24, hr_psnr=37.86, lanczos_psnr=36.5, rmse=52.0, p99=212.5, max_error=1500.0)

MakeInr = Callable[..., InrVolume]


@pytest.fixture(scope="session")
def volume() -> Volume:
    """A phantom that is small enough to be fitted in a moment."""
    return head_phantom((16, 64, 64))


@pytest.fixture
def job(qtbot: Any) -> Iterator[Job]:
    """A job whose work ends with the test."""
    job = Job()
    yield job
    job.drop()
    qtbot.waitUntil(lambda: not job.running)


@pytest.fixture
def make_inr() -> MakeInr:
    """Make an `InrVolume` of random weights: noise, but all that a layer needs to know."""

    def make(
        shape: tuple[int, int, int] = (9, 30, 37),
        factor: Triple = (1.0, 4.0, 4.0),
        upscaler: UpscalerRef = UpscalerRef(),  # noqa: B008  # frozen
        quality: Quality | None = QUALITY,
        seed: int = 0,
    ) -> InrVolume:
        siren = SirenConfig(layers=2, hidden_features=8)
        return InrVolume(
            field=siren,
            coding="fp16",
            payload=encode_fp16(Siren(siren, seed).weights(), siren.layouts),
            geometry=Geometry(shape=shape, spacing=(2.5, 0.75, 0.5), origin=(-10.0, 20.5, 30.25)),
            factor=factor,
            intensity_range=(-1024.0, 3071.0),
            units="HU",
            dtype="int16",
            padding=-2000.0,
            source_bytes=2 * shape[0] * shape[1] * shape[2],
            upscaler=upscaler,
            fit=FitRecord(preset="default", steps=1, seed=seed),
            quality=quality,
            software="napari-inr-volume 0.1.0",
        )

    return make


@pytest.fixture
def inr_path(make_inr: MakeInr, tmp_path: Path) -> Path:
    """An `.inr` file."""
    path = tmp_path / "head.inr"
    write_inr(make_inr(), path)
    return path


@pytest.fixture
def sr_inr_path(make_inr: MakeInr, tmp_path: Path) -> Path:
    """An `.inr` file with its super-resolution model embedded: a network of random weights."""
    network = SRDenseNet()
    for parameter in network.parameters():  # fresh, it adds nothing to Lanczos
        torch.nn.init.normal_(parameter, std=0.05, generator=torch.Generator().manual_seed(0))
    weights = tmp_path / "weights.safetensors"
    info = save_weights(weights, network, training="none: random weights of a test")
    path = tmp_path / "sr.inr"
    inr = make_inr(upscaler=UpscalerRef(name="srdensenet", sha256=info.sha256))
    write_inr(inr, path, model=weights.read_bytes())
    return path


@pytest.fixture
def plugins(npe2pm: npe2.PluginManager) -> PluginManager:
    """npe2's plugin manager, with this plugin and no other."""
    npe2pm.register(PluginManifest.from_file(MANIFEST))
    return npe2pm


@pytest.fixture
def viewer(plugins: PluginManager) -> ViewerModel:
    """A viewer without a window."""
    return ViewerModel()
