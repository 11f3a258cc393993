"""What every super-resolution network here has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn


class Network(nn.Module, ABC):
    """LR (n, 1, h, w) in [0, 1] -> what is to be added to its Lanczos (n, 1, f h, f w), same unit.

    The factor f is 4 or 2 (`factors.FACTORS`). A network begins with its last layer at zero, and so as
    plain Lanczos. It comes in two parts, because `features` sees far and `restore` needs the memory: tiles
    are cut between them.
    """

    architecture: ClassVar[str]  # the name in weights files, in `.inr` files and on the command line
    feature_reach: ClassVar[int]  # LR voxels on each side that `features` sees
    restore_reach: ClassVar[int]  # LR voxels on each side that `restore` sees

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor  # HR voxels per LR voxel along y and along x

    @abstractmethod
    def features(self, lr: Tensor) -> Tensor:
        """Map LR (n, 1, h, w) to features (n, maps, h, w)."""

    @abstractmethod
    def restore(self, features: Tensor) -> Tensor:
        """Map features (n, maps, h, w) to the difference between HR and Lanczos, (n, 1, f h, f w)."""

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (n, 1, h, w) to the difference between HR and Lanczos, (n, 1, f h, f w)."""
        return self.restore(self.features(lr))
