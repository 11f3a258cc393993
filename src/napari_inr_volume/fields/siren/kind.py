"""SIREN as a kind of field: what everything outside this room knows of it. Importing it loads no torch."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Any, ClassVar

from ...coding.weights import decode_weights
from ...core.choices import Device
from ...core.errors import InrFileError
from ...core.json_fields import MAX_WHOLE, Fields
from ...core.memory import check_memory
from ...core.place import Place
from ..base import Detail, Field, FitProgress, FitResult
from ..base import FitState as State
from ..settings import Settings
from . import monitoring
from .boxes import UNITS
from .by_volume import suited
from .config import BLOCKS as BLOCKS_NAME
from .config import MAX_BOXES, MAX_SLICES, FitConfig, SirenConfig, siren_of
from .config import SHIFTED as SHIFTED_NAME
from .config import SHIFTED_BLOCKS as SHIFTED_BLOCKS_NAME
from .config import SIREN as SIREN_NAME
from .ladder import SirenLadder
from .options import OPTIONS
from .presets import PRESETS
from .shifts import with_slices
from .widths import with_width

if TYPE_CHECKING:
    import torch

    from ..samples import LrSamples
    from .blocks import Blocks
    from .blocks_state import BlocksState

NETWORK = "layers hidden_features omega_0 hidden_omega"  # META's fields of one
IN_BOXES = f"{NETWORK} boxes cuts margins"
COPIES = 4  # of the network in memory: decoded, in torch, with the omegas folded in, and one to spare

# Of a fit, on the CPU or a GPU that shares its memory: weights, gradients, momenta, rounded and best weights;
# index and random numbers of a batch.
BYTES_A_WEIGHT, BYTES_A_BATCHED = 48, 24


class SirenKind:
    """See `fields.base.FieldKind`."""

    name = SIREN_NAME
    title = "SIREN"
    config = SirenConfig
    fit_config = FitConfig
    preview = True
    presets: ClassVar[dict[str, Settings]] = PRESETS
    options = OPTIONS
    ladder = SirenLadder()

    def with_option(self, settings: Settings, name: str, value: Any) -> Settings:
        """Return settings with another value of an option; another width and other steps set the rate too.

        With another size than the preset's nothing is left to the volume.
        """
        siren, fit = siren_of(settings)
        if name == "hidden_features":
            return replace(with_width(settings, value), by_volume=())
        if name == "all_steps":
            return replace(settings, fit=fit.with_all_steps(value))
        (option,) = (option for option in OPTIONS if option.name == name)
        if option.place == "field":
            return replace(settings, by_volume=(), field=replace(siren, **{name: value}))
        return replace(settings, fit=replace(fit, **{name: value}))

    def suited(self, settings: Settings, shape: tuple[int, int, int], source_bytes: int) -> Settings:
        """Return settings with the factor and the width that suit a volume. See `fields.siren.by_volume`."""
        return suited(settings, shape, source_bytes)

    def to_meta(self, config: SirenConfig) -> dict[str, Any]:
        """Return META's object of this kind."""
        return {
            "layers": int(config.layers),
            "hidden_features": int(config.hidden_features),
            "omega_0": float(config.omega_0),
            "hidden_omega": float(config.hidden_omega),
        }

    def from_meta(self, parent: Fields) -> SirenConfig:
        """Parse META's object of this kind. Raises InrFileError or FitError."""
        return _network(parent.fields(self.name, NETWORK))

    def details(self, config: SirenConfig) -> list[Detail]:
        """Return a description of a network."""
        return [
            ("Kind", self.title, "A network that maps a position (z, y, x) to the intensity there."),
            ("Layers", str(config.layers), "Sine layers, as the paper counts them."),
            ("Hidden features", str(config.hidden_features), "Width of a layer."),
            ("omega_0", f"{config.omega_0:g}", "Frequency of the first layer."),
            ("Hidden omega", f"{config.hidden_omega:g}", "Frequency of the layers after it."),
            ("Parameters", f"{config.parameters:,}", "Numbers fitted to the volume."),
        ]

    def check(self, config: SirenConfig, payload: bytes, coding: str) -> None:
        """Raise InrFileError on a payload that cannot be one of such a network."""
        decode_weights(payload, config.layouts, coding)

    def load(self, config: SirenConfig, payload: bytes, coding: str, device: torch.device) -> Field:
        """Return the network that a payload holds. Raises InrFileError if it is damaged."""
        from .network import Siren

        _check_memory(config)
        return Siren.from_weights(config, decode_weights(payload, config.layouts, coding)).to(device)

    def fit(
        self,
        samples: LrSamples,
        settings: Settings,
        device: torch.device,
        stop: Event | None = None,
        resume: Any = None,
        place: Place | None = None,
    ) -> Generator[FitProgress, None, FitResult]:
        """Fit a network to samples, with shifts if they are worth it. See `fields.siren.fit.fit`."""
        from .fit import fit

        siren, config = siren_of(settings)
        siren = with_slices(siren, samples.voxels.cpu().numpy(), settings.factor[0])
        return fit(samples, siren, config, device, stop, resume)

    def state_to_bytes(self, state: Any) -> bytes:
        """Return a fit's state as bytes."""
        from .fit_state import to_bytes

        return to_bytes(state)

    def state_from_bytes(self, body: bytes) -> State:
        """Return the state that bytes hold. Raises FitError on bytes that no fit leaves."""
        from .fit_state import from_bytes

        return from_bytes(body)

    def bytes_of_fit(self, settings: Settings) -> int:
        """Return how many bytes a fit takes, beside the samples."""
        siren, fit = siren_of(settings)
        return BYTES_A_WEIGHT * siren.parameters + BYTES_A_BATCHED * fit.batch

    def work(self, settings: Settings, samples: int) -> float:
        """Return how long a fit of so many samples takes, in steps' time."""
        return monitoring.work(siren_of(settings)[1], samples)

    def pace(self, settings: Settings, device: Device) -> tuple[object, ...]:
        """Return what the time of a step depends on."""
        siren, fit = siren_of(settings)
        return self.name, siren, fit.batch, fit.optimiser, fit.precision, device


