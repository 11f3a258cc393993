"""One value for the whole volume, as a kind of field: for files whose exact layer is all that is wanted."""

from __future__ import annotations

import struct
import time
from collections.abc import Generator
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ..core.choices import Device
from ..core.errors import FitError, InrFileError
from ..core.json_fields import Fields
from ..core.place import Place
from .base import Detail, FitProgress, FitResult, FitState
from .settings import Option, Settings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .samples import LrSamples

VALUE = struct.Struct("<f")  # the payload: the field's value, from -1 to 1
CODING = "float32"


@dataclass(frozen=True, kw_only=True)
class ConstantConfig:
    """It has no settings."""

    kind: ClassVar[str] = "constant"
    parameters: ClassVar[int] = 1
    in_words: ClassVar[str] = "one value"


@dataclass(frozen=True, kw_only=True)
class ConstantFit:
    """It takes one step, the same for every volume."""

    all_steps: ClassVar[int] = 1
    seed: ClassVar[int] = 0
    weight_bits: ClassVar[float] = 32.0
    target_psnr: ClassVar[float | None] = None

    def with_all_steps(self, steps: int) -> Self:
        """Return it as it is."""
        return self


class Constant:
    """The field of a value."""

    def __init__(self, value: float, device: torch.device) -> None:
        self.value, self.device = value, device

    def at(self, coordinates: Tensor) -> Tensor:
        """Evaluate at coordinates (n, 3): (n), float32."""
        return coordinates.new_full((len(coordinates),), self.value)

    def on_grid(self, z: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Evaluate on the grid of three axes' coordinates: (nz, ny, nx), float32."""
        return z.new_full((len(z), len(y), len(x)), self.value)


class ConstantKind:
    """See `fields.base.FieldKind`."""

    name = ConstantConfig.kind
    title = "constant"
    config = ConstantConfig
    fit_config = ConstantFit
    preview = False
    presets: ClassVar[dict[str, Settings]] = {}
    options: ClassVar[tuple[Option, ...]] = ()
    ladder = None

    def with_option(self, settings: Settings, name: str, value: Any) -> Settings:
        """Raise FitError, as there are no options."""
        raise FitError(f"a constant has no option {name!r}")

    def suited(self, settings: Settings, shape: tuple[int, int, int], source_bytes: int) -> Settings:
        """Return them as they are."""
        return settings

    def to_meta(self, config: ConstantConfig) -> dict[str, Any]:
        """Return META's object of this kind."""
        return {}

    def from_meta(self, parent: Fields) -> ConstantConfig:
        """Parse META's object of this kind. Raises InrFileError."""
        parent.fields(self.name, "")
        return ConstantConfig()

    def details(self, config: ConstantConfig) -> list[Detail]:
        """Return what there is to say of it."""
        return [("Kind", "none", "The file has no network: its voxels are those of the exact layer.")]

    def check(self, config: ConstantConfig, payload: bytes, coding: str) -> None:
        """Raise InrFileError on a payload that is no value."""
        if coding != CODING or len(payload) != VALUE.size or not -1 <= VALUE.unpack(payload)[0] <= 1:
            raise InrFileError("the constant is not one float32 from -1 to 1; the file is damaged")

    def load(self, config: ConstantConfig, payload: bytes, coding: str, device: torch.device) -> Constant:
        """Return the field that a payload holds. Raises InrFileError if it is damaged."""
        self.check(config, payload, coding)
        return Constant(VALUE.unpack(payload)[0], device)

    def fit(
        self,
        samples: LrSamples,
        settings: Settings,
        device: torch.device,
        stop: Event | None = None,
        resume: FitState | None = None,
        place: Place | None = None,
    ) -> Generator[FitProgress, None, FitResult]:
        """Take the mean of the samples that count, the lowest intensity where none does."""
        yield from ()
        return self._mean(samples)

    def _mean(self, samples: LrSamples) -> FitResult:
        from .psnr import measure_psnr

        started = time.perf_counter()
        total = sum(intensity.double().sum().item() for _, intensity in samples.chunks())
        payload = VALUE.pack(min(max(total / samples.count if samples.count else -1.0, -1.0), 1.0))
        field = Constant(VALUE.unpack(payload)[0], samples.device)
        return FitResult(
            field=field,
            config=ConstantConfig(),
            payload=payload,
            coding=CODING,
            steps=1,
            psnr=measure_psnr(field, samples),
            seconds=time.perf_counter() - started,
            stopped=False,
        )

    def state_to_bytes(self, state: FitState) -> bytes:
        """Raise FitError, as a fit of one step has no state."""
        raise FitError("a constant is found in one step, so there is no fit to resume")

    def state_from_bytes(self, body: bytes) -> FitState:
        """Raise FitError, as a fit of one step has no state."""
        raise FitError("a constant is found in one step, so there is no fit to resume")

    def bytes_of_fit(self, settings: Settings) -> int:
        """Return how many bytes a fit takes, beside the samples."""
        return 0

    def work(self, settings: Settings, samples: int) -> float:
        """Return how long a fit takes, in steps' time."""
        return 1.0

    def pace(self, settings: Settings, device: Device) -> tuple[object, ...]:
        """Return what the time of a step depends on."""
        return self.name, device


CONSTANT = ConstantKind()
NO_NETWORK = Settings(preset="none", factor=(1.0, 8.0, 8.0), field=ConstantConfig(), fit=ConstantFit())
