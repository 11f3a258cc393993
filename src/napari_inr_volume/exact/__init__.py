"""Voxels to within a bound, or without any error: beside the representation, and independent of it."""
