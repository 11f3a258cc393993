"""The dock widgets: what a person sees. What they do to the viewer is in `plugin`."""
