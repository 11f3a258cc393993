"""What a layer of exact voxels shows and keeps, and in which order it is decoded; no window, no threads."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from exact_files import DEPTH, SHAPE, damaged, voxels, with_exact
from napari.layers import Image

from napari_inr_volume.core.errors import InrFileError
from napari_inr_volume.inr_volume import InrVolume
from napari_inr_volume.plugin.exact_voxels import ExactVoxels
from napari_inr_volume.plugin.job import Control
from napari_inr_volume.plugin.layers import exact_layer, volume_of
from napari_inr_volume.plugin.lazy import inr_layers
from napari_inr_volume.plugin.work import inr as work
from napari_inr_volume.plugin.work.sharpen import Damaged, sharpen
from napari_inr_volume.reader import Reader

SLAB_BYTES = DEPTH * SHAPE[1] * SHAPE[2] * 2
EXACT = voxels()


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """One slab is decoded after the other, so that their order is known."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


@pytest.fixture
def inr(make_inr, monkeypatch: pytest.MonkeyPatch) -> InrVolume:
    return with_exact(make_inr(shape=SHAPE), monkeypatch)


def shown(inr: InrVolume, slabs: int = 100) -> ExactVoxels:
    """Return voxels that are drawn: somebody decodes for them, who keeps so many slabs."""
    found = ExactVoxels(Reader(inr, device="cpu"), kept_bytes=slabs * SLAB_BYTES)
    found.on_look = lambda: None
    return found


def decoded(found: ExactVoxels) -> list[int | Damaged]:
    """Decode what is wanted; return what was reported."""
    control, reported = Control(), []
    control.report = reported.append
    sharpen(control, found)
    return reported


def exact_now(found: ExactVoxels) -> list[int]:
    """Return the slices that are drawn exactly."""
    on_look, found.on_look = found.on_look, lambda: None
    now = [z for z in range(len(found)) if np.array_equal(found[z], EXACT[z])]
    found.on_look = on_look
    return now


def test_a_slice_is_the_preview_until_it_is_decoded(inr: InrVolume) -> None:
    found, preview = shown(inr), Reader(inr, device="cpu")
    np.testing.assert_array_equal(found[4], preview.plane(4))
    assert not found.sharp
    assert "preview" in found.words
    assert 4 in decoded(found)
    np.testing.assert_array_equal(found[4], EXACT[4])
    assert found.sharp
    assert "lossless" in found.words


@pytest.mark.parametrize(
    ("looks", "order"),
    [
        ([4], [4, 5, 6, 7, 2, 3]),
        ([6, 4], [4, 5, 2, 3, 6, 7]),
        ([2, 5], [4, 5, 6, 7, 2, 3]),
        ([9], [8, 9, 6, 7]),
        ([9, 0], [0, 1, 2, 3]),
    ],
    ids=str,
)
def test_the_slab_in_view_comes_first_then_the_one_ahead_then_the_one_behind(
    inr: InrVolume, looks: list[int], order: list[int]
) -> None:
    found = shown(inr)
    for z in looks:
        found[z]
    assert decoded(found) == order


