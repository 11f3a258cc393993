"""Our Adam is torch's, bit by bit, and a fit does without what torch's class loads."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from napari_inr_volume.compute.adam import Adam
from napari_inr_volume.exact.learn import RATE, one_cycle

FIT = """
import sys
from napari_inr_volume import compress
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig

fit = FitConfig(steps=3, tuning_steps=2, batch=64, optimiser="muon")
settings = Settings(field=SirenConfig(layers=2, hidden_features=16), fit=fit)
compress(head_phantom((8, 16, 16)), settings, device="cpu", upscaler="lanczos", max_error=2)
print("torch._dynamo" in sys.modules)
"""


def stepped(optimiser: Adam | torch.optim.Adam, parameters: list[torch.Tensor]) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    for step in range(5):
        for each in parameters:
            each.grad = torch.randn(each.shape, generator=random) * 10**-step
        optimiser.step()
    return [each.detach() for each in parameters]


@pytest.mark.parametrize("fused", [False, True], ids=["one by one", "fused"])
def test_steps_are_those_of_torchs_adam(fused: bool) -> None:
    start = [torch.randn(shape, generator=torch.Generator().manual_seed(1)) for shape in ((7, 9), (5,), ())]
    ours, theirs = ([each.clone() for each in start] for _ in range(2))
    got = stepped(Adam(ours, 1e-2, (0.9, 0.99), fused=fused), ours)
    expected = stepped(torch.optim.Adam(theirs, 1e-2, betas=(0.9, 0.99), fused=fused), theirs)
    for one, other in zip(got, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("steps", [40, 57, 500])
def test_one_cycle_is_that_of_torch(steps: int) -> None:
    adam = torch.optim.Adam([torch.zeros(1, requires_grad=True)], RATE, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, total_steps=steps, pct_start=0.05)
    for step in range(steps):
        (group,) = adam.param_groups
        assert one_cycle(step, steps) == (group["lr"], group["betas"])
        adam.step()
        if step < steps - 1:
            schedule.step()


@pytest.mark.slow
def test_a_fit_does_not_load_torchs_compiler() -> None:
    """It takes two seconds, as long as a small volume's fit."""
    done = subprocess.run([sys.executable, "-c", FIT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False"]
