"""Restormer blocks (Zamir et al., CVPR 2022): attention between channels, whose cost is linear in the number of pixels.

The blocks compute what the published code computes, in a form that is several times faster on a CPU (a plain form in
the tests gives equal values and gradients):

- features live in channels_last memory, where normalising over channels is a plain `layer_norm` on a permuted view;
- attention needs only the Gram matrix q k^T and the lengths of q and k: normalised copies of q and k are never made;
- the attention matrix is folded into the output projection: one dynamic 1x1 convolution instead of two passes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ivif.models.layers.tiling import TILED_PICTURE

_SHORTEST = 1e-12  # lengths below count as this, as in torch.nn.functional.normalize


class ChannelLayerNorm(nn.Module):
    """Layer normalisation over the channels of each pixel, with weight and bias.

    Args:
        channels: Number of channels C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises (B, C, H, W); the result lies in channels_last memory."""
        normalised: Tensor = self.norm(x.permute(0, 2, 3, 1))
        return normalised.permute(0, 3, 1, 2)


class TransposedAttention(nn.Module):
    """Multi-Dconv head transposed attention (MDTA): softmax(t q k^T / (|q| |k|)) v between the channels of a head.

    Args:
        channels: Number of channels C, a multiple of `heads`.
        heads: Number of heads, each with its own temperature t.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"Attention needs channels ({channels}) that are a multiple of heads ({heads}).")
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads))
        self.to_query_key_value = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.depthwise = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=False)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Mixes the channels of (B, C, H, W); keeps the shape."""
        batch, channels, height, width = x.shape
        mixed: Tensor = self.depthwise(self.to_query_key_value(x))
        pixels = mixed.permute(0, 2, 3, 1).reshape(batch, height * width, 3 * channels)
        query_key, value = torch.split(pixels, [2 * channels, channels], dim=-1)
        attention = self._attention(query_key, (height, width))
        projection = self.project_out.weight.view(channels, self.heads, channels // self.heads).to(attention.dtype)
        folded = torch.einsum("ohc,bhcd->bohd", projection, attention).reshape(batch, channels, channels)
        result = value @ folded.transpose(1, 2).to(value.dtype)
        return result.view(batch, height, width, channels).permute(0, 3, 1, 2)

    def _attention(self, query_key: Tensor, size: tuple[int, int]) -> Tensor:
        """Attention between channels (B, heads, C/heads, C/heads) from q and k side by side (B, HW, 2C)."""
        if query_key.dtype == torch.float16:
            query_key = query_key.float()  # sums over all pixels overflow float16
        with torch.autocast(query_key.device.type, enabled=False):
            picture = TILED_PICTURE.get()
            if picture is None:
                products, squares = _sums(query_key)
            else:
                grid = query_key.view(len(query_key), *size, query_key.shape[-1])
                products, squares = picture.sums(self, lambda inside: _sums(grid[:, *inside].flatten(1, 2)))
            query_scale, key_scale = squares.clamp(min=_SHORTEST**2).rsqrt().chunk(2, dim=-1)
            cosines = products * query_scale[:, :, None] * key_scale[:, None, :]
            width = query_key.shape[-1] // 2 // self.heads
            per_head = cosines.view(-1, self.heads, width, self.heads, width).diagonal(dim1=1, dim2=3)
            logits = per_head.permute(0, 3, 1, 2) * self.temperature.view(1, -1, 1, 1)
            return torch.softmax(logits, dim=-1)


def _sums(query_key: Tensor) -> tuple[Tensor, Tensor]:
    """What attention needs of all pixels: q^T k (B, C, C), and the squared lengths of q and k (B, 2C)."""
    query, key = query_key.chunk(2, dim=-1)
    precise = torch.promote_types(query_key.dtype, torch.float32)
    return (query.transpose(1, 2) @ key).to(precise), query_key.square().sum(dim=1, dtype=precise)


class GatedFeedForward(nn.Module):
    """Gated-Dconv feed-forward network (GDFN): two 1x1 + depthwise 3x3 paths, gelu(one) * other, 1x1 back.

    Args:
        channels: Number of channels C.
        expansion: Each path has int(C * expansion) channels.
    """

    def __init__(self, channels: int, expansion: float) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.project_in = nn.Conv2d(channels, 2 * hidden, 1, bias=False)
        self.depthwise = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transforms each pixel of (B, C, H, W) with its neighbours; keeps the shape."""
        gate, content = self.depthwise(self.project_in(x)).chunk(2, dim=1)
        result: Tensor = self.project_out(F.gelu(gate) * content)
        return result


class RestormerBlock(nn.Module):
    """x + MDTA(LN(x)), then x + GDFN(LN(x)).

    Args:
        channels: Number of channels C, a multiple of `heads`.
        heads: Number of attention heads.
        expansion: Width of the feed-forward paths, relative to C.
    """

    def __init__(self, channels: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.attention_norm = ChannelLayerNorm(channels)
        self.attention = TransposedAttention(channels, heads)
        self.feed_forward_norm = ChannelLayerNorm(channels)
        self.feed_forward = GatedFeedForward(channels, expansion)

    def forward(self, x: Tensor) -> Tensor:
        """Refines features (B, C, H, W) of any size; keeps the shape."""
        x = x + self.attention(self.attention_norm(x))
        refined: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return refined


class RestormerStack(nn.Module):
    """Several Restormer blocks in a row.

    Args:
        channels: Number of channels C, a multiple of `heads`.
        blocks: Number of blocks, >= 0.
        heads: Number of attention heads.
        expansion: Width of the feed-forward paths, relative to C.
    """

    def __init__(self, channels: int, blocks: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(RestormerBlock(channels, heads, expansion) for _ in range(blocks))

    def forward(self, x: Tensor, recompute: bool = False) -> Tensor:
        """Refines features.

        Args:
            x: (B, C, H, W), any size.
            recompute: Whether to keep only each block's input for the backward pass and compute its inside again there
                (activation checkpointing): a fraction of the memory for about a third more time, equal gradients.

        Returns:
            (B, C, H, W).
        """
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if recompute and torch.is_grad_enabled() else block(x)
        return x
