"""What a field is, and a kind of fields: the contracts that everything outside a kind's own room relies on.

A field is a function from coordinates (z, y, x) in [-1, 1] to an intensity in [-1, 1], fitted to one volume.
A kind is what can be fitted, coded and asked again: `fields.siren` is one. To add another, write these and
name it in `fields.registry`.

    samples, settings -> FieldKind.fit -> Fitted (payload) -> .inr -> FieldKind.load -> Field.on_grid
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ..core.choices import Device
from ..core.json_fields import Fields
from ..core.place import Place
from ..core.volume import Triple
from .settings import FieldConfig, FitConfig, Option, Settings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .samples import LrSamples


Detail = tuple[str, str, str]  # a name, a value and what it means, in words


class Field(Protocol):
    """A fitted function, on a device."""

    @property
    def device(self) -> torch.device:
        """Where it computes, and where coordinates must be."""

    def at(self, coordinates: Tensor) -> Tensor:
        """Evaluate at coordinates (n, 3), in the order z, y, x: (n), float32."""

    def on_grid(self, z: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Evaluate on the grid of three axes' coordinates: (nz), (ny), (nx) -> (nz, ny, nx), float32."""


class FitState(Protocol):
    """A fit between two steps, as a frozen dataclass: all that it needs to be resumed."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def field(self) -> FieldConfig:
        """What is fitted."""

    @property
    def fit(self) -> FitConfig:
        """How it is fitted."""

    @property
    def factor(self) -> Triple:
        """HR voxels per LR voxel along z, y, x, of the LR that is fitted."""

    @property
    def device(self) -> str:
        """The type of the device that it ran on: random numbers differ between them."""

    @property
    def step(self) -> int:
        """Steps done."""

    @property
    def seconds(self) -> float:
        """Spent on them."""

    @property
    def best_psnr(self) -> float:
        """PSNR of the LR in dB (range) when it was best; -inf before the first."""


@dataclass(frozen=True, kw_only=True)
class FitProgress:
    """Where a fit stands."""

    step: int
    steps: int  # in all
    loss: float  # mean squared error of the last step, intensities scaled to [-1, 1]
    psnr: float  # dB (range) of the LR when last followed, on a part of it; 0 before the first
    seconds: float  # of fitting, interruptions left out
    seconds_left: float | None  # until it has its result, as fast as of late; None before that is known
    field: Field  # as it is now; look at it (a preview) before asking for the next record
    state: Callable[[], FitState]  # what to resume from; ask for it before asking for the next record


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The best field that a fit found, as it is coded."""

    field: Field  # on the CPU
    config: FieldConfig  # what it is: as it was asked for, with what the fit chose
    payload: bytes  # what the `.inr` holds of it
    coding: str  # how it is coded: a name that the kind knows
    steps: int  # steps done when it was best
    psnr: float  # dB (range) on the whole LR
    seconds: float  # of fitting, interruptions left out
    stopped: bool  # by the caller, before its last step or its target
    state: FitState | None = None  # what to resume from, if it was stopped


class Ladder(Protocol):
    """Settings of all sizes, and what to expect of them: what `planning` chooses from for a target."""

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the options that a target chooses, so that nobody else does."""

    @property
    def bits(self) -> tuple[float, float]:
        """Per weight: the fewest that are worth it, and what a quality is planned with."""

    @property
    def least_bits(self) -> float:
        """Per weight, where even the smallest field needs fewer than that."""

    @property
    def most_bits(self) -> float:
        """Per weight, beyond which it has nothing more to say."""

    def probes(self, base: Settings) -> Sequence[Settings]:
        """Return settings of short fits that tell what longer ones come to."""

    def rungs(self, base: Settings, lr_shape: tuple[int, int, int]) -> Sequence[Settings]:
        """Return the settings to choose from for an LR of this shape, by size, with any `weight_bits`."""

    def lr_psnr(self, settings: Settings, probed: Sequence[float]) -> float:
        """Return the LR PSNR in dB (range) to expect, given that of the probes."""


class FieldKind(Protocol):
    """A kind of fields. One object for each in `fields.registry`; importing it does not load torch."""

    @property
    def name(self) -> str:
        """META's `kind`, and the name of its object in META."""

    @property
    def title(self) -> str:
        """The name as a person reads it."""

    @property
    def config(self) -> type[Any]:
        """The class of its FieldConfig."""

    @property
    def fit_config(self) -> type[Any]:
        """The class of its FitConfig."""

    @property
    def preview(self) -> bool:
        """Whether its fields show the volume: a file of others is nothing without its exact layer."""

    @property
    def presets(self) -> Mapping[str, Settings]:
        """Settings that have a name."""

    @property
    def options(self) -> tuple[Option, ...]:
        """What a person may change of its settings."""

    @property
    def ladder(self) -> Ladder | None:
        """What a target chooses from; None if it cannot be planned for."""

    def with_option(self, settings: Settings, name: str, value: Any) -> Settings:
        """Return settings with another value of an option, and with what follows from it."""

    def suited(self, settings: Settings, shape: tuple[int, int, int], source_bytes: int) -> Settings:
        """Return settings with what they leave to the volume, of this shape (z, y, x) and so many bytes."""

    def to_meta(self, config: Any) -> dict[str, Any]:
        """Return META's object of this kind, as JSON knows its types."""

    def from_meta(self, parent: Fields) -> FieldConfig:
        """Parse META's object of this kind, a field of `parent`. Raises InrFileError or FitError."""

    def details(self, config: Any) -> list[Detail]:
        """Return a description of a field."""

    def check(self, config: Any, payload: bytes, coding: str) -> None:
        """Raise InrFileError on a payload that no such field has; allocates no more than it holds."""

    def load(self, config: Any, payload: bytes, coding: str, device: torch.device) -> Field:
        """Return the field that a payload holds. Raises InrFileError as `check` does, or without memory."""

    def fit(
        self,
        samples: LrSamples,
        settings: Settings,
        device: torch.device,
        stop: Event | None = None,
        resume: Any = None,
        place: Place | None = None,
    ) -> Generator[FitProgress, None, FitResult]:
        """Fit a field to samples; yields a record about ten times a second, returns the best.

        `stop`, set from another thread, ends it with what it has; `resume` is a state of the same fit. Parts
        that are independent are fitted at `place`, if there is one, to the same field. It ends by returning
        or with an InrError: FitError if it diverges, memory does not suffice, the device fails or `resume` is
        of another fit.
        """

    def state_to_bytes(self, state: Any) -> bytes:
        """Return a fit's state as `fields.state_file` keeps it."""

    def state_from_bytes(self, body: bytes) -> FitState:
        """Return the state that `state_to_bytes` gave. Raises FitError on bytes that no fit leaves."""

    def bytes_of_fit(self, settings: Settings) -> int:
        """Return how many bytes a fit takes, beside its samples."""

    def work(self, settings: Settings, samples: int) -> float:
        """Return how long a fit of so many samples takes, in steps' time."""

    def pace(self, settings: Settings, device: Device) -> tuple[object, ...]:
        """Return what the time of a step depends on: settings of one pace take equally long a step."""
