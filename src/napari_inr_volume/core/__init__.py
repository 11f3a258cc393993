"""Numbers only: errors, volumes, resampling, metrics. Imports neither torch nor napari."""
