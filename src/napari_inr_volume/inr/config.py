"""What a SIREN is and how it is fitted: frozen settings and the presets. No torch here."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from ..core.errors import FitError
from ..core.volume import Triple

Optimiser = Literal["adam", "muon"]
Schedule = Literal["constant", "cosine"]
Precision = Literal["float32", "mixed"]
FirstLayer = Literal["alike", "measured"]
Sampling = Literal["random", "lattice"]
Device = Literal["auto", "cuda", "mps", "cpu"]

MAX_TEXT = 200  # characters of a name
MOST_RATE = 1e-3  # of Muon, however short a fit is: at a higher one fits fall apart


@dataclass(frozen=True, kw_only=True)
class SirenConfig:
    """A SIREN from (z, y, x) to intensity, as Sheibanifard and Yu's tables 1-3 count its layers.

    Raises FitError on a value that gives no network.
    """

    layers: int = 4  # sine layers: the input layer 3 -> hidden and the hidden ones; a linear one follows
    hidden_features: int = 128
    omega_0: float = 30.0  # frequency of the first layer (Sitzmann et al. 2020, section 3.2)
    hidden_omega: float = 30.0  # frequency of the layers behind it

    def __post_init__(self) -> None:
        check_whole("layers", self.layers, 2, 16)
        check_whole("hidden_features", self.hidden_features, 1, 2048)
        check_number("omega_0", self.omega_0, 1e-3, 1e4)
        check_number("hidden_omega", self.hidden_omega, 1e-3, 1e4)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor, in the order in which they are stored."""
        width = self.hidden_features
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(self.layers):
            shapes[f"sine.{layer}.weight"] = (width, 3 if layer == 0 else width)
            shapes[f"sine.{layer}.bias"] = (width,)
        shapes["linear.weight"] = (1, width)
        shapes["linear.bias"] = (1,)
        return shapes

    @property
    def parameters(self) -> int:
        """Number of parameters: 17,153 / 33,665 / 50,177 for 2 / 3 / 4 layers of 128."""
        return sum(math.prod(shape) for shape in self.shapes.values())


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How a SIREN is fitted and its weights are coded. Raises FitError on a value that cannot work."""

    steps: int = 50_000
    batch: int = 65_536  # LR voxels a step
    sampling: Sampling = "random"  # how they are drawn, see `inr.sampling`
    learning_rate: float = 1.5e-3
    schedule: Schedule = "constant"
    optimiser: Optimiser = "adam"
    precision: Precision = "float32"  # mixed: bfloat16 products where the processor has them
    first_layer: FirstLayer = "alike"  # its frequencies along the axes; measured: as the LR changes there
    tuning_steps: int = 0  # steps after these, with weights rounded as they will be coded
    weight_bits: float = 8.0  # bits a weight that the coded weights may take, all in all
    target_psnr: float | None = (
        None  # dB (range) on the LR; once it is reached, tuning begins or the fit ends
    )
    least_gain: float | None = None  # dB in half of the steps done; once it is less, the same
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 1, 10_000_000)
        check_whole("batch", self.batch, 1, 2**24)
        check_whole("tuning_steps", self.tuning_steps, 0, 10_000_000)
        check_number("weight_bits", self.weight_bits, 1.0, 16.0)
        check_number("learning_rate", self.learning_rate, 1e-8, 1.0)
        _check_choice("schedule", self.schedule, get_args(Schedule))
        _check_choice("optimiser", self.optimiser, get_args(Optimiser))
        _check_choice("precision", self.precision, get_args(Precision))
        _check_choice("first_layer", self.first_layer, get_args(FirstLayer))
        _check_choice("sampling", self.sampling, get_args(Sampling))
        if self.target_psnr is not None:
            check_number("target_psnr", self.target_psnr, 1.0, 200.0)
        if self.least_gain is not None:
            check_number("least_gain", self.least_gain, 1e-3, 10.0)
        check_whole("seed", self.seed, 0, 2**63 - 1)

    @property
    def all_steps(self) -> int:
        """Steps with those of the tuning."""
        return self.steps + self.tuning_steps

    def with_all_steps(self, steps: int) -> FitConfig:
        """Return the same for so many steps in all: as much of them tuning, the rate fit for their number.

        Muon's steps are of a length of their own, however small the gradient: at one rate a fit four times as
        long falls apart. So with Muon the rate goes down with the root of the steps, and up to MOST_RATE.
        """
        check_whole("steps", steps, 1, 10_000_000)
        tuning = steps * self.tuning_steps // self.all_steps
        rate = self.learning_rate
        if self.optimiser == "muon":
            rate = min(rate * math.sqrt(self.all_steps / steps), max(rate, MOST_RATE))
        return replace(self, steps=steps - tuning, tuning_steps=tuning, learning_rate=round(rate, 6))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything `compress` needs to know beside the volume. Raises FitError on a bad name or factor."""

    preset: str = "custom"  # the name under which these settings are known, for the record
    factor: Triple = (1.0, 4.0, 4.0)  # HR voxels per LR voxel along z, y, x
    siren: SirenConfig = field(default_factory=SirenConfig)
    fit: FitConfig = field(default_factory=FitConfig)

    def __post_init__(self) -> None:
        name = self.preset  # printable, so that showing it cannot steer a terminal
        if not isinstance(name, str) or not 0 < len(name) <= MAX_TEXT or not name.isprintable():
            raise FitError(
                f"preset must be a text of 1 to {MAX_TEXT} printable characters, got {reprlib.repr(name)}"
            )
        for axis, value in zip("zyx", self.factor, strict=True):
            check_number(f"factor along {axis}", value, 1.0, 64.0)

    def with_width(self, hidden_features: int) -> Settings:
        """Return the same for so many hidden features, the rate fit for their number.

        At one rate wide networks fall apart with Muon (5 x 192 at 0.001 in 7,000 steps), so beyond the width
        that the rate is for it goes down with the root of the width; narrow ones keep it.
        """
        siren, rate = replace(self.siren, hidden_features=hidden_features), self.fit.learning_rate
        if self.fit.optimiser == "muon":
            rate *= min(1.0, math.sqrt(self.siren.hidden_features / hidden_features))
        return replace(self, siren=siren, fit=replace(self.fit, learning_rate=round(rate, 6)))


