"""CT windows: limits, grey levels, and names that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_inr_volume.core.errors import InrError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Units, Volume
from napari_inr_volume.core.windows import WINDOWS, Window, find_window, opening_window


def volume(low: float, high: float, units: Units = "HU") -> Volume:
    return Volume.from_array(np.array([[[low, high]]]), units=units)


@pytest.mark.parametrize(
    ("name", "limits"),
    [("brain", (0, 80)), ("soft tissue", (-160, 240)), ("bone", (-770, 1730)), ("lung", (-1350, 150))],
)
def test_named_windows_have_the_usual_limits(name: str, limits: tuple[float, float]) -> None:
    assert find_window(name, volume(-1000, 3000)).limits == limits


def test_full_is_the_intensity_range() -> None:
    assert find_window("full", volume(-1024, 3071)).limits == (-1024, 3071)


def test_padding_does_not_widen_the_full_window() -> None:
    padded = Volume.from_array(np.array([[[-2000, -1000, 1000]]], dtype=np.int16), padding=-2000)
    assert find_window("full", padded).limits == (-1000, 1000)


def test_grey_levels_are_clipped_and_rounded_to_the_nearest() -> None:
    window = Window("test", level=127.5, width=255)  # one HU a grey level
    values = np.array([-3024, 0, 0.4, 0.6, 254.6, 255, 3071])
    assert window.to_8bit(values).tolist() == [0, 0, 0, 1, 255, 255, 255]


def test_integers_at_the_end_of_their_type_do_not_wrap_around() -> None:
    values = np.array([-32768, 32767], dtype=np.int16)
    assert WINDOWS["brain"].to_8bit(values).tolist() == [0, 255]


@given(st.sampled_from(sorted(WINDOWS)), st.lists(st.floats(-4000, 4000), min_size=1))
def test_grey_levels_keep_the_order_of_the_values(name: str, values: list[float]) -> None:
    grey = WINDOWS[name].to_8bit(np.sort(values))
    assert (np.diff(grey.astype(int)) >= 0).all()


def test_an_unknown_window_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(
        InrError, match="no window 'liver'; choose one of full, brain, soft tissue, bone, lung"
    ):
        find_window("liver", volume(0, 1))


def test_a_window_in_hu_is_refused_for_raw_values() -> None:
    raw = volume(0, 255, "raw")
    assert find_window("full", raw).limits == (0, 255)
    with pytest.raises(InrError, match="values are not; use the window full"):
        find_window("brain", raw)


@pytest.mark.parametrize("width", [0, -1, np.nan, np.inf])
def test_a_window_without_a_width_is_refused(width: float) -> None:
    with pytest.raises(InrError, match="a width above 0"):
        Window("test", 40, width)


def test_a_window_says_its_name_level_and_width() -> None:
    assert str(WINDOWS["soft tissue"]) == "soft tissue (40 / 400)"


# The window that a volume opens in


def body(*shares: tuple[float, float]) -> Volume:
    """Return a volume of air and, by (HU, share of the body), of a body that fills half of it."""
    rng = np.random.default_rng(0)
    values, weights = zip(*shares, strict=True)
    voxels = rng.choice(values, size=(8, 32, 32), p=weights)
    voxels[:, :16] = -1000
    return Volume.from_array(voxels.astype(np.int16), units="HU")


def test_a_head_opens_in_the_brain_window() -> None:
    assert opening_window(head_phantom((16, 64, 64))).name == "brain"
    assert opening_window(body((35, 0.6), (800, 0.2), (-100, 0.2))).name == "brain"


@pytest.mark.parametrize(
    "shares",
    [
        [(35, 0.5), (800, 0.02), (-100, 0.48)],  # a thigh: muscle, and little bone
        [(35, 0.2), (800, 0.12), (-100, 0.68)],
    ],
)
def test_other_parts_of_the_body_open_in_soft_tissue(shares: list[tuple[float, float]]) -> None:
    assert opening_window(body(*shares)).name == "soft tissue"


def test_what_is_not_in_hu_or_all_outside_opens_in_full() -> None:
    assert opening_window(volume(0, 255, units="raw")).name == "full"
    assert opening_window(volume(1000, 3000)).name == "full"


def test_real_heads_and_bodies_open_in_their_window(shared_data) -> None:
    from napari_inr_volume import load

    found = {
        name: opening_window(load(shared_data / name)).name
        for name in ("dicom/ge_head_tilt", "other/sts013_thigh.tif", "other/totalseg_ct_3mm.nii.gz")
    }
    assert list(found.values()) == ["brain", "soft tissue", "soft tissue"]
