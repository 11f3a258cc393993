"""SRDenseNet-All: the network that restores what Lanczos cannot, in the plane, one slice at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .network import Network

BLOCKS = 8  # dense blocks
LAYERS = 8  # convolutions in a block
GROWTH = 16  # maps that each of them adds
LEVEL = LAYERS * GROWTH  # 128 maps: the low-level features, and what each block gives
COMPACT = 256  # maps behind the bottleneck and in the deconvolutions


class DenseBlock(nn.Module):
    """Eight convolutions, each fed with the maps of all before it; gives their 128 maps, without its input.

    Only the first sees the block's input: if all eight saw it, the network would have 7.3 M parameters.
    """

    def __init__(self, in_maps: int) -> None:
        super().__init__()
        widths = [in_maps, *(GROWTH * layer for layer in range(1, LAYERS))]
        self.layers = nn.ModuleList(nn.Conv2d(width, GROWTH, 3, padding=1) for width in widths)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, in_maps, h, w) to (n, 128, h, w)."""
        first, *others = self.layers
        grown = functional.relu_(first(maps))
        for layer in others:
            grown = torch.cat([grown, functional.relu_(layer(grown))], dim=1)
        return grown


class SRDenseNet(Network):
    """SRDenseNet-All x4 (Tong et al. 2017, "Image Super-Resolution Using Dense Skip Connections").

        LR -> low_level -> c_0 (128)
        c_0 .. c_i -> block i -> c_i+1 (128)               i = 0 .. 7
        c_0 .. c_8 (1152) -> bottleneck (256) -> deconvolutions x2 (256), x2 (256) -> reconstruction -> HR

    Parameters: low level 1,280; blocks 1,180,672; bottleneck 295,168; deconvolutions 1,180,160;
    reconstruction 2,305; together 2,659,585. One slice 128x128 -> 512x512 costs 73.1 G multiplications.
    The text leaves some sizes open. These come to the 2.66 M and 73 G known for it: 128 low-level maps,
    blocks whose later convolutions do not see the block's input, 3x3 deconvolutions from 256 maps to 256.

    One thing departs from the papers: it gives the difference to the Lanczos image, not the image itself.
    x2, of which they do not speak, has one deconvolution.
    """

    architecture = "srdensenet"
    feature_reach = 1 + BLOCKS * LAYERS  # LR voxels on each side that `features` sees
    restore_reach = 1  # LR voxels on each side that `restore` sees

    def __init__(self, factor: int = 4) -> None:
        super().__init__(factor)
        self.low_level = nn.Conv2d(1, LEVEL, 3, padding=1)
        self.blocks = nn.ModuleList(DenseBlock(LEVEL * (block + 1)) for block in range(BLOCKS))
        self.bottleneck = nn.Conv2d(LEVEL * (BLOCKS + 1), COMPACT, 1)
        self.deconvolutions = nn.ModuleList(
            nn.ConvTranspose2d(COMPACT, COMPACT, 3, stride=2, padding=1, output_padding=1)
            for _ in range(factor.bit_length() - 1)
        )
        self.reconstruction = nn.Conv2d(COMPACT, 1, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")  # He et al. 2015, as Tong et al.
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(self.reconstruction.weight)

    def features(self, lr: Tensor) -> Tensor:
        """Map LR (n, 1, h, w) to features (n, 256, h, w). Wide reach, little memory: all on the LR grid."""
        levels = functional.relu_(self.low_level(lr))
        for block in self.blocks:
            levels = torch.cat([levels, block(levels)], dim=1)
        return functional.relu_(self.bottleneck(levels))

    def restore(self, features: Tensor) -> Tensor:
        """Map features (n, 256, h, w) to the difference (n, 1, f h, f w). Short reach, most of the memory."""
        for deconvolution in self.deconvolutions:
            features = functional.relu_(deconvolution(features))
        hr: Tensor = self.reconstruction(features)
        return hr
