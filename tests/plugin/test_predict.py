"""What a fit is predicted to cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from napari_inr_volume import compress
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.fields.registry import find_preset
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import SirenConfig
from napari_inr_volume.io.inr_file import to_bytes
from napari_inr_volume.io.inr_size import predicted_bytes
from napari_inr_volume.plugin import predict


@pytest.mark.parametrize("hidden", [8, 64])
@pytest.mark.parametrize("upscaler", ["lanczos", "span"])
def test_predicted_size_is_that_of_the_file_to_within_2_percent(
    hidden: int, upscaler: str, shipped: Path, make_weights
) -> None:
    make_weights(shipped / "span-x4.safetensors")
    volume = head_phantom((8, 32, 32))
    short = replace(find_preset("default").fit, steps=5, tuning_steps=2, batch=512)
    settings = Settings(field=SirenConfig(layers=3, hidden_features=hidden), fit=short)
    file = to_bytes(compress(volume, settings, device="cpu", upscaler=upscaler))
    predicted = predicted_bytes(volume, settings, upscaler)
    assert predicted == pytest.approx(len(file), rel=0.02, abs=80)  # figures are predicted at their longest
    assert predicted >= len(file)


def test_speed_depends_on_network_batch_and_device_not_on_steps_or_seed() -> None:
    settings = find_preset("default")
    same = replace(settings, fit=replace(settings.fit, steps=3, seed=9, target_psnr=40.0))
    other = replace(settings, fit=replace(settings.fit, batch=99))
    assert predict.speed_key(same, "cpu") == predict.speed_key(settings, "cpu")
    assert predict.speed_key(other, "cpu") != predict.speed_key(settings, "cpu")
    assert predict.speed_key(settings, "cuda") != predict.speed_key(settings, "cpu")


def test_following_the_psnr_is_counted_as_the_fit_does_it() -> None:
    volume = head_phantom((8, 32, 32))
    settings = find_preset("default")
    assert predict.predicted_steps(volume, settings) > settings.fit.steps


def test_memory_grows_with_the_volume() -> None:
    small, large = head_phantom((8, 32, 32)), head_phantom((16, 64, 64))
    settings = find_preset("default")
    more = predict.predicted_memory(large, settings) - predict.predicted_memory(small, settings)
    assert more > large.voxels.nbytes


@pytest.mark.slow
def test_a_file_of_three_layers_as_the_paper_s_takes_at_most_26_kb(shipped: Path, make_weights) -> None:
    make_weights(shipped / "srdensenet-x4.safetensors", "srdensenet")
    volume, paper = head_phantom((40, 32, 32)), find_preset("paper-3")
    assert predicted_bytes(volume, paper, "srdensenet") <= 26_000
    few = replace(paper, fit=replace(paper.fit, steps=5, batch=512, tuning_steps=2))
    assert len(to_bytes(compress(volume, few, device="cpu", upscaler="srdensenet"))) <= 26_000
