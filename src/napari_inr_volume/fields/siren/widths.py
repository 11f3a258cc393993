"""SIRENs of other widths, with settings that suit them. No torch here."""

from __future__ import annotations

import math
from dataclasses import replace

from ..settings import Settings
from .config import siren_of


def with_width(settings: Settings, hidden_features: int) -> Settings:
    """Return the same for so many hidden features, the rate fit for their number.

    With Muon it goes down with the root of the width: at one rate wide networks fall apart (5 x 192 at 0.001
    in 7,000 steps) and narrow ones are slow (docs/benchmarks/tried.md).
    """
    siren, fit = siren_of(settings)
    wide, rate = replace(siren, hidden_features=hidden_features), fit.learning_rate
    if fit.optimiser == "muon":
        rate *= math.sqrt(siren.hidden_features / hidden_features)
    return replace(settings, field=wide, fit=replace(fit, learning_rate=round(rate, 6)))
