"""Room for the voxels of a volume: in memory, or in a file for those that are large."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InrError
from .memory import is_large
from .words import in_bytes


def room(
    shape: Sequence[int], dtype: Any, what: str, advice: str, error: type[InrError] = InrError
) -> NDArray[Any]:
    """Return an array to fill. A large one lies in a nameless file, which goes when nothing uses it any more.

    Of such a file the system holds in memory what there is room for. `what` is what lies there ("the series,
    4096 x 4096 x 4096 int16,"), `advice` what a person can do. Raises `error` if the disk does not suffice.
    """
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    if not is_large(nbytes):
        return np.empty(shape, dtype)
    folder = tempfile.gettempdir()
    needed = f"{what} needs {in_bytes(nbytes)}, more than a share of the free memory, so it goes to {folder}"
    advice = f"set TMPDIR to a folder with more space, or {advice}"
    if nbytes > (free := shutil.disk_usage(folder).free):
        raise error(f"{needed}, which has {in_bytes(free)}; {advice}")
    try:
        with tempfile.TemporaryFile() as file:
            if hasattr(os, "posix_fallocate"):  # or a disk that fills up later would end the process
                os.posix_fallocate(file.fileno(), 0, nbytes)
            return np.memmap(file, dtype, "w+", shape=tuple(shape))
    except OSError as reason:
        raise error(f"{needed}, and that fails: {reason.strerror or reason}; {advice}") from reason
