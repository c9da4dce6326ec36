"""The From Text to Pixels network: extractors, text-guided transformer, codebook, decoder."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ivif.image_ops.padding import crop_to, pad_to_multiple
from ivif.models.layers.quantizer import VectorQuantizer
from ivif.models.layers.recomputation import recomputed
from ivif.models.layers.tiling import Tiling
from ivif.models.text_to_pixels.config import TextToPixelsConfig
from ivif.models.text_to_pixels.decoder import FusionDecoder
from ivif.models.text_to_pixels.extractor import MultiLevelExtractor
from ivif.models.text_to_pixels.reach import tiling_of
from ivif.models.text_to_pixels.text import TextAdapter
from ivif.models.text_to_pixels.transformer import TextGuidedTransformer


class TextToPixelsOutput(NamedTuple):
    """What the network gives.

    Attributes:
        fused: The fused luma (B, 1, H, W) in [0, 1], float32 or wider.
        codebook_loss: Scalar, float32 or wider; 0 without codebook.
    """

    fused: Tensor
    codebook_loss: Tensor


class TextToPixelsNetwork(nn.Module):
    """From Text to Pixels (Li et al., arXiv 2401.00421), without CLIP's text tower, whose token states are an input.

    Args:
        config: Shape of the network.
        text_width: Width E of the text states (512 for ViT-B/32); None builds no text projection, and the network
            always reads its null token.

    Attributes:
        quantizer: The codebook, or None. The trainer calls its `update_statistics` after each step.
    """

    def __init__(self, config: TextToPixelsConfig | None = None, text_width: int | None = None) -> None:
        super().__init__()
        self.config = config = config or TextToPixelsConfig()
        self.infrared_extractor = MultiLevelExtractor(config.channels, config.dilations)
        self.visible_extractor = MultiLevelExtractor(config.channels, config.dilations)
        self.joint = nn.Linear(2 * config.channels, config.features)
        self.text = TextAdapter(text_width, config.width) if config.needs_text else None
        self.transformer = TextGuidedTransformer(config)
        self.quantizer: VectorQuantizer | None = None
        if config.codebook:
            self.quantizer = VectorQuantizer(
                config.codebook_entries,
                config.width,
                config.codebook_update,
                config.codebook_beta,
                config.codebook_decay,
                config.codebook_revive_after,
            )
        self.decoder = FusionDecoder(config)

    @property
    def needs_text(self) -> bool:
        """Whether `forward` reads text at all: not without cross-attention (ablations M1 and M2)."""
        return self.text is not None

    @property
    def tiling(self) -> Tiling:
        """How far it sees; what all tokens read of each other is gathered."""
        return tiling_of(self.config)

    def forward(
        self, infrared: Tensor, visible_luma: Tensor, text: Tensor | None = None, mask: Tensor | None = None
    ) -> TextToPixelsOutput:
        """Fuses registered pairs.

        Args:
            infrared: x (B, 1, H, W) in [0, 1], any size.
            visible_luma: y (B, 1, H, W) in [0, 1].
            text: States (B, L, E) of the text tower's tokens; None: no sample has text.
            mask: (B, L) bool, True at real tokens; a row without any has no text. None: all are real.

        Returns:
            The fused luma and the codebook's loss.

        Raises:
            ValueError: If shapes do not fit.
        """
        if infrared.ndim != 4 or infrared.shape[1] != 1 or visible_luma.shape != infrared.shape:
            raise ValueError(
                f"From Text to Pixels fuses infrared (B, 1, H, W) with visible luma of the same shape, got "
                f"{tuple(infrared.shape)} and {tuple(visible_luma.shape)} (ivif.image_ops.color.luma makes it of RGB)."
            )
        run = recomputed if self.config.checkpoint_blocks and self.training and torch.is_grad_enabled() else _plainly
        infrared, size = pad_to_multiple(infrared, self.config.token_stride)
        visible_luma, _ = pad_to_multiple(visible_luma, self.config.token_stride)
        extracted = run(self.infrared_extractor, infrared), run(self.visible_extractor, visible_luma)
        # A 1x1 convolution as a matrix product: PyTorch's own leaves channels_last memory on one thread.
        features = self.joint(torch.cat(extracted, dim=1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        states = (None, None) if self.text is None else self.text(text, mask, infrared.shape[0])
        tokens = run(self.transformer, features, *states)
        loss = torch.zeros((), device=tokens.device)
        if self.quantizer is not None:
            tokens, _, loss = self.quantizer(tokens)
        fused = run(self.decoder, tokens, features, (infrared + visible_luma) / 2.0)
        return TextToPixelsOutput(crop_to(fused, size), loss)


def _plainly(module: nn.Module, *inputs: Tensor | None) -> Tensor:
    result: Tensor = module(*inputs)
    return result
