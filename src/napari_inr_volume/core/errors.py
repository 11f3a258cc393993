"""The project's own errors: every message says what was found, what is allowed and what to do."""


class InrError(Exception):
    """Base of all errors a user can act on.

    Not a RuntimeError on purpose: superqt's generator worker swallows those.
    """


class VolumeError(InrError):
    """The voxels or the geometry cannot make a volume: 2D, empty, constant, NaN, not numeric."""


class SourceError(InrError):
    """A source (DICOM, NIfTI, TIFF, PNG, NumPy) is missing, damaged, ambiguous or not supported."""


class InrFileError(InrError):
    """A file is not an `.inr`, is damaged, or was written by a newer version than this one reads."""


class FitError(InrError):
    """A fit diverged, ran out of memory, or was given settings that cannot work."""


class ModelError(InrError):
    """The weights of a super-resolution network are missing, damaged or not those asked for."""


class TrainingError(InrError):
    """A super-resolution network cannot be trained like this: too little to learn from, or bad settings."""
