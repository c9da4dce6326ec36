"""The decoder of base and detail features, of one image or fused."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ivif.models.layers.convolution import ReplicateConv2d
from ivif.models.layers.restormer import RestormerStack
from ivif.models.promptfusion.config import PromptFusionConfig

_HALF_LEVEL = 0.5 / 255


class FeatureDecoder(nn.Module):
    """1x1 from 2C to C, Restormer blocks, Conv3x3 to C/2, LeakyReLU, Conv3x3 to 1, plus the residual, sigmoid.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: PromptFusionConfig) -> None:
        super().__init__()
        self.recompute, self.residual = config.checkpoint_blocks, config.residual
        # A 1x1 convolution as a matrix product: PyTorch's own leaves channels_last memory on one thread.
        self.joint = nn.Linear(2 * config.channels, config.channels, bias=False)
        self.restormer = RestormerStack(config.channels, config.blocks, config.heads, config.expansion)
        self.narrow = ReplicateConv2d(config.channels, config.channels // 2)
        self.reconstruction = ReplicateConv2d(config.channels // 2, 1)

    def forward(self, base: Tensor, detail: Tensor, residual: Tensor) -> Tensor:
        """Draws an image.

        Args:
            base: (B, C, H, W).
            detail: (B, C, H, W).
            residual: (B, 1, H, W) in [0, 1], see `PromptFusionConfig.residual`.

        Returns:
            (B, 1, H, W) in [0, 1], float32 or wider.
        """
        joined = self.joint(torch.cat((base, detail), dim=1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        refined = F.leaky_relu(self.narrow(self.restormer(joined, self.recompute and self.training)))
        with torch.autocast(base.device.type, enabled=False):  # bfloat16 has too few digits for 255 grey levels
            drawn = self.reconstruction(refined.to(self.reconstruction.weight.dtype))
            if self.residual == "added":
                drawn = drawn + residual
            elif self.residual == "logit":
                drawn = drawn + torch.logit(residual.to(drawn.dtype), eps=_HALF_LEVEL)
            image: Tensor = torch.sigmoid(drawn)
        return image
