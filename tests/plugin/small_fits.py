"""Settings of fits that end in a moment, or not by themselves."""

from __future__ import annotations

from dataclasses import replace

from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig

SMALL = Settings(
    field=SirenConfig(layers=2, hidden_features=16),
    fit=FitConfig(steps=40, batch=256, learning_rate=1e-3),
)
ENDLESS = replace(SMALL, fit=replace(SMALL.fit, steps=10_000_000))
