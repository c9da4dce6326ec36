"""The fusion feature decoder FD."""

import torch
from torch import Tensor, nn

from ivif.models.layers.convolution import ReplicateConv2d
from ivif.models.layers.restormer import RestormerStack
from ivif.models.mgfusion.config import MGFusionConfig
from ivif.models.mgfusion.encoder import FeatureLayer


class FusionDecoder(nn.Module):
    """FD: N Restormer blocks, a feature extraction layer, Conv3x3 and tanh (section 3.3).

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: MGFusionConfig) -> None:
        super().__init__()
        self.tanh_range = config.tanh_range
        self.restormer = RestormerStack(config.channels, config.blocks, config.heads, config.expansion)
        self.layer = FeatureLayer(config.channels, config.channels)
        self.reconstruction = ReplicateConv2d(config.channels, config.out_channels)

    def forward(self, features: Tensor, recompute: bool = False) -> Tensor:
        """Reconstructs the fused image.

        Args:
            features: (B, C, H, W).
            recompute: See `RestormerStack.forward`.

        Returns:
            (B, out_channels, H, W) in [0, 1], float32 or wider; with `tanh_range` raw in [-1, 1] while training.
        """
        refined = self.layer(self.restormer(features, recompute))
        with torch.autocast(features.device.type, enabled=False):  # bfloat16 has too few digits for 255 grey levels
            image = torch.tanh(self.reconstruction(refined.to(self.reconstruction.weight.dtype)))
        if self.tanh_range == "unit":
            return (image + 1.0) / 2.0
        return image if self.training else image.clamp(0.0, 1.0)
