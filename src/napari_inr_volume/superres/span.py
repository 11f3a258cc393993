"""SPAN: a small super-resolution network for processors, x4 or x2 in the plane, one slice at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .network import Network

MAPS = 48  # feature maps everywhere
BLOCKS = 6  # attention blocks of three convolutions


class AttentionBlock(nn.Module):
    """Three convolutions whose result is also its own attention, without a parameter for that.

    Wan et al. 2024, eq. 5-7: what differs most from zero, an edge, is let through, flat tissue is held back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(MAPS, MAPS, 3, padding=1) for _ in range(3))

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Map (n, 48, h, w) to the block's result and its first convolution's, both of that shape."""
        first, second, third = self.convolutions
        early = functional.silu(first(maps))
        residue = third(functional.silu(second(early)))
        return (residue + maps) * (torch.sigmoid(residue) - 0.5), early


class Span(Network):
    """SPAN, x4 or x2.

    Source: Wan et al. 2024, "Swift Parameter-free Attention Network for Efficient Super-Resolution".

        LR -> low_level -> block 1 .. block 6 -> last
        low_level, last, result of block 1, first convolution of block 6 (192) -> merge (48) -> reconstruction

    x4 has 411,568 parameters, and one slice 128x128 -> 512x512 costs 6.7 G multiplications, a tenth of
    SRDenseNet's; x2 has 406,372, and 256x256 -> 512x512 costs 26.6 G.
    Two things depart from the paper: it gives the difference to the Lanczos image, and its convolutions are
    trained as they are applied, without re-parameterisation.
    """

    architecture = "span"
    feature_reach = 2 + 3 * BLOCKS  # LR voxels on each side that `features` sees
    restore_reach = 1  # LR voxels on each side that `restore` sees

    def __init__(self, factor: int = 4) -> None:
        super().__init__(factor)
        self.low_level = nn.Conv2d(1, MAPS, 3, padding=1)
        self.blocks = nn.ModuleList(AttentionBlock() for _ in range(BLOCKS))
        self.last = nn.Conv2d(MAPS, MAPS, 3, padding=1)
        self.merge = nn.Conv2d(4 * MAPS, MAPS, 1)
        self.reconstruction = nn.Conv2d(MAPS, factor**2, 3, padding=1)
        nn.init.zeros_(self.reconstruction.weight)
        assert self.reconstruction.bias is not None
        nn.init.zeros_(self.reconstruction.bias)

    def features(self, lr: Tensor) -> Tensor:
        """Map LR (n, 1, h, w) to features (n, 48, h, w)."""
        low_level = self.low_level(lr)
        maps, _ = self.blocks[0](low_level)
        after_first = maps
        for block in self.blocks[1:]:
            maps, early = block(maps)
        merged: Tensor = self.merge(torch.cat([low_level, self.last(maps), after_first, early], dim=1))
        return merged

    def restore(self, features: Tensor) -> Tensor:
        """Map features (n, 48, h, w) to the difference between HR and Lanczos, (n, 1, f h, f w)."""
        return functional.pixel_shuffle(self.reconstruction(features), self.factor)
