"""The weights that fits of the context networks start from."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from safetensors.torch import load_file

from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.exact import model
from napari_inr_volume.exact.contexts import FIRST, LATER
from napari_inr_volume.exact.encode import WIDTHS
from napari_inr_volume.exact.learn import ContextFit, gather
from napari_inr_volume.exact.model import SHIPPED, start

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import train_start

FEATURES = [features for _, features in WIDTHS]


@pytest.mark.parametrize("contexts", [FIRST, LATER], ids=lambda contexts: contexts.name)
def test_shipped_weights_spend_fewer_bits_than_random_ones(monkeypatch, contexts):
    voxels = head_phantom((8, 64, 64)).read().astype(np.int32)
    levels = voxels - voxels.min()
    crops = gather(lambda region: levels[region], levels.shape, 8)
    samples = ContextFit(crops, contexts, start(contexts, FEATURES[0])).sample(1000)
    for features in FEATURES:
        bits = {}
        for share in (0.0, 1.0):
            monkeypatch.setattr(model, "SHARE", share)
            bits[share] = start(contexts, features).bits(*samples).item()
        assert bits[1.0] < 0.98 * bits[0.0]


def test_a_start_draws_no_random_numbers():
    before = torch.random.get_rng_state()
    start(LATER, FEATURES[0])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_script_trains_what_ships(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "head.tif", head_phantom((8, 32, 32)).read())
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
