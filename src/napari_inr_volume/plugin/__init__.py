"""The bridge to napari: layers, readers, writers, samples and commands. Nothing below it knows napari."""
