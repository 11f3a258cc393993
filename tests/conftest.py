"""Fixtures that several test modules share."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real CT volumes, which do not ship with the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real CT data are not here: no folder {SHARED_DATA.name} beside the project")
    return SHARED_DATA
