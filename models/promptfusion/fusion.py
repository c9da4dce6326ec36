"""The layer that fuses detail features: affine couplings (of CDDFuse, Zhao et al., CVPR 2023)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ivif.image_ops.padding import pad_planes

_EXPANSION = 2


class InvertedResidual(nn.Module):
    """1x1 to twice the channels, ReLU6, depthwise 3x3 with mirrored borders, ReLU6, 1x1 back; no biases.

    Args:
        channels: Channels of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = _EXPANSION * channels
        self.widen = nn.Linear(channels, hidden, bias=False)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, groups=hidden, bias=False)
        self.narrow = nn.Linear(hidden, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, H, W, channels) to the same shape."""
        hidden = F.relu6(self.widen(x)).permute(0, 3, 1, 2)
        hidden = F.relu6(self.depthwise(pad_planes(hidden, (1, 1, 1, 1), mode="reflect")))
        result: Tensor = self.narrow(hidden.permute(0, 2, 3, 1))
        return result


class AffineCoupling(nn.Module):
    """One node: the channels are mixed and halved into a and b; b += phi(a), a = a * exp(rho(b)) + eta(b).

    Args:
        channels: Channels C, even.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(channels, channels)
        self.phi = InvertedResidual(channels // 2)
        self.rho = InvertedResidual(channels // 2)
        self.eta = InvertedResidual(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, H, W, C) to the same shape."""
        first, second = self.mix(x).chunk(2, dim=-1)
        second = second + self.phi(first)
        scale = self.rho(second)
        precise = torch.promote_types(scale.dtype, torch.float32)  # exponentials overflow float16 at 11
        first = first * scale.to(precise).exp() + self.eta(second)
        return torch.cat((first, second.to(first.dtype)), dim=-1)


class DetailFusion(nn.Module):
    """Affine-coupling nodes in a row, on the sum of both images' detail.

    Args:
        channels: Channels C, even.
        nodes: Number of nodes.
    """

    def __init__(self, channels: int, nodes: int) -> None:
        super().__init__()
        self.nodes = nn.Sequential(*(AffineCoupling(channels) for _ in range(nodes)))

    def forward(self, detail: Tensor) -> Tensor:
        """Maps (B, C, H, W) to the same shape, channels_last memory."""
        fused: Tensor = self.nodes(detail.permute(0, 2, 3, 1))
        return fused.permute(0, 3, 1, 2)
