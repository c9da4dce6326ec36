"""The decoder: codes and skipped features to the fused image."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.convolution import ReplicateConv2d
from models.text_to_pixels.config import TextToPixelsConfig
from models.text_to_pixels.extractor import ConvolutionLayer


class FusionDecoder(nn.Module):
    """Codes, enlarged bilinearly, beside psi; then 3x3 layers and (tanh + 1) / 2.

    The linear layer that narrows the codes to psi's channels runs before the enlargement, with which it commutes.
    Codes alone could not carry texture: there is one for each 8x8 pixels.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: TextToPixelsConfig) -> None:
        super().__init__()
        self.narrow = nn.Linear(config.width, config.features, bias=False)  # the normalisation would remove it
        self.enlarged = ConvolutionLayer(config.features, config.features)
        widths = (2 * config.features, *config.decoder_channels)
        self.layers = nn.Sequential(*(ConvolutionLayer(before, after) for before, after in pairwise(widths)))
        self.reconstruction = ReplicateConv2d(widths[-1], 1)

    def forward(self, codes: Tensor, features: Tensor) -> Tensor:
        """Reconstructs the fused image.

        Args:
            codes: (B, h, w, d), of a grid of any stride.
            features: psi (B, features, H, W).

        Returns:
            (B, 1, H, W) in [0, 1], float32 or wider.
        """
        narrow = self.narrow(codes).permute(0, 3, 1, 2)
        if narrow.shape[2:] != features.shape[2:]:
            narrow = F.interpolate(narrow, size=features.shape[2:], mode="bilinear")
        refined = self.layers(torch.cat((self.enlarged(narrow), features.to(narrow.dtype)), dim=1))
        with torch.autocast(features.device.type, enabled=False):  # bfloat16 has too few digits for 255 grey levels
            image = torch.tanh(self.reconstruction(refined.to(self.reconstruction.weight.dtype)))
        return (image + 1.0) / 2.0
