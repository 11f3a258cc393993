"""What a stranger does first, in the environment that runs this: start napari, open samples and panels.

NAPARI_CONFIG= xvfb-run -a python scripts/smoke.py

Ends with an error if anything is missing, or if the sample does not sharpen to the phantom that it is of.
"""

import time

import napari
import numpy as np
from qtpy.QtCore import QTimer

from napari_inr_volume.core.metrics import psnr
from napari_inr_volume.core.phantom import head_phantom

PLUGIN = "napari-inr-volume"
PANELS = ("Compress (INR)", "INR file", "Codec comparison", "Batch")
PATIENCE = 300  # seconds for a slice to be decoded in the background
LEAST_PSNR = 33.0  # dB (range) of that slice; the whole sample has 35.7


def main() -> None:
    """Do it, on the middle slice, which napari shows first."""
    viewer = napari.Viewer(show=True)
    (phantom,) = viewer.open_sample(PLUGIN, "head_phantom")
    *_, fitted = viewer.open_sample(PLUGIN, "head_phantom_inr")
    panels = [viewer.window.add_plugin_dock_widget(PLUGIN, panel)[1] for panel in PANELS]
    names = [layer.name for layer in viewer.layers]
    z = viewer.dims.current_step[0]
    latest = time.monotonic() + PATIENCE

    def look() -> None:
        """Close the window once the slice in view is decoded."""
        if fitted.data.sharp or time.monotonic() > latest:
            shown.append(np.asarray(fitted.data[z]))
            viewer.close()
        else:
            QTimer.singleShot(100, look)

    shown: list[np.ndarray] = []
    QTimer.singleShot(5_000, look)  # by then the panels have looked at the layers
    napari.run()
    assert len(panels) == len(PANELS)
    assert shown, "the window was closed before anything was seen"
    volume = head_phantom()
    np.testing.assert_array_equal(phantom.data[z], volume.voxels[z])
    error = (shown[0].astype(float) - volume.voxels[z])[volume.measured(z)]
    low, high = volume.intensity_range
    found = psnr(float(np.mean(error**2)), high - low)
    assert found > LEAST_PSNR, f"slice {z} of the sample is {found:.1f} dB from the phantom"
    print(f"napari {napari.__version__} has opened: {', '.join(names)}; slice {z} has {found:.1f} dB")


if __name__ == "__main__":
    main()