def test_once_the_slice_in_view_is_there_several_slabs_are_decoded_side_by_side(
    inr: InrVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    both, decode = threading.Barrier(2), ExactVoxels.decode

    def together(self: ExactVoxels, z: int) -> list[int]:
        if z in (5, 6):
            both.wait(10)  # which one alone would do for ever
        return decode(self, z)

    monkeypatch.setattr(ExactVoxels, "decode", together)
    found = shown(inr)
    found[4]
    assert sorted(decoded(found)) == [2, 3, 4, 5, 6, 7]
    found[:]
    assert set(decoded(found)) == {0, 1, 8, 9}
    np.testing.assert_array_equal(found[:], EXACT)


def test_the_slice_in_view_is_decoded_by_all_threads_with_those_before_it(
    inr: InrVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    found = shown(inr)
    found[5]
    assert found.next_slices(2) == [5]
    assert found.decode(5) == [4, 5]
    assert found.next_slices(2) == [6, 2]


def test_a_look_elsewhere_is_heard_between_two_slices(inr: InrVolume) -> None:
    found, control, reported = shown(inr), Control(), []

    def report(record: object) -> None:
        reported.append(record)
        if record == 4:
            found[9]

    control.report = report
    found[4]
    sharpen(control, found)
    assert reported[:3] == [4, 8, 9]


def test_no_more_slabs_are_kept_than_asked_for_and_those_near_the_view_stay(inr: InrVolume) -> None:
    found = shown(inr, slabs=3)
    for z in range(SHAPE[0]):
        found[z]
        assert decoded(found) is not None
    assert exact_now(found)[-4:] == [6, 7, 8, 9]
    assert len(exact_now(found)) <= 3 * DEPTH


@pytest.mark.parametrize("slabs", [0, 1, 2])
def test_a_small_memory_does_not_decode_for_ever(inr: InrVolume, slabs: int) -> None:
    found = shown(inr, slabs=slabs)
    found[5]
    assert decoded(found)[:2] == [4, 5]
    assert {4, 5} <= set(exact_now(found))


@pytest.mark.parametrize("key", [np.s_[:, 7, :], np.s_[:], np.s_[..., 3]], ids=str)
def test_a_view_of_all_slices_gets_all_from_the_middle_outwards(inr: InrVolume, key) -> None:
    found = shown(inr)
    found[5]
    found[key]
    assert "preview" in found.words
    assert decoded(found)[:2] == [4, 5]
    np.testing.assert_array_equal(found[key], EXACT[key])
    assert found.sharp


def test_a_view_of_more_slices_than_are_kept_stays_the_preview_and_says_so(inr: InrVolume) -> None:
    found = shown(inr, slabs=3)
    found[:]
    assert decoded(found) == []
    assert "Decode exact" in found.words


def test_a_damaged_slab_stays_the_preview_and_is_said_once(inr: InrVolume) -> None:
    found = shown(damaged(inr, 2))
    found[4]
    first = decoded(found)
    assert [record for record in first if isinstance(record, Damaged)] == [first[0]]
    assert "slices 4 to 5" in first[0].words
    assert "damaged" in found.words
    np.testing.assert_array_equal(found[4], Reader(inr, device="cpu").plane(4))
    found[5]
    assert decoded(found) == []
    assert exact_now(found) == [2, 3, 6, 7]


@pytest.mark.parametrize(
    "key",
    [
        3,
        -1,
        (2, 5, 6),
        np.s_[4:5, :, :],
        np.s_[1:4, 2:9, ::3],
        np.s_[..., 4],
        np.s_[5, ...],
        np.s_[:, 4],
        np.s_[3:3],
        np.s_[3:3, 1],
        np.s_[::-2, 1:2],
    ],
    ids=str,
)
def test_any_index_gives_what_an_array_would(inr: InrVolume, key) -> None:
    found = ExactVoxels(Reader(inr, device="cpu"))
    assert found[key].dtype == EXACT.dtype
    np.testing.assert_array_equal(found[key], EXACT[key])


def test_what_is_computed_of_it_is_exact_whatever_is_shown(inr: InrVolume) -> None:
    found = shown(inr)
    found[4]
    np.testing.assert_array_equal(np.asarray(found), EXACT)
    assert np.asarray(found, dtype=np.float32).dtype == np.float32
    np.testing.assert_array_equal(found.exact[:], EXACT)
    with pytest.raises(InrFileError, match="slices 4 to 5"):
        np.asarray(shown(damaged(inr, 2)))


def test_threads_that_look_while_it_is_decoded_see_preview_or_exact_slices(inr: InrVolume) -> None:
    found, preview = shown(inr), Reader(inr, device="cpu").read()

    def look(z: int) -> bool:
        plane = found[z]
        return np.array_equal(plane, EXACT[z]) or np.array_equal(plane, preview[z])

    with ThreadPoolExecutor(4) as pool:
        looks = pool.map(look, [z % SHAPE[0] for z in range(200)])
        decoded(found)
        assert all(looks)


# Layers


def test_an_inr_with_an_exact_layer_opens_as_lr_and_exact(inr: InrVolume) -> None:
    lr, exact = inr_layers(Reader(inr, device="cpu"), "head")
    assert [lr[1]["name"], exact[1]["name"]] == ["head [LR fit 41.2 dB]", "head [lossless]"]
    assert exact[0].shape == SHAPE


def test_a_layer_that_is_compressed_again_is_taken_exactly_with_its_padding(inr: InrVolume) -> None:
    found = shown(inr)
    data, arguments, _ = exact_layer(found, "head", inr)
    layer = Image(data, **arguments)
    volume = volume_of(layer)
    assert (volume.padding, volume.units, volume.geometry) == (-2000.0, "HU", inr.geometry)
    np.testing.assert_array_equal(volume.read(), EXACT)


def test_it_is_decoded_whole_and_what_is_damaged_is_said(inr: InrVolume) -> None:
    whole = work.decode(Control(), inr, "exact", None, None, "cpu")
    np.testing.assert_array_equal(whole.voxels, EXACT)
    assert whole.notes == ()
    some = work.decode(Control(), damaged(inr, 0), "exact", None, None, "cpu")
    np.testing.assert_array_equal(some.voxels[2:], EXACT[2:])
    (note,) = some.notes
    assert "slices 0 to 1" in note.lower()
