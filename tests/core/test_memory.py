"""What needs more memory than there is, is refused before it is allocated."""

from __future__ import annotations

import sys

import pytest

from napari_inr_volume.core.errors import InrFileError
from napari_inr_volume.core.memory import available, check_memory


def test_what_is_too_large_is_refused_with_what_it_needs_and_what_to_do() -> None:
    check_memory(1000, "a little", "")
    with pytest.raises(InrFileError, match=r"the volume needs 1\.1 PB of memory, and .* are free; crop it"):
        check_memory(2**50, "the volume", "crop it", InrFileError)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of address space")
def test_limit_of_the_process_counts() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (2**40, before[1]))
        assert 0 < available() < 2**40
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
