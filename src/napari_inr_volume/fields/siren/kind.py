"""SIREN as a kind of field: what everything outside this room knows of it. Importing it loads no torch."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Any

from ...coding.weights import decode_weights
from ...core.choices import Device
from ...core.errors import InrFileError
from ...core.json_fields import MAX_WHOLE, Fields
from ...core.memory import check_memory
from ..base import Detail, FitProgress, FitResult
from ..settings import Settings
from . import monitoring
from .config import FitConfig, SirenConfig, siren_of
from .ladder import SirenLadder
from .options import OPTIONS
from .presets import PRESETS
from .widths import with_width

if TYPE_CHECKING:
    import torch

    from ..samples import LrSamples
    from .fit_state import FitState
    from .network import Siren

COPIES = 4  # of the network in memory: decoded, in torch, with the omegas folded in, and one to spare

# Of a fit, on the CPU or a GPU that shares its memory: weights, gradients, momenta, rounded and best weights;
# index and random numbers of a batch.
BYTES_A_WEIGHT, BYTES_A_BATCHED = 48, 24


class SirenKind:
    """See `fields.base.FieldKind`."""

    name = SirenConfig.kind
    title = "SIREN"
    config = SirenConfig
    fit_config = FitConfig
    preview = True
    presets = PRESETS
    options = OPTIONS
    ladder = SirenLadder()

    def with_option(self, settings: Settings, name: str, value: Any) -> Settings:
        """Return settings with another value of an option; another width and other steps set the rate too."""
        siren, fit = siren_of(settings)
        if name == "hidden_features":
            return with_width(settings, value)
        if name == "all_steps":
            return replace(settings, fit=fit.with_all_steps(value))
        (option,) = (option for option in OPTIONS if option.name == name)
        if option.place == "field":
            return replace(settings, field=replace(siren, **{name: value}))
        return replace(settings, fit=replace(fit, **{name: value}))

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
        siren = parent.fields(self.name, "layers hidden_features omega_0 hidden_omega")
        return SirenConfig(
            layers=siren.whole("layers", 1, MAX_WHOLE),
            hidden_features=siren.whole("hidden_features", 1, MAX_WHOLE),
            omega_0=siren.number("omega_0"),
            hidden_omega=siren.number("hidden_omega"),
        )

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

    def load(self, config: SirenConfig, payload: bytes, coding: str, device: torch.device) -> Siren:
        """Return the network that a payload holds. Raises InrFileError if it is damaged."""
        from .network import Siren

        check_memory(
            4 * COPIES * config.parameters,
            f"the network, {config.in_words} features,",
            "close other programs, or decode the file on a machine with more memory",
            InrFileError,
        )
        return Siren.from_weights(config, decode_weights(payload, config.layouts, coding)).to(device)

    def fit(
        self,
        samples: LrSamples,
        settings: Settings,
        device: torch.device,
        stop: Event | None = None,
        resume: FitState | None = None,
    ) -> Generator[FitProgress, None, FitResult]:
        """Fit a network to samples. See `fields.siren.fit.fit`."""
        from .fit import fit

        return fit(samples, *siren_of(settings), device, stop, resume)

    def state_to_bytes(self, state: FitState) -> bytes:
        """Return a fit's state as bytes."""
        from .fit_state import to_bytes

        return to_bytes(state)

    def state_from_bytes(self, body: bytes) -> FitState:
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


SIREN = SirenKind()
