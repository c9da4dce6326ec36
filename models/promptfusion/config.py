"""The shape of a PromptFusion network."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ivif.configs import CONFIGS
from ivif.image_ops.contourlet import PAPER_LEVELS, size_multiple
from ivif.models.network_config import NetworkConfig

Phase = Literal["autoencoder", "fusion"]
DetailBranchKind = Literal["contourlet", "convolution"]
SubbandPairing = Literal["resize", "splice"]
OutputResidual = Literal["added", "logit", "none"]

_WIDTHS = 4


@dataclass(frozen=True)
class PromptFusionConfig(NetworkConfig):
    """Everything that decides the shape of a PromptFusion network; the defaults are the released code's sizes.

    Attributes:
        channels: Channels C of base and detail features, even and a multiple of `heads`.
        blocks: Restormer blocks in the shared encoder, and in the decoder.
        heads: Attention heads.
        expansion: Width of the blocks' feed-forward paths, relative to `channels`.
        base_expansion: The same for the base branch and the layer that fuses base features.
        detail_channels: Channels of the detail branch at 1/2, 1/4, 1/8 and 1/16 of the image's size.
        detail: `contourlet`: the detail branch reads the subbands of a contourlet transform at each of its scales;
            `convolution`: it reads none and is otherwise the same (the ablation w/o contourlet).
        pairing: How the two orientations of a scale, whose subbands are longer along one side, come to one size:
            `resize` enlarges the shorter side bilinearly, eight planes; `splice` interleaves two neighbouring wedges
            along it, four planes of untouched coefficients.
        margin: Pixels mirrored around what is transformed, a multiple of 16, so that a border does not see the opposite
            one.
        coupling_nodes: Affine-coupling nodes of the layer that fuses detail features, >= 1.
        residual: What an image adds to the decoder's output d before the sigmoid: `added` sigmoid(d + image), as
            released; `logit` sigmoid(d + logit(image)), which starts at the image, so that an autoencoder would have
            nothing to learn; `none` sigmoid(d).
        checkpoint_blocks: Whether the inside of encoder's and decoder's Restormer blocks is computed again in the
            backward pass instead of kept.
    """

    channels: int = 64
    blocks: int = 4
    heads: int = 8
    expansion: float = 2.0
    base_expansion: float = 1.0
    detail_channels: tuple[int, int, int, int] = (64, 128, 256, 512)
    detail: DetailBranchKind = "contourlet"
    pairing: SubbandPairing = "resize"
    margin: int = 16
    coupling_nodes: int = 1
    residual: OutputResidual = "added"
    checkpoint_blocks: bool = False

    presets: ClassVar = {"light": CONFIGS / "promptfusion_cpu.yaml"}

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: If one is out of range or two do not fit; says which and what would.
        """
        super().__post_init__()
        if min(self.channels, self.heads) < 1 or self.channels % self.heads or self.channels % 2 or self.blocks < 0:
            raise ValueError(
                f"PromptFusion needs channels that are even and a multiple of heads >= 1, and blocks >= 0; got "
                f"channels={self.channels}, heads={self.heads}, blocks={self.blocks}."
            )
        for name in ("expansion", "base_expansion"):
            if int(self.channels * getattr(self, name)) < 1:
                raise ValueError(f"{name}={getattr(self, name)} leaves no feed-forward channels of {self.channels}.")
        if len(self.detail_channels) != _WIDTHS or min(self.detail_channels) < 1:
            raise ValueError(f"detail_channels are {_WIDTHS} numbers >= 1, got {self.detail_channels}.")
        multiple = size_multiple(PAPER_LEVELS)
        if self.margin < 0 or self.margin % multiple or self.coupling_nodes < 1:
            raise ValueError(
                f"margin must be a multiple of {multiple} and coupling_nodes >= 1; got {self.margin} and "
                f"{self.coupling_nodes}."
            )
