"""Every kind of field, and every preset, by name. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..core.errors import FitError
from .base import FieldKind, Ladder
from .constant import CONSTANT
from .settings import Settings
from .siren.kind import BLOCKS, SHIFTED, SHIFTED_BLOCKS, SIREN

KINDS: dict[str, FieldKind] = {kind.name: kind for kind in (SIREN, SHIFTED, BLOCKS, SHIFTED_BLOCKS, CONSTANT)}
PRESETS: dict[str, Settings] = {
    name: settings for kind in KINDS.values() for name, settings in kind.presets.items()
}


def find_kind(name: str) -> FieldKind:
    """Return the kind of this name. Raises FitError, with the names there are, for another."""
    if name not in KINDS:
        raise FitError(f"there is no kind of field {name!r}; choose one of {', '.join(KINDS)}")
    return KINDS[name]


def find_preset(name: str) -> Settings:
    """Return the preset of this name. Raises FitError, with the names there are, for another."""
    if name not in PRESETS:
        raise FitError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def settings_to_dict(settings: Settings) -> dict[str, Any]:
    """Return settings as JSON types, to be remembered."""
    return {"kind": settings.field.kind, **asdict(settings)}


def settings_from_dict(values: Mapping[str, Any]) -> Settings:
    """Return the settings that `settings_to_dict` gave. Raises FitError if they are not valid."""
    try:
        kind = find_kind(values["kind"])
        z, y, x = values["factor"]
        return Settings(
            preset=values["preset"],
            factor=(z, y, x),
            by_volume=tuple(values.get("by_volume", ())),
            field=kind.config(**values["field"]),
            fit=kind.fit_config(**values["fit"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FitError("these are not settings of a fit") from error


def suited(settings: Settings, shape: tuple[int, int, int], source_bytes: int) -> Settings:
    """Return settings for a volume of this shape (z, y, x): with what a preset leaves to it.

    Settings with another factor or field than their preset's are a person's own, and stay as they are.
    """
    preset = PRESETS.get(settings.preset)
    if preset is None or (settings.factor, settings.field) != (preset.factor, preset.field):
        return settings
    return find_kind(settings.field.kind).suited(settings, shape, source_bytes)


def ladder_of(settings: Settings) -> Ladder:
    """Return what a target chooses from. Raises FitError for a kind of field that cannot be planned for."""
    kind = find_kind(settings.field.kind)
    if kind.ladder is None:
        raise FitError(f"a {kind.title} cannot be chosen by size, ratio or PSNR; give its settings instead")
    return kind.ladder
