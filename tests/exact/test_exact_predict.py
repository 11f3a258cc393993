"""What is predicted of an exact layer, beside what it takes."""

from __future__ import annotations

import numpy as np
import pytest
from exact_layers import PADDING, head_phantom

from napari_inr_volume.core.errors import FitError
from napari_inr_volume.core.generators import drain
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.exact.encode import encode_exact
from napari_inr_volume.exact.predict import predict_exact


@pytest.mark.parametrize("max_error", [0, 3])
@pytest.mark.parametrize(
    "voxels",
    [
        pytest.param(head_phantom((18, 24, 24)), id="networks"),
        pytest.param(np.random.default_rng(3).normal(size=(6, 20, 20)).astype(np.float32), id="plain"),
        pytest.param(np.arange(60, dtype=np.uint8).reshape(3, 4, 5), id="tiny"),
    ],
)
def test_the_size_is_about_what_it_becomes(voxels: np.ndarray, max_error: int) -> None:
    volume = Volume.from_array(voxels, padding=PADDING if voxels.dtype == np.int16 else None)
    predicted = predict_exact(volume, max_error / 10 if voxels.dtype.kind == "f" else max_error)
    found = drain(encode_exact(volume, max_error / 10 if voxels.dtype.kind == "f" else max_error)).nbytes
    assert 0.7 < predicted.nbytes / found < 1.4
    assert predicted.seconds > 0


def test_a_bound_that_no_layer_can_have_is_refused() -> None:
    with pytest.raises(FitError, match="whole"):
        predict_exact(Volume.from_array(head_phantom((3, 20, 20))), 0.5)