class ShiftedKind(SirenKind):
    """A SIREN that sees each slice moved a little. See `fields.base.FieldKind`."""

    name = SHIFTED_NAME
    title = "SIREN of shifted slices"
    presets: ClassVar[dict[str, Settings]] = {}

    def to_meta(self, config: SirenConfig) -> dict[str, Any]:
        """Return META's object of this kind; of settings before their fit, one as long as it can be."""
        return super().to_meta(config) | _slices_in_meta(config)

    def from_meta(self, parent: Fields) -> SirenConfig:
        """Parse META's object of this kind. Raises InrFileError or FitError."""
        shifted = parent.fields(self.name, f"{NETWORK} slices")
        return _with_slices(_network(shifted), shifted)

    def details(self, config: SirenConfig) -> list[Detail]:
        """Return a description of a network."""
        return [*super().details(config), _slices_in_words(config)]


class BlocksKind(SirenKind):
    """Several SIRENs, each in a box of the volume. See `fields.base.FieldKind`."""

    name = BLOCKS_NAME
    title = "SIRENs in boxes"
    presets: ClassVar[dict[str, Settings]] = {}

    def to_meta(self, config: SirenConfig) -> dict[str, Any]:
        """Return META's object of this kind; of settings before their fit, one as long as it can be."""
        longest = ((2, UNITS - 1),) * (config.boxes - 1)
        return super().to_meta(config) | {
            "boxes": int(config.boxes),
            "cuts": [int(number) for cut in config.cuts or longest for number in cut],
            "margins": [int(margin) for margin in (config.margins if config.cuts else (UNITS - 1,) * 3)],
        }

    def from_meta(self, parent: Fields) -> SirenConfig:
        """Parse META's object of this kind. Raises InrFileError or FitError."""
        return _in_boxes(parent.fields(self.name, IN_BOXES))

    def details(self, config: SirenConfig) -> list[Detail]:
        """Return a description of the networks."""
        return [
            ("Boxes", str(config.boxes), "Parts of the volume, each with a network of its own."),
            *super().details(config),
        ]

    def load(self, config: SirenConfig, payload: bytes, coding: str, device: torch.device) -> Blocks:
        """Return the networks that a payload holds. Raises InrFileError if it is damaged."""
        from .blocks import Blocks
        from .network import Siren

        _check_memory(config)
        weights = decode_weights(payload, config.layouts, coding)
        sirens = [
            Siren.from_weights(network, {name: weights[f"{box}/{name}"] for name in network.layouts})
            for box, network in enumerate(config.networks)
        ]
        return Blocks(config, sirens).to(device)

    def fit(
        self,
        samples: LrSamples,
        settings: Settings,
        device: torch.device,
        stop: Event | None = None,
        resume: Any = None,
        place: Place | None = None,
    ) -> Generator[FitProgress, None, FitResult]:
        """Fit a network to each box, with shifts if they are worth it.

        See `fields.siren.blocks_fit.fit_blocks`.
        """
        from .blocks_fit import fit_blocks

        siren, fit = siren_of(settings)
        siren = replace(siren, cuts=(), margins=(1, 1, 1))
        siren = with_slices(siren, samples.voxels.cpu().numpy(), settings.factor[0])
        return fit_blocks(samples, siren, fit, device, stop, resume, place)

    def state_to_bytes(self, state: Any) -> bytes:
        """Return a fit's state as bytes."""
        from .blocks_state import to_bytes

        return to_bytes(state)

    def state_from_bytes(self, body: bytes) -> BlocksState:
        """Return the state that bytes hold. Raises FitError on bytes that no fit leaves."""
        from .blocks_state import from_bytes

        return from_bytes(body)

    def bytes_of_fit(self, settings: Settings) -> int:
        """Return how many bytes a fit takes, beside the samples."""
        siren, fit = siren_of(settings)
        return BYTES_A_WEIGHT * siren.parameters + BYTES_A_BATCHED * fit.batch * siren.boxes


