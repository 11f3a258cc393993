"""How long the rest of a fit takes, from how fast its steps have been of late."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

MEMORY = 3.0  # seconds: what is longer ago hardly counts


class Pace:
    """Seconds a step, of the time between `resume` and `record` alone.

    A fit begins slowly (libraries load, caches fill) and a machine gets busy and idle again, so the latest
    seconds count most. While a fit waits for its caller, who may pause it, no time passes.
    """

    def __init__(self, step: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds_per_step: float | None = None  # None before the second record
        self._clock, self._step, self._since = clock, step, clock()
        self._begun = False

    def record(self, step: int) -> None:
        """Note that so many steps are done."""
        passed, steps = self._clock() - self._since, step - self._step
        if self._begun and steps > 0:
            latest = passed / steps
            kept = math.exp(-passed / MEMORY)
            before = latest if self.seconds_per_step is None else self.seconds_per_step
            self.seconds_per_step = kept * before + (1 - kept) * latest
        self._begun, self._step = True, step

    def resume(self) -> None:
        """Note that it goes on."""
        self._since = self._clock()
