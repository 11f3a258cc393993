"""The weights that fits of the context networks start from."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from safetensors.torch import load_file

from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.exact.contexts import FIRST, LATER
from napari_inr_volume.exact.encode import WIDTHS
from napari_inr_volume.exact.learn import ContextFit, gather
from napari_inr_volume.exact.model import SHIPPED, ContextModel, shipped

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import train_start

FEATURES = [features for _, features in WIDTHS]


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("contexts", [FIRST, LATER], ids=lambda contexts: contexts.name)
def test_a_start_spends_fewer_bits_than_nothing_learnt(contexts, features):
    voxels = head_phantom((12, 96, 96)).read().astype(np.int32)
    levels = voxels - voxels.min()
    crops = gather(lambda region: levels[region], levels.shape, 16)
    torch.manual_seed(0)
    fresh, start = ContextModel(contexts, features), shipped(contexts, features)
    samples = ContextFit(crops, contexts, fresh).sample(2000)
    assert start.bits(*samples).item() < 0.97 * fresh.bits(*samples).item()


def test_a_start_draws_no_random_numbers():
    before = torch.random.get_rng_state()
    shipped(LATER, FEATURES[0])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_script_trains_what_ships(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "head.tif", head_phantom((5, 32, 32)).read())
    output = tmp_path / "start.safetensors"
    monkeypatch.setattr(train_start, "BATCH", 64)
    monkeypatch.setattr(train_start, "AT_ONCE", 2)
    monkeypatch.setattr(train_start, "STEPS_A_CHANGE", 2)
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path), "--steps", "3", "3", "--output", str(output)])
    train_start.main()
    made, ships = load_file(output), load_file(SHIPPED)
    assert {key: tensor.shape for key, tensor in made.items()} == {
        key: tensor.shape for key, tensor in ships.items()
    }
