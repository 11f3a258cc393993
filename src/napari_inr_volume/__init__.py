"""napari-inr-volume."""
