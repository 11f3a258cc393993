"""What every registered network must do: begin as Lanczos, see as far as it says, learn, be saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_inr_volume.superres import upscale
from napari_inr_volume.superres.catalogue import TITLES
from napari_inr_volume.superres.factors import FACTORS
from napari_inr_volume.superres.model_file import NETWORKS, load_weights, save_weights
from napari_inr_volume.superres.network import Network
from napari_inr_volume.superres.upscale import LanczosUpscaler, NetworkUpscaler

CPU = torch.device("cpu")
TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-2}  # as NetworkUpscaler states it

pytestmark = [pytest.mark.parametrize("architecture", NETWORKS), pytest.mark.slow]
MakeNetwork = Callable[..., Network]


@pytest.fixture(params=TOLERANCE)
def precision(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let networks be applied in this precision, which a processor may or may not have in hardware."""
    monkeypatch.setattr(upscale, "has_fast_bfloat16", lambda device: request.param == "bfloat16")
    return str(request.param)


def random_lr(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def test_it_is_known_by_its_name_and_has_a_title(architecture: str) -> None:
    assert NETWORKS[architecture].architecture == architecture
    assert architecture in TITLES  # menus know it without torch


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("factor", FACTORS)
def test_fresh_it_gives_exactly_lanczos(architecture: str, factor: int) -> None:
    lr, shape = random_lr(2, 6, 7), (6 * factor - 1, 7 * factor)
    hr = NetworkUpscaler(NETWORKS[architecture](factor), CPU)(lr, shape)
    np.testing.assert_array_equal(hr, LanczosUpscaler((factor, factor))(lr, shape))


@pytest.mark.parametrize("factor", FACTORS)
def test_output_is_its_factor_times_the_input_on_both_axes(
    architecture: str, factor: int, make_network: MakeNetwork
) -> None:
    network = make_network(architecture, factor=factor)
    assert network(torch.rand(2, 1, 5, 7)).shape == (2, 1, 5 * factor, 7 * factor)


def test_features_see_exactly_as_far_as_their_reach(architecture: str, make_network: MakeNetwork) -> None:
    network = make_network(architecture).double()
    reach = network.feature_reach
    lr = torch.rand(1, 1, 1, 2 * reach + 5, dtype=torch.float64, requires_grad=True)
    network.features(lr)[..., reach + 2].sum().backward()
    assert lr.grad is not None
    seen = (lr.grad != 0).flatten()
    assert seen.tolist() == [False] * 2 + [True] * (2 * reach + 1) + [False] * 2


@pytest.mark.parametrize("factor", FACTORS)
def test_restored_voxels_see_features_within_their_reach(
    architecture: str, factor: int, make_network: MakeNetwork
) -> None:
    network = make_network(architecture, factor=factor).double()
    middle, reach = network.restore_reach + 2, network.restore_reach
    maps = network.features(torch.rand(1, 1, 1, 2 * middle + 1, dtype=torch.float64))
    maps = maps.detach().requires_grad_()
    network.restore(maps)[..., factor * middle : factor * (middle + 1)].sum().backward()
    assert maps.grad is not None
    seen = maps.grad.abs().sum(dim=(0, 1, 2)).nonzero().flatten()
    assert middle in seen
    assert middle - reach <= seen.min() <= seen.max() <= middle + reach


def test_from_its_second_step_on_training_reaches_every_layer(architecture: str) -> None:
    torch.manual_seed(2)
    network = NETWORKS[architecture]()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-2)
    lr, target = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 32, 32)
    for _ in range(2):
        optimiser.zero_grad()
        (network(lr) - target).square().mean().backward()
        optimiser.step()
    for name, tensor in network.named_parameters():
        assert tensor.grad is not None, f"{name} is not connected"
        assert tensor.grad.abs().max() > 0, f"{name} is not trained"


@pytest.mark.parametrize("factor", FACTORS)
def test_weights_come_back_as_they_were_saved(
    architecture: str, factor: int, make_network: MakeNetwork, tmp_path: Path
) -> None:
    network, path = make_network(architecture, factor=factor), tmp_path / "own.safetensors"
    saved = save_weights(path, network, training="two chests", half=False)
    loaded, info = load_weights(path)
    assert info == saved
    assert (info.architecture, info.training, info.data) == (architecture, "two chests", path.read_bytes())
    assert (type(loaded), loaded.factor, info.factor) == (type(network), factor, factor)
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


