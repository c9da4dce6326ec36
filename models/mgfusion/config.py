"""The shape of an MGFusion network."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ivif.configs import CONFIGS
from ivif.models.network_config import NetworkConfig


@dataclass(frozen=True)
class MGFusionConfig(NetworkConfig):
    """Everything that decides the shape of an MGFusion network; the preset `large` has CDDFuse's sizes.

    The paper states neither C nor N.

    Attributes:
        channels: Feature channels C of both encoders and the decoder.
        blocks: Restormer blocks N in each encoder and in the decoder.
        heads: Attention heads; `channels` is a multiple.
        expansion: Width of the blocks' feed-forward paths, relative to `channels`.
        out_channels: 1 fuses luma, 3 fuses RGB.
        use_cii: Whether CLIP vectors are injected into the features (the ablation w/o CII sets false).
        use_cff: Whether CLIP vectors and gradients guide the fusion (the ablation w/o CFF sets false: a plain merge).
        gate: What becomes of the channel weights that IRA and VIA predict: `linear` leaves them (the paper names no
            activation), `sigmoid` bounds them to (0, 1).
        clip_norm: `l2` scales CLIP vectors to length one; `none` takes the projected vectors as they are.
        sawp_channels: Channels of the spatial weight that SAWP predicts: 1, or `channels` (one weight per feature).
        tanh_range: `unit` maps the final tanh to [0, 1] by (tanh + 1) / 2; `raw` takes it as it is, so that half of its
            range is unused, as some released codes do. Raw outputs are clamped to [0, 1] in evaluation only, lest the
            gradient of a dark pixel vanish.
        checkpoint_blocks: Whether the Restormer blocks' inside is computed again in the backward pass instead of kept:
            `auto` does so where a training step would otherwise take more than 8 GiB.
    """

    channels: int = 32
    blocks: int = 2
    heads: int = 4
    expansion: float = 2.0
    out_channels: Literal[1, 3] = 1
    use_cii: bool = True
    use_cff: bool = True
    gate: Literal["linear", "sigmoid"] = "linear"
    clip_norm: Literal["none", "l2"] = "none"
    sawp_channels: int = 1
    tanh_range: Literal["unit", "raw"] = "unit"
    checkpoint_blocks: Literal["auto"] | bool = "auto"

    presets: ClassVar = {"light": CONFIGS / "mgfusion_cpu.yaml", "large": CONFIGS / "mgfusion_large.yaml"}

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: If one is out of range or two do not fit; says which and what would.
        """
        super().__post_init__()
        if min(self.channels, self.heads) < 1 or self.blocks < 0 or self.channels % self.heads:
            raise ValueError(
                f"MGFusion needs channels >= 1 that are a multiple of heads >= 1, and blocks >= 0; got "
                f"channels={self.channels}, heads={self.heads}, blocks={self.blocks}."
            )
        if int(self.channels * self.expansion) < 1:
            raise ValueError(f"expansion={self.expansion} leaves no feed-forward channels of {self.channels}; try 2.0.")
        if self.sawp_channels not in (1, self.channels):
            raise ValueError(f"sawp_channels={self.sawp_channels} is none of 1, {self.channels}.")

    @property
    def needs_clip(self) -> bool:
        """Whether the network reads CLIP vectors at all: not without both CII and CFF."""
        return self.use_cii or self.use_cff
