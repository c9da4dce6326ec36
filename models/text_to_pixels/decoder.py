"""The decoder: codes and skipped features to the fused image."""

from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ivif.models.layers.convolution import ReplicateConv2d
from ivif.models.text_to_pixels.config import TextToPixelsConfig
from ivif.models.text_to_pixels.extractor import ConvolutionLayer

_SMALL_START: Final = 0.1
_HALF_LEVEL: Final = 0.5 / 255


class FusionDecoder(nn.Module):
    """Codes, enlarged bilinearly, beside psi; then 3x3 layers and (tanh + 1) / 2.

    The linear layer that narrows the codes to psi's channels runs before the enlargement, with which it commutes.
    Codes alone could not carry texture: there is one for each 8x8 pixels. With `residual` the output starts as the mean
    of both sources, from which the layers learn to depart: a network that first has to learn to draw at all is far from
    any detector's reach.

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

        self.starts_from_mean = config.residual
        if config.residual:
            with torch.no_grad():
                self.reconstruction.weight.mul_(_SMALL_START)

    def forward(self, codes: Tensor, features: Tensor, mean: Tensor) -> Tensor:
        """Reconstructs the fused image.

        Args:
            codes: (B, h, w, d), of a grid of any stride.
            features: psi (B, features, H, W).
            mean: Mean of both sources (B, 1, H, W) in [0, 1], where the output starts.

        Returns:
            (B, 1, H, W) in [0, 1], float32 or wider.
        """
        narrow = self.narrow(codes).permute(0, 3, 1, 2)
        if narrow.shape[2:] != features.shape[2:]:
            narrow = F.interpolate(narrow, size=features.shape[2:], mode="bilinear")
        refined = self.layers(torch.cat((self.enlarged(narrow), features.to(narrow.dtype)), dim=1))
        with torch.autocast(features.device.type, enabled=False):  # bfloat16 has too few digits for 255 grey levels
            image = self.reconstruction(refined.to(self.reconstruction.weight.dtype))
            if self.starts_from_mean:
                # (tanh(d + artanh(2m - 1)) + 1) / 2 is m at d = 0; half a grey level keeps black and white finite.
                image = image + torch.logit(mean.to(image.dtype), eps=_HALF_LEVEL) / 2.0
            image = torch.tanh(image)
        return (image + 1.0) / 2.0
