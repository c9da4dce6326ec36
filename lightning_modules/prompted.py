"""Prompts of a batch as token states for a network that attends to words."""

import logging

from torch import Tensor, nn

from datamodules.datasets.batch import Batch
from models.clip import ClipConfig, build_image_text_encoder

logger = logging.getLogger(__name__)


class PromptEncoder(nn.Module):
    """Frozen CLIP's token states of each pair's prompt; every prompt is encoded once and remembered.

    Args:
        clip: Which CLIP; `None` uses no text.
    """

    def __init__(self, clip: str | ClipConfig | None) -> None:
        super().__init__()
        self.encoder = None if clip is None else build_image_text_encoder(clip)
        self._warned = False

    @property
    def width(self) -> int | None:
        """Width of a token's state, or `None` without text."""
        return None if self.encoder is None else self.encoder.text_width

    def forward(self, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        """States (B, L, d) and mask (B, L), True on tokens and all False for a pair without a prompt."""
        if self.encoder is None:
            return None, None
        if "prompt" not in batch:
            if not self._warned:
                logger.warning(
                    "The pairs have no prompts, so the learnt null token stands for all of them. Choose a text variant "
                    "(--data configs/data/msrs_text.yaml), or set clip to null."
                )
            self._warned = True
            return None, None
        states, mask = self.encoder.encode_text_tokens(batch["prompt"])
        given = mask.new_tensor([bool(prompt.strip()) for prompt in batch["prompt"]])
        return states, mask & given[:, None]
