"""The comparison's picture: which panels it has, what their titles say, where the voxels lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread

from napari_inr_volume import compress
from napari_inr_volume.core.errors import InrError
from napari_inr_volume.core.resample import resample_plane
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.core.windows import WINDOWS
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.measuring import measure
from napari_inr_volume.picture import comparison_figure, draw_comparison
from napari_inr_volume.reader import Reader
from napari_inr_volume.superres.span import Span
from napari_inr_volume.superres.upscale import LanczosUpscaler, NetworkUpscaler, Upscaler

pytestmark = pytest.mark.slow  # real fits, windows or processes

FACTOR = (4.0, 4.0)


def ball(padding: float | None = None) -> Volume:
    """A ball of 400 HU in air; with padding, its first ten columns were not measured."""
    z, y, x = np.ogrid[-1:2, -15:15, -11:11]
    voxels = np.where(z**2 + y**2 + x**2 < 64, 400, -1000).astype(np.int16)
    if padding is not None:
        voxels[:, :, :10] = padding
    return Volume.from_array(voxels, spacing=(5.0, 0.5, 1.0), padding=padding)


def stages(volume: Volume, offset: float = 0.0) -> dict[str, Any]:
    """What a codec gives that adds `offset` HU to the LR."""
    plane = np.maximum(volume.voxels[1], -1000).astype(np.float32)
    lr = resample_plane(plane, (8, 6), FACTOR)
    decoded = lr + np.float32(offset)
    lanczos = resample_plane(decoded, volume.shape[1:], (0.25, 0.25))
    return {"lr": lr, "lr_reconstructed": decoded, "lanczos_hr": lanczos, "factor": FACTOR}


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


def shown(axes: Axes) -> Any:
    return axes.get_images()[0]


def test_six_panels_with_a_super_resolution_result_five_without() -> None:
    volume = ball()
    names = ["Original HR", "LR", "Reconstructed LR", "Lanczos HR"]
    plain = comparison_figure(volume, 1, **stages(volume))
    assert [title.split("\n")[0] for title in titles(plain)] == [*names, "Error: Lanczos HR − original"]
    restored = comparison_figure(volume, 1, **stages(volume), sr_hr=volume.voxels[1])
    found = [title.split("\n")[0] for title in titles(restored)]
    assert found == [*names, "SR HR", "Error: SR HR − original"]


def test_titles_say_the_psnr_of_the_planes_shown() -> None:
    volume = ball()
    figure = comparison_figure(volume, 1, **stages(volume, offset=14.0), sr_hr=volume.voxels[1] + 1.4)
    lr, sr, error = (titles(figure)[panel] for panel in (2, 4, 5))
    assert lr.endswith("PSNR (range) 40.00 dB")  # 20 log10(1400 / 14)
    assert sr.endswith("PSNR (range) 60.00 dB")
    assert "RMSE 1.4" in error
    assert error.endswith(" HU")


def test_identical_slices_have_infinite_psnr_and_a_colour_bar_all_the_same() -> None:
    volume = ball()
    figure = comparison_figure(volume, 1, **stages(volume), sr_hr=volume.voxels[1])
    assert titles(figure)[4].endswith("PSNR (range) ∞ dB")
    assert shown(figure.axes[5]).get_clim() == (-1.0, 1.0)


def test_padding_counts_in_no_title_and_is_grey_in_the_error() -> None:
    volume = ball(padding=-2000)
    decoded = volume.voxels[1].astype(np.float32) + 14
    decoded[:, :10] = 3000
    planes = stages(volume)
    planes["lr_reconstructed"] = planes["lr_reconstructed"] + 14
    planes["lr_reconstructed"][:, :2] = 3000
    figure = comparison_figure(volume, 1, **planes, sr_hr=decoded)
    assert titles(figure)[2].endswith("PSNR (range) 40.00 dB")
    assert titles(figure)[4].endswith("PSNR (range) 40.00 dB")
    error = np.ma.getmaskarray(shown(figure.axes[5]).get_array())
    assert error[:, :10].all()
    assert not error[:, 10:].any()


def test_a_slice_that_is_all_padding_can_be_drawn() -> None:
    voxels = ball().voxels.copy()
    voxels[1] = -2000
    volume = Volume.from_array(voxels, padding=-2000)
    figure = comparison_figure(volume, 1, **stages(volume))
    assert titles(figure)[3].endswith("nothing measured")
    figure.canvas.draw()


def test_all_panels_show_the_same_millimetres() -> None:
    volume = ball()
    figure = comparison_figure(volume, 1, **stages(volume), sr_hr=volume.voxels[1])
    for axes in figure.axes:
        assert axes.get_xlim() == (0.0, 22.0)
        assert axes.get_ylim() == (15.0, 0.0)  # 30 rows of half a millimetre, the first on top
        assert axes.get_aspect() == 1.0
    hr, lr = shown(figure.axes[0]), shown(figure.axes[1])
    assert tuple(hr.get_extent()) == (0, 22, 15, 0)
    assert tuple(lr.get_extent()) == (0, 24, 16, 0)  # 6 x 8 voxels of 4 x 2 mm hang over the end


def test_grey_panels_share_the_window() -> None:
    volume = ball()
    figure = comparison_figure(volume, 1, **stages(volume), window=WINDOWS["brain"], title="whole volume")
    assert [shown(axes).get_clim() for axes in figure.axes[:4]] == [(0, 80)] * 4
    assert figure.get_suptitle() == "Slice 1 (of 0 to 2), window brain (40 / 80), HU\nwhole volume"


def test_error_colours_are_symmetric_about_zero() -> None:
    volume = ball()
    low, high = shown(comparison_figure(volume, 1, **stages(volume)).axes[4]).get_clim()
    assert low == -high < 0


@pytest.mark.parametrize("spacing", [(1, 1, 40), (1, 40, 1)], ids=["flat", "high"])
def test_extreme_voxels_still_make_a_picture_of_bounded_size(spacing: tuple[float, float, float]) -> None:
    volume = Volume.from_array(ball().voxels, spacing=spacing)
    figure = comparison_figure(volume, 1, **stages(volume))
    figure.canvas.draw()
    width, height = figure.get_size_inches()
    assert 0.3 < height / width < 2


def tiny_settings() -> Settings:
    return Settings(field=SirenConfig(layers=2, hidden_features=8), fit=FitConfig(steps=3, batch=64))


@pytest.mark.parametrize("name", ["lanczos", "span"])
def test_a_compressed_volume_is_drawn_to_a_png(name: str, tmp_path: Path) -> None:
    volume, path = ball(padding=-2000), tmp_path / "compare.png"
    inr = compress(volume, tiny_settings(), device="cpu", upscaler="lanczos")
    upscaler: Upscaler = LanczosUpscaler(FACTOR)
    if name == "span":
        upscaler = NetworkUpscaler(Span(), torch.device("cpu"))
    reader = Reader(inr, upscaler, device="cpu")
    measured = measure(volume, reader)
    draw_comparison(path, volume, reader, measured, z=1, window=WINDOWS["bone"])
    picture = imread(path)
    assert picture.shape[1] > 3 * 500  # a slice of 512 columns loses little
    assert picture[..., :3].std() > 0.1
    assert [file.name for file in tmp_path.iterdir()] == ["compare.png"]


def test_a_picture_that_cannot_be_saved_is_an_error_of_ours(tmp_path: Path) -> None:
    volume = ball()
    inr = compress(volume, tiny_settings(), device="cpu", upscaler="lanczos")
    upscaler = LanczosUpscaler(FACTOR)
    reader = Reader(inr, upscaler, device="cpu")
    measured = measure(volume, reader)
    path = tmp_path / "none" / "compare.png"
    with pytest.raises(InrError, match="cannot save"):
        draw_comparison(path, volume, reader, measured, z=1, window=WINDOWS["bone"])
