"""The text-guided transformer (eq. 2-4)."""

from torch import Tensor, nn

from ivif.models.layers.attention import GridAttention, MultiHeadAttention, WindowAttention, sine_positions
from ivif.models.layers.restormer import TransposedAttention
from ivif.models.layers.tiling import TILED_PICTURE
from ivif.models.text_to_pixels.config import TextToPixelsConfig


class ChannelAttention(nn.Module):
    """Self-attention between channels (MDTA), for tokens on a grid.

    Args:
        width: Width d of the tokens, a multiple of `heads`.
        heads: Number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = TransposedAttention(width, heads)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mixes the channels of (B, H, W, d); keeps the shape."""
        mixed: Tensor = self.attention(tokens.permute(0, 3, 1, 2))
        return mixed.permute(0, 2, 3, 1)


class TransformerBlock(nn.Module):
    """x + SA(LN(x)), then x + CA(LN(x), text), then x + FFN(LN(x)); each attention only where configured.

    Args:
        config: Shape of the network.
        index: Number of the block; windows of odd blocks are shifted.
    """

    def __init__(self, config: TextToPixelsConfig, index: int) -> None:
        super().__init__()
        width, hidden = config.width, int(config.width * config.expansion)
        self.self_attention = None
        if config.self_attention:
            self.self_attention = nn.Sequential(nn.LayerNorm(width), _self_attention(config, index))
        self.text_norm = nn.LayerNorm(width) if config.cross_attention else None
        self.text_attention = MultiHeadAttention(width, config.heads) if config.cross_attention else None
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
        )

    def forward(self, tokens: Tensor, states: Tensor | None, mask: Tensor | None) -> Tensor:
        """Refines image tokens.

        Args:
            tokens: (B, H, W, d).
            states: Text (B, L, d); unused without cross-attention.
            mask: (B, L) bool, True where a state may be read, at least once per row; None: everywhere.

        Returns:
            (B, H, W, d).
        """
        if self.self_attention is not None:
            tokens = tokens + self.self_attention(tokens)
        if self.text_attention is not None and self.text_norm is not None and states is not None:
            queries = self.text_norm(tokens).flatten(1, 2)
            tokens = tokens + self.text_attention(queries, states, mask).view(tokens.shape)
        refined: Tensor = tokens + self.feed_forward(tokens)
        return refined


class TextGuidedTransformer(nn.Module):
    """Tokens of psi with fixed positions, transformer blocks, layer normalisation.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: TextToPixelsConfig) -> None:
        super().__init__()
        self.stride = config.token_stride
        self.embedding = nn.Conv2d(config.features, config.width, config.token_stride, stride=config.token_stride)
        self.blocks = nn.ModuleList(TransformerBlock(config, index) for index in range(config.blocks))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, features: Tensor, states: Tensor | None, mask: Tensor | None) -> Tensor:
        """Makes tokens and lets them read each other and the text.

        Args:
            features: psi (B, features, H, W), both sides multiples of the stride.
            states: Text (B, L, d); unused without cross-attention.
            mask: (B, L) bool, True where a state may be read, at least once per row; None: everywhere.

        Returns:
            (B, H / stride, W / stride, d).
        """
        tokens = self.embedding(features).permute(0, 2, 3, 1)
        _, height, width, channels = tokens.shape
        positions = sine_positions(height, width, channels, tokens.device, self._first_token())
        tokens = tokens + positions.to(tokens.dtype)
        for block in self.blocks:
            tokens = block(tokens, states, mask)
        normalised: Tensor = self.norm(tokens)
        return normalised

    def _first_token(self) -> tuple[int, int]:
        """Row and column in the picture's grid."""
        picture = TILED_PICTURE.get()
        if picture is None:
            return 0, 0
        rows, columns = picture.tile.read
        return rows.start // self.stride, columns.start // self.stride


def _self_attention(config: TextToPixelsConfig, index: int) -> nn.Module:
    if config.attention == "window":
        return WindowAttention(config.width, config.heads, config.window, shifted=index % 2 == 1)
    if config.attention == "channel":
        return ChannelAttention(config.width, config.heads)
    return GridAttention(config.width, config.heads, config.token_stride)
