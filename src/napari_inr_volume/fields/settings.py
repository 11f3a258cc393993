"""What `compress` needs to know beside the volume: what is fitted, and how. No torch here."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

from ..core.checks import check_number
from ..core.errors import FitError
from ..core.text import MAX_TEXT
from ..core.volume import Triple


class FieldConfig(Protocol):
    """What a field is, as a frozen dataclass: all that META says of it. Raises FitError if not valid."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def kind(self) -> str:
        """The name of its kind."""

    @property
    def parameters(self) -> int:
        """How many numbers are fitted."""

    @property
    def in_words(self) -> str:
        """Its size in a few words, as `5 layers of 110`."""


class FitConfig(Protocol):
    """How a field is fitted and coded, as a frozen dataclass. Raises FitError on a value that cannot work."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def all_steps(self) -> int:
        """Steps in all."""

    @property
    def seed(self) -> int:
        """Where the random numbers start."""

    @property
    def weight_bits(self) -> float:
        """Bits per weight that the payload may take, all in all."""

    @property
    def target_psnr(self) -> float | None:
        """PSNR of the LR in dB (range) with which the fit ends."""

    def with_all_steps(self, steps: int) -> Self:
        """Return the same for so many steps in all."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything `compress` needs to know beside the volume. Raises FitError on a bad name or factor."""

    preset: str = "custom"  # the name under which these settings are known, for the record
    factor: Triple = (1.0, 4.0, 4.0)  # HR voxels per LR voxel along z, y, x
    by_volume: tuple[float, ...] = ()  # factors in the plane that suit some volume; the size follows it too
    field: FieldConfig  # what is fitted; its `kind` names the room of `fields` that does it
    fit: FitConfig  # how

    def __post_init__(self) -> None:
        name = self.preset  # printable, so that showing it cannot steer a terminal
        if not isinstance(name, str) or not 0 < len(name) <= MAX_TEXT or not name.isprintable():
            raise FitError(
                f"preset must be a text of 1 to {MAX_TEXT} printable characters, got {reprlib.repr(name)}"
            )
        check_factor(self.factor)


def check_factor(factor: Triple) -> None:
    """Raise FitError unless this can be a downsampling factor along z, y, x."""
    for axis, value in zip("zyx", factor, strict=True):
        check_number(f"factor along {axis}", value, 1.0, 64.0)


@dataclass(frozen=True, kw_only=True)
class Option:
    """A number or a choice of a kind's settings that a person may change, for forms and command lines."""

    name: str  # of the attribute
    place: Literal["field", "fit"]  # of `Settings`
    title: str
    help: str
    value: type[int] | type[float] | type[str]
    low: float = 0.0
    high: float = 0.0
    step: float = 1.0
    decimals: int = 0
    unit: str = ""
    choices: tuple[str, ...] = ()  # of a text
    optional: bool = False  # it may be None: not asked for

    def of(self, settings: Settings) -> Any:
        """Return the value that settings have."""
        return getattr(getattr(settings, self.place), self.name)
