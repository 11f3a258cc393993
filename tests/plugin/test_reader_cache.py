"""What a reader keeps: each slice is decoded once while it is, by any number of threads."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_inr_volume.core.errors import InrError
from napari_inr_volume.reader import Reader
from napari_inr_volume.superres.upscale import LanczosUpscaler

PLANE_BYTES = 30 * 37 * 2  # of a slice of `make_inr`


class Counting(LanczosUpscaler):
    """Lanczos that remembers how many slices it restored, and can be made to wait or to fail."""

    slices = 0
    fails = 0
    started: Event | None = None
    go_on: Event | None = None

    def __call__(self, lr: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
        if self.fails:
            self.fails -= 1
            raise InrError("no memory")
        if self.started is not None and self.go_on is not None:
            self.started.set()
            assert self.go_on.wait(10)
        self.slices += len(lr)
        return super().__call__(lr, shape)


@pytest.fixture
def upscaler() -> Counting:
    return Counting((4.0, 4.0))


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_the_slices_asked_for_last_are_kept_and_no_more_bytes_than_stated(
    make_inr, upscaler: Counting, kept: int
) -> None:
    reader = Reader(make_inr(), upscaler, device="cpu", cache_bytes=kept * PLANE_BYTES)
    latest: OrderedDict[int, None] = OrderedDict()
    decoded = 0
    for z in (0, 1, 0, 2, 3, 1, 1, 0, 3, 2, 2):
        decoded += z not in latest
        latest[z] = None
        latest.move_to_end(z)
        while len(latest) > kept:
            latest.popitem(last=False)
        reader.plane(z)
        assert upscaler.slices == decoded


def test_a_kept_slice_cannot_be_changed_by_who_looks_at_it(make_inr) -> None:
    with pytest.raises(ValueError, match="read-only"):
        Reader(make_inr(), device="cpu").plane(0)[0, 0] = 7


def test_threads_asking_for_the_same_slices_decode_each_once(make_inr, upscaler: Counting) -> None:
    reader = Reader(make_inr(), upscaler, device="cpu")
    whole = Reader(make_inr(), device="cpu").read()
    asked = [z % 7 for z in range(140)]
    with ThreadPoolExecutor(8) as pool:
        for z, plane in zip(asked, pool.map(reader.plane, asked), strict=True):
            np.testing.assert_array_equal(plane, whole[z])
    assert upscaler.slices == 7


def test_a_kept_slice_does_not_wait_for_one_being_decoded(make_inr, upscaler: Counting) -> None:
    reader = Reader(make_inr(), upscaler, device="cpu")
    kept = reader.plane(0)
    upscaler.started, upscaler.go_on = Event(), Event()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(reader.plane, 1)
        assert upscaler.started.wait(10)
        assert reader.plane(0) is kept  # would never come if it waited
        assert not slow.done()
        upscaler.go_on.set()


def test_a_slice_that_could_not_be_decoded_is_tried_again(make_inr, upscaler: Counting) -> None:
    reader = Reader(make_inr(), upscaler, device="cpu")
    upscaler.fails = 1
    with pytest.raises(InrError, match="no memory"):
        reader.plane(0)
    assert reader.plane(0).shape == (30, 37)
