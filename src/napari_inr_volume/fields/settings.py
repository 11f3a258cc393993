"""What `compress` needs to know beside the volume. No torch here."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass

from ..core.checks import check_number
from ..core.errors import FitError
from ..core.text import MAX_TEXT
from ..core.volume import Triple
from .base import FieldConfig, FitConfig


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything `compress` needs to know beside the volume. Raises FitError on a bad name or factor."""

    preset: str = "custom"  # the name under which these settings are known, for the record
    factor: Triple = (1.0, 4.0, 4.0)  # HR voxels per LR voxel along z, y, x
    field: FieldConfig  # what is fitted; its `kind` names the room of `fields` that does it
    fit: FitConfig  # how

    def __post_init__(self) -> None:
        name = self.preset  # printable, so that showing it cannot steer a terminal
        if not isinstance(name, str) or not 0 < len(name) <= MAX_TEXT or not name.isprintable():
            raise FitError(
                f"preset must be a text of 1 to {MAX_TEXT} printable characters, got {reprlib.repr(name)}"
            )
        for axis, value in zip("zyx", self.factor, strict=True):
            check_number(f"factor along {axis}", value, 1.0, 64.0)