# As an upscaler


def added(
    network: Network, lr: NDArray[np.float32], shape: tuple[int, int], **how: int
) -> NDArray[np.float32]:
    """Return what the network adds to Lanczos, as a share of the most that it adds."""
    lanczos = LanczosUpscaler((network.factor, network.factor))
    restored = NetworkUpscaler(network, CPU, **how)(lr, shape) - lanczos(lr, shape)
    share: NDArray[np.float32] = restored / np.abs(restored).max()
    return share


def test_it_adds_its_output_to_lanczos(architecture: str, precision: str, make_network: MakeNetwork) -> None:
    network, lr = make_network(architecture), random_lr(2, 6, 7)
    difference = NetworkUpscaler(network, CPU)(lr, (22, 27)) - LanczosUpscaler((4.0, 4.0))(lr, (22, 27))
    with torch.inference_mode():
        expected = network(torch.from_numpy(lr)[:, None])[:, 0, :22, :27].numpy()
    most = np.abs(expected).max()
    assert most > 0.05
    # Weights and maps in bfloat16 have 8 bits: each layer rounds by up to 0.4 %.
    tolerance = 1e-5 if precision == "float32" else 0.05 * most
    np.testing.assert_allclose(difference, expected, rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32"], indirect=True)
@pytest.mark.parametrize("shape", [(3, 150), (150, 3), (40, 44)], ids=["wide", "high", "square"])
@pytest.mark.parametrize("factor", FACTORS)
def test_tile_size_moves_no_voxel_beyond_the_tolerance(
    architecture: str, precision: str, factor: int, make_network: MakeNetwork, shape: tuple[int, int]
) -> None:
    network, lr = make_network(architecture, factor=factor), random_lr(1, *shape)
    hr_shape = (factor * shape[0] - 1, factor * shape[1] - factor + 1)
    whole = added(network, lr, hr_shape, tile=150)
    for tile in (37, 16):
        tiled = added(network, lr, hr_shape, tile=tile)
        np.testing.assert_allclose(tiled, whole, rtol=0, atol=TOLERANCE[precision])


@pytest.mark.parametrize("precision", ["bfloat16"], indirect=True)
@pytest.mark.parametrize("factor", FACTORS)
def test_tile_size_moves_no_voxel_beyond_the_tolerance_of_bfloat16(
    architecture: str, precision: str, factor: int, make_network: MakeNetwork
) -> None:
    """On a small slice: a processor that lacks bfloat16 takes a hundred times as long."""
    network, lr = make_network(architecture, factor=factor), random_lr(1, 2, 40)
    whole, tiled = (added(network, lr, (2 * factor, 40 * factor), tile=tile) for tile in (40, 16))
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=TOLERANCE[precision])


def test_slices_come_out_the_same_together_and_one_by_one(
    architecture: str, precision: str, make_network: MakeNetwork
) -> None:
    network, lr = make_network(architecture), random_lr(2, 5, 7)
    upscaler = NetworkUpscaler(network, CPU)
    alone = np.concatenate([upscaler(plane[np.newaxis], (20, 28)) for plane in lr])
    np.testing.assert_array_equal(upscaler(lr, (20, 28)), alone)
    dtype = getattr(torch, precision)
    network, planes = network.to(dtype), torch.from_numpy(lr)[:, None].to(dtype)
    together = network(planes)  # all in one batch, as on a GPU
    one_by_one = torch.cat([network(plane[None]) for plane in planes])
    tolerance = TOLERANCE[precision] * float(together.abs().max())
    torch.testing.assert_close(together, one_by_one, rtol=0, atol=tolerance)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_gpu_restores_what_the_cpu_does(architecture: str, device: str, make_network: MakeNetwork) -> None:
    if not (torch.cuda.is_available() if device == "cuda" else torch.backends.mps.is_available()):
        pytest.skip(f"there is no {device} here")
    network, lr = make_network(architecture), random_lr(2, 40, 44)
    expected = NetworkUpscaler(network, CPU)(lr, (160, 176))
    found = NetworkUpscaler(network, torch.device(device))(lr, (160, 176))
    most = np.abs(expected - LanczosUpscaler((4.0, 4.0))(lr, (160, 176))).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.05 * most)
