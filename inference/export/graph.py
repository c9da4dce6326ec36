"""A fusion task as a function of bytes, traced for any batch and size."""

from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from ivif.contracts.batch import Batch
from ivif.image_ops.color import levels_of_8bit
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.detector_training import DetectorPart
from ivif.lightning_modules.text_states import PromptEncoder
from ivif.models.clip import ImageTextEncoder

THRESHOLD: Final = "score_threshold"
"""What a file calls the least score of a detection."""

_EXAMPLE = 2, 75, 94
"""Batch, height and width to trace at: unlike each other, and multiples of nothing that a network pads to."""


class ByteFusion(nn.Module):
    """Bytes in, bytes out, all that lies between inside: scaling, CLIP, padding, colours, rounding.

    Args:
        task: What fuses.
        prompt: The text of every pair, for a task that takes one.
        score_threshold: The least score of what its detector finds; None: the detector is no part of this.
    """

    score_threshold: Tensor

    def __init__(self, task: FusionTask, prompt: str | None = None, score_threshold: float | None = None) -> None:
        super().__init__()
        self.task = task
        self.prompt = prompt
        self.detects = score_threshold is not None
        if score_threshold is not None:
            self.register_buffer(THRESHOLD, torch.tensor(score_threshold))

    def forward(
        self, infrared: Tensor, visible: Tensor, tokens: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Fuses pairs.

        Args:
            infrared: (B, H, W), uint8.
            visible: (B, H, W, 3), uint8, RGB.
            tokens: (B, L), int64, the prompts of a task whose prompts are an input (`PromptInput`).

        Returns:
            (B, H, W, 3), uint8, RGB: what `predict` writes; then with a detector the parts of `ListedDetections`.
        """
        fused = self.task.picture(self.batch(infrared, visible, tokens))["fused"]
        part = detector_part(self.task) if self.detects else None
        return levels(fused) if part is None else (levels(fused), *part.listed(fused, self.score_threshold))

    def batch(self, infrared: Tensor, visible: Tensor, tokens: Tensor | None = None) -> Batch:
        """Pairs as a task takes them."""
        batch: dict[str, Any] = {
            "infrared": infrared.unsqueeze(1).float() / 255.0,
            "visible": (visible.permute(0, 3, 1, 2).float() / 255.0).contiguous(),
        }
        if self.prompt is not None:
            batch["prompt"] = [self.prompt] * infrared.shape[0]
        if tokens is not None:
            batch["tokens"] = tokens
        return cast(Batch, batch)


def levels(fused: Tensor) -> Tensor:
    """A fused batch (B, 3, H, W) as (B, H, W, 3), uint8."""
    return levels_of_8bit(fused).permute(0, 2, 3, 1).to(torch.uint8)


def detector_part(task: FusionTask) -> DetectorPart | None:
    """The detector of a task, if it has one."""
    part = getattr(task, "part", None)
    return part if isinstance(part, DetectorPart) else None


class FixedPrompt(nn.Module):
    """Stands where a task encodes its prompts: one text for all pairs, encoded beforehand.

    Args:
        encoder: Encodes it.
        prompt: The text.
    """

    states: Tensor
    mask: Tensor

    def __init__(self, encoder: PromptEncoder, prompt: str) -> None:
        super().__init__()
        states, mask = encoder(cast(Batch, {"prompt": [prompt]}))
        self.register_buffer("states", states)
        self.register_buffer("mask", mask)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """States (B, L, d) and mask (B, L)."""
        count = batch["infrared"].shape[0]
        return self.states.expand(count, -1, -1), self.mask.expand(count, -1)


class PromptInput(nn.Module):
    """Stands where a task encodes its prompts: of tokens that come with the pictures.

    Args:
        encoder: Encodes them.
    """

    def __init__(self, encoder: ImageTextEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """States (B, L, d) and mask (B, L), all False for a pair whose text has no word."""
        tokens = cast("dict[str, Tensor]", batch)["tokens"]
        states, mask = self.encoder.encode_token_ids(tokens)
        return states, mask & (tokens.argmax(dim=-1, keepdim=True) > 1)  # more than start and end


def takes_prompt(task: FusionTask) -> bool:
    """Whether a prompt changes what a task fuses."""
    return any(encoder.encoder is not None for encoder in _encoders(task).values())


def trace(
    task: FusionTask, prompt: str | None, prompt_input: bool = False, score_threshold: float | None = None
) -> torch.export.ExportedProgram:
    """Traces a task in evaluation mode for any batch, height and width.

    Args:
        task: What fuses; unchanged afterwards.
        prompt: The text of every pair; None: none.
        prompt_input: Whether texts come with the pictures instead, as tokens.
        score_threshold: Of the detector, which is part of the program then.

    Raises:
        Exception: Of many kinds, where the task does what cannot be traced.
    """
    encoders = _encoders(task) if prompt_input or prompt is not None else {}
    batch, height, width = _EXAMPLE
    examples = [torch.zeros(batch, height, width, dtype=torch.uint8)]
    examples.append(torch.zeros(batch, height, width, 3, dtype=torch.uint8))
    sizes: dict[str, Any] = dict.fromkeys(("infrared", "visible"), dict.fromkeys(range(3), torch.export.Dim.DYNAMIC))
    if prompt_input:
        examples.append(token_ids(task, [""] * batch))
        sizes["tokens"] = {0: torch.export.Dim.DYNAMIC}
    try:
        for name, encoder in encoders.items():
            task.set_submodule(name, _stand_in(encoder, prompt))
        with torch.no_grad():
            module = ByteFusion(task, score_threshold=score_threshold).eval()
            program = torch.export.export(module, tuple(examples), dynamic_shapes=sizes)
    finally:
        for name, encoder in encoders.items():
            task.set_submodule(name, encoder)
    _forget_places(program)
    return program


def _forget_places(program: torch.export.ExportedProgram) -> None:
    """Takes out where code lies on this machine, which would be told to everyone who gets the file."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)


def token_ids(task: FusionTask, texts: list[str]) -> Tensor:
    """The input `tokens` of texts, (B, L) int64."""
    return _text_encoder(task).tokenizer(texts)


def _stand_in(encoder: PromptEncoder, prompt: str | None) -> nn.Module:
    if encoder.encoder is None:
        return encoder
    return PromptInput(encoder.encoder) if prompt is None else FixedPrompt(encoder, prompt)


def _text_encoder(task: FusionTask) -> ImageTextEncoder:
    return next(encoder.encoder for encoder in _encoders(task).values() if encoder.encoder is not None)


def _encoders(task: FusionTask) -> dict[str, PromptEncoder]:
    return {name: module for name, module in task.named_modules() if isinstance(module, PromptEncoder)}
