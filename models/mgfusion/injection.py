"""CLIP-driven Information Injection (CII) and the adapters that bring CLIP vectors to the features' width."""

from typing import Final

import torch
from torch import Tensor, nn

from ivif.models.layers.convolution import ReplicateConv2d
from ivif.models.mgfusion.config import MGFusionConfig

ALMOST_ZERO: Final = 1e-3
"""Standard deviation of last weights, so that what a new block predicts hardly depends on its input."""


class Adapter(nn.Module):
    """Two linear layers E -> E/4 -> C with GELU between, without which they would be one; never in half precision.

    Args:
        clip_width: Width E of the CLIP vectors.
        channels: Feature channels C.
        start: What a new adapter gives for any vector, nearly: its last weights are N(0, 1e-3), its bias is this.
    """

    def __init__(self, clip_width: int, channels: int, start: float) -> None:
        super().__init__()
        hidden = max(clip_width // 4, 1)
        last = nn.Linear(hidden, channels)
        nn.init.normal_(last.weight, std=ALMOST_ZERO)
        nn.init.constant_(last.bias, start)
        self.layers = nn.Sequential(nn.Linear(clip_width, hidden), nn.GELU(), last)

    def forward(self, vector: Tensor) -> Tensor:
        """Maps (B, E) to (B, C)."""
        with torch.autocast(vector.device.type, enabled=False):
            adapted: Tensor = self.layers(vector)
        return adapted


def guidance_convolutions(channels: int, out_channels: int) -> nn.Sequential:
    """Conv3x3, ReLU, Conv3x3 with replicated borders: the paper's form of SEP and SAWP.

    Args:
        channels: Channels of the input and between.
        out_channels: Channels of the output.

    Returns:
        The layers.
    """
    return nn.Sequential(
        ReplicateConv2d(channels, channels),
        nn.ReLU(inplace=True),
        ReplicateConv2d(channels, out_channels),
    )


class InformationInjection(nn.Module):
    """CII: adds what CLIP sees in both images to one image's features (eq. 1-2).

    F_c = A(c_i * W_i + c_v * (1 - W_i)), F~ = F + sigmoid(SEP(F)) * F_c. W_i starts at 0.5, without bounds.

    Args:
        config: Shape of the network.
        clip_width: Width E of the CLIP vectors.
    """

    def __init__(self, config: MGFusionConfig, clip_width: int) -> None:
        super().__init__()
        self.infrared_share = nn.Parameter(torch.full((clip_width,), 0.5))
        self.adapter = Adapter(clip_width, config.channels, start=0.0)
        self.spatial_expansion = guidance_convolutions(config.channels, config.channels)

    def forward(self, features: Tensor, clip_infrared: Tensor, clip_visible: Tensor) -> Tensor:
        """Injects CLIP's information.

        Args:
            features: (B, C, H, W), of one of the images.
            clip_infrared: (B, E).
            clip_visible: (B, E).

        Returns:
            (B, C, H, W).
        """
        mixed = clip_infrared * self.infrared_share + clip_visible * (1.0 - self.infrared_share)
        injected = self.adapter(mixed).to(features.dtype)[:, :, None, None]
        weights = torch.sigmoid(self.spatial_expansion(features))
        return torch.addcmul(features, weights.to(features.dtype), injected)
