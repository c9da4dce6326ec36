"""CLIP-guided Feature Fusion (CFF) and the plain merge inside it."""

import torch
from torch import Tensor, nn

from ivif.image_ops.sobel import sobel_magnitude
from ivif.models.mgfusion.config import MGFusionConfig
from ivif.models.mgfusion.injection import ALMOST_ZERO, Adapter, guidance_convolutions


class Merge(nn.Module):
    """Concatenation and a 1x1 convolution 2C -> C without bias, optionally with weights for the inputs' channels.

    The paper concatenates two maps of C channels and states a result of C channels; the convolution (as in CDDFuse's
    decoder) resolves it. The ablation w/o CFF uses the same module, so that it removes the guidance and nothing else.

    Args:
        channels: Channels C of each input and of the result.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2 * channels, channels, 1, bias=False)

    def forward(self, infrared: Tensor, visible: Tensor, gains: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Merges [w_i * F_i, w_v * F_v].

        The weights are folded into the convolution: neither weighted maps nor their concatenation are ever made.

        Args:
            infrared: F_i (B, C, H, W).
            visible: F_v (B, C, H, W).
            gains: w_i and w_v, (B, C) each; None for ones.

        Returns:
            (B, C, H, W), channels_last memory.
        """
        batch, channels, height, width = infrared.shape
        kernels = self.convolution.weight.view(1, channels, 2 * channels)
        kernels = kernels.expand(batch, -1, -1) if gains is None else kernels * torch.cat(gains, dim=1)[:, None, :]
        first, second = kernels.to(infrared.dtype).transpose(1, 2).chunk(2, dim=1)
        merged = torch.baddbmm(_pixels(infrared) @ first, _pixels(visible), second)
        return merged.view(batch, height, width, channels).permute(0, 3, 1, 2)


class GuidedFusion(nn.Module):
    """CFF: CLIP vectors choose channels, gradients choose places (eq. 3-5).

    w_i = IRA(c_i), w_v = VIA(c_v), F_f = Merge(w_i * F_i, w_v * F_v), W_g = sigmoid(SAWP(Sobel(F_f))),
    F~_f = F_f + W_g * F_f. A new block gives 1.5 times the plain merge.

    Args:
        config: Shape of the network.
        clip_width: Width E of the CLIP vectors.
    """

    def __init__(self, config: MGFusionConfig, clip_width: int) -> None:
        super().__init__()
        self.gate = config.gate
        self.infrared_adapter = Adapter(clip_width, config.channels, start=1.0)
        self.visible_adapter = Adapter(clip_width, config.channels, start=1.0)
        self.merge = Merge(config.channels)
        self.spatial_attention = guidance_convolutions(config.channels, config.sawp_channels)
        weight, bias = list(self.spatial_attention.parameters())[-2:]
        nn.init.normal_(weight, std=ALMOST_ZERO)
        nn.init.zeros_(bias)

    def forward(self, infrared: Tensor, visible: Tensor, clip_infrared: Tensor, clip_visible: Tensor) -> Tensor:
        """Fuses features.

        Args:
            infrared: F~_i (B, C, H, W).
            visible: F~_v (B, C, H, W).
            clip_infrared: c_i (B, E).
            clip_visible: c_v (B, E).

        Returns:
            F~_f (B, C, H, W).
        """
        gains = self.infrared_adapter(clip_infrared), self.visible_adapter(clip_visible)
        if self.gate == "sigmoid":
            gains = gains[0].sigmoid(), gains[1].sigmoid()
        fused: Tensor = self.merge(infrared, visible, gains)
        weights = torch.sigmoid(self.spatial_attention(sobel_magnitude(fused)))
        return torch.addcmul(fused, weights.to(fused.dtype), fused)


def _pixels(features: Tensor) -> Tensor:
    return features.permute(0, 2, 3, 1).flatten(1, 2)
