"""What a session is asked for, and what it yields while it does it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike

from .compute.device import find_device
from .core.choices import Device
from .core.lowres import LowResOf
from .core.volume import Volume
from .core.windows import Window
from .exact.encode import Coding
from .exact.learn import Learning
from .fields.base import FitProgress, FitResult
from .fields.registry import find_kind, find_preset, suited
from .fields.settings import Settings
from .inr_volume import InrVolume, UpscalerRef
from .measuring import Choice, Measured
from .planning import FactorModel, Plan
from .reader import Reader
from .superres.upscale import Upscaler, find_upscalers
from .target import PRESET, Target


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for, beside the volume."""

    settings: Settings = field(default_factory=lambda: find_preset("default"))
    target: Target = PRESET  # chooses factor, hidden features and bits per weight of the settings
    upscaler: str | PathLike[str] = "auto"  # as `find_upscalers` takes it; which of them, is measured
    device: Device = "auto"
    embed: bool = False  # the upscaler's weights will be in the file, and count in its size
    max_error: float | None = (
        None  # of any voxel of an exact layer, in the volume's units; None: no such layer
    )
    window: Window | None = None  # of the 8-bit PSNR; None: the full range
    models: tuple[FactorModel, ...] | None = None  # what an earlier look at this volume found

    @property
    def planned(self) -> bool:
        """Whether a target chooses settings."""
        return self.target != PRESET

    @property
    def fits(self) -> bool:
        """Whether a network is fitted."""
        return find_kind(self.settings.field.kind).preview

    def suited(self, volume: Volume) -> Request:
        """Return it with what its settings leave to the volume, unless a target is to choose that."""
        if self.planned:
            return self
        return replace(self, settings=suited(self.settings, volume.shape, volume.source_bytes))

    def find_upscalers(
        self, settings: Settings, plan: Plan | None = None, *, or_lanczos: bool = False
    ) -> tuple[Upscaler, ...]:
        """Return the upscalers to choose from for the factor of these settings, the usual one first.

        Where a plan counted the bytes of one, they are that and Lanczos, which takes none. With `or_lanczos`,
        or where the target chose the factor, Lanczos replaces a network that does not restore that factor.
        Raises InrError if they cannot be had.
        """
        found = find_upscalers(
            self.upscaler,
            settings.factor[1:],
            device=self.device,
            or_lanczos=or_lanczos or self.planned,
        )
        if plan is not None and self.upscaler == "auto":
            found = [one for one in found if one.name in (plan.upscaler, "lanczos")]
        return tuple(found)

    def check(self) -> None:
        """Raise InrError if the device or the upscaler cannot be had: sooner than `run` would."""
        find_device(self.device)
        self.find_upscalers(self.settings)


@dataclass(frozen=True)
class Looking:
    """How far the look at the volume has come, by which a target's settings are chosen."""

    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The settings that are fitted next were chosen."""

    plan: Plan
    reached: float | None  # dB (range) of the reconstruction in the try before, which missed the target


@dataclass(frozen=True)
class NotKept:
    """`keep` failed, for the first time in this fit, which continues."""

    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A fit that has ended, not measured yet: save it now, whatever comes of that."""

    inr: InrVolume  # without quality; it names the first of `upscalers`
    upscalers: tuple[Upscaler, ...]  # of which the best is chosen when it is measured; the usual one first
    device: Device  # to decode on
    result: FitResult | None  # None: nothing was fitted, since `resume` was a network already
    lrs: LowResOf  # the original's LR, to measure against

    @property
    def upscaler(self) -> Upscaler:
        """The one that `inr` names."""
        return self.upscalers[0]

    def by(self, upscaler: Upscaler) -> Fitted:
        """Return the same fit, restored by one upscaler."""
        ref = UpscalerRef(name=upscaler.name, sha256=upscaler.sha256)
        return replace(self, inr=replace(self.inr, upscaler=ref), upscalers=(upscaler,))

    @cached_property
    def reader(self) -> Reader:
        """What decodes it: an LR that its cache holds is decoded once, to be shown and to be measured."""
        return Reader(self.inr, self.upscaler, device=self.device)

    @property
    def stopped(self) -> bool:
        """Whether the fit was stopped by the caller, so that it can be resumed."""
        return self.result is not None and self.result.stopped

    @property
    def model_bytes(self) -> int:
        """Bytes of the upscaler's weights, which a reader needs too."""
        return len(self.upscaler.weights)


@dataclass(frozen=True, kw_only=True, eq=False)
class Compressed:
    """A fit that has been measured; without a network there is nothing to measure."""

    inr: InrVolume  # with its quality
    measured: Measured | None
    fitted: Fitted  # by the upscaler that was chosen
    choice: Choice
    target: Target
    plan: Plan | None  # None without a target

    @property
    def reached(self) -> float:
        """PSNR of the reconstruction in dB (range); NaN without a network."""
        return math.nan if self.measured is None else self.measured.reconstruction.psnr

    @property
    def missed(self) -> str | None:
        """Why the target was missed and by how much, in a sentence; None if it was met."""
        reached = self.reached
        if self.target.kind != "psnr" or reached >= self.target.value:
            return None
        reason = (self.plan and self.plan.missed) or "no larger network promises more"
        return f"the target of {self.target.value:g} dB was not met: {reached:.2f} dB (range); {reason}"


Record = Looking | Planned | FitProgress | NotKept | Fitted | Compressed | Learning | Coding
