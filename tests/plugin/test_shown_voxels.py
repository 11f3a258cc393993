"""What a layer of an `.inr` shows and keeps, and in which order it is decoded; no window, no threads."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from exact_files import DEPTH, SHAPE, damaged, exact_voxels, voxels, with_exact
from napari.layers import Image

from napari_inr_volume.core.errors import InrError, InrFileError
from napari_inr_volume.inr_volume import InrVolume
from napari_inr_volume.plugin.job import Control
from napari_inr_volume.plugin.layers import exact_layer, hr_layer, lr_layer, volume_of
from napari_inr_volume.plugin.opened import Opened
from napari_inr_volume.plugin.shown_voxels import ShownVoxels, Step, shown_levels
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


def shown(inr: InrVolume, slabs: int = 100) -> ShownVoxels:
    """Return voxels that are drawn: somebody decodes for them, who keeps so many slabs."""
    found = exact_voxels(inr, slabs * SLAB_BYTES)
    found.on_look = lambda: None
    return found


def decoded(found: ShownVoxels) -> list[int | Damaged]:
    """Decode what is wanted; return what was reported of its own level."""
    control, reported = Control(), []
    control.report = reported.append
    sharpen(control, found)
    return [own(found, record) for record in reported if own(found, record) is not None]


def own(found: ShownVoxels, record: object) -> int | Damaged | None:
    """Return the slice of a record if it is one of the level itself, or what is damaged."""
    if isinstance(record, Step):
        return record.z if record.voxels is found else None
    return record if isinstance(record, Damaged) else None


def with_preview(found: ShownVoxels) -> ShownVoxels:
    """Decode what comes before the level itself."""
    while (step := found.next_steps()[0]).voxels is not found:
        step.voxels.decode(step.z)
    return found


def stretched(inr: InrVolume, z: int, dtype: type) -> np.ndarray:
    """Return the LR that covers a slice of the original, each voxel as often as it is large."""
    along = zip(inr.geometry.shape[1:], inr.factor[1:], strict=True)
    axes = [((np.arange(length) + 0.5) // factor).astype(int) for length, factor in along]
    lr = Reader(inr, device="cpu").plane(int((z + 0.5) // inr.factor[0]), "lr")[np.ix_(*axes)]
    values = np.clip(lr, *inr.intensity_range)
    return np.rint(values).astype(dtype)


def exact_now(found: ShownVoxels) -> list[int]:
    """Return the slices that are drawn exactly."""
    on_look, found.on_look = found.on_look, lambda: None
    now = [z for z in range(len(found)) if np.array_equal(found[z], EXACT[z])]
    found.on_look = on_look
    return now


@pytest.mark.parametrize("factor", [(1.0, 4.0, 4.0), (3.0, 2.5, 4.0)], ids=str)
def test_a_slice_is_black_then_the_lr_then_restored(make_inr, factor) -> None:
    inr = make_inr(shape=(9, 30, 37), factor=factor)
    reader = Reader(inr, device="cpu")
    found = shown_levels(inr, lambda: reader)["hr"]
    found.on_look = lambda: None
    assert found[4].dtype == np.int16
    assert (found[4] == np.int16(inr.intensity_range[0])).all()
    assert "decoding" in found.words
    (step,) = found.next_steps()
    step.voxels.decode(step.z)
    np.testing.assert_array_equal(found[4], stretched(inr, 4, np.int16))
    np.testing.assert_array_equal(found[4, 3:20:2, 5], stretched(inr, 4, np.int16)[3:20:2, 5])
    assert found.words == "slice 4: LR fit, sharpening..."
    assert found.changes_view(step)
    (step,) = found.next_steps()
    assert step == Step(found, 4)
    step.voxels.decode(step.z)
    np.testing.assert_array_equal(found[4], reader.plane(4))
    assert found.words == "slice 4: decoded"


def test_the_lr_of_all_slices_comes_before_what_is_beside_the_view(make_inr) -> None:
    inr = make_inr(shape=(30, 12, 12))
    reader = Reader(inr, device="cpu")
    found = shown_levels(inr, lambda: reader)["hr"]
    found.on_look = lambda: None
    found[20]
    steps = []
    while step := next(iter(found.next_steps()), None):
        step.voxels.decode(step.z)
        steps.append((step.voxels.level, step.z))
    assert steps[:3] == [("lr", 20), ("hr", 20), ("lr", 19)]
    assert {z for level, z in steps[:31] if level == "lr"} == set(range(30))
    of_hr = [z for level, z in steps[31:] if level == "hr"]  # the part in view, ahead, behind
    assert of_hr == [*(z for z in range(16, 24) if z != 20), *range(24, 30), *range(8, 16)]


@pytest.mark.parametrize("level", ["lr", "hr"])
def test_a_view_of_all_slices_is_the_lr_and_then_what_decodes(make_inr, level: str) -> None:
    inr = make_inr(shape=(9, 30, 37), factor=(3.0, 4.0, 4.0))
    reader = Reader(inr, device="cpu")
    found = shown_levels(inr, lambda: reader)[level]
    found.on_look = lambda: None
    found[:, 7]
    redrawn = []
    while step := next(iter(found.next_steps()), None):
        step.voxels.decode(step.z)
        if found.changes_view(step):
            redrawn.append(step.voxels.level)
            if level == "hr":
                np.testing.assert_array_equal(found[:, 7], [stretched(inr, z, np.int16)[7] for z in range(9)])
    assert redrawn == ["lr"]
    np.testing.assert_array_equal(found[:], reader.read(level=level))
    assert found.sharp


def test_an_lr_larger_than_is_kept_follows_the_view_of_the_layer_above(make_inr) -> None:
    inr = make_inr(shape=(40, 12, 12))
    reader = Reader(inr, device="cpu")
    lr = ShownVoxels(inr, "lr", lambda: reader, kept_bytes=1)
    found = ShownVoxels(inr, "hr", lambda: reader, lr)
    found.on_look = lambda: None
    for z in (0, 39, 20):
        found[z]
        decoded(found)  # it ends
        np.testing.assert_array_equal(found[z], reader.plane(z))


def test_what_cannot_be_decoded_is_tried_once_and_said(make_inr) -> None:
    def fail() -> Reader:
        raise InrError("the network is damaged")

    found = shown_levels(make_inr(), fail)["hr"]
    found.on_look = lambda: None
    found[4]
    with pytest.raises(InrError, match="the network is damaged"):
        sharpen(Control(), found)
    assert found.next_steps() == []
    assert "cannot be decoded" in found.words


def test_a_slice_is_the_preview_until_it_is_decoded(inr: InrVolume) -> None:
    found = shown(inr)
    found[4]
    with_preview(found)
    np.testing.assert_array_equal(found[4], Reader(inr, device="cpu").plane(4))
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
    both, decode = threading.Barrier(2), ShownVoxels.decode

    def together(self: ShownVoxels, z: int) -> list[int]:
        if self.level == "exact" and z in (5, 6):
            both.wait(10)  # which one alone would do for ever
        return decode(self, z)

    found = shown(inr)
    found[4]
    monkeypatch.setattr(ShownVoxels, "decode", together)
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
    assert with_preview(found).next_steps(2) == [Step(found, 5)]
    assert found.decode(5) == [4, 5]
    assert with_preview(found).next_steps(2) == [Step(found, 6), Step(found, 2)]


def test_a_look_elsewhere_is_heard_between_two_slices(inr: InrVolume) -> None:
    found, control, reported = shown(inr), Control(), []

    def report(record: object) -> None:
        if own(found, record) is not None:
            reported.append(own(found, record))
        if record == Step(found, 4):
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
    assert not found.sharp
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
    found = exact_voxels(inr)
    assert found[key].dtype == EXACT.dtype
    np.testing.assert_array_equal(found[key], EXACT[key])


def test_what_is_computed_of_it_is_exact_whatever_is_shown(inr: InrVolume) -> None:
    found = shown(inr)
    found[4]
    np.testing.assert_array_equal(np.asarray(found), EXACT)
    assert np.asarray(found, dtype=np.float32).dtype == np.float32
    np.testing.assert_array_equal(found.decoded[:], EXACT)
    with pytest.raises(InrFileError, match="slices 4 to 5"):
        np.asarray(shown(damaged(inr, 2)))


def test_threads_that_look_while_it_is_decoded_see_preview_or_exact_slices(inr: InrVolume) -> None:
    found, preview = shown(inr), Reader(inr, device="cpu").read()
    black = np.full_like(EXACT, inr.intensity_range[0])
    lr = [stretched(inr, z, np.int16) for z in range(SHAPE[0])]

    def look(z: int) -> bool:
        plane = found[z]
        return any(np.array_equal(plane, one[z]) for one in (EXACT, preview, lr, black))

    with ThreadPoolExecutor(4) as pool:
        looks = pool.map(look, [z % SHAPE[0] for z in range(200)])
        decoded(found)
        assert all(looks)


# Layers


def test_an_inr_with_an_exact_layer_opens_as_lr_and_exact(inr: InrVolume) -> None:
    lr, exact = Opened(inr, None, None, "cpu").layers("head")
    assert [lr[1]["name"], exact[1]["name"]] == ["head [LR fit 41.2 dB]", "head [lossless]"]
    assert exact[0].shape == SHAPE


@pytest.mark.parametrize("level", ["lr", "hr"])
def test_a_layer_is_compressed_again_as_it_decodes_whatever_it_shows(make_inr, level: str) -> None:
    inr = make_inr()
    reader = Reader(inr, device="cpu")
    found = shown_levels(inr, lambda: reader)[level]
    found.on_look = lambda: None
    data, arguments, _ = {"lr": lr_layer, "hr": hr_layer}[level](found, "head", inr)
    np.testing.assert_array_equal(volume_of(Image(data, **arguments)).read(), reader.read(level=level))


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
