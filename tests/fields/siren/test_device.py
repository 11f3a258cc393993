"""Choosing a device, and telling out of memory from other failures."""

from __future__ import annotations

import pytest
import torch

from napari_inr_volume.compute.device import find_device, has_fast_bfloat16, out_of_memory
from napari_inr_volume.core.errors import FitError


def test_auto_is_a_device_that_computes() -> None:
    assert torch.ones(2, device=find_device("auto")).sum().item() == 2


def test_cpu_is_always_there() -> None:
    assert find_device("cpu") == torch.device("cpu")
    assert isinstance(has_fast_bfloat16(find_device("cpu")), bool)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="products here know no bfloat16")
@pytest.mark.parametrize(
    ("instructions", "fast"),
    [
        ({}, False),
        ({"avx512_f": True, "avx512_vnni": True, "avx512_bf16": False}, False),  # as of Cascade Lake
        ({"avx512_f": True, "avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
    ],
)
def test_bfloat16_is_fast_where_a_processor_has_instructions_for_it(
    instructions: dict[str, bool], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert has_fast_bfloat16(torch.device("cpu")) == fast


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is on this machine")
def test_missing_device_is_refused_with_those_there_are() -> None:
    with pytest.raises(FitError, match=r"'cuda' is not on this machine; choose auto or one of .*cpu"):
        find_device("cuda")


def test_out_of_memory_is_recognised_on_a_cpu() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60, dtype=torch.uint8)
    assert out_of_memory(error.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not out_of_memory(RuntimeError("shapes cannot be multiplied"))