class ShiftedBlocksKind(BlocksKind):
    """Several SIRENs, each in a box, that see each slice moved a little. See `fields.base.FieldKind`."""

    name = SHIFTED_BLOCKS_NAME
    title = "SIRENs of shifted slices in boxes"

    def to_meta(self, config: SirenConfig) -> dict[str, Any]:
        """Return META's object of this kind; of settings before their fit, one as long as it can be."""
        return super().to_meta(config) | _slices_in_meta(config)

    def from_meta(self, parent: Fields) -> SirenConfig:
        """Parse META's object of this kind. Raises InrFileError or FitError."""
        blocks = parent.fields(self.name, f"{IN_BOXES} slices")
        return _with_slices(_in_boxes(blocks), blocks)

    def details(self, config: SirenConfig) -> list[Detail]:
        """Return a description of the networks."""
        return [*super().details(config), _slices_in_words(config)]


def _network(fields: Fields) -> SirenConfig:
    """Return the network that META describes. Raises InrFileError or FitError."""
    return SirenConfig(
        layers=fields.whole("layers", 1, MAX_WHOLE),
        hidden_features=fields.whole("hidden_features", 1, MAX_WHOLE),
        omega_0=fields.number("omega_0"),
        hidden_omega=fields.number("hidden_omega"),
    )


def _in_boxes(fields: Fields) -> SirenConfig:
    """Return the networks in boxes that META describes. Raises InrFileError or FitError."""
    boxes = fields.whole("boxes", 2, MAX_BOXES)
    numbers = fields.whole_numbers("cuts", 2 * (boxes - 1), 0, UNITS - 1)
    z, y, x = fields.whole_numbers("margins", 3, 1, UNITS - 1)
    cuts = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    return replace(_network(fields), boxes=boxes, cuts=cuts, margins=(z, y, x))


def _with_slices(config: SirenConfig, fields: Fields) -> SirenConfig:
    """Return the same with the shifts that META describes. Raises InrFileError or FitError."""
    return replace(config, shifts=True, slices=fields.whole("slices", 1, MAX_SLICES))


def _slices_in_meta(config: SirenConfig) -> dict[str, Any]:
    return {"slices": int(config.slices or MAX_SLICES)}


def _slices_in_words(config: SirenConfig) -> Detail:
    meaning = "Slices that have a small shift of their own, found by the fit."
    return "Shifted slices", f"{config.slices:,}", meaning


def _check_memory(config: SirenConfig) -> None:
    """Raise InrFileError if memory does not suffice for the networks."""
    check_memory(
        4 * COPIES * sum(layout.size for layout in config.layouts.values()),
        f"the network, {config.in_words} features,",
        "close other programs, or decode the file on a machine with more memory",
        InrFileError,
    )


SIREN = SirenKind()
SHIFTED = ShiftedKind()
BLOCKS = BlocksKind()
SHIFTED_BLOCKS = ShiftedBlocksKind()
