"""The MGFusion network: encoders, injection, fusion, decoder."""

from torch import Tensor, nn
from torch.nn import functional as F

from ivif.models.layers.tiling import Tiling
from ivif.models.mgfusion.config import MGFusionConfig
from ivif.models.mgfusion.decoder import FusionDecoder
from ivif.models.mgfusion.encoder import FeatureEncoder
from ivif.models.mgfusion.fusion import GuidedFusion, Merge
from ivif.models.mgfusion.injection import InformationInjection
from ivif.models.mgfusion.memory import recomputes_blocks


class MGFusionNetwork(nn.Module):
    """MGFusion (Yang et al., Front. Neurorobot. 2024), without CLIP itself, whose image vectors are an input.

    Args:
        config: Shape of the network.
        clip_width: Width E of the CLIP vectors; not needed without CII and CFF.

    Raises:
        ValueError: If the configuration needs CLIP vectors and `clip_width` is missing.
    """

    def __init__(self, config: MGFusionConfig | None = None, clip_width: int | None = None) -> None:
        super().__init__()
        self.config = config = config or MGFusionConfig()
        if config.needs_clip and not clip_width:
            raise ValueError(
                "MGFusion with CII or CFF reads CLIP vectors: give their width (clip_width, 512 for ViT-B/32), or "
                "switch both off (use_cii: false, use_cff: false)."
            )
        width = clip_width or 0
        self.infrared_encoder = FeatureEncoder(config, in_channels=1)
        self.visible_encoder = FeatureEncoder(config, in_channels=3)
        self.infrared_injection = InformationInjection(config, width) if config.use_cii else None
        self.visible_injection = InformationInjection(config, width) if config.use_cii else None
        self.fusion: GuidedFusion | Merge = GuidedFusion(config, width) if config.use_cff else Merge(config.channels)
        self.decoder = FusionDecoder(config)

    @property
    def needs_clip(self) -> bool:
        """Whether `forward` reads CLIP vectors."""
        return self.config.needs_clip

    @property
    def tiling(self) -> Tiling:
        """How far its convolutions see, of each branch in a row; attention's sums are gathered."""
        blocks = 2 * self.config.blocks  # a depthwise convolution in each half of a block
        injection = 2 if self.config.use_cii else 0
        fusion = 3 if self.config.use_cff else 0  # Sobel and SAWP
        return Tiling(2 + blocks + injection + fusion + blocks + 2)

    def forward(
        self,
        infrared: Tensor,
        visible: Tensor,
        clip_infrared: Tensor | None = None,
        clip_visible: Tensor | None = None,
    ) -> Tensor:
        """Fuses registered pairs.

        Args:
            infrared: I_i (B, 1, H, W) in [0, 1], any size.
            visible: I_v (B, 3, H, W) in [0, 1], RGB.
            clip_infrared: c_i (B, E), CLIP's image vectors; None without CII and CFF.
            clip_visible: c_v (B, E); None without CII and CFF.

        Returns:
            The fused luma (B, 1, H, W), or RGB (B, 3, H, W), in [0, 1] (see `MGFusionConfig.tanh_range`).

        Raises:
            ValueError: If shapes do not fit or CLIP vectors are missing.
        """
        _check_images(infrared, visible)
        batch, _, height, width = infrared.shape
        recompute = self.training and recomputes_blocks(self.config, batch, height, width)
        infrared_features = self.infrared_encoder(infrared, recompute)
        visible_features = self.visible_encoder(visible, recompute)
        if not self.needs_clip:
            return self._decode(self.fusion(infrared_features, visible_features), recompute)
        vectors = self._clip_vector(clip_infrared), self._clip_vector(clip_visible)
        if self.infrared_injection is not None and self.visible_injection is not None:
            infrared_features = self.infrared_injection(infrared_features, *vectors)
            visible_features = self.visible_injection(visible_features, *vectors)
        guidance = vectors if self.config.use_cff else ()
        return self._decode(self.fusion(infrared_features, visible_features, *guidance), recompute)

    def _decode(self, features: Tensor, recompute: bool) -> Tensor:
        fused: Tensor = self.decoder(features, recompute)
        return fused

    def _clip_vector(self, vector: Tensor | None) -> Tensor:
        if vector is None:
            raise ValueError("MGFusion with CII or CFF needs clip_infrared and clip_visible, each (B, E).")
        parameter = next(self.parameters())
        vector = vector.detach().to(parameter.dtype)
        return F.normalize(vector, dim=-1) if self.config.clip_norm == "l2" else vector


def _check_images(infrared: Tensor, visible: Tensor) -> None:
    expected = (infrared.shape[0], 3, *infrared.shape[2:])
    if infrared.ndim != 4 or infrared.shape[1] != 1 or tuple(visible.shape) != expected:
        raise ValueError(
            f"MGFusion fuses infrared (B, 1, H, W) with visible (B, 3, H, W) of the same size, got "
            f"{tuple(infrared.shape)} and {tuple(visible.shape)}."
        )
