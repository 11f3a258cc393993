"""What is predicted of an exact layer, beside what it takes."""

from __future__ import annotations

import threading
from typing import Any

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


class HeldUp:
    """An array on demand that waits, with the read of that number, until it is let go on."""

    dtype, shape = np.dtype(np.int16), (18, 24, 24)

    def __init__(self, number: int) -> None:
        self.voxels = head_phantom(self.shape)
        self.number, self.reads = number, 0
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, tuple):  # not a whole slice, of which the range is found
            self.reads += 1
            if self.reads == self.number:
                self.reached.set()
                assert self.go_on.wait(60)
        return self.voxels[index]


@pytest.mark.parametrize("last", [False, True], ids=["while crops are read", "while a network is fitted"])
def test_a_prediction_that_is_dropped_ends_at_once(last: bool) -> None:
    whole = HeldUp(0)
    predict_exact(Volume.from_array(whole), 0)
    held = HeldUp(whole.reads if last else 1)
    drop, errors = threading.Event(), []

    def predict() -> None:
        try:
            predict_exact(Volume.from_array(held), 0, drop)
        except FitError as error:
            errors.append(str(error))

    thread = threading.Thread(target=predict)
    thread.start()
    assert held.reached.wait(60)
    drop.set()
    held.go_on.set()
    thread.join()
    assert errors == ["the prediction of the exact layer was cancelled"]
    assert held.reads == held.number
