"""Words that a person chooses from, the same in code, files, options and menus."""

from __future__ import annotations

from typing import Literal

Device = Literal["auto", "cuda", "mps", "cpu"]
