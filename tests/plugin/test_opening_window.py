"""An opened `.inr` of a head starts in the brain window, as the original does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from napari import Viewer

from napari_inr_volume.core.windows import WINDOWS, opening_window
from napari_inr_volume.io.inr_file import read_inr
from napari_inr_volume.plugin.samples import SAMPLE, head_phantom
from napari_inr_volume.plugin.settings import PLUGIN
from napari_inr_volume.plugin.work import sharpen
from napari_inr_volume.reader import Reader

pytestmark = [pytest.mark.gui, pytest.mark.slow]


def test_the_sample_opens_as_its_original_does(qtbot, make_napari_viewer, plugins) -> None:
    viewer: Viewer = make_napari_viewer()
    ((_, arguments, _),) = head_phantom()
    lr, hr = viewer.open(str(SAMPLE), plugin=PLUGIN)
    assert tuple(arguments["contrast_limits"]) == WINDOWS["brain"].limits
    qtbot.waitUntil(lambda: tuple(lr.contrast_limits) == tuple(hr.contrast_limits) == WINDOWS["brain"].limits)


def test_a_contrast_that_was_chosen_meanwhile_stays(qtbot, make_napari_viewer, plugins) -> None:
    viewer: Viewer = make_napari_viewer()
    lr, hr = viewer.open(str(SAMPLE), plugin=PLUGIN)
    hr.contrast_limits = (-1000, 1000)
    qtbot.waitUntil(lambda: hr.data.sharp and tuple(lr.contrast_limits) == WINDOWS["brain"].limits)
    assert tuple(hr.contrast_limits) == (-1000, 1000)


def test_what_is_no_head_or_not_in_hu_stays_as_it_opened() -> None:
    inr = read_inr(SAMPLE)
    assert sharpen.opening_window(Reader(inr, device="cpu")) == WINDOWS["brain"]
    raw = replace(inr, units="raw")
    assert sharpen.opening_window(Reader(raw, device="cpu")) is None
    wide = replace(inr, intensity_range=(-100_000.0, 100_000.0))  # as air and metal, without brain
    assert sharpen.opening_window(Reader(wide, device="cpu")) is None
    assert opening_window(head_phantom()[0][1]["metadata"]["inr_volume"].volume) == WINDOWS["brain"]
