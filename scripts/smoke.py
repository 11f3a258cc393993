"""What a stranger does first, in the environment that runs this: start napari, open samples and panels.

NAPARI_CONFIG= xvfb-run -a python scripts/smoke.py
"""

import napari
import numpy as np
from qtpy.QtCore import QTimer

PLUGIN = "napari-inr-volume"


def main() -> None:
    """Do it, and end with an error if anything is missing."""
    viewer = napari.Viewer(show=True)
    (phantom,) = viewer.open_sample(PLUGIN, "head_phantom")
    fitted = viewer.open_sample(PLUGIN, "head_phantom_inr")
    for panel in ("Compress (INR)", "INR file", "Codec comparison", "Batch"):
        viewer.window.add_plugin_dock_widget(PLUGIN, panel)
    names = [layer.name for layer in viewer.layers]
    decoded = np.asarray(fitted[-1].data[len(phantom.data) // 2])
    assert decoded.shape == phantom.data.shape[1:]
    QTimer.singleShot(5_000, viewer.close)  # by then the panels have looked at the layers
    napari.run()
    print(f"napari {napari.__version__} has opened: {', '.join(names)}")


if __name__ == "__main__":
    main()
