"""Volumes, .inr files and weights that tests of several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import QUICK, in_this_process

from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.superres.model_file import ModelInfo

MakeWeights = Callable[..., ModelInfo]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "head.npy"
    np.save(path, head_phantom((8, 48, 48)).voxels)
    return path


@pytest.fixture(scope="session")
def compressed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inr") / "head.inr"
    assert in_this_process("compress", source, path, *QUICK, "--upscaler", "lanczos") == 0
    return path


@pytest.fixture(scope="session")
def own(make_weights: MakeWeights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a person's own, as `train-sr` makes them."""
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    make_weights(path, "span", seed=1)
    return path


@pytest.fixture(scope="session")
def other(make_weights: MakeWeights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other weights, of another network."""
    path = tmp_path_factory.mktemp("weights") / "other.safetensors"
    make_weights(path, "srdensenet", seed=2)
    return path


@pytest.fixture(scope="session")
def by_own(source: Path, own: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .inr whose upscaler has the own weights."""
    path = tmp_path_factory.mktemp("inr") / "own.inr"
    assert in_this_process("compress", source, path, *QUICK, "--upscaler", own) == 0
    return path
