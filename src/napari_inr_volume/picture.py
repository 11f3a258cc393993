"""The picture of a comparison: one slice on every stage of the way, as in the paper's figures 7-9."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .core.atomic import atomic_write
from .core.extras import extra
from .core.lowres import filled
from .core.metrics import psnr
from .core.resample import resample_plane
from .core.units import RAW, suffix, within
from .core.volume import Volume
from .core.windows import Window, find_window
from .core.words import in_figures
from .measuring import Measured
from .reader import Reader
from .superres.upscale import LanczosUpscaler

with extra("figures", "the picture of a comparison"):
    from matplotlib import colormaps
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

PANEL = 3.4  # inches, the width of one image
GAP = 0.1  # inches between images
TITLE = 0.5  # inches above each row of images, and above both
BAR = 0.9  # inches for the colour bar beside the error
DPI = 150  # dots per inch: a 512 x 512 slice is shown voxel by voxel
SUFFIX = ".png"
SOFTWARE = "napari-inr-volume"  # what a picture says that it was made by
ERROR_PERCENTILE = 99.5  # of the absolute error: where the colours of the error map end


def draw_comparison(
    path: Path,
    volume: Volume,
    reader: Reader,
    measured: Measured,
    *,
    z: int,
    window: Window,
) -> None:
    """Decode slice z of an `.inr` and write the picture of it beside the original, a PNG.

    The LR shown is that of slice z itself, reduced in the plane, beside what the network gives at its z.
    Raises InrError if the file cannot be saved.
    """
    factor = reader.inr.factor[1:]
    has_sr = reader.upscaler.name != "lanczos"
    whole = [("LR", measured.lr_psnr), ("Lanczos HR", measured.lanczos.psnr)]
    whole += [("SR HR", measured.reconstruction.psnr)] if has_sr else []
    figure = comparison_figure(
        volume,
        z,
        lr=resample_plane(filled(volume, z), reader.inr.lr_shape[1:], factor),
        lr_reconstructed=reader.lr_plane(z),
        lanczos_hr=reader.by(LanczosUpscaler(factor)).plane(z),
        sr_hr=reader.plane(z) if has_sr else None,
        factor=factor,
        window=window,
        title="whole volume, PSNR (range): " + ", ".join(f"{name} {_decibels(db)}" for name, db in whole),
    )
    _save(figure, path)


def draw_exact(path: Path, volume: Volume, reader: Reader, *, z: int, window: Window) -> None:
    """Write a PNG of slice z of the original, of what the exact layer keeps of it, and of its error.

    Raises InrError if the file cannot be saved or that part of the layer is damaged.
    """
    layer = reader.inr.exact
    assert layer is not None  # a file without a network has one
    true, kept, exact = volume.plane(z), volume.measured(z), reader.plane(z, "exact")
    figure = _figure(volume, panels=3)
    original, decoded, error = figure.axes
    _show(original, true, volume, window, f"Original\n{true.shape[0]} × {true.shape[1]} voxels")
    promised = within(layer.max_error, volume.units)
    _show(decoded, exact, volume, window, f"Exact layer\n{promised}")
    _show_error(figure, error, _error(exact, true, kept), volume, "exact layer")
    figure.suptitle(_heading(volume, z, window), fontsize="medium", y=1 - GAP / figure.get_figheight())
    _save(figure, path)


def is_picture(path: Path) -> bool:
    """Return whether a file is a picture that `draw_comparison` wrote; what cannot be read is none."""
    try:
        with path.open("rb") as file:
            head = file.read(1024)  # texts stand before the pixels
    except OSError:
        return False
    return head.startswith(b"\x89PNG\r\n\x1a\n") and f"tEXtSoftware\0{SOFTWARE}".encode() in head


def comparison_figure(
    original: Volume,
    z: int,
    *,
    lr: NDArray[np.float32],
    lr_reconstructed: NDArray[np.float32],
    lanczos_hr: NDArray[Any],
    sr_hr: NDArray[Any] | None = None,
    factor: tuple[float, float],
    window: Window | None = None,
    title: str = "",
) -> Figure:
    """Draw slice z of the original, its LR, the LR and the HR as decoded, and the HR's error.

    `lr` and `lr_reconstructed` are (h, w), `lanczos_hr` and `sr_hr` (y, x) as the original's slice, all in
    its units; `factor` is HR voxels per LR voxel (y, x). Without `sr_hr` its panel is left out and the error
    is that of `lanczos_hr`. PSNRs are those of the slice shown, with the peak equal to the volume's intensity
    range, padding excluded.
    """
    window = find_window("full", original) if window is None else window
    true, kept = original.plane(z), original.measured(z)
    # An LR voxel counts if most of it was measured, as in the fit.
    lr_kept = None if kept is None else resample_plane(kept.astype(np.float32), lr.shape, factor) >= 0.5
    lr_error, lanczos_error = _error(lr_reconstructed, lr, lr_kept), _error(lanczos_hr, true, kept)
    sr_error = None if sr_hr is None else _error(sr_hr, true, kept)

    figure = _figure(original, panels=5 if sr_hr is None else 6)
    axes = iter(figure.axes)
    sizes = [f"{plane.shape[0]} × {plane.shape[1]} voxels" for plane in (true, lr)]
    _show(next(axes), true, original, window, f"Original HR\n{sizes[0]}")
    _show(next(axes), lr, original, window, f"LR\n{sizes[1]}", factor)
    decoded = f"Reconstructed LR\n{_quality(lr_error, original)}"
    _show(next(axes), lr_reconstructed, original, window, decoded, factor)
    _show(next(axes), lanczos_hr, original, window, f"Lanczos HR\n{_quality(lanczos_error, original)}")
    if sr_hr is None or sr_error is None:
        _show_error(figure, next(axes), lanczos_error, original, "Lanczos HR")
    else:
        _show(next(axes), sr_hr, original, window, f"SR HR\n{_quality(sr_error, original)}")
        _show_error(figure, next(axes), sr_error, original, "SR HR")
    heading = f"{_heading(original, z, window)}\n{title}".strip()
    figure.suptitle(heading, fontsize="medium", y=1 - GAP / figure.get_figheight())
    return figure


def _heading(original: Volume, z: int, window: Window) -> str:
    unit = "" if original.units == RAW else f", {original.units}"
    return f"Slice {z} (of 0 to {original.shape[0] - 1}), window {window}{unit}"


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": SOFTWARE})


def _error(plane: NDArray[Any], true: NDArray[Any], kept: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Return plane - true, NaN where nothing was measured."""
    error = plane.astype(np.float64) - true
    return error if kept is None else np.where(kept, error, np.nan)


