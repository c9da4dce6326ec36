"""The shape of a From Text to Pixels network."""

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from ivif.configs import CONFIGS
from ivif.models.network_config import NetworkConfig

_STRIDES: Final = {"patch": 8, "window": 4, "channel": 1}


@dataclass(frozen=True)
class TextToPixelsConfig(NetworkConfig):
    """Everything that decides the shape of the network.

    Attributes:
        channels: Channels C of both extractors' paths.
        dilations: Dilation of each 3x3 path of the extractors; their number is the number of paths.
        features: Channels of psi, the joint features at full resolution that also skip to the decoder.
        width: Width d of tokens and codebook entries, a multiple of 4 and of `heads`.
        heads: Attention heads.
        blocks: Transformer blocks.
        expansion: Width of the blocks' feed-forward layers, relative to `width`.
        attention: `patch`: self-attention between all tokens; `window`: inside shifted windows; `channel`: between
            channels (MDTA), at full resolution, where a `width` of 64 is affordable.
        stride: Pixels per token side; None: 8 for `patch`, 4 for `window`, 1 for `channel`.
        window: Side of the windows in tokens.
        self_attention: Whether blocks have self-attention (ablations M1 and M3 set false).
        cross_attention: Whether blocks read the text (ablations M1 and M2 set false).
        codebook: Whether tokens are quantised.
        codebook_entries: Number of entries K.
        codebook_update: `grad` or `ema`.
        codebook_beta: Weight of the commitment part of the codebook's loss.
        codebook_decay: Of the codebook's moving averages.
        codebook_revive_after: Updates after which a dead entry is replaced; 0: never.
        residual: Whether the decoder starts from the mean of both sources (ours; the paper does not describe its
            decoder) instead of from nothing.
        decoder_channels: Channels of the decoder's 3x3 layers before the last one.
        checkpoint_blocks: Whether the inside of extractors, transformer and decoder is computed again in the backward
            pass instead of kept: about a third of the memory for about a third more time.
    """

    channels: int = 32
    dilations: tuple[int, ...] = (1, 1, 1, 1, 1, 1)
    features: int = 64
    width: int = 256
    heads: int = 8
    blocks: int = 2
    expansion: float = 4.0
    attention: Literal["patch", "window", "channel"] = "patch"
    stride: int | None = None
    window: int = 8
    self_attention: bool = True
    cross_attention: bool = True
    codebook: bool = True
    codebook_entries: int = 1024
    codebook_update: Literal["grad", "ema"] = "grad"
    codebook_beta: float = 0.25
    codebook_decay: float = 0.99
    codebook_revive_after: int = 200
    residual: bool = True
    decoder_channels: tuple[int, ...] = (64, 32, 16)
    checkpoint_blocks: bool = False

    presets: ClassVar = {"light": CONFIGS / "text_to_pixels_cpu.yaml"}

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: If one is out of range or two do not fit; says which and what would.
        """
        super().__post_init__()
        sizes = ("channels", "features", "width", "heads", "window", "codebook_entries", "token_stride")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"From Text to Pixels needs {name} >= 1, got {getattr(self, name)}.")
        for name in ("dilations", "decoder_channels"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise ValueError(f"{name} is a list of at least one number >= 1, got {getattr(self, name)}.")
        if self.width % self.heads or self.width % 4:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads}) and of 4.")
        if self.blocks < 0 or int(self.width * self.expansion) < 1:
            raise ValueError(f"blocks={self.blocks} must be >= 0 and expansion={self.expansion} > 0.")

    @property
    def token_stride(self) -> int:
        """Pixels per token side."""
        return _STRIDES.get(self.attention, 1) if self.stride is None else self.stride

    @property
    def needs_text(self) -> bool:
        """Whether the network reads text states at all."""
        return self.cross_attention and self.blocks > 0
