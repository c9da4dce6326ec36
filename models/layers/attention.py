"""Multi-head attention over image tokens on a grid, and positions for grids of any size."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ivif.image_ops.constants import made_once
from ivif.models.layers.tiling import TILED_PICTURE

_LONGEST: Final = 10_000.0


@made_once(kept=4)
def sine_positions(
    height: int, width: int, channels: int, device: torch.device, first: tuple[int, int] = (0, 0)
) -> Tensor:
    """Fixed positions of a grid: sines and cosines of the row in half of the channels, of the column in the others.

    Wavelengths grow geometrically from 2 pi to 10,000 * 2 pi cells (Vaswani et al. 2017), so any grid has positions,
    and a cell's own do not depend on the grid's size. Made once, not to be changed in place.

    Args:
        height: Rows H.
        width: Columns W.
        channels: C, a multiple of 4.
        device: Where the result shall lie.
        first: Row and column of the first cell, of a grid that is a part of another.

    Returns:
        (H, W, C), float32, in [-1, 1].

    Raises:
        ValueError: If `channels` is not a multiple of 4.
    """
    if channels < 4 or channels % 4:
        raise ValueError(f"Positions in two dimensions need channels that are a multiple of 4, got {channels}.")
    quarter = channels // 4
    frequencies = _LONGEST ** (-torch.arange(quarter, dtype=torch.float32, device=device) / quarter)

    def along(start: int, length: int) -> Tensor:
        angles = torch.arange(start, start + length, dtype=torch.float32, device=device)[:, None] * frequencies
        return torch.cat((angles.sin(), angles.cos()), dim=1)

    rows = along(first[0], height)[:, None].expand(-1, width, -1)
    columns = along(first[1], width)[None].expand(height, -1, -1)
    return torch.cat((rows, columns), dim=2)


class MultiHeadAttention(nn.Module):
    """softmax(Q K^T / sqrt(d_k)) V with several heads; Q from one set of tokens, K and V from another or the same.

    Uses `scaled_dot_product_attention`, which never keeps the matrix of all pairs; it has no second derivative on CPU.

    Args:
        width: Width d of the tokens, a multiple of `heads`.
        heads: Number of heads.

    Raises:
        ValueError: If `width` is not a multiple of `heads`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"Attention needs a width ({width}) that is a multiple of heads ({heads}).")
        self.heads = heads
        self.to_query = nn.Linear(width, width)
        self.to_key_value = nn.Linear(width, 2 * width)
        self.project_out = nn.Linear(width, width)

    def forward(self, queries: Tensor, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Gathers from `states` what each query asks for.

        Args:
            queries: (B, N, d).
            states: (B, L, d); `queries` itself for self-attention.
            mask: (B, L) bool, True where a state may be read, at least once per row; None: everywhere.

        Returns:
            (B, N, d).
        """
        query = self._split(self.to_query(queries))
        key, value = (self._split(part) for part in self.to_key_value(states).chunk(2, dim=-1))
        allowed = None if mask is None else mask[:, None, None, :]
        gathered = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        result: Tensor = self.project_out(gathered.transpose(1, 2).flatten(2))
        return result

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.view(*tokens.shape[:-1], self.heads, -1).transpose(1, 2)


class GridAttention(nn.Module):
    """Self-attention between all tokens of a grid.

    Args:
        width: Width d of the tokens, a multiple of `heads`.
        heads: Number of heads.
        stride: Pixels per token side.
    """

    def __init__(self, width: int, heads: int, stride: int = 1) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, heads)
        self.stride = stride

    def forward(self, tokens: Tensor) -> Tensor:
        """Mixes (B, H, W, d); keeps the shape."""
        flat, picture = tokens.flatten(1, 2), TILED_PICTURE.get()
        states = flat
        if picture is not None:
            states = picture.whole(self, tokens.permute(0, 3, 1, 2), self.stride, _flat)
        mixed: Tensor = self.attention(flat, states)
        return mixed.view(tokens.shape)


def _flat(grid: Tensor) -> Tensor:
    """(B, d, H, W) as (B, HW, d)."""
    return grid.flatten(2).transpose(1, 2)


class WindowAttention(nn.Module):
    """Self-attention inside square windows of a grid of any size, optionally shifted by half a window.

    Shifted windows begin half a window before the grid. Windows that reach over its border read only what lies inside:
    nothing wraps around, unlike in Swin's cyclic form.

    Args:
        width: Width d of the tokens, a multiple of `heads`.
        heads: Number of heads.
        window: Side of a window in tokens, >= 1.
        shifted: Whether the windows are shifted.
    """

    def __init__(self, width: int, heads: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, heads)
        self.window = window
        self.shift = window // 2 if shifted else 0

    def forward(self, tokens: Tensor) -> Tensor:
        """Mixes (B, H, W, d) inside windows; keeps the shape."""
        batch, height, width, _ = tokens.shape
        top, side = self.shift, self.window
        bottom, right = -(height + top) % side, -(width + top) % side
        padded = F.pad(tokens, (0, 0, top, right, top, bottom))
        mask = None
        if top or bottom or right:
            inside = torch.ones(1, height, width, 1, dtype=torch.bool, device=tokens.device)
            inside = F.pad(inside, (0, 0, top, right, top, bottom))
            mask = self._to_windows(inside).squeeze(-1).repeat(batch, 1)
        windows = self._to_windows(padded)
        mixed = self.attention(windows, windows, mask)
        rows, columns = padded.shape[1] // side, padded.shape[2] // side
        grid: Tensor = mixed.view(batch, rows, columns, side, side, -1).transpose(2, 3).reshape(padded.shape)
        return grid[:, top : top + height, top : top + width]

    def _to_windows(self, grid: Tensor) -> Tensor:
        batch, height, width, channels = grid.shape
        side = self.window
        parts = grid.view(batch, height // side, side, width // side, side, channels)
        return parts.transpose(2, 3).reshape(-1, side * side, channels)
