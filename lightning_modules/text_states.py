"""Prompts of a batch as token states for a network that attends to words."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final, Self, cast

import torch
from torch import Tensor, nn

from ivif.contracts.batch import Batch
from ivif.models.clip import ClipConfig, build_image_text_encoder

logger = logging.getLogger(__name__)

_KEPT_BATCHES: Final = 8
"""Batches whose states stay on the device: frames and crops of the present step, in four parts at most."""

_TURNS: Final = 8
"""Ways in which flips and quarter turns show a pair: its words of left and right turn with it."""

_MUCH: Final = 1e9
"""Bytes of remembered prompts from which on a warning says how many they are."""


class PromptEncoder(nn.Module):
    """Frozen CLIP's token states of each pair's prompt; every prompt is encoded once and remembered.

    The states of a batch are put together and moved to the device once, however often a step asks for them.

    Args:
        clip: Which CLIP; `None` uses no text.
    """

    def __init__(self, clip: str | ClipConfig | None) -> None:
        super().__init__()
        self.encoder = None if clip is None else build_image_text_encoder(clip)
        self._batches: OrderedDict[tuple[str, ...], tuple[Tensor, Tensor]] = OrderedDict()
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
        prompts = tuple(batch["prompt"])
        if prompts not in self._batches:
            states, mask = self.encoder.encode_text_tokens(list(prompts))
            given = torch.tensor([[bool(prompt.strip())] for prompt in prompts]).to(mask.device, non_blocking=True)
            self._batches[prompts] = states, mask & given
            if len(self._batches) > _KEPT_BATCHES:
                self._batches.popitem(last=False)
        self._batches.move_to_end(prompts)
        return self._batches[prompts]

    def remember(self, prompts: Iterable[str], most: int) -> None:
        """Encodes the prompts of a run that are known before it begins, in batches.

        Args:
            prompts: Those that are known.
            most: How many prompts the run may ask for, known or not.
        """
        if self.encoder is None:
            return
        size = self.encoder.remember_texts(prompts, most)
        level = logging.WARNING if size > _MUCH else logging.INFO
        logger.log(level, "The states of all prompts that are known beforehand take %.1f MB of memory.", size / 1e6)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._batches.clear()  # a move to another device or type
        return cast("Self", super()._apply(fn, recurse))  # type: ignore[no-untyped-call]


def remember_prompts(task: nn.Module, data: Any, stages: Iterable[str]) -> None:
    """Lets every prompt encoder of a task encode what the data knows of the prompts of these stages.

    Args:
        task: Holds the encoders, at any depth.
        data: The datamodule; one that does not tell its prompts by stage is passed over.
        stages: `train`, `val`, `test` or `all`.
    """
    encoders = [module for module in task.modules() if isinstance(module, PromptEncoder)]
    if not encoders or not hasattr(data, "known_prompts"):
        return
    known = {prompt for stage in stages for prompt in data.known_prompts(stage)}
    pairs = sum(len(reader) for stage in stages for reader in data.stage_readers(stage))
    for encoder in encoders:
        encoder.remember(known, _TURNS * pairs)