def _quality(error: NDArray[np.float64], original: Volume) -> str:
    """Return the PSNR of a slice for its title."""
    squares = error[np.isfinite(error)] ** 2
    low, high = original.intensity_range
    return (
        f"PSNR (range) {_decibels(psnr(squares.mean(), high - low))}" if squares.size else "nothing measured"
    )


def _figure(original: Volume, panels: int) -> Figure:
    """Return an empty figure of three panels a row, as high as the slices' physical size asks for."""
    (_, height, width), (_, row, column) = original.shape, original.geometry.spacing
    panel_height = PANEL * min(max(height * row / (width * column), 0.4), 2.5)
    total_width = 3 * (PANEL + GAP) + GAP + BAR
    rows = -(-panels // 3)
    total_height = rows * (panel_height + TITLE) + TITLE + GAP
    figure = Figure(figsize=(total_width, total_height))
    FigureCanvasAgg(figure)
    for panel in range(panels):
        left = GAP + (panel % 3) * (PANEL + GAP)
        bottom = GAP + (rows - 1 - panel // 3) * (panel_height + TITLE)
        figure.add_axes(
            (left / total_width, bottom / total_height, PANEL / total_width, panel_height / total_height)
        )
    return figure


def _show(
    axes: Axes,
    plane: NDArray[Any],
    original: Volume,
    window: Window,
    title: str,
    factor: tuple[float, float] = (1.0, 1.0),
) -> None:
    """Show a slice in grey, in its physical size; an LR that hangs over the end is cropped there."""
    black, white = window.limits
    image = _place(axes, plane, original, title, factor)
    image.set(
        cmap="gray", clim=(black, white), interpolation="antialiased" if factor == (1, 1) else "nearest"
    )


def _show_error(figure: Figure, axes: Axes, error: NDArray[np.float64], original: Volume, name: str) -> None:
    """Show a signed error from blue (too low) over white to red (too high), what was not measured in grey."""
    size = np.abs(error[np.isfinite(error)])
    limit, most, rmse = 1.0, 0.0, 0.0
    if size.any():
        limit, most, rmse = np.percentile(size, ERROR_PERCENTILE), size.max(), np.sqrt(np.mean(size**2))
        limit = limit or most
    figures = f"RMSE {in_figures(rmse)}, at most {in_figures(most)}{suffix(original.units)}"
    title = f"Error: {name} − original\n{figures}"
    image = _place(axes, error, original, title)
    image.set(
        cmap=colormaps["RdBu_r"].with_extremes(bad="0.8"), clim=(-limit, limit), interpolation="antialiased"
    )
    beside = axes.inset_axes((1.03, 0.0, 0.05, 1.0))
    beside.set_title(suffix(original.units).strip(), fontsize="small")
    figure.colorbar(image, cax=beside, extend="both" if most > limit else "neither")


def _place(
    axes: Axes, plane: NDArray[Any], original: Volume, title: str, factor: tuple[float, float] = (1.0, 1.0)
) -> AxesImage:
    """Put a slice into the axes, in mm from the original's outer faces."""
    _, row, column = original.geometry.spacing
    height, width = plane.shape
    image = axes.imshow(plane, extent=(0, width * factor[1] * column, height * factor[0] * row, 0))
    axes.set_xlim(0, original.shape[2] * column)
    axes.set_ylim(original.shape[1] * row, 0)
    axes.set_title(title, fontsize="small")
    axes.set_axis_off()
    return image


def _decibels(value: float) -> str:
    """Return a PSNR for a title."""
    return f"{value:.2f} dB" if np.isfinite(value) else "∞ dB"
