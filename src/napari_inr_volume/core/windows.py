"""Named CT windows: which part of the intensities is shown from black to white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .errors import InrError
from .volume import Volume

WindowName = Literal["full", "brain", "soft tissue", "bone", "lung"]


@dataclass(frozen=True)
class Window:
    """A range of intensities by its middle and its width, as scanners and viewers give it."""

    name: str
    level: float  # the middle, in the volume's units (HU)
    width: float  # from black to white, in the same units

    def __post_init__(self) -> None:
        if not (np.isfinite(self.level) and 0 < self.width < np.inf):
            raise InrError(
                f"a window needs a finite level and a width above 0, got {self.level:g} / {self.width:g}"
            )

    @property
    def limits(self) -> tuple[float, float]:
        """The intensities shown black and white."""
        return self.level - self.width / 2, self.level + self.width / 2

    def to_8bit(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return `values` as grey levels 0 to 255, clipped to the window and rounded to the nearest."""
        black, _ = self.limits
        grey = (values.astype(np.float64) - black) * (255 / self.width)
        return np.rint(np.clip(grey, 0, 255, out=grey), out=grey).astype(np.uint8)

    def __str__(self) -> str:
        return f"{self.name} ({self.level:g} / {self.width:g})"


# Level / width in HU: the default CT presets of the OHIF viewer.
WINDOWS: dict[str, Window] = {
    "brain": Window("brain", 40, 80),
    "soft tissue": Window("soft tissue", 40, 400),
    "bone": Window("bone", 480, 2500),
    "lung": Window("lung", -600, 1500),
}


HEAD_SLICES = 7  # that are looked at, a voxel in four along y and x
BODY, BRAIN, BONE = -300, (10, 60), 300  # HU: above, within, above
# Shares of the body's voxels: in two heads brain is 0.46 to 0.54 and bone 0.15 to 0.24; of fourteen chests,
# abdomens and thighs none has both 0.4 of brain's HU and a tenth of bone.
LEAST_BRAIN, LEAST_BONE = 0.4, 0.1


def find_window(name: str, volume: Volume) -> Window:
    """Return the window of this name for `volume`; "full" is its intensity range.

    Raises InrError for a name there is not, and for a window in HU on a volume that is not in HU.
    """
    if name == "full":
        low, high = volume.intensity_range
        return Window("full", (low + high) / 2, (high - low) or 1.0)  # a flat volume has a window too
    if name not in WINDOWS:
        raise InrError(f"there is no window {name!r}; choose one of {', '.join(get_args(WindowName))}")
    if volume.units != "HU":
        raise InrError(f"the window {name!r} is in HU, but this volume's values are not; use the window full")
    return WINDOWS[name]


def opening_window(volume: Volume) -> Window:
    """Return the window that a volume opens in: brain for a head, soft tissue for the rest of a body.

    Where values are not in HU, or none is in that window, it is the whole range. Looks at a few slices.
    """
    low, high = volume.intensity_range
    usual = WINDOWS["soft tissue"]
    black, white = usual.limits
    if volume.units != "HU" or low >= white or high <= black:
        return find_window("full", volume)
    looked_at = np.stack([volume.plane(z)[::4, ::4] for z in slices_of_a_head(volume.shape[0])])
    return WINDOWS["brain"] if is_head(looked_at) else usual


def slices_of_a_head(depth: int) -> list[int]:
    """Return which slices of a volume to look at, to see whether it is a head."""
    return [int(z) for z in np.unique(np.linspace(0, depth - 1, HEAD_SLICES + 2).astype(int)[1:-1])]


def is_head(voxels: NDArray[Any]) -> bool:
    """Return whether HU of any shape look like those of a head: much brain, within much bone."""
    body = voxels[voxels > BODY]
    if not body.size:
        return False
    brain = np.count_nonzero((body >= BRAIN[0]) & (body < BRAIN[1]))
    bone = np.count_nonzero(body > BONE)
    return bool(brain >= LEAST_BRAIN * body.size and bone >= LEAST_BONE * body.size)
