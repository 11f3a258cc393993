from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_inr_volume.core.metrics import psnr
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.registry import PRESETS, suited
from napari_inr_volume.io.inr_file import read_inr
from napari_inr_volume.plugin.layers import volume_of
from napari_inr_volume.plugin.samples import SAMPLE

pytestmark = pytest.mark.slow  # real fits, windows or processes

PLUGIN = "napari-inr-volume"


@pytest.fixture(scope="module")
def phantom() -> Volume:
    return head_phantom()


def test_phantom_opens_as_a_volume_in_hu(viewer: ViewerModel, phantom: Volume) -> None:
    (layer,) = viewer.open_sample(PLUGIN, "head_phantom")
    assert layer.name == "CT head phantom"
    np.testing.assert_array_equal(volume_of(layer).voxels, phantom.voxels)


def test_phantom_as_inr_opens_without_a_fit_and_over_the_phantom(viewer: ViewerModel) -> None:
    (original,) = viewer.open_sample(PLUGIN, "head_phantom")
    lr, hr = viewer.open_sample(PLUGIN, "head_phantom_inr")
    assert lr.name.startswith("CT head phantom [LR fit ")
    np.testing.assert_allclose(hr.data_to_world((1, 2, 3)), original.data_to_world((1, 2, 3)))
    np.testing.assert_allclose(lr.data_to_world((1, 0, 0)), original.data_to_world((1, 0.5, 0.5)))


def test_shipped_inr_is_small_and_made_as_its_script_says(phantom: Volume) -> None:
    inr = read_inr(SAMPLE)
    assert SAMPLE.stat().st_size <= 9_000
    assert inr.fit.preset == "default"
    assert inr.fit.seed == PRESETS["default"].fit.seed
    asked = suited(PRESETS["default"], phantom.shape, phantom.source_bytes)
    assert (inr.field, inr.factor) == (replace(asked.field, slices=48), asked.factor)
    assert inr.geometry == phantom.geometry
    assert inr.intensity_range == phantom.intensity_range


def test_shipped_inr_decodes_to_the_phantom_as_well_as_it_says(viewer: ViewerModel, phantom: Volume) -> None:
    _, hr = viewer.open_sample(PLUGIN, "head_phantom_inr")
    quality = read_inr(SAMPLE).quality
    every = slice(None, None, 6)
    measured = phantom.measured(every)
    error = (np.asarray(hr.data[every]).astype(float) - phantom.voxels[every])[measured]
    low, high = phantom.intensity_range
    found = psnr(float(np.mean(error**2)), high - low)
    assert quality is not None
    assert found == pytest.approx(quality.hr_psnr, abs=1)  # of every sixth slice, against all
