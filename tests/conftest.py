"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before anything imports torch: for networks as small as the tests' threads cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real CT volumes, which do not ship with the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real CT data are not here: no folder {SHARED_DATA.name} beside the project")
    return SHARED_DATA
