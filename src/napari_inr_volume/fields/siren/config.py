"""What a SIREN is and how it is fitted, as frozen settings. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

from ...coding.quantise import Layout
from ...core.checks import check_choice, check_number, check_whole
from ...core.errors import FitError
from ..settings import Settings
from .boxes import UNITS, Cuts, Margins, boxes_of

Optimiser = Literal["adam", "muon"]
Schedule = Literal["constant", "cosine"]
Precision = Literal["float32", "mixed"]
FirstLayer = Literal["alike", "measured"]
Sampling = Literal["random", "lattice", "deviation"]

# The kinds: one network; one that sees slices moved; one in each box; the latter moved too.
SIREN, SHIFTED, BLOCKS, SHIFTED_BLOCKS = "siren", "shifted", "blocks", "shifted-blocks"
MAX_BOXES = 256
MAX_SLICES = 2**20
SHIFT = 0.25  # by which a weight of 1 shifts a slice, in the network's coordinates: so Adam goes slowly there
MOST_RATE = 1e-3  # of Muon, however short a fit is: at a higher one fits fall apart


@dataclass(frozen=True, kw_only=True)
class SirenConfig:
    """A SIREN from (z, y, x) to intensity, as Sheibanifard and Yu's tables 1-3 count its layers.

    Or it is several, each fitted to a box of the volume (`boxes`), of the kind "blocks"; a fit adds where the
    boxes lie. With `shifts` it is of the kind "shifted" or "shifted-blocks", and each network sees each slice
    moved a little; a fit adds how many slices there are. Raises FitError on a value that gives no network.
    """

    layers: int = 4  # sine layers: the input layer 3 -> hidden and the hidden ones; a linear one follows
    hidden_features: int = 128
    omega_0: float = 30.0  # frequency of the first layer (Sitzmann et al. 2020, section 3.2)
    hidden_omega: float = 30.0  # frequency of the layers behind it
    shifts: bool = False  # whether each slice has a shift of its own; see `network`
    slices: int = 0  # evenly spaced along z, that have shifts; none before the fit
    boxes: int = 1  # each with a network of its own
    cuts: Cuts = ()  # that make the boxes; none before the fit
    margins: Margins = (1, 1, 1)  # on either side of a cut, in units of `boxes`

    def __post_init__(self) -> None:
        check_whole("layers", self.layers, 2, 16)
        check_whole("hidden_features", self.hidden_features, 1, 2048)
        check_number("omega_0", self.omega_0, 1e-3, 1e4)
        check_number("hidden_omega", self.hidden_omega, 1e-3, 1e4)
        if not isinstance(self.shifts, bool):
            raise FitError(f"shifts must be true or false, got {self.shifts!r}")
        check_whole("slices", self.slices, 0, MAX_SLICES if self.shifts else 0)
        check_whole("boxes", self.boxes, 1, MAX_BOXES)
        # As tuples, whatever JSON made of them.
        object.__setattr__(self, "cuts", tuple((axis, position) for axis, position in self.cuts))
        object.__setattr__(self, "margins", tuple(self.margins))
        self._check_cuts()

    def _check_cuts(self) -> None:
        if not self.cuts:
            return
        if len(self.cuts) != self.boxes - 1:
            raise FitError(f"{self.boxes} boxes need {self.boxes - 1} cuts, found {len(self.cuts)}")
        for axis, position in self.cuts:
            check_whole("axis of a cut", axis, 0, 2)
            check_whole("position of a cut", position, 1, UNITS - 1)
        for margin in self.margins:
            check_whole("margin of a cut", margin, 1, UNITS - 1)
        try:
            boxes_of(self.cuts)
        except ValueError as error:
            raise FitError(f"the boxes make no sense: {error}") from error

    @property
    def kind(self) -> str:
        """The name of its kind."""
        if self.boxes > 1:
            return SHIFTED_BLOCKS if self.shifts else BLOCKS
        return SHIFTED if self.shifts else SIREN

    @property
    def of_a_box(self) -> SirenConfig:
        """The network of a single box, shifts left out."""
        return replace(self, shifts=False, slices=0, boxes=1, cuts=(), margins=(1, 1, 1))

    @cached_property
    def networks(self) -> tuple[SirenConfig, ...]:
        """The network of each box; with shifts, for the slices whose middles lie in the box."""
        if not self.slices or len(self.cuts) != self.boxes - 1:
            return (self.of_a_box,) * self.boxes
        counts = [len(box.slices(self.slices, self.margins)) for box in boxes_of(self.cuts)]
        return tuple(replace(self.of_a_box, shifts=count > 0, slices=count) for count in counts)

    @property
    def layouts(self) -> dict[str, Layout]:
        """Name and layout of every tensor, in the order in which they are stored, box after box.

        A row of a matrix is what one feature takes from the layer before; but of the first layer's it is what
        all features take from one axis. A bias is one row, and so are the shifts along an axis.
        """
        if self.boxes > 1:
            return {
                f"{box}/{name}": layout
                for box, network in enumerate(self.networks)
                for name, layout in network.layouts.items()
            }
        width = self.hidden_features
        layouts: dict[str, Layout] = {}
        for layer in range(self.layers):
            first = layer == 0
            layouts[f"sine.{layer}.weight"] = Layout((width, 3 if first else width), by_columns=first)
            layouts[f"sine.{layer}.bias"] = Layout((width,))
        layouts["linear.weight"] = Layout((1, width))
        layouts["linear.bias"] = Layout((1,))
        if self.slices:
            layouts["shifts.weight"] = Layout((self.slices, 3), by_columns=True)
        return layouts

    @property
    def parameters(self) -> int:
        """Number of weights: 17,153 / 33,665 / 50,177 for 2 / 3 / 4 layers of 128. Shifts do not count."""
        return self.boxes * sum(layout.size for layout in self.of_a_box.layouts.values())

    @property
    def in_words(self) -> str:
        """As `5 layers of 110`, or `4 boxes of 5 layers of 72`."""
        network = f"{self.layers} layers of {self.hidden_features:,}"
        return network if self.boxes == 1 else f"{self.boxes} boxes of {network}"


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How a SIREN is fitted and its weights are coded. Raises FitError on a value that cannot work."""

    steps: int = 50_000
    batch: int = 65_536  # LR voxels a step
    sampling: Sampling = "random"  # how they are drawn, see `fields.siren.sampling`
    learning_rate: float = 1.5e-3
    schedule: Schedule = "constant"
    optimiser: Optimiser = "adam"
    precision: Precision = "float32"  # mixed: bfloat16 products where the processor has them
    first_layer: FirstLayer = "alike"  # its frequencies along the axes; measured: as the LR changes there
    tuning_steps: int = 0  # steps after these, with weights rounded as they will be coded
    weight_bits: float = 8.0  # bits per weight that the coded weights may take, all in all
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
        check_choice("schedule", self.schedule, get_args(Schedule))
        check_choice("optimiser", self.optimiser, get_args(Optimiser))
        check_choice("precision", self.precision, get_args(Precision))
        check_choice("first_layer", self.first_layer, get_args(FirstLayer))
        check_choice("sampling", self.sampling, get_args(Sampling))
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

        Muon's steps are of a length of their own, however small the gradient. So with Muon the rate goes down
        with the fourth root of the steps, and up to MOST_RATE (docs/benchmarks/tried.md).
        """
        check_whole("steps", steps, 1, 10_000_000)
        tuning = steps * self.tuning_steps // self.all_steps
        rate = self.learning_rate
        if self.optimiser == "muon":
            rate = min(rate * (self.all_steps / steps) ** 0.25, max(rate, MOST_RATE))
        return replace(self, steps=steps - tuning, tuning_steps=tuning, learning_rate=round(rate, 6))


def siren_of(settings: Settings) -> tuple[SirenConfig, FitConfig]:
    """Return network and fit of settings that are a SIREN's."""
    assert isinstance(settings.field, SirenConfig)
    assert isinstance(settings.fit, FitConfig)
    return settings.field, settings.fit
