"""Which processor torch computes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..core.choices import Device
from ..core.errors import FitError


def find_device(name: Device = "auto") -> torch.device:
    """Return the device of this name; `auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises FitError, with the devices there are, for one that this machine lacks.
    """
    present = [
        *(["cuda"] if torch.cuda.is_available() else []),
        *(["mps"] if torch.backends.mps.is_available() else []),
        "cpu",
    ]
    if name == "auto":
        return torch.device(present[0])
    if name not in present:
        raise FitError(f"device {name!r} is not on this machine; choose auto or one of {', '.join(present)}")
    return torch.device(name)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are done in hardware there, and so worth their rounding."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if device.type != "cpu" or not onednn:
        return False
    # AVX-512 alone does not tell: without these instructions oneDNN works in float32 and converts.
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch does not say
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory: the CPU's allocator has no exception class of its own."""
    words = ("can't allocate memory", "not enough memory", "out of memory")  # Linux, Windows, MPS
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)


@contextmanager
def errors_in_words(device: torch.device, without_memory: str = "; choose the CPU") -> Iterator[None]:
    """Turn torch's RuntimeErrors into a FitError, which no worker swallows.

    `without_memory` says, where memory ran out, of what and what to do.
    """
    try:
        yield
    except RuntimeError as error:
        if out_of_memory(error):
            raise FitError(f"{device} ran out of memory{without_memory}") from error
        raise FitError(f"the fit failed on {device}: {str(error).splitlines()[0]}") from error
