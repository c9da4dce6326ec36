"""How much memory a task's steps take, asked before the first one."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.plugins import Precision

from ivif.bilevel.level_loss import LevelLoss
from ivif.contracts.batch import Batch, StepOutput
from ivif.lightning_modules.fake_tensor_memory import Use, imagined, undisturbed
from ivif.lightning_modules.training_memory import (
    ALLOCATOR_BYTES,
    ALLOCATOR_SHARE,
    PROBE_SIDE,
    Arithmetic,
    compute_blocks_again,
    normalise_alone,
    probe,
    use_of,
)
from ivif.running.internals import trainer_of


class MemoryEstimateMixin(LightningModule):
    """Estimates a step's memory from the task's own forward and backward pass on tensors without content."""

    @abstractmethod
    def batch_loss(self, batch: Batch) -> LevelLoss:
        """What a training step differentiates."""

    @abstractmethod
    def picture(self, batch: Batch) -> StepOutput:
        """What a step of evaluation computes, detections excepted."""

    def estimate_memory(
        self,
        size: tuple[int, int, int],
        training: bool,
        half: bool = False,
        recompute: bool = False,
        replaced: Mapping[str, Any] | None = None,
    ) -> int | None:
        """Bytes that a step needs beside the weights, or None where that is not known.

        Args:
            size: (pairs, height, width) of its batch.
            training: Whether it is a training step, else one of evaluation.
            half: Whether it runs under bfloat16 autocast; else as the trainer is set.
            recompute: Whether blocks are computed again in the backward pass; else as the network is set.
            replaced: Attributes of the task as they would then be.
        """
        trainer = trainer_of(self)
        plugin = Precision() if trainer is None else trainer.precision_plugin
        arithmetic = partial(torch.autocast, self.device.type, torch.bfloat16) if half else plugin.forward_context
        with torch.inference_mode(False), undisturbed(self):
            self.train(training)
            self.prepare_probe()
            normalise_alone(self)
            for name, value in (replaced or {}).items():
                setattr(self, name, value)
            if recompute:
                compute_blocks_again(self)
            small = plugin.convert_input(probe(1, PROBE_SIDE, PROBE_SIDE, self.device, self.probe_planes()))
            with imagined():
                use = (self.training_use if training else self.inference_use)(small, size, arithmetic)
        if use is None:
            return None
        trained = sum(p.nbytes for p in self.parameters() if p.requires_grad) if training else 0
        pairs, height, width = size
        inputs = pairs * height * width * 4 * (4 + sum(self.probe_planes().values()))
        # Gradients are part of the peak; Adam has two moments.
        return round(ALLOCATOR_SHARE * (inputs + use.peak)) + 2 * trained + ALLOCATOR_BYTES

    def probe_planes(self) -> dict[str, int]:
        """Planes that batches have beside both pictures, and their channels."""
        return {}

    def prepare_probe(self) -> None:
        """Sets attributes aside that would act beyond a probe; all of them come back after it."""

    def training_use(self, small: Batch, size: tuple[int, int, int], arithmetic: Arithmetic) -> Use | None:
        """What a training step holds, or None where that is not known.

        Args:
            small: A batch that costs little.
            size: (pairs, height, width) of the batch that is meant.
            arithmetic: Precision.
        """
        return use_of(lambda batch: self.batch_loss(batch).value, small, size, arithmetic, self)

    def inference_use(self, small: Batch, size: tuple[int, int, int], arithmetic: Arithmetic) -> Use:
        """What a step of evaluation holds, as `training_use`."""
        return use_of(self.picture, small, size, arithmetic)
