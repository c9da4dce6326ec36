"""The encoder that both images share: base features and detail features."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ivif.models.layers.convolution import ReplicateConv2d
from ivif.models.layers.restormer import RestormerBlock, RestormerStack
from ivif.models.promptfusion.config import PromptFusionConfig
from ivif.models.promptfusion.detail import DetailBranch


class Features(NamedTuple):
    """What the encoder sees in images.

    Attributes:
        base: What infrared and visible images have in common, (B, C, H, W).
        detail: What each has of its own, (B, C, H, W).
    """

    base: Tensor
    detail: Tensor


class SharedEncoder(nn.Module):
    """Conv3x3 and Restormer blocks, then two branches: a Restormer block for the base, a contourlet network for detail.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: PromptFusionConfig) -> None:
        super().__init__()
        self.recompute = config.checkpoint_blocks
        self.entry = ReplicateConv2d(1, config.channels, bias=False)
        self.restormer = RestormerStack(config.channels, config.blocks, config.heads, config.expansion)
        self.base = RestormerBlock(config.channels, config.heads, config.base_expansion)
        self.detail = DetailBranch(config)

    def forward(self, image: Tensor) -> Features:
        """Extracts features.

        Args:
            image: (B, 1, H, W) in [0, 1], any size.

        Returns:
            Base and detail features.
        """
        entered = self.entry(image).contiguous(memory_format=torch.channels_last)
        shared = self.restormer(entered, self.recompute and self.training)
        return Features(self.base(shared), self.detail(shared))
