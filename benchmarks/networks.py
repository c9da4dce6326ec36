"""The fusion networks as benchmarks run them: three methods, one way to call them."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from ivif.models.mgfusion import MGFusionConfig, MGFusionNetwork
from ivif.models.promptfusion import PromptFusionConfig, PromptFusionNetwork
from ivif.models.text_to_pixels import TextToPixelsConfig, TextToPixelsNetwork

WIDTH: Final = 512
"""Of CLIP's vectors."""

METHODS: Final = ("mgfusion", "text_to_pixels", "promptfusion")

Fuse = Callable[[nn.Module, Tensor], Tensor]
"""How a network fuses (B, 4, H, W), infrared beside RGB: luma (B, 1, H, W)."""


def build(method: str, preset: str, checkpoint: bool = False) -> tuple[nn.Module, Fuse]:
    """A network with new weights, and how it fuses.

    Args:
        method: One of `METHODS`.
        preset: `light` or `base`.
        checkpoint: Whether blocks' inside is computed again in the backward pass.
    """
    if method == "mgfusion":
        network: nn.Module = MGFusionNetwork(MGFusionConfig.preset(preset, checkpoint_blocks=checkpoint), WIDTH)

        def fuse(network: nn.Module, images: Tensor) -> Tensor:
            vector = torch.ones(len(images), WIDTH, device=images.device)
            fused: Tensor = network(images[:, :1], images[:, 1:], vector, vector)
            return fused

        return network, fuse
    if method == "text_to_pixels":
        network = TextToPixelsNetwork(TextToPixelsConfig.preset(preset, checkpoint_blocks=checkpoint), WIDTH)

        def fuse_by_words(network: nn.Module, images: Tensor) -> Tensor:
            words = torch.linspace(-1, 1, 8 * WIDTH, device=images.device).view(1, 8, WIDTH)
            fused: Tensor = network(images[:, :1], images[:, 1:2], words.expand(len(images), -1, -1)).fused
            return fused

        return network, fuse_by_words
    network = PromptFusionNetwork(PromptFusionConfig.preset(preset, checkpoint_blocks=checkpoint))
    return network, lambda network, images: network(images[:, :1], images[:, 1:2]).fused
