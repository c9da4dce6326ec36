"""The PromptFusion network: shared encoder, fuse layers, decoder. Phase I trains an autoencoder, phase II fusion."""

from typing import NamedTuple, get_args

import torch
from torch import Tensor, nn

from ivif.models.layers.restormer import RestormerBlock
from ivif.models.layers.tiling import Tiling
from ivif.models.promptfusion.config import Phase, PromptFusionConfig
from ivif.models.promptfusion.decoder import FeatureDecoder
from ivif.models.promptfusion.encoder import Features, SharedEncoder
from ivif.models.promptfusion.fusion import DetailFusion
from ivif.models.promptfusion.reach import tiling_of


class PromptFusionOutput(NamedTuple):
    """What fusion gives.

    Attributes:
        fused: The fused luma (B, 1, H, W) in [0, 1], float32 or wider.
        infrared: Features of the infrared image.
        visible: Features of the visible image.
    """

    fused: Tensor
    infrared: Features
    visible: Features


class PromptFusionNetwork(nn.Module):
    """PromptFusion (Liu et al., IEEE/CAA JAS 2025) without its prompts, which act through the loss alone.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: PromptFusionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PromptFusionConfig()
        self.encoder = SharedEncoder(config)
        self.decoder = FeatureDecoder(config)
        self.base_fusion = RestormerBlock(config.channels, config.heads, config.base_expansion)
        self.detail_fusion = DetailFusion(config.channels, config.coupling_nodes)

    @property
    def tiling(self) -> Tiling:
        """How far it sees; attention's sums and the plane that the contourlet transform splits are gathered."""
        return tiling_of(self.config)

    def encode(self, image: Tensor) -> Features:
        """Base and detail features of images of either kind.

        In training, batch normalisation sees what is encoded together: give both kinds in one batch, as `fuse` does, or
        its running statistics fit neither.

        Args:
            image: (B, 1, H, W) in [0, 1], any size.

        Returns:
            Both features, (B, C, H, W) each.

        Raises:
            ValueError: If the shape is another.
        """
        _check_images(image)
        features: Features = self.encoder(image)
        return features

    def decode(self, base: Tensor, detail: Tensor, residual: Tensor) -> Tensor:
        """Draws an image from features.

        Args:
            base: (B, C, H, W).
            detail: (B, C, H, W).
            residual: (B, 1, H, W) in [0, 1]: the image itself in phase I, the visible luma in fusion.

        Returns:
            (B, 1, H, W) in [0, 1], float32 or wider.
        """
        image: Tensor = self.decoder(base, detail, residual)
        return image

    def reconstruct(self, image: Tensor) -> tuple[Tensor, Features]:
        """Phase I: encodes images and draws them again.

        Args:
            image: (B, 1, H, W) in [0, 1], any size; in training infrared and visible ones in one batch, see `encode`.

        Returns:
            The drawn images (B, 1, H, W) in [0, 1], and the features.

        Raises:
            ValueError: If the shape is another.
        """
        features = self.encode(image)
        return self.decode(*features, image), features

    def fuse(self, infrared: Tensor, visible_luma: Tensor) -> PromptFusionOutput:
        """Phase II: fuses registered pairs.

        Args:
            infrared: (B, 1, H, W) in [0, 1], any size.
            visible_luma: (B, 1, H, W) in [0, 1].

        Returns:
            The fused luma, and the features for the decomposition loss.

        Raises:
            ValueError: If the shapes do not fit.
        """
        _check_images(infrared, visible_luma)
        base, detail = self.encode(torch.cat((infrared, visible_luma)))
        infrared_base, visible_base = base.chunk(2)
        infrared_detail, visible_detail = detail.chunk(2)
        fused_base = self.base_fusion(infrared_base + visible_base)
        fused_detail = self.detail_fusion(infrared_detail + visible_detail)
        fused = self.decode(fused_base, fused_detail, visible_luma)
        return PromptFusionOutput(
            fused, Features(infrared_base, infrared_detail), Features(visible_base, visible_detail)
        )

    def forward(self, infrared: Tensor, visible_luma: Tensor) -> PromptFusionOutput:
        """The same as `fuse`."""
        return self.fuse(infrared, visible_luma)

    def phase_modules(self, phase: Phase) -> dict[str, nn.Module]:
        """The parts that a phase trains, by name: the released code clips the gradient of each on its own.

        Args:
            phase: `autoencoder`: encoder and decoder; `fusion`: both fuse layers too.

        Returns:
            Modules that share no parameters.

        Raises:
            ValueError: If there is no such phase.
        """
        if phase not in get_args(Phase):
            raise ValueError(f"PromptFusion has no phase {phase!r}; there are {', '.join(get_args(Phase))}.")
        modules: dict[str, nn.Module] = {"encoder": self.encoder, "decoder": self.decoder}
        if phase == "fusion":
            modules |= {"base_fusion": self.base_fusion, "detail_fusion": self.detail_fusion}
        return modules


def _check_images(*images: Tensor) -> None:
    first = images[0]
    if first.ndim != 4 or first.shape[1] != 1 or any(image.shape != first.shape for image in images):
        shapes = " and ".join(str(tuple(image.shape)) for image in images)
        raise ValueError(
            f"PromptFusion takes images (B, 1, H, W), infrared and visible luma of the same size "
            f"(ivif.image_ops.color.luma makes it of RGB); got {shapes}."
        )