def find_preset(name: str) -> Settings:
    """Return the preset of this name. Raises FitError, with the names there are, for another."""
    if name not in PRESETS:
        raise FitError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def check_whole(name: str, value: object, low: int, high: int) -> None:
    """Raise FitError unless a value is a whole number in this range."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise FitError(f"{name} must be a whole number from {low:,} to {high:,}, got {reprlib.repr(value)}")


def check_number(name: str, value: object, low: float, high: float) -> None:
    """Raise FitError unless a value is a number in this range."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise FitError(f"{name} must be a number from {low:g} to {high:g}, got {reprlib.repr(value)}")


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise FitError(f"{name} must be one of {allowed}, got {reprlib.repr(value)}")


def _paper(layers: int) -> Settings:
    """Sheibanifard and Yu 2023, sections 3.2 and 4.2: x4 on every axis, Adam at a constant 0.0015.

    The tuning comes after that recipe: the paper does not code its weights.
    """
    return Settings(
        preset=f"paper-{layers}",
        factor=(4.0, 4.0, 4.0),
        siren=SirenConfig(layers=layers),
        fit=FitConfig(
            steps=50_000,
            batch=2**16,
            learning_rate=1.5e-3,
            schedule="constant",
            tuning_steps=1_000,
            weight_bits=5.9,
        ),
    )


def _ours(preset: str, steps: int, shrink: float = 4.0) -> Settings:
    """Our own way: shrunk in the plane only, Muon on a cosine schedule, small batches, mixed precision.

    As many weights as the paper's four layers of 128, in five layers (docs/benchmarks.md, "Optimisers").
    """
    fit = FitConfig(
        steps=6_000,
        tuning_steps=1_000,
        weight_bits=5.0,
        batch=2_048,
        learning_rate=1e-3,
        schedule="cosine",
        optimiser="muon",
        precision="mixed",
        first_layer="measured",
        sampling="lattice",
        least_gain=0.02,
    )
    siren = SirenConfig(layers=5, hidden_features=110)
    return Settings(preset=preset, factor=(1.0, shrink, shrink), siren=siren, fit=fit.with_all_steps(steps))


PRESETS: dict[str, Settings] = {
    "fast": _ours("fast", 2_000),
    "default": _ours("default", 7_000),
    "quality": _ours("quality", 30_000, shrink=2.0),  # docs/benchmarks.md, "Bytes against quality"
    "paper-2": _paper(2),
    "paper-3": _paper(3),
    "paper-4": _paper(4),
}
