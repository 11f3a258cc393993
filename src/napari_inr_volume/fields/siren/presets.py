"""The settings that have a name: those of the paper, and our own. No torch here."""

from __future__ import annotations

from ..settings import Settings
from .config import FitConfig, SirenConfig


def _paper(layers: int) -> Settings:
    """Sheibanifard and Yu 2023, sections 3.2 and 4.2: x4 on every axis, Adam at a constant 0.0015.

    The tuning comes after that recipe: the paper does not code its weights.
    """
    return Settings(
        preset=f"paper-{layers}",
        factor=(4.0, 4.0, 4.0),
        field=SirenConfig(layers=layers),
        fit=FitConfig(
            steps=50_000,
            batch=2**16,
            learning_rate=1.5e-3,
            schedule="constant",
            tuning_steps=1_000,
            weight_bits=5.9,
        ),
    )


def _ours(preset: str, steps: int, factor: float, by_volume: tuple[float, ...] = ()) -> Settings:
    """Our own way: shrunk in the plane only, Muon on a cosine schedule, small batches, mixed precision.

    As many weights as the paper's four layers of 128, in five layers (docs/benchmarks/fitting.md,
    "Optimisers").
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
        sampling="deviation",
        least_gain=0.02,
    )
    siren = SirenConfig(layers=5, hidden_features=110, shifts=True)
    return Settings(
        preset=preset,
        factor=(1.0, factor, factor),
        by_volume=by_volume,
        field=siren,
        fit=fit.with_all_steps(steps),
    )


PRESETS: dict[str, Settings] = {
    "fast": _ours("fast", 2_000, 4.0, (2.0, 4.0)),
    "default": _ours("default", 7_000, 4.0, (2.0, 4.0)),
    "quality": _ours("quality", 15_000, 2.0),  # docs/benchmarks/fitting.md, "One network, or boxes"
    "paper-2": _paper(2),
    "paper-3": _paper(3),
    "paper-4": _paper(4),
}
