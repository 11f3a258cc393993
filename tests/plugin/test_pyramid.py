"""Levels of a volume too large to be drawn whole: indexed as arrays are, and shown as multiscale layers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from exact_files import SHAPE, voxels, with_exact
from hypothesis import given
from hypothesis import strategies as st
from napari import Viewer
from napari.layers import Image
from napari.utils.notifications import notification_manager

from napari_inr_volume.inr_volume import InrVolume
from napari_inr_volume.io.inr_file import write_inr
from napari_inr_volume.plugin import pyramid as module
from napari_inr_volume.plugin.layers import volume_of, voxels_of
from napari_inr_volume.plugin.pyramid import COARSEST, WHOLE, Level, finest, pyramid
from napari_inr_volume.plugin.settings import PLUGIN
from napari_inr_volume.plugin.sharpening import sharpening_of
from napari_inr_volume.plugin.views import LOOKS, add_3d

EXACT = voxels()
GRID = np.arange(7 * 8 * 9).reshape(7, 8, 9)
SLICES = st.slices(9) | st.just(slice(None))


@given(steps=st.tuples(*[st.integers(1, 4)] * 3), tile=st.tuples(SLICES, SLICES, SLICES), at=st.data())
def test_a_level_is_indexed_again_and_again_as_an_array_is(
    steps: tuple[int, int, int], tile: tuple[slice, ...], at: st.DataObject
) -> None:
    level = Level(GRID, tuple(range(0, length, step) for length, step in zip(GRID.shape, steps, strict=True)))
    array = GRID[tuple(slice(None, None, step) for step in steps)]
    level, array = level[tile], array[tile]
    assert level.shape == array.shape
    if 0 not in array.shape:
        z = at.draw(st.integers(0, len(array) - 1))
        level, array = level[z], array[z]
    assert (level.ndim, level.size) == (array.ndim, array.size)
    np.testing.assert_array_equal(np.asarray(level), array)


def sized(shape: tuple[int, int, int]) -> Any:
    return SimpleNamespace(shape=shape, size=int(np.prod(shape)), dtype=np.dtype(np.int16))


def test_what_can_be_drawn_whole_has_one_level() -> None:
    small = sized((1024, 512, 512))
    assert small.size * 2 == WHOLE
    assert pyramid(small, (1.0, 4.0, 4.0)) is small
    assert finest(small) is small


@pytest.mark.parametrize(
    ("shape", "factor", "expected"),
    [
        ((1025, 512, 512), (1.0, 4.0, 4.0), [(1025, 128, 128)]),
        ((2048, 1024, 1024), (1.0, 4.0, 4.0), [(2048, 256, 256), (1024, 128, 128)]),
        ((1500, 1001, 999), (1.0, 1.0, 1.0), [(750, 501, 500), (375, 251, 250)]),
        ((700, 700, 700), (2.4, 1.6, 1.0), [(350, 350, 700), (175, 175, 350)]),
    ],
)
def test_levels_are_those_of_the_lr_and_coarser_ones_until_one_can_be_drawn(
    shape: tuple[int, int, int], factor: tuple[float, float, float], expected: list[tuple[int, int, int]]
) -> None:
    large = sized(shape)
    levels = pyramid(large, factor)
    assert isinstance(levels, list)
    assert [level.shape for level in levels] == [shape, *expected]
    assert levels[-1].size * 2 <= COARSEST
    assert finest(levels) is large


# In a window -------------------------------------------------------------------------------------------


@pytest.fixture
def layer(make_inr, make_napari_viewer, plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    """The exact voxels of a file that counts as large."""
    monkeypatch.setattr(module, "WHOLE", 1)
    monkeypatch.setattr(module, "COARSEST", 2 * EXACT.size - 1)
    notification_manager.records.clear()
    inr: InrVolume = with_exact(make_inr(shape=SHAPE), monkeypatch)
    write_inr(inr, tmp_path / "head.inr")
    window: Viewer = make_napari_viewer(show=True)
    window.open(str(tmp_path / "head.inr"), plugin=PLUGIN)
    layer = window.layers[-1]
    assert layer.multiscale
    return layer


def drawn(layer: Image) -> np.ndarray:
    return np.asarray(layer._slice.image.raw)


def idle(qtbot, layer: Image) -> None:
    found = sharpening_of(layer)
    assert found is not None
    qtbot.waitUntil(lambda: not found.job.at_work and not voxels_of(layer).next_steps())


@pytest.mark.gui
@pytest.mark.slow
def test_a_large_file_is_drawn_by_its_tiles_and_coarsely_in_3d(qtbot, layer: Image) -> None:
    import napari

    window = napari.current_viewer()
    window.dims.set_current_step(0, 3)

    def is_exact() -> bool:
        """Whether the tile that is drawn is that of the exact voxels at this level."""
        level = layer.data[layer.data_level].at
        rows, columns = (
            list(one)[first : last + 1]
            for one, first, last in zip(level[1:], *layer.corner_pixels[:, 1:], strict=True)
        )
        return np.array_equal(drawn(layer), EXACT[3][np.ix_(rows, columns)])

    qtbot.waitUntil(is_exact)
    idle(qtbot, layer)
    assert layer.get_value((3, 6, 4), world=False)[1] == EXACT[3, 6, 4]

    window.dims.ndisplay = 3
    steps = [one.step for one in layer.data[-1].at]
    assert layer.data_level == len(layer.data) - 1
    qtbot.waitUntil(lambda: drawn(layer).shape == layer.data[-1].shape)
    idle(qtbot, layer)
    qtbot.waitUntil(lambda: np.array_equal(drawn(layer), EXACT[:: steps[0], :: steps[1], :: steps[2]]))
    idle(qtbot, layer)


@pytest.mark.gui
@pytest.mark.slow
def test_what_is_computed_of_a_large_file_is_the_finest_level(qtbot, layer: Image) -> None:
    import napari

    np.testing.assert_array_equal(np.asarray(volume_of(layer).voxels), EXACT)
    made = add_3d(napari.current_viewer(), layer, LOOKS["bone"])
    assert made.data.shape == layer.data[-1].shape
    np.testing.assert_allclose(made.scale * made.data.shape, layer.scale * layer.data.shape, rtol=0.4)
    np.testing.assert_array_equal(made.translate, layer.translate)
    idle(qtbot, layer)
