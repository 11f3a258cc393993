"""The codecs that a person would use instead: within some bytes, or within a bound on every voxel's error."""
