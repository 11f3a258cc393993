"""Arrays for the tests of the codecs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def blob(shape: tuple[int, ...], dtype: str = "int16", seed: int = 0) -> NDArray[Any]:
    """Return a noisy bright blob, in values that the dtype holds."""
    axes = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.5
    noise = np.random.default_rng(seed).normal(0, 3, shape)
    values = np.where(inside, 90.0, 20.0) + noise
    if np.dtype(dtype).kind == "b":
        return values > 50
    return np.rint(np.clip(values, 0, 120)).astype(dtype)
