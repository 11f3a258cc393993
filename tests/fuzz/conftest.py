"""Options of the fuzz tests."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fuzz", "changed files of every kind, read in tests/fuzz")
    group.addoption("--fuzz", type=int, default=12, help="how many changed files of each kind are read")
    group.addoption("--fuzz-seed", type=int, default=0, help="what the changes are drawn from")
    group.addoption("--fuzz-seconds", type=float, default=20.0, help="of CPU that a file may take")
