"""The feature encoders: IRE for infrared, VIE for visible images."""

import torch
from torch import Tensor, nn

from ivif.models.layers.convolution import ReplicateConv2d
from ivif.models.layers.restormer import RestormerStack
from ivif.models.mgfusion.config import MGFusionConfig


class FeatureLayer(nn.Module):
    """Conv3x3, batch normalisation, LeakyReLU(0.2): the paper's feature extraction layer.

    The convolution has no bias, which the normalisation would remove, and replicates the border.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = ReplicateConv2d(in_channels, out_channels, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in, H, W) to (B, out, H, W), any size."""
        # An image of one channel has no memory format of its own: from here on all is channels_last.
        features = self.convolution(x).contiguous(memory_format=torch.channels_last)
        result: Tensor = self.activation(self.norm(features))
        return result


class FeatureEncoder(nn.Module):
    """IRE or VIE: two feature extraction layers, then N Restormer blocks (section 3.2).

    Args:
        config: Shape of the network.
        in_channels: 1 for infrared, 3 for visible images.
    """

    def __init__(self, config: MGFusionConfig, in_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            FeatureLayer(in_channels, config.channels), FeatureLayer(config.channels, config.channels)
        )
        self.restormer = RestormerStack(config.channels, config.blocks, config.heads, config.expansion)

    def forward(self, image: Tensor, recompute: bool = False) -> Tensor:
        """Extracts features.

        Args:
            image: (B, in_channels, H, W) in [0, 1], any size.
            recompute: See `RestormerStack.forward`.

        Returns:
            (B, C, H, W), channels_last memory.
        """
        features: Tensor = self.restormer(self.layers(image), recompute)
        return features
