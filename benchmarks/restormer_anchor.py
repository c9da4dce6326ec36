"""The anchor of the MGFusion benchmark: Restormer blocks as they are published, for speed only.

Zamir et al., CVPR 2022 (https://github.com/swz30/Restormer, MIT): normalisation over channels on rearranged copies,
attention on normalised copies of queries and keys, projection after attention. The package's blocks compute the same.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ivif.models.layers.restormer import RestormerStack


class PublishedNorm(nn.Module):
    """Layer normalisation with bias, written out on (B, HW, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalises (B, C, H, W)."""
        height = x.shape[-2]
        pixels = rearrange(x, "b c h w -> b (h w) c")
        mean = pixels.mean(-1, keepdim=True)
        variance = pixels.var(-1, keepdim=True, unbiased=False)
        pixels = (pixels - mean) / torch.sqrt(variance + 1e-5) * self.weight + self.bias
        return rearrange(pixels, "b (h w) c -> b c h w", h=height)


class PublishedBlock(nn.Module):
    """Attention between channels and gated feed-forward, as published."""

    def __init__(self, channels: int, heads: int, expansion: float) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.heads = heads
        self.norm1, self.norm2 = PublishedNorm(channels), PublishedNorm(channels)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.qkv_dwconv = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=False)
        self.attention_out = nn.Conv2d(channels, channels, 1, bias=False)
        self.project_in = nn.Conv2d(channels, 2 * hidden, 1, bias=False)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Refines (B, C, H, W)."""
        x = x.contiguous() + self._attention(self.norm1(x))
        gate, content = self.dwconv(self.project_in(self.norm2(x))).chunk(2, dim=1)
        refined: Tensor = x + self.project_out(F.gelu(gate) * content)
        return refined

    def _attention(self, x: Tensor) -> Tensor:
        height = x.shape[-2]
        parts = self.qkv_dwconv(self.qkv(x)).chunk(3, dim=1)
        query, key, value = (rearrange(part, "b (n c) h w -> b n c (h w)", n=self.heads) for part in parts)
        query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
        attention = (query @ key.transpose(-2, -1) * self.temperature).softmax(dim=-1)
        mixed = rearrange(attention @ value, "b n c (h w) -> b (n c) h w", h=height)
        result: Tensor = self.attention_out(mixed)
        return result


def use_published_blocks(network: nn.Module, channels: int, heads: int, expansion: float) -> None:
    """Replaces every Restormer block inside a network by the published form (with new weights)."""
    for module in network.modules():
        if isinstance(module, RestormerStack):
            for index in range(len(module.blocks)):
                module.blocks[index] = PublishedBlock(channels, heads, expansion)
